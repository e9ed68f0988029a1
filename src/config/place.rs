//! Resolves `@name[:path]` to a location and its configured options.

use std::path::Path;

use zeroize::Zeroizing;

use super::entries::{Entries, Value};
use super::schema::{self, Checked};
use super::{Role, connectors::Known};
use crate::error::{Error, Kind, Result};
use crate::net::location::Location;
use crate::util::suggest::did_you_mean;

/// A location and its configured options.
#[derive(Clone, Debug)]
pub struct Place {
    /// The location of the place.
    pub location: Location,
    /// The name, if it was given by name.
    pub name: Option<String>,
    options: Vec<(&'static Known, Value)>,
}

/// A parsed argument.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Word<'a> {
    /// `@name:path`. Without a colon the path is empty.
    Name(&'a [u8], &'a [u8]),
    /// A path or a URL.
    Location(&'a [u8]),
}

impl<'a> Word<'a> {
    /// Splits a name from its path at the first colon.
    pub fn of(word: &'a [u8]) -> Word<'a> {
        let Some(named) = word.strip_prefix(b"@") else {
            return Word::Location(word);
        };
        let colon = named.iter().position(|byte| *byte == b':');
        match colon {
            Some(colon) => Word::Name(&named[..colon], &named[colon + 1..]),
            None => Word::Name(named, b""),
        }
    }
}

impl Place {
    /// A location without configured options.
    pub fn unnamed(location: Location) -> Place {
        Place {
            location,
            name: None,
            options: Vec::new(),
        }
    }

    /// The place `name` in `entries`, with `path` joined to its location.
    ///
    /// # Errors
    /// [`Kind::NotFound`] for an unknown name, [`Kind::Unsupported`] for an entry that its
    /// connector does not accept, [`Kind::Usage`] for a path that cannot be joined.
    pub fn named(
        entries: &Entries,
        role: Role,
        name: &str,
        path: &[u8],
        home: Option<&Path>,
    ) -> Result<Place> {
        let entry = entries.get(name).ok_or_else(|| {
            let hint = did_you_mean(name, entries.names(), "@");
            let word = role.word();
            Error::new(Kind::NotFound, format!("no {word} named {name}{hint}"))
        })?;
        let checked = schema::check(entry, role, home);
        let Checked { location, options } = checked.and_then(absolute).map_err(|cause| {
            Error::new(Kind::Unsupported, cause.to_string()).during(format!("[{name}]"))
        })?;
        Ok(Place {
            location: location.join(path)?,
            name: Some(name.to_owned()),
            options,
        })
    }

    /// The value of the option `name`, if it is set.
    pub fn value(&self, name: &str) -> Option<&Value> {
        let mut options = self.options.iter();
        options
            .find(|(known, _)| known.name == name)
            .map(|(_, value)| value)
    }

    /// The text of the option `name`, if it is set.
    pub fn text(&self, name: &str) -> Option<Zeroizing<String>> {
        self.value(name).map(Value::text)
    }

    /// All options that are set.
    pub fn options(&self) -> impl Iterator<Item = (&'static Known, &Value)> {
        self.options.iter().map(|(known, value)| (*known, value))
    }
}

/// Requires an absolute path.
///
/// # Errors
/// [`Kind::Usage`] for a relative path: its meaning would depend on the current directory.
fn absolute(checked: Checked) -> Result<Checked> {
    match checked.location.path() {
        Some(path) if !path.starts_with(b"/") => Err(Error::usage(format!(
            "location {} is relative: write it in full",
            checked.location
        ))),
        _ => Ok(checked),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "
[foobar]
location = 'sftp://localhost/tmp'
port = 2222

[local]
location = '~/st'
passphrase = 'x'

[wrong]
location = '/x'
prot = 1

[here]
location = 'st'
";

    fn named(role: Role, word: &str) -> Result<Place> {
        let Word::Name(name, path) = Word::of(word.as_bytes()) else {
            panic!("{word} is a name");
        };
        let entries = Entries::parse(TEXT, 0o600)?;
        let name = std::str::from_utf8(name).unwrap();
        Place::named(&entries, role, name, path, Some(Path::new("/home/u")))
    }

    fn location(word: &str) -> String {
        named(Role::Store, word).unwrap().location.to_string()
    }

    #[test]
    fn a_path_after_a_name_is_joined_or_replaces() {
        assert_eq!(location("@foobar"), "sftp://localhost/tmp");
        assert_eq!(location("@foobar:"), "sftp://localhost/tmp");
        assert_eq!(location("@foobar:etc"), "sftp://localhost/tmp/etc");
        assert_eq!(location("@foobar:/etc"), "sftp://localhost/etc");
        assert_eq!(location("@foobar:a:b"), "sftp://localhost/tmp/a:b");
        assert_eq!(location("@local:x"), "/home/u/st/x");
        assert_eq!(location("@local:/x"), "/x");
    }

    #[test]
    fn options_come_along() {
        let place = named(Role::Store, "@foobar:etc").unwrap();
        assert_eq!(place.value("port"), Some(&Value::Number(2222)));
        assert_eq!(place.text("passphrase"), None);
        assert_eq!(place.name.as_deref(), Some("foobar"));
        let place = named(Role::Store, "@local").unwrap();
        assert_eq!(place.text("passphrase").unwrap().as_str(), "x");
    }

    #[test]
    fn what_cannot_be_used_says_why() {
        let refused = |word| {
            let error = named(Role::Store, word).unwrap_err();
            (error.kind(), error.to_string())
        };
        let (kind, words) = refused("@foobra:x");
        assert_eq!(kind, Kind::NotFound);
        assert_eq!(words, "no store named foobra (did you mean @foobar?)");
        let (kind, words) = refused("@wrong");
        assert_eq!(kind, Kind::Unsupported);
        assert!(
            words.starts_with("[wrong]: unknown option \"prot\""),
            "{words}"
        );
        assert_eq!(refused("@here").0, Kind::Unsupported);
        assert_eq!(Word::of(b"nas:x"), Word::Location(b"nas:x"));
    }
}

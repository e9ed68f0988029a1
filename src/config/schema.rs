//! Defines which names, keys and values a section accepts.
//!
//! Input of the user is rejected before it is stored, with [`Kind::Usage`]. Contents that were
//! edited manually are rejected when they are used, with [`Kind::Unsupported`]. The rules are the
//! same.

use std::path::Path;

use zeroize::Zeroizing;

use super::Role;
use super::connectors::{self, CONNECTORS, Connector, Known, Shape};
use super::entries::{DEFAULT, Entry, LOCATION, Pair, Value};
use crate::error::{During, Error, Kind, Result};
use crate::net::location::Location;
use crate::util::suggest::did_you_mean;

/// The maximum length of a name. A longer one is a mistake.
const NAME_LIMIT_BYTES: usize = 64;
/// The prefixes of streams, which have no location.
const STREAMS: [&str; 2] = ["stdin:", "cmd:"];
/// The maximum length of a value. A longer one is a mistake.
const VALUE_LIMIT_BYTES: usize = 8 << 10;

/// A location with valid options of its connector.
#[derive(Clone, Debug)]
pub struct Checked {
    /// The location of the entry.
    pub location: Location,
    /// The options that are set, without duplicates, with their main names and types.
    pub options: Vec<(&'static Known, Value)>,
}

/// Checks the syntax of a name.
///
/// # Errors
/// [`Kind::Usage`] for a name that cannot be written after `@`, or has another meaning.
pub fn check_name(name: &str) -> Result<()> {
    let is_known = |letter: char| letter.is_alphanumeric() || "-_.".contains(letter);
    let cause = match name {
        "" => "a name is not empty".to_owned(),
        DEFAULT => format!("{DEFAULT:?} is not a valid name: it selects the default"),
        name if name.len() > NAME_LIMIT_BYTES => {
            format!("a name has at most {NAME_LIMIT_BYTES} bytes")
        }
        name if name.starts_with('-') || !name.chars().all(is_known) => {
            format!(
                "{name:?} is not a valid name: use letters, digits, dots, dashes and underscores"
            )
        }
        _ => return Ok(()),
    };
    Err(Error::usage(cause))
}

/// Checks an entry for use as `role`. `home` replaces `~` at the start of paths.
///
/// # Errors
/// [`Kind::Usage`] for a location that no connector supports, for unknown options of its connector,
/// and for invalid values.
pub fn check(entry: &Entry, role: Role, home: Option<&Path>) -> Result<Checked> {
    let location = location(entry.location()?, home)?;
    let connector = connector(&location, role)?;
    let mut options: Vec<(&'static Known, Value)> = Vec::new();
    for (key, value) in entry.options()? {
        let known = known(connector, role, key)?;
        if options.iter().any(|(other, _)| other.name == known.name) {
            return Err(Error::usage(format!("{} is set twice", known.name)));
        }
        let value = shaped(&known.shape, value, home).during(|| key.as_str())?;
        options.push((known, value));
    }
    Ok(Checked { location, options })
}

/// Checks one option of the connector for `scheme` as `role`, and converts its value.
///
/// # Errors
/// [`Kind::Usage`] for an unknown option or an invalid value.
pub fn option(
    scheme: &str,
    role: Role,
    key: &str,
    value: &Value,
) -> Result<(&'static Known, Value)> {
    let unknown = || Error::usage(format!("no {} speaks {scheme}://", role.word()));
    let connector = connectors::of_scheme(scheme).ok_or_else(unknown)?;
    let known = known(connector, role, key)?;
    let value = shaped(&known.shape, value, None).during(|| key.to_owned())?;
    Ok((known, value))
}

/// Parses the location `text`, and expands `~/`.
fn location(text: &str, home: Option<&Path>) -> Result<Location> {
    if text.starts_with('@') {
        return Err(Error::usage(format!(
            "a location is a path or a URL, not {text}"
        )));
    }
    if let Some(scheme) = STREAMS.iter().find(|scheme| text.starts_with(**scheme)) {
        return Err(Error::usage(format!(
            "what comes through a pipe has no place to keep by name: \
             give {scheme}NAME to plakar backup itself"
        )));
    }
    match at_home(text, home)? {
        Some(path) => Ok(Location::Path(path.into_bytes())),
        None => Location::parse(text.as_bytes()),
    }
}

/// The connector that opens `location` as `role`.
fn connector(location: &Location, role: Role) -> Result<&'static Connector> {
    let scheme = location.scheme();
    let Some(connector) = connectors::of_scheme(scheme) else {
        let schemes = CONNECTORS
            .iter()
            .filter(|connector| connector.roles.contains(&role));
        let schemes: Vec<&str> = schemes
            .flat_map(|connector| connector.schemes)
            .copied()
            .collect();
        let hint = did_you_mean(scheme, schemes.iter().copied(), "");
        let schemes = schemes.join(", ");
        return Err(Error::usage(format!(
            "no {} speaks {scheme}://{hint}; known are {schemes}: {location}",
            role.word()
        )));
    };
    match connector.roles.contains(&role) {
        true => Ok(connector),
        false => Err(Error::usage(format!(
            "{scheme}:// cannot be a {}: {location}",
            role.word()
        ))),
    }
}

/// The option with the name or synonym `key`.
fn known(connector: &Connector, role: Role, key: &str) -> Result<&'static Known> {
    let unknown = || {
        let names = connector.options(role).map(|known| known.name);
        let hint = did_you_mean(key, names.clone(), "");
        let names: Vec<&str> = names.collect();
        let whose = format!("a {} of {}", role.word(), connector.name);
        Error::usage(match names.is_empty() {
            true => format!("unknown option {key:?}: {whose} has none"),
            false => format!(
                "unknown option {key:?}{hint}; {whose} knows {}",
                names.join(", ")
            ),
        })
    };
    connector.option(role, key).ok_or_else(unknown)
}

/// Converts `value` to the type of an option. No message contains the value, because it may be a
/// secret.
fn shaped(shape: &Shape, value: &Value, home: Option<&Path>) -> Result<Value> {
    let wrong = |what: &str| Err(Error::usage(format!("it is {what}")));
    let text = value.text();
    if text.len() > VALUE_LIMIT_BYTES {
        return Err(Error::usage(format!(
            "longer than {VALUE_LIMIT_BYTES} bytes"
        )));
    }
    match (shape, value) {
        (Shape::Switch, Value::Switch(_)) | (Shape::Switch, Value::Text(_)) => {
            match text.as_str() {
                "true" | "1" | "yes" | "on" => Ok(Value::Switch(true)),
                "false" | "0" | "no" | "off" => Ok(Value::Switch(false)),
                _ => wrong("true or false"),
            }
        }
        (Shape::Switch, _) => wrong("true or false"),
        (Shape::Number(range), Value::Number(_) | Value::Text(_)) => {
            match text
                .parse::<i64>()
                .ok()
                .filter(|number| range.contains(number))
            {
                Some(number) => Ok(Value::Number(number)),
                None => wrong(&format!(
                    "a number from {} to {}",
                    range.start(),
                    range.end()
                )),
            }
        }
        (Shape::Number(range), _) => wrong(&format!(
            "a number from {} to {}",
            range.start(),
            range.end()
        )),
        (_, Value::Text(_)) if text.is_empty() => wrong("not empty"),
        (_, Value::Text(_)) if text.contains('\0') => wrong("without NUL"),
        (Shape::Path, Value::Text(_)) => path(&text, home),
        (Shape::Text | Shape::Secret | Shape::Command, Value::Text(_)) => Ok(value.clone()),
        // A conversion would change the text of values such as 007 or 1_000.
        (_, _) => wrong("text, and stands in quotes"),
    }
}

/// An absolute path, or one below the home directory.
fn path(text: &str, home: Option<&Path>) -> Result<Value> {
    let path = at_home(text, home)?.unwrap_or_else(|| text.to_owned());
    match path.starts_with('/') {
        true => Ok(Value::Text(Zeroizing::new(path))),
        false => Err(Error::usage("it is an absolute path, or begins with ~/")),
    }
}

/// Expands `~/` in `text`. `None` if it does not begin with that.
fn at_home(text: &str, home: Option<&Path>) -> Result<Option<String>> {
    let Some(rest) = text.strip_prefix("~/").or((text == "~").then_some("")) else {
        return Ok(None);
    };
    let home =
        home.ok_or_else(|| Error::new(Kind::Unsupported, "HOME is not set, needed for ~"))?;
    let path = home.join(rest).into_os_string().into_string();
    let path = path.map_err(|_| Error::usage("the home directory is not UTF-8"))?;
    Ok(Some(path))
}

/// `pair` in the form in which it is stored: with the main name of the option, with its type, and
/// with relative paths resolved against the current directory.
///
/// # Errors
/// [`Kind::Usage`] for an unknown option or an invalid value.
pub fn kept(pair: Pair, place: &Location, role: Role) -> Result<Pair> {
    let (key, value) = pair;
    let known = known(connector(place, role)?, role, &key)?;
    let text = value.text();
    let kept = match known.shape {
        Shape::Path if !text.is_empty() => Value::Text(Zeroizing::new(absolute(&text)?)),
        Shape::Switch | Shape::Number(_) => {
            shaped(&known.shape, &value, None).during(|| key.as_str())?
        }
        _ => value,
    };
    Ok((known.name.to_owned(), kept))
}

/// `text` in the form in which a location is stored: a relative path is resolved against the
/// current directory.
///
/// # Errors
/// [`Kind::Usage`] for an invalid location.
pub fn kept_location(text: &str) -> Result<String> {
    if text == "~" || text.starts_with("~/") {
        return Ok(text.to_owned());
    }
    match location(text, None)? {
        Location::Path(path) => {
            let path = std::str::from_utf8(&path).unwrap_or(text);
            absolute(path)
        }
        Location::Url(_) => Ok(text.to_owned()),
    }
}

/// `path` as an absolute path. `~/` is preserved.
fn absolute(path: &str) -> Result<String> {
    if path == "~" || path.starts_with("~/") || path.starts_with('/') {
        return Ok(path.to_owned());
    }
    let absolute = std::path::absolute(path).during(|| path.to_owned())?;
    let absolute = absolute.into_os_string().into_string();
    absolute.map_err(|_| Error::usage("the current directory is not UTF-8"))
}

/// Whether two keys are the same option.
pub fn are_same(one: &str, other: &str) -> bool {
    one == other || known_somewhere(one).is_some_and(|known| known.is(other))
}

/// The first option of any connector with the name or synonym `key`.
fn known_somewhere(key: &str) -> Option<&'static Known> {
    let options = CONNECTORS
        .iter()
        .flat_map(|connector| Role::ALL.map(|role| connector.options(role)));
    options.flatten().find(|known| known.is(key))
}

/// Whether the value of `key` must not be shown. Keys that no connector knows count too: they may
/// be options of another program, or misspelled.
pub fn is_secret(key: &str) -> bool {
    if let Some(known) = known_somewhere(key) {
        return known.shape == Shape::Secret;
    }
    let key = key.to_ascii_lowercase();
    let looks = ["pass", "secret", "token", "credential", "private"];
    key != LOCATION && !key.ends_with("_cmd") && looks.iter().any(|word| key.contains(word))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn checked(role: Role, pairs: &[(&str, Value)]) -> Result<Checked> {
        let pairs = pairs
            .iter()
            .map(|(key, value)| ((*key).to_owned(), value.clone()));
        check(
            &Entry::new("x", pairs.collect()),
            role,
            Some(Path::new("/home/u")),
        )
    }

    fn refused(role: Role, pairs: &[(&str, Value)]) -> String {
        let error = checked(role, pairs).unwrap_err();
        assert_eq!(error.kind(), Kind::Usage, "{error}");
        error.to_string()
    }

    #[test]
    fn values_get_their_shapes() {
        let pairs = [
            ("location", "sftp://h/x".into()),
            ("port", "2222".into()),
            ("insecure_ignore_host_key", "yes".into()),
            ("identity", "~/.ssh/id".into()),
            ("passphrase", " a b ".into()),
        ];
        let checked = checked(Role::Store, &pairs).unwrap();
        let values: Vec<&Value> = checked.options.iter().map(|(_, value)| value).collect();
        let expected = [
            &Value::Number(2222),
            &Value::Switch(true),
            &Value::from("/home/u/.ssh/id"),
            &Value::from(" a b "),
        ];
        assert_eq!(values, expected);
    }

    #[test]
    fn unknown_options_are_told_with_those_that_there_are() {
        let words = refused(
            Role::Source,
            &[("location", "/a".into()), ("exclude_cache", "1".into())],
        );
        let expected = "unknown option \"exclude_cache\" (did you mean exclude_caches?); a source of fs \
                        knows one_file_system, exclude_caches, ignore_inode, ignore_ctime, trust_base";
        assert_eq!(words, expected);
        let words = refused(
            Role::Source,
            &[("location", "/a".into()), ("passphrase", "x".into())],
        );
        assert!(words.contains("a source of fs knows"), "{words}");
        let words = refused(
            Role::Destination,
            &[("location", "/a".into()), ("x", "x".into())],
        );
        assert_eq!(words, "unknown option \"x\": a destination of fs has none");
        let twice = [
            ("location", "/a".into()),
            ("one_file_system", true.into()),
            ("dont_traverse_fs", false.into()),
        ];
        assert_eq!(
            refused(Role::Source, &twice),
            "one_file_system is set twice"
        );
    }

    #[test]
    fn bad_values_are_refused_and_secrets_not_repeated() {
        let of = |key: &'static str, value: Value| {
            refused(
                Role::Store,
                &[("location", "sftp://h".into()), (key, value)],
            )
        };
        assert_eq!(
            of("port", "70000".into()),
            "port: it is a number from 1 to 65535"
        );
        assert_eq!(
            of("insecure_ignore_host_key", "maybe".into()),
            "insecure_ignore_host_key: it is true or false"
        );
        assert_eq!(
            of("identity", "id_rsa".into()),
            "identity: it is an absolute path, or begins with ~/"
        );
        assert_eq!(of("passphrase", "".into()), "passphrase: it is not empty");
        assert_eq!(
            of("passphrase", Value::Number(7)),
            "passphrase: it is text, and stands in quotes"
        );
        assert!(of("passphrase", "x".repeat(10_000).as_str().into()).contains("longer than"));
    }

    #[test]
    fn places_that_nobody_reaches_are_refused() {
        let of = |role, location: &str| refused(role, &[("location", location.into())]);
        assert_eq!(
            of(Role::Store, "sfpt://h/x"),
            "no store speaks sfpt:// (did you mean sftp?); known are fs, file, sftp, http, https: sfpt://h/x"
        );
        assert!(of(Role::Source, "http://h").contains("cannot be a source"));
        assert!(of(Role::Store, "@other").contains("not @other"));
        let nowhere = checked(Role::Store, &[("port", 1.into())]).unwrap_err();
        assert_eq!(nowhere.to_string(), "it has no location");
    }

    impl From<bool> for Value {
        fn from(is_on: bool) -> Value {
            Value::Switch(is_on)
        }
    }

    impl From<i64> for Value {
        fn from(number: i64) -> Value {
            Value::Number(number)
        }
    }

    #[test]
    fn names_can_be_written_after_an_at_sign() {
        for name in ["nas", "a-b_c.d", "9", "büro"] {
            check_name(name).unwrap();
        }
        for name in [
            "",
            "default",
            "-x",
            "a:b",
            "a/b",
            "a b",
            "@a",
            "a\n",
            &"x".repeat(65),
        ] {
            assert_eq!(
                check_name(name).unwrap_err().kind(),
                Kind::Usage,
                "{name:?}"
            );
        }
    }

    #[test]
    fn relative_paths_are_kept_absolute() {
        let here = std::path::absolute("st").unwrap().display().to_string();
        assert_eq!(kept_location("st").unwrap(), here);
        assert_eq!(kept_location("fs:st").unwrap(), here);
        assert_eq!(kept_location("~/st").unwrap(), "~/st");
        assert_eq!(kept_location("sftp://h:/x").unwrap(), "sftp://h:/x");
        let place = Location::Path(b"/x".to_vec());
        let kept = |key: &str, value: &str| kept((key.into(), value.into()), &place, Role::Source);
        assert_eq!(
            kept("dont_traverse_fs", "1").unwrap(),
            ("one_file_system".into(), true.into())
        );
        assert!(kept("nothing", "1").is_err());
    }

    #[test]
    fn secrets_are_recognised() {
        for key in [
            "passphrase",
            "auth_token",
            "password",
            "SECRET_KEY",
            "access_token",
        ] {
            assert!(is_secret(key), "{key}");
        }
        for key in [
            "location",
            "passphrase_cmd",
            "port",
            "keyfile",
            "auth_token_cmd",
            "tls_pin",
        ] {
            assert!(!is_secret(key), "{key}");
        }
    }
}

//! The places that a backup is given: of this machine, or of one server of SFTP.
//!
//! A place of this machine is a path, `fs:` or `file:` and a path, or `@source[:path]`; it need not be UTF-8.
//! Links in it are followed, the last name included: whoever names a link to a directory wants
//! what is in that. What is recorded is the path that no link is in.

use std::ffi::{OsStr, OsString};
use std::fs;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use super::escape::printable;
use super::{Globals, ssh};
use crate::config::Role;
use crate::config::place::Place;
use crate::connector::{LocalSource, Source};
use crate::error::{During, Error, Result};
use crate::net::location::Location;

/// What `words` name, with what is configured for each: the default source, or else the
/// current directory, if there are none.
///
/// # Errors
/// Those of [`Globals::place_of`].
pub fn named(globals: &Globals, words: &[OsString]) -> Result<Vec<Place>> {
    if !words.is_empty() {
        let place = |word: &OsString| globals.place_of(Role::Source, word);
        return words.iter().map(place).collect();
    }
    let default = globals.default_place(Role::Source)?;
    let here = || Place::unnamed(Location::Path(b".".to_vec()));
    Ok(vec![default.unwrap_or_else(here)])
}

/// A source, and paths in it.
pub struct Named {
    /// Where they are.
    pub source: Box<dyn Source>,
    /// What is backed up: absolute, sorted, each once.
    pub paths: Vec<Vec<u8>>,
    /// The store, if it is there.
    pub skip: Vec<Vec<u8>>,
}

/// The source that has `places`, and their paths in it.
///
/// # Errors
/// [`crate::error::Kind::NotFound`] for a place that is not there,
/// [`crate::error::Kind::Usage`] for places that are not all on one machine.
pub fn source(globals: &Globals, places: &[Place]) -> Result<Named> {
    let Some((source, first)) = places.first().and_then(|place| ssh::source(globals, place)) else {
        return Ok(Named {
            source: Box::new(LocalSource::new()?),
            paths: resolved(places)?,
            // It is known by its inode.
            skip: Vec::new(),
        });
    };
    let mut paths = vec![source.resolve(&first)?];
    for place in &places[1..] {
        paths.push(source.resolve(path_beside(&places[0], place)?)?);
    }
    paths.sort();
    paths.dedup();
    let store = ssh::store_in_source(globals, &places[0], &source, &globals.place()?)?;
    Ok(Named {
        source: Box::new(source),
        paths,
        skip: store.into_iter().collect(),
    })
}

/// The path of `other`, which must be on the machine of `first`.
fn path_beside<'a>(first: &Place, other: &'a Place) -> Result<&'a str> {
    let (one, two) = (&first.location, &other.location);
    match (one, two) {
        (Location::Url(one), Location::Url(two))
            if (&one.scheme, &one.user, &one.host, one.port)
                == (&two.scheme, &two.user, &two.host, two.port) =>
        {
            Ok(&two.path)
        }
        _ => Err(Error::usage(format!(
            "one backup is of one machine, not of {one} and {two}"
        ))),
    }
}

/// The paths of `places`, absolute, sorted, each once.
///
/// # Errors
/// [`crate::error::Kind::NotFound`] for a place that is not there,
/// [`crate::error::Kind::Usage`] for one that is not on this machine.
pub fn resolved(places: &[Place]) -> Result<Vec<Vec<u8>>> {
    let mut paths: Vec<Vec<u8>> = places.iter().map(path).collect::<Result<_>>()?;
    paths.sort();
    paths.dedup();
    Ok(paths)
}

/// The absolute path of one place.
fn path(place: &Place) -> Result<Vec<u8>> {
    let path = local(place, Role::Source)?;
    let absolute = fs::canonicalize(path).during(|| printable(path.as_bytes()))?;
    Ok(absolute.into_os_string().into_vec())
}

/// The path that `place` is on this machine.
///
/// # Errors
/// [`crate::error::Kind::Usage`] for a place elsewhere, which nothing here speaks to as `role`.
pub fn local(place: &Place, role: Role) -> Result<&OsStr> {
    let location = &place.location;
    let elsewhere = || {
        let (word, scheme) = (role.word(), location.scheme());
        Error::usage(format!(
            "no {word} speaks {scheme}:// in this version: {location}"
        ))
    };
    location.path().map(OsStr::from_bytes).ok_or_else(elsewhere)
}

/// Device and inode of what is at `path`, if anything is: no backup enters it, by
/// whatever name it comes along.
pub fn identity(path: &Path) -> Option<(u64, u64)> {
    let metadata = fs::metadata(path).ok()?;
    Some((metadata.dev(), metadata.ino()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::Environment;
    use crate::cli::globals::tests::globals;
    use crate::error::Kind;

    fn paths(words: &[&str]) -> Result<Vec<Vec<u8>>> {
        let home = Some("/nonexistent".into());
        let environment = Environment {
            home,
            ..Environment::default()
        };
        let words: Vec<OsString> = words.iter().map(OsString::from).collect();
        resolved(&named(&globals(&[], environment), &words)?)
    }

    #[test]
    fn a_place_is_a_path_however_it_is_spelt() {
        for spelling in [
            "/tmp",
            "fs:/tmp",
            "fs:///tmp",
            "file:///tmp",
            "/tmp/../tmp/.",
        ] {
            assert_eq!(paths(&[spelling]).unwrap(), [b"/tmp"], "{spelling}");
        }
        assert_eq!(paths(&["/tmp", "/tmp/"]).unwrap().len(), 1);
        let here = std::env::current_dir().unwrap();
        assert_eq!(paths(&[]).unwrap(), [here.into_os_string().into_vec()]);
    }

    #[test]
    fn what_is_not_there_or_not_understood_is_told() {
        let kind = |word: &str| paths(&[word]).unwrap_err().kind();
        assert_eq!(kind("/no/such/place"), Kind::NotFound);
        assert_eq!(kind("@home"), Kind::NotFound);
        assert_eq!(kind("sftp://nas/home"), Kind::Usage);
    }
}

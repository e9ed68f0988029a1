//! The paths that a backup reads: local ones, or those of one SFTP server.
//!
//! A local place is a path, a path after `fs:` or `file:`, or `@source[:path]`; it need not be
//! UTF-8. Symbolic links are followed, including the last component: a user who names a link to a
//! directory wants its contents. The snapshot records the path without links.

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

/// The places that `words` name, with their configuration. Without words, the default source, else
/// the current directory.
///
/// # Errors
/// The errors of [`Globals::place_of`].
pub fn named(globals: &Globals, words: &[OsString]) -> Result<Vec<Place>> {
    if !words.is_empty() {
        let place = |word: &OsString| globals.place_of(Role::Source, word);
        return words.iter().map(place).collect();
    }
    let default = globals.default_place(Role::Source)?;
    let here = || Place::unnamed(Location::Path(b".".to_vec()));
    Ok(vec![default.unwrap_or_else(here)])
}

/// A source and the paths to back up from it.
pub struct Named {
    /// The connector that reads the files.
    pub source: Box<dyn Source>,
    /// The paths to back up: absolute, sorted, without duplicates.
    pub paths: Vec<Vec<u8>>,
    /// The path of the store, if the source contains it. It is not backed up.
    pub skip: Vec<Vec<u8>>,
}

/// Opens the source that contains `places`, and resolves the paths.
///
/// # Errors
/// [`crate::error::Kind::NotFound`] if a place does not exist, [`crate::error::Kind::Usage`] if the
/// places are not all on one machine.
pub fn source(globals: &Globals, places: &[Place]) -> Result<Named> {
    let Some((source, first)) = places.first().and_then(|place| ssh::source(globals, place)) else {
        return Ok(Named {
            source: Box::new(LocalSource::new()?),
            paths: resolved(places)?,
            // A local store is recognized by its inode.
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

/// The path of `other`, which must be on the same machine as `first`.
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

/// The paths of local `places`: absolute, sorted, without duplicates.
///
/// # Errors
/// [`crate::error::Kind::NotFound`] if a place does not exist, [`crate::error::Kind::Usage`] if it
/// is not local.
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

/// The local path of `place`.
///
/// # Errors
/// [`crate::error::Kind::Usage`] if the place is not local: no connector supports its protocol as
/// `role`.
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

/// Device and inode of the file at `path`, if it exists. A backup skips this file under any name.
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

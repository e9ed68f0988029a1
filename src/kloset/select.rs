//! Finding the snapshot, and the path in it, that a person means.

use super::Kloset;
use super::blob::BlobReader;
use super::snapshot::{Snapshot, Stored, list};
use super::tree::{Entry, Reach, TreeWalk};
use crate::error::{During, Error, Kind, Result};

/// What the newest snapshot may be called.
const LATEST: &str = "latest";

/// The one snapshot whose id begins with `prefix`, or the newest one for `latest`.
///
/// # Errors
/// [`Kind::NotFound`] if there is none; [`Kind::Usage`] if there are several, naming them.
pub fn by_prefix(snapshots: &[Stored], prefix: &str) -> Result<Stored> {
    if prefix == LATEST {
        let newest = snapshots.last().cloned();
        return newest.ok_or_else(|| Error::new(Kind::NotFound, "there are no snapshots"));
    }
    let none = || {
        Error::new(
            Kind::NotFound,
            format!("no snapshot begins with {prefix:?}"),
        )
    };
    if prefix.is_empty() || !prefix.bytes().all(|letter| letter.is_ascii_hexdigit()) {
        return Err(none());
    }
    let prefix = prefix.to_ascii_lowercase();
    let matching: Vec<&Stored> = snapshots
        .iter()
        .filter(|stored| stored.snapshot.id.to_string().starts_with(&prefix))
        .collect();
    match matching.as_slice() {
        [] => Err(none()),
        [one] => Ok((*one).clone()),
        several => {
            let names: Vec<String> = several
                .iter()
                .map(|stored| stored.snapshot.id.short())
                .collect();
            Err(Error::usage(format!(
                "{prefix:?} is the beginning of several snapshots: {}",
                names.join(", ")
            )))
        }
    }
}

/// Every snapshot that can be read, oldest first.
pub fn all(kloset: &Kloset) -> Result<Vec<Stored>> {
    Ok(list(kloset, kloset.observer())?.0)
}

/// The absolute path that `path` means in `snapshot`: an absolute one itself, a relative one
/// below what was backed up, without `.`, and `..` going up.
pub fn resolve(snapshot: &Snapshot, path: &[u8]) -> Vec<u8> {
    let joined = match path.first() {
        Some(b'/') => path.to_vec(),
        _ => [&snapshot.base(), &b"/"[..], path].concat(),
    };
    normal(&joined)
}

/// The absolute `path` without `.`, `..` going up, and no slash at its end.
pub fn normal(path: &[u8]) -> Vec<u8> {
    let mut names: Vec<&[u8]> = Vec::new();
    for name in path.split(|byte| *byte == b'/') {
        match name {
            b"" | b"." => {}
            b".." => drop(names.pop()),
            name => names.push(name),
        }
    }
    [b"/", names.join(&b'/').as_slice()].concat()
}

/// The entry at the absolute `path` of `snapshot`.
///
/// # Errors
/// [`Kind::NotFound`] if nothing was backed up there; [`Kind::Corrupt`] if it may lie in a part
/// of a directory that is lost or damaged.
pub fn entry(blobs: &BlobReader<'_>, snapshot: &Snapshot, path: &[u8]) -> Result<Entry> {
    let mut entry = snapshot.root.clone();
    for name in path
        .split(|byte| *byte == b'/')
        .filter(|name| !name.is_empty())
    {
        entry = child(blobs, &entry, name)
            .during(|| format!("{}:{}", snapshot.id.short(), path.escape_ascii()))?;
    }
    Ok(entry)
}

/// The entry called `name` in the directory `parent`. A damaged part of the directory does not
/// hide a name in another one, so it is told only if the name is not found.
fn child(blobs: &BlobReader<'_>, parent: &Entry, name: &[u8]) -> Result<Entry> {
    let mut walk = TreeWalk::new(blobs, b"/", parent, Reach::Children);
    let mut damage = None;
    loop {
        match walk.try_next() {
            Ok(Some(entry)) if entry.name == name => return Ok(entry),
            Ok(Some(_)) => {}
            Ok(None) => break,
            Err(error) if error.kind() == Kind::Corrupt => {
                damage.get_or_insert(error);
            }
            Err(error) => return Err(error),
        }
    }
    Err(damage
        .unwrap_or_else(|| Error::new(Kind::NotFound, "no such file or directory in the snapshot")))
}

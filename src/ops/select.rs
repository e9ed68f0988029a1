//! Finds the snapshot, and the path in it, that a command-line argument refers to.

use crate::error::{During, Error, Kind, Result};
use crate::format::entry::Entry;
use crate::kloset::Kloset;
use crate::kloset::blob::BlobReader;
use crate::kloset::snapshot::{Snapshot, Stored, list};
use crate::kloset::tree::TreeReader;
use crate::util::printable::printable;

/// Size of the cache of decoded blocks for the path to one entry.
const CACHE_BYTES: usize = 4 << 20;
/// The name of the newest snapshot on the command line.
const LATEST: &str = "latest";

/// The only snapshot whose id begins with `prefix`, or the newest one for `latest`.
///
/// # Errors
/// [`Kind::NotFound`] if there is none; [`Kind::Usage`] if there are several, with their ids.
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

/// Every readable snapshot, oldest first.
pub fn all(kloset: &Kloset) -> Result<Vec<Stored>> {
    Ok(list(kloset, kloset.observer())?.0)
}

/// The absolute path of `path` in `snapshot`. A relative path starts at the place that was backed up;
/// `.` and `..` are resolved. If a single file was backed up, a relative path starts at its
/// directory, as if the backup had been made there.
pub fn resolve(kloset: &Kloset, snapshot: &Snapshot, path: &[u8]) -> Result<Vec<u8>> {
    if path.starts_with(b"/") {
        return Ok(normal(path));
    }
    let mut start = snapshot.base();
    if !path.is_empty() && is_file(kloset, snapshot, &start)? {
        start.extend_from_slice(b"/..");
    }
    Ok(normal(&[&start, &b"/"[..], path].concat()))
}

/// Whether the entry at `path` is not a directory. Returns `false` if several places were backed up,
/// because their common path is a directory, and if the entry is damaged, because its kind is then
/// unknown.
fn is_file(kloset: &Kloset, snapshot: &Snapshot, path: &[u8]) -> Result<bool> {
    if snapshot.roots.len() != 1 {
        return Ok(false);
    }
    let blobs = BlobReader::new(kloset, CACHE_BYTES)?;
    let entry = entry(&blobs, snapshot, path);
    Ok(entry.is_ok_and(|entry| !entry.is_dir()))
}

/// The absolute `path` with `.` and `..` resolved, without a trailing slash.
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
/// [`Kind::NotFound`] if nothing was backed up there; [`Kind::Corrupt`] if the entry may be in a part
/// of a directory that is lost or damaged.
pub fn entry(blobs: &BlobReader<'_>, snapshot: &Snapshot, path: &[u8]) -> Result<Entry> {
    let mut entry = snapshot.root.clone();
    for name in path
        .split(|byte| *byte == b'/')
        .filter(|name| !name.is_empty())
    {
        entry = child(blobs, &entry, name)
            .during(|| format!("{}:{}", snapshot.id.short(), printable(path)))?;
    }
    Ok(entry)
}

/// The entry with the name `name` in the directory `parent`. A damaged part of its tree is skipped;
/// it is the error only if the name is not found elsewhere.
fn child(blobs: &BlobReader<'_>, parent: &Entry, name: &[u8]) -> Result<Entry> {
    let mut reader = TreeReader::new(blobs, parent);
    let mut damage = None;
    loop {
        match reader.try_next() {
            Ok(Some(entry)) if entry.name == name => return Ok(entry),
            Ok(Some(entry)) if entry.name.as_slice() < name => {}
            Ok(_) => break,
            Err(error) if error.is_of_one_object() => damage = damage.or(Some(error)),
            Err(error) => return Err(error),
        }
    }
    let missing = || Error::new(Kind::NotFound, "no such file or directory in the snapshot");
    Err(damage.map_or_else(missing, |error| Error::corrupt(error.to_string())))
}

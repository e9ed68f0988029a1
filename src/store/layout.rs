//! What is where in a directory that is a store, on this machine or another.
//!
//! ```text
//! CONFIG
//! keys/<id>  index/<id>  snapshots/<id>  condemned/<id>
//! packs/<xx>/<id>        xx: the first two digits of the id
//! tmp/                   what is being written
//! ```

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::Area;
use crate::util::Id;

/// The name of the file that makes a directory a store.
pub(super) const CONFIG: &str = "CONFIG";
/// Where objects are written before they have their names.
pub(super) const TEMPORARY: &str = "tmp";
/// For nobody else.
pub(super) const DIRECTORY_MODE: u32 = 0o700;
/// Not 0400: a mounted SMB share turns that into the read-only attribute, and then refuses to
/// rename or remove the file.
pub(super) const FILE_MODE: u32 = 0o600;

/// A file in `tmp/` that nobody wrote to for a day is nobody's: an upload is
/// 256 MiB at most. Should somebody yet own it, their commit fails and nothing else.
pub(super) const STALE: Duration = Duration::from_secs(24 * 3600);

/// Digits in the name of a file in `tmp/`.
const TEMPORARY_DIGITS: usize = 32;

/// A sweep for every so many uploads, so that a server that runs for months sweeps too.
pub(super) const UPLOADS_PER_SWEEP: u64 = 1024;

/// What file systems and NAS put into a directory that people call empty.
pub(super) const FURNITURE: [&str; 7] = [
    "lost+found",
    "@eaDir",
    "#recycle",
    ".DS_Store",
    ".Trashes",
    ".fseventsd",
    ".Spotlight-V100",
];

/// The directories below the root of a store that lead to an object, from above.
pub(super) fn directories(area: Area, id: Id) -> Vec<String> {
    let mut names = vec![area.name().to_owned()];
    if area == Area::Packs {
        names.push(id.to_string()[..2].to_owned());
    }
    names
}

/// A name for a file in `tmp/` that no other writer picks.
pub(super) fn temporary_name() -> io::Result<String> {
    let mut random = [0; TEMPORARY_DIGITS / 2];
    getrandom::fill(&mut random).map_err(io::Error::other)?;
    Ok(format!("{:032x}", u128::from_ne_bytes(random)))
}

/// Whether `name` is one that [`temporary_name`] generates. Other files in `tmp/` are foreign.
pub(super) fn is_temporary(name: &[u8]) -> bool {
    name.len() == TEMPORARY_DIGITS && name.iter().all(is_digit)
}

/// Where the objects of `area` are.
pub(super) fn directory(root: &Path, area: Area) -> PathBuf {
    root.join(area.name())
}

/// Where an object is, or would be.
pub(super) fn path(root: &Path, area: Area, id: Id) -> PathBuf {
    let name = id.to_string();
    match area {
        Area::Packs => directory(root, area).join(&name[..2]).join(name),
        _ => directory(root, area).join(name),
    }
}

/// Whether `name` is that of one of the directories packs fan out to.
pub(super) fn is_fan(name: &[u8]) -> bool {
    name.len() == 2 && name.iter().all(is_digit)
}

/// Whether `byte` is a hexadecimal digit, as names have them.
fn is_digit(byte: &u8) -> bool {
    matches!(byte, b'0'..=b'9' | b'a'..=b'f')
}

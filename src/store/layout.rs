//! The layout of a directory that is a store, local or remote.
//!
//! ```text
//! CONFIG
//! keys/<id>  index/<id>  snapshots/<id>  condemned/<id>
//! packs/<xx>/<id>        xx: the first two digits of the id
//! tmp/                   temporary files of writers
//! ```

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::Area;
use crate::util::Id;

/// The name of the file that makes a directory a store.
pub(super) const CONFIG: &str = "CONFIG";
/// The directory in which objects are written before they are renamed.
pub(super) const TEMPORARY: &str = "tmp";
/// Only the owner can enter the directories.
pub(super) const DIRECTORY_MODE: u32 = 0o700;
/// Not 0400: a mounted SMB share turns that into the read-only attribute, and then refuses to
/// rename or remove the file.
pub(super) const FILE_MODE: u32 = 0o600;

/// The age after which a file in `tmp/` is considered abandoned. An upload has at most 256 MiB, so
/// it does not pause for a day. If an upload is nevertheless active, its commit fails, without
/// further consequences.
pub(super) const STALE: Duration = Duration::from_secs(24 * 3600);

/// The number of digits in the name of a file in `tmp/`.
const TEMPORARY_DIGITS: usize = 32;

/// The number of uploads per sweep, so that a server that runs for months sweeps too.
pub(super) const UPLOADS_PER_SWEEP: u64 = 1024;

/// Entries that file systems and NAS create, in a directory that the user considers empty.
pub(super) const FURNITURE: [&str; 7] = [
    "lost+found",
    "@eaDir",
    "#recycle",
    ".DS_Store",
    ".Trashes",
    ".fseventsd",
    ".Spotlight-V100",
];

/// Returns the directories between the root of a store and an object, outermost first.
pub(super) fn directories(area: Area, id: Id) -> Vec<String> {
    let mut names = vec![area.name().to_owned()];
    if area == Area::Packs {
        names.push(id.to_string()[..2].to_owned());
    }
    names
}

/// Returns a random name for a file in `tmp/`.
pub(super) fn temporary_name() -> io::Result<String> {
    let mut random = [0; TEMPORARY_DIGITS / 2];
    getrandom::fill(&mut random).map_err(io::Error::other)?;
    Ok(format!("{:032x}", u128::from_ne_bytes(random)))
}

/// Whether `name` is one that [`temporary_name`] generates. Other files in `tmp/` are foreign.
pub(super) fn is_temporary(name: &[u8]) -> bool {
    name.len() == TEMPORARY_DIGITS && name.iter().all(is_digit)
}

/// Returns the directory of `area`.
pub(super) fn directory(root: &Path, area: Area) -> PathBuf {
    root.join(area.name())
}

/// Returns the path of an object, whether or not it exists.
pub(super) fn path(root: &Path, area: Area, id: Id) -> PathBuf {
    let name = id.to_string();
    match area {
        Area::Packs => directory(root, area).join(&name[..2]).join(name),
        _ => directory(root, area).join(name),
    }
}

/// Whether `name` is one of the directories over which packs are distributed.
pub(super) fn is_fan(name: &[u8]) -> bool {
    name.len() == 2 && name.iter().all(is_digit)
}

/// Whether `byte` is a lower-case hex digit.
fn is_digit(byte: &u8) -> bool {
    matches!(byte, b'0'..=b'9' | b'a'..=b'f')
}

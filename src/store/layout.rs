//! What is where in a directory that is a store, on this machine or another.
//!
//! ```text
//! CONFIG
//! keys/<id>  index/<id>  snapshots/<id>  condemned/<id>
//! packs/<xx>/<id>        xx: the first two digits of the id
//! tmp/                   what is being written
//! ```

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
    let digit = |byte: &u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
    name.len() == 2 && name.iter().all(digit)
}

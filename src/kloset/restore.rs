//! Bringing a snapshot, or a part of one, back. (being written)

use std::collections::BTreeMap;
use std::time::Duration;

use super::Kloset;
use super::snapshot::Snapshot;
use crate::connector::{Destination, Lost, Permissions};
use crate::error::Result;
use crate::util::interrupt::Interrupt;

/// How to restore.
pub struct Options {
    /// Whether owners, modes and attributes are put back.
    pub permissions: Permissions,
    /// Threads that decode and write.
    pub workers: usize,
    /// Set when the user wants to stop.
    pub interrupt: Interrupt,
}

/// How a restore went.
#[derive(Clone, Debug, Default)]
pub struct Summary {
    /// Files, links and the like that were written.
    pub files: u64,
    /// Files that were there already, with the same contents.
    pub identical: u64,
    /// Directories.
    pub directories: u64,
    /// Bytes written.
    pub bytes: u64,
    /// Items that could not be restored.
    pub errors: u64,
    /// What could not be put back of metadata, and on how many items.
    pub lost: BTreeMap<Lost, u64>,
    /// How long it took.
    pub duration: Duration,
}

/// Restores what is at `path` in `snapshot`: what is inside of a directory lands in the
/// destination's root, anything else under its own name.
pub fn run(
    _kloset: &Kloset,
    _snapshot: &Snapshot,
    _path: &[u8],
    _destination: &dyn Destination,
    _options: &Options,
) -> Result<Summary> {
    Ok(Summary::default())
}

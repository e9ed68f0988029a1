//! Opening entries of an open directory for reading, never through a symbolic link, and without
//! changing the access time if the kernel permits.
//!
//! This module knows neither the type nor the purpose of the entries.

use std::os::fd::{BorrowedFd, OwnedFd};

use rustix::fs::{Mode, OFlags, openat};
use rustix::io::Errno;

/// Whether to preserve access times (`O_NOATIME`), which the kernel permits only to the owner and
/// root.
///
/// It is tried for every directory. It is tried for a file unless it has failed for its directory
/// or for an earlier file in it. Therefore reading files of another user costs one failed call per
/// directory and not one per file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Atime {
    /// Try to preserve them.
    Keep,
    /// Do not try: it was refused before.
    Update,
}

/// Opens `name` for reading and never follows a symbolic link. The second value is the `atime` mode
/// in effect.
pub(super) fn open_keeping_atime(
    dir: BorrowedFd<'_>,
    name: &[u8],
    flags: OFlags,
    atime: Atime,
) -> Result<(OwnedFd, Atime), Errno> {
    let flags = flags | OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    if atime == Atime::Keep {
        match openat(dir, name, flags | OFlags::NOATIME, Mode::empty()) {
            Err(Errno::PERM) => {}
            outcome => return Ok((outcome?, Atime::Keep)),
        }
    }
    Ok((openat(dir, name, flags, Mode::empty())?, Atime::Update))
}

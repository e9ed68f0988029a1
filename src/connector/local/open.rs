//! Opening for reading: a name in an open directory, never through a link, and without
//! a trace in its access time where the kernel lets us.
//!
//! It must not know what is opened, or what for.

use std::os::fd::{BorrowedFd, OwnedFd};

use rustix::fs::{Mode, OFlags, openat};
use rustix::io::Errno;

/// Whether to ask for access times to be left alone (`O_NOATIME`), which the kernel
/// refuses to all but the owner and root.
///
/// Every directory is tried. A file is tried unless that failed for its directory or for
/// a file before it there, so that reading other people's files costs one failing call
/// a directory and not one a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Atime {
    /// Ask for it.
    Keep,
    /// Don't bother: it was refused.
    Update,
}

/// Opens `name` for reading, never following a link; the second value tells what became
/// of `atime`.
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

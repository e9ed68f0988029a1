//! Inode flags as set by `chattr`, the last attribute set on an entry.
//!
//! An immutable or append-only inode refuses all other changes, including rename, replacement and
//! hard links. Therefore its flags are set after it has its final name, and [`unlocked`]
//! temporarily clears them to add a hard link or to replace the file by a newer version.

use std::os::fd::{AsFd, BorrowedFd};

use rustix::fs::{IFlags, Mode, OFlags, ioctl_getflags, ioctl_setflags, openat};
use rustix::io::Errno;

use super::attributes::{self, Before, Given, attempt};
use super::node::Node;
use crate::connector::{Attributes, Lost, Made, Permissions};
use crate::error::{During, Result};

/// The flags that prevent changes of an inode.
const LOCKS: IFlags = IFlags::IMMUTABLE.union(IFlags::APPEND);

/// The flags that a user may set. The others describe how the file system stores the inode
/// (extents, inline data) and must be kept.
const SETTABLE: IFlags = LOCKS
    .union(IFlags::COMPRESSED)
    .union(IFlags::DIRSYNC)
    .union(IFlags::JOURNALING)
    .union(IFlags::NOATIME)
    .union(IFlags::NOCOW)
    .union(IFlags::NODUMP)
    .union(IFlags::NOTAIL)
    .union(IFlags::PROJECT_INHERIT)
    .union(IFlags::SECURE_REMOVAL)
    .union(IFlags::SYNC)
    .union(IFlags::TOPDIR)
    .union(IFlags::UNRM);

/// Sets the flags of `attributes` on the open file or directory `fd`, which either was just created
/// (and has no flags) or existed, according to `made`.
pub(super) fn put(
    fd: BorrowedFd<'_>,
    attributes: &Attributes<'_>,
    permissions: Permissions,
    made: Made,
    lost: &mut Vec<Lost>,
) -> Result<()> {
    if permissions == Permissions::Restore
        && set(fd, attributes.flags, made).during(|| "set flags")? == Given::No
    {
        lost.push(Lost::Flags);
    }
    Ok(())
}

/// Sets attributes on a file or directory that has its final name. If it existed before, it may be
/// locked by its flags, which are cleared first.
pub(super) fn put_on(
    file: impl AsFd,
    made: Made,
    before: &Before,
    attributes: &Attributes<'_>,
    permissions: Permissions,
) -> Result<Vec<Lost>> {
    let node = Node::Open(file.as_fd());
    if made == Made::Existed && permissions == Permissions::Restore {
        lift(node.fd());
    }
    let mut lost = attributes::put(node, before, attributes, permissions)?;
    put(node.fd(), attributes, permissions, made, &mut lost)?;
    Ok(lost)
}

/// Sets the flags `wanted` and clears the other settable ones.
///
/// Locking an inode requires a capability that even root may lack. In that case the other flags are
/// set without the locks.
fn set(fd: BorrowedFd<'_>, wanted: u32, made: Made) -> Result<Given> {
    let wanted = IFlags::from_bits_retain(wanted) & SETTABLE;
    if wanted.is_empty() && made == Made::New {
        return Ok(Given::Yes);
    }
    let Ok(now) = ioctl_getflags(fd) else {
        // The file system does not support flags: only requested flags are missing.
        return Ok(if wanted.is_empty() {
            Given::Yes
        } else {
            Given::No
        });
    };
    let whole = now.difference(SETTABLE) | wanted;
    if whole == now {
        return Ok(Given::Yes);
    }
    if attempt(ioctl_setflags(fd, whole))? == Given::Yes {
        return Ok(Given::Yes);
    }
    let _ = attempt(ioctl_setflags(fd, whole.difference(LOCKS)))?;
    Ok(Given::No)
}

/// Clears the locks of `fd`, if it has any and the process may clear them. Returns the previous
/// flags.
pub(super) fn lift(fd: BorrowedFd<'_>) -> Option<IFlags> {
    let flags = ioctl_getflags(fd)
        .ok()
        .filter(|flags| flags.intersects(LOCKS))?;
    ioctl_setflags(fd, flags.difference(LOCKS))
        .ok()
        .map(|()| flags)
}

/// Runs `act`, which requires that the file `name` in `dir` is not locked. Has no cost unless `act`
/// is refused. The flags are restored afterwards, since the file may have other names.
pub(super) fn unlocked(
    dir: BorrowedFd<'_>,
    name: &[u8],
    act: impl Fn() -> rustix::io::Result<()>,
) -> rustix::io::Result<()> {
    let refused = match act() {
        Err(Errno::PERM) => Errno::PERM,
        other => return other,
    };
    let how =
        OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    let file = openat(dir, name, how, Mode::empty()).map_err(|_| refused)?;
    let flags = lift(file.as_fd()).ok_or(refused)?;
    let outcome = act();
    // A lock that was just cleared can be set again; if not, `act` has succeeded nevertheless.
    let _ = ioctl_setflags(&file, flags);
    outcome
}

//! Inode flags: what `chattr` sets, the last thing put on an entry.
//!
//! An immutable or append-only inode refuses every other change, being renamed,
//! replaced or linked among them. So its flags are set when it has its name, and
//! [`unlocked`] lifts them for a moment where a second name or a newer version of
//! the file has to pass.

use std::os::fd::{AsFd, BorrowedFd};

use rustix::fs::{IFlags, Mode, OFlags, ioctl_getflags, ioctl_setflags, openat};
use rustix::io::Errno;

use super::attributes::{self, Before, Given, attempt};
use super::node::Node;
use crate::connector::{Attributes, Lost, Made, Permissions};
use crate::error::{During, Result};

/// What holds an inode fast.
const LOCKS: IFlags = IFlags::IMMUTABLE.union(IFlags::APPEND);

/// The flags a user may set. The others describe how the file system keeps the
/// inode (extents, inline data) and must stay as they are.
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

/// Puts the flags of `attributes` on the open file or directory `fd`, which was `made` by us
/// and has none of its own, or existed.
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

/// Puts attributes on a file or directory that has its name; one that was there before
/// may be locked by its flags, which are lifted for it.
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

/// Sets the flags `wanted` and clears the others.
///
/// Locking an inode needs a capability that even root may lack: the other flags are
/// then set without the locks.
fn set(fd: BorrowedFd<'_>, wanted: u32, made: Made) -> Result<Given> {
    let wanted = IFlags::from_bits_retain(wanted) & SETTABLE;
    if wanted.is_empty() && made == Made::New {
        return Ok(Given::Yes);
    }
    let Ok(now) = ioctl_getflags(fd) else {
        // No flags on this file system; then only those asked for are missing.
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

/// Lifts the locks of `fd`, if it has any and we may, and tells what its flags were.
pub(super) fn lift(fd: BorrowedFd<'_>) -> Option<IFlags> {
    let flags = ioctl_getflags(fd)
        .ok()
        .filter(|flags| flags.intersects(LOCKS))?;
    ioctl_setflags(fd, flags.difference(LOCKS))
        .ok()
        .map(|()| flags)
}

/// Does `act`, which needs the file `name` in `dir` to be free of locks. Costs nothing
/// unless it is refused; the flags are put back, as the file may have other names.
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
    // A lock we just lifted can be set again; where not, the act has still been done.
    let _ = ioctl_setflags(&file, flags);
    outcome
}

//! [`Node`]: an open descriptor of the inode whose metadata is set.
//!
//! Metadata is never set through a name, since a user with write permission for the directory could
//! replace the file between two calls. A file or directory is kept open, and the `f...` calls are
//! used. Symbolic links, FIFOs, sockets and devices cannot be opened without following, blocking or
//! triggering them. They are opened with `O_PATH` and accessed through `/proc/self/fd`, which
//! refers to the inode itself even if it is a symbolic link.
//!
//! This module implements system calls. It does not know which of them a restore needs, or which
//! errors it tolerates.

use std::os::fd::{AsRawFd, BorrowedFd};

use rustix::fs::{
    self, AtFlags, CWD, Gid, Mode, Timespec, Timestamps, UTIME_OMIT, Uid, XattrFlags,
};
use rustix::io::{Errno, Result};

/// The number that `chown` interprets as "do not change", so it cannot be an owner.
const NOBODY: u32 = u32::MAX;

/// An inode whose metadata can be set.
#[derive(Clone, Copy)]
pub(super) enum Node<'a> {
    /// A file or directory opened for reading or writing.
    Open(BorrowedFd<'a>),
    /// Any inode, opened with `O_PATH`.
    Path(BorrowedFd<'a>),
}

impl<'a> Node<'a> {
    /// The descriptor of the inode.
    pub(super) fn fd(self) -> BorrowedFd<'a> {
        match self {
            Node::Open(fd) | Node::Path(fd) => fd,
        }
    }

    /// Changes the group, and the user if one is given. Clears setuid, setgid and capabilities.
    pub(super) fn chown(self, uid: Option<u32>, gid: u32) -> Result<()> {
        if uid == Some(NOBODY) || gid == NOBODY {
            return Err(Errno::INVAL);
        }
        let (uid, gid) = (uid.map(Uid::from_raw), Some(Gid::from_raw(gid)));
        match self {
            Node::Open(fd) => fs::fchown(fd, uid, gid),
            Node::Path(fd) => fs::chownat(fd, c"", uid, gid, AtFlags::EMPTY_PATH),
        }
    }

    /// Sets the 12 permission bits.
    pub(super) fn chmod(self, mode: u32) -> Result<()> {
        let mode = Mode::from_raw_mode(mode);
        match self {
            Node::Open(fd) => fs::fchmod(fd, mode),
            Node::Path(fd) => fs::chmodat(CWD, proc_path(fd), mode, AtFlags::empty()),
        }
    }

    /// Sets the modification time and keeps the access time.
    pub(super) fn set_mtime(self, mtime_ns: i64) -> Result<()> {
        let times = Timestamps {
            last_access: Timespec {
                tv_sec: 0,
                tv_nsec: UTIME_OMIT,
            },
            last_modification: timespec(mtime_ns),
        };
        match self {
            Node::Open(fd) => fs::futimens(fd, &times),
            Node::Path(fd) => fs::utimensat(CWD, proc_path(fd), &times, AtFlags::empty()),
        }
    }

    /// Sets an extended attribute, whether or not it exists.
    pub(super) fn set_xattr(self, name: &[u8], value: &[u8]) -> Result<()> {
        match self {
            Node::Open(fd) => fs::fsetxattr(fd, name, value, XattrFlags::empty()),
            Node::Path(fd) => fs::setxattr(proc_path(fd), name, value, XattrFlags::empty()),
        }
    }

    /// Whether the inode has this extended attribute with this value.
    pub(super) fn has_xattr(self, name: &[u8], value: &[u8]) -> bool {
        // One byte more than the value, to detect longer values.
        let mut found = vec![0; value.len() + 1];
        let length = match self {
            Node::Open(fd) => fs::fgetxattr(fd, name, &mut found[..]),
            Node::Path(fd) => fs::getxattr(proc_path(fd), name, &mut found[..]),
        };
        length.is_ok_and(|length| found[..length] == *value)
    }

    pub(super) fn remove_xattr(self, name: &[u8]) -> Result<()> {
        match self {
            Node::Open(fd) => fs::fremovexattr(fd, name),
            Node::Path(fd) => fs::removexattr(proc_path(fd), name),
        }
    }

    /// Returns the names of all extended attributes, each terminated by NUL.
    pub(super) fn list_xattrs(self) -> Result<Vec<u8>> {
        let mut names = Vec::new();
        match self {
            Node::Open(fd) => {
                names.resize(fs::flistxattr_query(fd)?, 0);
                let length = fs::flistxattr(fd, &mut names[..])?;
                names.truncate(length);
            }
            Node::Path(fd) => {
                names.resize(fs::listxattr_query(proc_path(fd))?, 0);
                let length = fs::listxattr(proc_path(fd), &mut names[..])?;
                names.truncate(length);
            }
        }
        Ok(names)
    }
}

/// Returns the path in `/proc` of the inode `fd`, which may be a symbolic link.
pub(super) fn proc_path(fd: BorrowedFd<'_>) -> String {
    format!("/proc/self/fd/{}", fd.as_raw_fd())
}

/// Converts a time. Seconds are rounded down, so that nanoseconds are positive for times before
/// 1970.
fn timespec(time_ns: i64) -> Timespec {
    let nanoseconds = time_ns.rem_euclid(1_000_000_000);
    Timespec {
        tv_sec: time_ns.div_euclid(1_000_000_000),
        tv_nsec: nanoseconds as fs::Nsecs,
    }
}

//! Extended attributes and inode flags: what `lstat` does not tell.
//!
//! Attributes are recorded as the kernel lists them, whatever their name space, since
//! what is left out cannot be restored: POSIX ACLs (`system.posix_acl_*`), capabilities
//! and labels (`security.*`) are attributes like any other. Two sorts are left out:
//! those we may not read, and those that are [views](VIEWS) of something else.
//!
//! Every buffer has the size of the kernel's own limit, so no attribute that grows
//! between two calls can make us ask again. It must not know what the attributes mean.

use std::ffi::CStr;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};

use rustix::fs::{
    fgetxattr, flistxattr, getxattr, ioctl_getflags, lgetxattr, listxattr, llistxattr, readlinkat,
};
use rustix::io::Errno;

use crate::connector::{Details, FileKind};
use crate::error::{During, Result};
use crate::util::printable::printable;

/// Attributes by name, sorted.
pub(super) type Xattrs = Vec<(Vec<u8>, Vec<u8>)>;

/// The longest value and the longest list of names that Linux hands out
/// (`XATTR_SIZE_MAX` and `XATTR_LIST_MAX` of `linux/limits.h`).
const MAX_XATTR_BYTES: usize = 64 << 10;

/// Where the kernel's answer goes: on the stack, never cleared, since most files have no
/// attributes and should not pay for those that do.
type Buffer = [MaybeUninit<u8>; MAX_XATTR_BYTES];

/// Attributes that some kernels list but nobody stored: where AFS, Ceph and Lustre keep
/// a file and what it adds up to, and the protocol of a socket. They cannot be set, or
/// would tie the file to a place it no longer has.
const VIEWS: [&[u8]; 4] = [b"afs.", b"ceph.", b"lustre.", b"system.sockprotoname"];

/// The inode flags that a user or root can set again, as `chattr(1)` names them.
///
/// Left out are those that tell how the file system stores the inode (extents, index,
/// inline data, huge, verity, encrypted), and case folding, which only an empty
/// directory takes.
pub(super) const SETTABLE_FLAGS: u32 = 0x0000_0001 // s  zero when deleted
    | 0x0000_0002 // u  can be undeleted
    | 0x0000_0004 // c  compressed
    | 0x0000_0008 // S  synchronous
    | 0x0000_0010 // i  immutable
    | 0x0000_0020 // a  append only
    | 0x0000_0040 // d  no dump
    | 0x0000_0080 // A  no access times
    | 0x0000_0400 // m  never compressed
    | 0x0000_4000 // j  contents are journalled
    | 0x0000_8000 // t  no tail merging
    | 0x0001_0000 // D  synchronous directory
    | 0x0002_0000 // T  top of a hierarchy
    | 0x0080_0000 // C  no copy on write
    | 0x0200_0000 // x  direct access
    | 0x2000_0000; // P  project is inherited

/// Attributes and flags of an open file or directory.
pub(super) fn details_of_open(file: BorrowedFd<'_>) -> Result<Details> {
    let xattrs = xattrs(&Inode::Open(file))?;
    Ok(Details {
        xattrs,
        flags: flags(file)?,
        target: Vec::new(),
    })
}

/// Attributes of a directory that we may not read, only pass through. Opened that way it
/// does not answer about flags.
pub(super) fn details_of_passed(dir: BorrowedFd<'_>) -> Result<Details> {
    Ok(Details {
        xattrs: xattrs(&Inode::Passed(dir))?,
        ..Details::default()
    })
}

/// Attributes of what must not be opened, and where it points if it is a link. Such an
/// inode has no flags that could be asked for.
pub(super) fn details_of_unopened(
    dir: BorrowedFd<'_>,
    name: &[u8],
    kind: FileKind,
) -> Result<Details> {
    let target = match kind {
        FileKind::Symlink => readlinkat(dir, name, Vec::new())
            .during(|| "read link")?
            .into_bytes(),
        _ => Vec::new(),
    };
    Ok(Details {
        xattrs: xattrs(&Inode::Named(dir, name))?,
        flags: 0,
        target,
    })
}

/// Whose attributes to read.
pub(super) enum Inode<'a> {
    /// An open file or directory.
    Open(BorrowedFd<'a>),
    /// A directory opened only to be passed through (`O_PATH`).
    Passed(BorrowedFd<'a>),
    /// A name in an open directory: a link, device, FIFO or socket, which must not be
    /// opened to be asked.
    Named(BorrowedFd<'a>, &'a [u8]),
}

/// The extended attributes of `inode`, sorted by name.
///
/// None where the file system has none, or, for an inode that is not open, where `/proc`
/// is not mounted: there is no other way to ask.
pub(super) fn xattrs(inode: &Inode<'_>) -> Result<Xattrs> {
    let asked = Asked::new(inode);
    let mut buffer: Buffer = [MaybeUninit::uninit(); MAX_XATTR_BYTES];
    let names = match asked.list(&mut buffer) {
        Ok(names) => names,
        Err(cause) if asked.has_none(cause) => return Ok(Xattrs::new()),
        Err(cause) => return Err(cause).during(|| "list extended attributes"),
    };
    if names.is_empty() {
        return Ok(Xattrs::new());
    }
    let mut xattrs = values(&asked, names)?;
    xattrs.sort_unstable();
    Ok(xattrs)
}

/// The values of the attributes in `names`, each of which ends in a zero byte.
fn values(asked: &Asked<'_>, names: &[u8]) -> Result<Xattrs> {
    let mut xattrs = Xattrs::new();
    let mut buffer: Buffer = [MaybeUninit::uninit(); MAX_XATTR_BYTES];
    for name in names.split_inclusive(|&byte| byte == 0) {
        let Ok(name) = CStr::from_bytes_with_nul(name) else {
            continue;
        };
        if VIEWS.iter().any(|view| name.to_bytes().starts_with(view)) {
            continue;
        }
        match asked.get(name, &mut buffer) {
            Ok(value) => xattrs.push((name.to_bytes().to_vec(), value.to_vec())),
            Err(cause) if is_unreadable(cause) => {}
            Err(cause) => {
                let name = printable(name.to_bytes());
                return Err(cause).during(|| format!("read extended attribute {name}"));
            }
        }
    }
    Ok(xattrs)
}

/// Removed since it was listed, or not for us to read, or listed without being there.
fn is_unreadable(cause: Errno) -> bool {
    [Errno::NODATA, Errno::ACCESS, Errno::PERM, Errno::NOTSUP].contains(&cause)
}

/// How to ask: by descriptor, or by a path through `/proc` where there is none to read from.
enum Asked<'a> {
    File(BorrowedFd<'a>),
    /// Follows the magic link to the directory itself.
    Followed(Vec<u8>),
    /// Stops at the last name.
    Unfollowed(Vec<u8>),
}

impl<'a> Asked<'a> {
    fn new(inode: &Inode<'a>) -> Asked<'a> {
        match inode {
            Inode::Open(file) => Asked::File(*file),
            Inode::Passed(dir) => Asked::Followed(proc_path(*dir)),
            Inode::Named(dir, name) => {
                let mut path = proc_path(*dir);
                path.push(b'/');
                path.extend_from_slice(name);
                Asked::Unfollowed(path)
            }
        }
    }

    fn list<'b>(&self, buffer: &'b mut Buffer) -> Result<&'b [u8], Errno> {
        let (names, _) = match self {
            Asked::File(file) => flistxattr(file, buffer)?,
            Asked::Followed(path) => listxattr(path.as_slice(), buffer)?,
            Asked::Unfollowed(path) => llistxattr(path.as_slice(), buffer)?,
        };
        Ok(names)
    }

    fn get<'b>(&self, name: &CStr, buffer: &'b mut Buffer) -> Result<&'b [u8], Errno> {
        let (value, _) = match self {
            Asked::File(file) => fgetxattr(file, name, buffer)?,
            Asked::Followed(path) => getxattr(path.as_slice(), name, buffer)?,
            Asked::Unfollowed(path) => lgetxattr(path.as_slice(), name, buffer)?,
        };
        Ok(value)
    }

    /// Whether `cause` means that there are no attributes to have. For a path that
    /// includes `/proc` not being there.
    fn has_none(&self, cause: Errno) -> bool {
        let by_path = !matches!(self, Asked::File(_));
        let no_path = [Errno::NOENT, Errno::NOTDIR, Errno::ACCESS, Errno::PERM];
        cause == Errno::NOTSUP || cause == Errno::NOSYS || by_path && no_path.contains(&cause)
    }
}

/// The path under which the kernel shows the open directory `dir` to this process.
fn proc_path(dir: BorrowedFd<'_>) -> Vec<u8> {
    format!("/proc/self/fd/{}", dir.as_raw_fd()).into_bytes()
}

/// The flags of an open file or directory that can be [set again](SETTABLE_FLAGS); 0
/// where the file system has none.
pub(super) fn flags(file: impl AsFd) -> Result<u32> {
    match ioctl_getflags(file) {
        Ok(flags) => Ok(flags.bits() & SETTABLE_FLAGS),
        Err(Errno::NOTTY | Errno::NOTSUP | Errno::NOSYS | Errno::INVAL) => Ok(0),
        Err(Errno::PERM | Errno::ACCESS) => Ok(0),
        Err(cause) => Err(cause).during(|| "read inode flags"),
    }
}

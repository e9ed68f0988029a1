//! Extended attributes and inode flags: metadata that `lstat` does not report.
//!
//! Attributes of all name spaces are recorded as the kernel lists them: POSIX ACLs
//! (`system.posix_acl_*`), capabilities and labels (`security.*`) are attributes like any other,
//! and an attribute that is omitted cannot be restored. Two kinds are omitted: those that the
//! process may not read, and those that are [views](VIEWS) of other data.
//!
//! Every buffer has the maximum size of the kernel, so an attribute that grows between two calls
//! does not require a retry. This module does not know the meaning of the attributes.

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

/// Attributes, sorted by name.
pub(super) type Xattrs = Vec<(Vec<u8>, Vec<u8>)>;

/// The maximum size of a value and of a list of names in Linux (`XATTR_SIZE_MAX` and
/// `XATTR_LIST_MAX` of `linux/limits.h`).
const MAX_XATTR_BYTES: usize = 64 << 10;

/// The buffer for results of the kernel. It is on the stack and not cleared, since most files have
/// no attributes and should not pay for those that do.
type Buffer = [MaybeUninit<u8>; MAX_XATTR_BYTES];

/// Attributes that some kernels list although they are not stored: the placement and the statistics
/// of a file in AFS, Ceph and Lustre, and the protocol of a socket. They cannot be set, or would
/// bind the file to its former placement.
const VIEWS: [&[u8]; 4] = [b"afs.", b"ceph.", b"lustre.", b"system.sockprotoname"];

/// The inode flags that a user or root can set again, with their letters in `chattr(1)`.
///
/// Excluded are flags that describe how the file system stores the inode (extents, index, inline
/// data, huge, verity, encrypted), and case folding, which can only be set on an empty directory.
pub(super) const SETTABLE_FLAGS: u32 = 0x0000_0001 // s  zero when deleted
    | 0x0000_0002 // u  can be undeleted
    | 0x0000_0004 // c  compressed
    | 0x0000_0008 // S  synchronous
    | 0x0000_0010 // i  immutable
    | 0x0000_0020 // a  append only
    | 0x0000_0040 // d  no dump
    | 0x0000_0080 // A  no access times
    | 0x0000_0400 // m  never compressed
    | 0x0000_4000 // j  contents are journaled
    | 0x0000_8000 // t  no tail merging
    | 0x0001_0000 // D  synchronous directory
    | 0x0002_0000 // T  top of a hierarchy
    | 0x0080_0000 // C  no copy on write
    | 0x0200_0000 // x  direct access
    | 0x2000_0000; // P  project is inherited

/// Returns attributes and flags of an open file or directory.
pub(super) fn details_of_open(file: BorrowedFd<'_>) -> Result<Details> {
    let xattrs = xattrs(&Inode::Open(file))?;
    Ok(Details {
        xattrs,
        flags: flags(file)?,
        target: Vec::new(),
    })
}

/// Returns the attributes of a directory that the process may search but not read. The kernel does
/// not report flags for its `O_PATH` descriptor.
pub(super) fn details_of_passed(dir: BorrowedFd<'_>) -> Result<Details> {
    Ok(Details {
        xattrs: xattrs(&Inode::Passed(dir))?,
        ..Details::default()
    })
}

/// Returns the attributes of an entry that must not be opened, and the target of a symbolic link.
/// Its flags cannot be read.
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

/// The inode whose attributes are read.
pub(super) enum Inode<'a> {
    /// An open file or directory.
    Open(BorrowedFd<'a>),
    /// A directory opened with `O_PATH`, for searching only.
    Passed(BorrowedFd<'a>),
    /// A name in an open directory: a symbolic link, device, FIFO or socket, which must not be
    /// opened.
    Named(BorrowedFd<'a>, &'a [u8]),
}

/// Reads the extended attributes of `inode`, sorted by name.
///
/// Returns none if the file system does not support them, or if `/proc` is not mounted and the
/// inode is not open: there is no other way to read them.
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

/// Reads the values of the attributes in `names`, which are zero-terminated.
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

/// The attribute was removed since it was listed, or may not be read, or is listed but not present.
fn is_unreadable(cause: Errno) -> bool {
    [Errno::NODATA, Errno::ACCESS, Errno::PERM, Errno::NOTSUP].contains(&cause)
}

/// How the attributes are read: by descriptor, or by a path in `/proc` if no readable descriptor
/// exists.
enum Asked<'a> {
    File(BorrowedFd<'a>),
    /// A path whose magic link is followed to the directory itself.
    Followed(Vec<u8>),
    /// A path whose last component is not followed.
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

    /// Whether `cause` means that there are no attributes. For a path this includes a missing
    /// `/proc`.
    fn has_none(&self, cause: Errno) -> bool {
        let by_path = !matches!(self, Asked::File(_));
        let no_path = [Errno::NOENT, Errno::NOTDIR, Errno::ACCESS, Errno::PERM];
        cause == Errno::NOTSUP || cause == Errno::NOSYS || by_path && no_path.contains(&cause)
    }
}

/// Returns the path of the open directory `dir` in `/proc`.
fn proc_path(dir: BorrowedFd<'_>) -> Vec<u8> {
    format!("/proc/self/fd/{}", dir.as_raw_fd()).into_bytes()
}

/// Returns the flags of an open file or directory that can be [set again](SETTABLE_FLAGS), or 0 if
/// the file system does not support flags.
pub(super) fn flags(file: impl AsFd) -> Result<u32> {
    match ioctl_getflags(file) {
        Ok(flags) => Ok(flags.bits() & SETTABLE_FLAGS),
        Err(Errno::NOTTY | Errno::NOTSUP | Errno::NOSYS | Errno::INVAL) => Ok(0),
        Err(Errno::PERM | Errno::ACCESS) => Ok(0),
        Err(cause) => Err(cause).during(|| "read inode flags"),
    }
}

//! The local file system as a source.
//!
//! | step | system calls |
//! |---|---|
//! | list a directory | `getdents` into 32 KiB on the stack, one `statx` per entry, in inode order |
//! | read a small file | `openat`, `statx`, `read`, `statx`, `close` |
//! | its details | `flistxattr`, `ioctl`, and one `fgetxattr` per attribute |
//!
//! Concurrent changes of the tree by other users are safe. Every name is resolved in a directory
//! that is already open, without following symbolic links. A file is opened such that a FIFO cannot
//! block, and its type is checked after the opening, not before. If a device has replaced a file,
//! it is only opened and closed.
//!
//! Access times are preserved if the kernel permits (`open.rs`).
//!
//! This module knows neither which files are selected nor what happens to their contents.

use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use rustix::fs::{CWD, Mode, OFlags, RawDir, openat};
use rustix::io::Errno;

use super::details::{details_of_open, details_of_passed, details_of_unopened};
use super::file::LocalFile;
use super::names::Names;
use super::open::{Atime, open_keeping_atime};
use super::stat::{stat_at, stat_fd};
use crate::connector::{Details, FileKind, Item, Metadata, Source, SourceDir, SourceFile};
use crate::error::{During, Error, Kind, Result};
use crate::util::printable::printable;

/// The buffer for one `getdents` call, about 600 names: the same size as in the C library.
const LISTING_BYTES: usize = 32 << 10;

/// The local file system.
pub struct LocalSource {
    host: String,
    names: &'static Names,
}

impl LocalSource {
    /// Creates the source. The origin is the current host name.
    ///
    /// # Errors
    /// [`Kind::Failed`] if the host name is not UTF-8.
    pub fn new() -> Result<LocalSource> {
        let uname = rustix::system::uname();
        let host = uname.nodename().to_str();
        let host = host.map_err(|_| Error::new(Kind::Failed, "the host name is not UTF-8"))?;
        Ok(LocalSource {
            host: host.to_owned(),
            names: Names::shared(),
        })
    }
}

impl Source for LocalSource {
    fn kind(&self) -> &str {
        "fs"
    }

    fn origin(&self) -> &str {
        &self.host
    }

    fn root(&self) -> Result<(Arc<dyn SourceDir>, Metadata)> {
        let dir = LocalDir::open(CWD, b"/")?;
        let metadata = stat_fd(&dir.fd).during(|| "stat")?;
        Ok((Arc::new(dir), metadata))
    }

    fn user_name(&self, uid: u32) -> Option<Arc<str>> {
        self.names.user(uid)
    }

    fn group_name(&self, gid: u32) -> Option<Arc<str>> {
        self.names.group(gid)
    }
}

/// The access with which a directory was opened.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Reach {
    /// Listing and searching.
    List,
    /// Searching only: the directory is not readable, such as a `/home` with mode 0711.
    Pass,
}

/// An open local directory.
struct LocalDir {
    fd: OwnedFd,
    reach: Reach,
    /// Whether [`Atime::Keep`] is worth trying for its files.
    keeps_atime: AtomicBool,
    /// Whether the offset of `fd` was used: threads that list the same directory must not share it.
    listed: AtomicBool,
}

impl LocalDir {
    /// Opens the directory `name` of `dir`.
    fn open(dir: BorrowedFd<'_>, name: &[u8]) -> Result<LocalDir> {
        let (fd, reach, atime) = match open_keeping_atime(dir, name, OFlags::DIRECTORY, Atime::Keep)
        {
            Ok((fd, atime)) => (fd, Reach::List, atime),
            Err(Errno::ACCESS) => (open_to_pass(dir, name)?, Reach::Pass, Atime::Update),
            Err(Errno::NOTDIR) => return Err(not_a_directory()),
            Err(cause) => return Err(cause).during(|| "open"),
        };
        Ok(LocalDir {
            fd,
            reach,
            keeps_atime: AtomicBool::new(atime == Atime::Keep),
            listed: AtomicBool::new(false),
        })
    }

    /// Returns the names and inode numbers of all entries.
    fn listing(&self) -> Result<Vec<(u64, Vec<u8>)>> {
        let is_first = !self.listed.swap(true, Ordering::Relaxed);
        if is_first && self.reach == Reach::List {
            return list(&self.fd);
        }
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        list(openat(&self.fd, c".", flags, Mode::empty()).during(|| "open")?)
    }

    /// Opens the regular file `name`.
    fn open_local_file(&self, name: &[u8]) -> Result<LocalFile> {
        let wanted = match self.keeps_atime.load(Ordering::Relaxed) {
            true => Atime::Keep,
            false => Atime::Update,
        };
        let (file, got) = LocalFile::open(self.fd.as_fd(), name, wanted)?;
        if got != wanted {
            self.keeps_atime.store(false, Ordering::Relaxed);
        }
        Ok(file)
    }
}

impl SourceDir for LocalDir {
    fn items(&self) -> Result<Vec<Item>> {
        let mut listing = self.listing().during(|| "list")?;
        // On disk, inodes are ordered by number, but directories list names in hash order. Calling
        // `statx` in inode order avoids most seeks on a disk that is not cached.
        listing.sort_unstable_by_key(|&(inode, _)| inode);
        let items = listing.into_iter().map(|(_, name)| {
            let metadata = stat_at(&self.fd, &name).during(|| "stat");
            Item { name, metadata }
        });
        Ok(items.filter(|item| !has_vanished(item)).collect())
    }

    fn stat(&self, name: &[u8]) -> Result<Metadata> {
        check_name(name)?;
        stat_at(&self.fd, name).during(|| "stat")
    }

    fn open_dir(&self, name: &[u8]) -> Result<Arc<dyn SourceDir>> {
        check_name(name)?;
        Ok(Arc::new(LocalDir::open(self.fd.as_fd(), name)?))
    }

    fn open_file(&self, name: &[u8]) -> Result<Box<dyn SourceFile>> {
        check_name(name)?;
        Ok(Box::new(self.open_local_file(name)?))
    }

    fn details(&self, name: &[u8], kind: FileKind) -> Result<Details> {
        match kind {
            FileKind::Directory => self.open_dir(name)?.own_details(),
            FileKind::File => self.open_file(name)?.details(),
            _ => {
                check_name(name)?;
                details_of_unopened(self.fd.as_fd(), name, kind)
            }
        }
    }

    fn own_details(&self) -> Result<Details> {
        match self.reach {
            Reach::List => details_of_open(self.fd.as_fd()),
            Reach::Pass => details_of_passed(self.fd.as_fd()),
        }
    }
}

/// Reads the open directory `dir` from its current offset to its end.
fn list(dir: impl AsFd) -> Result<Vec<(u64, Vec<u8>)>> {
    let mut buffer = [MaybeUninit::uninit(); LISTING_BYTES];
    let mut entries = RawDir::new(dir, &mut buffer);
    let mut listing = Vec::new();
    while let Some(entry) = entries.next() {
        let entry = entry?;
        let name = entry.file_name().to_bytes();
        if name != b"." && name != b".." {
            listing.push((entry.ino(), name.to_vec()));
        }
    }
    Ok(listing)
}

/// Whether `item` was deleted between its listing and its `lstat`.
fn has_vanished(item: &Item) -> bool {
    matches!(&item.metadata, Err(error) if error.kind() == Kind::NotFound)
}

/// Opens a directory that is not readable, to access the entries below it.
fn open_to_pass(dir: BorrowedFd<'_>, name: &[u8]) -> Result<OwnedFd> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    match openat(dir, name, flags, Mode::empty()) {
        Err(Errno::NOTDIR) => Err(not_a_directory()),
        outcome => outcome.during(|| "open"),
    }
}

/// The kernel does not distinguish these cases for a link that is not followed.
fn not_a_directory() -> Error {
    Error::new(Kind::Failed, "not a directory, or a symbolic link to one").during("open")
}

/// Rejects a name that is not a single path component.
fn check_name(name: &[u8]) -> Result<()> {
    let is_name = !name.is_empty() && name != b"." && name != b"..";
    if is_name && !name.iter().any(|&byte| byte == b'/' || byte == 0) {
        return Ok(());
    }
    let name = printable(name);
    Err(Error::new(
        Kind::Failed,
        format!("not the name of a file: \"{name}\""),
    ))
}

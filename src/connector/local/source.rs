//! The local file system as source.
//!
//! | step | system calls |
//! |---|---|
//! | list a directory | `getdents` into 32 KiB on the stack, one `statx` an entry, in inode order |
//! | read a small file | `openat`, `statx`, `read`, `statx`, `close` |
//! | its details | `flistxattr`, `ioctl`, and one `fgetxattr` an attribute |
//!
//! What makes it safe while somebody else changes the tree: every name is resolved in
//! the directory that was opened before it, without following a link; a file is opened
//! so that a FIFO cannot make us wait, and is looked at once it is open, not before. A
//! device put in a file's place is opened and closed again, no more.
//!
//! Access times are left alone where the kernel lets us (`open.rs`).
//!
//! It must not know which files are wanted, nor what becomes of their bytes.

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

/// What one `getdents` fills: as much as the C library asks for, some 600 names.
const LISTING_BYTES: usize = 32 << 10;

/// Files of this machine.
pub struct LocalSource {
    host: String,
    names: &'static Names,
}

impl LocalSource {
    /// The files of this machine, under the name it has now.
    ///
    /// # Errors
    /// [`Kind::Failed`] if that name is not UTF-8.
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

/// What a directory was opened for.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Reach {
    /// Listing and passing through.
    List,
    /// Passing through only: we may search it but not read it, as with a `/home` of mode 0711.
    Pass,
}

/// An open directory of this machine.
struct LocalDir {
    fd: OwnedFd,
    reach: Reach,
    /// Whether files in it are worth asking [`Atime::Keep`] for.
    keeps_atime: AtomicBool,
    /// Whether the position of `fd` has been used: threads that list the same directory
    /// must not share it.
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

    /// Names and inode numbers of everything in it.
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
        // Inodes lie on the medium in the order of their numbers, names in that of a
        // hash: asking in the former order spares a cold disk most of its seeks.
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

/// Reads the open directory `dir` from where it stands to its end.
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

/// Whether `item` was removed between being listed and being looked at.
fn has_vanished(item: &Item) -> bool {
    matches!(&item.metadata, Err(error) if error.kind() == Kind::NotFound)
}

/// Opens a directory that we may not read, so that what lies below it can be reached.
fn open_to_pass(dir: BorrowedFd<'_>, name: &[u8]) -> Result<OwnedFd> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    match openat(dir, name, flags, Mode::empty()) {
        Err(Errno::NOTDIR) => Err(not_a_directory()),
        outcome => outcome.during(|| "open"),
    }
}

/// The kernel says no more about a link that was not followed.
fn not_a_directory() -> Error {
    Error::new(Kind::Failed, "not a directory, or a symbolic link to one").during("open")
}

/// Refuses what is not one name in one directory.
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

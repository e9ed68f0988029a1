//! [`Directory`]: an open directory of a store.
//!
//! Everything below the root of a store is accessed through open directories, one name at a time,
//! and no call follows a symbolic link. Other users may have write permission for the store: if
//! they replace a directory by a link, even during an operation, the operation is not redirected.
//! Only the path of the root may contain symbolic links, since the user specified it.

use std::ffi::OsString;
use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStringExt;
use std::path::Path;
use std::sync::Arc;

use rustix::fs::{
    AtFlags, Dir, FileType, Mode, OFlags, RenameFlags, Stat, linkat, mkdirat, openat,
    renameat_with, statat, unlinkat,
};
use rustix::io::Errno;

use super::owner::{Alarm, Owner};
use crate::error::{During, Error, Result};
use crate::store::layout::{DIRECTORY_MODE, FILE_MODE};

/// The flags for opening a directory.
const HOW: OFlags = OFlags::RDONLY
    .union(OFlags::DIRECTORY)
    .union(OFlags::CLOEXEC);

/// An open directory.
pub(super) struct Directory {
    fd: OwnedFd,
    /// The user who gets the entries that root creates in it, if that is not root.
    owner: Option<Owner>,
}

/// The metadata of an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Facts {
    pub(super) kind: FileType,
    pub(super) size_bytes: u64,
    /// The modification time in nanoseconds since 1970.
    pub(super) modified_ns: i64,
}

impl From<Stat> for Facts {
    fn from(stat: Stat) -> Facts {
        let nanoseconds = i64::try_from(stat.st_mtime_nsec).unwrap_or(0);
        let seconds_ns = stat.st_mtime.saturating_mul(1_000_000_000);
        Facts {
            kind: FileType::from_raw_mode(stat.st_mode),
            size_bytes: u64::try_from(stat.st_size).unwrap_or(0),
            modified_ns: seconds_ns.saturating_add(nanoseconds),
        }
    }
}

impl Directory {
    /// Opens the root of a store. Follows symbolic links.
    pub(super) fn root(path: &Path, alarm: &Arc<Alarm>) -> Result<Directory> {
        let fd = rustix::fs::open(path, HOW, Mode::empty())?;
        let owner = Owner::of(&fd, alarm)?;
        Ok(Directory { fd, owner })
    }

    /// Whether this process runs as root in the store of another user.
    pub(super) fn is_of_another_user(&self) -> bool {
        self.owner.is_some()
    }

    /// Reports this directory, called `name`, if the owner of the store cannot read it.
    pub(super) fn check_owner(&self, name: &str) -> Result<()> {
        match &self.owner {
            Some(owner) => owner.check_directory(&self.fd, name),
            None => Ok(()),
        }
    }

    /// Opens the directory `name` in this one.
    ///
    /// # Errors
    /// [`Kind::NotFound`](crate::error::Kind::NotFound) if the name does not exist;
    /// [`Kind::Corrupt`](crate::error::Kind::Corrupt) if it is not a directory.
    pub(super) fn enter(&self, name: &str) -> Result<Directory> {
        match openat(&self.fd, name, HOW | OFlags::NOFOLLOW, Mode::empty()) {
            Err(Errno::NOTDIR | Errno::LOOP) => Err(not_a_directory(name)),
            opened => Ok(Directory {
                fd: opened?,
                owner: self.owner.clone(),
            }),
        }
    }

    /// Opens the directory `name`, and creates it if it is missing. A new name is durable after a
    /// sync of this directory.
    pub(super) fn make(&self, name: &str) -> Result<Directory> {
        match mkdirat(&self.fd, name, Mode::from_raw_mode(DIRECTORY_MODE)) {
            Err(Errno::EXIST) => self.enter(name),
            made => {
                let made = made.map_err(Error::from);
                made.during(|| format!("make {name}"))?;
                let made = self.enter(name)?;
                if let Some(owner) = &made.owner {
                    owner.give_directory(&made.fd)?;
                    made.sync()?;
                }
                Ok(made)
            }
        }
    }

    /// Returns the metadata of `name`. Does not follow a symbolic link.
    pub(super) fn facts(&self, name: &str) -> io::Result<Facts> {
        let flags = AtFlags::SYMLINK_NOFOLLOW | AtFlags::NO_AUTOMOUNT;
        Ok(statat(&self.fd, name, flags)?.into())
    }

    /// Returns the names in this directory one at a time, in any order: a directory of a large
    /// store has more than should be in memory.
    pub(super) fn names(&self) -> io::Result<impl Iterator<Item = io::Result<OsString>> + use<>> {
        let entries = Dir::read_from(&self.fd)?;
        Ok(entries.filter_map(|entry| {
            let name = match entry {
                Ok(entry) => entry.file_name().to_bytes().to_vec(),
                Err(error) => return Some(Err(error.into())),
            };
            (name != b"." && name != b"..").then(|| Ok(OsString::from_vec(name)))
        }))
    }

    /// Opens `name` for reading. Does not follow a symbolic link, and does not block on a FIFO.
    pub(super) fn open(&self, name: &str) -> rustix::io::Result<File> {
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        openat(&self.fd, name, flags, Mode::empty()).map(File::from)
    }

    /// Creates the file `name`, which must not exist, and opens it for writing.
    pub(super) fn create(&self, name: &str) -> io::Result<File> {
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
        let mode = Mode::from_raw_mode(FILE_MODE);
        let file = openat(&self.fd, name, flags, mode)?;
        if let Some(owner) = &self.owner {
            owner.give(&file);
        }
        Ok(file.into())
    }

    /// Removes a file or a symbolic link.
    pub(super) fn remove(&self, name: &str) -> io::Result<()> {
        Ok(unlinkat(&self.fd, name, AtFlags::empty())?)
    }

    /// Renames the file `name` to `new` in `to`. Never replaces an existing file.
    pub(super) fn rename(&self, name: &str, to: &Directory, new: &str) -> rustix::io::Result<()> {
        renameat_with(&self.fd, name, &to.fd, new, RenameFlags::NOREPLACE)
    }

    /// Creates the hard link `new` in `to` to the file `name`. Never replaces an existing file.
    pub(super) fn link(&self, name: &str, to: &Directory, new: &str) -> rustix::io::Result<()> {
        linkat(&self.fd, name, &to.fd, new, AtFlags::empty())
    }

    /// Makes the names in this directory durable.
    ///
    /// Ignores that a file system (SMB, some FUSE) cannot sync a directory: it offers no stronger
    /// guarantee to any program.
    pub(super) fn sync(&self) -> io::Result<()> {
        match rustix::fs::fsync(&self.fd) {
            Err(Errno::INVAL | Errno::OPNOTSUPP) => Ok(()),
            outcome => Ok(outcome?),
        }
    }
}

/// The error for a name that does not refer to a directory.
pub(super) fn not_a_directory(name: &str) -> Error {
    Error::corrupt(format!(
        "{name} in the store is not a directory (symbolic links in a store are not followed)"
    ))
}

//! A file on its way to its name: written under another, synced, then published.
//!
//! Nobody ever sees half an object, because an object has no name before all of
//! it is on the disk. Nobody ever loses one, because publishing cannot replace.
//! What is published, and why, is not known here.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, CWD, RenameFlags, Timespec, Timestamps, UTIME_NOW};
use rustix::io::Errno;

use crate::store::layout::FILE_MODE;

/// A file without its name. Dropping it removes what was not published.
pub(super) struct Temporary {
    path: PathBuf,
    file: File,
}

impl Temporary {
    /// An empty file in `directory`, under a name nobody else will pick.
    pub(super) fn create(directory: &Path) -> io::Result<Temporary> {
        let mut random = [0; 16];
        getrandom::fill(&mut random).map_err(io::Error::other)?;
        let path = directory.join(format!("{:032x}", u128::from_ne_bytes(random)));
        let file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(FILE_MODE)
            .open(&path)?;
        Ok(Temporary { path, file })
    }

    /// Appends `bytes`.
    pub(super) fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.file.write_all(bytes)
    }

    /// What the file system says of the file.
    pub(super) fn metadata(&self) -> io::Result<fs::Metadata> {
        self.file.metadata()
    }

    /// Makes the bytes durable, dated now by the clock of the file system.
    ///
    /// The date is that of publishing, since ages are judged by it and an
    /// upload may take hours. A file system that cannot set it keeps the time of
    /// the last write, which is all but the same.
    pub(super) fn sync(&self) -> io::Result<()> {
        let now = Timespec {
            tv_sec: 0,
            tv_nsec: UTIME_NOW,
        };
        let times = Timestamps {
            last_access: now,
            last_modification: now,
        };
        let _ = rustix::fs::futimens(&self.file, &times);
        self.file.sync_all()
    }

    /// Gives the file its name `to`, durable once the directory is synced. May
    /// be tried again after an error.
    ///
    /// # Errors
    /// `AlreadyExists` if there is one of that name, which is left alone.
    pub(super) fn publish(&self, to: &Path) -> io::Result<()> {
        match rustix::fs::renameat_with(CWD, &self.path, CWD, to, RenameFlags::NOREPLACE) {
            // NFS and many FUSE file systems cannot rename without replacing.
            // They can link, which never replaces; the other name goes with `self`.
            Err(Errno::INVAL | Errno::NOSYS | Errno::OPNOTSUPP) => self.link(to),
            outcome => Ok(outcome?),
        }
    }

    fn link(&self, to: &Path) -> io::Result<()> {
        Ok(rustix::fs::linkat(
            CWD,
            &self.path,
            CWD,
            to,
            AtFlags::empty(),
        )?)
    }
}

impl Drop for Temporary {
    /// After a rename there is nothing of this name, and the error says so; after
    /// any other there is nobody left to tell, and a later sweep takes the file.
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.path);
    }
}

/// Makes the names in `directory` durable.
///
/// A file system that cannot sync a directory (SMB, some FUSE) gives no stronger
/// promise to anyone, so that is not an error.
pub(super) fn sync_directory(directory: &Path) -> io::Result<()> {
    match rustix::fs::fsync(File::open(directory)?) {
        Err(Errno::INVAL | Errno::OPNOTSUPP) => Ok(()),
        outcome => Ok(outcome?),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Both ways of publishing, since file systems at hand offer only the first.
    #[test]
    fn publishing_never_replaces_and_leaves_one_name() {
        for publish in [Temporary::publish, Temporary::link] {
            let directory = tempfile::tempdir().unwrap();
            let to = directory.path().join("object");
            for bytes in [b"first", b"other"] {
                let mut temporary = Temporary::create(directory.path()).unwrap();
                temporary.write(bytes).unwrap();
                let outcome = publish(&temporary, &to);
                assert_eq!(outcome.is_ok(), bytes == b"first");
            }
            assert_eq!(fs::read(&to).unwrap(), b"first");
            assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 1);
        }
    }
}

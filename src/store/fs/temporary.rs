//! A file on its way to its name: written under another, synced, then published.
//!
//! Nobody ever sees half an object, because an object has no name before all of
//! it is on the disk. Nobody ever loses one, because publishing cannot replace.
//! What is published, and why, is not known here.

use std::fs::File;
use std::io::{self, Write};

use rustix::fs::{FileType, Timespec, Timestamps, UTIME_NOW};
use rustix::io::Errno;

use super::directory::{Directory, Facts};
use crate::store::layout::{self, STALE};

/// A file without its name. Dropping it removes what was not published.
pub(super) struct Temporary {
    directory: Directory,
    name: String,
    file: File,
}

impl Temporary {
    /// An empty file in `directory`, under a name nobody else will pick.
    pub(super) fn create(directory: Directory) -> io::Result<Temporary> {
        let name = layout::temporary_name()?;
        let file = directory.create(&name)?;
        Ok(Temporary {
            directory,
            name,
            file,
        })
    }

    /// Appends `bytes`.
    pub(super) fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.file.write_all(bytes)
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

    /// Gives the file the name `name` in `to`, durable once that directory is synced. May
    /// be tried again after an error.
    ///
    /// # Errors
    /// `AlreadyExists` if there is one of that name, which is left alone.
    pub(super) fn publish(&self, to: &Directory, name: &str) -> io::Result<()> {
        match self.directory.rename(&self.name, to, name) {
            // NFS and many FUSE file systems cannot rename without replacing.
            // They can link, which never replaces; the other name goes with `self`.
            Err(Errno::INVAL | Errno::NOSYS | Errno::OPNOTSUPP) => self.link(to, name),
            outcome => Ok(outcome?),
        }
    }

    fn link(&self, to: &Directory, name: &str) -> io::Result<()> {
        Ok(self.directory.link(&self.name, to, name)?)
    }

    /// Removes the leftovers of killed writers beside this file: regular files with a name that
    /// plakar generates and that were not written to for long, by the clock that dated this
    /// file. Those that cannot be removed are left to a later sweep.
    pub(super) fn sweep(&self) -> io::Result<()> {
        let now = Facts::from(rustix::fs::fstat(&self.file)?).modified_ns;
        let names = self.directory.names()?;
        let names = names.iter().filter_map(|name| name.to_str());
        for name in names.filter(|name| layout::is_temporary(name.as_bytes())) {
            let is_stale = self.directory.facts(name).is_ok_and(|facts| {
                let age_ns = i128::from(now) - i128::from(facts.modified_ns);
                facts.kind == FileType::RegularFile && age_ns > STALE.as_nanos() as i128
            });
            if is_stale {
                let _ = self.directory.remove(name);
            }
        }
        Ok(())
    }
}

impl Drop for Temporary {
    /// After a rename there is nothing of this name, and the error says so; after
    /// any other there is nobody left to tell, and a later sweep takes the file.
    fn drop(&mut self) {
        let _ = self.directory.remove(&self.name);
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    /// Both ways of publishing, since file systems at hand offer only the first.
    #[test]
    fn publishing_never_replaces_and_leaves_one_name() {
        for publish in [Temporary::publish, Temporary::link] {
            let directory = tempfile::tempdir().unwrap();
            let open = || Directory::root(directory.path()).unwrap();
            for bytes in [b"first", b"other"] {
                let mut temporary = Temporary::create(open()).unwrap();
                temporary.write(bytes).unwrap();
                let outcome = publish(&temporary, &open(), "object");
                assert_eq!(outcome.is_ok(), bytes == b"first");
            }
            let object = directory.path().join("object");
            assert_eq!(fs::read(object).unwrap(), b"first");
            assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 1);
        }
    }
}

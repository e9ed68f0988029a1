//! A temporary file: written, synced, then published under its final name.
//!
//! A reader never sees a partial object, because an object has no final name before it is
//! completely on disk. No object is ever lost, because publishing cannot replace a file. This
//! module does not know the purpose of the files.

use std::fs::File;
use std::io::{self, Write};

use rustix::fs::{FileType, Timespec, Timestamps, UTIME_NOW};
use rustix::io::Errno;

use super::directory::{Directory, Facts};
use crate::store::layout::{self, STALE};

/// A file without its final name. Dropping it removes it unless it was published.
pub(super) struct Temporary {
    directory: Directory,
    name: String,
    file: File,
}

impl Temporary {
    /// Creates an empty file in `directory` under a random name.
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

    /// Makes the bytes durable and sets the modification time to the current time of the file
    /// system.
    ///
    /// The time is that of publication, since it determines the age of an object, and an upload may
    /// take hours. If the file system cannot set it, the time of the last write remains, which is
    /// nearly the same.
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

    /// Renames the file to `name` in `to`. The name is durable after a sync of that directory. Can
    /// be retried after an error.
    ///
    /// # Errors
    /// `AlreadyExists` if the name exists; the existing file is kept.
    pub(super) fn publish(&self, to: &Directory, name: &str) -> io::Result<()> {
        match self.directory.rename(&self.name, to, name) {
            // NFS and many FUSE file systems cannot rename without replacing. A hard link never
            // replaces, and the drop of `self` removes the other name.
            Err(Errno::INVAL | Errno::NOSYS | Errno::OPNOTSUPP) => self.link(to, name),
            outcome => Ok(outcome?),
        }
    }

    fn link(&self, to: &Directory, name: &str) -> io::Result<()> {
        Ok(self.directory.link(&self.name, to, name)?)
    }

    /// Removes the remains of killed writers in the directory of this file: regular files with a
    /// name that plakar generates and that were not modified for a long time, according to the
    /// clock that set the time of this file. Files that cannot be removed are left to a later
    /// sweep.
    pub(super) fn sweep(&self) -> io::Result<()> {
        let now = Facts::from(rustix::fs::fstat(&self.file)?).modified_ns;
        let names = self.directory.names()?.map_while(io::Result::ok);
        let names = names.filter_map(|name| name.into_string().ok());
        for name in names.filter(|name| layout::is_temporary(name.as_bytes())) {
            let is_stale = self.directory.facts(&name).is_ok_and(|facts| {
                let age_ns = i128::from(now) - i128::from(facts.modified_ns);
                facts.kind == FileType::RegularFile && age_ns > STALE.as_nanos() as i128
            });
            if is_stale {
                let _ = self.directory.remove(&name);
            }
        }
        Ok(())
    }
}

impl Drop for Temporary {
    /// After a rename the name no longer exists, which is the expected error. Any other error
    /// cannot be reported from here, and a later sweep removes the file.
    fn drop(&mut self) {
        let _ = self.directory.remove(&self.name);
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::sync::Arc;

    use super::*;
    use crate::store::fs::owner::Alarm;

    /// Tests both ways of publishing, since common local file systems use only the first.
    #[test]
    fn publishing_never_replaces_and_leaves_one_name() {
        for publish in [Temporary::publish, Temporary::link] {
            let directory = tempfile::tempdir().unwrap();
            let alarm = Arc::new(Alarm::new("st", Arc::new(|_| {})));
            let open = || Directory::root(directory.path(), &alarm).unwrap();
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

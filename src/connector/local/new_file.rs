//! [`LocalNewFile`], a file being restored, and [`LocalOldFile`], one being compared.
//!
//! Blocks are never preallocated: ranges that are not written remain holes, and a hole at the end
//! is created by setting the length after everything else is written.
//!
//! A plain new file owned by the user takes five system calls: `openat`, `pwrite64`, `fchmod`,
//! `utimensat`, `close`; plus `renameat` if it is large or replaces another file.

use std::fs::File;
use std::io::{ErrorKind, Read};
use std::os::fd::AsFd;
use std::os::unix::fs::FileExt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use rustix::fs::{Mode, OFlags, ftruncate, openat};

use super::attributes::{self, Before, existing};
use super::directory::{Directory, PRIVATE_FILE};
use super::draft::{Draft, Under};
use super::flags::{self, put_on};
use super::node::Node;
use super::stat::stat_fd;
use super::trust::may_adopt;
use crate::connector::{Attributes, FileKind, Identity, Lost, Made, NewFile, OldFile, Permissions};
use crate::error::{During, Error, Kind, Result};

/// The maximum size of a file that is created directly under an unused name. Such a file has at
/// most one chunk, so its contents are written at once.
const SMALL_BYTES: u64 = 1 << 20;

/// A file under a temporary name or an unused final name.
pub(super) struct LocalNewFile {
    file: File,
    draft: Draft,
    size_bytes: u64,
    /// The end of the last range written so far.
    written_end: AtomicU64,
}

impl LocalNewFile {
    /// Creates the file, empty and with mode 0600.
    pub(super) fn create(
        directory: &Arc<Directory>,
        name: &[u8],
        size_bytes: u64,
    ) -> Result<LocalNewFile> {
        let how =
            OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let under = if size_bytes <= SMALL_BYTES {
            Under::OwnName
        } else {
            Under::TemporaryName
        };
        let open = |name: &[u8]| openat(&**directory, name, how, Mode::from_raw_mode(PRIVATE_FILE));
        let (draft, fd) = Draft::make(directory, name, under, open)?;
        Ok(LocalNewFile {
            file: fd.into(),
            draft,
            size_bytes,
            written_end: AtomicU64::new(0),
        })
    }
}

impl NewFile for LocalNewFile {
    fn write_at(&self, bytes: &[u8], offset: u64) -> Result<()> {
        self.file.write_all_at(bytes, offset)?;
        let end = offset.saturating_add(bytes.len() as u64);
        self.written_end.fetch_max(end, Ordering::AcqRel);
        Ok(())
    }

    fn finish(&self, attributes: &Attributes<'_>, permissions: Permissions) -> Result<Vec<Lost>> {
        if self.written_end.load(Ordering::Acquire) != self.size_bytes {
            ftruncate(&self.file, self.size_bytes).during(|| "set length")?;
        }
        let before = self.draft.directory.before_of_new(0o666);
        let mut lost = attributes::put(
            Node::Open(self.file.as_fd()),
            &before,
            attributes,
            permissions,
        )?;
        self.draft.publish()?;
        flags::put(
            self.file.as_fd(),
            attributes,
            permissions,
            Made::New,
            &mut lost,
        )?;
        Ok(lost)
    }

    fn identity(&self) -> Option<Identity> {
        stat_fd(&self.file).ok().map(|found| found.identity())
    }
}

/// An existing file, open for reading.
pub(super) struct LocalOldFile {
    file: File,
    directory: Arc<Directory>,
}

impl LocalOldFile {
    /// Opens the regular file `name`, provided that it may get `attributes`. Any other file type,
    /// such as a FIFO without a writer, is an error and never blocks.
    pub(super) fn open(
        directory: &Arc<Directory>,
        name: &[u8],
        attributes: &Attributes<'_>,
        permissions: Permissions,
    ) -> Result<LocalOldFile> {
        let how =
            OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
        let file = match openat(&**directory, name, how, Mode::empty()) {
            Err(rustix::io::Errno::LOOP | rustix::io::Errno::NXIO) => return Err(not_regular()),
            result => File::from(result?),
        };
        if stat_fd(&file)?.kind != FileKind::File {
            return Err(not_regular());
        }
        let directory = directory.clone();
        let old = LocalOldFile { file, directory };
        old.before(attributes, permissions)?;
        Ok(old)
    }

    /// Returns the state of the file, provided that it may get `attributes`.
    fn before(&self, attributes: &Attributes<'_>, permissions: Permissions) -> Result<Before> {
        let found = stat_fd(&self.file)?;
        match may_adopt(&self.directory, &found, attributes, permissions) {
            true => Ok(existing(&found, None)),
            false => Err(Error::new(
                Kind::Exists,
                "other users control the file that has this name",
            )),
        }
    }
}

impl OldFile for LocalOldFile {
    fn read(&mut self, buffer: &mut [u8]) -> Result<usize> {
        let mut filled = 0;
        while filled < buffer.len() {
            match self.file.read(&mut buffer[filled..]) {
                Ok(0) => break,
                Ok(count) => filled += count,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(filled)
    }

    /// Checks the file again: it may have got another hard link during the comparison.
    fn adjust(
        &mut self,
        attributes: &Attributes<'_>,
        permissions: Permissions,
    ) -> Result<Vec<Lost>> {
        let before = self.before(attributes, permissions)?;
        put_on(&self.file, Made::Existed, &before, attributes, permissions)
    }

    fn identity(&self) -> Option<Identity> {
        stat_fd(&self.file).ok().map(|found| found.identity())
    }
}

/// Explains the error in terms of the restore.
fn not_regular() -> Error {
    Error::new(
        Kind::Exists,
        "something that is not a regular file has this name",
    )
}

//! [`LocalNewFile`], a file being restored, and [`LocalOldFile`], one being compared.
//!
//! Blocks are never allocated ahead: what is not written stays a hole, and a hole at
//! the end comes from setting the length when everything else is written.
//!
//! A plain new file of ours costs five calls: `openat`, `pwrite64`, `fchmod`,
//! `utimensat`, `close`; and `renameat` if it is large or replaces another.

use std::fs::File;
use std::io::{ErrorKind, Read, Seek, SeekFrom};
use std::ops::Range;
use std::os::fd::AsFd;
use std::os::unix::fs::FileExt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use rustix::fs::{Mode, OFlags, ftruncate, openat};

use super::attributes;
use super::directory::{Directory, PRIVATE_FILE};
use super::draft::{Draft, Under};
use super::flags;
use super::node::Node;
use super::stat::stat_fd;
use crate::connector::{
    Attributes, Details, FileKind, Lost, Made, Metadata, NewFile, Permissions, SourceFile,
};
use crate::error::{During, Error, Kind, Result};

/// Up to this size a file with a free name is made under it. It is one chunk of
/// contents at most, so written in one go.
const SMALL_BYTES: u64 = 1 << 20;

/// A file under a temporary name, or a free one.
pub(super) struct LocalNewFile {
    file: File,
    draft: Draft,
    size_bytes: u64,
    /// The end of the last part, as far as parts were written.
    written_end: AtomicU64,
}

impl LocalNewFile {
    /// Makes it, empty and private.
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
}

/// A file that was there before, open for reading.
pub(super) struct LocalOldFile(pub(super) File);

impl LocalOldFile {
    /// Opens the regular file `name`. Anything else, a FIFO that nobody writes to among it,
    /// is an error and never a hang.
    pub(super) fn open(directory: &Directory, name: &[u8]) -> Result<LocalOldFile> {
        let how =
            OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
        let file = match openat(directory, name, how, Mode::empty()) {
            Err(rustix::io::Errno::LOOP | rustix::io::Errno::NXIO) => return Err(not_regular()),
            result => File::from(result?),
        };
        if stat_fd(&file)?.kind != FileKind::File {
            return Err(not_regular());
        }
        Ok(LocalOldFile(file))
    }
}

impl SourceFile for LocalOldFile {
    fn metadata(&self) -> Result<Metadata> {
        stat_fd(&self.0)
    }

    /// Not told: [`crate::connector::DestinationDir::adjust`] puts right what differs.
    fn details(&self) -> Result<Details> {
        Err(Error::new(
            Kind::Unsupported,
            "the details of a file at the destination are not read",
        ))
    }

    fn read(&mut self, buffer: &mut [u8]) -> Result<usize> {
        let mut filled = 0;
        while filled < buffer.len() {
            match self.0.read(&mut buffer[filled..]) {
                Ok(0) => break,
                Ok(count) => filled += count,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(filled)
    }

    fn seek(&mut self, offset: u64) -> Result<()> {
        self.0.seek(SeekFrom::Start(offset))?;
        Ok(())
    }

    fn data_runs(&self, size_bytes: u64) -> Result<Vec<Range<u64>>> {
        Ok(std::iter::once(0..size_bytes).collect())
    }
}

/// In the words of somebody who restores.
fn not_regular() -> Error {
    Error::new(
        Kind::Exists,
        "something that is not a regular file has this name",
    )
}

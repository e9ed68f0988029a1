//! A file on an SFTP server, read sequentially. It may use several connections one after another.

use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use super::ahead::Fetched;
use super::{look, metadata};
use crate::connector::{Details, FileKind, Metadata, SourceFile};
use crate::error::{Error, Kind, Result};
use crate::net::ssh::pool::{Lease, Pool};
use crate::net::ssh::sftp::{File, Open};

/// An open file and the connection that opened it, which stays leased until the file is closed.
struct Opened {
    lease: Lease<Arc<Pool>>,
    file: File,
}

/// A regular file, read once.
pub(super) struct RemoteFile {
    pool: Arc<Pool>,
    path: PathBuf,
    /// The complete contents, if the file was prefetched. Valid for one pass.
    fetched: Option<Fetched>,
    /// Never contended. The lock exists because [`SourceFile::metadata`] takes a shared reference
    /// and needs the connection on which the file is open.
    opened: Mutex<Option<Opened>>,
    /// The offset of the next byte to read.
    position: u64,
    /// The size at the last check.
    size_bytes: u64,
}

impl RemoteFile {
    /// Opens the regular file at `path`. The file type is checked first, so that any other file
    /// type, such as a FIFO, is an error and never blocks.
    pub(super) fn open(pool: &Arc<Pool>, path: PathBuf) -> Result<RemoteFile> {
        let mut file = RemoteFile {
            pool: pool.clone(),
            path,
            fetched: None,
            opened: Mutex::default(),
            position: 0,
            size_bytes: 0,
        };
        file.with(|_| Ok(()))?;
        Ok(file)
    }

    /// Wraps the prefetched regular file at `path`. The file is opened only if it is read again.
    pub(super) fn fetched(pool: &Arc<Pool>, path: PathBuf, fetched: Fetched) -> RemoteFile {
        RemoteFile {
            pool: pool.clone(),
            path,
            size_bytes: fetched.metadata.size_bytes,
            fetched: Some(fetched),
            opened: Mutex::default(),
            position: 0,
        }
    }

    /// Runs `work` on the open file. If the connection is lost, opens the file again and repeats
    /// `work`.
    fn with<T>(&mut self, mut work: impl FnMut(&mut Opened) -> Result<T>) -> Result<T> {
        let held = self.opened.get_mut();
        let held = held.unwrap_or_else(PoisonError::into_inner);
        self.pool.again(|| {
            let opened = match held {
                Some(opened) => opened,
                None => {
                    let (opened, size_bytes) = opened(&self.pool, &self.path)?;
                    self.size_bytes = size_bytes;
                    held.insert(opened)
                }
            };
            let done = work(opened);
            if is_lost(&done) {
                *held = None;
            }
            done
        })
    }

    /// Closes the file and returns its connection to the pool. The next read opens the file again.
    pub(super) fn let_go(&mut self) {
        let held = self.opened.get_mut();
        let held = held.unwrap_or_else(PoisonError::into_inner);
        if let Some(Opened { mut lease, file }) = held.take() {
            // The file was only read, so an error does not matter.
            let _ = lease.close(file);
        }
    }

    /// Returns the metadata of the open file, or `None` if no file is open or the connection is
    /// lost.
    fn look_at_open(&self) -> Option<Result<Metadata>> {
        let mut held = self.opened.lock().unwrap_or_else(PoisonError::into_inner);
        let Opened { lease, file } = held.as_mut()?;
        let looked = lease.stat_open(file).map(|stat| metadata(&stat));
        if is_lost(&looked) {
            *held = None;
            return None;
        }
        Some(looked)
    }
}

fn is_lost<T>(outcome: &Result<T>) -> bool {
    (outcome.as_ref()).is_err_and(|cause| cause.kind() == Kind::Unavailable)
}

/// Opens a regular file. Returns its size as well.
fn opened(pool: &Arc<Pool>, path: &Path) -> Result<(Opened, u64)> {
    let mut lease = pool.lease_shared()?;
    let metadata = look(&mut lease, path)?;
    if metadata.kind != FileKind::File {
        return Err(Error::new(Kind::Failed, "not a regular file any more"));
    }
    let file = lease.open(path, Open::Read)?;
    Ok((Opened { lease, file }, metadata.size_bytes))
}

impl SourceFile for RemoteFile {
    fn metadata(&self) -> Result<Metadata> {
        if let Some(fetched) = &self.fetched {
            return Ok(fetched.metadata.clone());
        }
        // Uses the connection already held, if there is one: if all readers waited for a second
        // connection, none would ever be returned.
        let by_path = || self.pool.run(|connection| look(connection, &self.path));
        self.look_at_open().unwrap_or_else(by_path)
    }

    fn details(&self) -> Result<Details> {
        Ok(Details::default())
    }

    fn read(&mut self, buffer: &mut [u8]) -> Result<usize> {
        if let Some(fetched) = &self.fetched {
            let begin = usize::try_from(self.position).unwrap_or(usize::MAX);
            let rest = fetched.bytes.get(begin..).unwrap_or_default();
            let length = rest.len().min(buffer.len());
            buffer[..length].copy_from_slice(&rest[..length]);
            self.position += length as u64;
            return Ok(length);
        }
        // Requests beyond the end of the file cost a round trip and return nothing. If the size is
        // reported as 0, as for files in /proc, only reading determines the end.
        let left = self.size_bytes.saturating_sub(self.position);
        let length = match self.size_bytes {
            0 => buffer.len(),
            _ => buffer
                .len()
                .min(usize::try_from(left).unwrap_or(usize::MAX)),
        };
        let position = self.position;
        let read = self.with(|opened| {
            opened.lease.seek(&mut opened.file, position)?;
            opened.lease.read(&mut opened.file, &mut buffer[..length])
        })?;
        self.position += read as u64;
        Ok(read)
    }

    fn seek(&mut self, offset: u64) -> Result<()> {
        // The file may have grown. A second pass must return the current contents completely.
        if self.fetched.take().is_some() {
            self.with(|_| Ok(()))?;
        }
        self.size_bytes = self.metadata()?.size_bytes;
        self.position = offset;
        Ok(())
    }

    fn data_runs(&self, size_bytes: u64) -> Result<Vec<Range<u64>>> {
        Ok(std::iter::once(0..size_bytes).collect())
    }
}

impl Drop for RemoteFile {
    fn drop(&mut self) {
        self.let_go();
    }
}

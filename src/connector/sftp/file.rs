//! A file of a server, read from start to end, over as many connections as that takes.

use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use super::ahead::Fetched;
use super::{look, metadata};
use crate::connector::{Details, FileKind, Metadata, SourceFile};
use crate::error::{Error, Kind, Result};
use crate::net::ssh::pool::{Lease, Pool};
use crate::net::ssh::sftp::{File, Open};

/// An open file, and the connection it is open on, which is held as long.
struct Opened {
    lease: Lease<Arc<Pool>>,
    file: File,
}

/// A regular file, read once.
pub(super) struct RemoteFile {
    pool: Arc<Pool>,
    path: PathBuf,
    /// All of it, if it was read ahead and once only.
    fetched: Option<Fetched>,
    /// Locked by nobody else: a file that is looked at through a shared reference is asked
    /// over the connection that it is open on.
    opened: Mutex<Option<Opened>>,
    /// Where the next byte is read.
    position: u64,
    /// How long it was when it was last looked at.
    size_bytes: u64,
}

impl RemoteFile {
    /// Opens the regular file at `path`. Anything else, a FIFO among it, is an error and never
    /// a hang: it is looked at before.
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

    /// The regular file at `path` that was read ahead. It is opened only to be read again.
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

    /// Does something with the open file, and again with one opened anew if that was lost.
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

    /// Closes it, and gives its connection back. It is opened anew when it is read on.
    pub(super) fn let_go(&mut self) {
        let held = self.opened.get_mut();
        let held = held.unwrap_or_else(PoisonError::into_inner);
        if let Some(Opened { mut lease, file }) = held.take() {
            // It was only read.
            let _ = lease.close(file);
        }
    }

    /// What is known of the file that is open; nothing if none is, or not any more.
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

/// Opens what must be a regular file, and tells how long it is.
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
        // Not over a second connection while there is one: if all readers waited for another,
        // none would come free.
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
        // What is asked for beyond the end is asked for in vain, and waited for. Where no
        // length is told, as of files below /proc, only reading tells.
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
        // It may have grown: whoever reads again wants all of it, as it is now.
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

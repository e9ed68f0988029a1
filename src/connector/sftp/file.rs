//! A file of a server, read from start to end, over as many connections as that takes.

use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::look;
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
    opened: Option<Opened>,
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
            opened: None,
            position: 0,
            size_bytes: 0,
        };
        file.with(|_| Ok(()))?;
        Ok(file)
    }

    /// Does something with the open file, and again with one opened anew if that was lost.
    fn with<T>(&mut self, mut work: impl FnMut(&mut Opened) -> Result<T>) -> Result<T> {
        let pool = self.pool.clone();
        pool.again(|| {
            let opened = match &mut self.opened {
                Some(opened) => opened,
                None => {
                    let (opened, size_bytes) = opened(&self.pool, &self.path)?;
                    self.size_bytes = size_bytes;
                    self.opened.insert(opened)
                }
            };
            let done = work(opened);
            if done
                .as_ref()
                .is_err_and(|cause| cause.kind() == Kind::Unavailable)
            {
                self.opened = None;
            }
            done
        })
    }
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
        // By its path: what is open cannot be asked through a shared reference, and a file
        // that took its place has changed as well.
        self.pool.run(|connection| look(connection, &self.path))
    }

    fn details(&self) -> Result<Details> {
        Ok(Details::default())
    }

    fn read(&mut self, buffer: &mut [u8]) -> Result<usize> {
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
        // It may have grown: whoever reads again wants all of it.
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
        if let Some(Opened { mut lease, file }) = self.opened.take() {
            // It was only read.
            let _ = lease.close(file);
        }
    }
}

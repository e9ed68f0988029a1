//! The directory of a store on a server: storing, reading and deleting objects.
//!
//! This file handles paths and the order of writes and syncs; it does not know how messages name an
//! object. Creation and listing of the directory are in `directory.rs`.

use std::collections::VecDeque;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::object;
use crate::error::{During, Error, Kind, Result};
use crate::net::content::Content;
use crate::net::location::Url;
use crate::net::ssh::pool::Pool;
use crate::net::ssh::sftp::{Connection, File, Open, is_failure};
use crate::store::layout::{self, CONFIG, FILE_MODE, TEMPORARY, UPLOADS_PER_SWEEP};
use crate::store::{Area, CONFIG_LIMIT_BYTES, Object};
use crate::util::Id;

mod directory;

/// Objects up to this size are sent without a check whether they exist: the check costs as much as
/// sending them.
const SMALL_BYTES: u64 = 256 << 10;

/// The number of objects remembered as regular files.
const SEEN: usize = 64;

/// The upload that runs a sweep. The first two are excluded, because creating a store has only two.
const SWEEPING_UPLOAD: u64 = 2;

/// The directory, shared by the store and its uploads.
pub(super) struct Place {
    location: String,
    /// Absolute, or relative to the login directory.
    root: PathBuf,
    pool: Pool,
    /// The number of uploads started, which determines when to sweep.
    uploads: AtomicU64,
    /// The number of objects deleted. A file opened before the last deletion may be gone.
    deletions: AtomicU64,
    /// Objects that are known to be regular files, the most recent one first.
    seen: Mutex<VecDeque<PathBuf>>,
}

/// A file that does not have its final name yet.
struct Temporary {
    path: PathBuf,
    file: File,
}

impl Place {
    /// Creates the place for the directory at `url`, which may not exist yet, reached through
    /// `pool`.
    pub(super) fn new(url: &Url, pool: Pool) -> Place {
        let root = match url.path.as_str() {
            "" => ".",
            path => path,
        };
        Place {
            location: url.to_string(),
            root: PathBuf::from(root),
            pool,
            uploads: AtomicU64::new(0),
            deletions: AtomicU64::new(0),
            seen: Mutex::default(),
        }
    }

    /// The location as the user specified it.
    pub(super) fn location(&self) -> &str {
        &self.location
    }

    /// The number of calls that can usefully be made concurrently.
    pub(super) fn connections(&self) -> usize {
        self.pool.connections()
    }

    /// The context of errors while storing `object`. Includes the location, because the most
    /// frequent error is a full disk.
    pub(super) fn storing(&self, object: &str) -> String {
        format!("store {object} in {}", self.location)
    }

    /// The error for a directory without CONFIG.
    fn no_store(&self) -> Error {
        Error::new(Kind::NotFound, "there is no store here")
    }

    fn config(&self) -> PathBuf {
        self.root.join(CONFIG)
    }

    /// See [`crate::store::Store::put_config`].
    pub(super) fn put_config(&self, bytes: &[u8]) -> Result<()> {
        let config = self.config();
        let mut attempts = 0;
        self.pool.run(|connection| {
            attempts += 1;
            match connection.lstat(&config) {
                Err(cause) if cause.kind() == Kind::NotFound => {}
                // Published by an earlier attempt whose response was lost.
                Ok(_) if attempts > 1 && is_equal(connection, &config, bytes)? => return Ok(()),
                Ok(_) => return Err(taken()),
                Err(cause) => return Err(cause),
            }
            let published = self.write(connection, &config, &bytes)?;
            match published {
                Published::Now => Ok(()),
                Published::Before => Err(taken()),
            }
        })
    }

    /// See [`crate::store::Store::get_config`].
    pub(super) fn get_config(&self) -> Result<Vec<u8>> {
        let read = (self.pool)
            .run(|connection| object::read_all(connection, &self.config(), CONFIG_LIMIT_BYTES));
        match read {
            Err(cause) if cause.kind() == Kind::NotFound => Err(self.no_store()),
            read => read.during(|| format!("read {CONFIG}")),
        }
    }

    /// Stores an object, unless it exists.
    ///
    /// # Errors
    /// [`Kind::Corrupt`] if it exists with another size.
    pub(super) fn publish(&self, area: Area, id: Id, content: &dyn Content) -> Result<()> {
        let path = layout::path(&self.root, area, id);
        self.pool.run(|connection| {
            let size = content.size_bytes();
            if size > SMALL_BYTES && holds(connection, &path, size)? {
                return Ok(());
            }
            self.write(connection, &path, content).map(|_| ())
        })
    }

    /// Writes `content` to a temporary file, makes it durable, and renames it. On failure the
    /// temporary file is removed, unless the connection is lost.
    fn write(
        &self,
        connection: &mut Connection,
        path: &Path,
        content: &dyn Content,
    ) -> Result<Published> {
        let mut temporary = self.temporary(connection)?;
        let uploads = self.uploads.fetch_add(1, Ordering::Relaxed);
        if uploads % UPLOADS_PER_SWEEP == SWEEPING_UPLOAD {
            // Maintenance: its failure must not prevent storing the object.
            let _ = self.sweep(connection, &mut temporary.file);
        }
        let written = fill(connection, &mut temporary.file, content);
        let outcome =
            written.and_then(|()| self.name(connection, &temporary, path, content.size_bytes()));
        let outcome = match outcome {
            // Makes the new name durable.
            Ok(Published::Now) => connection
                .sync(&mut temporary.file)
                .map(|()| Published::Now),
            outcome => outcome,
        };
        let is_named = matches!(outcome, Ok(Published::Now));
        let closed = connection.close(temporary.file);
        if !is_named {
            // The error returned is the earlier one.
            let _ = connection.remove(&temporary.path);
            return outcome;
        }
        closed.and(outcome)
    }

    /// Creates a file in `tmp/`.
    fn temporary(&self, connection: &mut Connection) -> Result<Temporary> {
        let directory = self.root.join(TEMPORARY);
        let path = directory.join(layout::temporary_name()?);
        let mut opened = connection.open(&path, Open::New(FILE_MODE));
        if opened
            .as_ref()
            .is_err_and(|cause| cause.kind() == Kind::NotFound)
        {
            self.restore_directory(connection, &directory)?;
            opened = connection.open(&path, Open::New(FILE_MODE));
        }
        match opened {
            Ok(file) => Ok(Temporary { path, file }),
            Err(cause) => Err(self.explain(connection, cause)),
        }
    }

    /// Finds the cause if no file could be created, with CONFIG, which is on the same file system.
    fn explain(&self, connection: &mut Connection, cause: Error) -> Error {
        if !is_failure(&cause) {
            return cause;
        }
        let Ok(mut file) = connection.open(&self.config(), Open::Read) else {
            return cause;
        };
        let explained = connection.explain(cause, &mut file, 1);
        let _ = connection.close(file);
        explained
    }

    /// Renames a file to its final name, unless a file with that name and the same size exists.
    fn name(
        &self,
        connection: &mut Connection,
        temporary: &Temporary,
        path: &Path,
        size_bytes: u64,
    ) -> Result<Published> {
        let mut outcome = connection.rename(&temporary.path, path);
        if outcome
            .as_ref()
            .is_err_and(|cause| cause.kind() == Kind::NotFound)
        {
            let directory = path.parent().unwrap_or(&self.root);
            self.restore_directory(connection, directory)?;
            outcome = connection.rename(&temporary.path, path);
        }
        match outcome {
            Ok(()) => Ok(Published::Now),
            // Another thread or host has stored the same object meanwhile, or an earlier attempt
            // whose response was lost.
            Err(cause) if is_failure(&cause) || cause.kind() == Kind::Exists => {
                match holds(connection, path, size_bytes)? {
                    true => Ok(Published::Before),
                    false => Err(self.explain(connection, cause)),
                }
            }
            Err(cause) => Err(cause),
        }
    }

    /// See [`crate::store::Store::get`].
    pub(super) fn get(&self, area: Area, id: Id) -> Result<Vec<u8>> {
        let path = layout::path(&self.root, area, id);
        let limit = area.limit_bytes();
        self.pool
            .run(|connection| object::read_all(connection, &path, limit))
    }

    /// See [`crate::store::Store::stat`].
    pub(super) fn stat(&self, area: Area, id: Id) -> Result<Object> {
        let path = layout::path(&self.root, area, id);
        let stat = self
            .pool
            .run(|connection| object::stat(connection, &path))?;
        Ok(object::describe(id, &stat))
    }

    /// See [`crate::store::Store::read_at`]. Packs stay open for some time, since a restore reads
    /// many blocks of each.
    pub(super) fn read_at(&self, area: Area, id: Id, offset: u64, buffer: &mut [u8]) -> Result<()> {
        let path = layout::path(&self.root, area, id);
        // A deletion changes the key, so that all threads open their files again.
        let key = path.join(self.deletions.load(Ordering::Relaxed).to_string());
        self.pool.run_near(Some(&key), |connection| {
            let mut file = match connection.take_kept(&key) {
                Some(file) => file,
                None => self.open(connection, &key, &path)?,
            };
            let end = offset.saturating_add(buffer.len() as u64);
            // Also limits offsets to the range of the protocol.
            let read = match end <= area.limit_bytes() {
                true => {
                    connection.seek(&mut file, offset)?;
                    connection.read(&mut file, buffer)?
                }
                false => 0,
            };
            match area {
                Area::Packs => connection.keep(&key, file)?,
                _ => connection.close(file)?,
            }
            match read == buffer.len() {
                true => Ok(()),
                false => Err(object::short(end)),
            }
        })
    }

    /// Opens the object at `path` for reading. During a restore several connections read the same
    /// pack; its file type is checked only once.
    fn open(&self, connection: &mut Connection, key: &Path, path: &Path) -> Result<File> {
        if self.seen().iter().any(|seen| seen == key) {
            return connection.open(path, Open::Read);
        }
        let file = object::open(connection, path)?.0;
        let mut seen = self.seen();
        seen.truncate(SEEN - 1);
        seen.push_front(key.to_owned());
        Ok(file)
    }

    /// A poisoned lock is usable: the state is consistent between any two statements.
    fn seen(&self) -> MutexGuard<'_, VecDeque<PathBuf>> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Removes an object. A missing object is not an error.
    pub(super) fn delete(&self, area: Area, id: Id) -> Result<()> {
        let path = layout::path(&self.root, area, id);
        let outcome = self.pool.run(|connection| connection.remove(&path));
        self.deletions.fetch_add(1, Ordering::Relaxed);
        match outcome {
            Err(cause) if cause.kind() == Kind::NotFound => Ok(()),
            outcome => outcome,
        }
    }
}

/// When an object was published.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Published {
    /// By this call.
    Now,
    /// Earlier: by another writer, or by an earlier attempt of this call.
    Before,
}

fn taken() -> Error {
    Error::new(Kind::Exists, "there is one already")
}

/// Whether the file at `path` contains exactly `bytes`.
fn is_equal(connection: &mut Connection, path: &Path, bytes: &[u8]) -> Result<bool> {
    let there = object::read_all(connection, path, CONFIG_LIMIT_BYTES)?;
    Ok(there == bytes)
}

/// Whether the object exists with this size.
///
/// # Errors
/// [`Kind::Corrupt`] if it exists with another size.
fn holds(connection: &mut Connection, path: &Path, size_bytes: u64) -> Result<bool> {
    let there = match object::stat(connection, path) {
        Err(cause) if cause.kind() == Kind::NotFound => return Ok(false),
        stat => stat?.size_bytes,
    };
    match there == size_bytes {
        true => Ok(true),
        false => Err(Error::corrupt(format!(
            "the one already there has {there} bytes instead of {size_bytes}"
        ))),
    }
}

/// Writes all of `content` and makes it durable.
fn fill(connection: &mut Connection, file: &mut File, content: &dyn Content) -> Result<()> {
    let size = content.size_bytes();
    let written = connection.send(file, content);
    let outcome = written.and_then(|()| connection.sync(file));
    outcome.map_err(|cause| connection.explain(cause, file, size))
}

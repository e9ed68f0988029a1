//! A file that is being restored to an SFTP server, and its attributes.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use super::destination::Shared;
use super::{MODE_BITS, look};
use crate::connector::{Attributes, FileKind, Lost, Metadata, NewFile, Permissions};
use crate::error::{Error, Kind, Result};
use crate::net::ssh::sftp::{Change, Connection, Open, is_failure};

/// The mode of a file until it is complete.
const PRIVATE_FILE: u32 = 0o600;
/// The mode of a file before the server applies its umask.
const PLAIN_FILE: u32 = 0o666;
const SETUID_AND_SETGID: u32 = 0o6000;
const NS_PER_SECOND: i64 = 1_000_000_000;

/// A file under a temporary name. Several threads may write to it, each over its own connection.
pub(super) struct SftpNewFile {
    shared: Arc<Shared>,
    path: PathBuf,
    temporary: PathBuf,
    size_bytes: u64,
    state: Mutex<State>,
    is_published: AtomicBool,
}

#[derive(Clone, Copy, Default)]
struct State {
    is_made: bool,
    /// The end of the last range written so far.
    written_end: u64,
}

impl SftpNewFile {
    /// Prepares a file at `path`. Nothing is created yet.
    pub(super) fn new(shared: &Arc<Shared>, path: PathBuf, size_bytes: u64) -> Result<SftpNewFile> {
        Ok(SftpNewFile {
            shared: shared.clone(),
            temporary: temporary_beside(&path)?,
            path,
            size_bytes,
            state: Mutex::default(),
            is_published: AtomicBool::new(false),
        })
    }

    /// Creates the file unless this was already done. The temporary name is random: if it exists,
    /// an earlier attempt whose response was lost has created it.
    fn make(&self) -> Result<()> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if state.is_made {
            return Ok(());
        }
        self.shared.pool.run(|connection| {
            match connection.open(&self.temporary, Open::New(PRIVATE_FILE)) {
                Ok(file) => connection.close(file),
                Err(cause) if is_failure(&cause) && look(connection, &self.temporary).is_ok() => {
                    Ok(())
                }
                Err(cause) => Err(cause),
            }
        })?;
        state.is_made = true;
        Ok(())
    }
}

/// Returns a random temporary name in the directory of `path`.
pub(super) fn temporary_beside(path: &Path) -> Result<PathBuf> {
    let mut random = [0; 4];
    getrandom::fill(&mut random).map_err(std::io::Error::other)?;
    let name = format!(".plakar-{:08x}.tmp", u32::from_ne_bytes(random));
    Ok(path.with_file_name(name))
}

impl NewFile for SftpNewFile {
    fn write_at(&self, bytes: &[u8], offset: u64) -> Result<()> {
        self.make()?;
        let run = |connection: &mut Connection| {
            let mut file = match connection.take_kept(&self.temporary) {
                Some(file) => file,
                None => connection.open(&self.temporary, Open::Write)?,
            };
            connection.seek(&mut file, offset)?;
            let written = connection.write(&mut file, bytes);
            if let Err(cause) = written {
                let cause = connection.explain(cause, &mut file, bytes.len() as u64);
                return Err(cause);
            }
            match bytes.len() as u64 == self.size_bytes {
                true => connection.close(file),
                false => connection.keep(&self.temporary, file),
            }
        };
        self.shared.pool.run_near(Some(&self.temporary), run)?;
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.written_end = state.written_end.max(offset + bytes.len() as u64);
        Ok(())
    }

    fn finish(&self, attributes: &Attributes<'_>, permissions: Permissions) -> Result<Vec<Lost>> {
        self.make()?;
        let state = *self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let is_short = state.written_end != self.size_bytes;
        let mut change = Change {
            size_bytes: is_short.then_some(self.size_bytes),
            ..Change::default()
        };
        if permissions == Permissions::Skip {
            change.mode = Some(self.shared.plain(&self.temporary)?.mode);
        }
        let lost = (self.shared).put(&self.temporary, attributes, permissions, change)?;
        self.shared.publish(&self.temporary, &self.path)?;
        self.is_published.store(true, Ordering::Release);
        Ok(lost)
    }
}

impl Drop for SftpNewFile {
    fn drop(&mut self) {
        let state = *self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if state.is_made && !self.is_published.load(Ordering::Acquire) {
            // The error cannot be reported from here.
            let _ = (self.shared.pool).run(|connection| connection.remove(&self.temporary));
        }
    }
}

/// The attributes of a new file for which none are set.
#[derive(Clone, Copy, Debug)]
pub(super) struct Plain {
    pub(super) owner: (u32, u32),
    mode: u32,
}

impl Shared {
    /// Sets owner, mode and times of `path`, together with `change`. Returns the attributes that
    /// the account may not set or that the protocol cannot express.
    pub(super) fn put(
        &self,
        path: &Path,
        attributes: &Attributes<'_>,
        permissions: Permissions,
        mut change: Change,
    ) -> Result<Vec<Lost>> {
        let mut lost = Vec::new();
        let metadata = attributes.metadata;
        match permissions {
            Permissions::Skip => {}
            Permissions::Restore => {
                lost.extend((!attributes.xattrs.is_empty()).then_some(Lost::Xattr));
                lost.extend((attributes.flags != 0).then_some(Lost::Flags));
                change.mode = Some(metadata.mode & MODE_BITS);
                self.give(path, metadata, &mut change, &mut lost)?;
            }
        }
        match u32::try_from(metadata.mtime_ns.div_euclid(NS_PER_SECOND)) {
            Ok(seconds) => change.times = Some((seconds, seconds)),
            Err(_) => lost.push(Lost::Times),
        }
        match self.pool.run(|connection| connection.set(path, change)) {
            Err(cause) if cause.kind() == Kind::Denied => {
                lost.extend(change.mode.map(|_| Lost::Mode));
                lost.extend(change.times.map(|_| Lost::Times));
            }
            outcome => outcome?,
        }
        Ok(lost)
    }

    /// Sets the owner of `path`. This precedes the mode, because a change of the owner clears
    /// setuid. If the server refuses the owner, setuid and setgid are not restored: the file must
    /// not run with the rights of a user that it was not restored to. After the first refusal no
    /// further attempt is made.
    fn give(
        &self,
        path: &Path,
        metadata: &Metadata,
        change: &mut Change,
        lost: &mut Vec<Lost>,
    ) -> Result<()> {
        let owner = (metadata.uid, metadata.gid);
        let wanted = Change {
            owner: Some(owner),
            ..Change::default()
        };
        if self.plain(path)?.owner == owner {
            return Ok(());
        }
        if !self.cannot_give.load(Ordering::Relaxed) {
            match self.pool.run(|connection| connection.set(path, wanted)) {
                Err(cause) if cause.kind() == Kind::Denied || is_failure(&cause) => {
                    self.cannot_give.store(true, Ordering::Relaxed);
                }
                outcome => return outcome,
            }
        }
        lost.push(Lost::Owner);
        let mode = metadata.mode & MODE_BITS;
        if metadata.kind == FileKind::File && mode & SETUID_AND_SETGID != 0 {
            change.mode = Some(mode & !SETUID_AND_SETGID);
            lost.push(Lost::Mode);
        }
        Ok(())
    }

    /// Determines owner and mode of new files, once, with a temporary file in the directory of
    /// `path`.
    pub(super) fn plain(&self, path: &Path) -> Result<Plain> {
        if let Some(plain) = self.plain.get() {
            return Ok(*plain);
        }
        let probe = temporary_beside(path)?;
        let plain = self.pool.run(|connection| {
            let file = connection.open(&probe, Open::New(PLAIN_FILE))?;
            connection.close(file)?;
            let stat = connection.lstat(&probe);
            connection.remove(&probe)?;
            let stat = stat?;
            Ok(Plain {
                owner: (stat.uid, stat.gid),
                mode: stat.mode & MODE_BITS,
            })
        })?;
        Ok(*self.plain.get_or_init(|| plain))
    }

    /// Renames `temporary` to `path` and replaces an existing file, but not a directory. Since SFTP
    /// cannot rename over an existing file, that file is temporarily renamed.
    pub(super) fn publish(&self, temporary: &Path, path: &Path) -> Result<()> {
        let aside = temporary_beside(path)?;
        self.pool.run(|connection| {
            match connection.rename(temporary, path) {
                Err(cause) if is_failure(&cause) || cause.kind() == Kind::Exists => {}
                // An earlier attempt whose response was lost has renamed it.
                Err(cause) if cause.kind() == Kind::NotFound => {
                    return connection.lstat(path).map(|_| ());
                }
                outcome => return outcome,
            }
            if look(connection, path)?.kind == FileKind::Directory {
                return Err(Error::new(Kind::Exists, "a directory is in the way"));
            }
            connection.rename(path, &aside)?;
            match connection.rename(temporary, path) {
                Ok(()) => connection.remove(&aside),
                Err(cause) => {
                    let _ = connection.rename(&aside, path);
                    Err(cause)
                }
            }
        })
    }
}

//! [`Draft`]: the atomic creation of an entry under its name.
//!
//! An entry that replaces another one, and any large file, is created under a temporary name in the
//! same directory, `.plakar-XXXXXXXX.tmp`, and renamed when it is complete. A crash leaves the old
//! version and a temporary file, never a partial file.
//!
//! A *small* file whose name is unused is created directly under its name. The rename would take a
//! quarter of the time for such a file (3 of 11 us on ext4), and there is no old version to
//! protect. A crash in the microseconds between creation and completion leaves a truncated file
//! with mode 0600 and the current time, which no later restore mistakes for a complete one.
//! `O_EXCL` ensures that a symbolic link with that name is not followed.
//!
//! A draft that is dropped before it is published is removed. A killed restore leaves its temporary
//! files behind. A later restore neither reads nor removes them, because they could belong to a
//! restore that is still running. To remove them manually: `find DIR -name '.plakar-????????.tmp'
//! -delete`.

use std::hash::{BuildHasher, Hasher, RandomState};
use std::os::fd::AsFd;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, OnceLock};

use rustix::fs::{AtFlags, renameat, unlinkat};
use rustix::io::Errno;

use super::directory::Directory;
use super::flags::unlocked;
use super::stat::stat_at;
use crate::connector::FileKind;
use crate::error::{Error, Kind, Result};

/// The maximum number of temporary names tried. The names are random, so a second attempt is rarely
/// needed.
const TRIES: u32 = 100;

/// The name under which an entry is created.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Under {
    /// Its final name if that is unused, otherwise a temporary name.
    OwnName,
    /// A temporary name.
    TemporaryName,
}

/// A new entry whose final name is `name`.
pub(super) struct Draft {
    pub(super) directory: Arc<Directory>,
    pub(super) name: Vec<u8>,
    /// The temporary name, unless it was created under `name`.
    temporary: Option<Vec<u8>>,
    is_published: AtomicBool,
}

impl Draft {
    /// Calls `make` to create the entry, and returns its result. `make` gets the name and must fail
    /// with `EEXIST` if it is in use.
    ///
    /// # Errors
    /// [`Kind::Exists`] if `name` is a directory.
    pub(super) fn make<T>(
        directory: &Arc<Directory>,
        name: &[u8],
        under: Under,
        make: impl Fn(&[u8]) -> rustix::io::Result<T>,
    ) -> Result<(Draft, T)> {
        let draft = |temporary| Draft {
            directory: directory.clone(),
            name: name.to_owned(),
            temporary,
            is_published: AtomicBool::new(false),
        };
        if under == Under::OwnName {
            match make(name) {
                Err(Errno::EXIST) => {}
                result => return Ok((draft(None), result?)),
            }
        }
        refuse_directory(directory, name)?;
        let (temporary, made) = make_temporary(make)?;
        Ok((draft(Some(temporary)), made))
    }

    /// The current name of the entry.
    pub(super) fn current_name(&self) -> &[u8] {
        self.temporary.as_deref().unwrap_or(&self.name)
    }

    /// Renames the entry to its final name. Replaces anything except a directory.
    pub(super) fn publish(&self) -> Result<()> {
        if let Some(temporary) = &self.temporary {
            let directory = self.directory.as_fd();
            let rename = || renameat(directory, temporary, directory, &self.name);
            unlocked(directory, &self.name, rename).map_err(|errno| match errno {
                Errno::ISDIR | Errno::NOTEMPTY | Errno::EXIST => is_directory(),
                _ => errno.into(),
            })?;
        }
        self.is_published.store(true, Ordering::Release);
        Ok(())
    }
}

impl Drop for Draft {
    fn drop(&mut self) {
        if !self.is_published.load(Ordering::Acquire) {
            // The error cannot be reported from here. The remaining file has a temporary name.
            let _ = unlinkat(&*self.directory, self.current_name(), AtFlags::empty());
        }
    }
}

/// Calls `make` with an unused temporary name.
pub(super) fn make_temporary<T>(
    make: impl Fn(&[u8]) -> rustix::io::Result<T>,
) -> Result<(Vec<u8>, T)> {
    for _ in 0..TRIES {
        let name = temporary_name();
        match make(&name) {
            Err(Errno::EXIST) => {}
            result => return Ok((name, result?)),
        }
    }
    Err(Error::new(
        Kind::Exists,
        "every temporary name tried is taken",
    ))
}

/// Returns a name that is not in use: a counter with a random start.
fn temporary_name() -> Vec<u8> {
    static START: OnceLock<u64> = OnceLock::new();
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let start = *START.get_or_init(|| RandomState::new().build_hasher().finish());
    let number = (start as u32).wrapping_add(COUNT.fetch_add(1, Ordering::Relaxed));
    format!(".plakar-{number:08x}.tmp").into_bytes()
}

/// Fails early, before contents are written, if `name` is a directory.
fn refuse_directory(directory: &Directory, name: &[u8]) -> Result<()> {
    match stat_at(directory, name) {
        Ok(metadata) if metadata.kind == FileKind::Directory => Err(is_directory()),
        Err(error) if error.kind() != Kind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// Explains the error in terms of the restore.
pub(super) fn is_directory() -> Error {
    Error::new(
        Kind::Exists,
        "a directory has this name, and is not replaced",
    )
}

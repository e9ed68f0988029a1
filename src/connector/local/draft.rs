//! [`Draft`]: a name being given to something new, all or nothing.
//!
//! What replaces an existing entry, and any large file, is made under a temporary
//! name in the same directory, `.plakar-XXXXXXXX.tmp`, and renamed when it is whole:
//! a crash leaves the old version and a temporary file, never a half-written one.
//!
//! A *small* file whose name is free is made under that name at once, since the
//! rename is a quarter of the cost of such a file (3 of 11 us on ext4) and
//! protects nothing that was there. A crash in the microseconds between making and
//! finishing leaves a short file of mode 0600 with today's time, which no later
//! restore takes for the finished one. `O_EXCL` sees to it that a link under that
//! name is not followed.
//!
//! A draft dropped before it is published is removed. Killed restores leave their
//! temporary names behind; a later restore neither reads nor removes them, as it
//! cannot tell them from those of one still running. To remove them by hand:
//! `find DIR -name '.plakar-????????.tmp' -delete`.

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

/// How many temporary names are tried before giving up: they are as good as random,
/// so a second one is hardly ever needed.
const TRIES: u32 = 100;

/// Under which name something is made.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Under {
    /// Its own if that is free, else a temporary one.
    OwnName,
    /// A temporary one.
    TemporaryName,
}

/// Something new that will be called `name`.
pub(super) struct Draft {
    pub(super) directory: Arc<Directory>,
    pub(super) name: Vec<u8>,
    /// What it is called until then, if not `name`.
    temporary: Option<Vec<u8>>,
    is_published: AtomicBool,
}

impl Draft {
    /// Has `make` make it, and tells what that returned. `make` is given a name and must
    /// fail with `EEXIST` if that is taken.
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

    /// What it is called now.
    pub(super) fn current_name(&self) -> &[u8] {
        self.temporary.as_deref().unwrap_or(&self.name)
    }

    /// Gives it its name, replacing what is there unless it is a directory.
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
            // Nobody is left to be told: what stays has the name of a temporary file.
            let _ = unlinkat(&*self.directory, self.current_name(), AtFlags::empty());
        }
    }
}

/// Has `make` make something under a name that is free.
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

/// A name nobody else uses: counted from a random start.
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

/// In the words of somebody who restores.
pub(super) fn is_directory() -> Error {
    Error::new(
        Kind::Exists,
        "a directory has this name, and is not replaced",
    )
}

//! Opens the target of a restore, one path component at a time.
//!
//! The user specifies the path, which may contain symbolic links. For root this is dangerous where
//! other users can write: a link placed on the way by another user could redirect the whole restore
//! into any directory. Therefore root follows only links that are owned by root. Each component is
//! opened before it is checked, and the next one is opened relative to it.

use std::collections::VecDeque;
use std::ffi::{OsStr, OsString};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Component, Path};

use rustix::fs::{CWD, Mode, OFlags, PROC_SUPER_MAGIC, fstatfs, mkdirat, openat, readlinkat};
use rustix::io::Errno;

use super::stat::stat_fd;
use super::trust::{may_follow, other_holder};
use crate::connector::{FileKind, Made};
use crate::error::{Error, Kind, Result};
use crate::util::printable::printable;

/// The maximum number of symbolic links on one path, the same as in the kernel.
const LINKS_LIMIT: usize = 40;
/// The mode that a plain `mkdir` requests, before the umask is applied.
const PLAIN_DIRECTORY: u32 = 0o777;
/// The flags for opening a component to check it, without following a link. Only together with
/// `O_DIRECTORY` does this trigger an automount.
const STEP: OFlags = OFlags::PATH.union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);

pub(super) struct Target {
    pub(super) fd: OwnedFd,
    pub(super) made: Made,
    /// The user who controls it or a directory above it, other than root, if the restore runs as
    /// root.
    pub(super) other_holder: Option<String>,
}

/// The state of the traversal.
struct Walk {
    /// The directory reached so far.
    at: OwnedFd,
    /// The remaining components.
    rest: VecDeque<OsString>,
    missing: Missing,
    made: Made,
    links: usize,
    other_holder: Option<String>,
}

/// Opens the directory `path`. Creates it and its missing parents.
///
/// # Errors
/// [`Kind::Exists`] if a component is not a directory; [`Kind::Failed`] for a symbolic link that
/// root does not follow.
pub(super) fn open_or_make(path: &Path) -> Result<Target> {
    let found = open_target(path, Missing::Create)?;
    found.ok_or_else(|| Error::new(Kind::NotFound, "no such directory"))
}

/// Like [`open_or_make`], but creates nothing. Returns `None` if the directory is missing.
pub(super) fn open_existing(path: &Path) -> Result<Option<Target>> {
    open_target(path, Missing::Stop)
}

/// What to do with a missing component.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Missing {
    Create,
    Stop,
}

fn open_target(path: &Path, missing: Missing) -> Result<Option<Target>> {
    let mut walk = Walk {
        at: start_of(path)?,
        missing,
        rest: components(path),
        made: Made::Existed,
        links: 0,
        other_holder: None,
    };
    walk.note_holder()?;
    while let Some(name) = walk.rest.pop_front() {
        if !walk.step(&name)? {
            return Ok(None);
        }
    }
    let how = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    Ok(Some(Target {
        fd: openat(&walk.at, c".", how, Mode::empty())?,
        made: walk.made,
        other_holder: walk.other_holder,
    }))
}

impl Walk {
    /// Moves to `name`, which may be a directory, a symbolic link, or an unused name. Returns false
    /// if it is missing and is not to be created.
    fn step(&mut self, name: &OsStr) -> Result<bool> {
        self.made = Made::Existed;
        let found = match openat(&self.at, name, STEP | OFlags::DIRECTORY, Mode::empty()) {
            Err(Errno::NOENT) if self.missing == Missing::Stop => return Ok(false),
            Err(Errno::NOENT) => self.make(name)?,
            Err(Errno::NOTDIR | Errno::LOOP) => openat(&self.at, name, STEP, Mode::empty())?,
            result => result?,
        };
        let metadata = stat_fd(&found)?;
        match metadata.kind {
            FileKind::Directory => self.at = found,
            FileKind::Symlink if !may_follow(&metadata) => {
                return Err(Error::new(
                    Kind::Failed,
                    format!(
                        "{} is a symbolic link of user {}, which root does not follow; \
                         name the directory it leads to",
                        printable(name.as_bytes()),
                        metadata.uid
                    ),
                ));
            }
            FileKind::Symlink => self.follow(name, &found)?,
            _ => return Err(Error::new(Kind::Exists, "it is not a directory")),
        }
        // The permissions of a new directory are the choice of the user, through the umask.
        if self.made == Made::Existed {
            self.note_holder()?;
        }
        Ok(true)
    }

    /// Creates the directory `name`, unless another process has just created it.
    fn make(&mut self, name: &OsStr) -> Result<OwnedFd> {
        match mkdirat(&self.at, name, Mode::from_raw_mode(PLAIN_DIRECTORY)) {
            Ok(()) => self.made = Made::New,
            Err(Errno::EXIST) => {}
            Err(errno) => return Err(errno.into()),
        }
        Ok(openat(&self.at, name, STEP, Mode::empty())?)
    }

    /// Inserts the target of the link `name`, which is open as `link`, before the remaining
    /// components.
    fn follow(&mut self, name: &OsStr, link: &OwnedFd) -> Result<()> {
        self.links += 1;
        if self.links > LINKS_LIMIT {
            return Err(Errno::LOOP.into());
        }
        // The target of a link in /proc may have no path. No user can create links there.
        if fstatfs(link)?.f_type == PROC_SUPER_MAGIC {
            let how = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
            self.at = openat(&self.at, name, how, Mode::empty())?;
            return Ok(());
        }
        let target = readlinkat(link.as_fd(), c"", Vec::new())?;
        let target = OsString::from_vec(target.into_bytes());
        if target.as_bytes().starts_with(b"/") {
            self.at = start_of(Path::new(&target))?;
        }
        for name in components(Path::new(&target)).into_iter().rev() {
            self.rest.push_front(name);
        }
        Ok(())
    }

    /// Records the user who controls the current directory.
    fn note_holder(&mut self) -> Result<()> {
        if self.other_holder.is_none() {
            self.other_holder = other_holder(&stat_fd(&self.at)?);
        }
        Ok(())
    }
}

/// Opens the directory in which `path` starts.
fn start_of(path: &Path) -> Result<OwnedFd> {
    let how = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let start = if path.is_absolute() { c"/" } else { c"." };
    Ok(openat(CWD, start, how, Mode::empty())?)
}

/// Splits `path` into its components, including `..`.
fn components(path: &Path) -> VecDeque<OsString> {
    path.components()
        .filter(|part| matches!(part, Component::Normal(_) | Component::ParentDir))
        .map(|part| part.as_os_str().to_owned())
        .collect()
}

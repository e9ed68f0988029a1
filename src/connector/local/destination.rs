//! The local file system as a destination: [`LocalDestination`].
//!
//! The target directory of a restore may be writable by other users, so a name is never resolved
//! twice on trust. The path of the root is specified by the user and may contain symbolic links.
//! Below the root every call is relative to an open directory and follows no links (see
//! [`super::directory`]). New entries get their final name when they are complete
//! ([`super::draft`]), and their metadata in an order that never grants excessive rights
//! ([`super::attributes`]).
//!
//! Attributes that an ordinary user may not set are reported as [`Lost`], and the entry is restored
//! anyway. The exception is a device node, which consists only of its numbers: it is an error.
//!
//! Nothing is synced: after a power failure the restore is run again, and recognizes completed
//! files by time and size.

use std::any::Any;
use std::os::fd::{AsFd, OwnedFd};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use rustix::fs::{AtFlags, FileType, Mode, OFlags, linkat, mknodat, openat, symlinkat, unlinkat};
use rustix::io::Errno;

use super::attributes::{self, Before, existing};
use super::directory::{Directory, PRIVATE_FILE};
use super::draft::{Draft, Under, is_directory};
use super::flags::{put_on, unlocked};
use super::new_file::{LocalNewFile, LocalOldFile};
use super::node::Node;
use super::stat::{stat_at, stat_fd};
use super::target::{open_existing, open_or_make};
use super::trust::{check_directory, is_own};
use crate::connector::{
    Attributes, Destination, DestinationDir, FileKind, Identity, Lost, Made, Metadata, NewFile,
    OldFile, Permissions,
};
use crate::error::{Error, Kind, Result};
use crate::util::printable::printable_path;

/// A local directory, which may not exist yet.
pub struct LocalDestination {
    path: PathBuf,
    location: String,
}

impl LocalDestination {
    /// Creates a destination for the directory at `path`. Does not access it.
    pub fn new(path: impl Into<PathBuf>) -> LocalDestination {
        let path = path.into();
        let location = printable_path(&path);
        LocalDestination { path, location }
    }
}

impl Destination for LocalDestination {
    fn location(&self) -> &str {
        &self.location
    }

    fn root(&self) -> Result<(Arc<dyn DestinationDir>, Made)> {
        let target = open_or_make(&self.path)?;
        let directory = Directory::new(target.fd, target.made, None)?;
        Ok((
            LocalDir::shared(directory, target.other_holder),
            target.made,
        ))
    }

    fn look(&self) -> Result<Option<Arc<dyn DestinationDir>>> {
        let Some(target) = open_existing(&self.path)? else {
            return Ok(None);
        };
        let directory = Directory::for_looking(target.fd)?;
        Ok(Some(LocalDir::shared_finished(directory)))
    }
}

/// The open root directory or a directory below it.
struct LocalDir {
    directory: Arc<Directory>,
    is_finished: AtomicBool,
    other_holder: Option<String>,
}

impl LocalDir {
    /// Wraps an open directory that `other_holder` controls.
    fn shared(directory: Directory, other_holder: Option<String>) -> Arc<dyn DestinationDir> {
        Arc::new(LocalDir {
            other_holder,
            directory: Arc::new(directory),
            is_finished: AtomicBool::new(false),
        })
    }

    /// Wraps an open directory that is not changed, so its mode need not be restored.
    fn shared_finished(directory: Directory) -> Arc<dyn DestinationDir> {
        Arc::new(LocalDir {
            other_holder: None,
            directory: Arc::new(directory),
            is_finished: AtomicBool::new(true),
        })
    }

    /// Creates the node that `metadata` describes under the unused name `name`.
    fn make_node(&self, name: &[u8], target: &[u8], metadata: &Metadata) -> rustix::io::Result<()> {
        let kind = match metadata.kind {
            FileKind::Symlink => return symlinkat(target, &*self.directory, name),
            FileKind::Fifo => FileType::Fifo,
            FileKind::Socket => FileType::Socket,
            FileKind::CharDevice => FileType::CharacterDevice,
            FileKind::BlockDevice => FileType::BlockDevice,
            FileKind::File | FileKind::Directory => return Err(Errno::INVAL),
        };
        mknodat(
            &*self.directory,
            name,
            kind,
            Mode::from_raw_mode(PRIVATE_FILE),
            metadata.rdev,
        )
    }

    /// Opens a node that was just created and verifies that it is the same: not a file that another
    /// user put in its place, not a file with other names, and not another device.
    fn hold_made(&self, draft: &Draft, made: &Metadata) -> Result<(OwnedFd, Before)> {
        let how = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let fd = openat(&*self.directory, draft.current_name(), how, Mode::empty())?;
        let metadata = stat_fd(&fd)?;
        let is_same = metadata.kind == made.kind
            && metadata.links == 1
            && (!metadata.is_device() || metadata.rdev == made.rdev);
        if !is_same || !is_own(&self.directory, &metadata) {
            return Err(Error::new(Kind::Failed, "it was replaced while being made"));
        }
        // Another process may connect to a FIFO or socket. Until it gets its permissions, only its
        // owner has access.
        let plain = self.directory.before_of_new(PRIVATE_FILE);
        let is_link = made.kind == FileKind::Symlink;
        let plain_mode = plain.plain_mode.filter(|_| !is_link);
        Ok((
            fd,
            Before {
                plain_mode,
                made: Made::New,
                xattrs: plain.xattrs,
                ..existing(&metadata, None)
            },
        ))
    }

    /// Creates a hard link to `old` in `from` under `name`, or under a temporary name that is then
    /// renamed. Another user may have replaced `old`, so the linked file is checked before it is
    /// published.
    fn make_link(
        &self,
        name: &[u8],
        from: &Directory,
        old: &[u8],
        file: Option<Identity>,
    ) -> Result<()> {
        let link = |new: &[u8]| link_unlocked(from, old, &self.directory, new);
        let (draft, ()) = Draft::make(&self.directory, name, Under::OwnName, link)?;
        let linked = stat_at(&*self.directory, draft.current_name())?;
        if file.is_some_and(|file| file != linked.identity()) {
            let cause = "its other name was replaced during the restore";
            return Err(Error::new(Kind::Failed, cause));
        }
        draft.publish()?;
        // If both names refer to the same inode, rename does nothing and both names remain.
        if draft.current_name() != name {
            let _ = unlinkat(&*self.directory, draft.current_name(), AtFlags::empty());
        }
        Ok(())
    }

    /// Whether `name` already refers to `file` or, if that is not known, to `old` in `from`.
    fn is_linked(
        &self,
        name: &[u8],
        from: &Directory,
        old: &[u8],
        file: Option<Identity>,
    ) -> Result<bool> {
        let here = match stat_at(&*self.directory, name) {
            Err(error) if error.kind() == Kind::NotFound => return Ok(false),
            here => here?,
        };
        if here.kind == FileKind::Directory {
            return Err(is_directory());
        }
        let there = match file {
            Some(file) => file,
            None => stat_at(from, old)?.identity(),
        };
        Ok(here.identity() == there)
    }
}

impl DestinationDir for LocalDir {
    fn look(
        &self,
        name: &[u8],
        attributes: &Attributes<'_>,
        permissions: Permissions,
    ) -> Result<Option<Arc<dyn DestinationDir>>> {
        check_name(name)?;
        let directory = self.directory.look(name, attributes, permissions)?;
        Ok(directory.map(LocalDir::shared_finished))
    }

    fn enter(
        &self,
        name: &[u8],
        attributes: &Attributes<'_>,
        permissions: Permissions,
    ) -> Result<(Arc<dyn DestinationDir>, Made)> {
        check_name(name)?;
        let directory = self.directory.enter(name, attributes, permissions)?;
        let made = directory.made;
        Ok((LocalDir::shared(directory, None), made))
    }

    fn open(&self, name: &[u8]) -> Result<Arc<dyn DestinationDir>> {
        check_name(name)?;
        let directory = self.directory.open(name, Made::Existed)?;
        Ok(LocalDir::shared(directory, None))
    }

    fn stat(&self, name: &[u8]) -> Result<Option<Metadata>> {
        check_name(name)?;
        match stat_at(&*self.directory, name) {
            Err(error) if error.kind() == Kind::NotFound => Ok(None),
            result => result.map(Some),
        }
    }

    fn read(
        &self,
        name: &[u8],
        attributes: &Attributes<'_>,
        permissions: Permissions,
    ) -> Result<Box<dyn OldFile>> {
        check_name(name)?;
        let file = LocalOldFile::open(&self.directory, name, attributes, permissions)?;
        Ok(Box::new(file))
    }

    fn create(&self, name: &[u8], size_bytes: u64) -> Result<Arc<dyn NewFile>> {
        check_name(name)?;
        Ok(Arc::new(LocalNewFile::create(
            &self.directory,
            name,
            size_bytes,
        )?))
    }

    fn make(
        &self,
        name: &[u8],
        target: &[u8],
        attributes: &Attributes<'_>,
        permissions: Permissions,
    ) -> Result<Vec<Lost>> {
        check_name(name)?;
        let kind = attributes.metadata.kind;
        let make = |name: &[u8]| self.make_node(name, target, attributes.metadata);
        let made = Draft::make(&self.directory, name, Under::OwnName, make);
        let (draft, ()) = made.map_err(|error| explain_device(error, kind))?;
        let (fd, before) = self.hold_made(&draft, attributes.metadata)?;
        let mut lost = attributes::put(Node::Path(fd.as_fd()), &before, attributes, permissions)?;
        draft.publish()?;
        if permissions == Permissions::Restore && attributes.flags != 0 {
            lost.push(Lost::Flags); // Flags require an open file descriptor.
        }
        Ok(lost)
    }

    fn link(
        &self,
        name: &[u8],
        dir: &dyn DestinationDir,
        existing: &[u8],
        file: Option<Identity>,
    ) -> Result<(Made, Vec<Lost>)> {
        check_name(name)?;
        check_name(existing)?;
        let Some(from) = dir.as_any().downcast_ref::<LocalDir>() else {
            return Err(Error::new(
                Kind::Failed,
                "a hard link cannot lead to another destination",
            ));
        };
        let from = &*from.directory;
        if self.is_linked(name, from, existing, file)? {
            return Ok((Made::Existed, Vec::new()));
        }
        self.make_link(name, from, existing, file)?;
        Ok((Made::New, Vec::new()))
    }

    /// Checks the directory again, because it was opened by name since it was entered.
    fn finish(&self, attributes: &Attributes<'_>, permissions: Permissions) -> Result<Vec<Lost>> {
        if permissions == Permissions::Restore {
            check_directory(&self.directory, attributes)?;
        }
        let before = self.directory.before_of_itself();
        let made = self.directory.made;
        let lost = put_on(&*self.directory, made, &before, attributes, permissions)?;
        self.is_finished.store(true, Ordering::Release);
        Ok(lost)
    }

    fn exposed_identity(&self) -> Option<Identity> {
        self.directory.exposed_identity()
    }

    fn other_holder(&self) -> Option<&str> {
        self.other_holder.as_deref()
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}

impl Drop for LocalDir {
    /// Restores the original mode of a directory that was never finished: an existing one, or one
    /// that a strict umask made inaccessible.
    fn drop(&mut self) {
        let directory = &*self.directory;
        if !self.is_finished.load(Ordering::Acquire) && directory.is_closed_to_its_owner() {
            // The process owned the directory before; the error cannot be reported from here.
            let _ = rustix::fs::fchmod(directory, Mode::from_raw_mode(directory.metadata.mode));
        }
    }
}

/// Creates a hard link, and temporarily clears the flags of an immutable file if necessary.
fn link_unlocked(
    from: &Directory,
    old: &[u8],
    to: &Directory,
    new: &[u8],
) -> rustix::io::Result<()> {
    unlocked(from.as_fd(), old, || {
        linkat(from, old, to, new, AtFlags::empty())
    })
}

/// Rejects a name that is not a single path component: a snapshot may come from an attacker.
fn check_name(name: &[u8]) -> Result<()> {
    let is_special = matches!(name, b"" | b"." | b"..");
    if is_special || name.iter().any(|&byte| byte == b'/' || byte == 0) {
        return Err(Error::corrupt("not a name of a file"));
    }
    Ok(())
}

/// Explains why an ordinary user cannot restore device nodes.
fn explain_device(error: Error, kind: FileKind) -> Error {
    let is_device = matches!(kind, FileKind::CharDevice | FileKind::BlockDevice);
    if is_device && error.kind() == Kind::Denied {
        return Error::new(Kind::Denied, "only root may make device nodes");
    }
    error
}

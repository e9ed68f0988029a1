//! The local file system as destination: [`LocalDestination`].
//!
//! A restore may land in a directory that others write to, so nothing here trusts a
//! name twice. The root is the user's path and may lead through links; below it every
//! call is relative to an open directory and follows none (see [`super::directory`]).
//! New things get their name when they are whole ([`super::draft`]) and their metadata
//! in an order that never lends rights ([`super::attributes`]).
//!
//! What an ordinary user may not do is told as [`Lost`]; the entry is restored all the
//! same. Only devices, which are nothing but their numbers, are an error then.
//!
//! Nothing is synced: a restore that is cut short by the power is run again, and finds
//! by times and sizes what was finished.

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

/// A directory of this machine, which need not exist yet.
pub struct LocalDestination {
    path: PathBuf,
    location: String,
}

impl LocalDestination {
    /// The directory at `path`. Nothing is made or looked at yet.
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

/// An open directory below the root, or the root.
struct LocalDir {
    directory: Arc<Directory>,
    is_finished: AtomicBool,
    other_holder: Option<String>,
}

impl LocalDir {
    /// Wraps an open directory, which `other_holder` controls.
    fn shared(directory: Directory, other_holder: Option<String>) -> Arc<dyn DestinationDir> {
        Arc::new(LocalDir {
            other_holder,
            directory: Arc::new(directory),
            is_finished: AtomicBool::new(false),
        })
    }

    /// Wraps an open directory that is not changed, and so not closed again.
    fn shared_finished(directory: Directory) -> Arc<dyn DestinationDir> {
        Arc::new(LocalDir {
            other_holder: None,
            directory: Arc::new(directory),
            is_finished: AtomicBool::new(true),
        })
    }

    /// Makes what `attributes` describe under the free name `name`.
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

    /// Holds what was just made, making sure that it is: nobody else's file that was put
    /// in its place, not one with other names, and not another device.
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
        // Another process may be at the other end of a FIFO or socket. Without its own
        // permissions, only its owner gets access.
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

    /// Links `old` of `from` under `name`, or under a temporary name that is put over it. Another
    /// user may have replaced `old`, so what was linked is checked before it is published.
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
        // Renaming one name of an inode over another leaves both where they are.
        if draft.current_name() != name {
            let _ = unlinkat(&*self.directory, draft.current_name(), AtFlags::empty());
        }
        Ok(())
    }

    /// Whether `name` is a name already of `file` or, if that is not known, of `old` in `from`.
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
            lost.push(Lost::Flags); // Only what can be opened takes flags.
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

    /// Checks the directory again: it was opened by name since it was entered.
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
    /// A directory that was opened up and never finished is closed again: one that was there
    /// before, or that a strict umask closed.
    fn drop(&mut self) {
        let directory = &*self.directory;
        if !self.is_finished.load(Ordering::Acquire) && directory.is_closed_to_its_owner() {
            // It was ours a moment ago; nobody is left to be told.
            let _ = rustix::fs::fchmod(directory, Mode::from_raw_mode(directory.metadata.mode));
        }
    }
}

/// Links, lifting the lock of an immutable file for it.
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

/// Refuses what is not the name of an entry: a snapshot may come from anybody.
fn check_name(name: &[u8]) -> Result<()> {
    let is_special = matches!(name, b"" | b"." | b"..");
    if is_special || name.iter().any(|&byte| byte == b'/' || byte == 0) {
        return Err(Error::corrupt("not a name of a file"));
    }
    Ok(())
}

/// Why an ordinary user has no devices.
fn explain_device(error: Error, kind: FileKind) -> Error {
    let is_device = matches!(kind, FileKind::CharDevice | FileKind::BlockDevice);
    if is_device && error.kind() == Kind::Denied {
        return Error::new(Kind::Denied, "only root may make device nodes");
    }
    error
}

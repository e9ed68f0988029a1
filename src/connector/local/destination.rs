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
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use rustix::fs::{
    AtFlags, FileType, Mode, OFlags, linkat, mknodat, open, openat, symlinkat, unlinkat,
};
use rustix::io::Errno;

use super::attributes::{self, Before, existing};
use super::directory::{Directory, PRIVATE_FILE};
use super::draft::{Draft, Under, is_directory};
use super::flags::{self, unlocked};
use super::new_file::{LocalNewFile, LocalOldFile};
use super::node::Node;
use super::stat::{stat_at, stat_fd};
use crate::connector::{
    Attributes, Destination, DestinationDir, FileKind, Lost, Made, Metadata, NewFile, Permissions,
    SourceFile,
};
use crate::error::{During, Error, Kind, Result};
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
        let made = make_with_parents(&self.path)?;
        let how = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let fd = open(&self.path, how, Mode::empty()).map_err(|errno| match errno {
            Errno::NOTDIR => Error::new(Kind::Exists, "it is not a directory"),
            _ => errno.into(),
        })?;
        Ok((LocalDir::shared(Directory::new(fd, made, None)?), made))
    }
}

/// Makes the directory `path` and its parents where missing, with what the umask gives.
fn make_with_parents(path: &Path) -> Result<Made> {
    if path.is_dir() {
        return Ok(Made::Existed);
    }
    if let Some(parent) = path.parent() {
        std::fs::create_dir_all(parent).during(|| format!("make {}", printable_path(parent)))?;
    }
    match std::fs::create_dir(path) {
        Ok(()) => Ok(Made::New),
        Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => Ok(Made::Existed),
        Err(error) => Err(error.into()),
    }
}

/// An open directory below the root, or the root.
struct LocalDir {
    directory: Arc<Directory>,
    is_finished: AtomicBool,
}

impl LocalDir {
    /// Wraps an open directory.
    fn shared(directory: Directory) -> Arc<dyn DestinationDir> {
        Arc::new(LocalDir {
            directory: Arc::new(directory),
            is_finished: AtomicBool::new(false),
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
    /// in its place, and not one with other names.
    fn hold_made(&self, draft: &Draft, kind: FileKind) -> Result<(OwnedFd, Before)> {
        let how = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let fd = openat(&*self.directory, draft.current_name(), how, Mode::empty())?;
        let metadata = stat_fd(&fd)?;
        if metadata.kind != kind || metadata.links != 1 {
            return Err(Error::new(Kind::Failed, "it was replaced while being made"));
        }
        let plain = self.directory.before_of_new(0o666);
        let is_link = kind == FileKind::Symlink;
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

    /// Links `old` of `from` under a temporary name and puts that over `name`.
    fn link_over(&self, name: &[u8], from: &Directory, old: &[u8]) -> Result<()> {
        let link = |new: &[u8]| link_unlocked(from, old, &self.directory, new);
        let (draft, ()) = Draft::make(&self.directory, name, Under::TemporaryName, link)?;
        draft.publish()?;
        // Renaming one name of an inode over another leaves both where they are.
        let _ = unlinkat(&*self.directory, draft.current_name(), AtFlags::empty());
        Ok(())
    }

    /// Whether `name` is a name of `old` in `from` already.
    fn is_linked(&self, name: &[u8], from: &Directory, old: &[u8]) -> Result<bool> {
        let (here, there) = (stat_at(&*self.directory, name)?, stat_at(from, old)?);
        if here.kind == FileKind::Directory {
            return Err(is_directory());
        }
        Ok((here.device, here.inode) == (there.device, there.inode))
    }
}

impl DestinationDir for LocalDir {
    fn enter(
        &self,
        name: &[u8],
        permissions: Permissions,
    ) -> Result<(Arc<dyn DestinationDir>, Made)> {
        check_name(name)?;
        let directory = self.directory.enter(name, permissions)?;
        let made = directory.made;
        Ok((LocalDir::shared(directory), made))
    }

    fn open(&self, name: &[u8]) -> Result<Arc<dyn DestinationDir>> {
        check_name(name)?;
        let directory = self.directory.open(name, Made::Existed)?;
        Ok(LocalDir::shared(directory))
    }

    fn stat(&self, name: &[u8]) -> Result<Option<Metadata>> {
        check_name(name)?;
        match stat_at(&*self.directory, name) {
            Err(error) if error.kind() == Kind::NotFound => Ok(None),
            result => result.map(Some),
        }
    }

    fn read(&self, name: &[u8]) -> Result<Box<dyn SourceFile>> {
        check_name(name)?;
        Ok(Box::new(LocalOldFile::open(&self.directory, name)?))
    }

    fn create(&self, name: &[u8], size_bytes: u64) -> Result<Arc<dyn NewFile>> {
        check_name(name)?;
        Ok(Arc::new(LocalNewFile::create(
            &self.directory,
            name,
            size_bytes,
        )?))
    }

    fn adjust(
        &self,
        name: &[u8],
        attributes: &Attributes<'_>,
        permissions: Permissions,
    ) -> Result<Vec<Lost>> {
        check_name(name)?;
        let LocalOldFile(file) = LocalOldFile::open(&self.directory, name)?;
        let before = existing(&stat_fd(&file)?, None);
        put_on(&file, Made::Existed, &before, attributes, permissions)
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
        let (fd, before) = self.hold_made(&draft, kind)?;
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
    ) -> Result<(Made, Vec<Lost>)> {
        check_name(name)?;
        check_name(existing)?;
        let Some(from) = dir.as_any().downcast_ref::<LocalDir>() else {
            return Err(Error::new(
                Kind::Failed,
                "a hard link cannot lead to another destination",
            ));
        };
        match link_unlocked(&from.directory, existing, &self.directory, name) {
            Err(Errno::EXIST) if self.is_linked(name, &from.directory, existing)? => {
                return Ok((Made::Existed, Vec::new()));
            }
            Err(Errno::EXIST) => self.link_over(name, &from.directory, existing)?,
            result => result?,
        }
        Ok((Made::New, Vec::new()))
    }

    fn finish(&self, attributes: &Attributes<'_>, permissions: Permissions) -> Result<Vec<Lost>> {
        let before = self.directory.before_of_itself();
        let made = self.directory.made;
        let lost = put_on(&*self.directory, made, &before, attributes, permissions)?;
        self.is_finished.store(true, Ordering::Release);
        Ok(lost)
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

/// Puts attributes on a file or directory that has its name; one that was there before
/// may be locked by its flags, which are lifted for it.
fn put_on(
    file: impl AsFd,
    made: Made,
    before: &Before,
    attributes: &Attributes<'_>,
    permissions: Permissions,
) -> Result<Vec<Lost>> {
    let node = Node::Open(file.as_fd());
    if made == Made::Existed && permissions == Permissions::Restore {
        flags::lift(node.fd());
    }
    let mut lost = attributes::put(node, before, attributes, permissions)?;
    flags::put(node.fd(), attributes, permissions, made, &mut lost)?;
    Ok(lost)
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

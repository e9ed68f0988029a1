//! Where files are read from and restored to: [`Source`] and [`Destination`].
//!
//! A connector transfers names, metadata and bytes. It does not know about chunks, snapshots or
//! keys. All files are accessed through open directories, one name at a time. Therefore the length
//! of a path is not limited, and a directory that is replaced by a symbolic link during the
//! operation is not followed.

mod class;
pub mod exclude;
mod local;
mod preview;
mod sftp;
mod stream;
pub mod wanted;

use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

pub use crate::util::file::{Details, FileKind, Identity, Metadata};
pub use local::{LocalDestination, LocalSource};
pub use preview::Preview;
pub use sftp::{SftpDestination, SftpSource};
pub use stream::{Feed, StreamSource};

use self::wanted::Wanted;
use crate::error::Result;

/// An entry of a directory. If its metadata cannot be read, the other entries remain valid.
pub struct Item {
    /// The name as raw bytes. Contains no `/`, and is never `.` or `..`.
    pub name: Vec<u8>,
    /// The result of `lstat`.
    pub metadata: Result<Metadata>,
}

/// A file tree that can be backed up. Can be used from several threads concurrently.
pub trait Source: Send + Sync {
    /// The kind of source, recorded in snapshots: `fs`, `sftp`.
    fn kind(&self) -> &str;

    /// The host of the files, recorded in snapshots.
    fn origin(&self) -> &str;

    /// Opens the root directory `/` of the source.
    fn root(&self) -> Result<(Arc<dyn SourceDir>, Metadata)>;

    /// Returns the name of a user, if the source knows it.
    fn user_name(&self, uid: u32) -> Option<Arc<str>>;

    /// Returns the name of a group, if the source knows it.
    fn group_name(&self, gid: u32) -> Option<Arc<str>>;

    /// Announces the files to be walked, in the order of paths, before the walk begins. Remote
    /// sources use this to prefetch; others ignore it.
    fn expect(&self, _wanted: Wanted) {}

    /// Whether the source as a whole is lost, such as a server that stays unavailable. Nothing more
    /// can be read then, and the errors do not indicate a problem of the individual files.
    fn is_lost(&self) -> bool {
        false
    }
}

/// An open directory of a source.
pub trait SourceDir: Send + Sync {
    /// Lists all entries except `.` and `..`, in any order. An entry that is deleted between the
    /// listing and its `lstat` is omitted.
    fn items(&self) -> Result<Vec<Item>>;

    /// Returns the result of `lstat` for `name`.
    fn stat(&self, name: &[u8]) -> Result<Metadata>;

    /// Opens the directory `name`. A symbolic link is not followed; it is an error.
    fn open_dir(&self, name: &[u8]) -> Result<Arc<dyn SourceDir>>;

    /// Opens the regular file `name`. A symbolic link is not followed. Anything that is no longer a
    /// regular file, such as a FIFO, is an error and never blocks.
    fn open_file(&self, name: &[u8]) -> Result<Box<dyn SourceFile>>;

    /// Announces that the regular file `name` with this metadata will be opened soon. Remote
    /// sources use this to prefetch; others ignore it.
    fn expect_file(&self, _name: &[u8], _metadata: &Metadata) {}

    /// Opens the regular file `name` as a stream, or returns `None` if it is not a stream. The
    /// caller tries this before [`SourceDir::open_file`]. Most sources have no streams.
    fn open_stream(&self, _name: &[u8]) -> Result<Option<Box<dyn Stream>>> {
        Ok(None)
    }

    /// Returns extended attributes, flags and link target of `name`, whose type is `kind`. Not for
    /// regular files, which have [`SourceFile::details`].
    fn details(&self, name: &[u8], kind: FileKind) -> Result<Details>;

    /// Returns extended attributes and flags of this directory itself.
    fn own_details(&self) -> Result<Details>;
}

/// An open file of a source, read once from start to end.
pub trait SourceFile: Send {
    /// Returns the current result of `fstat`. A comparison after reading detects whether the file
    /// has changed.
    fn metadata(&self) -> Result<Metadata>;

    /// Returns extended attributes and flags.
    fn details(&self) -> Result<Details>;

    /// Fills `buffer` and returns the number of bytes read, which is smaller than the buffer only
    /// at the end of the file.
    fn read(&mut self, buffer: &mut [u8]) -> Result<usize>;

    /// Sets the offset of the next read, to skip holes and to read again.
    fn seek(&mut self, offset: u64) -> Result<()>;

    /// Returns the allocated ranges of a file of `size_bytes`, in order; everything else is a hole.
    /// Returns one range for the whole file if the source does not know.
    fn data_runs(&self, size_bytes: u64) -> Result<Vec<Range<u64>>>;
}

/// A file that is read from a pipe: its length is not known in advance, and it can be read only
/// once.
pub trait Stream: Send {
    /// Reads the available bytes into `buffer`, and waits for at most `patience`. Returns `None` if
    /// nothing arrived, and 0 at the end. The end is reported only for a complete stream.
    fn take(&mut self, buffer: &mut [u8], patience: Duration) -> Result<Option<usize>>;
}

/// An attribute of an entry that could not be restored, for a summary of one line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Lost {
    /// User or group: only root may change the owner of a file.
    Owner,
    /// The permission bits.
    Mode,
    /// The modification time.
    Times,
    /// One or all extended attributes.
    Xattr,
    /// An inode flag.
    Flags,
    /// Holes: the file was written in full.
    Holes,
    /// A hard link: the name refers to a copy of the file.
    Link,
    /// A device node, which is not created without its permissions.
    Device,
}

/// All attributes that are restored on an entry after its contents.
#[derive(Clone, Debug)]
pub struct Attributes<'a> {
    /// Type, mode, times, owner and size.
    pub metadata: &'a Metadata,
    /// The recorded user name. If the destination knows the name, it takes precedence over the
    /// number.
    pub user: Option<&'a str>,
    /// The recorded group name, with the same precedence.
    pub group: Option<&'a str>,
    /// Extended attributes: pairs of name and value.
    pub xattrs: &'a [(Vec<u8>, Vec<u8>)],
    /// Inode flags, as recorded in snapshots.
    pub flags: u32,
}

/// Which attributes a restore sets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Permissions {
    /// Owner, mode, extended attributes and flags, as far as the process is permitted to set them.
    Restore,
    /// None of these (`-skip-permissions`): new files get default modes according to the umask.
    Skip,
}

/// A place to which files are restored. Can be used from several threads concurrently.
pub trait Destination: Send + Sync {
    /// The name of this destination in messages.
    fn location(&self) -> &str;

    /// Opens the directory to which everything is restored. Creates it and its parents if they are
    /// missing. The second value is whether it was created.
    fn root(&self) -> Result<(Arc<dyn DestinationDir>, Made)>;

    /// Opens the directory for a dry run. Returns `None` if it does not exist. Nothing is written,
    /// not even temporarily.
    fn look(&self) -> Result<Option<Arc<dyn DestinationDir>>>;
}

/// Whether an entry existed before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Made {
    /// The entry was created.
    New,
    /// The entry existed before.
    Existed,
}

/// An open directory of a destination. Nothing is ever written through a symbolic link.
pub trait DestinationDir: Send + Sync {
    /// Opens the directory `name`, and creates it if it is missing. With [`Permissions::Restore`]
    /// the new directory has mode 0700 until its attributes are set; with [`Permissions::Skip`] its
    /// final mode depends on the umask.
    ///
    /// If an existing directory has no write permission, its mode is extended, provided that the
    /// process owns it; [`DestinationDir::finish`] sets its final mode. If the restore runs as
    /// root, write permissions of other users that `attributes` does not contain are removed
    /// immediately.
    ///
    /// # Errors
    /// [`crate::error::Kind::Exists`] if the name is not a directory (also for a symbolic link to a
    /// directory), or if root would take over the directory of another user.
    fn enter(
        &self,
        name: &[u8],
        attributes: &Attributes<'_>,
        permissions: Permissions,
    ) -> Result<(Arc<dyn DestinationDir>, Made)>;

    /// Opens the directory `name` like [`DestinationDir::enter`], but never creates it.
    ///
    /// # Errors
    /// [`crate::error::Kind::NotFound`] if it is missing; the errors of `enter`.
    fn open(&self, name: &[u8]) -> Result<Arc<dyn DestinationDir>>;

    /// Opens the directory `name` for a dry run. Returns `None` if it does not exist. Nothing is
    /// written.
    ///
    /// # Errors
    /// Those of [`DestinationDir::enter`].
    fn look(
        &self,
        name: &[u8],
        attributes: &Attributes<'_>,
        permissions: Permissions,
    ) -> Result<Option<Arc<dyn DestinationDir>>>;

    /// Returns the metadata of `name`, or `None` if it does not exist. Does not follow a symbolic
    /// link.
    fn stat(&self, name: &[u8]) -> Result<Option<Metadata>>;

    /// Opens the regular file `name` for reading, to compare it with the file to restore.
    ///
    /// # Errors
    /// [`crate::error::Kind::Exists`] if the file must be replaced even if it is identical: another
    /// user controls it, or `attributes` gives it a privilege.
    fn read(
        &self,
        name: &[u8],
        attributes: &Attributes<'_>,
        permissions: Permissions,
    ) -> Result<Box<dyn OldFile>>;

    /// Starts a file of `size_bytes` with the name `name`. An existing file of that name is not
    /// changed until the new one is finished.
    fn create(&self, name: &[u8], size_bytes: u64) -> Result<Arc<dyn NewFile>>;

    /// Creates the symbolic link, FIFO, socket or device `name`. Replaces anything except a
    /// directory.
    fn make(
        &self,
        name: &[u8],
        target: &[u8],
        attributes: &Attributes<'_>,
        permissions: Permissions,
    ) -> Result<Vec<Lost>>;

    /// Creates `name` as a hard link to the file `existing` in `dir`, a directory of the same
    /// destination. Replaces anything except a directory. Returns whether the link already existed,
    /// and the lost attributes: without hard links, the result is a copy. It is an error if
    /// `existing` is a different file than `file`, where that is known.
    fn link(
        &self,
        name: &[u8],
        dir: &dyn DestinationDir,
        existing: &[u8],
        file: Option<Identity>,
    ) -> Result<(Made, Vec<Lost>)>;

    /// Sets the final attributes of this directory. Called after all its entries are restored.
    fn finish(&self, attributes: &Attributes<'_>, permissions: Permissions) -> Result<Vec<Lost>>;

    /// Returns the identity of this directory if root restores into it and another user can replace
    /// it: it is opened by name again before it is finished.
    fn exposed_identity(&self) -> Option<Identity> {
        None
    }

    /// Returns the user, other than root, who can rename and remove the files that root restores
    /// here, as far as this is known for the root directory of the destination.
    fn other_holder(&self) -> Option<&str> {
        None
    }

    /// For [`DestinationDir::link`] between two directories of one connector.
    fn as_any(&self) -> &dyn std::any::Any;
}

/// A file that is being restored. It has a temporary name if it is large or replaces another file.
/// Dropping it before it is finished removes it.
pub trait NewFile: Send + Sync {
    /// Writes `bytes` at `offset`. Several threads can write different ranges concurrently. Ranges
    /// that are never written are holes if the destination supports them, otherwise zeros.
    fn write_at(&self, bytes: &[u8], offset: u64) -> Result<()>;

    /// Sets the attributes (owner before mode, times last) and renames the file to its final name.
    /// Replaces anything except a directory.
    fn finish(&self, attributes: &Attributes<'_>, permissions: Permissions) -> Result<Vec<Lost>>;

    /// Returns the identity of the file, if the destination knows it.
    fn identity(&self) -> Option<Identity> {
        None
    }
}

/// A file that already exists at the destination. It stays open during the comparison.
pub trait OldFile: Send {
    /// Fills `buffer` and returns the number of bytes read, which is smaller than the buffer only
    /// at the end of the file.
    fn read(&mut self, buffer: &mut [u8]) -> Result<usize>;

    /// Sets `attributes` on the file, whose contents are already correct.
    fn adjust(
        &mut self,
        attributes: &Attributes<'_>,
        permissions: Permissions,
    ) -> Result<Vec<Lost>>;

    /// Returns the identity of the file, if the destination knows it.
    fn identity(&self) -> Option<Identity> {
        None
    }
}

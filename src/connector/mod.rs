//! Where files are read from and restored to: [`Source`] and [`Destination`].
//!
//! A connector moves names, metadata and bytes. It has never heard of chunks,
//! snapshots or keys. Everything is reached through open directories, one name
//! at a time, so a path has no length limit and a directory that is swapped for
//! a link while we work is not followed.

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

/// One name in a directory. Its metadata may be an error of its own: the others are still good.
pub struct Item {
    /// Raw bytes, without `/` and never `.` or `..`.
    pub name: Vec<u8>,
    /// What `lstat` said of it.
    pub metadata: Result<Metadata>,
}

/// A tree of files that can be backed up. May be used from several threads at once.
pub trait Source: Send + Sync {
    /// The kind of source, recorded in snapshots: `fs`, `sftp`.
    fn kind(&self) -> &str;

    /// The machine the files are on, recorded in snapshots.
    fn origin(&self) -> &str;

    /// Opens the root directory, `/`, of the source's name space.
    fn root(&self) -> Result<(Arc<dyn SourceDir>, Metadata)>;

    /// The name of a user, where the source knows it.
    fn user_name(&self, uid: u32) -> Option<Arc<str>>;

    /// The name of a group, where the source knows it.
    fn group_name(&self, gid: u32) -> Option<Arc<str>>;

    /// Hears what is going to be walked, in the order of paths, before the walk begins. Only a
    /// source that is far away does anything about it.
    fn expect(&self, _wanted: Wanted) {}

    /// Whether the source as a whole is gone, as a server that stays away: then nothing more
    /// can be read, and what failed says nothing of the files.
    fn is_lost(&self) -> bool {
        false
    }
}

/// An open directory of a source.
pub trait SourceDir: Send + Sync {
    /// Everything in it but `.` and `..`, in any order. An entry that vanishes
    /// between being listed and being looked at is left out.
    fn items(&self) -> Result<Vec<Item>>;

    /// What `lstat` says of `name`.
    fn stat(&self, name: &[u8]) -> Result<Metadata>;

    /// Opens the directory `name`. A symbolic link is not followed: it is an error.
    fn open_dir(&self, name: &[u8]) -> Result<Arc<dyn SourceDir>>;

    /// Opens the regular file `name`. A link is not followed, and what is no longer
    /// a regular file (a FIFO put in its place, say) is an error, never a hang.
    fn open_file(&self, name: &[u8]) -> Result<Box<dyn SourceFile>>;

    /// Hears that the regular file `name`, of which so much is known, will be opened soon. Only
    /// a source that is far away does anything about it.
    fn expect_file(&self, _name: &[u8], _metadata: &Metadata) {}

    /// Opens the regular file `name` as a stream if it is one, which it is asked before
    /// [`SourceDir::open_file`]. Most sources have none.
    fn open_stream(&self, _name: &[u8]) -> Result<Option<Box<dyn Stream>>> {
        Ok(None)
    }

    /// Extended attributes, flags and link target of `name`, which is of `kind` and not
    /// a regular file (ask [`SourceFile::details`] there).
    fn details(&self, name: &[u8], kind: FileKind) -> Result<Details>;

    /// Extended attributes and flags of this directory itself.
    fn own_details(&self) -> Result<Details>;
}

/// An open file of a source, read once from start to end.
pub trait SourceFile: Send {
    /// What `fstat` says now: compared after reading to tell whether the file changed meanwhile.
    fn metadata(&self) -> Result<Metadata>;

    /// Extended attributes and flags.
    fn details(&self) -> Result<Details>;

    /// Fills as much of `buffer` as there are bytes left; less than all of it means the end.
    fn read(&mut self, buffer: &mut [u8]) -> Result<usize>;

    /// Goes to `offset`, for skipping holes and for reading again.
    fn seek(&mut self, offset: u64) -> Result<()>;

    /// The runs of bytes that are allocated, in order, for a file of `size_bytes`; the
    /// rest are holes. One run of everything where the source cannot tell.
    fn data_runs(&self, size_bytes: u64) -> Result<Vec<Range<u64>>>;
}

/// A file that comes through a pipe: nobody knows its length beforehand, and it is read once.
pub trait Stream: Send {
    /// Puts what has come into `buffer`, waiting no longer than `patience`. Nothing if nothing
    /// came; 0 at the end, which is told only of a stream that is whole.
    fn take(&mut self, buffer: &mut [u8], patience: Duration) -> Result<Option<usize>>;
}

/// What could not be restored of an entry's metadata, for a summary of one line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Lost {
    /// User or group: only root may give files away.
    Owner,
    /// Permission bits.
    Mode,
    /// Modification time.
    Times,
    /// An extended attribute, or all of them.
    Xattr,
    /// An inode flag.
    Flags,
    /// Holes: the file was written in full.
    Holes,
    /// A hard link: another file that is equal has the name.
    Link,
    /// A device node, which is not created without its permissions.
    Device,
}

/// Everything that is put back on an entry once its contents are in place.
#[derive(Clone, Debug)]
pub struct Attributes<'a> {
    /// Kind, mode, times, owner and size.
    pub metadata: &'a Metadata,
    /// The owner's name where it was recorded: it wins over the number if the destination knows it.
    pub user: Option<&'a str>,
    /// The group's name, likewise.
    pub group: Option<&'a str>,
    /// Extended attributes, by name.
    pub xattrs: &'a [(Vec<u8>, Vec<u8>)],
    /// Inode flags.
    pub flags: u32,
}

/// Which attributes a restore puts back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Permissions {
    /// Owner, mode, xattrs and flags, as far as we are allowed.
    Restore,
    /// None of them (`-skip-permissions`): new files get what the umask gives.
    Skip,
}

/// A place files are restored to. May be used from several threads at once.
pub trait Destination: Send + Sync {
    /// What to call it in messages.
    fn location(&self) -> &str;

    /// Opens the directory everything lands in, making it, and its parents, if missing.
    /// The second value tells whether it was made.
    fn root(&self) -> Result<(Arc<dyn DestinationDir>, Made)>;

    /// Opens it for a dry run, if it is there: nothing is written, not even for a moment.
    fn look(&self) -> Result<Option<Arc<dyn DestinationDir>>>;
}

/// Whether something was there already.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Made {
    /// It is new.
    New,
    /// It was there before.
    Existed,
}

/// An open directory of a destination. Nothing is ever written through a symbolic link.
pub trait DestinationDir: Send + Sync {
    /// Opens the directory `name`, making it if missing: with mode 0700 if it is to get
    /// `permissions` of its own, else with what the umask gives, for good.
    ///
    /// A directory that exists and does not let us in (no write permission) is opened
    /// up if it is ours; [`DestinationDir::finish`] gives it its final mode. Write permissions
    /// of other users that `attributes` lack are removed at once if the restore runs as root.
    ///
    /// # Errors
    /// [`crate::error::Kind::Exists`] if something else has that name, a link to a directory included,
    /// or if root would take over the directory of another user.
    fn enter(
        &self,
        name: &[u8],
        attributes: &Attributes<'_>,
        permissions: Permissions,
    ) -> Result<(Arc<dyn DestinationDir>, Made)>;

    /// Opens the directory `name` as [`DestinationDir::enter`] does, but makes none.
    ///
    /// # Errors
    /// [`crate::error::Kind::NotFound`] if it is missing, and those of `enter`.
    fn open(&self, name: &[u8]) -> Result<Arc<dyn DestinationDir>>;

    /// Opens the directory `name` for a dry run, if it is there. Nothing is written.
    ///
    /// # Errors
    /// Those of [`DestinationDir::enter`].
    fn look(
        &self,
        name: &[u8],
        attributes: &Attributes<'_>,
        permissions: Permissions,
    ) -> Result<Option<Arc<dyn DestinationDir>>>;

    /// What is there under `name`, if anything, not following a link.
    fn stat(&self, name: &[u8]) -> Result<Option<Metadata>>;

    /// Opens the regular file `name` for reading, to find out whether it is identical already.
    ///
    /// # Errors
    /// [`crate::error::Kind::Exists`] if it must be replaced even then: another user controls
    /// it, or `attributes` give it a privilege.
    fn read(
        &self,
        name: &[u8],
        attributes: &Attributes<'_>,
        permissions: Permissions,
    ) -> Result<Box<dyn OldFile>>;

    /// Starts a file of `size_bytes` that will be called `name`. If something has that name
    /// it is not touched until the file is finished.
    fn create(&self, name: &[u8], size_bytes: u64) -> Result<Arc<dyn NewFile>>;

    /// Makes the link, FIFO, socket or device `name`, replacing what is not a directory.
    fn make(
        &self,
        name: &[u8],
        target: &[u8],
        attributes: &Attributes<'_>,
        permissions: Permissions,
    ) -> Result<Vec<Lost>>;

    /// Makes `name` another name of the file `existing` in `dir` (a directory of the same
    /// destination), replacing what is not a directory. Tells whether it was one already, and
    /// what was lost: where there are no hard links, it is a copy. It is an error if `existing`
    /// is another file than `file`, where that is known.
    fn link(
        &self,
        name: &[u8],
        dir: &dyn DestinationDir,
        existing: &[u8],
        file: Option<Identity>,
    ) -> Result<(Made, Vec<Lost>)>;

    /// Gives this directory its final attributes. Called once everything in it is in place.
    fn finish(&self, attributes: &Attributes<'_>, permissions: Permissions) -> Result<Vec<Lost>>;

    /// Which directory it is, if root restores into it and another user can put another one in
    /// its place: before it is finished, it is opened by name again.
    fn exposed_identity(&self) -> Option<Identity> {
        None
    }

    /// Who, other than root, can rename and remove what root restores here, as far as that is
    /// known of the root of the destination.
    fn other_holder(&self) -> Option<&str> {
        None
    }

    /// For [`DestinationDir::link`] between two directories of one connector.
    fn as_any(&self) -> &dyn std::any::Any;
}

/// A file being restored, under a temporary name if it is large or replaces another.
/// Dropping it unfinished removes it.
pub trait NewFile: Send + Sync {
    /// Writes `bytes` at `offset`; several threads may write different parts at once.
    /// Parts never written are holes where the destination has them, else zeros.
    fn write_at(&self, bytes: &[u8], offset: u64) -> Result<()>;

    /// Puts the attributes on (owner before mode, times last) and gives the file its name,
    /// replacing what is there unless it is a directory.
    fn finish(&self, attributes: &Attributes<'_>, permissions: Permissions) -> Result<Vec<Lost>>;

    /// Which file it is, where the destination knows.
    fn identity(&self) -> Option<Identity> {
        None
    }
}

/// A file that is at the destination already, held open while it is compared.
pub trait OldFile: Send {
    /// Fills as much of `buffer` as there are bytes left; less than all of it means the end.
    fn read(&mut self, buffer: &mut [u8]) -> Result<usize>;

    /// Puts `attributes` on it. Its contents are right already.
    fn adjust(
        &mut self,
        attributes: &Attributes<'_>,
        permissions: Permissions,
    ) -> Result<Vec<Lost>>;

    /// Which file it is, where the destination knows.
    fn identity(&self) -> Option<Identity> {
        None
    }
}

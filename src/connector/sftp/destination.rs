//! A directory on an SFTP server as a destination.
//!
//! Files are written under temporary names and renamed when they are complete. Hard links are
//! restored as copies.
//!
//! Nothing is synced: an interrupted restore is run again, and recognizes the completed files by
//! time and size.

use std::any::Any;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};

use super::file::RemoteFile;
use super::new_file::{Plain, SftpNewFile, temporary_beside};
use super::old_file::SftpOldFile;
use super::{look, metadata, path_of};
use crate::connector::{
    Attributes, Destination, DestinationDir, FileKind, Identity, Lost, Made, Metadata, NewFile,
    OldFile, Permissions, SourceFile,
};
use crate::error::{During, Error, Kind, Result};
use crate::net::location::Url;
use crate::net::ssh::pool::Pool;
use crate::net::ssh::sftp::{Change, Connection, is_failure, joined};
use crate::util::printable::printable_path;

/// The mode of a directory that only its owner can use, until it gets its final mode.
const PRIVATE_DIRECTORY: u32 = 0o700;
/// The mode of a directory before the server applies its umask.
const PLAIN_DIRECTORY: u32 = 0o777;
/// The permissions that are required to create entries in a directory.
const USABLE: u32 = 0o300;
/// The number of bytes copied at once for a file with several names.
const PIECE_BYTES: usize = 1 << 20;

/// The state shared by all directories and files of one destination.
pub(super) struct Shared {
    pub(super) pool: Arc<Pool>,
    /// Whether the server refused to change an owner.
    pub(super) cannot_give: AtomicBool,
    /// The owner and mode of new files on the server, once known.
    pub(super) plain: OnceLock<Plain>,
}

/// A directory on an SFTP server, which may not exist yet.
pub struct SftpDestination {
    shared: Arc<Shared>,
    path: PathBuf,
    location: String,
}

impl SftpDestination {
    /// Creates a destination for the directory at `url`, reached through `pool`. Does not connect.
    pub fn new(url: &Url, pool: Pool) -> SftpDestination {
        SftpDestination {
            shared: Arc::new(Shared {
                pool: Arc::new(pool),
                cannot_give: AtomicBool::new(false),
                plain: OnceLock::new(),
            }),
            path: path_of(&url.path),
            location: url.to_string(),
        }
    }
}

impl SftpDestination {
    /// Whether the directory exists.
    ///
    /// # Errors
    /// [`Kind::Exists`] if `path` is not a directory.
    pub fn is_there(&self) -> Result<bool> {
        match self
            .shared
            .pool
            .run(|connection| connection.stat(&self.path))
        {
            Ok(stat) => expect_directory(&metadata(&stat)).map(|()| true),
            Err(cause) if cause.kind() == Kind::NotFound => Ok(false),
            Err(cause) => Err(cause),
        }
        .during(|| self.location.clone())
    }

    /// Tests the write permission: creates a file and removes it again. Does nothing if the
    /// directory does not exist. Returns whether it exists.
    pub fn try_writing(&self) -> Result<bool> {
        let is_there = self.is_there()?;
        if is_there {
            let tried = self.shared.plain(&self.path.join("x"));
            tried.during(|| self.location.clone())?;
        }
        Ok(is_there)
    }
}

impl Destination for SftpDestination {
    fn location(&self) -> &str {
        &self.location
    }

    fn root(&self) -> Result<(Arc<dyn DestinationDir>, Made)> {
        let made =
            (self.shared.pool).run(|connection| make_with_parents(connection, &self.path))?;
        let root = RemoteDir::new(&self.shared, self.path.clone(), None);
        Ok((Arc::new(root), made))
    }

    fn look(&self) -> Result<Option<Arc<dyn DestinationDir>>> {
        let is_there = self.is_there()?;
        Ok(is_there.then(|| RemoteDir::for_looking(&self.shared, self.path.clone())))
    }
}

/// Creates the directory `path` and its missing parents with default modes (subject to the umask).
/// Also accepts a symbolic link to a directory, because the user specified the path.
fn make_with_parents(connection: &mut Connection, path: &Path) -> Result<Made> {
    match connection.stat(path) {
        Ok(stat) if stat.is_dir() => return Ok(Made::Existed),
        Ok(_) => return Err(Error::new(Kind::Exists, "it is not a directory")),
        Err(cause) if cause.kind() != Kind::NotFound => return Err(cause),
        Err(_) => {}
    }
    if let Some(above) = path.parent().filter(|above| *above != Path::new("")) {
        make_with_parents(connection, above)
            .during(|| format!("make {}", printable_path(above)))?;
    }
    connection.mkdir(path, PLAIN_DIRECTORY).map(|()| Made::New)
}

/// The root directory of the destination or a directory below it.
struct RemoteDir {
    shared: Arc<Shared>,
    path: PathBuf,
    /// The original mode of an existing directory whose mode had to be extended.
    own_mode: Option<u32>,
    is_finished: AtomicBool,
    /// Whether the directory is open for a dry run: nothing is created in it, not even to determine
    /// the account.
    is_looked_at: bool,
}

impl RemoteDir {
    fn new(shared: &Arc<Shared>, path: PathBuf, own_mode: Option<u32>) -> RemoteDir {
        RemoteDir {
            shared: shared.clone(),
            path,
            own_mode,
            is_finished: AtomicBool::new(false),
            is_looked_at: false,
        }
    }

    /// Opens an existing directory for a dry run.
    fn for_looking(shared: &Arc<Shared>, path: PathBuf) -> Arc<dyn DestinationDir> {
        let mut dir = RemoteDir::new(shared, path, None);
        dir.is_looked_at = true;
        Arc::new(dir)
    }

    /// Returns the path of `name`.
    fn at(&self, name: &[u8]) -> Result<PathBuf> {
        let is_special = matches!(name, b"" | b"." | b"..");
        if is_special || name.iter().any(|&byte| byte == b'/' || byte == 0) {
            return Err(Error::corrupt("not a name of a file"));
        }
        Ok(joined(&self.path, name))
    }

    fn run<T>(&self, work: impl FnMut(&mut Connection) -> Result<T>) -> Result<T> {
        self.shared.pool.run(work)
    }

    /// Opens the existing directory at `path` with the mode `mode`. If the mode does not allow
    /// creating entries, extends it, provided that the account owns the directory.
    fn existing(&self, path: PathBuf, mode: u32) -> Arc<dyn DestinationDir> {
        let mut own_mode = None;
        if mode & USABLE != USABLE {
            let change = Change {
                mode: Some(mode | PRIVATE_DIRECTORY),
                ..Change::default()
            };
            // If the account does not own it, creating an entry in it fails and reports the error.
            let opened = self.run(|connection| connection.set(&path, change));
            own_mode = opened.is_ok().then_some(mode);
        }
        Arc::new(RemoteDir::new(&self.shared, path, own_mode))
    }
}

impl DestinationDir for RemoteDir {
    /// Does not check the owner: only creating a file could determine whether the account is root.
    fn look(
        &self,
        name: &[u8],
        _: &Attributes<'_>,
        _: Permissions,
    ) -> Result<Option<Arc<dyn DestinationDir>>> {
        let path = self.at(name)?;
        match self.run(|connection| look(connection, &path)) {
            Err(error) if error.kind() == Kind::NotFound => Ok(None),
            found => {
                expect_directory(&found?)?;
                Ok(Some(RemoteDir::for_looking(&self.shared, path)))
            }
        }
    }

    fn enter(
        &self,
        name: &[u8],
        attributes: &Attributes<'_>,
        permissions: Permissions,
    ) -> Result<(Arc<dyn DestinationDir>, Made)> {
        let path = self.at(name)?;
        let mode = match permissions {
            Permissions::Restore => PRIVATE_DIRECTORY,
            Permissions::Skip => PLAIN_DIRECTORY,
        };
        let found = self.run(|connection| match connection.mkdir(&path, mode) {
            Ok(()) => Ok(None),
            // Either the name exists, or the account has no write permission.
            Err(cause) => match look(connection, &path) {
                Ok(found) => Ok(Some(found)),
                Err(_) => Err(cause),
            },
        })?;
        match found {
            None => {
                let dir = RemoteDir::new(&self.shared, path, None);
                Ok((Arc::new(dir), Made::New))
            }
            Some(found) => {
                expect_directory(&found)?;
                if permissions == Permissions::Restore {
                    (self.shared).check_directory(&path, &found, attributes.metadata)?;
                }
                Ok((self.existing(path, found.mode), Made::Existed))
            }
        }
    }

    fn open(&self, name: &[u8]) -> Result<Arc<dyn DestinationDir>> {
        let path = self.at(name)?;
        let found = self.run(|connection| look(connection, &path))?;
        expect_directory(&found)?;
        Ok(self.existing(path, found.mode))
    }

    fn stat(&self, name: &[u8]) -> Result<Option<Metadata>> {
        let path = self.at(name)?;
        match self.run(|connection| connection.lstat(&path)) {
            Err(error) if error.kind() == Kind::NotFound => Ok(None),
            result => result.map(|stat| Some(metadata(&stat))),
        }
    }

    fn read(
        &self,
        name: &[u8],
        attributes: &Attributes<'_>,
        permissions: Permissions,
    ) -> Result<Box<dyn OldFile>> {
        let path = self.at(name)?;
        let user = match self.is_looked_at {
            // A dry run does not know the account, and assumes the correct one.
            true => attributes.metadata.uid,
            false => self.shared.plain(&path)?.owner.0,
        };
        let file = SftpOldFile::open(&self.shared, path, user, attributes, permissions)?;
        Ok(Box::new(file))
    }

    fn create(&self, name: &[u8], size_bytes: u64) -> Result<Arc<dyn NewFile>> {
        let path = self.at(name)?;
        Ok(Arc::new(SftpNewFile::new(&self.shared, path, size_bytes)?))
    }

    fn make(
        &self,
        name: &[u8],
        target: &[u8],
        attributes: &Attributes<'_>,
        _: Permissions,
    ) -> Result<Vec<Lost>> {
        let path = self.at(name)?;
        if attributes.metadata.kind != FileKind::Symlink {
            let cause = "SFTP makes no FIFOs, sockets or devices";
            return Err(Error::new(Kind::Failed, cause));
        }
        let temporary = temporary_beside(&path)?;
        let target = joined(Path::new(""), target);
        self.run(|connection| match connection.symlink(&target, &temporary) {
            // An earlier attempt whose response was lost has created it.
            Err(cause) if is_failure(&cause) && look(connection, &temporary).is_ok() => Ok(()),
            made => made,
        })?;
        let published = self.shared.publish(&temporary, &path);
        if published.is_err() {
            let _ = self.run(|connection| connection.remove(&temporary));
        }
        // The server would apply attributes to the target of the link, so none are set.
        published.map(|()| vec![Lost::Times])
    }

    fn link(
        &self,
        name: &[u8],
        dir: &dyn DestinationDir,
        existing: &[u8],
        _: Option<Identity>,
    ) -> Result<(Made, Vec<Lost>)> {
        let Some(from) = dir.as_any().downcast_ref::<RemoteDir>() else {
            let cause = "a hard link cannot lead to another destination";
            return Err(Error::new(Kind::Failed, cause));
        };
        let mut old = RemoteFile::open(&self.shared.pool, from.at(existing)?)?;
        let metadata = old.metadata()?;
        let new = SftpNewFile::new(&self.shared, self.at(name)?, metadata.size_bytes)?;
        old.let_go();
        let mut piece = vec![0; PIECE_BYTES];
        let mut offset = 0;
        while offset < metadata.size_bytes {
            let read = old.read(&mut piece)?;
            // A thread that waits for a connection must not hold one, since the pool may have only
            // one.
            old.let_go();
            if read == 0 {
                return Err(Error::new(Kind::Failed, "it was cut short meanwhile"));
            }
            new.write_at(&piece[..read], offset)?;
            offset += read as u64;
        }
        let attributes = Attributes {
            metadata: &metadata,
            user: None,
            group: None,
            xattrs: &[],
            flags: 0,
        };
        // Lost attributes were already reported for the first name.
        new.finish(&attributes, Permissions::Restore)?;
        Ok((Made::New, vec![Lost::Link]))
    }

    fn finish(&self, attributes: &Attributes<'_>, permissions: Permissions) -> Result<Vec<Lost>> {
        if permissions == Permissions::Restore && self.shared.is_root(&self.path) {
            let found = self.run(|connection| look(connection, &self.path))?;
            expect_directory(&found)?;
            (self.shared).check_directory(&self.path, &found, attributes.metadata)?;
        }
        let change = Change {
            mode: self.own_mode,
            ..Change::default()
        };
        let lost = (self.shared).put(&self.path, attributes, permissions, change)?;
        self.is_finished.store(true, Ordering::Release);
        Ok(lost)
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}

impl Drop for RemoteDir {
    /// Restores the original mode of a directory that was never finished.
    fn drop(&mut self) {
        let change = Change {
            mode: self.own_mode,
            ..Change::default()
        };
        if self.own_mode.is_some() && !self.is_finished.load(Ordering::Acquire) {
            // The account owned the directory before; the error cannot be reported from here.
            let _ = self.run(|connection| connection.set(&self.path, change));
        }
    }
}

/// Checks that `found` is a directory.
///
/// # Errors
/// [`Kind::Exists`] for anything else.
fn expect_directory(found: &Metadata) -> Result<()> {
    match found.kind {
        FileKind::Directory => Ok(()),
        _ => Err(Error::new(
            Kind::Exists,
            "something that is not a directory, or a link to one, has this name",
        )),
    }
}

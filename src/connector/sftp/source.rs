//! Files on an SFTP server as a source.
//!
//! Directories and small files are [prefetched](super::ahead), many at once. Large files, and files
//! that were not announced, are read on demand:
//!
//! | operation | round trips | with prefetching |
//! |---|---|---|
//! | list a directory | four, plus one per hundred names | three, shared by up to 64 directories |
//! | read a small file | stat, open, read, stat again, close | four, shared by up to 256 files |
//!
//! Each reader thread holds its own connection while it reads a large file.

use std::collections::HashMap;
use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use super::ahead::Ahead;
use super::file::RemoteFile;
use super::{look, metadata, path_of};
use crate::connector::wanted::Wanted;
use crate::connector::{Details, FileKind, Item, Metadata, Source, SourceDir, SourceFile};
use crate::error::{During, Error, Kind, Result};
use crate::net::location::Url;
use crate::net::ssh::Endpoint;
use crate::net::ssh::pool::Pool;
use crate::net::ssh::sftp::{Open, joined};
use crate::util::printable::printable_path;

/// The files on an SFTP server.
pub struct SftpSource {
    reach: Reach,
    url: Url,
    /// The endpoint for the additional connection that prefetches, if one is allowed.
    endpoint: Option<Endpoint>,
}

/// The connections to the server.
#[derive(Clone)]
struct Reach {
    pool: Arc<Pool>,
    /// The prefetcher. Set when the walk is announced.
    ahead: Arc<OnceLock<Arc<Ahead>>>,
}

impl SftpSource {
    /// Creates a source for the server of `url`, reached through `pool`. If `endpoint` is given,
    /// files are prefetched over one additional connection. Does not connect.
    pub fn new(url: &Url, pool: Pool, endpoint: Option<Endpoint>) -> SftpSource {
        SftpSource {
            reach: Reach {
                pool: Arc::new(pool),
                ahead: Arc::default(),
            },
            url: url.clone(),
            endpoint,
        }
    }

    /// Resolves the path of a location to an absolute path without symbolic links.
    ///
    /// # Errors
    /// [`Kind::NotFound`] if the path does not exist.
    pub fn resolve(&self, path: &str) -> Result<Vec<u8>> {
        let given = path_of(path);
        let resolved = self.reach.pool.run(|connection| {
            let resolved = connection.realpath(&given)?;
            // Some servers canonicalize paths that do not exist.
            connection.stat(&resolved).map(|_| resolved)
        });
        let location = || {
            let path = path.to_owned();
            Url {
                path,
                ..self.url.clone()
            }
            .to_string()
        };
        let resolved = resolved.during(location)?;
        Ok(resolved.into_os_string().into_encoded_bytes())
    }
}

impl SftpSource {
    /// Tests the read permission: lists a directory or opens a file.
    ///
    /// # Errors
    /// [`Kind::Denied`] without the permission, [`Kind::NotFound`] if the path does not exist.
    pub fn try_reading(&self, path: &str) -> Result<()> {
        let path = PathBuf::from(OsString::from_vec(self.resolve(path)?));
        let tried = self
            .reach
            .pool
            .run(|connection| match look(connection, &path)?.kind {
                FileKind::Directory => connection.read_dir(&path, usize::MAX, &mut |_, _| {}),
                FileKind::File => {
                    let file = connection.open(&path, Open::Read)?;
                    connection.close(file)
                }
                // Opening any other file type may block or have side effects.
                _ => Ok(()),
            });
        tried.during(|| printable_path(&path))
    }
}

impl Source for SftpSource {
    fn kind(&self) -> &str {
        "sftp"
    }

    fn origin(&self) -> &str {
        &self.url.host
    }

    fn root(&self) -> Result<(Arc<dyn SourceDir>, Metadata)> {
        let root = PathBuf::from("/");
        let stat = self.reach.pool.run(|connection| connection.stat(&root))?;
        let dir = RemoteDir {
            reach: self.reach.clone(),
            path: root,
            targets: OnceLock::new(),
        };
        Ok((Arc::new(dir), metadata(&stat)))
    }

    fn user_name(&self, _: u32) -> Option<Arc<str>> {
        None
    }

    fn group_name(&self, _: u32) -> Option<Arc<str>> {
        None
    }

    fn expect(&self, wanted: Wanted) {
        if let Some(endpoint) = &self.endpoint {
            let start = || Ahead::start(endpoint.clone(), wanted);
            self.reach.ahead.get_or_init(start);
        }
    }

    fn is_lost(&self) -> bool {
        self.reach.pool.is_given_up()
    }
}

impl Drop for SftpSource {
    fn drop(&mut self) {
        if let Some(ahead) = self.reach.ahead.get() {
            ahead.end();
        }
    }
}

/// A directory on the server.
struct RemoteDir {
    reach: Reach,
    path: PathBuf,
    /// The targets of symbolic links in this directory, as far as they were prefetched.
    targets: OnceLock<HashMap<Vec<u8>, Vec<u8>>>,
}

impl RemoteDir {
    fn look(&self, path: &Path) -> Result<Metadata> {
        self.reach.pool.run(|connection| look(connection, path))
    }

    /// Lists the directory over the pool.
    fn list(&self) -> Result<Vec<Item>> {
        self.reach.pool.run(|connection| {
            // The directory may have become a symbolic link, which the server would follow.
            if look(connection, &self.path)?.kind != FileKind::Directory {
                return Err(Error::new(Kind::Failed, "not a directory any more"));
            }
            let mut items = Vec::new();
            connection.read_dir(&self.path, usize::MAX, &mut |name, stat| {
                items.push(Item {
                    name: name.to_owned(),
                    metadata: Ok(metadata(&stat)),
                });
            })?;
            Ok(items)
        })
    }
}

impl SourceDir for RemoteDir {
    fn items(&self) -> Result<Vec<Item>> {
        let ahead = self.reach.ahead.get();
        match ahead.and_then(|ahead| ahead.list(&self.path)) {
            Some(listed) => {
                // A directory is listed once. After a second listing the targets of the first
                // remain.
                let _ = self.targets.set(listed.targets);
                Ok(listed.items)
            }
            None => self.list(),
        }
    }

    fn stat(&self, name: &[u8]) -> Result<Metadata> {
        self.look(&joined(&self.path, name))
    }

    fn open_dir(&self, name: &[u8]) -> Result<Arc<dyn SourceDir>> {
        // The file type is checked when the directory is listed.
        Ok(Arc::new(RemoteDir {
            reach: self.reach.clone(),
            path: joined(&self.path, name),
            targets: OnceLock::new(),
        }))
    }

    fn expect_file(&self, name: &[u8], metadata: &Metadata) {
        if let Some(ahead) = self.reach.ahead.get() {
            ahead.expect(&joined(&self.path, name), metadata);
        }
    }

    fn open_file(&self, name: &[u8]) -> Result<Box<dyn SourceFile>> {
        let path = joined(&self.path, name);
        let ahead = self.reach.ahead.get();
        let file = match ahead.and_then(|ahead| ahead.file(&path)) {
            Some(fetched) => RemoteFile::fetched(&self.reach.pool, path, fetched),
            None => RemoteFile::open(&self.reach.pool, path)?,
        };
        Ok(Box::new(file))
    }

    fn details(&self, name: &[u8], kind: FileKind) -> Result<Details> {
        let known = self.targets.get().and_then(|targets| targets.get(name));
        let target = match (kind, known) {
            (FileKind::Symlink, Some(target)) => target.clone(),
            (FileKind::Symlink, None) => {
                let path = joined(&self.path, name);
                let pool = &self.reach.pool;
                let target = pool.run(|connection| connection.readlink(&path))?;
                target.into_os_string().into_encoded_bytes()
            }
            _ => Vec::new(),
        };
        Ok(Details {
            target,
            ..Details::default()
        })
    }

    fn own_details(&self) -> Result<Details> {
        Ok(Details::default())
    }
}

//! Files of a server as source.
//!
//! What is small is asked for [ahead](super::ahead) of who needs it, many things at once; what
//! is large, or was not expected, when it is needed:
//!
//! | step | round trips | ahead |
//! |---|---|---|
//! | list a directory | four, and one more for each hundred names | three, shared by up to 64 |
//! | read a small file | look, open, read, look again, close | four, shared by up to 256 |
//!
//! Each reading thread has a connection of its own while it reads a large file.

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

/// Files of a server.
pub struct SftpSource {
    reach: Reach,
    url: Url,
    /// For one more connection, to read ahead over, if there may be one.
    endpoint: Option<Endpoint>,
}

/// How the files of the server are reached.
#[derive(Clone)]
struct Reach {
    pool: Arc<Pool>,
    /// There once it is known what is wanted.
    ahead: Arc<OnceLock<Arc<Ahead>>>,
}

impl SftpSource {
    /// The files of the server of `url`, reached through `pool`, and read ahead over one more
    /// connection to `endpoint`, if that is given. Nothing is connected to.
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

    /// The path of a location on this server, absolute and without links.
    ///
    /// # Errors
    /// [`Kind::NotFound`] if nothing is there.
    pub fn resolve(&self, path: &str) -> Result<Vec<u8>> {
        let given = path_of(path);
        let resolved = self.reach.pool.run(|connection| {
            let resolved = connection.realpath(&given)?;
            // Some servers make a path of anything.
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
    /// Reads a directory, or opens a file, to find out whether we may.
    ///
    /// # Errors
    /// That we may not, or that nothing is there.
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
                // Opening anything else may wait, or do something.
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

/// A directory of a server.
struct RemoteDir {
    reach: Reach,
    path: PathBuf,
    /// Where links in it point, as far as that was read along with it.
    targets: OnceLock<HashMap<Vec<u8>, Vec<u8>>>,
}

impl RemoteDir {
    fn look(&self, path: &Path) -> Result<Metadata> {
        self.reach.pool.run(|connection| look(connection, path))
    }

    /// Lists it now.
    fn list(&self) -> Result<Vec<Item>> {
        self.reach.pool.run(|connection| {
            // It may have become a link, which would be followed.
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
                // It is listed once; of another time the links stay those of the first.
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
        // What it is now is looked at when it is listed.
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

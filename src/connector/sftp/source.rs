//! Files of a server as source.
//!
//! | step | round trips |
//! |---|---|
//! | list a directory | four, and one more for each hundred names |
//! | read a small file | look, open, read, look again, close |
//!
//! Each reading thread has a connection of its own while it reads a file.

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::file::RemoteFile;
use super::{look, metadata, path_of};
use crate::connector::{Details, FileKind, Item, Metadata, Source, SourceDir, SourceFile};
use crate::error::{During, Error, Kind, Result};
use crate::net::location::Url;
use crate::net::ssh::pool::Pool;
use crate::net::ssh::sftp::{Open, joined};

/// Files of a server.
pub struct SftpSource {
    pool: Arc<Pool>,
    url: Url,
}

impl SftpSource {
    /// The files of the server of `url`, reached through `pool`. Nothing is connected to.
    pub fn new(url: &Url, pool: Pool) -> SftpSource {
        SftpSource {
            pool: Arc::new(pool),
            url: url.clone(),
        }
    }

    /// The path of a location on this server, absolute and without links.
    ///
    /// # Errors
    /// [`Kind::NotFound`] if nothing is there.
    pub fn resolve(&self, path: &str) -> Result<Vec<u8>> {
        let given = path_of(path);
        let resolved = self.pool.run(|connection| {
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
            .pool
            .run(|connection| match look(connection, &path)?.kind {
                FileKind::Directory => connection.read_dir(&path, &mut |_, _| {}),
                FileKind::File => {
                    let file = connection.open(&path, Open::Read)?;
                    connection.close(file)
                }
                // Opening anything else may wait, or do something.
                _ => Ok(()),
            });
        tried.during(|| path.display().to_string())
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
        let stat = self.pool.run(|connection| connection.stat(&root))?;
        let dir = RemoteDir {
            pool: self.pool.clone(),
            path: root,
        };
        Ok((Arc::new(dir), metadata(&stat)))
    }

    fn user_name(&self, _: u32) -> Option<Arc<str>> {
        None
    }

    fn group_name(&self, _: u32) -> Option<Arc<str>> {
        None
    }

    fn is_lost(&self) -> bool {
        self.pool.is_given_up()
    }
}

/// A directory of a server.
struct RemoteDir {
    pool: Arc<Pool>,
    path: PathBuf,
}

impl RemoteDir {
    fn look(&self, path: &Path) -> Result<Metadata> {
        self.pool.run(|connection| look(connection, path))
    }
}

impl SourceDir for RemoteDir {
    fn items(&self) -> Result<Vec<Item>> {
        self.pool.run(|connection| {
            let mut items = Vec::new();
            connection.read_dir(&self.path, &mut |name, stat| {
                items.push(Item {
                    name: name.to_owned(),
                    metadata: Ok(metadata(&stat)),
                });
            })?;
            Ok(items)
        })
    }

    fn stat(&self, name: &[u8]) -> Result<Metadata> {
        self.look(&joined(&self.path, name))
    }

    fn open_dir(&self, name: &[u8]) -> Result<Arc<dyn SourceDir>> {
        let path = joined(&self.path, name);
        match self.look(&path)?.kind {
            FileKind::Directory => Ok(Arc::new(RemoteDir {
                pool: self.pool.clone(),
                path,
            })),
            _ => Err(Error::new(Kind::Failed, "not a directory any more")),
        }
    }

    fn open_file(&self, name: &[u8]) -> Result<Box<dyn SourceFile>> {
        let path = joined(&self.path, name);
        Ok(Box::new(RemoteFile::open(&self.pool, path)?))
    }

    fn details(&self, name: &[u8], kind: FileKind) -> Result<Details> {
        let path = joined(&self.path, name);
        let target = match kind {
            FileKind::Symlink => self.pool.run(|connection| connection.readlink(&path))?,
            _ => PathBuf::new(),
        };
        Ok(Details {
            target: target.into_os_string().into_encoded_bytes(),
            ..Details::default()
        })
    }

    fn own_details(&self) -> Result<Details> {
        Ok(Details::default())
    }
}

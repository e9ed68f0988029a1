//! A store in a directory on an SFTP server. It has the same layout as a local one
//! ([`super::layout`]), so the directory can be mounted, copied and served as a local store.
//!
//! An object is written to `tmp/`, synced if the server supports it, and renamed without replacing
//! an existing file. Then the file is synced again, which on common file systems makes the new name
//! durable as well: SFTP cannot sync a directory.
//!
//! Every call runs in [`Pool::run`] and is repeated after a lost connection. Therefore it accepts
//! the results of an earlier attempt: an existing object of the same size counts as stored.
//!
//! The protocol reports an existing name and a full disk by the same status, `failure`; the cause
//! is determined afterwards. The times of objects are in whole seconds.
//!
//! Only regular files are objects, as in a local directory. The file type is checked before a file
//! is opened, since a server that opens a FIFO never responds again.

mod object;
mod place;

use std::sync::Arc;

use self::place::Place;
use super::layout::CONFIG;
use super::spool::Spool;
use super::{Area, Distance, Manner, Object, Settings, Store, Upload, words};
use crate::error::{During, Error, Kind, Result};
use crate::net::location::Url;
use crate::net::ssh::Endpoint;
use crate::net::ssh::pool::{CONNECTIONS, Pool};
use crate::util::{Id, human};

/// A store on an SFTP server.
pub(super) struct SftpStore {
    place: Arc<Place>,
    settings: Settings,
}

impl SftpStore {
    /// Creates a store at `url`, which may not exist yet. Does not connect.
    pub(super) fn new(url: &Url, settings: &Settings) -> SftpStore {
        let endpoint = Endpoint::new(url, &settings.ssh, &settings.interrupt, &settings.notice);
        let connections = settings.connections.unwrap_or(CONNECTIONS);
        let pool = Pool::new(endpoint, connections, &settings.patience);
        SftpStore {
            place: Arc::new(Place::new(url, pool)),
            settings: settings.clone(),
        }
    }
}

impl Store for SftpStore {
    fn location(&self) -> &str {
        self.place.location()
    }

    fn manner(&self) -> Manner {
        Manner {
            distance: Distance::Remote,
            connections: self.place.connections(),
        }
    }

    fn prepare(&self) -> Result<()> {
        let doing = || format!("create {}", self.place.location());
        self.place.prepare().during(doing)
    }

    fn put_config(&self, bytes: &[u8]) -> Result<()> {
        self.place
            .put_config(bytes)
            .during(|| format!("write {CONFIG}"))
    }

    fn get_config(&self) -> Result<Vec<u8>> {
        self.place.get_config()
    }

    fn put(&self, area: Area, id: Id, bytes: &[u8]) -> Result<()> {
        let stored = match check_size(area, bytes.len() as u64) {
            Ok(()) => self.place.publish(area, id, &bytes),
            Err(cause) => Err(cause),
        };
        stored.during(|| self.place.storing(&words::object(area, id)))
    }

    fn upload(&self, area: Area) -> Result<Box<dyn Upload>> {
        Ok(Box::new(SftpUpload {
            place: self.place.clone(),
            area,
            spool: Spool::new(self.settings.spool.as_deref()),
            size_bytes: 0,
            broken: None,
        }))
    }

    fn get(&self, area: Area, id: Id) -> Result<Vec<u8>> {
        let doing = || format!("read {}", words::object(area, id));
        self.place.get(area, id).during(doing)
    }

    fn read_at(&self, area: Area, id: Id, offset: u64, buffer: &mut [u8]) -> Result<()> {
        let doing = || format!("read {}", words::object(area, id));
        self.place.read_at(area, id, offset, buffer).during(doing)
    }

    fn stat(&self, area: Area, id: Id) -> Result<Object> {
        let doing = || format!("look at {}", words::object(area, id));
        self.place.stat(area, id).during(doing)
    }

    fn list_after(
        &self,
        area: Area,
        after: Option<Id>,
        each: &mut dyn FnMut(Object) -> Result<()>,
    ) -> Result<()> {
        match area {
            Area::Packs => self.place.list_packs(after, each),
            _ => self.place.list_area(area, after, each),
        }
    }

    fn delete(&self, area: Area, id: Id) -> Result<()> {
        let doing = || format!("delete {}", words::object(area, id));
        self.place.delete(area, id).during(doing)
    }
}

/// Checks the size of an object to be stored.
///
/// # Errors
/// [`Kind::Failed`] if readers would reject the object because of its size.
fn check_size(area: Area, size_bytes: u64) -> Result<()> {
    let limit = area.limit_bytes();
    match size_bytes <= limit {
        true => Ok(()),
        false => Err(Error::new(
            Kind::Failed,
            format!("larger than {}", human::size(limit)),
        )),
    }
}

/// An object that is buffered locally until its id is known.
struct SftpUpload {
    place: Arc<Place>,
    area: Area,
    spool: Spool,
    size_bytes: u64,
    /// The error of a failed write. The buffered object then lacks bytes and must not be stored,
    /// even if the caller continues to commit.
    broken: Option<Error>,
}

impl Upload for SftpUpload {
    fn write(&mut self, bytes: &[u8]) -> Result<()> {
        self.size_bytes += bytes.len() as u64;
        let outcome = check_size(self.area, self.size_bytes)
            .and_then(|()| self.spool.write(bytes))
            .during(|| self.place.storing(words::noun(self.area)));
        self.broken = self.broken.take().or(outcome.clone().err());
        outcome
    }

    fn commit(self: Box<Self>, id: Id) -> Result<()> {
        match self.broken {
            Some(cause) => Err(cause),
            None => (self.place.publish(self.area, id, &self.spool))
                .during(|| self.place.storing(&words::object(self.area, id))),
        }
    }
}

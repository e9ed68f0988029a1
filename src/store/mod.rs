//! A store: a flat set of objects that are written once and never changed.
//!
//! A store keeps sealed bytes under names that are hashes of those bytes. It
//! has never heard of keys, snapshots or chunks, which is why a server, a
//! mirror or a cron job can serve, copy and verify one without a passphrase.
//!
//! What every implementation promises is written at [`Store`], and
//! [`conformance`] puts any of them through it.

pub mod conformance;
pub mod fault;
mod fs;
mod http;
mod layout;
pub mod memory;
mod settings;
mod sftp;
mod spool;
mod words;

use std::sync::Arc;

use crate::error::{Error, Kind, Result};
use crate::net::location::Location;
use crate::util::Id;

pub use settings::{Notice, Settings};

/// The kinds of object a store keeps apart. CONFIG is none of them: it has no id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Area {
    /// Key slots, one per passphrase.
    Keys,
    /// Blocks of chunks, sealed together.
    Packs,
    /// What is in which pack.
    Index,
    /// One object per snapshot.
    Snapshots,
    /// Packs that maintenance means to delete, and since when.
    Condemned,
}

impl Area {
    /// Every area, in the order in which a store lays them out.
    pub const ALL: [Area; 5] = [
        Area::Keys,
        Area::Packs,
        Area::Index,
        Area::Snapshots,
        Area::Condemned,
    ];

    /// The directory, and the word in an URL, of this area.
    pub fn name(self) -> &'static str {
        match self {
            Area::Keys => "keys",
            Area::Packs => "packs",
            Area::Index => "index",
            Area::Snapshots => "snapshots",
            Area::Condemned => "condemned",
        }
    }

    /// The largest object that may be in this area, in bytes. Whatever claims
    /// to be larger is not ours and is not read.
    pub fn limit_bytes(self) -> u64 {
        match self {
            Area::Keys => 64 << 10,
            Area::Packs => 256 << 20,
            Area::Index => 64 << 20,
            Area::Snapshots | Area::Condemned => 16 << 20,
        }
    }

    /// The most objects that a listing of this area may have. A store with more than that is not
    /// ours: by then it would hold 256 TiB, or a million backups. It bounds what an endless
    /// listing of a hostile server takes: about 100 bytes of memory for each.
    pub fn limit_objects(self) -> usize {
        match self {
            Area::Keys => 10_000,
            Area::Packs => 1 << 24,
            Area::Index | Area::Snapshots | Area::Condemned => 1_000_000,
        }
    }
}

/// The largest CONFIG that is read, in bytes.
pub const CONFIG_LIMIT_BYTES: u64 = 64 << 10;

/// One object as a listing tells it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Object {
    /// Its name.
    pub id: Id,
    /// Its length.
    pub size_bytes: u64,
    /// When it was published, by the store's own clock, in nanoseconds since 1970.
    pub modified_ns: i64,
}

/// How a store is best used. What it promises does not depend on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Manner {
    /// Whether a call costs a round trip, so that it pays to remember answers.
    pub distance: Distance,
    /// How many calls are worth making at once. At least 1.
    pub connections: usize,
}

/// How far away a store is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Distance {
    /// On this machine, or mounted as if it were.
    Local,
    /// Behind a network: a call costs a round trip.
    Remote,
}

/// A place that keeps objects. Calls block until done and may be made from
/// several threads at once. Only [`Kind::Unavailable`] is worth retrying.
pub trait Store: Send + Sync {
    /// What to call this store in messages, such as `sftp://nas/backup`. Contains no secret.
    fn location(&self) -> &str;

    /// How it is best used.
    fn manner(&self) -> Manner {
        Manner {
            distance: Distance::Local,
            connections: 1,
        }
    }

    /// Makes the place ready for a first object: every area, empty.
    ///
    /// # Errors
    /// [`Kind::Exists`] when a store, or anything else, is there already. What an
    /// interrupted creation left (areas, key slots, but no CONFIG) is no obstacle.
    fn prepare(&self) -> Result<()>;

    /// Publishes CONFIG, which makes the place a store. All or nothing, durable on return.
    ///
    /// # Errors
    /// [`Kind::Exists`] if there is one: it is never replaced.
    fn put_config(&self, bytes: &[u8]) -> Result<()>;

    /// The bytes of CONFIG, at most [`CONFIG_LIMIT_BYTES`].
    ///
    /// # Errors
    /// [`Kind::NotFound`] if this place is not a store.
    fn get_config(&self) -> Result<Vec<u8>>;

    /// Keeps `bytes` under `(area, id)`.
    ///
    /// All or nothing: a reader, even after a power cut, finds the whole object or
    /// none. On return the object is durable. Putting the same id again keeps
    /// either copy; ids are hashes of the bytes, so the copies are equal.
    fn put(&self, area: Area, id: Id, bytes: &[u8]) -> Result<()> {
        let mut upload = self.upload(area)?;
        upload.write(bytes)?;
        upload.commit(id)
    }

    /// Starts an object whose bytes, and so whose id, are not all known yet, for
    /// stores that can take a pack piece by piece instead of having it held in memory.
    fn upload(&self, area: Area) -> Result<Box<dyn Upload>>;

    /// The whole object.
    ///
    /// # Errors
    /// [`Kind::NotFound`]; [`Kind::Corrupt`] if it is larger than its area allows.
    fn get(&self, area: Area, id: Id) -> Result<Vec<u8>>;

    /// Fills `buffer` with the object's bytes from `offset` on.
    ///
    /// # Errors
    /// [`Kind::NotFound`]; [`Kind::Corrupt`] if the object ends before the buffer
    /// is full. A short read is never returned as success.
    fn read_at(&self, area: Area, id: Id, offset: u64, buffer: &mut [u8]) -> Result<()>;

    /// What is known of one object without reading it.
    ///
    /// # Errors
    /// [`Kind::NotFound`].
    fn stat(&self, area: Area, id: Id) -> Result<Object>;

    /// Every object of `area`, by ascending ids. As [`Store::list_after`].
    fn list(&self, area: Area, each: &mut dyn FnMut(Object) -> Result<()>) -> Result<()> {
        self.list_after(area, None, each)
    }

    /// Every object of `area` whose id is above `after`, by ascending ids, so that a
    /// listing can be taken in pages. Objects put or deleted meanwhile may or may
    /// not be among them. Whatever is not named like an object is passed over.
    ///
    /// # Errors
    /// Those of `each`, at once.
    fn list_after(
        &self,
        area: Area,
        after: Option<Id>,
        each: &mut dyn FnMut(Object) -> Result<()>,
    ) -> Result<()>;

    /// Removes an object. Removing one that is not there is a success, so that an
    /// interrupted deletion can be repeated.
    fn delete(&self, area: Area, id: Id) -> Result<()>;
}

/// An object on its way into a store. Dropping it without [`Upload::commit`]
/// leaves nothing behind.
pub trait Upload: Send {
    /// Appends `bytes`.
    fn write(&mut self, bytes: &[u8]) -> Result<()>;

    /// Publishes what was written under `id`, which the caller computed from the
    /// same bytes. With the promises of [`Store::put`].
    fn commit(self: Box<Self>, id: Id) -> Result<()>;
}

/// The store at `location`, reached as `settings` say. Nothing is read or written yet: the
/// place need not exist.
///
/// # Errors
/// [`Kind::Usage`] for a location that no store here can be at.
pub fn open(location: &Location, settings: &Settings) -> Result<Arc<dyn Store>> {
    match location {
        Location::Path(path) => {
            let utf8 = |_| Error::usage(format!("the path of a store is UTF-8: {location}"));
            let path = std::str::from_utf8(path).map_err(utf8)?;
            Ok(Arc::new(fs::FsStore::new(path)))
        }
        Location::Url(url) if http::SCHEMES.contains(&url.scheme.as_str()) => {
            Ok(Arc::new(http::HttpStore::new(url, settings)?))
        }
        Location::Url(url) if url.scheme == "sftp" => {
            Ok(Arc::new(sftp::SftpStore::new(url, settings)))
        }
        Location::Url(url) => Err(Error::new(
            Kind::Usage,
            format!(
                "no store speaks {}:// in this version: {location}",
                url.scheme
            ),
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn opened(location: &str) -> Result<Arc<dyn Store>> {
        open(&Location::parse(location.as_bytes())?, &Settings::default())
    }

    #[test]
    fn every_spelling_of_a_path_is_that_path() {
        for spelling in ["/a b", "fs:/a b", "fs:///a b", "file:///a b"] {
            assert_eq!(opened(spelling).unwrap().location(), "/a b", "{spelling}");
        }
    }

    #[test]
    fn what_no_store_is_at_is_refused_by_name() {
        let error = opened("gopher://nas/backup").err().unwrap();
        let words = "no store speaks gopher:// in this version: gopher://nas/backup";
        assert_eq!(
            (error.kind(), error.to_string()),
            (Kind::Usage, words.into())
        );
        let raw = Location::Path(b"/\xff".to_vec());
        assert_eq!(
            open(&raw, &Settings::default()).err().unwrap().kind(),
            Kind::Usage
        );
    }
}

//! A store: a flat set of objects that are written once and never changed.
//!
//! A store keeps sealed bytes under names that are hashes of those bytes. It does not know about
//! keys, snapshots or chunks. Therefore a server, a mirror or a cron job can serve, copy and verify
//! a store without a passphrase.
//!
//! [`Store`] documents the guarantees of every implementation, and [`conformance`] tests them.

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

pub use crate::util::Area;
pub use settings::{Notice, Settings};

/// The maximum size of CONFIG, in bytes.
pub const CONFIG_LIMIT_BYTES: u64 = 64 << 10;

/// An object as it appears in a listing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Object {
    /// The name of the object: the hash of its bytes.
    pub id: Id,
    /// The size in bytes.
    pub size_bytes: u64,
    /// The time of publication according to the clock of the store, in nanoseconds since 1970.
    pub modified_ns: i64,
}

/// How to use a store efficiently. The guarantees do not depend on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Manner {
    /// Whether a call costs a round trip, so that caching results is worthwhile.
    pub distance: Distance,
    /// The number of calls that can usefully be made concurrently. At least 1.
    pub connections: usize,
}

/// The distance to a store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Distance {
    /// A local or mounted file system.
    Local,
    /// A remote store: a call costs a round trip.
    Remote,
}

/// A place that keeps objects. Calls block until they finish and can be made from several threads
/// concurrently. Only [`Kind::Unavailable`] is worth retrying.
pub trait Store: Send + Sync {
    /// The name of this store in messages, such as `sftp://nas/backup`. Contains no secret.
    fn location(&self) -> &str;

    /// How to use this store efficiently.
    fn manner(&self) -> Manner {
        Manner {
            distance: Distance::Local,
            connections: 1,
        }
    }

    /// Prepares the place for its first object: creates all areas, empty.
    ///
    /// # Errors
    /// [`Kind::Exists`] if it contains a store or anything else. The remains of an interrupted
    /// creation (areas and key slots without CONFIG) are accepted.
    fn prepare(&self) -> Result<()>;

    /// Publishes CONFIG, which makes the place a store. Atomic, and durable on return.
    ///
    /// # Errors
    /// [`Kind::Exists`] if there is one: CONFIG is never replaced.
    fn put_config(&self, bytes: &[u8]) -> Result<()>;

    /// Reads CONFIG, which has at most [`CONFIG_LIMIT_BYTES`].
    ///
    /// # Errors
    /// [`Kind::NotFound`] if this place is not a store.
    fn get_config(&self) -> Result<Vec<u8>>;

    /// Stores `bytes` under `(area, id)`.
    ///
    /// Atomic: even after a power failure, a reader finds the whole object or none. On return the
    /// object is durable. Putting the same id again keeps either copy; ids are hashes of the bytes,
    /// so the copies are equal.
    fn put(&self, area: Area, id: Id, bytes: &[u8]) -> Result<()> {
        let mut upload = self.upload(area)?;
        upload.write(bytes)?;
        upload.commit(id)
    }

    /// Starts an object whose bytes, and therefore whose id, are not completely known yet. The
    /// store receives the object in pieces, so the caller need not keep a whole pack in memory.
    fn upload(&self, area: Area) -> Result<Box<dyn Upload>>;

    /// Reads a whole object.
    ///
    /// # Errors
    /// [`Kind::NotFound`]; [`Kind::Corrupt`] if it exceeds the limit of its area.
    fn get(&self, area: Area, id: Id) -> Result<Vec<u8>>;

    /// Fills `buffer` with the bytes of the object from `offset` on.
    ///
    /// # Errors
    /// [`Kind::NotFound`]; [`Kind::Corrupt`] if the object ends before the buffer is full. A short
    /// read is never returned as success.
    fn read_at(&self, area: Area, id: Id, offset: u64, buffer: &mut [u8]) -> Result<()>;

    /// Returns the size and time of an object without reading it.
    ///
    /// # Errors
    /// [`Kind::NotFound`].
    fn stat(&self, area: Area, id: Id) -> Result<Object>;

    /// Lists all objects of `area`, in ascending order of ids, like [`Store::list_after`].
    fn list(&self, area: Area, each: &mut dyn FnMut(Object) -> Result<()>) -> Result<()> {
        self.list_after(area, None, each)
    }

    /// Lists the objects of `area` whose id is above `after`, in ascending order of ids, so that a
    /// listing can be split into pages. Objects that are stored or deleted during the listing may
    /// or may not be included. Entries whose name is not that of an object are skipped.
    ///
    /// # Errors
    /// An error of `each` is returned immediately.
    fn list_after(
        &self,
        area: Area,
        after: Option<Id>,
        each: &mut dyn FnMut(Object) -> Result<()>,
    ) -> Result<()>;

    /// Removes an object. Removing a missing object succeeds, so that an interrupted deletion can
    /// be repeated.
    fn delete(&self, area: Area, id: Id) -> Result<()>;
}

/// An object that is being written to a store. Dropping it without [`Upload::commit`] leaves
/// nothing behind.
pub trait Upload: Send {
    /// Appends `bytes`. After an error the upload cannot be committed.
    fn write(&mut self, bytes: &[u8]) -> Result<()>;

    /// Publishes the written bytes under `id`, which the caller has computed from the same bytes.
    /// Has the guarantees of [`Store::put`].
    fn commit(self: Box<Self>, id: Id) -> Result<()>;
}

/// Creates the store for `location` with `settings`. Does not access the place, which may not exist
/// yet.
///
/// # Errors
/// [`Kind::Usage`] for a location that no kind of store supports.
pub fn open(location: &Location, settings: &Settings) -> Result<Arc<dyn Store>> {
    match location {
        Location::Path(path) => {
            let utf8 = |_| Error::usage(format!("the path of a store is UTF-8: {location}"));
            let path = std::str::from_utf8(path).map_err(utf8)?;
            Ok(Arc::new(fs::FsStore::new(path, settings.notice.clone())))
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

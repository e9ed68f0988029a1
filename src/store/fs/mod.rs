//! A store in a local or mounted directory. [`super::layout`] documents its layout.
//!
//! An object is written to `tmp/`, synced, renamed without replacing an existing file, and the
//! directory is synced. Therefore a reader finds the whole object or none after a power failure,
//! and the store must be on one file system. Later writers remove the temporary files of killed
//! ones from `tmp/`.
//!
//! Packs are distributed over subdirectories, because some file systems list a directory with
//! 100,000 files slowly. The 256 subdirectories are created when needed and not by `prepare`: a
//! store that was copied by a tool that omits empty directories must work, so this code is needed
//! in any case, and a small store on a slow network share is created with 7 requests instead of
//! 263.
//!
//! If an object exists with the same size, it is kept, and its `put` succeeds without writing. An
//! existing object with another size is damaged, perhaps because a file system lost its end in a
//! crash. A `put` that reported success would be wrong, and replacing the object would violate the
//! guarantee that objects never change. Therefore the `put` fails with `Corrupt` and names the
//! object. To repair it, delete the object first.
//!
//! Only regular files are objects. Below the root, symbolic links are never followed
//! ([`directory`]), and FIFOs never block. Other entries of a directory are skipped. This module
//! does not interpret the contents of objects.

mod directory;
mod handles;
mod object;
mod owner;
mod place;
mod temporary;

use std::sync::Arc;

use self::place::Place;
use self::temporary::Temporary;
use super::layout::CONFIG;
use super::settings::Notice;
use super::{Area, Object, Store, Upload, words};
use crate::error::{During, Error, Kind, Result};
use crate::util::{Id, human};

/// A store in a directory.
pub(super) struct FsStore(Arc<Place>);

impl FsStore {
    /// Creates a store at `root`, which may not exist yet. `notice` receives a warning if the owner
    /// of the store cannot read what root stores.
    pub(super) fn new(root: &str, notice: Notice) -> FsStore {
        FsStore(Arc::new(Place::new(root, notice)))
    }
}

impl Store for FsStore {
    fn location(&self) -> &str {
        self.0.location()
    }

    fn prepare(&self) -> Result<()> {
        self.0
            .prepare()
            .during(|| format!("create {}", self.0.location()))
    }

    fn put_config(&self, bytes: &[u8]) -> Result<()> {
        self.0
            .put_config(bytes)
            .during(|| format!("write {CONFIG}"))
    }

    fn get_config(&self) -> Result<Vec<u8>> {
        self.0.get_config()
    }

    fn put(&self, area: Area, id: Id, bytes: &[u8]) -> Result<()> {
        let there = self.0.holds(area, id, bytes.len() as u64);
        if there.during(|| self.0.storing(&words::object(area, id)))? {
            return Ok(());
        }
        let mut upload = self.upload(area)?;
        upload.write(bytes)?;
        upload.commit(id)
    }

    fn upload(&self, area: Area) -> Result<Box<dyn Upload>> {
        let temporary = self
            .0
            .temporary()
            .during(|| self.0.storing(words::noun(area)))?;
        Ok(Box::new(FsUpload {
            place: self.0.clone(),
            area,
            temporary,
            size_bytes: 0,
            broken: None,
        }))
    }

    fn get(&self, area: Area, id: Id) -> Result<Vec<u8>> {
        self.0
            .get(area, id)
            .during(|| format!("read {}", words::object(area, id)))
    }

    fn read_at(&self, area: Area, id: Id, offset: u64, buffer: &mut [u8]) -> Result<()> {
        self.0
            .read_at(area, id, offset, buffer)
            .during(|| format!("read {}", words::object(area, id)))
    }

    fn stat(&self, area: Area, id: Id) -> Result<Object> {
        self.0
            .stat(area, id)
            .during(|| format!("look at {}", words::object(area, id)))
    }

    fn list_after(
        &self,
        area: Area,
        after: Option<Id>,
        each: &mut dyn FnMut(Object) -> Result<()>,
    ) -> Result<()> {
        self.0.list(area, after, each)
    }

    fn delete(&self, area: Area, id: Id) -> Result<()> {
        self.0
            .delete(area, id)
            .during(|| format!("delete {}", words::object(area, id)))
    }
}

/// An object in `tmp/`.
struct FsUpload {
    place: Arc<Place>,
    area: Area,
    temporary: Temporary,
    size_bytes: u64,
    /// The error of a failed write. The file then lacks bytes and must not be published, even if
    /// the caller continues to commit.
    broken: Option<Error>,
}

impl FsUpload {
    fn append(&mut self, bytes: &[u8]) -> Result<()> {
        self.size_bytes += bytes.len() as u64;
        let limit = self.area.limit_bytes();
        if self.size_bytes > limit {
            return Err(Error::new(
                Kind::Failed,
                format!("larger than {}", human::size(limit)),
            ));
        }
        Ok(self.temporary.write(bytes)?)
    }
}

impl Upload for FsUpload {
    fn write(&mut self, bytes: &[u8]) -> Result<()> {
        let outcome = self
            .append(bytes)
            .during(|| self.place.storing(words::noun(self.area)));
        self.broken = self.broken.take().or(outcome.clone().err());
        outcome
    }

    fn commit(self: Box<Self>, id: Id) -> Result<()> {
        match self.broken {
            Some(cause) => Err(cause),
            None => (self
                .place
                .publish(&self.temporary, self.area, id, self.size_bytes))
            .during(|| self.place.storing(&words::object(self.area, id))),
        }
    }
}

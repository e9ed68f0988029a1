//! A store in memory, for tests.
//!
//! It provides all guarantees of [`Store`] for the lifetime of the process. Clones share their
//! objects. [`MemoryStore::fork`] creates an independent copy, so a test can repeatedly start from
//! the same state. [`MemoryStore::damage`] and [`MemoryStore::age`] simulate damaged disks and
//! elapsed time.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::{Area, CONFIG_LIMIT_BYTES, Object, Store, Upload, words};
use crate::error::{Error, Kind, Result};
use crate::util::clock::now_ns;
use crate::util::{Id, human};

/// A store in memory.
#[derive(Clone, Default)]
pub struct MemoryStore(Arc<Mutex<Contents>>);

#[derive(Clone)]
struct Kept {
    bytes: Arc<Vec<u8>>,
    modified_ns: i64,
}

#[derive(Clone, Default)]
struct Contents {
    stage: Stage,
    config: Option<Vec<u8>>,
    objects: BTreeMap<(Area, Id), Kept>,
}

#[derive(Clone, Copy, Default, PartialEq)]
enum Stage {
    #[default]
    Nothing,
    Prepared,
}

impl MemoryStore {
    /// Creates a place without a store.
    pub fn new() -> MemoryStore {
        MemoryStore::default()
    }

    /// Returns an independent copy. Copies names but shares the contents of objects.
    pub fn fork(&self) -> MemoryStore {
        MemoryStore(Arc::new(Mutex::new(self.lock().clone())))
    }

    /// Modifies the bytes of an object without changing its id, like a defective disk.
    ///
    /// # Errors
    /// [`Kind::NotFound`].
    pub fn damage(&self, area: Area, id: Id, how: impl FnOnce(&mut Vec<u8>)) -> Result<()> {
        let mut contents = self.lock();
        let kept = contents
            .objects
            .get_mut(&(area, id))
            .ok_or_else(|| missing(area, id))?;
        how(Arc::make_mut(&mut kept.bytes));
        Ok(())
    }

    /// Makes every object older by `time`.
    pub fn age(&self, time: Duration) {
        let ns = i64::try_from(time.as_nanos()).unwrap_or(i64::MAX);
        for kept in self.lock().objects.values_mut() {
            kept.modified_ns = kept.modified_ns.saturating_sub(ns);
        }
    }

    /// Returns the object without copying its contents.
    fn kept(&self, area: Area, id: Id) -> Result<Kept> {
        self.lock()
            .objects
            .get(&(area, id))
            .cloned()
            .ok_or_else(|| missing(area, id))
    }

    fn keep(&self, area: Area, id: Id, bytes: Vec<u8>) -> Result<()> {
        let doing = || format!("store {}", words::object(area, id));
        let mut contents = self.lock();
        contents.prepared()?;
        if bytes.len() as u64 > area.limit_bytes() {
            let limit = human::size(area.limit_bytes());
            return Err(Error::new(Kind::Failed, format!("larger than {limit}")).during(doing()));
        }
        let size = bytes.len();
        let kept = contents.objects.entry((area, id)).or_insert_with(|| Kept {
            bytes: Arc::new(bytes),
            modified_ns: now_ns(),
        });
        match kept.bytes.len() {
            same if same == size => Ok(()),
            other => {
                let cause = format!("the one already there has {other} bytes instead of {size}");
                Err(Error::corrupt(cause).during(doing()))
            }
        }
    }

    /// A poisoned lock is usable: the contents are consistent between any two statements.
    fn lock(&self) -> MutexGuard<'_, Contents> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Contents {
    fn prepared(&self) -> Result<()> {
        match self.stage {
            Stage::Prepared => Ok(()),
            Stage::Nothing => Err(no_store()),
        }
    }
}

impl Store for MemoryStore {
    fn location(&self) -> &str {
        "memory"
    }

    fn prepare(&self) -> Result<()> {
        let mut contents = self.lock();
        let is_slot = |(area, _): &(Area, Id)| *area == Area::Keys;
        if contents.config.is_some() || !contents.objects.keys().all(is_slot) {
            return Err(
                Error::new(Kind::Exists, "there is a store already").during("create memory")
            );
        }
        contents.stage = Stage::Prepared;
        Ok(())
    }

    fn put_config(&self, bytes: &[u8]) -> Result<()> {
        let mut contents = self.lock();
        contents.prepared()?;
        if contents.config.is_some() {
            return Err(Error::new(Kind::Exists, "there is one already").during("write CONFIG"));
        }
        contents.config = Some(bytes.to_vec());
        Ok(())
    }

    fn get_config(&self) -> Result<Vec<u8>> {
        let config = self.lock().config.clone().ok_or_else(no_store)?;
        check_size(config.len(), CONFIG_LIMIT_BYTES)
            .map_err(|cause| cause.during("read CONFIG"))?;
        Ok(config)
    }

    fn put(&self, area: Area, id: Id, bytes: &[u8]) -> Result<()> {
        self.keep(area, id, bytes.to_vec())
    }

    fn upload(&self, area: Area) -> Result<Box<dyn Upload>> {
        self.lock().prepared()?;
        Ok(Box::new(MemoryUpload {
            store: self.clone(),
            area,
            bytes: Vec::new(),
        }))
    }

    fn get(&self, area: Area, id: Id) -> Result<Vec<u8>> {
        let kept = self.kept(area, id)?;
        let size = check_size(kept.bytes.len(), area.limit_bytes());
        size.map_err(|cause| cause.during(format!("read {}", words::object(area, id))))?;
        Ok(kept.bytes.to_vec())
    }

    fn read_at(&self, area: Area, id: Id, offset: u64, buffer: &mut [u8]) -> Result<()> {
        let kept = self.kept(area, id)?;
        if buffer.is_empty() {
            return Ok(());
        }
        let end = offset.saturating_add(buffer.len() as u64);
        if end > kept.bytes.len() as u64 {
            let doing = format!("read {}", words::object(area, id));
            return Err(Error::corrupt(format!("it ends before byte {end}")).during(doing));
        }
        buffer.copy_from_slice(&kept.bytes[offset as usize..end as usize]);
        Ok(())
    }

    fn stat(&self, area: Area, id: Id) -> Result<Object> {
        let kept = self.kept(area, id)?;
        Ok(Object {
            id,
            size_bytes: kept.bytes.len() as u64,
            modified_ns: kept.modified_ns,
        })
    }

    fn list_after(
        &self,
        area: Area,
        after: Option<Id>,
        each: &mut dyn FnMut(Object) -> Result<()>,
    ) -> Result<()> {
        // Collects the ids first, then releases the lock, because `each` may call this store.
        let contents = self.lock();
        contents.prepared()?;
        let ids: Vec<Id> = contents
            .objects
            .keys()
            .filter(|key| key.0 == area && after.is_none_or(|after| key.1 > after))
            .map(|key| key.1)
            .collect();
        drop(contents);
        ids.into_iter()
            .filter_map(|id| self.stat(area, id).ok())
            .try_for_each(each)
    }

    fn delete(&self, area: Area, id: Id) -> Result<()> {
        self.lock().objects.remove(&(area, id));
        Ok(())
    }
}

struct MemoryUpload {
    store: MemoryStore,
    area: Area,
    bytes: Vec<u8>,
}

impl Upload for MemoryUpload {
    fn write(&mut self, bytes: &[u8]) -> Result<()> {
        self.bytes.extend_from_slice(bytes);
        Ok(())
    }

    fn commit(self: Box<Self>, id: Id) -> Result<()> {
        self.store.keep(self.area, id, self.bytes)
    }
}

fn check_size(size: usize, limit_bytes: u64) -> Result<()> {
    match size as u64 > limit_bytes {
        true => Err(Error::corrupt(format!(
            "it is larger than {}",
            human::size(limit_bytes)
        ))),
        false => Ok(()),
    }
}

fn no_store() -> Error {
    Error::new(Kind::NotFound, "there is no store here")
}

fn missing(area: Area, id: Id) -> Error {
    Error::new(Kind::NotFound, "no such object").during(format!("read {}", words::object(area, id)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fork_goes_its_own_way() {
        let store = MemoryStore::new();
        store.prepare().unwrap();
        let id = Id::of(b"x");
        store.put(Area::Packs, id, b"x").unwrap();
        let fork = store.fork();
        fork.damage(Area::Packs, id, |bytes| bytes[0] ^= 1).unwrap();
        assert_eq!(store.get(Area::Packs, id).unwrap(), b"x");
        fork.delete(Area::Packs, id).unwrap();
        assert!(store.stat(Area::Packs, id).is_ok());
    }
}

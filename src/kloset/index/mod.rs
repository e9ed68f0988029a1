//! The index: the location of each chunk. It is a local cache of the contents of the index objects
//! of a store, and of the packs that this process has stored since.
//!
//! **Bounded memory.** At most 2 bytes per chunk, regardless of the size of the store: 1.16 for
//! filters, 0.04 for fences, and 41 bytes per pack. A pack of 16 MiB with incompressible chunks has
//! 57 chunks, so this is 0.72 bytes per chunk. The rest, 38 bytes per chunk, is on disk. In
//! addition, adding chunks needs up to two tables of 64 Ki records (4 MiB each), and building a
//! filter needs 8 MiB.
//!
//! ```text
//! insert, add_object -> memtable -- full --> segment -- four of a size --> larger segment
//! lookup             -> memtable, then each segment: fence, filter, one page
//! save               -> manifest: which segments, which packs, which index objects
//! ```
//!
//! **Validity.** A record is valid only while its pack is alive: covered by an index object that is
//! known to be in the store, or stored by this process. A pack that this process stored is saved as
//! dead until an index object covers it, because the process may end before it publishes one. So an
//! outdated cache can have too few records, but never too many. Packs that were deleted by hand are
//! hidden by [`Index::presume_absent`].
//!
//! **Damage.** Data that is read when the cache is opened is verified then, and a damaged cache is
//! not used. Pages are verified when they are read. If one is damaged, [`Index::damaged`] returns
//! true and the call returns [`Corrupt`](crate::error::Kind::Corrupt). The caller then clears the
//! cache and adds everything again. Deleting the cache costs time, but never data.
//!
//! **Sharing.** Any number of processes can use one directory. Each has its own view; the last one
//! that saves wins.
//!
//! This module must not depend on how index objects are stored, sealed or published.

mod filter;
mod held;
mod home;
mod kept;
mod manifest;
mod memtable;
mod merge;
mod packs;
mod record;
mod segment;
mod writer;

mod compaction;
#[cfg(test)]
mod damage_tests;
#[cfg(test)]
mod model_tests;
#[cfg(test)]
mod testing;

use std::collections::HashSet;
use std::ops::ControlFlow;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

pub use self::held::{Held, NumberedPack};

use self::home::Home;
use self::memtable::Memtable;
use self::packs::Packs;
use self::record::{Record, prefix_of};
use self::segment::Segment;
use crate::error::{Error, Kind, Result};
use crate::format::pack_table::{PACK_HEADER_BYTES, PackKind, PackTable};
use crate::kloset::index::compaction::Segments;
use crate::util::Id;

/// Number of records in memory at which they become a segment: 4 MiB of memory, and 16 GB of
/// chunks. So a typical backup writes one segment, when it saves.
const SPILL_RECORDS: usize = 1 << 16;

/// The location of one copy of a chunk.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Place {
    /// The name of the pack.
    pub pack: Id,
    /// Offset of the sealed block in the pack.
    pub block_offset: u32,
    /// Length of the sealed block.
    pub sealed_bytes: u32,
    /// Offset of the chunk in the plain bytes of the block.
    pub start: u32,
    /// Length of the chunk.
    pub length: u32,
}

/// The result of [`Index::lookup`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Found {
    /// The location of the chunk.
    pub place: Place,
    /// The number of this record, below [`Index::records`]. Used to index bitmaps. It is stable
    /// until records are added, or the index is saved or cleared.
    pub ordinal: u64,
}

/// Whether the index contains a pack.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Known {
    /// The index contains its records.
    Yes,
    /// The index does not contain them: no index object that was read lists the pack.
    No,
}

/// A pack that chunks can be read from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PackInfo {
    /// The name of the pack.
    pub id: Id,
    /// Size of the whole object, below 4 GiB.
    pub size_bytes: u64,
    /// The kind of data in the pack.
    pub kind: PackKind,
}

/// The location of each chunk. All calls can be made concurrently from several threads.
///
/// Locks are acquired in the order turn, memtable, packs, segments.
pub struct Index {
    home: Home,
    spill_records: usize,
    turn: Mutex<()>,
    memtable: RwLock<Memtable>,
    packs: RwLock<Packs>,
    segments: RwLock<Arc<Segments>>,
    changed: AtomicBool,
    damaged: AtomicBool,
    /// Number of times the index was cleared.
    generation: AtomicU64,
    /// Number of holders that rely on ordinals.
    holders: AtomicUsize,
}

impl Index {
    /// Opens the cache in `directory`, and creates the directory if it is missing.
    ///
    /// The index starts empty if there is no cache, or the cache is damaged or has another version.
    /// Without a directory, or if the directory is not writable, the cache uses unnamed temporary
    /// files.
    pub fn open(directory: Option<&Path>) -> Index {
        Index::open_with(directory, SPILL_RECORDS)
    }

    fn open_with(directory: Option<&Path>, spill_records: usize) -> Index {
        let home = Home::open(directory);
        let (packs, segments) = crate::kloset::index::compaction::restore(&home);
        Index {
            home,
            spill_records,
            turn: Mutex::default(),
            memtable: RwLock::default(),
            packs: RwLock::new(packs),
            segments: RwLock::new(Arc::new(segments)),
            changed: AtomicBool::new(false),
            damaged: AtomicBool::new(false),
            generation: AtomicU64::new(0),
            holders: AtomicUsize::new(0),
        }
    }

    /// Whether a call found damage since the cache was opened or cleared.
    pub fn damaged(&self) -> bool {
        self.damaged.load(Ordering::Relaxed)
    }

    /// The index objects whose contents are in the index.
    pub fn covered(&self) -> HashSet<Id> {
        self.packs().objects().copied().collect()
    }

    /// Whether the contents of this index object are in the index.
    pub fn covers(&self, object: Id) -> bool {
        self.packs().covers(&object)
    }

    /// Adds the contents of an index object. Packs that are in the index already are only recorded
    /// as covered by this object too. Can be repeated.
    ///
    /// # Errors
    /// [`Corrupt`](Kind::Corrupt) if the tables are impossible, in which case nothing is added, or
    /// if the cache turns out to be [damaged](Index::damaged). If the records cannot be written,
    /// the object does not count as covered.
    pub fn add_object(&self, object: Id, tables: &[PackTable]) -> Result<()> {
        tables.iter().try_for_each(check)?;
        let numbers = tables
            .iter()
            .map(|table| self.add(table))
            .collect::<Result<_>>()?;
        self.packs_mut().cover(object, numbers);
        self.changed.store(true, Ordering::Relaxed);
        Ok(())
    }

    /// Adds a pack that this process has just stored. It is valid until the process ends. It
    /// remains valid longer if an index object covers it.
    ///
    /// # Errors
    /// As [`Index::add_object`]. If the records cannot be written, they stay in memory and lookups
    /// find them, so the caller can continue as long as the memory use is acceptable.
    pub fn insert(&self, table: &PackTable) -> Result<()> {
        check(table)?;
        self.add(table).map(|_| ())
    }

    /// Records that `object` was published and covers `packs`, whose records must be in the index.
    /// If a pack is missing, this does nothing, and [`Index::add_object`] must be called later.
    pub fn cover(&self, object: Id, packs: &[Id]) {
        let mut known = self.packs_mut();
        if let Some(numbers) = packs.iter().map(|pack| known.number(pack)).collect() {
            known.cover(object, numbers);
            self.changed.store(true, Ordering::Relaxed);
        }
    }

    /// Removes all index objects except `live`, the ones that the store currently has. Packs that
    /// no other object covers are no longer found.
    ///
    /// Call this after new objects were added, so that packs covered by a new object too need not
    /// be added again.
    pub fn retain_objects(&self, live: &HashSet<Id>) {
        if self.packs_mut().retain_objects(live) {
            self.changed.store(true, Ordering::Relaxed);
        }
    }

    /// Hides all packs in this process until [`Index::mark_present`] confirms that they exist.
    /// Packs that it does not confirm were deleted by hand.
    pub fn presume_absent(&self) {
        self.packs_mut().presume_absent();
    }

    /// Records that a pack of this size is in the store. If the index has a different size, the
    /// pack was truncated, and stays hidden.
    pub fn mark_present(&self, pack: &Id, size_bytes: u64) -> Known {
        self.packs_mut().mark_present(pack, size_bytes)
    }

    /// Whether the index contains the records of the pack. The pack may be hidden.
    pub fn knows(&self, pack: &Id) -> Known {
        match self.packs().number(pack) {
            Some(_) => Known::Yes,
            None => Known::No,
        }
    }

    /// Information about the pack, or `None` if it is unknown or hidden.
    pub fn pack(&self, pack: &Id) -> Option<PackInfo> {
        let packs = self.packs();
        packs.visible(packs.number(pack)?)
    }

    /// Hides `packs` in this process from now on, because they are condemned or damaged.
    pub fn exclude_packs(&self, packs: &HashSet<Id>) {
        self.packs_mut().exclude(packs);
    }

    /// Finds a chunk. Usually this needs no read if the chunk does not exist, and one read if it
    /// does.
    ///
    /// # Errors
    /// [`Corrupt`](Kind::Corrupt) if the cache is [damaged](Index::damaged).
    pub fn lookup(&self, id: &Id) -> Result<Option<Found>> {
        let mut found = None;
        self.search(id, &mut |record, ordinal| match self.place(&record) {
            Some(place) => {
                found = Some(Found { place, ordinal });
                ControlFlow::Break(())
            }
            None => ControlFlow::Continue(()),
        })?;
        Ok(found)
    }

    /// Whether the chunk exists. Errors are those of [`Index::lookup`].
    pub fn contains(&self, id: &Id) -> Result<bool> {
        Ok(self.lookup(id)?.is_some())
    }

    /// The locations of all copies of a chunk. Errors are those of [`Index::lookup`].
    pub fn places(&self, id: &Id) -> Result<Vec<Place>> {
        let mut places = Vec::new();
        self.search(id, &mut |record, _| {
            // A record that is being moved from memory to a segment is found in both.
            places.extend(self.place(&record).filter(|place| !places.contains(place)));
            ControlFlow::Continue(())
        })?;
        Ok(places)
    }

    fn search(&self, id: &Id, take: &mut dyn FnMut(Record, u64) -> ControlFlow<()>) -> Result<()> {
        let prefix = prefix_of(id);
        // Memory is searched first, because records move from memory to segments, never back.
        let base = self.segments().records;
        if self
            .memtable()
            .find(prefix, &mut |r, number| take(r, base + number))
            .is_break()
        {
            return Ok(());
        }
        for (base, segment) in &self.segments().list {
            let outcome = segment.find(&prefix, &mut |r, number| take(r, base + number));
            if outcome.map_err(|cause| self.noticed(cause))?.is_break() {
                return Ok(());
            }
        }
        Ok(())
    }

    fn place(&self, record: &Record) -> Option<Place> {
        let pack = self.packs().visible(record.pack)?.id;
        Some(record.place_in(pack))
    }

    /// Records that the cache is damaged if the error is `Corrupt`.
    fn noticed(&self, cause: Error) -> Error {
        if cause.kind() == Kind::Corrupt {
            self.damaged.store(true, Ordering::Relaxed);
        }
        cause.during("index cache")
    }

    /// Adds the records of a pack, unless they exist, and returns its number.
    fn add(&self, table: &PackTable) -> Result<u32> {
        let number = {
            // Locked until all records are added, so that a spill never writes only part of a pack.
            let mut memtable = self.memtable_mut();
            let mut packs = self.packs_mut();
            if let Some(number) = packs.number(&table.pack) {
                return Ok(number);
            }
            let number = packs.allot(table, table.size_bytes as u32);
            drop(packs);
            each_record(table, number, |record| memtable.insert(record));
            number
        };
        self.changed.store(true, Ordering::Relaxed);
        self.spill_if_full()?;
        Ok(number)
    }

    /// An upper bound, exclusive, of the ordinals that lookups can return now.
    pub fn records(&self) -> u64 {
        self.segments().records + self.memtable().records()
    }

    /// The packs in which lookups can find chunks.
    pub fn packs_in_use(&self) -> impl Iterator<Item = PackInfo> {
        let numbers = 0..self.packs().len() as u32;
        numbers.filter_map(|number| self.packs().visible(number))
    }

    /// Their numbers in ascending order. A pack that is removed and added again gets a different
    /// number.
    pub fn numbers_in_use(&self) -> Vec<u32> {
        let packs = self.packs();
        let numbers = 0..packs.len() as u32;
        numbers
            .filter(|number| packs.visible(*number).is_some())
            .collect()
    }

    /// The approximate memory use of the index, in bytes.
    pub fn memory_bytes(&self) -> usize {
        let segments: usize = self.segments().iter().map(|s| s.memory_bytes()).sum();
        let packs = self.packs().memory_bytes();
        segments + packs + self.memtable().memory_bytes()
    }

    /// Number of pages that were read from the current segments.
    pub fn page_reads(&self) -> u64 {
        self.segments()
            .iter()
            .map(|segment| segment.page_reads())
            .sum()
    }

    fn set_segments(&self, segments: impl IntoIterator<Item = Arc<Segment>>) {
        let segments = Arc::new(Segments::new(segments));
        *self
            .segments
            .write()
            .unwrap_or_else(PoisonError::into_inner) = segments;
    }

    fn segments(&self) -> Arc<Segments> {
        Arc::clone(&self.segments.read().unwrap_or_else(PoisonError::into_inner))
    }

    // A panic in another thread leaves at worst a cache with too few records, so a poisoned lock is
    // not a reason to panic.

    fn turn(&self) -> MutexGuard<'_, ()> {
        self.turn.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn memtable(&self) -> RwLockReadGuard<'_, Memtable> {
        self.memtable.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn memtable_mut(&self) -> RwLockWriteGuard<'_, Memtable> {
        self.memtable
            .write()
            .unwrap_or_else(PoisonError::into_inner)
    }

    fn packs(&self) -> RwLockReadGuard<'_, Packs> {
        self.packs.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn packs_mut(&self) -> RwLockWriteGuard<'_, Packs> {
        self.packs.write().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Refuses a table whose offsets do not fit into a record, or whose blocks exceed the size of the
/// pack.
fn check(table: &PackTable) -> Result<()> {
    let blocks: u64 = table
        .blocks
        .iter()
        .map(|block| u64::from(block.sealed_bytes))
        .sum();
    let fits = |lengths: u64| lengths <= u64::from(u32::MAX);
    let plain_fits = table.blocks.iter().all(|block| {
        fits(
            block
                .chunks
                .iter()
                .map(|chunk| u64::from(chunk.length))
                .sum(),
        )
    });
    if fits(table.size_bytes)
        && u64::from(PACK_HEADER_BYTES) + blocks <= table.size_bytes
        && plain_fits
    {
        return Ok(());
    }
    Err(Error::corrupt(format!(
        "the table of pack {} cannot be",
        table.pack.short()
    )))
}

/// Calls `take` with every record of the pack with this `number`.
fn each_record(table: &PackTable, number: u32, mut take: impl FnMut(Record)) {
    let mut block_offset = PACK_HEADER_BYTES;
    for block in &table.blocks {
        let mut start = 0;
        for chunk in &block.chunks {
            take(Record {
                prefix: prefix_of(&chunk.id),
                pack: number,
                block_offset,
                sealed_bytes: block.sealed_bytes,
                start,
                length: chunk.length,
            });
            start += chunk.length;
        }
        block_offset += block.sealed_bytes;
    }
}

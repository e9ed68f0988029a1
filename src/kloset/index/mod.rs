//! The index: where each chunk is. A cache, on this machine, of what the store's
//! index objects say, and of what this process has stored since.
//!
//! **Bounded memory.** At most 2 bytes a chunk, whatever the store holds: 1.16 of
//! filter, 0.04 of fences, and 41 bytes a pack, which at 57 chunks a pack (16 MiB
//! of chunks that do not compress) is 0.72. The rest is 38 bytes a chunk on disk.
//! On top come up to two tables of 64 Ki records (4 MiB each) while chunks are
//! being added, and 8 MiB while a filter is built.
//!
//! ```text
//! insert, add_object -> memtable -- full --> segment -- four of a size --> larger segment
//! lookup             -> memtable, then each segment: fence, filter, one page
//! save               -> manifest: which segments, which packs, which index objects
//! ```
//!
//! **What may be believed.** A record counts only while its pack is alive: covered
//! by an index object known to be in the store, or stored by this process. Packs
//! this process stored but no index object covers are saved as dead, since it may
//! die before publishing. So a stale cache may know too little, never too much;
//! packs someone deleted by hand are hidden by [`Index::presume_absent`].
//!
//! **Damage.** What is read at opening is verified then, and a cache that fails is
//! not used; pages are verified when read, and then [`Index::damaged`] says so and
//! the call returns [`Corrupt`](crate::error::Kind::Corrupt). The caller clears
//! the cache and brings everything in again. Deleting it costs time, never data.
//!
//! **Sharing.** Any number of processes may use one directory. Each works on
//! its own view; the last to save wins.
//!
//! It must not know how index objects are stored, sealed or published.

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

/// Records in memory before they become a segment: 4 MiB, and 16 GB of chunks, so
/// an ordinary backup spills once, when it saves.
const SPILL_RECORDS: usize = 1 << 16;

/// Where one copy of a chunk is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Place {
    /// The pack's name.
    pub pack: Id,
    /// Where its sealed block begins in the pack.
    pub block_offset: u32,
    /// Length of the sealed block.
    pub sealed_bytes: u32,
    /// Where the chunk begins in the plain bytes of the block.
    pub start: u32,
    /// Length of the chunk.
    pub length: u32,
}

/// What [`Index::lookup`] found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Found {
    /// Where the chunk is.
    pub place: Place,
    /// The number of this record, below [`Index::records`]; the same at each
    /// lookup until something is added, saved or cleared. For bitmaps.
    pub ordinal: u64,
}

/// Whether the index knows a pack.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Known {
    /// Its records are in.
    Yes,
    /// They are not: no index object that was read tells of it.
    No,
}

/// A pack that chunks can be read from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PackInfo {
    /// Its name.
    pub id: Id,
    /// Length of the whole object, below 4 GiB.
    pub size_bytes: u64,
    /// What it was filled with.
    pub kind: PackKind,
}

/// Where each chunk is. All calls may be made from several threads at once.
///
/// Locks are taken in the order turn, memtable, packs, segments.
pub struct Index {
    home: Home,
    spill_records: usize,
    turn: Mutex<()>,
    memtable: RwLock<Memtable>,
    packs: RwLock<Packs>,
    segments: RwLock<Arc<Segments>>,
    changed: AtomicBool,
    damaged: AtomicBool,
    /// How often it was cleared.
    generation: AtomicU64,
    /// How many rely on ordinals.
    holders: AtomicUsize,
}

impl Index {
    /// Opens the cache in `directory`, which is made if it is missing. Starts empty
    /// if there is none, or it is damaged, or of another version. Without a
    /// directory, or where it cannot be written, the cache lives in temporary
    /// files without names.
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

    /// Whether a call has met damage since the cache was opened or cleared.
    pub fn damaged(&self) -> bool {
        self.damaged.load(Ordering::Relaxed)
    }

    /// The index objects whose contents are in.
    pub fn covered(&self) -> HashSet<Id> {
        self.packs().objects().copied().collect()
    }

    /// Whether the contents of this index object are in.
    pub fn covers(&self, object: Id) -> bool {
        self.packs().covers(&object)
    }

    /// Brings in what an index object says. Packs that are known already are only
    /// marked as covered by it too. May be repeated.
    ///
    /// # Errors
    /// [`Corrupt`](Kind::Corrupt) for tables that cannot be, and then nothing is
    /// brought in (or if the cache turns out [damaged](Index::damaged)). If
    /// records cannot be written the object does not count as covered.
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

    /// Brings in a pack this process has just stored. It counts until the process
    /// ends, and for longer once an index object covers it.
    ///
    /// # Errors
    /// As [`Index::add_object`]. If records cannot be written they stay in memory
    /// and are found, so the caller may go on as long as that is acceptable.
    pub fn insert(&self, table: &PackTable) -> Result<()> {
        check(table)?;
        self.add(table).map(|_| ())
    }

    /// Says that `object` was published and covers `packs`, whose records are in
    /// already. If one is not, nothing happens: [`Index::add_object`] is due later.
    pub fn cover(&self, object: Id, packs: &[Id]) {
        let mut known = self.packs_mut();
        if let Some(numbers) = packs.iter().map(|pack| known.number(pack)).collect() {
            known.cover(object, numbers);
            self.changed.store(true, Ordering::Relaxed);
        }
    }

    /// Forgets all index objects but `live`, those the store has now. Packs that
    /// nothing else covers are never returned again. Better called after new
    /// objects were added: packs these cover too need not be brought in again.
    pub fn retain_objects(&self, live: &HashSet<Id>) {
        if self.packs_mut().retain_objects(live) {
            self.changed.store(true, Ordering::Relaxed);
        }
    }

    /// Hides the packs known now, in this process only, until [`Index::mark_present`] says
    /// of each that it is there. Those of which it does not were deleted by hand.
    pub fn presume_absent(&self) {
        self.packs_mut().presume_absent();
    }

    /// Says that a pack of this size is in the store. If it has another size in the index it
    /// lost its end, and stays hidden.
    pub fn mark_present(&self, pack: &Id, size_bytes: u64) -> Known {
        self.packs_mut().mark_present(pack, size_bytes)
    }

    /// Whether the records of the pack are in, though it may be hidden.
    pub fn knows(&self, pack: &Id) -> Known {
        match self.packs().number(pack) {
            Some(_) => Known::Yes,
            None => Known::No,
        }
    }

    /// What is known of the pack, unless it is hidden.
    pub fn pack(&self, pack: &Id) -> Option<PackInfo> {
        let packs = self.packs();
        packs.visible(packs.number(pack)?)
    }

    /// Hides `packs` in this process, from now on: they are condemned.
    pub fn exclude_packs(&self, packs: &HashSet<Id>) {
        self.packs_mut().exclude(packs);
    }

    /// Finds a chunk. Mostly costs no read if there is none, and one if there is.
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

    /// Whether there is such a chunk. Fails as [`Index::lookup`].
    pub fn contains(&self, id: &Id) -> Result<bool> {
        Ok(self.lookup(id)?.is_some())
    }

    /// All copies of a chunk. Fails as [`Index::lookup`].
    pub fn places(&self, id: &Id) -> Result<Vec<Place>> {
        let mut places = Vec::new();
        self.search(id, &mut |record, _| {
            // A record on its way from memory to a segment is seen in both.
            places.extend(self.place(&record).filter(|place| !places.contains(place)));
            ControlFlow::Continue(())
        })?;
        Ok(places)
    }

    fn search(&self, id: &Id, take: &mut dyn FnMut(Record, u64) -> ControlFlow<()>) -> Result<()> {
        let prefix = prefix_of(id);
        // Memory first: records move from there to segments, never back.
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

    /// Remembers that an error means a damaged cache.
    fn noticed(&self, cause: Error) -> Error {
        if cause.kind() == Kind::Corrupt {
            self.damaged.store(true, Ordering::Relaxed);
        }
        cause.during("index cache")
    }

    /// Adds the records of a pack, unless they are in, and returns its number.
    fn add(&self, table: &PackTable) -> Result<u32> {
        let number = {
            // Held until all records are in, so that no spill sees half a pack.
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

    /// Above every ordinal a lookup can return now.
    pub fn records(&self) -> u64 {
        self.segments().records + self.memtable().records()
    }

    /// The packs chunks may be found in.
    pub fn packs_in_use(&self) -> impl Iterator<Item = PackInfo> {
        let numbers = 0..self.packs().len() as u32;
        numbers.filter_map(|number| self.packs().visible(number))
    }

    /// Their numbers, in ascending order. A pack that goes and comes back has another.
    pub fn numbers_in_use(&self) -> Vec<u32> {
        let packs = self.packs();
        let numbers = 0..packs.len() as u32;
        numbers
            .filter(|number| packs.visible(*number).is_some())
            .collect()
    }

    /// About how much memory the index takes now.
    pub fn memory_bytes(&self) -> usize {
        let segments: usize = self.segments().iter().map(|s| s.memory_bytes()).sum();
        let packs = self.packs().memory_bytes();
        segments + packs + self.memtable().memory_bytes()
    }

    /// How many pages were read from the segments there are now.
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

    // A panic elsewhere leaves at worst a cache that knows too little, so a
    // poisoned lock is no reason for another.

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

/// Refuses a table whose offsets do not fit a record, or a pack its own size.
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

/// The records of a pack known by `number`.
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

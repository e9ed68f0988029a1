//! Background work on records: spilling, merging and saving.
//!
//! One thread at a time does this work: the one that filled the table. The other threads continue
//! to look up records and to fill the next table. They wait only if that table is full too, which
//! limits the memory use to two tables.

use std::collections::HashSet;
use std::sync::atomic::Ordering;
use std::sync::{Arc, MutexGuard};

use super::home::Home;
use super::merge;
use super::packs::Packs;
use super::segment::Segment;
use super::writer::write_segment;
use super::{Index, manifest};
use crate::error::{During, Error, Kind, Result};

/// If a quarter of the pack numbers are dead, everything is merged. So disk and memory use exceed
/// the requirements of the living packs by at most a third.
const DEAD_PART: usize = 4;
/// Minimum number of dead pack numbers for which a merge is worthwhile.
const DEAD_LEAST: usize = 64;

/// The right to change segments.
type Turn<'a> = MutexGuard<'a, ()>;

/// Segments, each with the ordinal of its first record.
#[derive(Default)]
pub(super) struct Segments {
    pub(super) list: Vec<(u64, Arc<Segment>)>,
    pub(super) records: u64,
}

impl Segments {
    pub(super) fn new(segments: impl IntoIterator<Item = Arc<Segment>>) -> Segments {
        let mut all = Segments::default();
        for segment in segments {
            let records = segment.records;
            all.list.push((all.records, segment));
            all.records += records;
        }
        all
    }

    pub(super) fn iter(&self) -> impl ExactSizeIterator<Item = &Arc<Segment>> {
        self.list.iter().map(|(_, segment)| segment)
    }
}

/// Restores the saved cache. Returns an empty one if any part of it is damaged.
pub(super) fn restore(home: &Home) -> (Packs, Segments) {
    read_all(home).unwrap_or_default()
}

fn read_all(home: &Home) -> Result<(Packs, Segments)> {
    // With the lock held, no other process replaces the manifest and deletes segments between
    // reading the manifest and opening the segments.
    let _lock = home.lock();
    let (packs, names) = manifest::read(home.open_manifest()?)?;
    let mut segments = Vec::with_capacity(names.len());
    for name in names {
        let file = home.open_segment(name.name)?;
        let path = file.path.clone();
        let segment = Segment::open(file, name.records, name.file_bytes);
        let segment = segment.during(|| format!("{path:?}"))?;
        segment.mark_saved();
        segment.load_filters()?;
        segments.push(Arc::new(segment));
    }
    Ok((packs, Segments::new(segments)))
}

impl Index {
    /// Spills the table in memory if it is full, and performs the merges that become due.
    pub(super) fn spill_if_full(&self) -> Result<()> {
        if self.memtable().active_records() < self.spill_records {
            return Ok(());
        }
        let turn = self.turn();
        // Another thread may have spilled the table meanwhile.
        if self.memtable().active_records() < self.spill_records {
            return Ok(());
        }
        self.spill(&turn)?;
        self.merge_what_is_due(&turn)
    }

    /// Writes the records in memory to a segment.
    pub(super) fn spill_now(&self) -> Result<()> {
        let turn = self.turn();
        self.spill(&turn)
    }

    /// Writes the table in memory to a segment. If that fails, it stays in memory.
    fn spill(&self, _turn: &Turn<'_>) -> Result<()> {
        let (frozen, fresh) = {
            let mut memtable = self.memtable_mut();
            (memtable.freeze(), self.packs_mut().take_fresh())
        };
        let Some(frozen) = frozen else {
            self.packs_mut().written(&fresh);
            return Ok(());
        };
        let written = write_segment(&self.home, |to| frozen.keys().try_for_each(|r| to.push(r)));
        drop(frozen);
        match written.and_then(|segment| self.publish(segment)) {
            Ok(()) => {
                self.memtable_mut().release();
                self.packs_mut().written(&fresh);
                Ok(())
            }
            Err(cause) => {
                self.memtable_mut().thaw();
                self.packs_mut().not_written(fresh);
                Err(cause)
            }
        }
    }

    /// Loads the filters of a new segment and makes it visible.
    fn publish(&self, segment: Option<Segment>) -> Result<()> {
        let Some(segment) = segment else {
            return Ok(());
        };
        segment.load_filters()?;
        let segments = self.segments();
        self.set_segments(segments.iter().cloned().chain([Arc::new(segment)]));
        Ok(())
    }

    fn merge_what_is_due(&self, turn: &Turn<'_>) -> Result<()> {
        while !self.is_held() {
            let records: Vec<u64> = self.segments().iter().map(|s| s.records).collect();
            let Some(chosen) = merge::choose(&records, self.spill_records as u64) else {
                return Ok(());
            };
            let dead = self.packs().dead();
            if !self.merge(turn, &chosen, &dead)? {
                return Ok(());
            }
        }
        Ok(())
    }

    /// Merges the `chosen` segments into one, without the records of `dead` packs. Returns whether
    /// it did. If the disk is too full to merge, lookups only become slower.
    fn merge(&self, _turn: &Turn<'_>, chosen: &[usize], dead: &[bool]) -> Result<bool> {
        let (sources, others) = self.split(chosen);
        let is_dead = |pack: u32| dead.get(pack as usize).copied().unwrap_or(false);
        let merged = write_segment(&self.home, |to| merge::merge(&sources, is_dead, to));
        let merged = match merged.map_err(|cause| self.noticed(cause)) {
            Ok(merged) => merged.map(Arc::new),
            Err(cause) if cause.kind() == Kind::Corrupt => return Err(cause),
            Err(_) => return Ok(false),
        };
        self.set_segments(others.into_iter().chain(merged.clone()));
        // The filters are loaded only after those of the sources were freed.
        drop(sources);
        if let Some(merged) = merged {
            merged.load_filters().map_err(|cause| self.noticed(cause))?;
        }
        Ok(true)
    }

    /// Splits the segments into the `chosen` ones and the others.
    fn split(&self, chosen: &[usize]) -> (Vec<Arc<Segment>>, Vec<Arc<Segment>>) {
        let segments = self.segments();
        let numbered = segments.iter().cloned().enumerate();
        let (sources, others): (Vec<_>, Vec<_>) =
            numbered.partition(|(number, _)| chosen.contains(number));
        let plain = |numbered: Vec<(usize, Arc<Segment>)>| {
            numbered.into_iter().map(|(_, segment)| segment).collect()
        };
        (plain(sources), plain(others))
    }

    /// Spills, and merges all segments if many packs are dead.
    fn drop_dead(&self, turn: &Turn<'_>) -> Result<()> {
        // Determined before the spill. Records of packs that are dead now are in the table or in
        // segments already, so after the merge no segment refers to these packs.
        let dead = self.packs().dead();
        let count = dead.iter().filter(|dead| **dead).count();
        self.spill(turn)?;
        if count < DEAD_LEAST || count * DEAD_PART < dead.len() {
            return Ok(());
        }
        let all: Vec<usize> = (0..self.segments().list.len()).collect();
        if self.merge(turn, &all, &dead)? {
            self.packs_mut().free(&dead);
        }
        Ok(())
    }

    fn tidy(&self) {
        let mut packs = self.packs_mut();
        packs.settle();
        packs.shrink();
    }

    /// Saves everything that index objects cover for the next process.
    ///
    /// This is cheap if nothing has changed, and does nothing while the index is
    /// [held](Index::hold). It can be called at any time from any thread. If several processes
    /// save, the last one wins, and the work of the others is repeated later.
    ///
    /// # Errors
    /// If the cache cannot be written, the previously saved one remains valid. After
    /// [`Corrupt`](Kind::Corrupt), the cache should be [cleared](Index::clear).
    pub fn save(&self) -> Result<()> {
        let turn = self.turn();
        if self.damaged() {
            self.home.remove_manifest();
            return Err(Error::corrupt("the index cache is damaged"));
        }
        if !self.home.is_kept() || self.is_held() || !self.changed.swap(false, Ordering::Relaxed) {
            return Ok(());
        }
        let outcome = self.save_changes(&turn).during(|| "save the index cache");
        if outcome.is_err() {
            self.changed.store(true, Ordering::Relaxed);
        }
        outcome
    }

    fn save_changes(&self, turn: &Turn<'_>) -> Result<()> {
        self.drop_dead(turn)?;
        self.merge_what_is_due(turn)?;
        self.tidy();
        let segments = self.segments();
        let _lock = self.home.lock();
        let is_there = |segment: &Arc<Segment>| segment.path.as_ref().is_some_and(|p| p.exists());
        if !segments.iter().all(is_there) {
            return Err(Error::new(
                Kind::NoSpace,
                "its directory is full or cannot be written",
            ));
        }
        // The lock is held during I/O, against the rule. A copy would use as much memory as the
        // packs do, and the data is written to the page cache of the system.
        let packs = self.packs();
        let sources = segments.iter().map(|segment| segment.as_ref());
        self.home
            .replace_manifest(|to| manifest::write(to, &packs, sources))?;
        segments.iter().for_each(|segment| segment.mark_saved());
        drop(packs);
        let keep: HashSet<u64> = segments.iter().map(|segment| segment.name).collect();
        self.home.sweep(&keep);
        Ok(())
    }

    /// Removes everything, saved or not. Used when the cache is damaged. Afterwards the contents of
    /// all index objects must be added again.
    pub fn clear(&self) {
        let _turn = self.turn();
        self.generation.fetch_add(1, Ordering::SeqCst);
        let mut memtable = self.memtable_mut();
        memtable.clear();
        let mut packs = self.packs_mut();
        packs.clear();
        let dead = packs.dead();
        packs.free(&dead);
        self.set_segments([]);
        self.home.remove_manifest();
        self.changed.store(true, Ordering::Relaxed);
        self.damaged.store(false, Ordering::Relaxed);
    }
}

//! What happens to records behind the scenes: spilled, merged, saved.
//!
//! One thread at a time does it, whichever filled the table; the others go on
//! looking up and filling the next. They wait only if they fill that too, which
//! bounds memory at two tables.

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

/// When a quarter of the numbers is dead everything is merged, so that disk and
/// memory stay within a third of what the living need.
const DEAD_PART: usize = 4;
/// Below this many it is not worth it.
const DEAD_LEAST: usize = 64;

/// The right to change segments.
type Turn<'a> = MutexGuard<'a, ()>;

/// Segments with the ordinal of the first record of each.
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

/// What was saved, or nothing if anything is wrong with it.
pub(super) fn restore(home: &Home) -> (Packs, Segments) {
    read_all(home).unwrap_or_default()
}

fn read_all(home: &Home) -> Result<(Packs, Segments)> {
    // Nobody replaces the manifest and deletes segments while we look from one
    // to the other.
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
    /// Spills the table in memory if it is full, and merges what that makes due.
    pub(super) fn spill_if_full(&self) -> Result<()> {
        if self.memtable().active_records() < self.spill_records {
            return Ok(());
        }
        let turn = self.turn();
        // Another thread may have done it while we waited.
        if self.memtable().active_records() < self.spill_records {
            return Ok(());
        }
        self.spill(&turn)?;
        self.merge_what_is_due(&turn)
    }

    /// Moves what is in memory to a segment.
    pub(super) fn spill_now(&self) -> Result<()> {
        let turn = self.turn();
        self.spill(&turn)
    }

    /// Moves the table in memory to a segment. If that fails it stays in memory.
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

    /// Makes a new segment visible, complete with filters.
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

    /// Makes one segment of those `chosen`, without the records of `dead` packs.
    /// Says whether it did: a disk too full to merge is no harm, only slower.
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
        // Only now, when the filters of the sources are gone.
        drop(sources);
        if let Some(merged) = merged {
            merged.load_filters().map_err(|cause| self.noticed(cause))?;
        }
        Ok(true)
    }

    /// The segments `chosen`, and the others.
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

    /// Merges everything if much of it is dead.
    fn drop_dead(&self, turn: &Turn<'_>) -> Result<()> {
        // Taken before the spill: records of packs dead by now are in the table
        // or in segments already, so after the merge nothing mentions them.
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

    /// Makes everything that index objects cover known to the next process.
    /// Cheap when nothing has changed, and nothing while it is [held](Index::hold). May be called at any time from any thread;
    /// of several processes the last wins, and the others' work is done again.
    ///
    /// # Errors
    /// If it could not be written: what was saved before still stands. After
    /// [`Corrupt`](Kind::Corrupt) the cache should be [cleared](Index::clear).
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
        // Held while writing, against the rule: a copy would take as much memory
        // as the packs do, and the write goes to the system's memory.
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

    /// Drops everything, saved or not: for when the cache is damaged. What index
    /// objects say has then to be brought in again, all of it.
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

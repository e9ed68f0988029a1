//! The packs that records refer to by number, and the index objects that cover them.
//!
//! A pack needs 41 bytes of memory (id 32, size 4, state 1, order 4). A pack of 16 MiB has 57
//! chunks if they are large and incompressible, and usually far more. So this is at most 0.72 bytes
//! per chunk; filters need 1.16 and fences 0.04. The arrays grow by a sixteenth, because doubling
//! them would waste as much memory again.
//!
//! A pack is *alive* while an index object covers it or this process stored it. A dead pack stays
//! dead. If it is added again, it gets a new number, so remaining records with the old number
//! cannot be mistaken for new ones. A number can be reused when no segment refers to it, but only
//! by the next process. In this process, a concurrent lookup may still hold a record with the old
//! meaning of the number.

use std::collections::{HashMap, HashSet};

use super::{Known, PackInfo};
use crate::format::pack_table::{PackKind, PackTable};
use crate::util::Id;

const ALIVE: u8 = 1;
const TREE: u8 = 2;
/// Covered by an index object.
const COVERED: u8 = 4;
/// Stored by this process, and not covered yet.
const OWN: u8 = 8;
/// Known to be missing from the store or truncated.
const ABSENT: u8 = 16;
/// Condemned, or hidden by the caller for another reason.
const EXCLUDED: u8 = 32;
/// No segment refers to it.
const FREE: u8 = 64;
/// Its records may still be in memory only.
const FRESH: u8 = 128;

/// Maximum number of packs in the map before they are sorted into the order: few enough to cost
/// little memory, and enough that a rebuild rarely sorts.
const RECENT_PACKS: usize = 1024;

/// All packs, by number.
#[derive(Default)]
pub(super) struct Packs {
    ids: Vec<Id>,
    sizes: Vec<u32>,
    states: Vec<u8>,
    /// Pack numbers in the order of their ids. They were alive when they were sorted.
    sorted: Vec<u32>,
    /// Living packs that are not in `sorted`, or only under a dead number.
    recent: HashMap<Id, u32>,
    /// Numbers that no segment referred to when this process started.
    reusable: Vec<u32>,
    covers: HashMap<Id, Vec<Run>>,
    /// The numbers with the state `FRESH`.
    fresh: Vec<u32>,
    excluded: HashSet<Id>,
}

/// A run of consecutive numbers. The packs of an index object mostly have consecutive numbers, so
/// they need 8 bytes together instead of 4 bytes each.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Run {
    pub(super) first: u32,
    pub(super) count: u32,
}

/// The state of one number in a manifest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Slot {
    /// No segment refers to it.
    Free,
    /// Segments refer to it, but its records are invalid.
    Dead,
    /// Covered by an index object.
    Live(PackInfo),
}

impl Packs {
    /// The number of a living pack.
    pub(super) fn number(&self, id: &Id) -> Option<u32> {
        let by_order = || {
            let order = |number: &u32| self.ids[*number as usize].cmp(id);
            // Several numbers may have had this id. At most one of them is alive.
            let first = self.sorted.partition_point(|number| order(number).is_lt());
            let same = self.sorted[first..]
                .iter()
                .take_while(|number| order(number).is_eq());
            same.copied().find(|number| self.is_alive(*number))
        };
        self.recent.get(id).copied().or_else(by_order)
    }

    /// Assigns a number to a pack that has none. The pack counts as stored by this process until
    /// [`Packs::cover`] is called.
    pub(super) fn allot(&mut self, table: &PackTable, size_bytes: u32) -> u32 {
        let tree = if table.kind == PackKind::Tree {
            TREE
        } else {
            0
        };
        let number = self.place(table.pack, size_bytes, ALIVE | OWN | FRESH | tree);
        self.fresh.push(number);
        if self.excluded.contains(&table.pack) {
            self.states[number as usize] |= EXCLUDED;
        }
        self.recent.insert(table.pack, number);
        if self.recent.len() > RECENT_PACKS + self.ids.len() / 16 {
            self.settle();
        }
        number
    }

    fn place(&mut self, id: Id, size_bytes: u32, state: u8) -> u32 {
        // The order contains only living packs, so a reused number is not in it yet.
        if let Some(number) = self.reusable.pop() {
            let at = number as usize;
            (self.ids[at], self.sizes[at], self.states[at]) = (id, size_bytes, state);
            return number;
        }
        push(&mut self.ids, id);
        push(&mut self.sizes, size_bytes);
        push(&mut self.states, state);
        (self.ids.len() - 1) as u32
    }

    /// Sorts the recent packs into the order.
    pub(super) fn settle(&mut self) {
        if !self.recent.is_empty() {
            self.recent = HashMap::new();
            self.sort();
        }
    }

    /// Frees the unused capacity of the arrays.
    pub(super) fn shrink(&mut self) {
        self.ids.shrink_to_fit();
        self.sizes.shrink_to_fit();
        self.states.shrink_to_fit();
        self.fresh.shrink_to_fit();
        self.covers.shrink_to_fit();
    }

    fn sort(&mut self) {
        let mut sorted = std::mem::take(&mut self.sorted);
        sorted.clear();
        sorted.reserve_exact(self.ids.len());
        sorted.extend((0..self.ids.len() as u32).filter(|number| self.is_alive(*number)));
        sorted.sort_unstable_by_key(|number| self.ids[*number as usize]);
        self.sorted = sorted;
    }

    /// Records that `object` covers the packs with these numbers. Does nothing if one of them is
    /// dead, because then the index does not contain all contents of the object.
    pub(super) fn cover(&mut self, object: Id, mut numbers: Vec<u32>) {
        if !numbers.iter().all(|number| self.is_alive(*number)) {
            return;
        }
        numbers.sort_unstable();
        numbers.dedup();
        let mut runs: Vec<Run> = Vec::new();
        for number in numbers {
            self.vouch(number);
            match runs.last_mut() {
                Some(run) if run.first + run.count == number => run.count += 1,
                _ => runs.push(Run {
                    first: number,
                    count: 1,
                }),
            }
        }
        runs.shrink_to_fit();
        self.covers.insert(object, runs);
    }

    fn vouch(&mut self, number: u32) {
        let state = &mut self.states[number as usize];
        *state = (*state | COVERED) & !OWN;
    }

    /// Removes the index objects that are not in `live`, and the packs that nothing else covers.
    /// Returns whether there were any such objects.
    pub(super) fn retain_objects(&mut self, live: &HashSet<Id>) -> bool {
        let before = self.covers.len();
        self.covers.retain(|object, _| live.contains(object));
        if self.covers.len() == before {
            return false;
        }
        self.states.iter_mut().for_each(|state| *state &= !COVERED);
        let runs: Vec<Run> = self.covers.values().flatten().copied().collect();
        for run in runs {
            (run.first..run.first + run.count).for_each(|number| self.vouch(number));
        }
        self.kill(|state| state & (COVERED | OWN) == 0);
        true
    }

    /// Marks every pack as dead and removes all index objects.
    pub(super) fn clear(&mut self) {
        self.covers.clear();
        self.kill(|_| true);
    }

    fn kill(&mut self, condemned: impl Fn(u8) -> bool) {
        for state in &mut self.states {
            if *state & ALIVE != 0 && condemned(*state) {
                *state &= FRESH;
            }
        }
        let states = &self.states;
        self.recent
            .retain(|_, number| states[*number as usize] & ALIVE != 0);
    }

    /// Returns and resets the list of packs whose records are about to be written.
    pub(super) fn take_fresh(&mut self) -> Vec<u32> {
        std::mem::take(&mut self.fresh)
    }

    /// Records that the records of these packs are in a segment.
    pub(super) fn written(&mut self, fresh: &[u32]) {
        fresh
            .iter()
            .for_each(|number| self.states[*number as usize] &= !FRESH);
    }

    /// Records that the records of these packs are still in memory only.
    pub(super) fn not_written(&mut self, fresh: Vec<u32>) {
        self.fresh.extend(fresh);
    }

    /// Marks every pack as absent until [`Packs::mark_present`].
    pub(super) fn presume_absent(&mut self) {
        self.states.iter_mut().for_each(|state| *state |= ABSENT);
    }

    /// Marks a pack as present if its size matches. Returns whether it is known.
    pub(super) fn mark_present(&mut self, id: &Id, size_bytes: u64) -> Known {
        let Some(number) = self.number(id) else {
            return Known::No;
        };
        if u64::from(self.sizes[number as usize]) == size_bytes {
            self.states[number as usize] &= !ABSENT;
        }
        Known::Yes
    }

    /// Hides `packs`, including those that are added later.
    pub(super) fn exclude(&mut self, packs: &HashSet<Id>) {
        self.excluded.extend(packs);
        for (id, state) in self.ids.iter().zip(&mut self.states) {
            *state |= if packs.contains(id) { EXCLUDED } else { 0 };
        }
    }

    /// The pack with this number, unless it is dead or hidden.
    pub(super) fn visible(&self, number: u32) -> Option<PackInfo> {
        let state = *self.states.get(number as usize)?;
        let visible = state & (ALIVE | ABSENT | EXCLUDED) == ALIVE;
        visible.then(|| self.info(number as usize))
    }

    /// The pack with this number, unless it is dead, missing from the store or truncated.
    pub(super) fn present(&self, number: u32) -> Option<PackInfo> {
        let state = *self.states.get(number as usize)?;
        (state & (ALIVE | ABSENT) == ALIVE).then(|| self.info(number as usize))
    }

    /// The pack with this number, unless it is dead.
    pub(super) fn alive(&self, number: u32) -> Option<PackInfo> {
        let state = *self.states.get(number as usize)?;
        (state & ALIVE != 0).then(|| self.info(number as usize))
    }

    /// Whether an index object covers the pack with this number.
    pub(super) fn is_covered(&self, number: u32) -> bool {
        let state = self.states.get(number as usize);
        state.is_some_and(|state| state & COVERED != 0)
    }

    /// The packs that `object` covers.
    pub(super) fn covered_by(&self, object: &Id) -> Vec<Id> {
        let runs = self.covers.get(object).into_iter().flatten();
        runs.flat_map(|run| run.first..run.first + run.count)
            .map(|number| self.ids[number as usize])
            .collect()
    }

    /// Records that a pack is no longer in the store.
    pub(super) fn mark_absent(&mut self, id: &Id) {
        if let Some(number) = self.number(id) {
            self.states[number as usize] |= ABSENT;
        }
    }

    fn info(&self, at: usize) -> PackInfo {
        let kind = if self.states[at] & TREE == 0 {
            PackKind::Data
        } else {
            PackKind::Tree
        };
        PackInfo {
            id: self.ids[at],
            size_bytes: u64::from(self.sizes[at]),
            kind,
        }
    }

    fn is_alive(&self, number: u32) -> bool {
        self.states[number as usize] & ALIVE != 0
    }

    /// One flag per number: whether it is dead and segments may still refer to it.
    pub(super) fn dead(&self) -> Vec<bool> {
        self.states
            .iter()
            .map(|state| state & (ALIVE | FREE) == 0)
            .collect()
    }

    /// Records that no segment refers to these dead numbers any more.
    pub(super) fn free(&mut self, dead: &[bool]) {
        for (state, dead) in self.states.iter_mut().zip(dead) {
            *state |= if *dead { FREE } else { 0 };
        }
    }

    /// Whether the index contains the records of `object`.
    pub(super) fn covers(&self, object: &Id) -> bool {
        self.covers.contains_key(object)
    }

    /// The index objects whose records are in the index.
    pub(super) fn objects(&self) -> impl Iterator<Item = &Id> {
        self.covers.keys()
    }

    /// The index objects whose records have all been written to segments, with the runs of their
    /// packs.
    pub(super) fn written_objects(&self) -> impl Iterator<Item = (&Id, &[Run])> {
        let is_fresh = |run: &Run| {
            let states = &self.states[run.first as usize..(run.first + run.count) as usize];
            states.iter().any(|state| state & FRESH != 0)
        };
        let written = move |runs: &Vec<Run>| !runs.iter().any(is_fresh);
        let objects = self.covers.iter().filter(move |(_, runs)| written(runs));
        objects.map(|(object, runs)| (object, runs.as_slice()))
    }

    /// Number of pack numbers.
    pub(super) fn len(&self) -> usize {
        self.ids.len()
    }

    /// The state of a number for the next process. A pack that no index object covers may never be
    /// published, and records in memory are lost when this process ends. Therefore such a pack is
    /// saved as dead.
    pub(super) fn slot(&self, number: usize) -> Slot {
        match self.states[number] {
            state if state & (ALIVE | COVERED | FRESH) == ALIVE | COVERED => {
                Slot::Live(self.info(number))
            }
            state if state & FREE != 0 => Slot::Free,
            _ => Slot::Dead,
        }
    }

    /// Adds the next number of a manifest.
    pub(super) fn restore_slot(&mut self, slot: Slot) {
        let number = self.ids.len() as u32;
        let (id, size_bytes, state) = match slot {
            Slot::Free => (Id([0; 32]), 0, FREE),
            Slot::Dead => (Id([0; 32]), 0, 0),
            Slot::Live(PackInfo {
                id,
                size_bytes,
                kind: PackKind::Data,
            }) => (id, size_bytes, ALIVE),
            Slot::Live(PackInfo { id, size_bytes, .. }) => (id, size_bytes, ALIVE | TREE),
        };
        push(&mut self.ids, id);
        push(&mut self.sizes, size_bytes as u32);
        push(&mut self.states, state);
        if slot == Slot::Free {
            self.reusable.push(number);
        }
    }

    /// Adds an index object of a manifest. Returns `None` if it covers packs that are not alive,
    /// which never occurs in a valid manifest.
    pub(super) fn restore_object(&mut self, object: Id, runs: Vec<Run>) -> Option<()> {
        for run in &runs {
            let end = run.first.checked_add(run.count)?;
            let states = self.states.get_mut(run.first as usize..end as usize)?;
            for state in states {
                (*state & ALIVE != 0).then_some(())?;
                *state |= COVERED;
            }
        }
        self.covers.insert(object, runs);
        Some(())
    }

    /// Completes the restoration of a manifest.
    pub(super) fn restored(&mut self) {
        self.sort();
        self.shrink();
    }

    /// The approximate memory use, in bytes.
    pub(super) fn memory_bytes(&self) -> usize {
        let runs: usize = self.covers.values().map(Vec::capacity).sum();
        let per_map_entry = size_of::<Id>() + size_of::<Vec<Run>>() + 1;
        32 * self.ids.capacity()
            + 4 * (self.sizes.capacity() + self.sorted.capacity())
            + 4 * (self.reusable.capacity() + self.fresh.capacity())
            + self.states.capacity()
            + size_of::<Run>() * runs
            + per_map_entry * (self.covers.capacity() + self.recent.capacity())
            + (size_of::<Id>() + 1) * self.excluded.capacity()
    }
}

/// Appends to an array whose capacity grows by a sixteenth.
fn push<T>(to: &mut Vec<T>, item: T) {
    if to.len() == to.capacity() {
        to.reserve_exact(to.len() / 16 + 64);
    }
    to.push(item);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kloset::index::testing::{id, pack};

    #[test]
    fn what_is_in_memory_only_is_not_promised_to_the_next_process() {
        let mut packs = Packs::default();
        let number = packs.allot(&pack(1, &[1]), 100);
        let fresh = packs.take_fresh();
        packs.cover(id(9), vec![number]);
        assert!(packs.covers(&id(9)) && packs.visible(number).is_some());
        assert_eq!(
            (packs.slot(0), packs.written_objects().count()),
            (Slot::Dead, 0)
        );
        packs.not_written(fresh);
        let fresh = packs.take_fresh();
        packs.written(&fresh);
        assert!(matches!(packs.slot(0), Slot::Live(_)));
        assert_eq!(packs.written_objects().count(), 1);
    }

    #[test]
    fn a_pack_that_comes_back_has_a_new_number() {
        let mut packs = Packs::default();
        let table = pack(1, &[1]);
        let first = packs.allot(&table, 100);
        packs.cover(id(9), vec![first]);
        packs.settle();
        assert!(packs.retain_objects(&HashSet::new()));
        assert_eq!(packs.number(&table.pack), None);
        let second = packs.allot(&table, 100);
        packs.settle();
        assert_eq!(
            (packs.number(&table.pack), packs.visible(first)),
            (Some(second), None)
        );
        assert_ne!(first, second);
    }
}

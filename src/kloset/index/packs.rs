//! The packs records point into, by number; and the index objects that vouch for
//! them.
//!
//! A pack in memory takes 41 bytes (id 32, size 4, state 1, order 4). A pack of
//! 16 MiB has 57 chunks when they are large and do not compress, usually far
//! more, so that is 0.72 bytes a chunk at worst; filters take 1.16 and fences
//! 0.04. The arrays grow by a sixteenth, since doubling would waste as much again.
//!
//! A pack is *alive* while an index object covers it or this process stored it. A
//! dead one stays dead: if it comes back it gets a new number, so records left
//! over under the old one can never be taken for new ones. A number is free for
//! reuse once no segment mentions it, and is reused by the next process only: in
//! this one a lookup under way may still hold a record with the old meaning.

use std::collections::{HashMap, HashSet};

use super::{Known, PackInfo};
use crate::format::pack_table::{PackKind, PackTable};
use crate::util::Id;

const ALIVE: u8 = 1;
const TREE: u8 = 2;
/// Vouched for by an index object.
const COVERED: u8 = 4;
/// Stored by this process.
const OWN: u8 = 8;
/// Known to be gone from the store.
const ABSENT: u8 = 16;
/// Condemned.
const EXCLUDED: u8 = 32;
/// No segment mentions it.
const FREE: u8 = 64;
/// Its records may still be in memory only.
const FRESH: u8 = 128;

/// How many packs may wait in the map before they are sorted in: few enough to
/// cost nothing, enough that a rebuild seldom sorts.
const RECENT_PACKS: usize = 1024;

/// All packs, by number.
#[derive(Default)]
pub(super) struct Packs {
    ids: Vec<Id>,
    sizes: Vec<u32>,
    states: Vec<u8>,
    /// Numbers in the order of their ids, alive when they were sorted.
    sorted: Vec<u32>,
    /// Living packs that are not in `sorted`, or not there as living.
    recent: HashMap<Id, u32>,
    /// Numbers nobody mentions, when this process started.
    reusable: Vec<u32>,
    covers: HashMap<Id, Vec<Run>>,
    /// Those marked so.
    fresh: Vec<u32>,
    excluded: HashSet<Id>,
}

/// Consecutive numbers. An index object's packs mostly are: 8 bytes for all of
/// them instead of 4 for each.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Run {
    pub(super) first: u32,
    pub(super) count: u32,
}

/// What a manifest says about one number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Slot {
    /// No segment mentions it.
    Free,
    /// Segments mention it, but its records mean nothing.
    Dead,
    /// Covered by an index object.
    Live(PackInfo),
}

impl Packs {
    /// The number of a living pack.
    pub(super) fn number(&self, id: &Id) -> Option<u32> {
        let by_order = || {
            let order = |number: &u32| self.ids[*number as usize].cmp(id);
            // Several numbers may have had this id; at most one is alive.
            let first = self.sorted.partition_point(|number| order(number).is_lt());
            let same = self.sorted[first..]
                .iter()
                .take_while(|number| order(number).is_eq());
            same.copied().find(|number| self.is_alive(*number))
        };
        self.recent.get(id).copied().or_else(by_order)
    }

    /// A number for a pack that has none. The pack counts as this process's own
    /// until [`Packs::cover`] says otherwise.
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
        // Only living packs are in the order, so a free number is not there yet.
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

    /// Sorts the recent packs in among the others.
    pub(super) fn settle(&mut self) {
        if !self.recent.is_empty() {
            self.recent = HashMap::new();
            self.sort();
        }
    }

    /// Gives back what the arrays have in hand for growing.
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

    /// Says that `object` vouches for the packs with these numbers, unless one of
    /// them has died: then the object's contents are not in.
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

    /// Forgets the index objects that are not in `live`, and with them the packs
    /// that nobody else vouches for. Says whether there were any.
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

    /// Makes every pack dead and every index object unknown.
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

    /// Hands over the packs whose records are about to be written.
    pub(super) fn take_fresh(&mut self) -> Vec<u32> {
        std::mem::take(&mut self.fresh)
    }

    /// The records of these packs are in a segment now.
    pub(super) fn written(&mut self, fresh: &[u32]) {
        fresh
            .iter()
            .for_each(|number| self.states[*number as usize] &= !FRESH);
    }

    /// The records of these packs are still in memory only.
    pub(super) fn not_written(&mut self, fresh: Vec<u32>) {
        self.fresh.extend(fresh);
    }

    /// Hides every pack.
    pub(super) fn presume_absent(&mut self) {
        self.states.iter_mut().for_each(|state| *state |= ABSENT);
    }

    /// Shows a pack again, if this is its size. Says whether it is known.
    pub(super) fn mark_present(&mut self, id: &Id, size_bytes: u64) -> Known {
        let Some(number) = self.number(id) else {
            return Known::No;
        };
        if u64::from(self.sizes[number as usize]) == size_bytes {
            self.states[number as usize] &= !ABSENT;
        }
        Known::Yes
    }

    /// Hides `packs`, those that are only added later included.
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

    /// The pack with this number, unless it is dead or not in the store as it should be.
    pub(super) fn present(&self, number: u32) -> Option<PackInfo> {
        let state = *self.states.get(number as usize)?;
        (state & (ALIVE | ABSENT) == ALIVE).then(|| self.info(number as usize))
    }

    /// The pack with this number, unless it is dead.
    pub(super) fn alive(&self, number: u32) -> Option<PackInfo> {
        let state = *self.states.get(number as usize)?;
        (state & ALIVE != 0).then(|| self.info(number as usize))
    }

    /// Whether an index object vouches for the pack with this number.
    pub(super) fn is_covered(&self, number: u32) -> bool {
        let state = self.states.get(number as usize);
        state.is_some_and(|state| state & COVERED != 0)
    }

    /// The packs that `object` vouches for.
    pub(super) fn covered_by(&self, object: &Id) -> Vec<Id> {
        let runs = self.covers.get(object).into_iter().flatten();
        runs.flat_map(|run| run.first..run.first + run.count)
            .map(|number| self.ids[number as usize])
            .collect()
    }

    /// Notes that a pack is no longer in the store.
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

    /// Which numbers are dead and still mentioned, one flag a number.
    pub(super) fn dead(&self) -> Vec<bool> {
        self.states
            .iter()
            .map(|state| state & (ALIVE | FREE) == 0)
            .collect()
    }

    /// Says that no segment mentions these numbers, which were dead, any more.
    pub(super) fn free(&mut self, dead: &[bool]) {
        for (state, dead) in self.states.iter_mut().zip(dead) {
            *state |= if *dead { FREE } else { 0 };
        }
    }

    /// Whether the records of `object` are in.
    pub(super) fn covers(&self, object: &Id) -> bool {
        self.covers.contains_key(object)
    }

    /// The index objects whose records are in.
    pub(super) fn objects(&self) -> impl Iterator<Item = &Id> {
        self.covers.keys()
    }

    /// Those whose records have all been written, with their packs.
    pub(super) fn written_objects(&self) -> impl Iterator<Item = (&Id, &[Run])> {
        let is_fresh = |run: &Run| {
            let states = &self.states[run.first as usize..(run.first + run.count) as usize];
            states.iter().any(|state| state & FRESH != 0)
        };
        let written = move |runs: &Vec<Run>| !runs.iter().any(is_fresh);
        let objects = self.covers.iter().filter(move |(_, runs)| written(runs));
        objects.map(|(object, runs)| (object, runs.as_slice()))
    }

    /// How many numbers there are.
    pub(super) fn len(&self) -> usize {
        self.ids.len()
    }

    /// What the next process should know of a number. A pack nobody vouches for
    /// yet may never be published, and records in memory are lost with it: to
    /// others it is dead.
    pub(super) fn slot(&self, number: usize) -> Slot {
        match self.states[number] {
            state if state & (ALIVE | COVERED | FRESH) == ALIVE | COVERED => {
                Slot::Live(self.info(number))
            }
            state if state & FREE != 0 => Slot::Free,
            _ => Slot::Dead,
        }
    }

    /// Takes in the next number of a manifest.
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

    /// Takes in an index object of a manifest; `None` if it vouches for packs
    /// that are not alive, which no manifest of ours says.
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

    /// Ends taking in a manifest.
    pub(super) fn restored(&mut self) {
        self.sort();
        self.shrink();
    }

    /// About how much memory this takes.
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

/// Appends to an array that grows by a sixteenth.
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

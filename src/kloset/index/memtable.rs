//! The newest records, in memory until there are enough for a segment.
//!
//! When it is full the table is frozen: it stays visible while it is written,
//! new records go to a fresh one, and it is let go once the segment is visible.
//! So a record is always in the table, the frozen table or a segment, and
//! somebody who looks in that order never misses one.
//!
//! Each record is numbered in order of arrival, which is what makes its ordinal
//! stable while others only look.

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::sync::Arc;

use super::record::{Prefix, Record};

/// Records by order, with their number of arrival. A sorted map finds all copies
/// of a chunk as one range and is written as it stands.
pub(super) type Table = BTreeMap<Record, u32>;

/// What a record takes in a sorted map whose nodes are two thirds full.
const RECORD_MEMORY_BYTES: usize = 64;

/// The table and, while it is being written, the one before it.
#[derive(Default)]
pub(super) struct Memtable {
    active: Table,
    frozen: Option<Arc<Table>>,
}

impl Memtable {
    /// Adds a record; one that is there already is not added again.
    pub(super) fn insert(&mut self, record: Record) {
        let number = self.active.len() as u32;
        self.active.entry(record).or_insert(number);
    }

    /// How many records a segment made now would have.
    pub(super) fn active_records(&self) -> usize {
        self.active.len()
    }

    /// How many records there are.
    pub(super) fn records(&self) -> u64 {
        (self.active.len() + self.frozen_records()) as u64
    }

    fn frozen_records(&self) -> usize {
        self.frozen.as_ref().map_or(0, |frozen| frozen.len())
    }

    /// Shows `take` every record of `prefix` with its number, until it has seen enough.
    pub(super) fn find(
        &self,
        prefix: Prefix,
        take: &mut dyn FnMut(Record, u64) -> ControlFlow<()>,
    ) -> ControlFlow<()> {
        let tables = [
            (self.frozen.as_deref(), 0),
            (Some(&self.active), self.frozen_records()),
        ];
        for (table, base) in tables {
            let from = table
                .into_iter()
                .flat_map(|table| table.range(Record::least(prefix)..));
            for (record, number) in from.take_while(|(record, _)| record.prefix == prefix) {
                take(*record, base as u64 + u64::from(*number))?;
            }
        }
        ControlFlow::Continue(())
    }

    /// Freezes what there is, for writing; `None` if that is nothing. Must not be
    /// called again before [`Memtable::thaw`] or [`Memtable::release`].
    pub(super) fn freeze(&mut self) -> Option<Arc<Table>> {
        if self.active.is_empty() {
            return None;
        }
        let frozen = Arc::new(std::mem::take(&mut self.active));
        self.frozen = Some(Arc::clone(&frozen));
        Some(frozen)
    }

    /// The frozen records are in a segment now.
    pub(super) fn release(&mut self) {
        self.frozen = None;
    }

    /// The frozen records could not be written: they go on living here.
    pub(super) fn thaw(&mut self) {
        let frozen = self
            .frozen
            .take()
            .map(Arc::unwrap_or_clone)
            .unwrap_or_default();
        let newer = std::mem::replace(&mut self.active, frozen);
        newer.into_keys().for_each(|record| self.insert(record));
    }

    /// Lets go of everything.
    pub(super) fn clear(&mut self) {
        self.active.clear();
        self.frozen = None;
    }

    /// About how much memory the records take.
    pub(super) fn memory_bytes(&self) -> usize {
        self.records() as usize * RECORD_MEMORY_BYTES
    }
}

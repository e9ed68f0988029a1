//! The newest records, in memory until there are enough for a segment.
//!
//! When the table is full, it is frozen. It stays visible while it is written, and new records go
//! to a new table. The frozen table is dropped when the segment is visible. So every record is
//! always in the table, in the frozen table or in a segment, and a search in this order never
//! misses one.
//!
//! Records are numbered in order of arrival, which makes their ordinals stable as long as the index
//! is only read.

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::sync::Arc;

use super::record::{Prefix, Record};

/// Sorted records with their number of arrival. In a sorted map, all copies of a chunk are one
/// range, and a segment is written in the order of the map.
pub(super) type Table = BTreeMap<Record, u32>;

/// Memory use per record in a sorted map whose nodes are two thirds full.
const RECORD_MEMORY_BYTES: usize = 64;

/// The active table and, while it is being written, the frozen one.
#[derive(Default)]
pub(super) struct Memtable {
    active: Table,
    frozen: Option<Arc<Table>>,
}

impl Memtable {
    /// Adds a record, unless it exists.
    pub(super) fn insert(&mut self, record: Record) {
        let number = self.active.len() as u32;
        self.active.entry(record).or_insert(number);
    }

    /// Number of records that a segment created now would have.
    pub(super) fn active_records(&self) -> usize {
        self.active.len()
    }

    /// Number of records in both tables.
    pub(super) fn records(&self) -> u64 {
        (self.active.len() + self.frozen_records()) as u64
    }

    fn frozen_records(&self) -> usize {
        self.frozen.as_ref().map_or(0, |frozen| frozen.len())
    }

    /// Calls `take` with every record with this `prefix` and its number, until it breaks.
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

    /// Freezes the active table for writing. Returns `None` if it is empty. Must not be called
    /// again before [`Memtable::thaw`] or [`Memtable::release`].
    pub(super) fn freeze(&mut self) -> Option<Arc<Table>> {
        if self.active.is_empty() {
            return None;
        }
        let frozen = Arc::new(std::mem::take(&mut self.active));
        self.frozen = Some(Arc::clone(&frozen));
        Some(frozen)
    }

    /// Drops the frozen table. Its records must be in a visible segment.
    pub(super) fn release(&mut self) {
        self.frozen = None;
    }

    /// Makes the frozen table active again, because it could not be written.
    pub(super) fn thaw(&mut self) {
        let frozen = self
            .frozen
            .take()
            .map(Arc::unwrap_or_clone)
            .unwrap_or_default();
        let newer = std::mem::replace(&mut self.active, frozen);
        newer.into_keys().for_each(|record| self.insert(record));
    }

    /// Removes all records.
    pub(super) fn clear(&mut self) {
        self.active.clear();
        self.frozen = None;
    }

    /// The approximate memory use of the records, in bytes.
    pub(super) fn memory_bytes(&self) -> usize {
        self.records() as usize * RECORD_MEMORY_BYTES
    }
}

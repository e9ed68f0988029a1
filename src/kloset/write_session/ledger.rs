//! The published packs that no index object lists yet.

use std::time::{Duration, Instant};

use crate::format::pack_table::PackTable;

/// Total size of the packs at which an index object is published.
const LEDGER_BYTES: u64 = 1 << 30;
/// Number of chunks at which an index object is published, regardless of their size: 100,000 chunks
/// need 4 MB of memory.
const LEDGER_CHUNKS: usize = 100_000;
/// Age of the ledger at which an index object is published.
const LEDGER_AGE: Duration = Duration::from_secs(300);

/// The published packs that no index object lists yet, with their totals.
pub(super) struct Ledger {
    pub(super) tables: Vec<PackTable>,
    chunks: usize,
    bytes: u64,
    since: Instant,
}

impl Ledger {
    pub(super) fn new() -> Ledger {
        Ledger {
            tables: Vec::new(),
            chunks: 0,
            bytes: 0,
            since: Instant::now(),
        }
    }

    /// Adds a pack. If an index object is due now, this empties the ledger and returns its
    /// contents.
    pub(super) fn enter(&mut self, table: PackTable) -> Option<Ledger> {
        self.chunks += table.chunk_count();
        self.bytes += table.size_bytes;
        self.tables.push(table);
        self.is_due().then(|| self.take())
    }

    /// Empties the ledger and returns its contents.
    pub(super) fn take(&mut self) -> Ledger {
        std::mem::replace(self, Ledger::new())
    }

    /// Whether an index object is due.
    fn is_due(&self) -> bool {
        self.bytes >= LEDGER_BYTES
            || self.chunks >= LEDGER_CHUNKS
            || self.since.elapsed() >= LEDGER_AGE
    }
}

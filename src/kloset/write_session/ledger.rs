//! Packs that are published, but that no index object tells of.

use std::time::{Duration, Instant};

use crate::format::pack_table::PackTable;

/// Packed bytes after which an index object is published.
const LEDGER_BYTES: u64 = 1 << 30;
/// Chunks after which an index object is published, whatever their size: 100,000 take 4 MB of memory.
const LEDGER_CHUNKS: usize = 100_000;
/// Age at which an index object is published.
const LEDGER_AGE: Duration = Duration::from_secs(300);

/// Packs that are published, but that no index object tells of.
pub(super) struct Ledger {
    pub(super) tables: Vec<PackTable>,
    chunks: usize,
    bytes: u64,
    since: Instant,
}

impl Ledger {
    /// A ledger with nothing in it.
    pub(super) fn new() -> Ledger {
        Ledger {
            tables: Vec::new(),
            chunks: 0,
            bytes: 0,
            since: Instant::now(),
        }
    }

    /// Enters a pack. Returns everything if an index object should be published now.
    pub(super) fn enter(&mut self, table: PackTable) -> Option<Ledger> {
        self.chunks += table.chunk_count();
        self.bytes += table.size_bytes;
        self.tables.push(table);
        self.is_due().then(|| self.take())
    }

    /// Everything, which leaves nothing.
    pub(super) fn take(&mut self) -> Ledger {
        std::mem::replace(self, Ledger::new())
    }

    /// Whether an index object should be published now.
    fn is_due(&self) -> bool {
        self.bytes >= LEDGER_BYTES
            || self.chunks >= LEDGER_CHUNKS
            || self.since.elapsed() >= LEDGER_AGE
    }
}

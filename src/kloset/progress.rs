//! Progress of long operations: counters that can be read at any time, and events.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::error::Error;

/// Totals so far. Workers add to them; the progress line reads them.
#[derive(Debug, Default)]
pub struct Counters {
    /// Number of files seen.
    pub files: AtomicU64,
    /// Number of directories seen.
    pub directories: AtomicU64,
    /// Number of objects of the store that were checked; 0 for operations that do not check
    /// objects.
    pub objects: AtomicU64,
    /// Bytes of file contents that are done: read, or known to be unchanged.
    pub bytes: AtomicU64,
    /// Bytes of file contents that were read from the source.
    pub read_bytes: AtomicU64,
    /// Bytes of file contents that were not in the store before.
    pub new_bytes: AtomicU64,
    /// Sealed bytes written to the store.
    pub stored_bytes: AtomicU64,
    /// Number of items that failed.
    pub errors: AtomicU64,
    /// Expected number of files; 0 if unknown.
    pub expected_files: AtomicU64,
    /// Expected bytes of file contents; 0 if unknown.
    pub expected_bytes: AtomicU64,
}

/// Adds `amount` to one of the [`Counters`].
pub fn add(counter: &AtomicU64, amount: u64) {
    counter.fetch_add(amount, Ordering::Relaxed);
}

/// Reads one of the [`Counters`].
pub fn read(counter: &AtomicU64) -> u64 {
    counter.load(Ordering::Relaxed)
}

/// Something that a user or a script may want to know during an operation.
#[derive(Debug)]
pub enum Event<'a> {
    /// Work on this path starts, or would start in a dry run.
    Path {
        /// Raw bytes of the path from the root of the snapshot.
        path: &'a [u8],
        /// The action, as one word: `new`, `changed`, `unchanged`, `restored`, `identical`.
        action: &'a str,
        /// Size of its contents.
        size_bytes: u64,
    },
    /// This item failed. The operation continues and ends with partial success.
    Failed {
        /// Raw bytes of the path from the root of the snapshot.
        path: &'a [u8],
        /// The cause of the failure.
        error: &'a Error,
    },
    /// A problem that does not make the operation partial.
    Warning(&'a Error),
}

/// Receives progress and events. Called concurrently from several threads.
pub trait Observer: Send + Sync {
    /// The totals that workers add to.
    fn counters(&self) -> &Counters;

    /// Receives `event`, on the thread that reports it.
    fn event(&self, event: &Event<'_>);
}

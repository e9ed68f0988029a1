//! What long work tells whoever watches: counters to read at any time, and events.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::error::Error;

/// Totals so far. Written by workers, read by whoever draws a progress line.
#[derive(Debug, Default)]
pub struct Counters {
    /// Files seen.
    pub files: AtomicU64,
    /// Directories seen.
    pub directories: AtomicU64,
    /// Objects of the store that were checked; 0 for work that does not go object by object.
    pub objects: AtomicU64,
    /// Bytes of contents dealt with, read or known to be unchanged.
    pub bytes: AtomicU64,
    /// Bytes of contents that were read from the source.
    pub read_bytes: AtomicU64,
    /// Bytes of contents that were not in the store before.
    pub new_bytes: AtomicU64,
    /// Bytes that went into the store, sealed.
    pub stored_bytes: AtomicU64,
    /// Items that failed.
    pub errors: AtomicU64,
    /// Files there will be, as far as is known beforehand; 0 if not.
    pub expected_files: AtomicU64,
    /// Bytes there will be, as far as is known beforehand; 0 if not.
    pub expected_bytes: AtomicU64,
}

/// Adds to one of the [`Counters`].
pub fn add(counter: &AtomicU64, amount: u64) {
    counter.fetch_add(amount, Ordering::Relaxed);
}

/// Reads one of the [`Counters`].
pub fn read(counter: &AtomicU64) -> u64 {
    counter.load(Ordering::Relaxed)
}

/// Something a person or a script may want to hear of while work goes on.
#[derive(Debug)]
pub enum Event<'a> {
    /// Work on this path begins, or would begin in a dry run.
    Path {
        /// From the root of the snapshot, raw bytes.
        path: &'a [u8],
        /// What is done with it, one word: `new`, `changed`, `unchanged`, `restored`, `identical`.
        action: &'a str,
        /// Length of its contents.
        size_bytes: u64,
    },
    /// This item failed; the work goes on and ends as partial.
    Failed {
        /// From the root of the snapshot, raw bytes.
        path: &'a [u8],
        /// Why.
        error: &'a Error,
    },
    /// Something to know that does not make the work partial.
    Warning(&'a Error),
}

/// Whoever watches. Called from several threads at once.
pub trait Observer: Send + Sync {
    /// The totals that workers add to.
    fn counters(&self) -> &Counters;

    /// Hears of `event`.
    fn event(&self, event: &Event<'_>);
}

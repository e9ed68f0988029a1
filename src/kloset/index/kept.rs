//! Keeps verified pages of segments in memory.
//!
//! A command that looks up the same chunks as the last one reads the same few hundred pages tens of
//! thousands of times. Keeping them saves a system call and a checksum each time. The number of
//! kept pages is limited for all segments of the process together. The first pages that are read
//! are kept: ids are distributed evenly, so all pages are equally useful, and a large index works
//! without kept pages.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::record::Page;

/// Maximum number of kept pages: 4 MiB, enough for the whole index of 100,000 chunks.
const LIMIT_PAGES: usize = 1024;

/// Number of pages that can still be kept.
static LEFT: AtomicUsize = AtomicUsize::new(LIMIT_PAGES);

/// The kept pages of one segment.
pub(super) struct Kept(Vec<OnceLock<Box<Page>>>);

impl Kept {
    /// Creates an empty set for a segment of `pages` pages.
    pub(super) fn new(pages: usize) -> Kept {
        Kept(
            (0..pages.min(LIMIT_PAGES))
                .map(|_| OnceLock::new())
                .collect(),
        )
    }

    /// The page `number`, if it is kept.
    pub(super) fn get(&self, number: usize) -> Option<&Page> {
        self.0.get(number)?.get().map(|page| &**page)
    }

    /// Keeps a verified page, unless the limit is reached.
    pub(super) fn keep(&self, number: usize, page: &Page) {
        let Some(slot) = self.0.get(number) else {
            return;
        };
        let room = LEFT.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| {
            left.checked_sub(1)
        });
        if room.is_ok() && slot.set(Box::new(*page)).is_err() {
            // Another thread has kept this page meanwhile.
            LEFT.fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// Frees the share of the limit for the pages of other segments.
impl Drop for Kept {
    fn drop(&mut self) {
        let kept = self.0.iter().filter(|slot| slot.get().is_some()).count();
        LEFT.fetch_add(kept, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kloset::index::record::PAGE_BYTES;

    #[test]
    fn what_is_kept_comes_back_and_pages_beyond_the_limit_do_not_matter() {
        let kept = Kept::new(LIMIT_PAGES + 5);
        let page = [7; PAGE_BYTES];
        assert!(kept.get(3).is_none());
        kept.keep(LIMIT_PAGES + 4, &page);
        assert!(kept.get(LIMIT_PAGES + 4).is_none());
        kept.keep(3, &page);
        kept.keep(3, &page);
        // Concurrent tests may have reached the limit.
        assert!(kept.get(3).is_none_or(|kept| *kept == page));
    }
}

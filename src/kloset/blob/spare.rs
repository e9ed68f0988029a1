//! Buffers that are used again.
//!
//! Each block is a large allocation of its own. The C library of a static binary has the system
//! map each anew and clear it, page by page: half again as much processor time for a restore,
//! measured. The usual one keeps such memory itself, and would only peak higher, by 15 MiB, if
//! we did so too.

use std::sync::{Arc, Mutex};

use crate::kloset::pipeline::lock;

/// Buffers that are kept, where it helps.
pub(super) const COUNT: usize = if cfg!(target_env = "musl") { 2 } else { 0 };
/// What is smaller is not worth it.
const LEAST_BYTES: usize = 256 << 10;

/// A few buffers that nobody uses. May be used from several threads.
pub(super) struct Spare {
    kept: Mutex<Vec<Vec<u8>>>,
    count: usize,
}

impl Spare {
    /// Keeps as many as `count`.
    pub(super) fn new(count: usize) -> Spare {
        Spare {
            kept: Mutex::default(),
            count,
        }
    }

    /// A buffer with room for `bytes`, if that is much, and any contents; else an empty one.
    pub(super) fn take(&self, bytes: usize) -> Vec<u8> {
        let mut kept = lock(&self.kept);
        let fitting = |buffer: &Vec<u8>| bytes >= LEAST_BYTES && buffer.capacity() >= bytes;
        let found = kept.iter().position(fitting);
        found.map(|at| kept.swap_remove(at)).unwrap_or_default()
    }

    /// Keeps the buffer, if nobody else has it, and there is room.
    pub(super) fn give(&self, buffer: Arc<Vec<u8>>) {
        let Some(buffer) = Arc::into_inner(buffer) else {
            return;
        };
        let mut kept = lock(&self.kept);
        if buffer.capacity() >= LEAST_BYTES && kept.len() < self.count {
            kept.push(buffer);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_large_and_nobodys_is_used_again() {
        let spare = Spare::new(2);
        let large = Arc::new(vec![7; LEAST_BYTES]);
        let other = large.clone();
        spare.give(large);
        assert_eq!(spare.take(LEAST_BYTES).capacity(), 0);
        spare.give(other);
        assert_eq!(spare.take(LEAST_BYTES - 1).capacity(), 0);
        assert_eq!(spare.take(LEAST_BYTES + 1).capacity(), 0);
        assert_eq!(spare.take(LEAST_BYTES).capacity(), LEAST_BYTES);
        assert_eq!(spare.take(LEAST_BYTES).capacity(), 0);
    }

    #[test]
    fn no_more_are_kept_than_a_few_and_no_small_ones() {
        let spare = Spare::new(3);
        spare.give(Arc::new(vec![7; LEAST_BYTES - 1]));
        assert_eq!(spare.take(LEAST_BYTES).capacity(), 0);
        for _ in 0..5 {
            spare.give(Arc::new(vec![7; LEAST_BYTES]));
        }
        let taken = (0..5).filter(|_| spare.take(LEAST_BYTES).capacity() > 0);
        assert_eq!(taken.count(), 3);
    }
}

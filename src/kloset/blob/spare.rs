//! Buffers that are used again.
//!
//! Each block is a large allocation of its own. The C library of a static binary has the system
//! map each anew and clear it, page by page: half again as much processor time for a restore,
//! measured. The usual one keeps such memory itself, and would only peak higher, by 15 MiB, if
//! we did so too.

use std::sync::Arc;

/// Buffers that are kept, where it helps.
pub(super) const COUNT: usize = if cfg!(target_env = "musl") { 2 } else { 0 };
/// What is smaller is not worth it.
const LEAST_BYTES: usize = 256 << 10;

/// A few buffers that nobody uses.
pub(super) struct Spare {
    kept: Vec<Vec<u8>>,
    count: usize,
}

impl Spare {
    /// Keeps as many as `count`.
    pub(super) fn new(count: usize) -> Spare {
        Spare {
            kept: Vec::new(),
            count,
        }
    }

    /// A buffer with room for `bytes`, if that is much, and any contents; else an empty one.
    pub(super) fn take(&mut self, bytes: usize) -> Vec<u8> {
        let fitting = |buffer: &Vec<u8>| bytes >= LEAST_BYTES && buffer.capacity() >= bytes;
        let found = self.kept.iter().position(fitting);
        found
            .map(|at| self.kept.swap_remove(at))
            .unwrap_or_default()
    }

    /// Keeps the buffer, if nobody else has it, and there is room.
    pub(super) fn give(&mut self, buffer: Arc<Vec<u8>>) {
        let Some(buffer) = Arc::into_inner(buffer) else {
            return;
        };
        if buffer.capacity() >= LEAST_BYTES && self.kept.len() < self.count {
            self.kept.push(buffer);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_large_and_nobodys_is_used_again() {
        let mut spare = Spare::new(2);
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
        let mut spare = Spare::new(3);
        spare.give(Arc::new(vec![7; LEAST_BYTES - 1]));
        assert_eq!(spare.take(LEAST_BYTES).capacity(), 0);
        for _ in 0..5 {
            spare.give(Arc::new(vec![7; LEAST_BYTES]));
        }
        let taken = (0..5).filter(|_| spare.take(LEAST_BYTES).capacity() > 0);
        assert_eq!(taken.count(), 3);
    }
}

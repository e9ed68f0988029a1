//! Reuses large buffers.
//!
//! Each block is a large allocation. With musl, the C library of static binaries, every large
//! allocation is mapped by the system and cleared page by page. This was measured to increase the
//! processor time of a restore by half. glibc caches such memory itself; reusing buffers there
//! would only raise the peak memory use by 15 MiB.

use std::sync::Arc;

/// Number of buffers that are kept; 0 where it does not help.
pub(super) const COUNT: usize = if cfg!(target_env = "musl") { 2 } else { 0 };
/// Minimum size of a buffer that is worth reusing.
const LEAST_BYTES: usize = 256 << 10;

pub(super) struct Spare {
    kept: Vec<Vec<u8>>,
    count: usize,
}

impl Spare {
    /// Creates a pool of up to `count` buffers.
    pub(super) fn new(count: usize) -> Spare {
        Spare {
            kept: Vec::new(),
            count,
        }
    }

    /// Returns a buffer with a capacity of at least `bytes` and arbitrary contents. Returns an
    /// empty buffer if `bytes` is small or no buffer fits.
    pub(super) fn take(&mut self, bytes: usize) -> Vec<u8> {
        let fitting = |buffer: &Vec<u8>| bytes >= LEAST_BYTES && buffer.capacity() >= bytes;
        let found = self.kept.iter().position(fitting);
        found
            .map(|at| self.kept.swap_remove(at))
            .unwrap_or_default()
    }

    /// Keeps the buffer if no other reference to it exists and the pool is not full.
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

//! Buffers that are used again.
//!
//! Each block and each window is a large allocation of its own. The C library of a static
//! binary has the system map each anew and clear it, page by page: half again as much
//! processor time for a restore, measured.

use std::sync::{Arc, Mutex};

use crate::kloset::pipeline::lock;

/// What is smaller is not worth it.
const LEAST_BYTES: usize = 256 << 10;
/// Buffers that are kept.
const COUNT: usize = 4;

/// A few buffers that nobody uses. May be used from several threads.
#[derive(Default)]
pub(super) struct Spare(Mutex<Vec<Vec<u8>>>);

impl Spare {
    /// A buffer for `bytes` of something, with any contents.
    pub(super) fn take(&self, bytes: usize) -> Vec<u8> {
        let spare = (bytes >= LEAST_BYTES).then(|| lock(&self.0).pop());
        spare.flatten().unwrap_or_default()
    }

    /// Keeps the buffer, if nobody else has it, and there is room.
    pub(super) fn give(&self, buffer: Arc<Vec<u8>>) {
        let Some(buffer) = Arc::into_inner(buffer) else {
            return;
        };
        let mut kept = lock(&self.0);
        if buffer.capacity() >= LEAST_BYTES && kept.len() < COUNT {
            kept.push(buffer);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_large_and_nobodys_is_used_again() {
        let spare = Spare::default();
        let large = Arc::new(vec![7; LEAST_BYTES]);
        let other = large.clone();
        spare.give(large);
        assert_eq!(spare.take(LEAST_BYTES).capacity(), 0);
        spare.give(other);
        assert_eq!(spare.take(LEAST_BYTES - 1).capacity(), 0);
        assert_eq!(spare.take(LEAST_BYTES).capacity(), LEAST_BYTES);
        assert_eq!(spare.take(LEAST_BYTES).capacity(), 0);
    }

    #[test]
    fn no_more_are_kept_than_a_few_and_no_small_ones() {
        let spare = Spare::default();
        spare.give(Arc::new(vec![7; LEAST_BYTES - 1]));
        assert_eq!(spare.take(LEAST_BYTES).capacity(), 0);
        for _ in 0..COUNT + 3 {
            spare.give(Arc::new(vec![7; LEAST_BYTES]));
        }
        let taken = (0..COUNT + 3).filter(|_| spare.take(LEAST_BYTES).capacity() > 0);
        assert_eq!(taken.count(), COUNT);
    }
}

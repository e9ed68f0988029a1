//! The memory budget for bodies in transit, shared by all connections.
//!
//! A large buffer transfers bytes at the speed of the disk, a small one at a considerable part of
//! it. Each piece of a body gets a large buffer while the budget allows, and a small one otherwise.
//! Therefore no connection waits for memory that a slow client occupies, and none is refused for
//! lack of it. The total is bounded by the budget plus one small buffer per connection.

use std::ops::{Deref, DerefMut};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// The size of a large buffer. A larger one is not faster.
pub(super) const LARGE_BYTES: usize = 128 << 10;
/// The size of a small buffer: copying it takes about as long as the system call.
pub(super) const SMALL_BYTES: usize = 8 << 10;
/// The maximum number of large buffers kept for reuse.
const SPARE: usize = 16;

/// The budget and its current use.
pub(super) struct Budget {
    limit_bytes: u64,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    used_bytes: u64,
    spare: Vec<Vec<u8>>,
}

impl Budget {
    pub(super) fn new(limit_bytes: u64) -> Budget {
        Budget {
            limit_bytes,
            state: Mutex::default(),
        }
    }

    /// Returns a buffer, a large one if the budget allows.
    pub(super) fn buffer(&self) -> Buffer<'_> {
        let bytes = match self.take(LARGE_BYTES as u64) {
            false => vec![0; SMALL_BYTES],
            true => self
                .lock()
                .spare
                .pop()
                .unwrap_or_else(|| vec![0; LARGE_BYTES]),
        };
        Buffer {
            budget: self,
            bytes,
        }
    }

    /// Reserves up to `wanted` bytes. If the budget does not allow this, halves the amount
    /// repeatedly, down to `least`, which is always granted.
    pub(super) fn room(self: &Arc<Budget>, wanted: u64, least: u64) -> Room {
        let mut bytes = wanted;
        while bytes > least && !self.take(bytes) {
            bytes /= 2;
        }
        let is_counted = bytes > least;
        Room {
            budget: self.clone(),
            bytes: bytes.max(least.min(wanted)),
            is_counted,
        }
    }

    /// Reserves `bytes` if the budget allows.
    fn take(&self, bytes: u64) -> bool {
        let mut state = self.lock();
        let used = state.used_bytes.saturating_add(bytes);
        let is_room = used <= self.limit_bytes;
        if is_room {
            state.used_bytes = used;
        }
        is_room
    }

    /// A poisoned lock is usable: the state is consistent between any two statements.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A buffer, returned when it is dropped. Its initial contents are left over from earlier use.
pub(super) struct Buffer<'a> {
    budget: &'a Budget,
    bytes: Vec<u8>,
}

impl Deref for Buffer<'_> {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.bytes
    }
}

impl DerefMut for Buffer<'_> {
    fn deref_mut(&mut self) -> &mut [u8] {
        &mut self.bytes
    }
}

impl Drop for Buffer<'_> {
    fn drop(&mut self) {
        if self.bytes.len() < LARGE_BYTES {
            return;
        }
        let mut state = self.budget.lock();
        state.used_bytes = state.used_bytes.saturating_sub(LARGE_BYTES as u64);
        if state.spare.len() < SPARE {
            state.spare.push(std::mem::take(&mut self.bytes));
        }
    }
}

/// A reservation of memory that is not a buffer, released when it is dropped.
pub(super) struct Room {
    budget: Arc<Budget>,
    pub(super) bytes: u64,
    is_counted: bool,
}

impl Drop for Room {
    fn drop(&mut self) {
        if self.is_counted {
            let mut state = self.budget.lock();
            state.used_bytes = state.used_bytes.saturating_sub(self.bytes);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_is_always_a_buffer_and_never_too_many_large_ones() {
        let budget = Arc::new(Budget::new(2 * LARGE_BYTES as u64));
        let first = budget.buffer();
        let second = budget.buffer();
        assert_eq!((first.len(), second.len()), (LARGE_BYTES, LARGE_BYTES));
        assert_eq!(budget.buffer().len(), SMALL_BYTES);
        drop(first);
        assert_eq!(budget.buffer().len(), LARGE_BYTES);
        assert_eq!(budget.room(1 << 30, 1000).bytes, LARGE_BYTES as u64);
        drop(second);
        let room = budget.room(2 * LARGE_BYTES as u64, 1000);
        assert_eq!(room.bytes, 2 * LARGE_BYTES as u64);
        assert_eq!(budget.room(1 << 30, 1000).bytes, 1000);
        assert_eq!(budget.buffer().len(), SMALL_BYTES);
        drop(room);
        assert_eq!(budget.lock().used_bytes, 0);
    }
}

//! The memory that bodies may take on their way, all of them together.
//!
//! A large buffer moves bytes at the speed of the disk, a small one at a good part of it.
//! Each piece of a body is given a large one while there is room and a small one otherwise,
//! so nobody waits for memory that a slow client holds, and nobody is turned away for want of
//! it. What can be taken is the limit and a small buffer for each connection.

use std::ops::{Deref, DerefMut};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// A large buffer: more is no faster.
pub(super) const LARGE_BYTES: usize = 128 << 10;
/// A small buffer: one system call moves this much in about the time that the call takes.
pub(super) const SMALL_BYTES: usize = 8 << 10;
/// So many large buffers are kept for what comes next.
const SPARE: usize = 16;

/// What is left.
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

    /// A buffer, large if there is room.
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

    /// Room for up to `wanted` bytes, by halves down to `least`, which there always is.
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

    /// Takes `bytes` if there is room.
    fn take(&self, bytes: u64) -> bool {
        let mut state = self.lock();
        let used = state.used_bytes.saturating_add(bytes);
        let is_room = used <= self.limit_bytes;
        if is_room {
            state.used_bytes = used;
        }
        is_room
    }

    /// Every statement leaves it whole, so a thread that ended while holding it does no harm.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A buffer, given back when dropped. What is in it is left from before.
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

/// Room for something that is no buffer, given back when dropped.
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

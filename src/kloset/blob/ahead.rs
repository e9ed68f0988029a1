//! Reads sealed bytes ahead, from a store where each read costs a round trip.
//!
//! Neighbors in a tree are adjacent in packs, so reads of a pack are mostly sequential. The read
//! ahead works like that of an operating system for files:
//!
//! 1. The first read of a pack fetches only the requested bytes, because there may be no other.
//! 2. A read that starts where the last one ended fetches twice as much as the last one, up to
//!    [`WINDOW_BYTES`], so that one response contains several blocks.
//! 3. While the caller uses these bytes, background threads fetch the next windows: as many as
//!    there are threads. Even a caller that reads sequentially hardly waits.
//!
//! Fetched bytes are kept in memory in *windows*. All windows together use at most [`LIMIT_BYTES`],
//! plus the windows that readers are currently fetching themselves. Windows that were read to their
//! end are evicted first. A window that cannot be read does not mean that the requested part of it
//! is unreadable. Therefore the requested part is then read alone, and the error of that read is
//! returned.
//!
//! This module does not interpret the bytes.

use std::collections::HashMap;
use std::ops::Range;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError};
use std::thread;

use crate::error::Result;
use crate::kloset::pipeline::lock;
use crate::store::{Area, Store};
use crate::util::Id;

/// Maximum size of a window: a few blocks. With 20 ms per round trip, this is 50 MB/s for each
/// window in flight. With windows twice as large, a restore used up to 100 MiB of memory.
const WINDOW_BYTES: u64 = 1 << 20;
/// Maximum total size of the windows. It is enough for two or three packs that are read
/// alternately, which is how the threads of a backup wrote them.
const LIMIT_BYTES: u64 = 8 << 20;
/// Maximum number of packs with a recorded read position. When it is exceeded, all positions are
/// forgotten.
const RUNS: usize = 256;
/// Maximum number of windows that are fetched ahead concurrently; each needs one thread.
const FETCHERS: usize = 3;

/// Reads packs of one store. Can be used from several threads.
pub(super) struct Ahead {
    shared: Arc<Shared>,
    /// Sends work to the fetcher threads. They start with the first request, and end when this is
    /// dropped.
    fetchers: OnceLock<SyncSender<Wanted>>,
}

/// The state that readers and fetchers share.
struct Shared {
    store: Arc<dyn Store>,
    state: Mutex<State>,
    /// Signaled when a window was filled or given up.
    moved: Condvar,
    /// Number of fetchers that are working.
    busy: AtomicUsize,
}

/// The part of a pack that a new window will hold.
#[derive(Clone)]
struct Wanted {
    pack: Id,
    range: Range<u64>,
}

#[derive(Default)]
struct State {
    /// Searched linearly, because there are only a few. Windows of the same pack never overlap.
    windows: Vec<Window>,
    runs: HashMap<Id, Run>,
    clock: u64,
}

struct Window {
    pack: Id,
    range: Range<u64>,
    /// `None` while the bytes are being fetched.
    bytes: Option<Arc<Vec<u8>>>,
    /// Time of the last use, in ticks of `clock`; 0 once its last byte was used.
    used: u64,
}

/// The read position in a pack.
#[derive(Clone, Copy)]
struct Run {
    /// End of the last window.
    end: u64,
    /// Size of the last window.
    bytes: u64,
    /// Whether the last window started where the one before ended.
    goes_on: bool,
}

impl Ahead {
    pub(super) fn new(store: Arc<dyn Store>) -> Ahead {
        Ahead {
            shared: Arc::new(Shared {
                store,
                state: Mutex::default(),
                moved: Condvar::new(),
                busy: AtomicUsize::new(0),
            }),
            fetchers: OnceLock::new(),
        }
    }

    /// Reads like [`Store::read_at`] from a pack. `end` is the size of the pack, if known.
    pub(super) fn read(
        &self,
        pack: Id,
        end: Option<u64>,
        offset: u64,
        buffer: &mut [u8],
    ) -> Result<()> {
        let last = offset + buffer.len() as u64;
        let end = end.unwrap_or(last).max(last);
        let mut at = offset;
        while at < last {
            let (bytes, start) = self.shared.window(pack, at..last, end)?;
            let from = &bytes[(at - start) as usize..];
            let to = &mut buffer[(at - offset) as usize..];
            let count = from.len().min(to.len());
            to[..count].copy_from_slice(&from[..count]);
            at += count as u64;
        }
        while let Some(wanted) = self.shared.next(pack, last, end) {
            if !self.fetch(wanted) {
                break;
            }
        }
        Ok(())
    }

    /// Has a planned window fetched by a background thread, if one is idle. Otherwise the window is
    /// given up, because the reader that needs it can fetch it faster than it would be fetched from
    /// a queue.
    fn fetch(&self, wanted: Wanted) -> bool {
        let fetchers = self.fetchers.get_or_init(|| {
            let (sender, receiver) = sync_channel(FETCHERS);
            let receiver = Arc::new(Mutex::new(receiver));
            for _ in 0..FETCHERS {
                let (shared, receiver) = (self.shared.clone(), receiver.clone());
                // If no thread can be started, readers fetch the windows themselves.
                let _ = thread::Builder::new().spawn(move || fetcher(&shared, &receiver));
            }
            sender
        });
        let is_free = self.shared.busy.fetch_add(1, Ordering::AcqRel) < FETCHERS;
        let sent = is_free && fetchers.try_send(wanted.clone()).is_ok();
        if !sent {
            self.shared.busy.fetch_sub(1, Ordering::AcqRel);
            self.shared.give_up(&wanted);
        }
        sent
    }
}

/// Fetches windows until the sender is dropped.
fn fetcher(shared: &Shared, wanted: &Mutex<Receiver<Wanted>>) {
    loop {
        let next = lock(wanted).recv();
        let Ok(wanted) = next else { return };
        // The reader that needs the window gets the same error and returns it.
        let _ = shared.fill(&wanted);
        shared.busy.fetch_sub(1, Ordering::AcqRel);
    }
}

impl Shared {
    /// Returns the bytes of a window, and its offset in the pack. The window contains the first
    /// byte of `needed`. It is an existing window or a new one; a new one ends at `end` at the
    /// latest.
    fn window(&self, pack: Id, needed: Range<u64>, end: u64) -> Result<(Arc<Vec<u8>>, u64)> {
        let mut state = lock(&self.state);
        while let Some(at) = state.find(pack, needed.start) {
            let clock = state.tick();
            let window = &mut state.windows[at];
            if let Some(bytes) = window.bytes.clone() {
                let is_used_up = needed.end >= window.range.end;
                window.used = if is_used_up { 0 } else { clock };
                return Ok((bytes, window.range.start));
            }
            state = self.wait(state);
        }
        let range = state.plan(pack, &needed, end);
        drop(state);
        let start = range.start;
        let wanted = Wanted { pack, range };
        let filled = match self.fill(&wanted) {
            Err(error) if error.is_of_one_object() && wanted.range.end > needed.end => {
                let mut bytes = vec![0; (needed.end - start) as usize];
                let read = self.store.read_at(Area::Packs, pack, start, &mut bytes);
                read.map(|()| Arc::new(bytes))
            }
            filled => filled,
        };
        filled.map(|bytes| (bytes, start))
    }

    /// Plans the next window to fetch while the caller uses the bytes before `at`.
    fn next(&self, pack: Id, at: u64, end: u64) -> Option<Wanted> {
        let mut state = lock(&self.state);
        let run = *state.runs.get(&pack)?;
        let ahead = run.bytes * FETCHERS as u64;
        let is_due = run.goes_on && run.end < end && run.end < at + ahead;
        if !is_due || state.find(pack, run.end).is_some() || !state.make_room() {
            return None;
        }
        let range = state.plan(pack, &(run.end..run.end + 1), end);
        Some(Wanted { pack, range })
    }

    /// Reads the planned bytes into their window. Removes the window if that fails.
    fn fill(&self, wanted: &Wanted) -> Result<Arc<Vec<u8>>> {
        let unless_filled = Unfilled(self, wanted);
        let mut bytes = vec![0; (wanted.range.end - wanted.range.start) as usize];
        self.store
            .read_at(Area::Packs, wanted.pack, wanted.range.start, &mut bytes)?;
        std::mem::forget(unless_filled);
        let bytes = Arc::new(bytes);
        let mut state = lock(&self.state);
        state.make_room();
        let used = state.tick();
        if let Some(at) = state.find(wanted.pack, wanted.range.start) {
            let window = &mut state.windows[at];
            (window.bytes, window.used) = (Some(bytes.clone()), used);
        }
        self.moved.notify_all();
        Ok(bytes)
    }

    /// Removes a window that is not going to be filled, and sets the read position back to its
    /// start.
    fn give_up(&self, wanted: &Wanted) {
        let mut state = lock(&self.state);
        if let Some(at) = state.find(wanted.pack, wanted.range.start) {
            state.windows.swap_remove(at);
        }
        let Range { start, end } = wanted.range;
        if let Some(run) = state.runs.get_mut(&wanted.pack)
            && run.end == end
        {
            (run.end, run.bytes) = (start, end - start);
        }
        self.moved.notify_all();
    }

    fn wait<'a>(&self, state: MutexGuard<'a, State>) -> MutexGuard<'a, State> {
        let waited = self.moved.wait(state);
        waited.unwrap_or_else(PoisonError::into_inner)
    }
}

/// Removes a window that is being filled if that fails for any reason, so that threads waiting for
/// it continue.
struct Unfilled<'a>(&'a Shared, &'a Wanted);

impl Drop for Unfilled<'_> {
    fn drop(&mut self) {
        self.0.give_up(self.1);
    }
}

impl State {
    /// The window of `pack` that contains the byte at `at`.
    fn find(&self, pack: Id, at: u64) -> Option<usize> {
        self.windows
            .iter()
            .position(|window| window.pack == pack && window.range.contains(&at))
    }

    /// Adds an empty window that starts at the start of `needed`, and returns its range.
    fn plan(&mut self, pack: Id, needed: &Range<u64>, end: u64) -> Range<u64> {
        let needed_bytes = needed.end - needed.start;
        let last = self.runs.get(&pack).copied();
        let goes_on = last.is_some_and(|last| last.end == needed.start);
        let bytes = match last.filter(|_| goes_on) {
            Some(last) => (2 * last.bytes).min(WINDOW_BYTES).max(needed_bytes),
            None => needed_bytes,
        };
        let others = self.windows.iter().filter(|window| window.pack == pack);
        let starts = others.map(|window| window.range.start);
        let next = starts.filter(|start| *start > needed.start).min();
        let range = needed.start..(needed.start + bytes).min(end).min(next.unwrap_or(end));
        if self.runs.len() >= RUNS {
            self.runs.clear();
        }
        let run = Run {
            end: range.end,
            bytes: range.end - range.start,
            goes_on,
        };
        self.runs.insert(pack, run);
        let used = self.tick();
        self.windows.push(Window {
            pack,
            range: range.clone(),
            bytes: None,
            used,
        });
        range
    }

    /// Evicts windows until there is space for another one, least recently used first. Returns
    /// false if too many windows are still being fetched.
    fn make_room(&mut self) -> bool {
        while self.bytes() + WINDOW_BYTES > LIMIT_BYTES {
            let idle = self.windows.iter().enumerate();
            let idle = idle.filter(|(_, window)| window.bytes.is_some());
            let Some((oldest, _)) = idle.min_by_key(|(_, window)| window.used) else {
                return false;
            };
            self.windows.swap_remove(oldest);
        }
        true
    }

    /// Total size of all windows.
    fn bytes(&self) -> u64 {
        let lengths = self.windows.iter();
        lengths
            .map(|window| window.range.end - window.range.start)
            .sum()
    }

    fn tick(&mut self) -> u64 {
        self.clock += 1;
        self.clock
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::fault::{Call, FaultStore};
    use crate::store::memory::MemoryStore;

    const BLOCK: usize = 100 << 10;

    /// A store with one pack of `blocks` blocks, with the name and the bytes of the pack.
    fn stored(blocks: usize) -> (Arc<FaultStore>, Id, Vec<u8>) {
        let mut bytes = vec![0; blocks * BLOCK];
        blake3::Hasher::new().finalize_xof().fill(&mut bytes);
        let store = MemoryStore::new();
        store.prepare().unwrap();
        let id = Id::of(&bytes);
        store.put(Area::Packs, id, &bytes).unwrap();
        let store: Arc<dyn Store> = Arc::new(store);
        (Arc::new(FaultStore::counting(&store)), id, bytes)
    }

    fn block(ahead: &Ahead, pack: Id, end: u64, number: usize) -> Result<Vec<u8>> {
        let mut buffer = vec![0; BLOCK];
        ahead.read(pack, Some(end), (number * BLOCK) as u64, &mut buffer)?;
        Ok(buffer)
    }

    #[test]
    fn blocks_in_a_row_come_in_few_reads_and_unharmed() {
        let (store, id, bytes) = stored(160);
        let ahead = Ahead::new(store.clone());
        for (number, expected) in bytes.chunks(BLOCK).enumerate() {
            let read = block(&ahead, id, bytes.len() as u64, number).unwrap();
            assert!(read == expected, "block {number}");
        }
        let reads = store.calls(Call::ReadAt);
        assert!(reads <= 24, "{reads} reads of 16 MB");
    }

    #[test]
    fn blocks_here_and_there_are_read_alone() {
        let (store, id, bytes) = stored(40);
        let ahead = Ahead::new(store.clone());
        for number in [30, 10, 20, 0, 39] {
            let read = block(&ahead, id, bytes.len() as u64, number).unwrap();
            assert!(read == bytes[number * BLOCK..][..BLOCK]);
        }
        let state = lock(&ahead.shared.state);
        assert_eq!(
            (store.calls(Call::ReadAt), state.bytes()),
            (5, 5 * BLOCK as u64)
        );
    }

    #[test]
    fn several_threads_and_packs_get_what_they_ask_for_in_bounded_memory() {
        let (store, id, bytes) = stored(200);
        let ahead = Ahead::new(store);
        thread::scope(|scope| {
            for thread in 0..4 {
                let (ahead, bytes) = (&ahead, &bytes);
                scope.spawn(move || {
                    for number in (thread..200).step_by(4) {
                        let read = block(ahead, id, bytes.len() as u64, number).unwrap();
                        assert!(read == bytes[number * BLOCK..][..BLOCK]);
                        let state = lock(&ahead.shared.state);
                        assert!(state.bytes() <= LIMIT_BYTES + 4 * WINDOW_BYTES);
                    }
                });
            }
        });
    }

    #[test]
    fn a_pack_that_ends_early_loses_only_what_is_missing() {
        let (store, id, bytes) = stored(4);
        let ahead = Ahead::new(store);
        for number in 0..4 {
            // The index claims that the pack is twice as long as it is.
            let read = block(&ahead, id, 2 * bytes.len() as u64, number).unwrap();
            assert!(read == bytes[number * BLOCK..][..BLOCK]);
        }
        for _ in 0..2 {
            assert!(block(&ahead, id, 2 * bytes.len() as u64, 4).is_err());
        }
        assert!(block(&ahead, Id([1; 32]), 1 << 20, 0).is_err());
    }
}

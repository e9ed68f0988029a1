//! A cache of decoded blocks, evicted least recently used first.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use super::spare::{self, Spare};
use crate::kloset::index::Place;
use crate::util::Id;

/// Maximum number of blocks, regardless of their size. It is limited because eviction searches all
/// of them linearly.
const SLOTS: usize = 512;

/// A decoded block, shared by its readers.
pub(super) type Block = Arc<Vec<u8>>;
/// The pack of a block, and the offset of the block in the pack.
type BlockKey = (Id, u32);

/// Decoded blocks by place, with the time of their last use.
pub(super) struct Decoded {
    slots: HashMap<BlockKey, Slot>,
    clock: u64,
    bytes: usize,
    limit_bytes: usize,
    spare: Spare,
}

/// One block. It is `None` while a thread, which holds the lock, decodes it.
struct Slot {
    block: Arc<Mutex<Option<Block>>>,
    used: u64,
    bytes: usize,
}

impl Decoded {
    /// Creates a cache for up to `limit_bytes` of blocks.
    pub(super) fn new(limit_bytes: usize) -> Decoded {
        Decoded {
            slots: HashMap::new(),
            clock: 0,
            bytes: 0,
            limit_bytes,
            spare: Spare::new(spare::COUNT),
        }
    }

    /// Returns a buffer for `bytes` or more, reused from an evicted block if possible.
    pub(super) fn buffer(&mut self, bytes: usize) -> Vec<u8> {
        self.spare.take(bytes)
    }

    /// Returns the slot for the block at `place`. A new slot is empty.
    pub(super) fn slot(&mut self, place: &Place) -> Arc<Mutex<Option<Block>>> {
        self.clock += 1;
        let used = self.clock;
        let slot = self.slots.entry(key(place)).or_insert_with(|| Slot {
            block: Arc::default(),
            used,
            bytes: 0,
        });
        slot.used = used;
        slot.block.clone()
    }

    /// Records that the slot for `place` now holds `bytes`, and evicts the least recently used
    /// blocks until the limits are met.
    pub(super) fn filled(&mut self, place: &Place, bytes: usize) {
        if let Some(slot) = self.slots.get_mut(&key(place)) {
            self.bytes += bytes - slot.bytes;
            slot.bytes = bytes;
        }
        while self.bytes > self.limit_bytes || self.slots.len() > SLOTS {
            let idle = |(_, slot): &(&BlockKey, &Slot)| slot.bytes > 0;
            let oldest = self
                .slots
                .iter()
                .filter(idle)
                .min_by_key(|(_, slot)| slot.used)
                .map(|(key, _)| *key);
            let Some(slot) = oldest.and_then(|oldest| self.slots.remove(&oldest)) else {
                return;
            };
            self.bytes -= slot.bytes;
            // A block that another thread still uses is freed when that thread drops it.
            let block = Arc::into_inner(slot.block).and_then(|block| block.into_inner().ok());
            if let Some(block) = block.flatten() {
                self.spare.give(block);
            }
        }
    }

    /// Removes the block at `place`, or the slot of a block that could not be decoded.
    pub(super) fn forget(&mut self, place: &Place) {
        if let Some(slot) = self.slots.remove(&key(place)) {
            self.bytes -= slot.bytes;
        }
    }
}

fn key(place: &Place) -> BlockKey {
    (place.pack, place.block_offset)
}

/// The bytes of the chunk at `place`, as a slice of its block.
pub(super) fn slice<'a>(block: &'a Block, place: &Place) -> &'a [u8] {
    &block[place.start as usize..][..place.length as usize]
}

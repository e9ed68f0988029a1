//! Decoded blocks that are kept, those that were used last.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use super::spare::{self, Spare};
use crate::kloset::index::Place;
use crate::util::Id;

/// Blocks kept at most, however small they are: the one to drop is searched for in line.
const SLOTS: usize = 512;

/// A decoded block, shared by those who read from it.
pub(super) type Block = Arc<Vec<u8>>;
/// Where a block is: its pack and its offset in it.
type BlockKey = (Id, u32);

/// Decoded blocks, by place, and in the order in which they were last used.
pub(super) struct Decoded {
    slots: HashMap<BlockKey, Slot>,
    clock: u64,
    bytes: usize,
    limit_bytes: usize,
    spare: Spare,
}

/// One block: empty while somebody, who holds its lock, decodes it.
struct Slot {
    block: Arc<Mutex<Option<Block>>>,
    used: u64,
    bytes: usize,
}

impl Decoded {
    /// Room for `limit_bytes` of blocks.
    pub(super) fn new(limit_bytes: usize) -> Decoded {
        Decoded {
            slots: HashMap::new(),
            clock: 0,
            bytes: 0,
            limit_bytes,
            spare: Spare::new(spare::COUNT),
        }
    }

    /// A buffer to decode `bytes` or more into, perhaps that of a block that was dropped.
    pub(super) fn buffer(&mut self, bytes: usize) -> Vec<u8> {
        self.spare.take(bytes)
    }

    /// The slot for the block at `place`, empty if it is new.
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

    /// Notes that the slot for `place` now holds `bytes`, and drops what was used longest ago.
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
            // What somebody is still at is freed when they are done.
            let block = Arc::into_inner(slot.block).and_then(|block| block.into_inner().ok());
            if let Some(block) = block.flatten() {
                self.spare.give(block);
            }
        }
    }

    /// Drops the block at `place`, or the slot of one that could not be decoded.
    pub(super) fn forget(&mut self, place: &Place) {
        if let Some(slot) = self.slots.remove(&key(place)) {
            self.bytes -= slot.bytes;
        }
    }
}

fn key(place: &Place) -> BlockKey {
    (place.pack, place.block_offset)
}

/// The bytes of the chunk at `place` in its block.
pub(super) fn slice<'a>(block: &'a Block, place: &Place) -> &'a [u8] {
    &block[place.start as usize..][..place.length as usize]
}

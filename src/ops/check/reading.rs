//! Reads a pack from its beginning to the end of its blocks.
//!
//! From a remote store, many blocks are read at a time, because each read costs a round trip.

use crate::error::Result;
use crate::format::pack_table::PackTable;
use crate::store::{Area, Distance, Store};
use crate::util::Id;

/// Bytes read at a time from a remote store.
const STRETCH_BYTES: u64 = 1 << 20;

/// Reads one pack sequentially.
pub(super) struct Reading<'a> {
    store: &'a dyn Store,
    pack: Id,
    /// The end of the last block.
    end: u64,
    /// The current offset.
    at: u64,
    distance: Distance,
    /// Bytes that were read ahead, beginning at `at`.
    ahead: Vec<u8>,
}

impl<'a> Reading<'a> {
    /// A reading of the pack with the table `table`, at its beginning.
    pub(super) fn new(store: &'a dyn Store, table: &PackTable) -> Reading<'a> {
        let ends = table.offsets();
        let ends = ends.map(|(offset, block)| offset + u64::from(block.sealed_bytes));
        Reading {
            store,
            pack: table.pack,
            end: ends.last().unwrap_or_default(),
            at: 0,
            distance: store.manner().distance,
            ahead: Vec::new(),
        }
    }

    /// Replaces the contents of `bytes` with the next `length` bytes of the pack.
    pub(super) fn next(&mut self, length: u32, bytes: &mut Vec<u8>) -> Result<()> {
        let count = length as usize;
        if self.distance == Distance::Remote && self.ahead.len() < count {
            self.read_stretch(u64::from(length));
        }
        bytes.clear();
        if self.ahead.len() < count {
            bytes.resize(count, 0);
            self.store.read_at(Area::Packs, self.pack, self.at, bytes)?;
            self.ahead.clear();
        } else {
            bytes.extend_from_slice(&self.ahead[..count]);
            self.ahead.drain(..count);
        }
        self.at += u64::from(length);
        Ok(())
    }

    /// Reads ahead, so that at least `length` bytes are available. If this fails, only the requested
    /// bytes are read alone, so that damage after them does not affect them.
    fn read_stretch(&mut self, length: u64) {
        let have = self.ahead.len();
        let from = self.at + have as u64;
        let until = (self.at + length.max(STRETCH_BYTES))
            .min(self.end)
            .max(from);
        self.ahead.resize(have + (until - from) as usize, 0);
        let read = self
            .store
            .read_at(Area::Packs, self.pack, from, &mut self.ahead[have..]);
        if read.is_err() {
            self.ahead.truncate(have);
        }
    }
}

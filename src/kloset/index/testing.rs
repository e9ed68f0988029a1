//! Common helpers of the tests of the index.

use super::Place;
use crate::format::pack_table::{BlockTable, ChunkEntry, PACK_HEADER_BYTES, PackKind, PackTable};
use crate::util::Id;

/// SplitMix64, which returns the same numbers in every run.
pub(super) struct Random(pub(super) u64);

impl Random {
    pub(super) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ self.0 >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ mixed >> 31
    }

    pub(super) fn below(&mut self, limit: u64) -> u64 {
        self.next() % limit
    }
}

/// A pseudorandom id for this number.
pub(super) fn id(number: u64) -> Id {
    let mut random = Random(number.wrapping_mul(0x5851_f42d_4c95_7f2d));
    let mut bytes = [0; 32];
    bytes
        .chunks_exact_mut(8)
        .for_each(|word| word.copy_from_slice(&random.next().to_le_bytes()));
    Id(bytes)
}

/// A pack of the chunks with these numbers, four per block.
pub(super) fn pack(name: u64, chunks: &[u64]) -> PackTable {
    let entry = |chunk: &u64| ChunkEntry {
        id: id(*chunk),
        length: (chunk % 1000) as u32,
    };
    let block = |(at, chunks): (usize, &[u64])| BlockTable {
        sealed_bytes: 100 + (at as u32 + name as u32) % 50,
        chunks: chunks.iter().map(entry).collect(),
    };
    let blocks = chunks.chunks(4).enumerate().map(block).collect();
    let kind = if name.is_multiple_of(5) {
        PackKind::Tree
    } else {
        PackKind::Data
    };
    PackTable {
        pack: id(!name),
        size_bytes: 1 << 24,
        kind,
        blocks,
    }
}

/// The location of each chunk of a pack, computed in a different way than the index does.
pub(super) fn places(table: &PackTable) -> Vec<(Id, Place)> {
    let mut places = Vec::new();
    for (at, block) in table.blocks.iter().enumerate() {
        let before: u32 = table.blocks[..at]
            .iter()
            .map(|block| block.sealed_bytes)
            .sum();
        for (nth, chunk) in block.chunks.iter().enumerate() {
            let place = Place {
                pack: table.pack,
                block_offset: PACK_HEADER_BYTES + before,
                sealed_bytes: block.sealed_bytes,
                start: block.chunks[..nth].iter().map(|chunk| chunk.length).sum(),
                length: chunk.length,
            };
            places.push((chunk.id, place));
        }
    }
    places
}

//! A record: the location of one copy of a chunk. A page: the unit in which records are read.
//!
//! ```text
//! record, 36 bytes                      page, 4096 bytes
//!  0  prefix        16                     0  113 records       4068
//! 16  pack number   u32                 4068  zeros               20
//! 20  block offset  u32                 4088  checksum          u64
//! 24  sealed bytes  u32
//! 28  start         u32                 Integers are little-endian. Records are
//! 32  length        u32                 sorted, first by prefix, byte by byte.
//! ```
//!
//! **Why 16 bytes of the id are enough.** An id is a BLAKE3 hash with a secret key, so prefixes are
//! random to anyone without the key. The probability that two of n chunks have the same 128 bits is
//! n^2 / 2^129: 1.5 * 10^-17 for 10^11 chunks (30 PB), far below the rate of undetected errors of
//! disks and memory. An attacker cannot prepare a pair either: hashes cannot be computed without
//! the key, and an attacker with the key controls the store anyway. Reads never rely on the prefix:
//! `get` recomputes the full id of the data that it read.
//!
//! **The checksum** detects damage, not malice: an attacker who can write here can also write to
//! the files that are backed up. Each step is a bijection of its lane for a given word, and of the
//! word for a given lane. So damage within one word always changes the sum, and larger damage is
//! missed once in 2^64 times. The seed is the random name of the segment and the number of the
//! page, so an intact page at the wrong position is detected too.
//!
//! This module knows nothing about files or packs.

use super::Place;
use crate::util::Id;

/// Number of bytes of an id in a record.
pub(super) const PREFIX_BYTES: usize = 16;
/// Length of an encoded record.
pub(super) const RECORD_BYTES: usize = 36;
/// Size of a page. The operating system reads and caches at least this much, so smaller pages would
/// not save anything.
pub(super) const PAGE_BYTES: usize = 4096;
/// Number of records in a full page: as many as fit before the checksum.
pub(super) const PAGE_RECORDS: usize = 113;
const SUM_AT: usize = PAGE_BYTES - 8;

const _: () = assert!(PAGE_RECORDS * RECORD_BYTES <= SUM_AT);

/// The first bytes of the id of a chunk.
pub(super) type Prefix = [u8; PREFIX_BYTES];

/// The location of one copy of a chunk. The order of records is that on disk.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Record {
    pub(super) prefix: Prefix,
    pub(super) pack: u32,
    pub(super) block_offset: u32,
    pub(super) sealed_bytes: u32,
    pub(super) start: u32,
    pub(super) length: u32,
}

impl Record {
    /// A value that sorts before every record with this `prefix`.
    pub(super) fn least(prefix: Prefix) -> Record {
        Record {
            prefix,
            ..Record::default()
        }
    }

    /// The location of the chunk. `pack` is the pack with the number in this record.
    pub(super) fn place_in(&self, pack: Id) -> Place {
        Place {
            pack,
            block_offset: self.block_offset,
            sealed_bytes: self.sealed_bytes,
            start: self.start,
            length: self.length,
        }
    }

    /// Encodes the record as it is stored in a page.
    pub(super) fn encode(&self, to: &mut [u8; RECORD_BYTES]) {
        to[..PREFIX_BYTES].copy_from_slice(&self.prefix);
        let numbers = [
            self.pack,
            self.block_offset,
            self.sealed_bytes,
            self.start,
            self.length,
        ];
        for (field, number) in to[PREFIX_BYTES..].chunks_exact_mut(4).zip(numbers) {
            field.copy_from_slice(&number.to_le_bytes());
        }
    }

    /// The inverse of [`Record::encode`]. Any bytes are a valid record.
    pub(super) fn decode(from: &[u8; RECORD_BYTES]) -> Record {
        let mut record = Record::default();
        let (prefix, numbers) = from.split_at(PREFIX_BYTES);
        record.prefix.copy_from_slice(prefix);
        let number = |at: usize| u32_at(numbers, 4 * at);
        record.pack = number(0);
        record.block_offset = number(1);
        record.sealed_bytes = number(2);
        record.start = number(3);
        record.length = number(4);
        record
    }
}

/// The prefix of `id` that records contain.
pub(super) fn prefix_of(id: &Id) -> Prefix {
    let mut prefix = Prefix::default();
    prefix.copy_from_slice(&id.0[..PREFIX_BYTES]);
    prefix
}

/// The key that fences compare: the first four bytes, as a number with the same order as the bytes.
pub(super) fn fence_key(prefix: &Prefix) -> u32 {
    u32_at(prefix, 0).swap_bytes()
}

/// The key that filters hash: the second half of the prefix, because the first half determines
/// which filter is queried.
pub(super) fn filter_key(prefix: &Prefix) -> u64 {
    u64_at(prefix, 8)
}

/// The `u32` at `at`, little-endian.
pub(super) fn u32_at(bytes: &[u8], at: usize) -> u32 {
    let mut number = [0; 4];
    number.copy_from_slice(&bytes[at..at + 4]);
    u32::from_le_bytes(number)
}

/// The `u64` at `at`, little-endian.
pub(super) fn u64_at(bytes: &[u8], at: usize) -> u64 {
    let mut number = [0; 8];
    number.copy_from_slice(&bytes[at..at + 8]);
    u64::from_le_bytes(number)
}

/// The bytes of a page.
pub(super) type Page = [u8; PAGE_BYTES];

/// Writes the checksum of the page.
pub(super) fn seal_page(page: &mut [u8], seed: u64) {
    let sum = checksum(seed, &page[..SUM_AT]);
    page[SUM_AT..].copy_from_slice(&sum.to_le_bytes());
}

/// Whether the page is what was sealed with this seed.
pub(super) fn page_is_sound(page: &[u8], seed: u64) -> bool {
    checksum(seed, &page[..SUM_AT]) == u64_at(page, SUM_AT)
}

/// The records of a page that contains `count` records.
pub(super) fn records_in(page: &[u8], count: usize) -> &[[u8; RECORD_BYTES]] {
    page[..count * RECORD_BYTES].as_chunks().0
}

/// A checksum that detects damage. See the module documentation.
pub(super) fn checksum(seed: u64, bytes: &[u8]) -> u64 {
    let mut lanes = [seed, !seed, seed.rotate_left(17), seed.rotate_left(43)];
    let (stripes, rest) = bytes.as_chunks::<32>();
    for stripe in stripes {
        for (lane, word) in lanes.iter_mut().zip(stripe.as_chunks::<8>().0) {
            *lane = step(*lane, u64::from_le_bytes(*word));
        }
    }
    let mut last = [0; 32];
    last[..rest.len()].copy_from_slice(rest);
    for (lane, word) in lanes.iter_mut().zip(last.as_chunks::<8>().0) {
        *lane = step(*lane, u64::from_le_bytes(*word));
    }
    let sum = lanes.into_iter().fold(bytes.len() as u64, step);
    sum ^ sum >> 32
}

/// Four lanes run in parallel, which hides the latency of the multiplication.
fn step(lane: u64, word: u64) -> u64 {
    (lane ^ word)
        .wrapping_mul(0x9e37_79b9_7f4a_7c15)
        .rotate_left(29)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_flipped_bit_of_a_page_is_noticed() {
        let mut page = [0x5a; PAGE_BYTES];
        seal_page(&mut page, 7);
        assert!(page_is_sound(&page, 7));
        assert!(!page_is_sound(&page, 8), "a page in another's place");
        for bit in 0..8 * PAGE_BYTES {
            page[bit / 8] ^= 1 << (bit % 8);
            assert!(!page_is_sound(&page, 7), "bit {bit}");
            page[bit / 8] ^= 1 << (bit % 8);
        }
    }

    #[test]
    fn a_record_survives_its_page() {
        let record = Record {
            prefix: *b"0123456789abcdef",
            pack: 1,
            block_offset: 0x0203_0405,
            sealed_bytes: 6,
            start: 7,
            length: u32::MAX,
        };
        let mut bytes = [0; RECORD_BYTES];
        record.encode(&mut bytes);
        assert_eq!(bytes[20..24], [5, 4, 3, 2], "little-endian");
        assert_eq!(Record::decode(&bytes), record);
    }
}

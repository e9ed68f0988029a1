//! Content-defined chunking: where one chunk of a file ends and the next one begins.
//!
//! Cuts depend only on the bytes themselves. Inserting or removing bytes moves only the adjacent
//! boundaries, and all later chunks are found in the store again. This module knows nothing about
//! files, ids or stores: it returns the length of the first chunk in a buffer.
//!
//! The algorithm is FastCDC with normalized chunking of level 2 and sub-minimum skipping (Xia et
//! al., "FastCDC", USENIX ATC 2016; "The Design of Fast Content-Defined Chunking for Data
//! Deduplication Based Storage Systems", IEEE TPDS 31(9), 2020), over the gear hash (Xia et al.,
//! "Ddelta", Performance Evaluation 79, 2014). It differs from the papers in three points: the
//! table is secret, the condition tests the most significant bits, and hashing starts before the
//! minimum size. Because of the last two, the hash at any position depends only on the 64 bytes
//! before it, so several positions can be searched concurrently.
//!
//! # The table
//!
//! The table has 256 numbers of 64 bits, derived from a key of 32 bytes. Run BLAKE3 in keyed mode
//! with that key over the 10 ASCII bytes `gear table`, and take 2,048 bytes of extended output,
//! from position 0 on. Bytes `8 i` to `8 i + 7` are `gear[i]`, least significant byte first. The
//! key prevents attackers from computing where known contents would be cut, as long as they do not
//! see the lengths of chunks: the table can be computed from these lengths (eprint 2025/532,
//! 2025/558). Code that stores chunks must hide their lengths.
//!
//! # A cut
//!
//! Let `b[0]` be the first byte of the chunk, and `n` the number of bytes from there to the end of
//! the file. For every length `p >= 64`, in arithmetic modulo 2^64,
//!
//! ```text
//! hash(p) = gear[b[p-1]] + 2 gear[b[p-2]] + 4 gear[b[p-3]] + ... + 2^63 gear[b[p-64]]
//! ```
//!
//! This is the value of `hash` after `hash = (hash << 1) + gear[byte]` for the byte at `p-1`,
//! regardless of its value 64 bytes earlier. With `average = 2^k`, a length `p` is *good* if
//!
//! ```text
//! minimum <= p < average   and   hash(p) < 2^(64 - (k+2)), that is, the top k+2 bits are 0, or
//! average <= p < maximum   and   hash(p) < 2^(64 - (k-2)), that is, the top k-2 bits are 0.
//! ```
//!
//! The length of the chunk is the smallest good length that is less than `n`. If there is none, it
//! is the lesser of `n` and `maximum`. So every chunk of a file except the last one is at least
//! `minimum` long, and no chunk is longer than `maximum`. The next chunk starts where this one
//! ends, and its length depends only on its own bytes.
//!
//! In a run of one byte `v` that is longer than 64 bytes, every hash is `-gear[v]`. So a file of
//! zeros is cut at `maximum` throughout, except with one key in 2^(k-2).

use std::array;

use zeroize::Zeroizing;

use crate::error::{Error, Kind, Result};

/// Number of bytes before a cut that determine it: one for each bit of the hash.
const WINDOW_BYTES: usize = 64;

/// Makes cuts before the average size four times less likely, and after it four times more likely.
/// This is level 2, which the paper found best.
const NORMALISATION_BITS: u32 = 2;

/// Upper limit for the maximum chunk size. A chunk is part of a block, and several copies of a
/// block are in memory.
const HIGHEST_MAX_BYTES: u32 = 4 << 20;

/// Lower limit for the average chunk size. Smaller chunks would cost more metadata than they save,
/// and the condition would test too few bits.
const LOWEST_AVERAGE_BYTES: u32 = 256;

/// The input of the hash that generates the table. It is part of the format.
const GEAR_LABEL: &[u8] = b"gear table";

/// Number of lanes that are hashed alternately. A single lane waits for the result of its previous
/// addition at every byte. Four lanes are twice as fast; more do not help (tests/bench/chunker.rs).
const LANES: usize = 4;

/// Number of lengths that a lane tests: large compared with its warm-up, small compared with a
/// chunk.
const LANE_BYTES: usize = 2048;

/// Number of lengths that all lanes test together.
const STRETCH_BYTES: usize = LANES * LANE_BYTES;

/// Number of bytes that a lane hashes before its first test; the test itself adds the last byte of
/// the window.
const WARM_UP_BYTES: usize = WINDOW_BYTES - 1;

const LANE_AND_WARM_UP_BYTES: usize = WARM_UP_BYTES + LANE_BYTES;

/// Sizes of chunks. [`Chunker::new`] checks them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Parameters {
    /// Minimum size of all chunks of a file except the last one. At least 64.
    pub min_bytes: u32,
    /// The size from which cuts become likely: a power of two, at least 256. With the default
    /// parameters, the actual average for random contents is 15 % larger.
    pub average_bytes: u32,
    /// Maximum size of a chunk. At most 4 MiB.
    pub max_bytes: u32,
}

impl Default for Parameters {
    fn default() -> Parameters {
        Parameters {
            min_bytes: 64 << 10,
            average_bytes: 256 << 10,
            max_bytes: 1 << 20,
        }
    }
}

impl Parameters {
    /// # Errors
    /// [`Kind::Unsupported`] if this program does not support these parameters.
    pub fn check(&self) -> Result<()> {
        let Parameters {
            min_bytes,
            average_bytes,
            max_bytes,
        } = *self;
        let unsupported = |cause: String| Err(Error::new(Kind::Unsupported, cause));
        if (min_bytes as usize) < WINDOW_BYTES {
            return unsupported(format!(
                "a minimum chunk of {min_bytes} bytes is less than {WINDOW_BYTES}"
            ));
        }
        if max_bytes > HIGHEST_MAX_BYTES {
            return unsupported(format!(
                "a maximum chunk of {max_bytes} bytes is more than {HIGHEST_MAX_BYTES}"
            ));
        }
        if average_bytes < LOWEST_AVERAGE_BYTES || !average_bytes.is_power_of_two() {
            return unsupported(format!(
                "an average chunk of {average_bytes} bytes is not a power of two of at least {LOWEST_AVERAGE_BYTES}"
            ));
        }
        if min_bytes >= average_bytes || average_bytes >= max_bytes {
            return unsupported(format!(
                "chunks of {min_bytes}, {average_bytes} and {max_bytes} bytes do not ascend"
            ));
        }
        Ok(())
    }
}

/// The secret table of the gear hash.
#[derive(Clone)]
pub struct Gear(Box<Zeroizing<[u64; 256]>>);

impl Gear {
    /// Generates the table for `key`, as specified in the module documentation.
    pub fn new(key: &[u8; 32]) -> Gear {
        let mut table = Box::new(Zeroizing::new([0; 256]));
        let mut output = blake3::Hasher::new_keyed(key)
            .update(GEAR_LABEL)
            .finalize_xof();
        for number in table.iter_mut() {
            let mut bytes = [0; 8];
            output.fill(&mut bytes);
            *number = u64::from_le_bytes(bytes);
        }
        Gear(table)
    }

    /// Adds a byte to `hash`. The byte 64 positions earlier no longer affects it.
    #[inline(always)]
    fn roll(&self, hash: u64, byte: u8) -> u64 {
        (hash << 1).wrapping_add(self.0[usize::from(byte)])
    }
}

/// Finds cuts. It has no mutable state, so one chunker serves any number of files and threads.
#[derive(Clone)]
pub struct Chunker {
    gear: Gear,
    parameters: Parameters,
}

impl Chunker {
    /// # Errors
    /// [`Kind::Unsupported`] if this program does not support `parameters`.
    pub fn new(gear: Gear, parameters: Parameters) -> Result<Chunker> {
        parameters.check()?;
        Ok(Chunker { gear, parameters })
    }

    /// The sizes that this chunker was created with.
    pub fn parameters(&self) -> Parameters {
        self.parameters
    }

    /// The length of the first chunk of `bytes`. It is 0 only if `bytes` is empty.
    ///
    /// `bytes` must start where the last chunk ended. It must have at least the maximum chunk size,
    /// or extend to the end of the file. Otherwise the end of the buffer could cut the chunk short.
    pub fn cut(&self, bytes: &[u8]) -> usize {
        let Parameters {
            min_bytes,
            average_bytes,
            max_bytes,
        } = self.parameters;
        let bytes = &bytes[..bytes.len().min(max_bytes as usize)];
        let average = bytes.len().min(average_bytes as usize);
        let bits = average_bytes.ilog2();
        let search = |from, to, zero_bits| {
            let threshold = 1u64 << (u64::BITS - zero_bits);
            self.search(bytes, from, to, threshold)
        };
        search(min_bytes as usize, average, bits + NORMALISATION_BITS)
            .or_else(|| search(average, bytes.len(), bits - NORMALISATION_BITS))
            .unwrap_or(bytes.len())
    }

    /// The first length in `from..to` whose hash is below `threshold`.
    ///
    /// Hits are rare. Therefore the lanes only detect that a stretch contains one, and a second
    /// search finds the first of them.
    fn search(&self, bytes: &[u8], mut from: usize, to: usize, threshold: u64) -> Option<usize> {
        while from + STRETCH_BYTES <= to
            && !self.any_below(&bytes[from - WINDOW_BYTES..], threshold)
        {
            from += STRETCH_BYTES;
        }
        self.search_plainly(bytes, from, to, threshold)
    }

    /// Whether any of the [`STRETCH_BYTES`] lengths that follow the first [`WINDOW_BYTES`] of
    /// `bytes` has a hash below `threshold`.
    fn any_below(&self, bytes: &[u8], threshold: u64) -> bool {
        // Arrays let the compiler eliminate bounds checks.
        let lanes: [&[u8; LANE_AND_WARM_UP_BYTES]; LANES] = array::from_fn(|lane| {
            let lane = bytes[lane * LANE_BYTES..].first_chunk();
            lane.expect("search hands over whole stretches")
        });
        let step = |hashes: [u64; LANES], at: usize| -> [u64; LANES] {
            array::from_fn(|lane| self.gear.roll(hashes[lane], lanes[lane][at]))
        };
        let mut hashes = (0..WARM_UP_BYTES).fold([0; LANES], step);
        for at in WARM_UP_BYTES..LANE_AND_WARM_UP_BYTES {
            hashes = step(hashes, at);
            if hashes.iter().any(|&hash| hash < threshold) {
                return true;
            }
        }
        false
    }

    /// Does the same as [`Chunker::search`], byte by byte.
    fn search_plainly(
        &self,
        bytes: &[u8],
        from: usize,
        to: usize,
        threshold: u64,
    ) -> Option<usize> {
        if from >= to {
            return None;
        }
        let (warm_up, rest) = bytes[from - WINDOW_BYTES..to - 1].split_at(WARM_UP_BYTES);
        let mut hash = warm_up
            .iter()
            .fold(0, |hash, &byte| self.gear.roll(hash, byte));
        let below = |&byte: &u8| {
            hash = self.gear.roll(hash, byte);
            hash < threshold
        };
        rest.iter().position(below).map(|beyond| from + beyond)
    }
}

#[cfg(test)]
mod tests;

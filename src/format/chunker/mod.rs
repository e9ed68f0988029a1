//! Where one chunk of a file ends and the next begins: content-defined chunking.
//!
//! Cuts are chosen by the bytes themselves, so that inserting or removing some
//! moves only the boundaries beside them and everything after is found in the
//! store again. This file knows nothing of files, ids or stores: it looks at a
//! buffer and says how long the first chunk in it is.
//!
//! The method is FastCDC with normalised chunking of level 2 and sub-minimum
//! skipping (Xia et al., "FastCDC", USENIX ATC 2016; "The Design of Fast
//! Content-Defined Chunking for Data Deduplication Based Storage Systems", IEEE
//! TPDS 31(9), 2020), over the gear hash (Xia et al., "Ddelta", Performance
//! Evaluation 79, 2014). It differs from the papers in three things: the table
//! is secret, the judgement reads the top bits, and hashing starts before the
//! minimum. The last two make the hash at any place depend on nothing but the 64
//! bytes before it, so several places can be searched at once.
//!
//! # The table
//!
//! 256 numbers of 64 bits, from a key of 32 bytes. Run BLAKE3 in keyed mode with
//! that key over the 10 ASCII bytes `gear table`, and take 2,048 bytes of
//! extended output from position 0. Bytes `8 i` to `8 i + 7` are `gear[i]`, the
//! least significant byte first. The key keeps others from telling where known
//! contents would be cut, as long as nobody sees the lengths of chunks: from
//! those, such a table can be computed (eprint 2025/532, 2025/558). Whoever
//! stores chunks must hide them.
//!
//! # A cut
//!
//! Let `b[0]` be the first byte of the chunk, and `n` the count of bytes from
//! there to the end of the file. For every length `p >= 64`, in arithmetic
//! modulo 2^64,
//!
//! ```text
//! hash(p) = gear[b[p-1]] + 2 gear[b[p-2]] + 4 gear[b[p-3]] + ... + 2^63 gear[b[p-64]]
//! ```
//!
//! which is what `hash = (hash << 1) + gear[byte]` holds after the byte at `p-1`,
//! whatever it held 64 bytes earlier. With `average = 2^k`, a length `p` is *good* if
//!
//! ```text
//! minimum <= p < average   and   hash(p) < 2^(64 - (k+2)), that is, the top k+2 bits are 0, or
//! average <= p < maximum   and   hash(p) < 2^(64 - (k-2)), that is, the top k-2 bits are 0.
//! ```
//!
//! The chunk has the smallest good length that is less than `n`, or if there is
//! none, `n` or `maximum`, whichever is less. Every chunk of a file but its last
//! is thus at least `minimum` long, and none is longer than `maximum`. The next
//! chunk begins where this one ends, and is judged by its own bytes alone.
//!
//! A run of one byte `v` longer than 64 bytes has the hash `-gear[v]` all along,
//! so a file of zeros is cut at `maximum` throughout, except under one key in 2^(k-2).

use std::array;

use zeroize::Zeroizing;

use crate::error::{Error, Kind, Result};

/// How many bytes before a cut decide it: one for each bit of the hash.
const WINDOW_BYTES: usize = 64;

/// Makes cuts before the average four times rarer, and after it four times
/// likelier: level 2, which the paper found best.
const NORMALISATION_BITS: u32 = 2;

/// A chunk is a part of a block, which is held in memory several times over.
const HIGHEST_MAX_BYTES: u32 = 4 << 20;

/// Below this a chunk costs more to keep track of than it saves, and the
/// judgement would have hardly any bits left.
const LOWEST_AVERAGE_BYTES: u32 = 256;

/// What is hashed to make the table; part of the format.
const GEAR_LABEL: &[u8] = b"gear table";

/// Lanes that are hashed in turn. A single one waits for its own last addition at
/// every byte; four are twice as fast, and more gain nothing (tests/bench/chunker.rs).
const LANES: usize = 4;

/// Long against what each lane hashes first, short against a chunk.
const LANE_BYTES: usize = 2048;

/// What the lanes search together.
const STRETCH_BYTES: usize = LANES * LANE_BYTES;

/// What a lane hashes before its first judgement, which takes the window's last byte.
const WARM_UP_BYTES: usize = WINDOW_BYTES - 1;

const LANE_AND_WARM_UP_BYTES: usize = WARM_UP_BYTES + LANE_BYTES;

/// How long chunks are to be. [`Chunker::new`] checks them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Parameters {
    /// No chunk but the last of a file is shorter. At least 64.
    pub min_bytes: u32,
    /// Where cutting becomes likely: a power of two, at least 256. By the defaults,
    /// random contents come to 15 % more on average.
    pub average_bytes: u32,
    /// No chunk is longer. At most 4 MiB.
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
    /// [`Kind::Unsupported`] if this program does not chunk with these.
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
    /// The table that belongs to `key`, as told at the top of this module.
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

    /// Takes one more byte into `hash`; the byte 64 bytes back drops out.
    #[inline(always)]
    fn roll(&self, hash: u64, byte: u8) -> u64 {
        (hash << 1).wrapping_add(self.0[usize::from(byte)])
    }
}

/// Finds cuts. It has no state but its settings: one serves any number of files
/// and threads.
#[derive(Clone)]
pub struct Chunker {
    gear: Gear,
    parameters: Parameters,
}

impl Chunker {
    /// # Errors
    /// [`Kind::Unsupported`] if this program does not chunk with `parameters`.
    pub fn new(gear: Gear, parameters: Parameters) -> Result<Chunker> {
        parameters.check()?;
        Ok(Chunker { gear, parameters })
    }

    /// What this chunker was made with.
    pub fn parameters(&self) -> Parameters {
        self.parameters
    }

    /// The length of the first chunk of `bytes`, which begin where the last chunk
    /// ended and must either be at least the maximum long or reach to the end of
    /// the file: given less, the chunk could be cut short by the buffer's end. It
    /// is zero only if `bytes` is empty.
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
    /// Hits are rare, so the lanes only tell that a stretch has one, and a second
    /// look finds the first of them.
    fn search(&self, bytes: &[u8], mut from: usize, to: usize, threshold: u64) -> Option<usize> {
        while from + STRETCH_BYTES <= to
            && !self.any_below(&bytes[from - WINDOW_BYTES..], threshold)
        {
            from += STRETCH_BYTES;
        }
        self.search_plainly(bytes, from, to, threshold)
    }

    /// Whether any of the [`STRETCH_BYTES`] lengths that follow the first
    /// [`WINDOW_BYTES`] of `bytes` has a hash below `threshold`.
    fn any_below(&self, bytes: &[u8], threshold: u64) -> bool {
        // Arrays, so that the compiler knows every access to be within bounds.
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

    /// As [`Chunker::search`], one byte after the other.
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

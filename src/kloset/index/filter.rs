//! The filter of a group of pages. It answers "not here" for 255 of 256 absent keys, so that most
//! lookups of new chunks need no read.
//!
//! The filters are binary fuse filters (Graf and Lemire, "Binary Fuse Filters: Fast and Smaller
//! Than Xor Filters", 2022) from the crate `xorf`, with 8-bit fingerprints. They are built once
//! from all keys, which suits segments because these never change.
//!
//! There is one filter per group of at most 260,352 records. Building one needs 33 bytes of memory
//! per key: 8 MiB for a group, whereas a single filter for 100 million records would need 3 GB. The
//! cost is a slightly lower density: 1.156 bytes per key instead of 1.125. Groups of twice the size
//! would save 0.015 bytes per key and need another 8 MiB.
//!
//! ```text
//! seed u64 | segment length u32 | segments' total length u32 | fingerprints | checksum u64
//! ```
//!
//! Without fingerprints, the filter accepts every key. This happens if `xorf` gives up after a
//! thousand seeds, which was never observed. Lookups are then only slower.

use xorf::{BinaryFuse8, Descriptor, Filter as _};

use super::record::{checksum, u32_at, u64_at};
use crate::error::{Error, Result};

const HEAD_BYTES: usize = 16;
const SUM_BYTES: usize = 8;
/// Maximum size of a filter: three times the size for the largest group. A longer one is damaged.
pub(super) const MAX_FILTER_BYTES: usize = 1 << 20;

/// Determines which keys are certainly not in a group.
pub(super) struct Filter(Option<BinaryFuse8>);

impl Filter {
    /// Builds a filter that accepts `keys`. This sorts and deduplicates `keys`.
    pub(super) fn build(keys: &mut Vec<u64>) -> Filter {
        // Copies of a chunk have the same key, and the construction requires unique keys.
        keys.sort_unstable();
        keys.dedup();
        Filter(BinaryFuse8::try_from(keys.as_slice()).ok())
    }

    /// Whether the group may contain a record with this key.
    pub(super) fn may_hold(&self, key: u64) -> bool {
        self.0.as_ref().is_none_or(|filter| filter.contains(&key))
    }

    /// The memory use of the fingerprints, in bytes.
    pub(super) fn memory_bytes(&self) -> usize {
        self.0
            .as_ref()
            .map_or(0, |filter| filter.fingerprints.len())
    }

    /// Encodes the filter as it is stored after its pages.
    pub(super) fn encode(&self, seed: u64) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(HEAD_BYTES + self.memory_bytes() + SUM_BYTES);
        match &self.0 {
            None => bytes.resize(HEAD_BYTES, 0),
            Some(BinaryFuse8 {
                descriptor,
                fingerprints,
            }) => {
                bytes.extend(descriptor.seed.to_le_bytes());
                bytes.extend(descriptor.segment_length.to_le_bytes());
                bytes.extend(descriptor.segment_count_length.to_le_bytes());
                bytes.extend_from_slice(fingerprints);
            }
        }
        bytes.extend(checksum(seed, &bytes).to_le_bytes());
        bytes
    }

    /// The inverse of [`Filter::encode`].
    pub(super) fn decode(bytes: &[u8], seed: u64) -> Result<Filter> {
        let damaged = || Error::corrupt("the filter of a cached segment is damaged");
        let (body, sum) = bytes
            .split_at_checked(bytes.len().wrapping_sub(SUM_BYTES))
            .ok_or_else(damaged)?;
        if body.len() < HEAD_BYTES || checksum(seed, body) != u64_at(sum, 0) {
            return Err(damaged());
        }
        if body.len() == HEAD_BYTES {
            return Ok(Filter(None));
        }
        let descriptor = descriptor(body).ok_or_else(damaged)?;
        Ok(Filter(Some(BinaryFuse8 {
            descriptor,
            fingerprints: body[HEAD_BYTES..].into(),
        })))
    }
}

/// Decodes the head of a filter. Returns `None` unless every slot that it can address exists: the
/// crate does not check the range of its indices, so a wrong head would result in a panic in a
/// later lookup.
fn descriptor(body: &[u8]) -> Option<Descriptor> {
    let segment_length = u32_at(body, 8);
    let segment_count_length = u32_at(body, 12);
    let slots = u64::from(segment_count_length) + 2 * u64::from(segment_length);
    let sound = segment_length.is_power_of_two()
        && segment_count_length.is_multiple_of(segment_length)
        && slots <= (body.len() - HEAD_BYTES) as u64;
    sound.then(|| Descriptor {
        seed: u64_at(body, 0),
        segment_length,
        segment_length_mask: segment_length - 1,
        segment_count_length,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kloset::index::testing::Random;

    #[test]
    fn a_filter_of_any_size_lets_its_own_keys_through_and_few_others() {
        let mut random = Random(1);
        for size in (1..40).chain([100, 1000, 20_000]) {
            let keys: Vec<u64> = (0..size).map(|_| random.next()).collect();
            let built = Filter::build(&mut [keys.clone(), keys.clone()].concat());
            let filter = Filter::decode(&built.encode(9), 9).unwrap();
            assert!(keys.iter().all(|key| filter.may_hold(*key)), "{size} keys");
            let strangers = (0..10_000)
                .filter(|_| filter.may_hold(random.next()))
                .count();
            assert!(
                strangers < 200,
                "{strangers} of 10000 strangers among {size} keys"
            );
        }
    }

    #[test]
    fn a_head_that_points_past_the_fingerprints_is_refused() {
        let mut bytes = Filter::build(&mut vec![1, 2, 3]).encode(0);
        bytes[12..16].copy_from_slice(&0x1000_u32.to_le_bytes());
        let body = bytes.len() - SUM_BYTES;
        let sum = checksum(0, &bytes[..body]).to_le_bytes();
        bytes[body..].copy_from_slice(&sum);
        assert!(Filter::decode(&bytes, 0).is_err());
        assert!(Filter::decode(&[], 0).is_err());
    }
}

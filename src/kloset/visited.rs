//! A set of visited tree chunks with a fixed memory size.
//!
//! The position of a chunk in the table is determined by its id, which is a keyed hash. A chunk
//! overwrites an earlier one at the same position. The overwritten chunk is visited again, which
//! only costs time. Therefore the set can have false negatives, but never false positives.

use crate::util::Id;

/// Size of the table: enough for 8 GB of trees. It needs up to 8 MiB of memory; the kernel
/// allocates only the pages that are used.
const PLACES: usize = 1 << 19;

/// The set. It can forget members.
pub(crate) struct Followed(Vec<u128>);

impl Followed {
    pub(crate) fn new() -> Followed {
        Followed(vec![0; PLACES])
    }

    /// Adds `chunk`. Returns true if it is known to have been added before.
    pub(crate) fn note(&mut self, chunk: &Id) -> bool {
        let (prefix, _) = chunk.0.split_first_chunk().expect("an id has 32 bytes");
        let prefix = u128::from_le_bytes(*prefix);
        let place = &mut self.0[prefix as usize % PLACES];
        // An empty position must not match any chunk.
        let is_known = *place == prefix && prefix != 0;
        *place = prefix;
        is_known
    }

    /// Removes all members. Used when data below visited chunks may be missing.
    pub(crate) fn clear(&mut self) {
        self.0.fill(0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_known_was_noted_and_whoever_comes_last_has_the_place() {
        let chunk = |first: u8, ninth: u8| {
            let mut id = Id::default();
            (id.0[0], id.0[9]) = (first, ninth);
            id
        };
        let mut followed = Followed::new();
        assert!(!followed.note(&chunk(0, 0)) && !followed.note(&chunk(0, 0)));
        assert!(!followed.note(&chunk(1, 1)) && followed.note(&chunk(1, 1)));
        assert!(!followed.note(&chunk(1, 2)), "of the same place");
        assert!(!followed.note(&chunk(1, 1)), "forgotten");
        followed.clear();
        assert!(!followed.note(&chunk(1, 1)));
    }
}

//! Which chunks of trees were followed, in memory that does not grow.
//!
//! Chunks have places by their ids, which are keyed hashes, and whoever comes last has the
//! place: one that lost its place is followed once more, which costs time and nothing else. So
//! this may forget, and is never wrong.

use crate::util::Id;

/// Places: chunks of 8 GB of trees, in 8 MiB of memory, of which the kernel gives what is used.
const PLACES: usize = 1 << 19;

/// A set that forgets.
pub(crate) struct Followed(Vec<u128>);

impl Followed {
    /// Nothing was followed.
    pub(crate) fn new() -> Followed {
        Followed(vec![0; PLACES])
    }

    /// Notes `chunk`, and tells whether it is known to have been noted before.
    pub(crate) fn note(&mut self, chunk: &Id) -> bool {
        let (prefix, _) = chunk.0.split_first_chunk().expect("an id has 32 bytes");
        let prefix = u128::from_le_bytes(*prefix);
        let place = &mut self.0[prefix as usize % PLACES];
        // An empty place is no chunk's.
        let is_known = *place == prefix && prefix != 0;
        *place = prefix;
        is_known
    }

    /// Forgets all: of what was followed in vain, something may be missing below.
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

//! Compares the packs that index objects list with the footers of these packs.
//!
//! An index object contains copies of footers, and a backup does not store a chunk that the index
//! lists. Therefore a wrong copy is damage, although a reader that does not find a chunk at its
//! place reads the footers. Each copy is recorded as a hash: about 80 bytes of memory for a pack of
//! 16 MiB.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use super::index_object::fingerprint;
use crate::error::Error;
use crate::format::pack_table::PackTable;
use crate::util::Id;

/// The copies of footers in all index objects of a store.
#[derive(Default)]
pub(crate) struct Claims {
    objects: Vec<Id>,
    /// The pack, the position in `objects`, and the hash of the copy.
    copies: BTreeSet<(Id, u32, [u8; 16])>,
    /// The copies that differ from their footers: the position in `objects`, and the packs.
    wrong: BTreeMap<u32, BTreeSet<Id>>,
}

impl Claims {
    /// Adds the index object `object`, which lists `tables`.
    pub(crate) fn add(&mut self, object: Id, tables: &[PackTable]) {
        let number = self.objects.len() as u32;
        self.objects.push(object);
        let copies = tables
            .iter()
            .map(|table| (table.pack, number, fingerprint(table)));
        self.copies.extend(copies);
    }

    /// Compares every copy of `footer`, which was read from its pack.
    pub(crate) fn compare(&mut self, footer: &PackTable) {
        let (pack, expected) = (footer.pack, fingerprint(footer));
        let range = (pack, 0, [0; 16])..=(pack, u32::MAX, [u8::MAX; 16]);
        for (_, object, found) in self.copies.range(range) {
            if *found != expected {
                self.wrong.entry(*object).or_default().insert(pack);
            }
        }
    }

    /// The packs that any index object lists.
    pub(crate) fn packs(&self) -> HashSet<Id> {
        self.copies.iter().map(|(pack, ..)| *pack).collect()
    }

    /// The packs with at least one copy that is not known to be wrong.
    pub(crate) fn good_packs(&self) -> HashSet<Id> {
        let is_good = |(pack, object, _): &&(Id, u32, _)| {
            let wrong = self.wrong.get(object);
            wrong.is_none_or(|packs| !packs.contains(pack))
        };
        self.copies
            .iter()
            .filter(is_good)
            .map(|(pack, ..)| *pack)
            .collect()
    }

    /// The index objects with wrong copies, and the packs that these copies describe.
    pub(crate) fn wrong(&self) -> impl Iterator<Item = (Id, &BTreeSet<Id>)> {
        let wrong = self.wrong.iter();
        wrong.map(|(object, packs)| (self.objects[*object as usize], packs))
    }
}

/// The error of an index object with wrong copies of the footers of `packs`.
pub(crate) fn wrong_copies(packs: &BTreeSet<Id>) -> Error {
    let first = packs.first().map(Id::short).unwrap_or_default();
    Error::corrupt(match packs.len() {
        1 => format!("differs from the footer of pack {first}"),
        count => format!("differs from the footers of {count} packs, the first is {first}"),
    })
}

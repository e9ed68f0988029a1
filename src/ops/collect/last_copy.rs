//! Determines whether a pack may be deleted: whether every live chunk in it has an intact copy
//! elsewhere.
//!
//! The contents of the pack are taken from its footer and not from index objects, which may be
//! incomplete. A copy elsewhere counts only after it was read and its id verified. So neither a bad
//! disk, nor an attacker who has the key and may write to the store, can cause the last intact copy
//! to be deleted by a false claim that another copy exists.

use std::collections::HashSet;

use super::survey::Look;
use crate::error::{During, Error, Kind, Result};
use crate::format::pack_table::PackKind;
use crate::kloset::Kloset;
use crate::kloset::blob::BlobReader;
use crate::kloset::index::Place;
use crate::kloset::pack::read_table;
use crate::kloset::progress::Event;
use crate::kloset::repack::Copier;
use crate::ops::inspect::index::places;
use crate::util::Id;

/// Size of the cache of decoded blocks: chunks that were copied together are stored together.
const CACHE_BYTES: usize = 8 << 20;

/// The reasons not to delete a pack.
pub(super) struct Needed {
    /// The pack that was examined.
    pub(super) pack: Id,
    kind: PackKind,
    /// Live chunks without an intact copy in another pack, and their places in this pack.
    chunks: Vec<(Id, Place)>,
    /// The packs that hold intact copies of the other live chunks.
    pub(super) relied_on: HashSet<Id>,
}

/// Finds the needed chunks of packs, and copies them.
pub(super) struct Mover<'a> {
    kloset: &'a Kloset,
    look: &'a Look<'a>,
    blobs: BlobReader<'a>,
}

impl<'a> Mover<'a> {
    /// Creates a mover that uses the marks and the index of `look`.
    pub(super) fn new(kloset: &'a Kloset, look: &'a Look<'a>) -> Result<Mover<'a>> {
        let blobs = BlobReader::of_store(kloset, CACHE_BYTES)?;
        Ok(Mover {
            kloset,
            look,
            blobs,
        })
    }

    /// The needed chunks of a pack, which is hidden. `None` if they are unknown because the footer
    /// cannot be read: then the pack is kept.
    pub(super) fn needed(&self, pack: Id) -> Result<Option<Needed>> {
        let table = match read_table(self.kloset.store(), self.kloset.sealer(), pack) {
            Err(error) if error.is_of_one_object() => {
                self.warn(&error.during("it stays"));
                return Ok(None);
            }
            table => table?,
        };
        let mut needed = Needed {
            pack,
            kind: table.kind,
            chunks: Vec::new(),
            relied_on: HashSet::new(),
        };
        for (id, place) in self.live(places(&table))? {
            self.look.interrupt_check()?;
            match self.elsewhere(&id)? {
                Some(other) => drop(needed.relied_on.insert(other)),
                None => needed.chunks.push((id, place)),
            }
        }
        self.look.marks.check()?;
        let lies = |(_, place): &(Id, Place)| (place.block_offset, place.start);
        needed.chunks.sort_unstable_by_key(lies);
        Ok(Some(needed))
    }

    /// The live chunks among `chunks`, in the order of the places of their other copies, so that each
    /// block of these copies is decoded once.
    fn live(&self, chunks: impl Iterator<Item = (Id, Place)>) -> Result<Vec<(Id, Place)>> {
        let mut live = Vec::new();
        for (id, place) in chunks {
            self.look.interrupt_check()?;
            if self.look.marks.is_live(&id)? {
                let other = self.look.index.lookup(&id)?.map(|found| found.place);
                live.push((
                    other.map(|other| (other.pack, other.block_offset)),
                    id,
                    place,
                ));
            }
        }
        live.sort_by_key(|(other, ..)| *other);
        Ok(live.into_iter().map(|(_, id, place)| (id, place)).collect())
    }

    /// Copies the needed chunks of a pack. Returns `false` if one of them is damaged: then the pack
    /// is kept, because some of its data may still be recoverable.
    pub(super) fn copy(&self, needed: &Needed, copier: &mut Copier<'_>) -> Result<bool> {
        for (id, place) in &needed.chunks {
            match copier.copy(id, place, needed.kind) {
                Ok(()) => {}
                Err(error) if matches!(error.kind(), Kind::Corrupt | Kind::NotFound) => {
                    self.warn(&error.during("it stays"));
                    return Ok(false);
                }
                Err(error) => return Err(error),
            }
        }
        Ok(true)
    }

    /// A pack that is not hidden and has an intact copy. A pack whose copy turns out to be missing or
    /// damaged is hidden: nothing else in it is relied on either.
    fn elsewhere(&self, id: &Id) -> Result<Option<Id>> {
        while let Some(found) = self.look.index.lookup(id)? {
            let pack = found.place.pack;
            // This run has just copied it. Sealed data is opened again before it is stored, so the
            // copy is intact.
            if self.look.marks.is_new(found.ordinal) {
                return Ok(Some(pack));
            }
            match self.blobs.with_at(id, &found.place, |_| Ok(())) {
                Ok(()) => return Ok(Some(pack)),
                Err(error) if error.is_of_one_object() => {
                    self.warn(&error.during("not relied on"));
                    self.look.index.exclude_packs(&HashSet::from([pack]));
                }
                Err(error) => return Err(error).during(|| "look for another copy"),
            }
        }
        Ok(None)
    }

    fn warn(&self, error: &Error) {
        self.kloset.observer().event(&Event::Warning(error));
    }
}

impl Needed {
    pub(super) fn is_nothing(&self) -> bool {
        self.chunks.is_empty()
    }

    /// Uncompressed size of the needed chunks, in bytes.
    pub(super) fn bytes(&self) -> u64 {
        let lengths = self.chunks.iter().map(|(_, place)| place.length);
        lengths.map(u64::from).sum()
    }
}

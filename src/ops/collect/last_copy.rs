//! Whether a pack may go: is everything that is live in it also elsewhere, and good there?
//!
//! The question is asked of the pack itself, by its footer, and not of index objects, which may
//! not tell everything. A copy elsewhere counts once it was read and proved to be what its id
//! says: so neither a bad disk, nor whoever can write to the store and has the key, makes the
//! last good copy go by a claim that there is another.

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

/// Decoded blocks that are kept: chunks that were copied together lie together.
const CACHE_BYTES: usize = 8 << 20;

/// What keeps a pack from being deleted.
pub(super) struct Needed {
    /// The pack.
    pub(super) pack: Id,
    kind: PackKind,
    /// Live chunks of which no other pack has a good copy, and where they are in this one.
    chunks: Vec<(Id, Place)>,
    /// The packs that have good copies of the others.
    pub(super) relied_on: HashSet<Id>,
}

/// One who asks.
pub(super) struct Mover<'a> {
    kloset: &'a Kloset,
    look: &'a Look<'a>,
    blobs: BlobReader<'a>,
}

impl<'a> Mover<'a> {
    /// One who goes by `look`.
    pub(super) fn new(kloset: &'a Kloset, look: &'a Look<'a>) -> Result<Mover<'a>> {
        let blobs = BlobReader::of_store(kloset, CACHE_BYTES)?;
        Ok(Mover {
            kloset,
            look,
            blobs,
        })
    }

    /// What is needed of a pack, which is hidden. Nothing if that cannot be told, since its footer
    /// cannot be read: then it stays.
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

    /// Those of `chunks` that are live, in the order in which their other copies lie, so that each
    /// block of these is decoded once.
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

    /// Copies what is needed of a pack. False if something in there is damaged: then it stays, for
    /// what may yet be got out of it.
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

    /// A pack that is not hidden and has a good copy. One that proves not to have what it should
    /// is hidden: nothing else in it is relied on either.
    fn elsewhere(&self, id: &Id) -> Result<Option<Id>> {
        while let Some(found) = self.look.index.lookup(id)? {
            let pack = found.place.pack;
            // We copied it ourselves just now, and what we seal is opened again before it leaves.
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
    /// Whether nothing is.
    pub(super) fn is_nothing(&self) -> bool {
        self.chunks.is_empty()
    }

    /// Plain bytes of what is.
    pub(super) fn bytes(&self) -> u64 {
        let lengths = self.chunks.iter().map(|(_, place)| place.length);
        lengths.map(u64::from).sum()
    }
}

//! The chunks of a file or a directory, in order, and where each of them lies.

use std::collections::HashMap;
use std::ops::Range;

use crate::error::{During, Error, Kind, Result};
use crate::format::entry::{Content, Entry};
use crate::format::holes::Layout;
use crate::kloset::Kloset;
use crate::kloset::blob::BlobReader;
use crate::kloset::index::Place;
use crate::kloset::tree::{decode_all, decode_list};
use crate::store::Area;
use crate::util::Id;
use crate::util::interrupt::Interrupt;

/// Packs of which it is remembered whether they are there.
const PACKS_LIMIT: usize = 4096;

/// Whether chunks are read, or only looked up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Look {
    /// Where they lie, and whether the pack is there.
    Places,
    /// Their bytes too.
    Bytes,
}

/// What a chunk holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Holds {
    /// Bytes of the file, from this offset on; it is not known after a list that cannot be read.
    Bytes(Option<u64>),
    /// Ids of so many chunks, at this depth.
    List(u32, usize),
    /// Entries of a directory: how many, and the first and the last name.
    Entries(usize, Option<(Vec<u8>, Vec<u8>)>),
    /// Nothing that could be made out.
    Unknown,
}

/// One chunk.
#[derive(Debug)]
pub struct ChunkFacts {
    /// Its id.
    pub id: Id,
    /// What it holds.
    pub holds: Holds,
    /// Every place it lies at.
    pub places: Vec<Place>,
    /// What is wrong with it.
    pub damage: Option<Error>,
}

/// Whoever takes chunks.
pub type EachChunk<'a> = &'a mut dyn FnMut(ChunkFacts) -> Result<()>;

/// Hands every chunk of the file `entry` to `each`, in order, and before them the chunks that
/// list them, where there are so many.
pub fn of_file(
    kloset: &Kloset,
    blobs: &BlobReader<'_>,
    entry: &Entry,
    look: Look,
    interrupt: &Interrupt,
    each: EachChunk<'_>,
) -> Result<()> {
    let walk = Walk::new(kloset, blobs, look, interrupt);
    let mut offsets = Offsets::new(&entry.holes, entry.metadata.size_bytes);
    walk.descend(&entry.content, &mut |found| match found {
        Found::Chunk(id) => {
            let (places, damage) = walk.place(&id)?;
            let damage = walk.read(&id, damage)?;
            let length = places.first().map(|place| place.length);
            let holds = Holds::Bytes(offsets.take(length));
            each(ChunkFacts {
                id,
                holds,
                places,
                damage,
            })
        }
        Found::List(facts) => {
            offsets.lose_if(facts.damage.is_some());
            each(facts)
        }
    })
}

/// Hands every chunk of the directory `entry` to `each`, in order. They are read.
pub fn of_directory(
    kloset: &Kloset,
    blobs: &BlobReader<'_>,
    entry: &Entry,
    interrupt: &Interrupt,
    each: EachChunk<'_>,
) -> Result<()> {
    let walk = Walk::new(kloset, blobs, Look::Bytes, interrupt);
    walk.descend(&entry.tree, &mut |found| match found {
        Found::Chunk(id) => {
            let (places, _) = walk.place(&id)?;
            let (holds, damage) = match blobs.with(&id, decode_all) {
                Ok(entries) => (names(&entries), None),
                Err(error) => (Holds::Unknown, Some(as_damage(error)?)),
            };
            each(ChunkFacts {
                id,
                holds,
                places,
                damage,
            })
        }
        Found::List(facts) => each(facts),
    })
}

/// How many entries there are, and the names they range over.
fn names(entries: &[Entry]) -> Holds {
    let ends = entries.first().zip(entries.last());
    let ends = ends.map(|(first, last)| (first.name.clone(), last.name.clone()));
    Holds::Entries(entries.len(), ends)
}

/// What a walk down the lists comes to.
enum Found {
    /// A chunk of the file or directory itself.
    Chunk(Id),
    /// A chunk of a list.
    List(ChunkFacts),
}

/// A walk over chunks.
struct Walk<'a> {
    kloset: &'a Kloset,
    blobs: &'a BlobReader<'a>,
    look: Look,
    interrupt: &'a Interrupt,
    /// Packs that are known to be there, or not.
    packs: std::cell::RefCell<HashMap<Id, Option<u64>>>,
}

impl<'a> Walk<'a> {
    fn new(
        kloset: &'a Kloset,
        blobs: &'a BlobReader<'a>,
        look: Look,
        interrupt: &'a Interrupt,
    ) -> Walk<'a> {
        Walk {
            kloset,
            blobs,
            look,
            interrupt,
            packs: std::cell::RefCell::default(),
        }
    }

    /// Calls `take` with every list and every chunk of `content`.
    fn descend(&self, content: &Content, take: &mut dyn FnMut(Found) -> Result<()>) -> Result<()> {
        for id in &content.ids {
            self.interrupt.check()?;
            if content.depth == 0 {
                take(Found::Chunk(*id))?;
                continue;
            }
            let (places, _) = self.place(id)?;
            let (ids, damage) = match self.blobs.with(id, decode_list) {
                Ok(ids) => (ids, None),
                Err(error) => (Vec::new(), Some(as_damage(error)?)),
            };
            let holds = Holds::List(content.depth, ids.len());
            take(Found::List(ChunkFacts {
                id: *id,
                holds,
                places,
                damage,
            }))?;
            let depth = content.depth - 1;
            self.descend(&Content { ids, depth }, take)?;
        }
        Ok(())
    }

    /// Where the chunk lies, and what is wrong if it lies nowhere.
    fn place(&self, id: &Id) -> Result<(Vec<Place>, Option<Error>)> {
        let places = match self.blobs.places(id) {
            Ok(places) => places,
            Err(error) => return Ok((Vec::new(), Some(as_damage(error)?))),
        };
        if places.is_empty() {
            return Ok((places, Some(Error::corrupt("is in no pack"))));
        }
        let mut trouble = None;
        for place in &places {
            match self.holds_place(place)? {
                None => return Ok((places, None)),
                found => trouble = found,
            }
        }
        Ok((places, trouble))
    }

    /// What is wrong with the pack of `place`, as far as its length tells.
    fn holds_place(&self, place: &Place) -> Result<Option<Error>> {
        let end = u64::from(place.block_offset) + u64::from(place.sealed_bytes);
        let missing = || format!("pack {}", place.pack.short());
        Ok(match self.pack_bytes(place.pack)? {
            None => Some(Error::corrupt("missing").during(missing())),
            Some(bytes) if bytes < end => Some(Error::corrupt("cut short").during(missing())),
            Some(_) => None,
        })
    }

    /// How long a pack is; nothing if it is not there.
    fn pack_bytes(&self, pack: Id) -> Result<Option<u64>> {
        let mut packs = self.packs.borrow_mut();
        if let Some(known) = packs.get(&pack) {
            return Ok(*known);
        }
        let bytes = match self.kloset.store().stat(Area::Packs, pack) {
            Ok(object) => Some(object.size_bytes),
            Err(error) if error.is_of_one_object() => None,
            Err(error) => return Err(error).during(|| format!("pack {}", pack.short())),
        };
        if packs.len() >= PACKS_LIMIT {
            packs.clear();
        }
        packs.insert(pack, bytes);
        Ok(bytes)
    }

    /// What is wrong with the bytes of the chunk, if they are to be read; else what is known.
    fn read(&self, id: &Id, known: Option<Error>) -> Result<Option<Error>> {
        if self.look == Look::Places {
            return Ok(known);
        }
        match self.blobs.with(id, |_| Ok(())) {
            Ok(()) => Ok(None),
            Err(error) => as_damage(error).map(Some),
        }
    }
}

/// What is wrong with one chunk; what ends the looking is an error.
fn as_damage(error: Error) -> Result<Error> {
    match error.kind() {
        Kind::NotFound => Ok(Error::corrupt(error.to_string())),
        _ if error.is_of_one_object() => Ok(error),
        _ => Err(error),
    }
}

/// Where in the file each chunk begins, holes counted.
struct Offsets {
    layout: Layout,
    /// Bytes of content that came by; nothing once that is not known.
    position: Option<u64>,
}

impl Offsets {
    fn new(holes: &[Range<u64>], size_bytes: u64) -> Offsets {
        Offsets {
            layout: Layout::new(holes, size_bytes),
            position: Some(0),
        }
    }

    /// Where a chunk of `length` begins, and goes on behind it.
    fn take(&mut self, length: Option<u32>) -> Option<u64> {
        let position = self.position?;
        self.position = length.map(|length| position + u64::from(length));
        let parts = self.layout.parts(position, u64::from(length.unwrap_or(1)));
        parts.first().map(|(offset, _)| *offset)
    }

    /// Nothing is known any more.
    fn lose_if(&mut self, is_lost: bool) {
        if is_lost {
            self.position = None;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn offsets_skip_holes_and_end_where_a_length_is_not_known() {
        let mut offsets = Offsets::new(&[0..100, 150..200], 300);
        let taken: Vec<_> = [50, 10].map(|length| offsets.take(Some(length))).into();
        assert_eq!(taken, [Some(100), Some(200)]);
        assert_eq!(
            (offsets.take(None), offsets.take(Some(1))),
            (Some(210), None)
        );
    }
}

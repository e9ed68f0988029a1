//! Lists the chunks of a file or a directory, in order, with their places.

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

/// Maximum number of packs whose existence is cached.
const PACKS_LIMIT: usize = 4096;

/// Whether chunks are read, or only looked up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Look {
    /// Look up the places, and check that the packs exist.
    Places,
    /// Read the bytes too.
    Bytes,
}

/// The contents of a chunk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Holds {
    /// Bytes of the file from this offset on; `None` after a list that cannot be read.
    Bytes(Option<u64>),
    /// This many ids of chunks, in a list at this depth.
    List(u32, usize),
    /// Entries of a directory: their number, and the first and the last name.
    Entries(usize, Option<(Vec<u8>, Vec<u8>)>),
    /// Unknown contents: the chunk cannot be read.
    Unknown,
}

/// The facts about one chunk.
#[derive(Debug)]
pub struct ChunkFacts {
    /// The id of the chunk.
    pub id: Id,
    /// The contents of the chunk.
    pub holds: Holds,
    /// Every place of the chunk.
    pub places: Vec<Place>,
    /// The damage of the chunk, if any.
    pub damage: Option<Error>,
}

/// Callback for each chunk.
pub type EachChunk<'a> = &'a mut dyn FnMut(ChunkFacts) -> Result<()>;

/// Calls `each` with every chunk of the file `entry`, in order. The chunks of lists, if the file has
/// any, come before the chunks that they list.
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

/// Calls `each` with every chunk of the directory `entry`, in order. Reads the chunks.
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

/// The number of entries, and their first and last name.
fn names(entries: &[Entry]) -> Holds {
    let ends = entries.first().zip(entries.last());
    let ends = ends.map(|(first, last)| (first.name.clone(), last.name.clone()));
    Holds::Entries(entries.len(), ends)
}

/// A result of the walk through lists.
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
    /// The sizes of packs, `None` for a missing pack.
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

    /// The places of the chunk, and the damage if there are none.
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

    /// The damage of the pack at `place`, as far as its size shows.
    fn holds_place(&self, place: &Place) -> Result<Option<Error>> {
        let end = u64::from(place.block_offset) + u64::from(place.sealed_bytes);
        let missing = || format!("pack {}", place.pack.short());
        Ok(match self.pack_bytes(place.pack)? {
            None => Some(Error::corrupt("missing").during(missing())),
            Some(bytes) if bytes < end => Some(Error::corrupt("cut short").during(missing())),
            Some(_) => None,
        })
    }

    /// The size of a pack; `None` if it does not exist.
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

    /// The damage of the chunk, found by reading it if requested; otherwise `known`.
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

/// Converts an error of one chunk to damage. Other errors end the inspection.
fn as_damage(error: Error) -> Result<Error> {
    match error.kind() {
        Kind::NotFound => Ok(Error::corrupt(error.to_string())),
        _ if error.is_of_one_object() => Ok(error),
        _ => Err(error),
    }
}

/// The offset of each chunk in the file, including holes.
struct Offsets {
    layout: Layout,
    /// Bytes of content so far; `None` once this is unknown.
    position: Option<u64>,
}

impl Offsets {
    fn new(holes: &[Range<u64>], size_bytes: u64) -> Offsets {
        Offsets {
            layout: Layout::new(holes, size_bytes),
            position: Some(0),
        }
    }

    /// The offset of a chunk of `length`. Advances past the chunk.
    fn take(&mut self, length: Option<u32>) -> Option<u64> {
        let position = self.position?;
        self.position = length.map(|length| position + u64::from(length));
        let parts = self.layout.parts(position, u64::from(length.unwrap_or(1)));
        parts.first().map(|(offset, _)| *offset)
    }

    /// Makes all later offsets unknown if `is_lost`.
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

//! Finds a chunk by a prefix of its id, and reads every copy of it.

use std::collections::BTreeSet;

use super::index::Packs;
use super::packs::BlockReader;
use super::{NAMED_LIMIT, Prefix, answered, listed, only};
use crate::error::{Error, Result};
use crate::format::pack_table::{PackKind, PackTable};
use crate::kloset::index::Place;
use crate::kloset::pack::read_table;
use crate::kloset::{Kloset, index_object};
use crate::store::Area;
use crate::util::Id;
use crate::util::interrupt::Interrupt;

/// Number of digits that identify a chunk without a scan: an index records no more.
const WHOLE_DIGITS: usize = 32;

/// One copy of a chunk.
#[derive(Debug)]
pub struct Copy {
    /// The place of the copy.
    pub place: Place,
    /// The kind of its pack, if the footer can be read.
    pub kind: Option<PackKind>,
    /// The codec of its block, or the damage of this copy.
    pub codec: Result<&'static str>,
}

/// The chunk whose id begins with `prefix`, with as much of its id as is known, and each copy of it.
///
/// With fewer than 32 digits, every index object is read, and the footer of every pack that no index
/// object covers. This can take long.
///
/// # Errors
/// [`crate::error::Kind::NotFound`] if there is no such chunk, [`crate::error::Kind::Usage`] if there
/// are several.
pub fn chunk(kloset: &Kloset, prefix: &Prefix, interrupt: &Interrupt) -> Result<(Id, Vec<Copy>)> {
    let id = match prefix.digits() < WHOLE_DIGITS {
        true => scan(kloset, prefix, interrupt)?,
        false => prefix.least(),
    };
    let found = |places: Vec<Place>| Some(places).filter(|places| !places.is_empty());
    let places = kloset.find(|index| Ok(found(index.places(&id)?)))?;
    let places = places.ok_or_else(|| {
        let none = only::<()>(prefix, "the chunks", Vec::new(), |()| String::new());
        none.expect_err("none is not one")
    })?;
    let mut reader = BlockReader::new(kloset)?;
    let mut whole = None;
    let mut copies = Vec::with_capacity(places.len());
    for place in places {
        interrupt.check()?;
        copies.push(copy(kloset, &mut reader, place, prefix, &mut whole)?);
    }
    Ok((whole.unwrap_or(id), copies))
}

/// Reads the chunk at `place`. If it matches `prefix`, stores its whole id in `whole`.
fn copy(
    kloset: &Kloset,
    reader: &mut BlockReader<'_>,
    place: Place,
    prefix: &Prefix,
    whole: &mut Option<Id>,
) -> Result<Copy> {
    let mut read = || -> Result<&'static str> {
        let offset = u64::from(place.block_offset);
        let (plain, codec) = reader.read(place.pack, offset, place.sealed_bytes)?;
        let (start, length) = (place.start as usize, place.length as usize);
        let plain = plain.get(start..start + length);
        let plain = plain.ok_or_else(|| Error::corrupt("its block is shorter"))?;
        let id = kloset.chunk_id(plain);
        if !prefix.fits(&id) {
            return Err(Error::corrupt("is not what was stored"));
        }
        *whole = Some(id);
        Ok(codec)
    };
    let codec = match read() {
        Err(error) if !error.is_of_one_object() => return Err(error),
        codec => codec,
    };
    let table = read_table(kloset.store(), kloset.sealer(), place.pack);
    Ok(Copy {
        place,
        kind: table.ok().map(|table| table.kind),
        codec,
    })
}

/// The first half of the id of the only chunk that begins with `prefix`; the rest is zero.
fn scan(kloset: &Kloset, prefix: &Prefix, interrupt: &Interrupt) -> Result<Id> {
    let mut found = Halves::new(prefix);
    let objects = listed(kloset.store(), Area::Index)?;
    let mut packs = Packs::new(kloset)?;
    for object in objects {
        interrupt.check()?;
        // If it cannot be read, the footers of its packs are read instead.
        if let Some(Ok(tables)) = answered(index_object::read(kloset, object.id))? {
            for table in &tables {
                packs.cover(&table.pack);
                found.take(table);
            }
        }
    }
    for pack in packs.uncovered() {
        interrupt.check()?;
        if let Some(Ok(table)) = answered(read_table(kloset.store(), kloset.sealer(), pack))? {
            found.take(&table);
        }
    }
    let ids: Vec<Id> = found.ids.into_iter().collect();
    only(prefix, "the chunks", ids, |id| {
        id.to_string()[..WHOLE_DIGITS].to_owned()
    })
}

/// The first halves of the ids with a common prefix.
struct Halves<'a> {
    prefix: &'a Prefix,
    ids: BTreeSet<Id>,
}

impl Halves<'_> {
    fn new(prefix: &Prefix) -> Halves<'_> {
        Halves {
            prefix,
            ids: BTreeSet::new(),
        }
    }

    /// Adds the ids of a pack, up to the number that an error lists.
    fn take(&mut self, table: &PackTable) {
        let chunks = table.blocks.iter().flat_map(|block| &block.chunks);
        for chunk in chunks.filter(|chunk| self.prefix.fits(&chunk.id)) {
            if self.ids.len() <= NAMED_LIMIT {
                let mut half = chunk.id;
                half.0[WHOLE_DIGITS / 2..].fill(0);
                self.ids.insert(half);
            }
        }
    }
}

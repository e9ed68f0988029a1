//! Index objects: the contents of each, whether the local cache agrees with it, and whether all of
//! them together cover every pack.

use super::{answered, listed};
use crate::error::Result;
use crate::format::pack_table::PackTable;
use crate::kloset::Kloset;
use crate::kloset::index::{Index, Place};
use crate::kloset::index_object;
use crate::store::{Area, Object};
use crate::util::Id;
use crate::util::interrupt::Interrupt;

/// Whether the local cache has the contents of an index object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cached {
    /// The cache has all of it.
    Yes,
    /// The cache has nothing of it: the next command will read the object.
    No,
    /// The cache claims to have it, but has a chunk at another place or not at all. The cache should
    /// be deleted.
    Differs,
}

/// The facts about one index object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IndexFacts {
    /// Number of packs that it mentions.
    pub packs: usize,
    /// Number of chunks in these packs.
    pub chunks: usize,
    /// Whether the cache agrees.
    pub cached: Cached,
}

/// An inconsistency between index objects, packs and the cache.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Gap {
    /// This pack is in the store, and no readable index object mentions it.
    Uncovered(Id),
    /// An index object mentions this pack, which is not in the store.
    Missing(Id),
    /// The cache has an index object that is no longer in the store.
    Stale(Id),
}

/// Callback for each index object.
pub type EachIndex<'a> = &'a mut dyn FnMut(Object, Result<IndexFacts>) -> Result<()>;
/// Callback for each gap.
pub type EachGap<'a> = &'a mut dyn FnMut(Gap) -> Result<()>;

/// Calls `each` with every index object, by name, and then `gap` with every gap.
pub fn each_index(
    kloset: &Kloset,
    interrupt: &Interrupt,
    each: EachIndex<'_>,
    gap: EachGap<'_>,
) -> Result<()> {
    // Opened separately, because the index of `kloset` would first update itself.
    let directory = kloset.cache.as_ref().map(|cache| cache.join("index"));
    let cache = Index::open(directory.as_deref());
    // The order matters: packs that an index object mentions existed when it was published.
    let objects = listed(kloset.store(), Area::Index)?;
    let mut packs = Packs::new(kloset)?;
    for object in &objects {
        interrupt.check()?;
        let tables = answered(index_object::read(kloset, object.id))?;
        let facts = match tables {
            None => continue,
            Some(Err(error)) => Err(error),
            Some(Ok(tables)) => {
                for table in tables.iter().filter(|table| !packs.cover(&table.pack)) {
                    gap(Gap::Missing(table.pack))?;
                }
                Ok(facts(&cache, object.id, &tables, interrupt)?)
            }
        };
        each(*object, facts)?;
    }
    packs
        .uncovered()
        .try_for_each(|pack| gap(Gap::Uncovered(pack)))?;
    let there = |id: &Id| objects.binary_search_by_key(id, |object| object.id).is_ok();
    let mut stale: Vec<Id> = cache
        .covered()
        .into_iter()
        .filter(|id| !there(id))
        .collect();
    stale.sort();
    stale
        .into_iter()
        .try_for_each(|object| gap(Gap::Stale(object)))
}

fn facts(
    cache: &Index,
    object: Id,
    tables: &[PackTable],
    interrupt: &Interrupt,
) -> Result<IndexFacts> {
    let mut cached = match cache.covers(object) {
        true => Cached::Yes,
        false => Cached::No,
    };
    for table in tables {
        interrupt.check()?;
        if cached == Cached::Yes && !agrees(cache, table) {
            cached = Cached::Differs;
        }
    }
    Ok(IndexFacts {
        packs: tables.len(),
        chunks: tables.iter().map(PackTable::chunk_count).sum(),
        cached,
    })
}

/// Whether the cache has every chunk of `table` at the same place. An unreadable cache does not.
fn agrees(cache: &Index, table: &PackTable) -> bool {
    let has = |(id, place): (Id, Place)| {
        let places = cache.places(&id);
        places.is_ok_and(|places| places.contains(&place))
    };
    places(table).all(has)
}

/// Every chunk of a pack, with its place.
pub(crate) fn places(table: &PackTable) -> impl Iterator<Item = (Id, Place)> {
    table.offsets().flat_map(move |(offset, block)| {
        let mut next = 0;
        block.chunks.iter().map(move |chunk| {
            let start = next;
            next += chunk.length;
            let place = Place {
                pack: table.pack,
                // Packs are below 4 GiB: the index refuses others.
                block_offset: offset as u32,
                sealed_bytes: block.sealed_bytes,
                start,
                length: chunk.length,
            };
            (chunk.id, place)
        })
    })
}

/// The packs in the store, and whether an index object covers them.
pub(super) struct Packs {
    listed: Vec<Id>,
    covered: Vec<bool>,
}

impl Packs {
    /// The packs that exist now.
    pub(super) fn new(kloset: &Kloset) -> Result<Packs> {
        let objects = listed(kloset.store(), Area::Packs)?;
        let listed: Vec<Id> = objects.into_iter().map(|object| object.id).collect();
        let covered = vec![false; listed.len()];
        Ok(Packs { listed, covered })
    }

    /// Notes that an index object mentions `pack`. Returns `false` if the pack does not exist.
    pub(super) fn cover(&mut self, pack: &Id) -> bool {
        match self.listed.binary_search(pack) {
            Ok(at) => {
                self.covered[at] = true;
                true
            }
            Err(_) => false,
        }
    }

    /// The packs that no index object mentions.
    pub(super) fn uncovered(&self) -> impl Iterator<Item = Id> {
        let both = self.listed.iter().zip(&self.covered);
        both.filter(|(_, covered)| !**covered)
            .map(|(pack, _)| *pack)
    }
}

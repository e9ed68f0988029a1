//! Index objects: what each tells, whether the cache of this machine agrees with it, and
//! whether all of them together tell of every pack.

use super::{answered, listed};
use crate::error::Result;
use crate::format::pack_table::PackTable;
use crate::kloset::Kloset;
use crate::kloset::index::{Index, Place};
use crate::kloset::index_object;
use crate::store::{Area, Object};
use crate::util::Id;
use crate::util::interrupt::Interrupt;

/// Whether the cache of this machine has what an index object says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cached {
    /// All of it.
    Yes,
    /// Nothing: the next command will read it.
    No,
    /// It claims to, but has a chunk elsewhere or not at all: the cache should be deleted.
    Differs,
}

/// What one index object says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IndexFacts {
    /// Packs it tells of.
    pub packs: usize,
    /// Chunks in these.
    pub chunks: usize,
    /// Whether the cache agrees.
    pub cached: Cached,
}

/// What is wrong between index objects, packs and the cache.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Gap {
    /// This pack is in the store, and no index object that can be read tells of it.
    Uncovered(Id),
    /// An index object tells of this pack, which is not in the store.
    Missing(Id),
    /// The cache has an index object that is no longer in the store.
    Stale(Id),
}

/// Whoever takes index objects.
pub type EachIndex<'a> = &'a mut dyn FnMut(Object, Result<IndexFacts>) -> Result<()>;
/// Whoever takes gaps.
pub type EachGap<'a> = &'a mut dyn FnMut(Gap) -> Result<()>;

/// Hands every index object to `each`, by name, and then every gap to `gap`.
pub fn each_index(
    kloset: &Kloset,
    interrupt: &Interrupt,
    each: EachIndex<'_>,
    gap: EachGap<'_>,
) -> Result<()> {
    // Opened beside the index of this kloset, which would first bring itself up to date.
    let directory = kloset.cache.as_ref().map(|cache| cache.join("index"));
    let cache = Index::open(directory.as_deref());
    // In this order: packs that an index object tells of were there when it was published.
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

/// Whether the cache has every chunk of `table` where that says. One that cannot be read does not.
fn agrees(cache: &Index, table: &PackTable) -> bool {
    let has = |(id, place): (Id, Place)| {
        let places = cache.places(&id);
        places.is_ok_and(|places| places.contains(&place))
    };
    places(table).all(has)
}

/// Every chunk of a pack, and where it lies.
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

/// The packs in the store, and which of them some index object tells of.
pub(super) struct Packs {
    listed: Vec<Id>,
    covered: Vec<bool>,
}

impl Packs {
    /// Those that are there now.
    pub(super) fn new(kloset: &Kloset) -> Result<Packs> {
        let objects = listed(kloset.store(), Area::Packs)?;
        let listed: Vec<Id> = objects.into_iter().map(|object| object.id).collect();
        let covered = vec![false; listed.len()];
        Ok(Packs { listed, covered })
    }

    /// Notes that an index object tells of `pack`. False if that is not there.
    pub(super) fn cover(&mut self, pack: &Id) -> bool {
        match self.listed.binary_search(pack) {
            Ok(at) => {
                self.covered[at] = true;
                true
            }
            Err(_) => false,
        }
    }

    /// Those of which none tells.
    pub(super) fn uncovered(&self) -> impl Iterator<Item = Id> {
        let both = self.listed.iter().zip(&self.covered);
        both.filter(|(_, covered)| !**covered)
            .map(|(pack, _)| *pack)
    }
}

//! Index objects: replaces those that mention deleted packs, and merges small ones if there are many.
//! Adds packs that no index object covers, because a run was interrupted or an index object was lost.
//!
//! The replacement is published before the old index objects are deleted, so a client that reads
//! index objects finds each pack in at least one of them. Two concurrent maintenance runs leave
//! duplicate facts, which cost space until the next run. If all index objects were lost, footers
//! would provide the same facts.

use std::collections::HashSet;

use super::survey::{Look, listed};
use super::{Options, Summary};
use crate::error::{During, Kind, Result};
use crate::format::pack_table::PackTable;
use crate::kloset::pack::read_table;
use crate::kloset::progress::Event;
use crate::kloset::{Kloset, index_object};
use crate::store::{Area, Object};
use crate::util::Id;

/// An index object below this size is small.
const SMALL_BYTES: u64 = 256 << 10;
/// Number of small index objects that are worth merging. A backup leaves one.
const SMALL_MANY: usize = 16;
/// Number of chunks after which an index object is full: 4 MB of memory.
const FULL_CHUNKS: usize = 100_000;

/// Replaces index objects, and returns whether none of them mentions deleted packs any more.
///
/// Returns `false` if there is no space for a replacement, which is not an error, or if an index
/// object is new, so that its contents are unknown. An index object that no client can read mentions
/// nothing.
pub(super) fn merge(
    kloset: &Kloset,
    options: &Options,
    look: &Look<'_>,
    summary: &mut Summary,
) -> Result<bool> {
    let mut merger = Merger {
        kloset,
        options,
        look,
        tables: Vec::new(),
        chunks: 0,
        published: HashSet::new(),
    };
    let (old, all_known) = merger.replaceable()?;
    let uncovered = merger.uncovered();
    // Packs are known by their numbers, which refer to other packs if the index was rebuilt
    // meanwhile.
    look.marks.check()?;
    if options.is_dry {
        summary.merged_indexes += old.len() as u64;
        summary.indexed_packs += uncovered.len() as u64;
        return Ok(all_known);
    }
    match merger.replace(&old, &uncovered) {
        Err(error) if error.kind() == Kind::NoSpace => {
            let error = error.during("index objects stay as they are");
            kloset.observer().event(&Event::Warning(&error));
            Ok(false)
        }
        replaced => {
            let (replaced, indexed) = replaced?;
            summary.merged_indexes += replaced;
            summary.indexed_packs += indexed;
            Ok(all_known)
        }
    }
}

struct Merger<'a> {
    kloset: &'a Kloset,
    options: &'a Options,
    look: &'a Look<'a>,
    /// The contents of the next index object.
    tables: Vec<PackTable>,
    chunks: usize,
    /// The new index objects. They must not be deleted, although one may be equal to an old one.
    published: HashSet<Id>,
}

impl Merger<'_> {
    /// The index objects to replace: those that mention a deleted pack, and the small ones if there
    /// are many. Also returns whether the contents of all index objects are known.
    fn replaceable(&self) -> Result<(Vec<Id>, bool)> {
        let objects = listed(self.kloset, Area::Index)?;
        let is_small = |object: &&Object| object.size_bytes < SMALL_BYTES;
        let many = objects.iter().filter(is_small).count() >= SMALL_MANY;
        let (mut replaceable, mut all_known) = (Vec::new(), true);
        for object in &objects {
            self.options.interrupt.check()?;
            all_known &= self.look.index.covers(object.id) || self.tells_nobody(object.id)?;
            if many && is_small(&object) || self.tells_of_gone(object.id)? {
                replaceable.push(object.id);
            }
        }
        Ok((replaceable, all_known))
    }

    /// Whether an object that is not in the index is useless to every client: damaged, or planted by
    /// an attacker without the key.
    fn tells_nobody(&self, object: Id) -> Result<bool> {
        match index_object::read(self.kloset, object) {
            Err(error) if error.kind() == Kind::Corrupt => Ok(true),
            Err(error) if !error.is_of_one_object() => Err(error),
            _ => Ok(false),
        }
    }

    /// Whether this object mentions a pack that is known to be deleted.
    fn tells_of_gone(&self, object: Id) -> Result<bool> {
        let mut packs = self.look.index.packs_of(&object).into_iter();
        Ok(packs.any(|pack| self.look.is_gone_for_good(&pack)))
    }

    /// The packs in the store that no index object covers and that are not condemned. A backup may
    /// still be storing some of them and publish its own index object later: the store then has two
    /// copies of the same facts, which is harmless.
    fn uncovered(&self) -> Vec<Id> {
        let packs = self.look.index.packs_present();
        packs
            .filter(|pack| {
                !pack.is_covered && !pack.is_excluded && self.look.is_listed(pack.number)
            })
            .map(|pack| pack.info.id)
            .collect()
    }

    /// Publishes index objects that replace `old` and cover `uncovered`, then deletes `old`. Returns
    /// how many were replaced, and how many packs were added.
    fn replace(&mut self, old: &[Id], uncovered: &[Id]) -> Result<(u64, u64)> {
        let mut read = Vec::new();
        let mut told = HashSet::new();
        for object in old {
            self.options.interrupt.check()?;
            let tables = match index_object::read(self.kloset, *object) {
                Ok(tables) => tables,
                // Gone or damaged; `check` reports damage.
                Err(error) if error.is_of_one_object() => continue,
                Err(error) => return Err(error),
            };
            read.push(*object);
            for table in tables {
                if !self.look.is_gone_for_good(&table.pack) && told.insert(table.pack) {
                    self.add(table)?;
                }
            }
        }
        let mut indexed = 0;
        for pack in uncovered {
            self.options.interrupt.check()?;
            match read_table(self.kloset.store(), self.kloset.sealer(), *pack) {
                // `old` may have mentioned it, if another run published that meanwhile.
                Ok(table) if told.insert(*pack) => {
                    self.add(table)?;
                    indexed += 1;
                }
                Ok(_) => {}
                // Gone or damaged; `check` reports damage.
                Err(error) if error.is_of_one_object() => {}
                Err(error) => return Err(error),
            }
        }
        self.publish()?;
        read.retain(|object| !self.published.contains(object));
        for object in &read {
            self.options.interrupt.check()?;
            let deleted = self.kloset.store().delete(Area::Index, *object);
            deleted.during(|| "replace index objects")?;
        }
        Ok((read.len() as u64, indexed))
    }

    /// Adds a pack to the next index object.
    fn add(&mut self, table: PackTable) -> Result<()> {
        self.chunks += table.chunk_count();
        self.tables.push(table);
        match self.chunks >= FULL_CHUNKS {
            true => self.publish(),
            false => Ok(()),
        }
    }

    /// Publishes the collected tables as one index object.
    fn publish(&mut self) -> Result<()> {
        let tables = std::mem::take(&mut self.tables);
        self.chunks = 0;
        if tables.is_empty() {
            return Ok(());
        }
        let (object, _) = index_object::publish(self.kloset, &tables)?;
        let packs: Vec<Id> = tables.iter().map(|table| table.pack).collect();
        self.look.index.cover(object, &packs);
        self.published.insert(object);
        Ok(())
    }
}

//! Index objects: those that mention deleted packs are replaced, and so are many small ones. Packs
//! that no index object covers are added: an interrupted run left them, or an index object was lost.
//!
//! What takes their place is published before they are deleted, so whoever reads index objects
//! finds each pack in one of them, or in both. Two maintenances that do this at once leave things
//! told twice, which costs room until the next one. If all of them were lost, footers
//! would tell the same.

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
/// Small index objects that are worth merging: a backup leaves one.
const SMALL_MANY: usize = 16;
/// Chunks after which an index object is full: 4 MB of memory.
const FULL_CHUNKS: usize = 100_000;

/// Replaces what should be. Whether none tells of packs that are gone any more: not if there is no room
/// to replace it, which is no reason to fail, nor if it is new. What nobody can read tells nothing.
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
    // Packs are known by numbers, which mean other packs if the index was rebuilt meanwhile.
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
    /// What the next index object will tell.
    tables: Vec<PackTable>,
    chunks: usize,
    /// The new ones: they must not be deleted, though they may be equal to an old one.
    published: HashSet<Id>,
}

impl Merger<'_> {
    /// The index objects that tell of a pack that is gone, and the small ones if they are many; and
    /// whether of all of them it is known what they tell.
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

    /// Whether an object that is not in the index is one that nobody learns anything from: damaged, or
    /// planted by somebody without the key.
    fn tells_nobody(&self, object: Id) -> Result<bool> {
        match index_object::read(self.kloset, object) {
            Err(error) if error.kind() == Kind::Corrupt => Ok(true),
            Err(error) if !error.is_of_one_object() => Err(error),
            _ => Ok(false),
        }
    }

    /// Whether the index knows that a pack this object tells of is gone.
    fn tells_of_gone(&self, object: Id) -> Result<bool> {
        let mut packs = self.look.index.packs_of(&object).into_iter();
        Ok(packs.any(|pack| self.look.is_gone_for_good(&pack)))
    }

    /// The packs in the store that no index object covers and that are not condemned. A backup may
    /// still be storing some of them and publish its own index object later: the store then has two
    /// copies of the same facts, which does no harm.
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
                // Gone, or damaged, which check tells of.
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
                // Gone, or damaged, which check reports.
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

    /// Publishes what was gathered.
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

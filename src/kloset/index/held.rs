//! The index held still, for whoever notes things by ordinal: a collector, whose marks
//! are one bit a record.
//!
//! While it is held no segments are merged, and what is added comes behind what was there, so an
//! ordinal below [`Held::records`] means the same record until the holder lets go. A cache
//! that turns out to be damaged is made anew all the same; then [`Held::is_still`] says no, and
//! whatever was noted means nothing any more.

use std::ops::ControlFlow;
use std::sync::atomic::Ordering;

use super::{Found, Index, PackInfo};
use crate::error::{Error, Kind, Result};
use crate::util::Id;

/// Pages of a segment that are read at a time when all are.
const RUN_PAGES: usize = 16;

/// The right to rely on ordinals.
pub struct Held<'a> {
    index: &'a Index,
    generation: u64,
    records: u64,
}

/// A pack that is in the store, as the index knows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NumberedPack {
    /// Its number: below [`Index::pack_numbers`].
    pub number: u32,
    /// What is known of it.
    pub info: PackInfo,
    /// Whether it was [excluded](Index::exclude_packs).
    pub is_excluded: bool,
    /// Whether an index object covers it.
    pub is_covered: bool,
}

impl Drop for Held<'_> {
    fn drop(&mut self) {
        self.index.holders.fetch_sub(1, Ordering::SeqCst);
    }
}

impl<'a> Held<'a> {
    /// Above every ordinal that was there when the index was held.
    pub fn records(&self) -> u64 {
        self.records
    }

    /// # Errors
    /// [`Kind::Unavailable`] if the cache was made anew: ordinals mean other records now.
    pub fn check(&self) -> Result<()> {
        match self.is_still() {
            true => Ok(()),
            false => Err(Error::new(
                Kind::Unavailable,
                "the index cache was damaged and made anew; run it again",
            )),
        }
    }

    /// Whether ordinals still mean what they meant.
    pub fn is_still(&self) -> bool {
        self.index.generation.load(Ordering::SeqCst) == self.generation && !self.index.damaged()
    }

    /// Takes in what was added since: its ordinals, too, stay from now on.
    pub fn extend(&mut self) -> Result<()> {
        self.index.spill_now()?;
        self.records = self.index.records();
        self.check()
    }

    /// Shows `take` the number of the pack, the ordinal and the length of every record.
    ///
    /// # Errors
    /// [`Kind::Corrupt`] if the cache is [damaged](Index::damaged).
    pub fn each_record(&self, take: &mut dyn FnMut(u32, u64, u32)) -> Result<()> {
        let mut run = Vec::new();
        for (base, segment) in &self.index.segments().list {
            let (mut page, mut ordinal) = (0, *base);
            loop {
                run.clear();
                let read = segment.read_run(page, RUN_PAGES, &mut run);
                let pages = read.map_err(|cause| self.index.noticed(cause))?;
                if pages == 0 {
                    break;
                }
                page += pages;
                for record in &run {
                    take(record.pack, ordinal, record.length);
                    ordinal += 1;
                }
            }
        }
        Ok(())
    }
}

impl Index {
    /// Holds the index still.
    ///
    /// # Errors
    /// If what is in memory cannot be written; it would move when it is written later.
    pub fn hold(&self) -> Result<Held<'_>> {
        self.holders.fetch_add(1, Ordering::SeqCst);
        let mut held = Held {
            index: self,
            generation: self.generation.load(Ordering::SeqCst),
            records: 0,
        };
        held.extend()?;
        Ok(held)
    }

    /// As [`Index::lookup`], also in packs that are excluded.
    pub fn lookup_in_all(&self, id: &Id) -> Result<Option<Found>> {
        let mut found = None;
        self.each_copy(id, &mut |copy| {
            found = Some(copy);
            ControlFlow::Break(())
        })?;
        Ok(found)
    }

    /// Shows `take` every copy of a chunk, those in packs that are excluded among them, until it
    /// has seen enough. One may be shown twice.
    pub fn each_copy(&self, id: &Id, take: &mut dyn FnMut(Found) -> ControlFlow<()>) -> Result<()> {
        self.search(id, &mut |record, ordinal| {
            let pack = self.packs().present(record.pack);
            match pack {
                Some(info) => take(Found {
                    place: record.place_in(info.id),
                    ordinal,
                }),
                None => ControlFlow::Continue(()),
            }
        })
    }

    /// Shows `take` the ordinal of every record of a chunk, until it has seen enough, whatever has
    /// become of the pack. One may be shown twice.
    pub fn each_ordinal(
        &self,
        id: &Id,
        take: &mut dyn FnMut(u64) -> ControlFlow<()>,
    ) -> Result<()> {
        self.search(id, &mut |_, ordinal| take(ordinal))
    }

    /// The packs that are in the store.
    pub fn packs_present(&self) -> impl Iterator<Item = NumberedPack> {
        let packs = move |number| {
            let packs = self.packs();
            packs.present(number).map(|info| NumberedPack {
                number,
                info,
                is_excluded: packs.visible(number).is_none(),
                is_covered: packs.is_covered(number),
            })
        };
        (0..self.pack_numbers()).filter_map(packs)
    }

    /// Above every number of a pack.
    pub fn pack_numbers(&self) -> u32 {
        self.packs().len() as u32
    }

    /// What is known of the pack with this number, though it may be hidden.
    pub fn pack_at(&self, number: u32) -> Option<PackInfo> {
        self.packs().alive(number)
    }

    /// The packs that an index object vouches for.
    pub fn packs_of(&self, object: &Id) -> Vec<Id> {
        self.packs().covered_by(object)
    }

    /// The number of a pack whose records are in, though it may be hidden.
    pub fn number_of(&self, pack: &Id) -> Option<u32> {
        self.packs().number(pack)
    }

    /// Says that `pack` was deleted: from now on it is hidden.
    pub fn mark_absent(&self, pack: &Id) {
        self.packs_mut().mark_absent(pack);
    }

    /// Whether somebody relies on ordinals.
    pub(super) fn is_held(&self) -> bool {
        self.holders.load(Ordering::SeqCst) > 0
    }
}

//! Keeps the ordinals of the index stable for callers that store data by ordinal, such as the
//! collector, which has one bit per record.
//!
//! While the index is held, no segments are merged, and new records are added after the existing
//! ones. So an ordinal below [`Held::records`] identifies the same record until the holder drops
//! it. A cache that turns out to be damaged is rebuilt anyway. Then [`Held::is_still`] returns
//! false, and all data stored by ordinal is invalid.

use std::ops::ControlFlow;
use std::sync::atomic::Ordering;

use super::{Found, Index, PackInfo};
use crate::error::{Error, Kind, Result};
use crate::util::Id;

/// Number of pages that are read at a time when all pages are read.
const RUN_PAGES: usize = 16;

/// The right to rely on ordinals, until it is dropped.
pub struct Held<'a> {
    index: &'a Index,
    generation: u64,
    records: u64,
}

/// A pack that is in the store, with its state in the index.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NumberedPack {
    /// The number of the pack: below [`Index::pack_numbers`].
    pub number: u32,
    /// Its name, size and kind.
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
    /// An upper bound, exclusive, of the ordinals that existed when the index was held or extended.
    pub fn records(&self) -> u64 {
        self.records
    }

    /// # Errors
    /// [`Kind::Unavailable`] if the cache was rebuilt, so that ordinals identify other records.
    pub fn check(&self) -> Result<()> {
        match self.is_still() {
            true => Ok(()),
            false => Err(Error::new(
                Kind::Unavailable,
                "the index cache was damaged and made anew; run it again",
            )),
        }
    }

    /// Whether ordinals still identify the same records.
    pub fn is_still(&self) -> bool {
        self.index.generation.load(Ordering::SeqCst) == self.generation && !self.index.damaged()
    }

    /// Includes the records that were added since. Their ordinals are stable from now on too.
    pub fn extend(&mut self) -> Result<()> {
        self.index.spill_now()?;
        self.records = self.index.records();
        self.check()
    }

    /// Calls `take` with the pack number, the ordinal and the length of every record.
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
    /// Keeps ordinals stable until the result is dropped.
    ///
    /// # Errors
    /// If the records in memory cannot be written to a segment. A later write would change their
    /// ordinals.
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

    /// Does the same as [`Index::lookup`], but includes excluded packs.
    pub fn lookup_in_all(&self, id: &Id) -> Result<Option<Found>> {
        let mut found = None;
        self.each_copy(id, &mut |copy| {
            found = Some(copy);
            ControlFlow::Break(())
        })?;
        Ok(found)
    }

    /// Calls `take` with every copy of a chunk, including those in excluded packs, until it breaks.
    /// A copy can occur twice.
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

    /// Calls `take` with the ordinal of every record of a chunk, regardless of the state of its
    /// pack, until it breaks. An ordinal can occur twice.
    pub fn each_ordinal(
        &self,
        id: &Id,
        take: &mut dyn FnMut(u64) -> ControlFlow<()>,
    ) -> Result<()> {
        self.search(id, &mut |_, ordinal| take(ordinal))
    }

    /// The packs that are in the store, including excluded ones.
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

    /// An upper bound, exclusive, of the pack numbers.
    pub fn pack_numbers(&self) -> u32 {
        self.packs().len() as u32
    }

    /// Information about the pack with this number, even if it is hidden.
    pub fn pack_at(&self, number: u32) -> Option<PackInfo> {
        self.packs().alive(number)
    }

    /// The packs that an index object covers.
    pub fn packs_of(&self, object: &Id) -> Vec<Id> {
        self.packs().covered_by(object)
    }

    /// The number of a pack whose records are in the index, even if it is hidden.
    pub fn number_of(&self, pack: &Id) -> Option<u32> {
        self.packs().number(pack)
    }

    /// Records that `pack` was deleted. It is hidden from now on.
    pub fn mark_absent(&self, pack: &Id) {
        self.packs_mut().mark_absent(pack);
    }

    /// Whether a holder relies on ordinals.
    pub(super) fn is_held(&self) -> bool {
        self.holders.load(Ordering::SeqCst) > 0
    }
}

//! Finds chunks when index objects are missing, damaged or wrong.
//!
//! Index objects are copies of pack footers. A chunk that a snapshot refers to should be listed in
//! one of them. If it is not, plakar reads footers:
//!
//! 1. If a chunk is not found: once, the footers of the packs that no index object covers.
//! 2. If a pack does not contain the expected chunk at its place: the footer of that pack. If the
//!    footer contradicts the index, the index object was forged.
//! 3. If an index object is wrong or omits a chunk: once, the footers of all packs.
//!
//! Reading footers pack by pack is slow. It happens only when the alternative is to give up.

use std::sync::PoisonError;
use std::sync::atomic::Ordering;

use super::Kloset;
use super::index::{Index, Place};
use super::pack;
use super::pipeline::{each_at_once, lock};
use super::progress::Event;
use crate::error::{During, Error, Kind, Result};
use crate::store::Area;
use crate::util::Id;

impl Kloset {
    /// Does the same as [`Kloset::look_up`], for data that a snapshot refers to, which should
    /// therefore be in the index. If it is missing, index objects were lost. Then the footers of
    /// the packs that no index object covers are read, once, and `ask` runs again. Other threads
    /// wait meanwhile, because their lookups would miss the same data.
    pub fn find<T>(&self, ask: impl Fn(&Index) -> Result<Option<T>>) -> Result<Option<T>> {
        let found = self.look_up(&ask)?;
        if found.is_some() {
            return Ok(found);
        }
        self.learn_from_footers()
            .during(|| "read packs that no index object covers")?;
        self.look_up(&ask)
    }

    /// Finds the places of the chunk in the footers of all packs, after it was at none of the
    /// `places` in the index. Returns no places if the index is correct, which means that the chunk
    /// is damaged.
    ///
    /// Backups do not use this: they store unreadable data again.
    pub fn places_by_footers(&self, id: &Id, places: &[Place]) -> Result<Vec<Place>> {
        let lied = places.is_empty() || places.iter().any(|place| self.is_lie(id, place));
        match lied && !self.present_only.load(Ordering::Relaxed) {
            true => self.truth()?.places(id),
            false => Ok(Vec::new()),
        }
    }

    /// Whether the index is wrong: the pack does not exist, or its footer does not list the chunk
    /// at `place`. A pack whose index entry was verified once is not read again, because many
    /// chunks of a damaged block may be requested.
    fn is_lie(&self, id: &Id, place: &Place) -> bool {
        if lock(&self.as_told).contains(&place.pack) {
            return false;
        }
        let table = match pack::read_table(self.store(), &self.sealer, place.pack) {
            Ok(table) => table,
            Err(error) => return error.kind() == Kind::NotFound,
        };
        let block = table
            .offsets()
            .find(|(offset, _)| *offset == u64::from(place.block_offset));
        let is_there = block.is_some_and(|(_, block)| {
            let mut start = 0;
            block.sealed_bytes == place.sealed_bytes
                && block.chunks.iter().any(|chunk| {
                    let is_it =
                        chunk.id == *id && start == place.start && chunk.length == place.length;
                    start += chunk.length;
                    is_it
                })
        });
        if is_there {
            lock(&self.as_told).insert(place.pack);
        }
        !is_there
    }

    /// The index built from the footers of all packs. If two threads need it at the same time, both
    /// build it.
    fn truth(&self) -> Result<&Index> {
        if let Some(truth) = self.truth.get() {
            return Ok(truth);
        }
        let error = Error::corrupt("the index is wrong").during("reading the footers of all packs");
        self.observer.event(&Event::Warning(&error));
        let truth = Index::open(None);
        self.add_footers(&truth, self.names(Area::Packs)?.iter())?;
        Ok(self.truth.get_or_init(|| truth))
    }

    /// Reads the footers of the packs that no index object covers, once.
    fn learn_from_footers(&self) -> Result<()> {
        let index = self.index()?;
        if self.footers_read.load(Ordering::Acquire) {
            return Ok(());
        }
        let _writing = self
            .rebuilding
            .write()
            .unwrap_or_else(PoisonError::into_inner);
        match self.footers_read.load(Ordering::Acquire) {
            true => Ok(()),
            false => self.read_footers(index, &Error::corrupt("index objects are missing")),
        }
    }

    /// Adds the packs that no readable index object covers to the index. If there are any, this
    /// reports a warning with the reason `why`.
    pub(crate) fn read_footers(&self, index: &Index, why: &Error) -> Result<()> {
        let unknown = self.unknown_packs(index)?;
        if !unknown.is_empty() {
            self.observer.event(&Event::Warning(
                &why.clone().during("reading the footers of packs instead"),
            ));
        }
        self.add_footers(index, unknown.iter())?;
        self.footers_read.store(true, Ordering::Release);
        Ok(())
    }

    /// Adds the tables of `packs` to `index`. A pack with a damaged footer is reported and skipped.
    pub(crate) fn add_footers<'a>(
        &self,
        index: &Index,
        packs: impl Iterator<Item = &'a Id>,
    ) -> Result<()> {
        let packs: Vec<Id> = packs.copied().collect();
        each_at_once(&packs, self.connections(), |pack| {
            let table = pack::read_table(self.store(), &self.sealer, *pack);
            match table.and_then(|table| index.insert(&table)) {
                Err(error) if error.is_of_one_object() => {
                    self.observer.event(&Event::Warning(&error));
                    Ok(())
                }
                outcome => outcome,
            }
        })
    }
}

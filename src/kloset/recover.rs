//! Looking chunks up when index objects are lost, damaged, or lie.
//!
//! Index objects are copies of what the footers of packs say. A chunk that some snapshot
//! refers to ought to be in one of them; where it is not, the footers are asked:
//!
//! 1. those of packs that no index object covers, once, when a chunk is nowhere;
//! 2. that of the pack a chunk was looked for in, when something else was found there: if
//!    it tells another story than the index, the index object was made to mislead;
//! 3. those of all packs, once, when an index object lied, or hides a chunk.
//!
//! Pack by pack this is slow, and it happens only when the alternative is to give up.

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
    /// As [`Kloset::look_up`], for what some snapshot refers to, so that it ought to be there. If
    /// it is not, index objects were lost: once, the footers of the packs that none covers are
    /// read, and the question is asked again. Other threads wait meanwhile; they miss as much.
    pub fn find<T>(&self, ask: impl Fn(&Index) -> Result<Option<T>>) -> Result<Option<T>> {
        let found = self.look_up(&ask)?;
        if found.is_some() {
            return Ok(found);
        }
        self.learn_from_footers()
            .during(|| "look into packs that no index object covers")?;
        self.look_up(&ask)
    }

    /// Where the chunk is by the footers of packs, after it was at none of the `places` that the
    /// index told of. Nothing if the index told the truth, so that the chunk is damaged.
    ///
    /// A backup does not ask: what it cannot read it stores anew.
    pub fn places_by_footers(&self, id: &Id, places: &[Place]) -> Result<Vec<Place>> {
        let lied = places.is_empty() || places.iter().any(|place| self.is_lie(id, place));
        match lied && !self.present_only.load(Ordering::Relaxed) {
            true => self.truth()?.places(id),
            false => Ok(Vec::new()),
        }
    }

    /// Whether there is no such pack, or its footer does not have the chunk at `place`. A pack
    /// that once proved to be as told is not asked again: all of a damaged block may be wanted.
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

    /// What the footers of all packs say. Two threads that want it at once both read them.
    fn truth(&self) -> Result<&Index> {
        if let Some(truth) = self.truth.get() {
            return Ok(truth);
        }
        let error = Error::corrupt("the index does not tell the truth")
            .during("reading the footers of all packs");
        self.observer.event(&Event::Warning(&error));
        let truth = Index::open(None);
        self.add_footers(&truth, self.names(Area::Packs)?.iter())?;
        Ok(self.truth.get_or_init(|| truth))
    }

    /// Reads the footers of packs that no index object covers, unless that was done before.
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

    /// Learns what is in the packs that no readable index object covers, and tells `why` if
    /// there are any.
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

    /// Adds to `index` what is in `packs`. One whose footer is damaged is told of and passed over.
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

//! The transfer of packs between siblings.

use std::collections::{HashMap, HashSet};
use std::sync::Mutex;
use std::sync::mpsc::SyncSender;

use super::course::{Course, Stop, lost};
use crate::error::{During, Error, Kind, Result};
use crate::format::object::misnamed;
use crate::format::pack_table::{PackKind, PackTable};
use crate::kloset::Kloset;
use crate::kloset::index::{Index, Place};
use crate::kloset::pack::read_end;
use crate::kloset::pipeline::{Shared, lock, send};
use crate::kloset::progress::{Event, add};
use crate::kloset::write_session::Writing;
use crate::store::Area;
use crate::util::Id;

/// Bytes of a pack that are read at a time: with round trips of 20 ms, 200 MB per second.
const PART_BYTES: u64 = 4 << 20;

/// A chunk that is in no pack that could be copied.
pub(super) struct Stranded {
    pub(super) chunk: Id,
    /// The kind of pack that the chunk belongs in.
    pub(super) kind: PackKind,
}

/// Copies packs. Can be used from several threads, except for [`Transfers::want`].
pub(super) struct Transfers<'a> {
    from: &'a Kloset,
    to: &'a Kloset,
    writing: &'a Writing<'a>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// Packs that wait to be copied or are being copied, with the chunks that are needed from each.
    under_way: HashMap<Id, Vec<Stranded>>,
    /// Packs that must not, or cannot, be copied.
    unfit: HashSet<Id>,
    /// Chunks that were needed from unfit packs and are in no other pack.
    stranded: Vec<Stranded>,
}

impl<'a> Transfers<'a> {
    /// Creates transfers with nothing in progress. Packs of `unfit` are never copied.
    pub(super) fn new(
        from: &'a Kloset,
        to: &'a Kloset,
        writing: &'a Writing<'a>,
        unfit: HashSet<Id>,
    ) -> Transfers<'a> {
        let state = State {
            unfit,
            ..State::default()
        };
        Transfers {
            from,
            to,
            writing,
            state: Mutex::new(state),
        }
    }

    /// Makes sure that `chunk` is transferred, unless the destination has it, and returns its length.
    /// Must be called from one thread only: the one that walks the tree.
    pub(super) fn want(
        &self,
        chunk: Id,
        kind: PackKind,
        queue: &SyncSender<Id>,
    ) -> Result<u32, Stop> {
        if let Some(found) = self.to.look_up(|index| index.lookup(&chunk))? {
            return Ok(found.place.length);
        }
        let places = self.places(&chunk)?;
        let length = places.first().map_or(0, |place| place.length);
        if let Some(pack) = self.claim(Stranded { chunk, kind }, &places)? {
            send(queue, pack)?;
        }
        Ok(length)
    }

    /// The places of the chunk, at least one.
    fn places(&self, chunk: &Id) -> Result<Vec<Place>, Stop> {
        let indexed = |index: &Index| {
            let places = index.places(chunk)?;
            Ok(Some(places).filter(|places| !places.is_empty()))
        };
        let places = match self.from.find(indexed).map_err(lost)? {
            Some(places) => places,
            None => self.from.places_by_footers(chunk, &[]).map_err(lost)?,
        };
        let missing = || Error::corrupt(format!("chunk {} is in no pack", chunk.short()));
        match places.is_empty() {
            true => Err(Stop::Lost(missing())),
            false => Ok(places),
        }
    }

    /// Chooses among the packs at `places` the one that the caller must queue to get `wanted`; `None`
    /// if there is nothing to queue.
    fn claim(&self, wanted: Stranded, places: &[Place]) -> Result<Option<Id>> {
        {
            let under_way = &mut lock(&self.state).under_way;
            let is_under_way = |place: &&Place| under_way.contains_key(&place.pack);
            if let Some(place) = places.iter().find(is_under_way) {
                under_way.entry(place.pack).or_default().push(wanted);
                return Ok(None);
            }
        }
        // A pack stops being in progress only when its chunks can be found.
        if self.to.look_up(|index| index.contains(&wanted.chunk))? {
            return Ok(None);
        }
        let state = &mut *lock(&self.state);
        let is_fit = |place: &&Place| !state.unfit.contains(&place.pack);
        let Some(place) = places.iter().find(is_fit) else {
            state.stranded.push(wanted);
            return Ok(None);
        };
        state.under_way.insert(place.pack, vec![wanted]);
        Ok(Some(place.pack))
    }

    /// Copies packs until the queue ends. After an error, discards them.
    pub(super) fn run(&self, packs: &Shared<Id>, course: &Course) {
        while let Some(pack) = packs.next() {
            if course.trouble.check().is_ok() {
                course.note(self.transfer(pack));
            }
        }
    }

    /// Copies one pack, so that its chunks are found in the destination; or notes that it cannot be
    /// copied.
    fn transfer(&self, pack: Id) -> Result<(), Stop> {
        match self.copy(pack) {
            Ok(table) => {
                self.writing.admit(table)?;
                lock(&self.state).under_way.remove(&pack);
                Ok(())
            }
            Err(Stop::Lost(error)) => {
                let failed = error.during("its chunks are copied one by one");
                self.to.observer().event(&Event::Warning(&failed));
                let state = &mut *lock(&self.state);
                let wanted = state.under_way.remove(&pack);
                state.stranded.extend(wanted.unwrap_or_default());
                state.unfit.insert(pack);
                Ok(())
            }
            Err(fatal) => Err(fatal),
        }
    }

    /// Copies the bytes of one pack. They become an object only if they match its name.
    fn copy(&self, pack: Id) -> Result<PackTable, Stop> {
        let (table, end) = read_end(self.from.store(), self.from.sealer(), pack).map_err(lost)?;
        let doing = || format!("copy pack {}", pack.short());
        match self.to.store().stat(Area::Packs, pack) {
            Err(error) if error.kind() == Kind::NotFound => {}
            // Another program has just copied it.
            Ok(there) if there.size_bytes == table.size_bytes => return Ok(table),
            // It was truncated, and storing an object that exists changes nothing.
            Ok(_) => {
                return Err(Stop::Lost(
                    Error::corrupt("it is shorter there").during(doing()),
                ));
            }
            Err(error) => return Err(error.during(doing()).into()),
        }
        let mut upload = self.to.store().upload(Area::Packs).during(doing)?;
        let mut hasher = blake3::Hasher::new();
        let before_end = table.size_bytes - end.len() as u64;
        let mut part = vec![0; before_end.min(PART_BYTES) as usize];
        let mut offset = 0;
        while offset < before_end {
            part.truncate((before_end - offset).min(PART_BYTES) as usize);
            let read = self
                .from
                .store()
                .read_at(Area::Packs, pack, offset, &mut part);
            read.during(doing).map_err(lost)?;
            hasher.update(&part);
            upload.write(&part).during(doing)?;
            offset += part.len() as u64;
        }
        // Not read again: the bytes from which the table was read are the bytes that are copied.
        hasher.update(&end);
        upload.write(&end).during(doing)?;
        if Id(*hasher.finalize().as_bytes()) != pack {
            return Err(Stop::Lost(misnamed().during(doing())));
        }
        upload.commit(pack).during(doing)?;
        let counters = self.to.observer().counters();
        add(&counters.stored_bytes, table.size_bytes);
        Ok(table)
    }

    /// Takes the chunks that turned out to be in no pack that can be copied, each once.
    pub(super) fn stranded(&self) -> Vec<Stranded> {
        std::mem::take(&mut lock(&self.state).stranded)
    }

    /// Packs that must not, or cannot, be copied.
    pub(super) fn into_unfit(self) -> HashSet<Id> {
        let state = self.state.into_inner();
        state
            .unwrap_or_else(std::sync::PoisonError::into_inner)
            .unfit
    }
}

//! Deletes packs whose grace period is over and, on a full disk, unreferenced packs without a
//! condemnation.
//!
//! Packs without needed chunks are deleted first: this writes nothing, so it works on a full disk and
//! frees space. Then the needed chunks of the other packs are copied, and these packs are deleted
//! too. Condemnations whose packs are all gone are removed last, when index objects no longer mention
//! these packs either.

use std::collections::HashSet;
use std::sync::Mutex;

use super::last_copy::{Mover, Needed};
use super::survey::Look;
use super::{Options, Summary};
use crate::error::{During, Error, Kind, Result};
use crate::kloset::Kloset;
use crate::kloset::condemned::{self, Condemnation, Fate};
use crate::kloset::pipeline::{each_at_once, lock};
use crate::kloset::progress::{Event, add};
use crate::kloset::repack::copying;
use crate::store::{Area, Distance, Object};
use crate::util::Id;

/// Packs that are deleted concurrently from a remote store, where each deletion takes five or more
/// round trips. Each needs its table in memory, at most 3 MB.
const DELETERS_LIMIT: usize = 8;

/// Deletes condemned packs whose grace period is over, and returns the deleted packs.
pub(super) fn expired(
    kloset: &Kloset,
    options: &Options,
    look: &Look<'_>,
    summary: &mut Summary,
) -> Result<HashSet<Id>> {
    let deleter = Deleter::new(kloset, options, look)?;
    let waiting = deleter.delete_dead()?;
    summary.repacked_bytes += deleter.move_and_delete(waiting)?;
    Ok(deleter.finish(summary))
}

/// Deletes a pack that no condemnation names, and returns whether it was deleted. Use this only if
/// the user guarantees that no other program uses the store.
///
/// # Errors
/// [`Kind::Unavailable`] if a snapshot was published since the survey: this disproves the guarantee.
pub(super) fn uncondemned(
    kloset: &Kloset,
    options: &Options,
    look: &Look<'_>,
    pack: Id,
    summary: &mut Summary,
) -> Result<bool> {
    let deleter = Deleter::new(kloset, options, look)?;
    let needed = deleter.mover.needed(pack)?;
    // A pack whose live chunks all have copies is not dead: another program may rely on this pack in
    // the same way to delete the copies.
    let is_dead = |needed: &Needed| needed.is_nothing() && needed.relied_on.is_empty();
    let Some(needed) = needed.filter(is_dead) else {
        return Ok(false);
    };
    let snapshots = kloset.names(Area::Snapshots)?;
    if !snapshots.is_subset(&look.seen) {
        return Err(Error::new(
            Kind::Unavailable,
            "another program published a snapshot meanwhile, so this is not exclusive use; \
             run it again when no other program uses the store",
        ));
    }
    deleter.delete(None, &needed)?;
    Ok(!deleter.finish(summary).is_empty())
}

/// The number of packs to delete concurrently.
fn deleters(kloset: &Kloset) -> usize {
    match kloset.store().manner().distance {
        Distance::Local => 1,
        Distance::Remote => kloset.connections().min(DELETERS_LIMIT),
    }
}

struct Deleter<'a> {
    kloset: &'a Kloset,
    options: &'a Options,
    look: &'a Look<'a>,
    mover: Mover<'a>,
    seen: Mutex<Seen>,
    done: Mutex<Deleted>,
}

/// What is known about condemnations.
struct Seen {
    /// Condemnations that were read.
    known: HashSet<Id>,
    /// Packs that were condemned since the survey.
    condemned: HashSet<Id>,
}

#[derive(Default)]
struct Deleted {
    packs: HashSet<Id>,
    bytes: u64,
}

/// A pack that holds needed chunks.
struct Waiting<'a> {
    condemnation: &'a Condemnation,
    pack: Id,
    /// Uncompressed size of the needed chunks. The list of chunks is computed again for the copy,
    /// because the lists of all packs together could be large.
    needed_bytes: u64,
}

impl<'a> Deleter<'a> {
    fn new(kloset: &'a Kloset, options: &'a Options, look: &'a Look<'a>) -> Result<Deleter<'a>> {
        let known = look.condemnations.iter().map(|each| each.object);
        Ok(Deleter {
            kloset,
            options,
            look,
            mover: Mover::new(kloset, look)?,
            seen: Mutex::new(Seen {
                known: known.collect(),
                condemned: HashSet::new(),
            }),
            done: Mutex::default(),
        })
    }

    /// Adds the deleted packs to `summary`, and returns them.
    fn finish(self, summary: &mut Summary) -> HashSet<Id> {
        let done = self.done.into_inner();
        let done = done.unwrap_or_else(std::sync::PoisonError::into_inner);
        summary.freed_packs += done.packs.len() as u64;
        summary.freed_bytes += done.bytes;
        done.packs
    }

    /// Every existing pack whose grace period is over, once, with the condemnation that names it.
    fn over(&self) -> Vec<(&'a Condemnation, Id)> {
        let mut packs = Vec::new();
        let mut seen = HashSet::new();
        for condemnation in &self.look.condemnations {
            if !self.look.is_over(condemnation) {
                continue;
            }
            let there = |pack: &Id| {
                let number = self.look.index.number_of(pack);
                number.is_some_and(|number| self.look.is_listed(number))
            };
            for pack in condemnation.packs.iter().filter(|pack| there(pack)) {
                if seen.insert(*pack) {
                    packs.push((condemnation, *pack));
                }
            }
        }
        packs
    }

    /// Deletes the packs without needed chunks, and returns the others.
    fn delete_dead(&self) -> Result<Vec<Waiting<'a>>> {
        let waiting = Mutex::new(Vec::new());
        each_at_once(
            &self.over(),
            deleters(self.kloset),
            |(condemnation, pack)| {
                match self.mover.needed(*pack)? {
                    Some(needed) if needed.is_nothing() => {
                        self.delete(Some(condemnation), &needed)?;
                    }
                    Some(needed) => lock(&waiting).push(Waiting {
                        condemnation,
                        pack: *pack,
                        needed_bytes: needed.bytes(),
                    }),
                    None => {}
                }
                Ok(())
            },
        )?;
        let waiting = waiting.into_inner();
        Ok(waiting.unwrap_or_else(std::sync::PoisonError::into_inner))
    }

    /// Copies the needed chunks of packs, up to the repack limit, and deletes these packs. Returns
    /// the number of bytes copied.
    fn move_and_delete(&self, waiting: Vec<Waiting<'a>>) -> Result<u64> {
        let mut room = self.options.max_repack_bytes.unwrap_or(u64::MAX);
        let fits = |waiting: &Waiting<'_>| {
            let rest = room.checked_sub(waiting.needed_bytes);
            room = rest.unwrap_or(room);
            rest.is_some()
        };
        let chosen: Vec<_> = waiting.into_iter().filter(fits).collect();
        if chosen.is_empty() || self.options.is_dry {
            return Ok(0);
        }
        let moved = copying(self.kloset, &self.options.interrupt, |copier| {
            let mut moved = Vec::new();
            for each in &chosen {
                self.options.interrupt.check()?;
                if let Some(needed) = self.mover.needed(each.pack)?
                    && self.mover.copy(&needed, copier)?
                {
                    moved.push((each.condemnation, each.pack));
                }
            }
            Ok((moved, copier.copied_bytes))
        });
        let (moved, copied_bytes) = match moved {
            Err(error) if error.kind() == Kind::NoSpace => {
                let error = error.during("what is needed of condemned packs stays where it is");
                self.kloset.observer().event(&Event::Warning(&error));
                return Ok(0);
            }
            moved => moved?,
        };
        each_at_once(&moved, deleters(self.kloset), |(condemnation, pack)| {
            // Computed again: the copies must be found.
            match self.mover.needed(*pack)?.filter(Needed::is_nothing) {
                Some(needed) => self.delete(Some(condemnation), &needed),
                None => Ok(()),
            }
        })?;
        Ok(copied_bytes)
    }

    /// Deletes a pack without needed chunks, unless a new check forbids it.
    fn delete(&self, condemnation: Option<&Condemnation>, needed: &Needed) -> Result<()> {
        let pack = needed.pack;
        self.options.interrupt.check()?;
        if !self.options.is_dry {
            if !self.may_go(condemnation, needed)? {
                return Ok(());
            }
            self.kloset.store().delete(Area::Packs, pack)?;
            self.look.index.mark_absent(&pack);
        }
        let number = self.look.index.number_of(&pack);
        let known = number.and_then(|number| self.look.index.pack_at(number));
        let size_bytes = known.map_or(0, |pack| pack.size_bytes);
        let done = &mut *lock(&self.done);
        done.packs.insert(pack);
        done.bytes += size_bytes;
        add(&self.kloset.observer().counters().bytes, size_bytes);
        Ok(())
    }

    /// Checks that its condemnation, if it needs one, still exists, that no pack in `relied_on` is
    /// condemned, and that these packs exist. The order of the checks matters: see [the
    /// argument](super).
    fn may_go(&self, condemnation: Option<&Condemnation>, needed: &Needed) -> Result<bool> {
        let mut is_condemned = condemnation.is_none();
        for object in condemned::objects(self.kloset)? {
            is_condemned |= condemnation.is_some_and(|known| known.object == object.id);
            self.learn(object)?;
        }
        if !is_condemned || !needed.relied_on.is_disjoint(&lock(&self.seen).condemned) {
            return Ok(false);
        }
        for other in &needed.relied_on {
            match self.kloset.store().stat(Area::Packs, *other) {
                Err(error) if error.kind() == Kind::NotFound => return Ok(false),
                outcome => outcome.map(|_| ()).during(|| "stat a pack")?,
            }
        }
        Ok(true)
    }

    /// Reads a condemnation that was listed, unless it is known. It becomes known only after it was
    /// read completely, not when a thread starts reading it: other threads check at the same time.
    fn learn(&self, object: Object) -> Result<()> {
        if lock(&self.seen).known.contains(&object.id) {
            return Ok(());
        }
        let new = condemned::read_listed(self.kloset, object)?;
        let packs: HashSet<Id> = new.into_iter().flat_map(|new| new.packs).collect();
        self.look.index.exclude_packs(&packs);
        let seen = &mut *lock(&self.seen);
        seen.known.insert(object.id);
        seen.condemned.extend(packs);
        Ok(())
    }
}

/// Removes the condemnations whose grace period is over and whose packs are gone. Until then, they
/// explain why packs that index objects mention do not exist. A condemnation that does not record the
/// deletion of its packs is replaced by one that does, unless the grace period is zero: then no other
/// program uses the store.
pub(super) fn condemnations(kloset: &Kloset, options: &Options, look: &Look<'_>) -> Result<()> {
    for condemnation in look.condemnations.iter().filter(|each| look.is_over(each)) {
        options.interrupt.check()?;
        if options.is_dry || !are_gone(kloset, look, &condemnation.packs)? {
            continue;
        }
        if condemnation.fate == Fate::Doomed && !options.grace.is_zero() {
            condemned::publish(kloset, &condemnation.packs, Fate::Gone)?;
        }
        kloset
            .store()
            .delete(Area::Condemned, condemnation.object)?;
    }
    Ok(())
}

/// Whether none of `packs` is in the store. The store is asked about each pack whose deletion is not
/// proved. Packs whose footer cannot be read are not in the index.
fn are_gone(kloset: &Kloset, look: &Look<'_>, packs: &[Id]) -> Result<bool> {
    look.marks.check()?;
    let mut numbers = packs.iter().filter_map(|pack| look.index.number_of(pack));
    if numbers.any(|number| look.is_listed(number)) {
        return Ok(false);
    }
    for pack in packs.iter().filter(|pack| !look.is_gone_for_good(pack)) {
        match kloset.store().stat(Area::Packs, *pack) {
            Err(error) if error.kind() == Kind::NotFound => {}
            outcome => return outcome.map(|_| false),
        }
    }
    Ok(true)
}

//! Deleting packs whose grace is over.
//!
//! First those of which nothing is needed: that writes nothing, so it works on a full disk, and
//! makes room. Then what is needed of the others is copied out, and they go too. Condemnations
//! that name nothing that is there go last, when index objects no longer tell of it either.

use std::collections::HashSet;

use super::look::Look;
use super::mover::{Mover, Needed};
use super::{Options, Summary};
use crate::error::{During, Kind, Result};
use crate::kloset::Kloset;
use crate::kloset::condemned::{self, Condemnation, Fate};
use crate::kloset::copier::copying;
use crate::kloset::progress::{Event, add};
use crate::store::Area;
use crate::util::Id;

/// Deletes what may go, and returns which packs that were.
pub(super) fn expired(
    kloset: &Kloset,
    options: &Options,
    look: &Look<'_>,
    summary: &mut Summary,
) -> Result<HashSet<Id>> {
    let known = look.condemnations.iter().map(|each| each.object);
    let mut deleter = Deleter {
        kloset,
        options,
        look,
        summary,
        known: known.collect(),
        condemned: HashSet::new(),
        deleted: HashSet::new(),
    };
    let mover = Mover::new(kloset, look)?;
    let mut waiting = Vec::new();
    for (condemnation, pack) in deleter.over() {
        match mover.needed(pack)? {
            Some(needed) if needed.is_nothing() => deleter.delete(condemnation, &needed)?,
            Some(needed) => waiting.push((condemnation, needed)),
            None => {}
        }
    }
    deleter.move_and_delete(&mover, waiting)?;
    Ok(deleter.deleted)
}

struct Deleter<'a, 'b> {
    kloset: &'a Kloset,
    options: &'a Options,
    look: &'a Look<'a>,
    summary: &'b mut Summary,
    /// Condemnations that were read.
    known: HashSet<Id>,
    /// Packs that were condemned since the look.
    condemned: HashSet<Id>,
    deleted: HashSet<Id>,
}

impl<'a> Deleter<'a, '_> {
    /// Every pack that is there and whose grace is over, once, with what condemned it.
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

    /// Copies what is needed of packs, as far as is allowed, and deletes these.
    fn move_and_delete(
        &mut self,
        mover: &Mover<'_>,
        waiting: Vec<(&Condemnation, Needed)>,
    ) -> Result<()> {
        let mut room = self.options.max_repack_bytes.unwrap_or(u64::MAX);
        let fits = |(_, needed): &(&Condemnation, Needed)| {
            let rest = room.checked_sub(needed.bytes());
            room = rest.unwrap_or(room);
            rest.is_some()
        };
        let chosen: Vec<_> = waiting.into_iter().filter(fits).collect();
        if chosen.is_empty() || self.options.is_dry {
            return Ok(());
        }
        let moved = copying(self.kloset, &self.options.interrupt, |copier| {
            let mut moved = Vec::new();
            for (condemnation, needed) in &chosen {
                self.options.interrupt.check()?;
                if mover.copy(needed, copier)? {
                    moved.push((*condemnation, needed.pack));
                }
            }
            Ok((moved, copier.copied_bytes))
        });
        let (moved, copied_bytes) = match moved {
            Err(error) if error.kind() == Kind::NoSpace => {
                let error = error.during("what is needed of condemned packs stays where it is");
                self.kloset.observer().event(&Event::Warning(&error));
                return Ok(());
            }
            moved => moved?,
        };
        self.summary.repacked_bytes += copied_bytes;
        for (condemnation, pack) in moved {
            // Asked again: what was copied must be found.
            if let Some(needed) = mover.needed(pack)?.filter(Needed::is_nothing) {
                self.delete(condemnation, &needed)?;
            }
        }
        Ok(())
    }

    /// Deletes a pack of which nothing is needed, unless that is no longer so.
    fn delete(&mut self, condemnation: &Condemnation, needed: &Needed) -> Result<()> {
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
        self.deleted.insert(pack);
        self.summary.freed_packs += 1;
        self.summary.freed_bytes += size_bytes;
        add(&self.kloset.observer().counters().bytes, size_bytes);
        Ok(())
    }

    /// Whether, right now, its condemnation is there, what is relied on in its place is not
    /// condemned, and that is there. In this order: see the argument.
    fn may_go(&mut self, condemnation: &Condemnation, needed: &Needed) -> Result<bool> {
        let mut is_condemned = false;
        for object in condemned::objects(self.kloset)? {
            is_condemned |= object.id == condemnation.object;
            if self.known.insert(object.id)
                && let Some(new) = condemned::read_listed(self.kloset, object)?
            {
                self.look
                    .index
                    .exclude_packs(&new.packs.iter().copied().collect());
                self.condemned.extend(new.packs);
            }
        }
        if !is_condemned || !needed.relied_on.is_disjoint(&self.condemned) {
            return Ok(false);
        }
        for other in &needed.relied_on {
            match self.kloset.store().stat(Area::Packs, *other) {
                Err(error) if error.kind() == Kind::NotFound => return Ok(false),
                outcome => outcome.map(|_| ()).during(|| "look at a pack")?,
            }
        }
        Ok(true)
    }
}

/// Takes away the condemnations whose grace is over and whose packs are gone. Until then they tell
/// why packs are gone that index objects tell of. One that says that they are gone takes the place
/// of one that does not, unless nobody else is there to care.
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

/// Whether none of `packs` is in the store. Those whose footer cannot be read are not in the index.
fn are_gone(kloset: &Kloset, look: &Look<'_>, packs: &[Id]) -> Result<bool> {
    let number = |pack: &Id| look.index.number_of(pack);
    if packs
        .iter()
        .filter_map(number)
        .any(|number| look.is_listed(number))
    {
        return Ok(false);
    }
    for pack in packs.iter().filter(|pack| number(pack).is_none()) {
        match kloset.store().stat(Area::Packs, *pack) {
            Err(error) if error.kind() == Kind::NotFound => {}
            outcome => return outcome.map(|_| false),
        }
    }
    Ok(true)
}

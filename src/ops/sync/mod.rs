//! Copying snapshots from one store to another.
//!
//! A copy keeps its id, and all that is recorded of it. How its contents get across
//! depends on the keys:
//!
//! | the other store | what moves |
//! |---|---|
//! | a sibling, with the same master key ([`whole`]) | packs, byte for byte, compared with their names |
//! | any other ([`reseal`]) | chunks, opened with one key and sealed with the other, and new trees, since these name chunks by keyed ids |
//!
//! Either way only what the other store does not have, and in a backup's order: packs,
//! then the index object that tells of them, then the snapshot. What is
//! condemned over there does not count as being there, as for any backup, and each snapshot is
//! published with the same care ([`Condemned::publish`]). So a sync is safe
//! beside anything else that goes on in either store, and one that was interrupted finds
//! what it moved when it is run again.
//!
//! If packs are missing over there, or were found damaged by a check, what lay in them is brought
//! again, for snapshots too that are there already. Once maintenance or a repair made index objects anew
//! none tells of a pack that is missing; so who names a snapshot has it [looked through](Present) in any
//! case.
//!
//! A snapshot of which something is damaged or lost is told of and left out; the others go on.
//! What is the matter with a whole store ends the sync.
//!
//! A snapshot that is at both ends with different labels is that of the higher revision. Two of
//! the same revision are left as they are.

mod below;
mod course;
mod out;
mod reseal;
mod transfer;
mod translate;
mod whole;

use std::collections::HashMap;
use std::time::{Duration, Instant};

use crate::error::{During, Error, Result};
use crate::format::entry::Entry;
use crate::kloset::Kloset;
use crate::kloset::condemned::Condemned;
use crate::kloset::failures::Failures;
use crate::kloset::progress::{add, read as read_counter};
use crate::kloset::snapshot::{self, Snapshot, Stored};
use crate::kloset::write_session::adopt_packs;
use crate::util::Id;
use crate::util::clock::now_ns;
use crate::util::interrupt::Interrupt;

use course::{Stop, lost};
use reseal::Reseal;
use whole::Whole;

/// What to do about snapshots that are there already.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Present {
    /// Look through them if something is known to be missing; that takes reading their trees.
    IfHoley,
    /// Look through them.
    Always,
}

/// How to copy.
pub struct Options {
    /// What to do about snapshots that are there already.
    pub present: Present,
    /// Threads that compress, where that is needed.
    pub workers: usize,
    /// Set when the user wants to stop.
    pub interrupt: Interrupt,
}

/// What became of a snapshot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It is there now.
    Copied,
    /// It was there, and now has the labels of the newer revision.
    Revised,
    /// It was there.
    Present,
    /// Something of it is damaged or lost, which was told.
    Failed,
}

/// How a sync went.
#[derive(Clone, Debug, Default)]
pub struct Summary {
    /// Snapshots that were copied.
    pub copied: u64,
    /// Those of which only the labels were.
    pub revised: u64,
    /// Those that were there already.
    pub present: u64,
    /// Those that could not be copied.
    pub failed: u64,
    /// Bytes added to the other store.
    pub stored_bytes: u64,
    /// How long it took.
    pub duration: Duration,
}

/// Whoever wants to hear of each snapshot when it is done.
pub type Told<'a> = &'a mut dyn FnMut(&Stored, Outcome) -> Result<()>;

/// Copies `snapshots`, which are in `from`, the oldest first, to `to`. That is then good for
/// nothing else: what is condemned is hidden in it.
///
/// # Errors
/// Those of `told`; [`crate::error::Kind::Usage`] if both are the same store; what ails a whole
/// store. What ails a snapshot does not: it is told to the observer and counted.
pub fn run(
    from: &Kloset,
    to: &Kloset,
    snapshots: &[Stored],
    options: &Options,
    told: Told<'_>,
) -> Result<Summary> {
    let started = Instant::now();
    if from.config().store_id == to.config().store_id {
        return Err(Error::usage("both are the same store"));
    }
    let counters = to.observer().counters();
    let stored_before = read_counter(&counters.stored_bytes);
    let condemned = Condemned::hide(to)?;
    let is_holey = adopt_orphans(to, &condemned)?;
    let (there, _) = snapshot::list(to, to.observer())?;
    let by_id = |stored: Stored| (stored.snapshot.id, stored);
    let there: HashMap<Id, Stored> = there.into_iter().map(by_id).collect();
    let mut sync = Sync {
        way: Way::between(from, to, snapshots, &there, options)?,
        from,
        to,
        condemned,
        there,
        is_holey: is_holey || options.present == Present::Always,
        failures: Failures::new(to.observer()),
        interrupt: options.interrupt.clone(),
    };
    sync.expect(snapshots);
    let mut summary = Summary::default();
    let outcome = snapshots.iter().try_for_each(|stored| {
        options.interrupt.check()?;
        let outcome = sync.snapshot(stored)?;
        summary.count(outcome);
        told(stored, outcome)
    });
    to.save_index();
    from.save_index();
    outcome?;
    Ok(Summary {
        stored_bytes: read_counter(&counters.stored_bytes) - stored_before,
        duration: started.elapsed(),
        ..summary
    })
}

/// Takes in what a writer that was interrupted left in `to`, and hides what lies in packs that
/// are no longer there, or that the last check found damaged. Tells whether there are any.
fn adopt_orphans(to: &Kloset, condemned: &Condemned) -> Result<bool> {
    let told = to.index()?.packs_in_use().count();
    let orphans = to.trust_present_packs_only()?;
    let orphans = orphans.difference(condemned.packs()).copied().collect();
    let visible = to.index()?.packs_in_use().count();
    adopt_packs(to, &orphans)?;
    Ok(visible < told)
}

impl Summary {
    /// Counts one snapshot.
    fn count(&mut self, outcome: Outcome) {
        match outcome {
            Outcome::Copied => self.copied += 1,
            Outcome::Revised => self.revised += 1,
            Outcome::Present => self.present += 1,
            Outcome::Failed => self.failed += 1,
        }
    }
}

/// How contents get across.
enum Way<'a> {
    /// As they are.
    Whole(Whole<'a>),
    /// Under another key.
    Reseal(Reseal<'a>),
}

impl<'a> Way<'a> {
    /// The way from `from` to `to`, where `there` is already.
    fn between(
        from: &'a Kloset,
        to: &'a Kloset,
        snapshots: &[Stored],
        there: &HashMap<Id, Stored>,
        options: &'a Options,
    ) -> Result<Way<'a>> {
        if from.is_sibling_of(to) {
            return Ok(Way::Whole(Whole::new(from, to, options)?));
        }
        let mut reseal = Reseal::new(from, to, options)?;
        for stored in snapshots {
            if let Some(copy) = there.get(&stored.snapshot.id) {
                reseal.note_copy(&stored.snapshot, &copy.snapshot.root);
            }
        }
        Ok(Way::Reseal(reseal))
    }

    /// Copies all that `snapshot` needs, and returns its root as it is over there.
    fn copy(&mut self, snapshot: &Snapshot, condemned: &Condemned) -> Result<Entry, Stop> {
        match self {
            Way::Whole(whole) => whole
                .copy(snapshot, condemned.packs())
                .map(|()| snapshot.root.clone()),
            Way::Reseal(reseal) => reseal.copy(snapshot),
        }
    }
}

/// A sync that is under way.
struct Sync<'a> {
    from: &'a Kloset,
    to: &'a Kloset,
    way: Way<'a>,
    condemned: Condemned,
    there: HashMap<Id, Stored>,
    /// Whether something in there is known to be lost or damaged, or is to be looked for.
    is_holey: bool,
    failures: Failures<'a>,
    interrupt: Interrupt,
}

impl Sync<'_> {
    /// Copies one snapshot, if it is not there.
    fn snapshot(&mut self, stored: &Stored) -> Result<Outcome> {
        let copied = match self.there.get(&stored.snapshot.id) {
            Some(there) if there.snapshot.revision >= stored.snapshot.revision => {
                self.look_after(stored)
            }
            Some(there) => self.revise(stored, there),
            None => self.copy(stored),
        };
        match copied {
            Ok(outcome) => Ok(outcome),
            Err(Stop::Lost(error)) => {
                self.failures
                    .add(stored.snapshot.id.short().as_bytes(), &error);
                Ok(Outcome::Failed)
            }
            Err(Stop::Fatal(error)) => {
                Err(error).during(|| format!("sync {}", stored.snapshot.id.short()))
            }
        }
    }

    /// Brings what a snapshot that is there lost since.
    fn look_after(&mut self, stored: &Stored) -> Result<Outcome, Stop> {
        if self.is_holey {
            let whole = snapshot::read(self.from, stored.object).map_err(lost)?;
            self.way.copy(&whole, &self.condemned)?;
        }
        Ok(Outcome::Present)
    }

    /// Says over there what people say of it here.
    fn revise(&self, stored: &Stored, there: &Stored) -> Result<Outcome, Stop> {
        let whole = snapshot::read(self.from, stored.object).map_err(lost)?;
        snapshot::revise(self.to, there, whole.labels, whole.revision)?;
        Ok(Outcome::Revised)
    }

    /// Copies all it needs, then publishes it.
    fn copy(&mut self, stored: &Stored) -> Result<Outcome, Stop> {
        let whole = snapshot::read(self.from, stored.object).map_err(lost)?;
        let root = self.way.copy(&whole, &self.condemned)?;
        let copy = Snapshot {
            root,
            synced_ns: Some(now_ns()),
            ..whole
        };
        let bytes = self.condemned.publish(self.to, &copy, &self.interrupt)?;
        add(&self.to.observer().counters().stored_bytes, bytes);
        if let Way::Reseal(reseal) = &mut self.way {
            reseal.note_copy(&stored.snapshot, &copy.root);
        }
        Ok(Outcome::Copied)
    }

    /// Tells whoever watches how much there will be.
    fn expect(&self, snapshots: &[Stored]) {
        let counters = self.to.observer().counters();
        let is_missing = |stored: &&Stored| !self.there.contains_key(&stored.snapshot.id);
        for stored in snapshots.iter().filter(is_missing) {
            let totals = stored.snapshot.totals();
            add(&counters.expected_files, totals.files);
            add(&counters.expected_bytes, totals.bytes);
        }
    }
}

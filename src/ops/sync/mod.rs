//! Copies snapshots from a source store to a destination store.
//!
//! A copy keeps its id and all its metadata. How its contents are transferred depends on the keys:
//!
//! | destination store | what is transferred |
//! |---|---|
//! | a sibling, with the same master key ([`whole`]) | packs, byte for byte, verified against their names |
//! | any other ([`reseal`]) | chunks, opened with one key and sealed with the other; trees are rebuilt |
//!
//! Trees must be rebuilt in the second case because they refer to chunks by keyed ids.
//!
//! In both cases, only data that the destination lacks is transferred, in the order of a backup:
//! packs, then the index object that covers them, then the snapshot. As in a backup, data in packs
//! that are condemned in the destination counts as missing, and each snapshot is published with the
//! same checks ([`Condemned::publish`]). So a sync can run concurrently with any other operation on
//! either store, and a repeated sync finds the data that an interrupted one transferred.
//!
//! If packs are missing in the destination, or a check found them damaged, their data is transferred
//! again, even for snapshots that exist in the destination. After maintenance or a repair has
//! replaced index objects, no index object mentions a missing pack any more. So a snapshot that the
//! user names is [verified](Present) in any case.
//!
//! A snapshot with damaged or missing data is reported and skipped, and the sync continues with the
//! next one. An error that concerns a whole store ends the sync.
//!
//! If a snapshot exists in both stores with different labels, the higher revision wins. Two copies of
//! the same revision are not changed.

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

/// What to do about snapshots that exist in the destination.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Present {
    /// Verify them if data is known to be missing. This reads their trees.
    IfHoley,
    /// Always verify them.
    Always,
}

/// Options of [`run`].
pub struct Options {
    /// What to do about snapshots that exist in the destination.
    pub present: Present,
    /// Number of threads that compress; unused between siblings.
    pub workers: usize,
    /// Set when the user requests a stop.
    pub interrupt: Interrupt,
}

/// The result for one snapshot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The snapshot was copied.
    Copied,
    /// The snapshot existed, and got the labels of the newer revision.
    Revised,
    /// The snapshot existed.
    Present,
    /// Some of its data is damaged or missing; the observer was notified.
    Failed,
}

/// The result of a sync.
#[derive(Clone, Debug, Default)]
pub struct Summary {
    /// Number of snapshots that were copied.
    pub copied: u64,
    /// Number of snapshots of which only the labels were copied.
    pub revised: u64,
    /// Number of snapshots that existed in the destination.
    pub present: u64,
    /// Number of snapshots that could not be copied.
    pub failed: u64,
    /// Bytes added to the destination store.
    pub stored_bytes: u64,
    /// Elapsed time of the sync.
    pub duration: Duration,
}

/// Callback that is called with the result of each snapshot.
pub type Told<'a> = &'a mut dyn FnMut(&Stored, Outcome) -> Result<()>;

/// Copies `snapshots` of the store `from` to the store `to`, in the given order, which must be oldest
/// first. Afterwards `to` must not be used for anything else, because condemned packs are hidden in
/// its index.
///
/// # Errors
/// Errors of `told`; [`crate::error::Kind::Usage`] if both are the same store; errors that concern a
/// whole store. An error that concerns one snapshot is reported to the observer and counted instead.
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

/// Adopts packs that an interrupted writer left in `to`, and hides the data in packs that no longer
/// exist or that the last check found damaged. Returns whether there are any hidden packs.
fn adopt_orphans(to: &Kloset, condemned: &Condemned) -> Result<bool> {
    let told = to.index()?.packs_in_use().count();
    let orphans = to.trust_present_packs_only()?;
    let orphans = orphans.difference(condemned.packs()).copied().collect();
    let visible = to.index()?.packs_in_use().count();
    adopt_packs(to, &orphans)?;
    Ok(visible < told)
}

impl Summary {
    fn count(&mut self, outcome: Outcome) {
        match outcome {
            Outcome::Copied => self.copied += 1,
            Outcome::Revised => self.revised += 1,
            Outcome::Present => self.present += 1,
            Outcome::Failed => self.failed += 1,
        }
    }
}

/// How contents are transferred.
enum Way<'a> {
    /// Byte for byte.
    Whole(Whole<'a>),
    /// Sealed with another key.
    Reseal(Reseal<'a>),
}

impl<'a> Way<'a> {
    /// Chooses the way from `from` to `to`, which contains the snapshots `there`.
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

    /// Copies all data that `snapshot` references, and returns its root in the destination.
    fn copy(&mut self, snapshot: &Snapshot, condemned: &Condemned) -> Result<Entry, Stop> {
        match self {
            Way::Whole(whole) => whole
                .copy(snapshot, condemned.packs())
                .map(|()| snapshot.root.clone()),
            Way::Reseal(reseal) => reseal.copy(snapshot),
        }
    }
}

/// The state of a running sync.
struct Sync<'a> {
    from: &'a Kloset,
    to: &'a Kloset,
    way: Way<'a>,
    condemned: Condemned,
    there: HashMap<Id, Stored>,
    /// Whether existing snapshots are to be verified: data is known to be missing or damaged, or the
    /// user asked for it.
    is_holey: bool,
    failures: Failures<'a>,
    interrupt: Interrupt,
}

impl Sync<'_> {
    /// Copies one snapshot, if the destination lacks it.
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

    /// Transfers data that an existing snapshot has lost since it was copied.
    fn look_after(&mut self, stored: &Stored) -> Result<Outcome, Stop> {
        if self.is_holey {
            let whole = snapshot::read(self.from, stored.object).map_err(lost)?;
            self.way.copy(&whole, &self.condemned)?;
        }
        Ok(Outcome::Present)
    }

    /// Copies the labels of a newer revision to the destination.
    fn revise(&self, stored: &Stored, there: &Stored) -> Result<Outcome, Stop> {
        let whole = snapshot::read(self.from, stored.object).map_err(lost)?;
        snapshot::revise(self.to, there, whole.labels, whole.revision)?;
        Ok(Outcome::Revised)
    }

    /// Copies all data that the snapshot references, then publishes it.
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

    /// Reports to the observer how much data is expected.
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

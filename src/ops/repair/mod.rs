//! Making the best of a damaged store.
//!
//! 1. **Index.** Index objects are copies of what the footers of packs say. Those that are damaged,
//!    or tell of packs that are gone, are replaced, and packs that none tells of are entered
//!    ([`reindex`]). Condemnations that are damaged go: nobody can tell what they mean, and until
//!    then nobody can make a backup.
//! 2. **A check** of everything tells which chunks are good, and which snapshots lost what.
//! 3. **Snapshots.** Of each that lost something a further one is made, of what is left
//!    ([`rebuild`]). It has the time and the labels of the original, a tag that tells which that
//!    is, and what was lost is recorded in it as errors. The original stays: what it lost may be
//!    found again.
//!
//! A dry run tells all of this and changes nothing.
//!
//! What only somebody else can make good stays as it is and is told of: packs with damage in them,
//! of which a backup of the same files stores anew what they still have; snapshots and key slots
//! that cannot be read.
//!
//! A repaired snapshot needs nothing but what its original needs, and trees of its own. So it is as
//! safe beside maintenance as a copy within the store is ([`super::dup`]).

mod rebuild;
mod reindex;

use std::time::{Duration, Instant};

use super::check::{self, Survey};
use super::dup;
use crate::error::{During, Result};
use crate::format::master::random;
use crate::kloset::Kloset;
use crate::kloset::condemned::Condemned;
use crate::kloset::index::Index;
use crate::kloset::snapshot::{self, ERRORS_LIMIT, Snapshot, Stored};
use crate::util::Id;
use crate::util::clock::now_ns;

use rebuild::Rebuild;

/// What the tag of a repaired snapshot begins with; the beginning of the original's id follows.
pub const TAG: &str = "repair-of-";
/// Digits of that id: enough for it to be no other's.
const TAG_DIGITS: usize = 16;

/// Whether to do what can be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Tell of it, and change nothing.
    DryRun,
    /// Do it.
    Apply,
}

/// How to repair.
pub struct Options {
    /// Whether to change anything.
    pub mode: Mode,
    /// How closely to look, and with how many threads.
    pub check: check::Options,
    /// Name and version of this program.
    pub program: String,
}

/// What was found, and done unless it was a dry run.
#[derive(Clone, Debug, Default)]
pub struct Summary {
    /// Index objects that are damaged.
    pub damaged_indexes: u64,
    /// Index objects that tell of packs that are gone.
    pub stale_indexes: u64,
    /// Packs that no index object tells of.
    pub unindexed_packs: u64,
    /// Condemnations that are damaged, which stop every backup.
    pub damaged_condemnations: u64,
    /// Snapshots that lost something.
    pub lossy_snapshots: u64,
    /// Those of them of which a repaired one was there already.
    pub repaired_before: u64,
    /// Those of them of which one was made now.
    pub repaired: u64,
    /// What the check found, after the index was repaired.
    pub check: check::Summary,
    /// How long it took.
    pub duration: Duration,
}

impl Summary {
    /// Whether the index is not what it should be, or was not.
    pub fn is_index_bad(&self) -> bool {
        self.damaged_indexes + self.stale_indexes + self.unindexed_packs > 0
    }
}

/// A snapshot that lost something.
pub struct Repair<'a> {
    /// The original.
    pub original: &'a Snapshot,
    /// What was made, unless it was a dry run, or had been made before.
    pub repaired: Option<Id>,
}

/// Whoever wants to hear of each snapshot that lost something.
pub type Told<'a> = &'a mut dyn FnMut(&Repair<'_>) -> Result<()>;

/// Finds out what is wrong, tells the observer of it, and makes the best of it if `options` say so.
///
/// # Errors
/// What keeps it from being done. Damage does not: it is in the summary.
pub fn run(kloset: &Kloset, options: &Options, told: Told<'_>) -> Result<Summary> {
    let started = Instant::now();
    let mut summary = reindex::run(kloset, options)?;
    // What is read from now on is found by the index as it is now.
    let reading = kloset.afresh()?;
    let Survey {
        summary: checked,
        good,
        targets,
    } = check::survey(&reading, None, &options.check)?;
    let snapshots = || targets.iter().map(|target| &target.stored);
    for stored in snapshots().filter(|stored| checked.lossy.contains(&stored.snapshot.id)) {
        options.check.interrupt.check()?;
        summary.lossy_snapshots += 1;
        let tag = tag(&stored.snapshot);
        let is_known = snapshots().any(|other| other.snapshot.labels.tags.contains(&tag));
        let repaired = match options.mode {
            _ if is_known => {
                summary.repaired_before += 1;
                None
            }
            Mode::DryRun => None,
            Mode::Apply => {
                summary.repaired += 1;
                Some(repair(&reading, &good, stored, options)?)
            }
        };
        told(&Repair {
            original: &stored.snapshot,
            repaired,
        })?;
    }
    Ok(Summary {
        check: checked,
        duration: started.elapsed(),
        ..summary
    })
}

/// The tag of the snapshot that is made of what is left of `original`.
fn tag(original: &Snapshot) -> String {
    format!("{TAG}{}", &original.id.to_string()[..TAG_DIGITS])
}

/// Makes a snapshot of what is `good` of `original`, and returns its id.
fn repair(reading: &Kloset, good: &Index, original: &Stored, options: &Options) -> Result<Id> {
    let repair = || -> Result<Id> {
        let writing = reading.afresh()?;
        let mut condemned = Condemned::hide(&writing)?;
        writing.trust_present_packs_only()?;
        let whole = snapshot::read(reading, original.object)?;
        let rebuild = Rebuild::new(reading, &writing, good, &options.check.interrupt)?;
        let (root, lost) = rebuild.run(&whole.root)?;
        let repaired = repaired(whole, root, lost, options)?;
        condemned.publish(&writing, &repaired, &options.check.interrupt)?;
        writing.save_index();
        dup::keep_beside(&writing, original, repaired.id)?;
        Ok(repaired.id)
    };
    repair().during(|| format!("repair {}", original.snapshot.id.short()))
}

/// What `original` is without what was `lost`.
fn repaired(
    original: Snapshot,
    root: crate::format::entry::Entry,
    (count, lost): rebuild::Lost,
    options: &Options,
) -> Result<Snapshot> {
    let tag = tag(&original);
    let mut repaired = Snapshot {
        id: Id(random()?),
        revision: 0,
        root,
        error_count: original.error_count.saturating_add(count),
        program: options.program.clone(),
        synced_ns: Some(now_ns()),
        ..original
    };
    repaired.errors.extend(lost);
    repaired.errors.truncate(ERRORS_LIMIT);
    repaired.labels.tags.push(tag);
    repaired.labels.tags.sort();
    Ok(repaired)
}

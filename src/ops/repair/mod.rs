//! Repairs a damaged store as far as possible.
//!
//! 1. **Index.** Index objects are copies of facts in the footers of packs. Those that are damaged or
//!    mention packs that no longer exist are replaced, and packs that none mentions are added
//!    ([`reindex`]). Damaged condemnations are removed: the packs that they name are unknown, and
//!    until they are removed every backup fails.
//! 2. **A check** of the whole store determines which chunks are good, and which snapshots lost data.
//! 3. **Snapshots.** For each snapshot that lost data, a repaired snapshot of the remaining data is
//!    created ([`rebuild`]). It has the time and the labels of the original and a tag that identifies
//!    the original, and it records the lost items as errors. The original is kept, because its lost
//!    data may be found again.
//!
//! A dry run reports all of this and changes nothing.
//!
//! Damage that repair cannot fix is reported and not changed: damaged packs, whose remaining contents
//! a backup of the same files stores again; and snapshots and key slots that cannot be read.
//!
//! A repaired snapshot references only data that its original references, and its own trees. So it
//! can run concurrently with maintenance as safely as a copy within the store ([`super::dup`]).

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

/// The prefix of the tag of a repaired snapshot. The first digits of the original's id follow.
pub const TAG: &str = "repair-of-";
/// Number of these digits: enough to be unique.
const TAG_DIGITS: usize = 16;

/// Whether to change the store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Only report.
    DryRun,
    /// Change the store.
    Apply,
}

/// Options of [`run`].
pub struct Options {
    /// Whether to change the store.
    pub mode: Mode,
    /// Depth and number of threads of the check.
    pub check: check::Options,
    /// Name and version of this program, recorded in repaired snapshots.
    pub program: String,
}

/// What was found, and what was done unless it was a dry run.
#[derive(Clone, Debug, Default)]
pub struct Summary {
    /// Number of damaged index objects.
    pub damaged_indexes: u64,
    /// Index objects that mention packs that no longer exist.
    pub stale_indexes: u64,
    /// Packs that no index object mentions.
    pub unindexed_packs: u64,
    /// Damaged condemnations, which make every backup fail.
    pub damaged_condemnations: u64,
    /// Number of snapshots that lost data.
    pub lossy_snapshots: u64,
    /// Of these, snapshots that already had a repaired snapshot.
    pub repaired_before: u64,
    /// Of these, snapshots for which this run created a repaired snapshot.
    pub repaired: u64,
    /// The result of the check, after the index was repaired.
    pub check: check::Summary,
    /// Elapsed time of the run.
    pub duration: Duration,
}

impl Summary {
    /// Whether the index has defects, or had them before this run.
    pub fn is_index_bad(&self) -> bool {
        self.damaged_indexes + self.stale_indexes + self.unindexed_packs > 0
    }
}

/// A snapshot that lost data.
pub struct Repair<'a> {
    /// The snapshot that lost data.
    pub original: &'a Snapshot,
    /// The repaired snapshot; `None` in a dry run, or if one existed already.
    pub repaired: Option<Id>,
}

/// Callback that is called for each snapshot that lost data.
pub type Told<'a> = &'a mut dyn FnMut(&Repair<'_>) -> Result<()>;

/// Finds damage, reports it to the observer, and repairs it if `options` request it.
///
/// # Errors
/// Errors that prevent the repair. Damage is not an error: it is in the summary.
pub fn run(kloset: &Kloset, options: &Options, told: Told<'_>) -> Result<Summary> {
    let started = Instant::now();
    let mut summary = reindex::run(kloset, options)?;
    // From here on, reads use the repaired index.
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

/// The tag of the repaired snapshot of `original`.
fn tag(original: &Snapshot) -> String {
    format!("{TAG}{}", &original.id.to_string()[..TAG_DIGITS])
}

/// Creates a snapshot of the data of `original` that is in `good`, and returns its id.
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

/// The snapshot `original` without the items in `lost`.
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

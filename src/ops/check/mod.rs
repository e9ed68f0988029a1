//! Verifies that all data referenced by snapshots is present and intact.
//!
//! **Objects.** Every object is read and compared with its name, every sealed part is opened, and the
//! id of every chunk is recomputed ([`objects`]). Intact chunks are recorded in a temporary index
//! that belongs to this check. So the check relies on no cache, and its memory does not grow with the
//! store. Snapshots are listed and read before packs are listed. A concurrent backup publishes its
//! packs before its snapshot, so all packs that a known snapshot references are among the listed
//! packs. An object that no longer exists when it is read was removed meanwhile, which is not damage.
//!
//! Index objects are copies of footers, and are compared with these ([`crate::kloset::claims`]).
//!
//! **References.** Then all references are traversed, from every snapshot down ([`references`]): each
//! tree is read, and each chunk of each file is looked up among the good chunks. Data that several
//! snapshots share is traversed once, unless there is damage below it: then each of these snapshots
//! is reported.
//!
//! Damaged packs are recorded next to the index cache ([`bad_packs`]), so that backups do not rely on
//! them. Damage never ends a check: it is reported and counted, and the check continues. With
//! [`Depth::Structure`], blocks of files are not read, and the footers of packs are assumed to be
//! correct. [`names`] needs no key: it only compares objects with their names.

mod objects;
mod reading;
mod references;

use std::collections::{BTreeSet, HashMap};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use super::collect::USUAL_GRACE;
use crate::error::{Error, Kind, Result};
use crate::kloset::claims::Claims;
use crate::kloset::failures::Failures;
use crate::kloset::index::Index;
use crate::kloset::pipeline::{Trouble, lock};
use crate::kloset::progress::Observer;
use crate::kloset::snapshot::Stored;
use crate::kloset::{Kloset, bad_packs, condemned};
use crate::store::{Area, Store};
use crate::util::Id;
use crate::util::interrupt::Interrupt;

/// How much of the data is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Depth {
    /// Structure only: no contents of files are read.
    Structure,
    /// Every byte is read.
    Contents,
}

/// Options of [`run`].
pub struct Options {
    /// How much of the data is read.
    pub depth: Depth,
    /// Number of threads that decode.
    pub workers: usize,
    /// Set when the user requests a stop.
    pub interrupt: Interrupt,
}

/// A snapshot, or a part of one, to check.
#[derive(Clone)]
pub struct Target {
    /// The snapshot to check.
    pub stored: Stored,
    /// The path below which to check; `/` for the whole snapshot.
    pub path: Vec<u8>,
}

/// The result of a check.
#[derive(Clone, Debug, Default)]
pub struct Summary {
    /// Checked snapshots.
    pub snapshots: u64,
    /// Damaged snapshots.
    pub damaged_snapshots: u64,
    /// Damaged snapshots that can be read but lost data.
    pub lossy: Vec<Id>,
    /// Checked objects.
    pub objects: u64,
    /// Objects that are damaged or missing.
    pub damaged_objects: u64,
    /// Packs that are damaged or missing.
    pub damaged_packs: u64,
    /// If all damaged packs are condemned: the end of the default grace period of the last one, by
    /// the store's clock in nanoseconds since 1970.
    pub damaged_until_ns: Option<i64>,
    /// Checked files. A file that several snapshots share counts once.
    pub files: u64,
    /// Files that lost data, counted in each damaged snapshot.
    pub damaged_files: u64,
    /// Checked directories. A directory that several snapshots share counts once.
    pub directories: u64,
    /// Directories that lost entries, counted in each damaged snapshot.
    pub damaged_directories: u64,
    /// Bytes read from the store.
    pub read_bytes: u64,
    /// Elapsed time of the check.
    pub duration: Duration,
}

impl Summary {
    /// Whether anything is damaged. Damaged files and directories are part of damaged snapshots.
    pub fn is_damaged(&self) -> bool {
        self.damaged_snapshots + self.damaged_objects > 0
    }
}

/// The shared state of the threads of one check.
struct Context<'a> {
    store: &'a dyn Store,
    observer: &'a dyn Observer,
    options: &'a Options,
    failures: Failures<'a>,
    trouble: Trouble,
    counts: Mutex<Summary>,
    read_bytes: AtomicU64,
    packs: Mutex<PackStates>,
    /// The contents of index objects, to be compared with footers.
    claims: Mutex<Claims>,
}

/// The packs that are known to be damaged, from this check or an earlier one.
#[derive(Default)]
struct PackStates {
    bad: BTreeSet<Id>,
    /// The damaged packs that this check has found.
    seen: BTreeSet<Id>,
}

/// Checks everything in the store, or only the data that `targets` reference.
///
/// # Errors
/// Errors that prevent the check. Damage is not an error: it is in the summary.
pub fn run(kloset: &Kloset, targets: Option<&[Target]>, options: &Options) -> Result<Summary> {
    survey(kloset, targets, options).map(|survey| survey.summary)
}

/// The complete result of a check.
pub(crate) struct Survey {
    /// The counts of the check.
    pub(crate) summary: Summary,
    /// The chunks that are known to be good.
    pub(crate) good: Index,
    /// The targets of the check.
    pub(crate) targets: Vec<Target>,
}

/// Like [`run`], for a caller that repairs the damage.
pub(crate) fn survey(
    kloset: &Kloset,
    targets: Option<&[Target]>,
    options: &Options,
) -> Result<Survey> {
    let started = Instant::now();
    let context = Context::new(kloset.store(), kloset.observer(), options);
    lock(&context.packs).bad = bad_packs::read(kloset);
    let outcome = check(&context, kloset, targets);
    context.save_bad_packs(kloset);
    let (good, targets) = outcome?;
    Ok(Survey {
        summary: context.finish(started)?,
        good,
        targets,
    })
}

/// Checks, and counts in `context`. Returns the good chunks and the targets.
fn check(
    context: &Context<'_>,
    kloset: &Kloset,
    targets: Option<&[Target]>,
) -> Result<(Index, Vec<Target>)> {
    let good = Index::open(None);
    let snapshots = match targets {
        None => {
            // Read first: index objects mention packs that are being deleted until the condemnations
            // of these packs are removed.
            let condemned = condemned::names_readable(kloset)?;
            let snapshots = objects::readable_snapshots(context, kloset)?;
            objects::check_small(context, kloset)?;
            objects::check_all_packs(context, kloset, &condemned, &good)?;
            context.note_condemned(&condemned);
            snapshots
        }
        Some(targets) => {
            let packs = references::packs_of(context, kloset, targets)?;
            objects::check_needed_packs(context, kloset, packs, &good)?;
            targets.to_vec()
        }
    };
    references::follow(context, kloset, &good, &snapshots)?;
    Ok((good, snapshots))
}

/// Checks every object against its name, without a key. CONFIG has no such name, and verifying it
/// requires the key.
pub fn names(store: &dyn Store, observer: &dyn Observer, options: &Options) -> Result<Summary> {
    let started = Instant::now();
    let context = Context::new(store, observer, options);
    objects::check_names(&context)?;
    context.finish(started)
}

impl<'a> Context<'a> {
    /// A context in which nothing was checked yet.
    fn new(store: &'a dyn Store, observer: &'a dyn Observer, options: &'a Options) -> Context<'a> {
        Context {
            store,
            observer,
            options,
            failures: Failures::new(observer),
            trouble: Trouble::new(options.interrupt.clone()),
            counts: Mutex::default(),
            read_bytes: AtomicU64::new(0),
            packs: Mutex::default(),
            claims: Mutex::default(),
        }
    }

    /// The final counts.
    fn finish(self, started: Instant) -> Result<Summary> {
        self.trouble.outcome()?;
        let summary = self
            .counts
            .into_inner()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        Ok(Summary {
            read_bytes: self.read_bytes.into_inner(),
            duration: started.elapsed(),
            ..summary
        })
    }

    /// Updates the counts with `how`.
    fn count(&self, how: impl FnOnce(&mut Summary)) {
        how(&mut lock(&self.counts));
    }

    /// Counts bytes read.
    fn read(&self, bytes: u64) {
        self.read_bytes.fetch_add(bytes, Ordering::Relaxed);
        crate::kloset::progress::add(&self.observer.counters().bytes, bytes);
    }

    /// Notes that `pack` is damaged, so that backups do not rely on it. A pack that this client has
    /// no permission to read is not noted: other clients may be able to read it.
    fn bad_pack(&self, pack: Id, error: &Error) {
        if is_damage(error) && !matches!(error.kind(), Kind::Denied | Kind::NotFound) {
            let packs = &mut *lock(&self.packs);
            packs.bad.insert(pack);
            packs.seen.insert(pack);
        }
    }

    /// Notes that all of `pack` was checked. If nothing was damaged, it is good again.
    fn whole_pack(&self, pack: Id) {
        let packs = &mut *lock(&self.packs);
        if !packs.seen.contains(&pack) {
            packs.bad.remove(&pack);
        }
    }

    /// Notes when the damaged packs will be deleted, if all of them are condemned.
    fn note_condemned(&self, condemned: &HashMap<Id, i64>) {
        let packs = lock(&self.packs);
        let since = packs.seen.iter().map(|pack| condemned.get(pack));
        let last = since.collect::<Option<Vec<_>>>();
        let last_ns = last.and_then(|all| all.into_iter().max().copied());
        let grace_ns = i64::try_from(USUAL_GRACE.as_nanos()).unwrap_or(i64::MAX);
        let until_ns = last_ns.map(|since_ns| since_ns.saturating_add(grace_ns));
        self.count(|summary| summary.damaged_until_ns = until_ns);
    }

    /// Saves the names of damaged packs for later backups, except those that no longer exist.
    fn save_bad_packs(&self, kloset: &Kloset) {
        let PackStates { bad, seen } = &mut *lock(&self.packs);
        bad.retain(|pack| {
            seen.contains(pack) || !matches!(self.is_gone(Area::Packs, *pack), Ok(true))
        });
        bad_packs::write(kloset, bad);
    }

    /// Classifies the outcome of checking a listed object. Damage is reported and counted.
    ///
    /// # Errors
    /// Errors that prevent the check from continuing.
    fn object<T>(&self, area: Area, id: Id, outcome: Result<T>) -> Result<Looked<T>> {
        crate::kloset::progress::add(&self.observer.counters().objects, 1);
        match outcome {
            Ok(value) => Ok(Looked::Good(value)),
            Err(error) if error.kind() == Kind::NotFound && self.is_gone(area, id)? => {
                Ok(Looked::Gone)
            }
            Err(error) if is_damage(&error) => {
                self.failures
                    .add(format!("{}/{id}", area.name()).as_bytes(), &error);
                self.count(|summary| {
                    summary.damaged_objects += 1;
                    summary.damaged_packs += u64::from(area == Area::Packs);
                });
                Ok(Looked::Damaged)
            }
            Err(error) => Err(error),
        }
    }

    /// Whether an object that was listed no longer exists.
    fn is_gone(&self, area: Area, id: Id) -> Result<bool> {
        match self.store.stat(area, id) {
            Err(error) if error.kind() == Kind::NotFound => Ok(true),
            Err(error) if !is_damage(&error) => Err(error),
            _ => Ok(false),
        }
    }
}

/// The result of checking an object.
enum Looked<T> {
    /// The object is intact.
    Good(T),
    /// The object is damaged, which was reported.
    Damaged,
    /// The object was removed meanwhile.
    Gone,
}

impl<T> Looked<T> {
    /// The value of a good object.
    fn good(self) -> Option<T> {
        match self {
            Looked::Good(value) => Some(value),
            Looked::Damaged | Looked::Gone => None,
        }
    }
}

/// Whether an error means that stored data is damaged or missing. An object that cannot be read at
/// all is as lost as a damaged one.
fn is_damage(error: &Error) -> bool {
    error.is_of_one_object()
}

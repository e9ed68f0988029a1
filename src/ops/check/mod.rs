//! Is everything the snapshots need there, and intact?
//!
//! **Snapshots, then objects.** Every object is read and compared with its name, every sealed part
//! opened, every chunk's id recomputed ([`objects`]). What proves to be good goes into an
//! index of this check's own, in temporary files, so that nothing here relies on a
//! cache, and memory does not grow with the store. Snapshots are listed and read before packs
//! are listed: a backup that ends meanwhile published its packs before its snapshot, so what
//! a snapshot that we know refers to is among the packs that we know. An object that is gone by
//! the time it is read was removed meanwhile, which is no damage.
//!
//! Index objects are copies of footers, and are compared with these ([`super::claims`]).
//!
//! **Then references.** From every snapshot down ([`references`]): each tree is read, each
//! chunk of each file looked up among the good ones. What several snapshots share is
//! followed once, unless there is damage below it: then each of them is named.
//!
//! Packs that are damaged are noted beside the index cache ([`bad_packs`]), for backups to
//! distrust. Damage never ends a check. It is told of, counted, and the rest is looked at.
//! With [`Depth::Structure`] blocks of files are not read; what the footers of packs
//! say is taken for good. [`names`] needs no key: it compares objects with their names only.

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

/// How closely to look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Depth {
    /// Structure only: nothing of the contents of files is read.
    Structure,
    /// Every byte.
    Contents,
}

/// What to check, and how.
pub struct Options {
    /// How closely to look.
    pub depth: Depth,
    /// Threads that decode.
    pub workers: usize,
    /// Set when the user wants to stop.
    pub interrupt: Interrupt,
}

/// A snapshot, or a part of one, to be checked.
#[derive(Clone)]
pub struct Target {
    /// The snapshot.
    pub stored: Stored,
    /// The path below which to check; `/` for all.
    pub path: Vec<u8>,
}

/// How a check went.
#[derive(Clone, Debug, Default)]
pub struct Summary {
    /// Snapshots looked at.
    pub snapshots: u64,
    /// Those that are damaged.
    pub damaged_snapshots: u64,
    /// Those of them that can be read, but lost something.
    pub lossy: Vec<Id>,
    /// Objects looked at.
    pub objects: u64,
    /// Those that are damaged or missing.
    pub damaged_objects: u64,
    /// Packs among these.
    pub damaged_packs: u64,
    /// If all damaged packs are condemned: when the usual grace of the last of them is over, by
    /// the store's clock in nanoseconds since 1970.
    pub damaged_until_ns: Option<i64>,
    /// Files looked at; one that several snapshots share counts once.
    pub files: u64,
    /// Those that lost something, in each snapshot that is damaged.
    pub damaged_files: u64,
    /// Directories looked at; one that several snapshots share counts once.
    pub directories: u64,
    /// Those whose lists of entries lost something, in each snapshot that is damaged.
    pub damaged_directories: u64,
    /// Bytes read from the store.
    pub read_bytes: u64,
    /// How long it took.
    pub duration: Duration,
}

impl Summary {
    /// Whether anything is damaged. Of files and directories their snapshots tell.
    pub fn is_damaged(&self) -> bool {
        self.damaged_snapshots + self.damaged_objects > 0
    }
}

/// What every thread of one check looks at, and counts in.
struct Context<'a> {
    store: &'a dyn Store,
    observer: &'a dyn Observer,
    options: &'a Options,
    failures: Failures<'a>,
    trouble: Trouble,
    counts: Mutex<Summary>,
    read_bytes: AtomicU64,
    packs: Mutex<PackStates>,
    /// What index objects say, to be compared with footers.
    claims: Mutex<Claims>,
}

/// The packs that are known to be damaged, from this check or an earlier one.
#[derive(Default)]
struct PackStates {
    bad: BTreeSet<Id>,
    /// Those of them that this check looked at.
    seen: BTreeSet<Id>,
}

/// Checks everything in the store, or only what `targets` need.
///
/// # Errors
/// What keeps the check from being made. Damage does not: it is in the summary.
pub fn run(kloset: &Kloset, targets: Option<&[Target]>, options: &Options) -> Result<Summary> {
    survey(kloset, targets, options).map(|survey| survey.summary)
}

/// What a check knows in the end.
pub(crate) struct Survey {
    /// What was found.
    pub(crate) summary: Summary,
    /// The chunks that can be relied on.
    pub(crate) good: Index,
    /// What was checked.
    pub(crate) targets: Vec<Target>,
}

/// As [`run`], for whoever wants to do something about it.
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

/// Checks, and counts in `context`. Returns the good chunks, and what was checked.
fn check(
    context: &Context<'_>,
    kloset: &Kloset,
    targets: Option<&[Target]>,
) -> Result<(Index, Vec<Target>)> {
    let good = Index::open(None);
    let snapshots = match targets {
        None => {
            // Before anything else: index objects go on telling of packs that are being deleted,
            // until their condemnation goes.
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

/// Checks every object against its name, for which no key is needed. CONFIG has no such
/// name; whether it is authentic only a holder of the key can tell.
pub fn names(store: &dyn Store, observer: &dyn Observer, options: &Options) -> Result<Summary> {
    let started = Instant::now();
    let context = Context::new(store, observer, options);
    objects::check_names(&context)?;
    context.finish(started)
}

impl<'a> Context<'a> {
    /// Nothing checked yet.
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

    /// Everything that was counted.
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

    /// Counts with `how`.
    fn count(&self, how: impl FnOnce(&mut Summary)) {
        how(&mut lock(&self.counts));
    }

    /// Counts bytes read.
    fn read(&self, bytes: u64) {
        self.read_bytes.fetch_add(bytes, Ordering::Relaxed);
        crate::kloset::progress::add(&self.observer.counters().bytes, bytes);
    }

    /// Notes that something in `pack` is damaged, so that backups do not count on it. One that
    /// we merely may not read is left alone: others may.
    fn bad_pack(&self, pack: Id, error: &Error) {
        if is_damage(error) && !matches!(error.kind(), Kind::Denied | Kind::NotFound) {
            let packs = &mut *lock(&self.packs);
            packs.bad.insert(pack);
            packs.seen.insert(pack);
        }
    }

    /// Notes that all of `pack` was looked at. If nothing was damaged, it is good again.
    fn whole_pack(&self, pack: Id) {
        let packs = &mut *lock(&self.packs);
        if !packs.seen.contains(&pack) {
            packs.bad.remove(&pack);
        }
    }

    /// Notes until when the damaged packs stay, if all of them are condemned.
    fn note_condemned(&self, condemned: &HashMap<Id, i64>) {
        let packs = lock(&self.packs);
        let since = packs.seen.iter().map(|pack| condemned.get(pack));
        let last = since.collect::<Option<Vec<_>>>();
        let last_ns = last.and_then(|all| all.into_iter().max().copied());
        let grace_ns = i64::try_from(USUAL_GRACE.as_nanos()).unwrap_or(i64::MAX);
        let until_ns = last_ns.map(|since_ns| since_ns.saturating_add(grace_ns));
        self.count(|summary| summary.damaged_until_ns = until_ns);
    }

    /// Keeps the names of damaged packs for later backups, but for those that are gone.
    fn save_bad_packs(&self, kloset: &Kloset) {
        let PackStates { bad, seen } = &mut *lock(&self.packs);
        bad.retain(|pack| {
            seen.contains(pack) || !matches!(self.is_gone(Area::Packs, *pack), Ok(true))
        });
        bad_packs::write(kloset, bad);
    }

    /// Takes the outcome of looking at an object that was listed: damage is told of and counted.
    ///
    /// # Errors
    /// What keeps the check from going on.
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

    /// Whether an object that was listed is no longer there.
    fn is_gone(&self, area: Area, id: Id) -> Result<bool> {
        match self.store.stat(area, id) {
            Err(error) if error.kind() == Kind::NotFound => Ok(true),
            Err(error) if !is_damage(&error) => Err(error),
            _ => Ok(false),
        }
    }
}

/// What became of looking at an object.
enum Looked<T> {
    /// It is what it should be.
    Good(T),
    /// It is not, which was told of.
    Damaged,
    /// Somebody removed it meanwhile.
    Gone,
}

impl<T> Looked<T> {
    /// What was made of the object, if it is good.
    fn good(self) -> Option<T> {
        match self {
            Looked::Good(value) => Some(value),
            Looked::Damaged | Looked::Gone => None,
        }
    }
}

/// Whether an error means that something stored is not what it was, or not there.
/// An object that cannot be read at all is as lost as one that is damaged.
fn is_damage(error: &Error) -> bool {
    error.is_of_one_object()
}

//! Is everything the snapshots need there, and intact?
//!
//! **Objects first.** Every object is read and compared with its name, every sealed part
//! opened, every chunk's id recomputed ([`objects`]). What proves to be good goes into an
//! index of this check's own, in temporary files, so that nothing here relies on a
//! cache, and memory does not grow with the store.
//!
//! **Then references.** From every snapshot down ([`references`]): each tree is read, each
//! chunk of each file looked up among the good ones. What several snapshots share is
//! followed once, unless there is damage below it: then each of them is named.
//!
//! Damage never ends a check. It is told of, counted, and the rest is looked at.
//! With [`Depth::Structure`] blocks of files are not read; what the footers of packs
//! say is taken for good. [`names`] needs no key: it compares objects with their names only.

mod objects;
mod references;

use std::collections::HashSet;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use super::Kloset;
use super::failures::Failures;
use super::index::Index;
use super::pipeline::{Trouble, lock};
use super::progress::Observer;
use super::snapshot::Stored;
use crate::error::{During, Error, Result};
use crate::store::{Area, Store};
use crate::util::Id;
use crate::util::interrupt::Interrupt;

/// Stack of the thread that follows references: 4 KiB for each of 16,384 directories. What is not
/// needed takes no memory.
const STACK_BYTES: usize = 64 << 20;

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
    /// Objects looked at.
    pub objects: u64,
    /// Those that are damaged or missing.
    pub damaged_objects: u64,
    /// Files looked at; one that several snapshots share counts once.
    pub files: u64,
    /// Files and directories that lost something, in each snapshot that is damaged.
    pub damaged_files: u64,
    /// Bytes read from the store.
    pub read_bytes: u64,
    /// How long it took.
    pub duration: Duration,
}

impl Summary {
    /// Whether anything is damaged.
    pub fn is_damaged(&self) -> bool {
        self.damaged_snapshots + self.damaged_objects + self.damaged_files > 0
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
}

/// Checks everything in the store, or only what `targets` need.
///
/// # Errors
/// What keeps the check from being made. Damage does not: it is in the summary.
pub fn run(kloset: &Kloset, targets: Option<&[Target]>, options: &Options) -> Result<Summary> {
    let started = Instant::now();
    let context = Context::new(kloset.store(), kloset.observer(), options);
    with_deep_stack(|| check_all(&context, kloset, targets))?;
    context.finish(started)
}

/// Checks objects, then references.
fn check_all(context: &Context<'_>, kloset: &Kloset, targets: Option<&[Target]>) -> Result<()> {
    let good = Index::open(None);
    let snapshots = match targets {
        None => {
            // Snapshots first: all that one needs is there before it is.
            let snapshots = objects::readable_snapshots(context, kloset)?;
            objects::check_small(context, kloset)?;
            objects::check_packs(context, kloset, &kloset.names(Area::Packs)?, &good)?;
            snapshots
        }
        Some(targets) => {
            objects::check_packs(
                context,
                kloset,
                &references::packs_of(context, kloset, targets)?,
                &good,
            )?;
            targets.to_vec()
        }
    };
    references::follow(context, kloset, &good, &snapshots)
}

/// Runs `work` where references can be followed as deep as directories may lie in each other.
fn with_deep_stack(work: impl FnOnce() -> Result<()> + Send) -> Result<()> {
    thread::scope(|scope| {
        let worker = thread::Builder::new()
            .stack_size(STACK_BYTES)
            .spawn_scoped(scope, work);
        worker
            .during(|| "start a thread")?
            .join()
            .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })
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
        super::progress::add(&self.observer.counters().bytes, bytes);
    }

    /// Takes the outcome of looking at an object: damage is told of and counted.
    ///
    /// # Errors
    /// What keeps the check from going on.
    fn object<T>(&self, area: Area, id: Id, outcome: Result<T>) -> Result<Option<T>> {
        match outcome {
            Ok(value) => Ok(Some(value)),
            Err(error) if is_damage(&error) => {
                self.failures
                    .add(format!("{}/{id}", area.name()).as_bytes(), &error);
                self.count(|summary| summary.damaged_objects += 1);
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }
}

/// Whether an error means that something stored is not what it was, or not there.
/// An object that cannot be read at all is as lost as one that is damaged.
fn is_damage(error: &Error) -> bool {
    error.is_of_one_object()
}

/// The names of all objects in `area`, and their sizes together.
fn objects_in(store: &dyn Store, area: Area) -> Result<(HashSet<Id>, u64)> {
    let (mut names, mut bytes) = (HashSet::new(), 0);
    store.list(area, &mut |object| {
        names.insert(object.id);
        bytes += object.size_bytes;
        Ok(())
    })?;
    Ok((names, bytes))
}

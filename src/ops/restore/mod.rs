//! Restores a snapshot, or a part of one.
//!
//! ```text
//! walk the trees, create directories -> tasks -> decode, write, set attributes
//! this thread                                    1 thread per processor, or more to hide
//!                                                the latency of a remote store
//! then: further names of files, then: attributes of directories, deepest first
//! ```
//!
//! Trees are walked in the order in which they were stored, and a task is a run of adjacent items. So
//! each block is decoded once: by the first worker that needs it, while other workers wait for it. A
//! large file is split into several tasks, which write to it concurrently.
//!
//! Directories get their attributes in a second walk, when nothing more is written to them: before
//! that, a read-only directory could not be filled, and its modification time would be overwritten.
//!
//! An item that fails is reported and counted, and the restore continues. A full disk or an
//! unavailable store stops the restore, because every other item would fail too.

mod links;
mod walk;
mod work;

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use super::select;
use crate::connector::{
    Attributes, Destination, DestinationDir, Identity, Lost, Permissions, Preview,
};
use crate::error::{During, Error, Kind, Result};
use crate::format::entry::{Entry, Totals};
use crate::kloset::blob::BlobReader;
use crate::kloset::failures::Failures;
use crate::kloset::pipeline::{Trouble, lock, shared_channel};
use crate::kloset::progress::{Event, add};
use crate::kloset::snapshot::Snapshot;
use crate::kloset::{Kloset, readers};
use crate::util::interrupt::Interrupt;
use crate::util::printable::printable;

/// Size of the cache of decoded blocks: consecutive items share them.
const CACHE_BYTES: usize = 24 << 20;
/// Maximum number of extra threads that mainly wait for a remote store. Each has open directories and
/// a block in memory.
const WORKERS_LIMIT: usize = 8;
/// Tasks that may wait for a worker.
const TASKS_WAITING: usize = 4;

/// Options of [`run`].
pub struct Options {
    /// Whether owners, modes and attributes are restored.
    pub permissions: Permissions,
    /// What to do with existing files.
    pub existing: Existing,
    /// Whether anything is written.
    pub mode: Mode,
    /// Number of threads that decode and write.
    pub workers: usize,
    /// Set when the user requests a stop.
    pub interrupt: Interrupt,
}

/// What to do with an existing file that differs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Existing {
    /// Replace it.
    Replace,
    /// Keep it and its attributes; the same applies to existing directories.
    Keep,
}

/// Whether a restore writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Files are written.
    Write,
    /// Nothing is written; the observer is notified of what would be done.
    DryRun,
}

/// The result of a restore.
#[derive(Clone, Debug, Default)]
pub struct Summary {
    /// Files, links and other items except directories that were written.
    pub files: u64,
    /// Items among them that replaced another file.
    pub replaced: u64,
    /// Existing files that were kept, regardless of their contents.
    pub kept: u64,
    /// Existing files with the same contents.
    pub identical: u64,
    /// Directories that were restored.
    pub directories: u64,
    /// Bytes written.
    pub bytes: u64,
    /// Items that could not be restored.
    pub errors: u64,
    /// Whether any of the errors is damage of stored data.
    pub is_damaged: bool,
    /// Kinds of metadata that could not be restored, with the number of items affected.
    pub lost: BTreeMap<Lost, u64>,
    /// Elapsed time of the restore.
    pub duration: Duration,
}

/// The shared state of the threads of one restore.
struct Context<'a> {
    kloset: &'a Kloset,
    blobs: &'a BlobReader<'a>,
    options: &'a Options,
    /// The path in the snapshot of the root of the destination, for messages.
    base: Vec<u8>,
    failures: Failures<'a>,
    trouble: Trouble,
    files: AtomicU64,
    replaced: AtomicU64,
    kept: AtomicU64,
    identical: AtomicU64,
    directories: AtomicU64,
    bytes: AtomicU64,
    lost: Mutex<BTreeMap<Lost, u64>>,
    is_damaged: AtomicBool,
    /// Paths of directories that existed before and keep their attributes.
    kept_directories: Mutex<HashSet<Vec<u8>>>,
    /// Paths of directories that could not be entered: nothing is restored into them.
    refused: Mutex<HashSet<Vec<u8>>>,
    /// Directories that another user could replace before they are finished.
    exposed: Mutex<HashMap<Vec<u8>, Identity>>,
}

/// Restores the entry at `path` in `snapshot`. The contents of a directory are restored into the root
/// of the destination, any other entry under its own name.
///
/// # Errors
/// Errors that stop the whole restore. Items that fail are counted instead.
pub fn run(
    kloset: &Kloset,
    snapshot: &Snapshot,
    path: &[u8],
    destination: &dyn Destination,
    options: &Options,
) -> Result<Summary> {
    let started = Instant::now();
    let blobs = BlobReader::new(kloset, CACHE_BYTES)?;
    let entry = select::entry(&blobs, snapshot, path)?;
    expect(kloset, entry.totals());
    let context = Context {
        kloset,
        blobs: &blobs,
        options,
        base: base_of(path, &entry),
        failures: Failures::new(kloset.observer()),
        trouble: Trouble::new(options.interrupt.clone()),
        files: AtomicU64::new(0),
        replaced: AtomicU64::new(0),
        kept: AtomicU64::new(0),
        identical: AtomicU64::new(0),
        directories: AtomicU64::new(0),
        bytes: AtomicU64::new(0),
        lost: Mutex::default(),
        is_damaged: AtomicBool::new(false),
        kept_directories: Mutex::default(),
        refused: Mutex::default(),
        exposed: Mutex::default(),
    };
    match options.mode {
        Mode::Write => restore(&context, &entry, destination)?,
        Mode::DryRun => restore(&context, &entry, &Preview(destination))?,
    }
    let (errors, _) = context.failures.into_list();
    Ok(Summary {
        files: context.files.into_inner(),
        replaced: context.replaced.into_inner(),
        kept: context.kept.into_inner(),
        identical: context.identical.into_inner(),
        directories: context.directories.into_inner(),
        bytes: context.bytes.into_inner(),
        errors,
        is_damaged: context.is_damaged.into_inner(),
        lost: context
            .lost
            .into_inner()
            .unwrap_or_else(std::sync::PoisonError::into_inner),
        duration: started.elapsed(),
    })
}

/// Restores `entry` in three passes.
fn restore(context: &Context<'_>, entry: &Entry, destination: &dyn Destination) -> Result<()> {
    let (root, made) = destination
        .root()
        .during(|| format!("open {}", destination.location()))?;
    warn_of_holder(context, destination, &*root);
    let (sender, tasks) = shared_channel(TASKS_WAITING);
    let walked = thread::scope(|scope| {
        let kloset = context.kloset;
        for _ in 0..readers(kloset.store(), context.options.workers, WORKERS_LIMIT) {
            scope.spawn(|| work::run(context, &tasks));
        }
        let walked = walk::contents(context, entry, root.clone(), made, sender);
        context.trouble.note(walked)
    });
    context.trouble.outcome()?;
    let (links, told) = walked.unwrap_or_default();
    let linked = links::make_all(context, &root, links);
    context.trouble.note(linked);
    context.trouble.outcome()?;
    walk::directories(context, entry, root, made, &told)
}

/// Warns if another user can rename and remove files that root restores.
fn warn_of_holder(context: &Context<'_>, destination: &dyn Destination, root: &dyn DestinationDir) {
    if let Some(holder) = root.other_holder() {
        let cause = format!("{holder} can rename and remove what is restored there");
        let path = destination.location().as_bytes();
        context
            .failures
            .warn(path, &Error::new(Kind::Denied, cause));
    }
}

/// Reports to the observer how much data is expected.
fn expect(kloset: &Kloset, totals: Totals) {
    let counters = kloset.observer().counters();
    add(&counters.expected_files, totals.files);
    add(&counters.expected_bytes, totals.bytes);
}

/// The directory at `path` in `snapshot` from which it was backed up. If the entry at `path` is not a
/// directory, the directory that contained it.
pub fn original_place(kloset: &Kloset, snapshot: &Snapshot, path: &[u8]) -> Result<Vec<u8>> {
    let blobs = BlobReader::new(kloset, CACHE_BYTES)?;
    let entry = select::entry(&blobs, snapshot, path)?;
    let base = base_of(path, &entry);
    Ok(if base.is_empty() { b"/".to_vec() } else { base })
}

/// The directory that corresponds to the root of the destination: `path`, or its parent.
fn base_of(path: &[u8], entry: &Entry) -> Vec<u8> {
    let mut base = path.to_vec();
    if !entry.is_dir() {
        let slash = base.iter().rposition(|byte| *byte == b'/');
        base.truncate(slash.unwrap_or(0));
    }
    while base.last() == Some(&b'/') {
        base.pop();
    }
    base
}

impl Context<'_> {
    /// The path in the snapshot of the item at `relative` below the root of the destination.
    fn path(&self, relative: &[u8]) -> Vec<u8> {
        let mut path = self.base.clone();
        if !relative.is_empty() || path.is_empty() {
            path.push(b'/');
        }
        path.extend_from_slice(relative);
        path
    }

    /// Whether `path` is a directory that could not be entered, or is below one.
    fn is_refused(&self, path: &[u8]) -> bool {
        let refused = lock(&self.refused);
        let ends = (1..=path.len()).filter(|end| matches!(path.get(*end), None | Some(b'/')));
        !refused.is_empty() && ends.into_iter().any(|end| refused.contains(&path[..end]))
    }

    /// Returns the value of `result`, or counts the failure of the item at `path`.
    ///
    /// # Errors
    /// Errors that would affect every other item too.
    fn item<T>(&self, path: &[u8], result: Result<T>) -> Result<Option<T>> {
        match result {
            Ok(value) => Ok(Some(value)),
            Err(error) if stops(&error) => Err(error.during(printable(path))),
            Err(error) => {
                if error.kind() == Kind::Corrupt {
                    self.is_damaged.store(true, Ordering::Relaxed);
                }
                self.failures.add(path, &error);
                Ok(None)
            }
        }
    }

    /// Counts metadata that could not be restored.
    fn lose(&self, lost: Vec<Lost>) {
        if !lost.is_empty() {
            let mut all = lock(&self.lost);
            lost.into_iter()
                .for_each(|what| *all.entry(what).or_default() += 1);
        }
    }

    /// Counts an item whose restore is complete.
    fn done(&self, path: &[u8], size_bytes: u64, action: Action) {
        let count = |counter: &AtomicU64| counter.fetch_add(1, Ordering::Relaxed);
        match action {
            Action::Restored => count(&self.files),
            Action::Replaced => {
                count(&self.replaced);
                count(&self.files)
            }
            Action::Identical => count(&self.identical),
            Action::Kept => count(&self.kept),
        };
        add(&self.kloset.observer().counters().files, 1);
        self.tell(path, action, size_bytes);
    }

    /// Reports to the observer what is done, or would be done.
    fn tell(&self, path: &[u8], action: Action, size_bytes: u64) {
        let action = match (self.options.mode, action) {
            (Mode::Write, Action::Restored) => "restored",
            (Mode::Write, Action::Replaced) => "replaced",
            (Mode::Write, Action::Identical) => "identical",
            (Mode::Write, Action::Kept) => "kept",
            (Mode::DryRun, Action::Restored) => "create",
            (Mode::DryRun, Action::Replaced) => "replace",
            (Mode::DryRun, Action::Identical | Action::Kept) => "keep",
        };
        self.kloset.observer().event(&Event::Path {
            path,
            action,
            size_bytes,
        });
    }

    /// Counts bytes of contents that are in place.
    fn advance(&self, bytes: u64) {
        add(&self.kloset.observer().counters().bytes, bytes);
    }
}

/// Whether `error` stops the restore, because it would affect every other item too.
fn stops(error: &Error) -> bool {
    matches!(
        error.kind(),
        Kind::NoSpace | Kind::Unavailable | Kind::Interrupted
    )
}

/// What was done with a file.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Action {
    /// It was written; no file with its name existed.
    Restored,
    /// It was written and replaced another file.
    Replaced,
    /// An identical file existed.
    Identical,
    /// An existing file was kept.
    Kept,
}

/// The attributes to restore for `entry`.
fn attributes(entry: &Entry) -> Attributes<'_> {
    Attributes {
        metadata: &entry.metadata,
        user: entry.user.as_deref(),
        group: entry.group.as_deref(),
        xattrs: &entry.details.xattrs,
        flags: entry.details.flags,
    }
}

/// The error of an item that the backup could not read.
fn not_backed_up(entry: &Entry) -> Option<Error> {
    let problem = entry.problem.as_ref()?;
    Some(Error::new(
        Kind::Failed,
        format!("could not be backed up at the time: {problem}"),
    ))
}

//! Creates a snapshot.
//!
//! ```text
//! walk -> batches -> read and cut -> jobs -> hash, look up, compress, seal -> results -> trees -> snapshot
//! 1 thread          1 to 4 threads          1 thread per processor                    this thread
//!                                                  `-> packs -> publish: as many threads as
//!                                                      the store has connections, 1 for a directory
//! ```
//!
//! Every arrow is a bounded channel. So a slow store slows the readers down, and memory use does not
//! depend on the amount of data. Packs in progress are in files of the store; only their tables are
//! in memory. A batch is a run of adjacent items of the walk with about
//! [`BATCH_BYTES`](batches::BATCH_BYTES) of file contents. Readers and workers can finish batches in
//! any order. [`assemble`] restores the order of the walk, in which directories are a stack. Files
//! that are unchanged since the last snapshot pass through without being read, and so do further
//! names of files that were read ([`hardlinks`]).
//!
//! The snapshot is published last, when all data that it references is durable. If the backup stops
//! before that, the stored data stays for the next backup to find, and nothing references it.

mod assemble;
mod attributes;
mod batches;
mod hardlinks;
mod plan;
mod previous;
mod racy;
mod read;
mod scan;
mod scope;
mod source_gone;
mod steps;
mod walk;
mod work;

use std::collections::HashSet;
use std::sync::mpsc::{channel, sync_channel};
use std::thread;
use std::time::{Duration, Instant};

use crate::connector::Source;
use crate::connector::exclude::Excludes;
use crate::error::{Error, Kind, Result};
use crate::format::entry::{Entry, Totals};
use crate::format::master::random;
use crate::format::pack_table::PackKind;
use crate::kloset::Kloset;
use crate::kloset::blob::BlobReader;
use crate::kloset::condemned::Condemned;
use crate::kloset::failures::Failures;
use crate::kloset::pipeline::{Trouble, Window, shared_channel};
use crate::kloset::progress::{add, read as read_counter};
use crate::kloset::snapshot::{Labels, Snapshot};
use crate::kloset::write_session::{WriteSession, write_session};
use crate::util::Id;
use crate::util::clock::now_ns;
use crate::util::interrupt::Interrupt;

use crate::ops::backup::batches::Out;
use crate::ops::backup::steps::Buffers;
use read::Reader;
use walk::Walker;

pub(crate) use crate::ops::backup::hardlinks::Linked;
pub(crate) use crate::ops::backup::steps::{Done, End, Step};
pub(crate) use assemble::Assembler;
pub(crate) use previous::OldDirectory;
pub use previous::{Base, Compare};

/// Size of the cache of decoded blocks of older trees during the walk.
const TREE_CACHE_BYTES: usize = 8 << 20;
/// Bytes of contents in one job. Larger than a batch, so that most batches are a single job.
const BUFFER_BYTES: usize = 5 << 20;
/// Batches queued between the walk and the readers.
const BATCHES: usize = 4;
/// Batches that may be finished before one that comes earlier in the walk.
const WINDOW: u64 = 64;
/// Finished packs that may wait for a storing thread.
const PACKS_WAITING: usize = 2;

/// An option that is off by default.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Switch {
    /// The option is off.
    #[default]
    Off,
    /// The option is on.
    On,
}

impl Switch {
    /// [`Switch::On`] if `is_on`.
    pub fn on_if(is_on: bool) -> Switch {
        match is_on {
            true => Switch::On,
            false => Switch::Off,
        }
    }
}

/// What to back up, and how.
#[derive(Default)]
pub struct Options {
    /// Absolute paths without symbolic links, as raw bytes.
    pub places: Vec<Vec<u8>>,
    /// Patterns of paths to exclude.
    pub excludes: Excludes,
    /// The labels of the snapshot.
    pub labels: Labels,
    /// The time to record instead of the current time, in nanoseconds since 1970.
    pub time_ns: Option<i64>,
    /// The zstd level, if it differs from that of the store.
    pub level: Option<i32>,
    /// Number of threads that compress.
    pub workers: usize,
    /// Number of threads that read.
    pub readers: usize,
    /// How to detect unchanged files; `None` reads every file.
    pub compare: Option<Compare>,
    /// The snapshots that are trusted as a base.
    pub base: Base,
    /// Do not cross file system boundaries below each place.
    pub one_file_system: Switch,
    /// Exclude the contents of directories that hold a valid `CACHEDIR.TAG`.
    pub exclude_caches: Switch,
    /// Do not record extended attributes.
    pub skip_xattrs: Switch,
    /// Directories that are never entered, as device and inode: the store, the cache.
    pub skip: Vec<(u64, u64)>,
    /// The same by absolute paths, for sources without inodes.
    pub skip_paths: Vec<Vec<u8>>,
    /// Name of the machine on which the backup runs.
    pub host: String,
    /// Name of the user who runs the backup.
    pub user: String,
    /// Name and version of this program.
    pub program: String,
    /// If there is no earlier snapshot, count the files in a separate thread to show progress.
    pub scan: Switch,
    /// Set when the user requests a stop.
    pub interrupt: Interrupt,
}

/// The result of a backup.
#[derive(Clone, Debug, Default)]
pub struct Summary {
    /// The id of the new snapshot.
    pub snapshot: Id,
    /// Its [`Snapshot::digest`], for [`Base::Created`] of later backups.
    pub digest: Id,
    /// Its [`Snapshot::source_digest`].
    pub source: Id,
    /// Totals of everything below the root.
    pub totals: Totals,
    /// Files that were not in the previous snapshot.
    pub files_new: u64,
    /// Files whose contents or metadata changed.
    pub files_changed: u64,
    /// Files without changes.
    pub files_unchanged: u64,
    /// Bytes read from the source.
    pub read_bytes: u64,
    /// Bytes of the source that were not in the store before.
    pub new_bytes: u64,
    /// Bytes added to the store.
    pub stored_bytes: u64,
    /// Number of items that could not be backed up.
    pub errors: u64,
    /// Elapsed time of the backup.
    pub duration: Duration,
}

/// Creates a snapshot of `source`.
///
/// # Errors
/// Errors that prevent the snapshot. Items that fail are recorded in the snapshot, reported to the
/// observer and counted instead.
pub fn run(kloset: &Kloset, source: &dyn Source, options: &Options) -> Result<Summary> {
    let started = Instant::now();
    let time_ns = options.time_ns.unwrap_or_else(now_ns);
    let Beginning {
        mut condemned,
        orphans,
        previous,
    } = begin(kloset, source, options)?;
    let blobs = BlobReader::new(kloset, TREE_CACHE_BYTES)?;
    expect(kloset, previous.as_ref());
    let failures = Failures::new(kloset.observer());
    let outcome = Pipeline {
        kloset,
        source,
        options,
        blobs: &blobs,
    }
    .run(&failures, &orphans, previous)?;
    options.interrupt.check()?;
    crate::ops::backup::source_gone::expect(source)?;
    let (error_count, errors) = failures.into_list();
    let snapshot = Snapshot {
        id: Id(random()?),
        time_ns,
        duration: started.elapsed(),
        roots: options.places.clone(),
        root: outcome.root,
        origin: source.origin().to_owned(),
        source: source.kind().to_owned(),
        host: options.host.clone(),
        user: options.user.clone(),
        labels: options.labels.clone(),
        error_count,
        errors,
        program: options.program.clone(),
        revision: 0,
        synced_ns: None,
    };
    let published_bytes = condemned.publish(kloset, &snapshot, &options.interrupt)?;
    kloset.save_index();
    let counters = kloset.observer().counters();
    add(&counters.stored_bytes, published_bytes);
    Ok(Summary {
        snapshot: snapshot.id,
        digest: snapshot.digest(),
        source: snapshot.source_digest(),
        totals: snapshot.totals(),
        read_bytes: read_counter(&counters.read_bytes),
        new_bytes: read_counter(&counters.new_bytes),
        stored_bytes: read_counter(&counters.stored_bytes),
        errors: error_count,
        duration: started.elapsed(),
        ..outcome.summary
    })
}

/// The state of the store when a backup begins.
struct Beginning {
    condemned: Condemned,
    /// Packs that no index object mentions.
    orphans: HashSet<Id>,
    previous: Option<Snapshot>,
}

/// Reads the state of the store. Condemnations are listed before packs: a program that deletes a
/// condemned pack removes its condemnation after it, so a pack that is listed, and whose condemnation
/// was not read, was not condemned when condemnations were read. Snapshots may be read concurrently,
/// if the store supports it: the previous one only saves work.
fn begin(kloset: &Kloset, source: &dyn Source, options: &Options) -> Result<Beginning> {
    let packs = || -> Result<(Condemned, HashSet<Id>)> {
        let condemned = Condemned::hide(kloset)?;
        let orphans = kloset.trust_present_packs_only()?;
        let orphans = orphans.difference(condemned.packs()).copied().collect();
        Ok((condemned, orphans))
    };
    let previous = || previous::find(kloset, source, options);
    let (packs, previous) = match kloset.connections() {
        1 => (packs(), previous()),
        _ => thread::scope(|scope| {
            let packs = scope.spawn(packs);
            let previous = previous();
            (packs.join().expect("what lists does not panic"), previous)
        }),
    };
    let (condemned, orphans) = packs?;
    Ok(Beginning {
        condemned,
        orphans,
        previous: previous?,
    })
}

/// Reports to the observer every item that a backup with these options would include, without reading
/// contents or storing anything.
pub fn dry_run(kloset: &Kloset, source: &dyn Source, options: &Options) -> Result<Summary> {
    let started = Instant::now();
    let blobs = BlobReader::new(kloset, TREE_CACHE_BYTES)?;
    let previous = previous::find(kloset, source, options)?;
    let failures = Failures::new(kloset.observer());
    let (window, trouble) = (Window::new(WINDOW), Trouble::new(options.interrupt.clone()));
    let pipeline = Pipeline {
        kloset,
        source,
        options,
        blobs: &blobs,
    };
    let linked = Linked::default();
    let out = Out::nowhere(&window, &trouble);
    let walker = Walker::new(&pipeline, &failures, &linked, out);
    let summary = walker.run(previous)?;
    let (errors, _) = failures.into_list();
    Ok(Summary {
        errors,
        duration: started.elapsed(),
        ..summary
    })
}

/// Reports to the observer how much data is expected, based on the last snapshot.
fn expect(kloset: &Kloset, previous: Option<&Snapshot>) {
    let totals = previous.map(Snapshot::totals).unwrap_or_default();
    let counters = kloset.observer().counters();
    add(&counters.expected_files, totals.files);
    add(&counters.expected_bytes, totals.bytes);
}

/// The shared state of the threads of one backup.
struct Pipeline<'a> {
    kloset: &'a Kloset,
    source: &'a dyn Source,
    options: &'a Options,
    blobs: &'a BlobReader<'a>,
}

/// The result of the pipeline.
struct Outcome {
    root: Entry,
    summary: Summary,
}

impl Pipeline<'_> {
    /// Runs all stages to completion.
    fn run(
        &self,
        failures: &Failures<'_>,
        orphans: &HashSet<Id>,
        previous: Option<Snapshot>,
    ) -> Result<Outcome> {
        let level = self
            .options
            .level
            .unwrap_or(self.kloset.config().compression);
        let trouble = Trouble::new(self.options.interrupt.clone());
        let (scanning, stopped) = channel();
        let is_scan_wanted = self.options.scan == Switch::On && previous.is_none();
        let outcome = write_session(self.kloset, level, PACKS_WAITING, &trouble, |session| {
            let stages = Stages {
                pipeline: self,
                failures,
                trouble: &trouble,
            };
            let adopted = session.writing().adopt(orphans);
            thread::scope(|scope| {
                if is_scan_wanted {
                    let counters = self.kloset.observer().counters();
                    let scan = move || scan::run(self.source, self.options, counters, &stopped);
                    // The backup continues without a total if no thread can be started.
                    let _ = thread::Builder::new().spawn_scoped(scope, scan);
                }
                let outcome = adopted.and_then(|()| stages.run(&session, previous));
                drop(scanning);
                trouble.note(outcome)
            })
        })?;
        trouble.outcome()?;
        Ok(outcome.expect("without trouble there is an outcome"))
    }
}

/// The stages from the walk to the trees.
struct Stages<'a> {
    pipeline: &'a Pipeline<'a>,
    failures: &'a Failures<'a>,
    trouble: &'a Trouble,
}

impl Stages<'_> {
    /// Runs the stages. The calling thread assembles the trees.
    fn run(&self, session: &WriteSession<'_>, previous: Option<Snapshot>) -> Result<Outcome> {
        let Pipeline {
            kloset, options, ..
        } = *self.pipeline;
        let counters = kloset.observer().counters();
        // One for each reader and worker, and one free buffer; otherwise readers could wait for each
        // other.
        let buffers = Buffers::new(options.workers + options.readers + 1, BUFFER_BYTES);
        let window = Window::new(WINDOW);
        let (batch_sender, batches) = shared_channel(BATCHES);
        let (job_sender, jobs) = shared_channel(1);
        let (done_sender, results) = sync_channel(2 * options.workers);
        let linked = Linked::default();
        let tree_packer = session.packer(PackKind::Tree)?;
        let mut assembler = Assembler::new(kloset, tree_packer, &linked);
        let mut packers = Vec::new();
        for _ in 0..options.workers {
            packers.push(session.packer(PackKind::Data)?);
        }
        let context = read::Context {
            source: self.pipeline.source,
            options,
            chunker: kloset.chunker(),
            buffers: &buffers,
            failures: self.failures,
            counters,
            trouble: self.trouble,
        };
        let walked = thread::scope(|scope| {
            let out = Out::new(batch_sender, &window, self.trouble);
            let walker = Walker::new(self.pipeline, self.failures, &linked, out);
            let walking = scope.spawn(|| self.trouble.note(walker.run(previous)));
            for _ in 0..options.readers {
                let reader = Reader::new(context, job_sender.clone());
                scope.spawn(|| reader.run(&batches));
            }
            for packer in packers {
                let (done, jobs, buffers) = (done_sender.clone(), &jobs, &buffers);
                scope.spawn(move || work::run(packer, jobs, buffers, done, counters, self.trouble));
            }
            drop((job_sender, done_sender));
            assembler.run(results, &window, self.trouble);
            walking.join().expect("the walker does not panic")
        });
        let root = assembler.finish(self.trouble)?;
        let stopped = || Error::new(Kind::Interrupted, "stopped");
        Ok(Outcome {
            root: root.ok_or_else(stopped)?,
            summary: walked.ok_or_else(stopped)?,
        })
    }
}

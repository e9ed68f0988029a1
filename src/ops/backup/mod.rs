//! Making a snapshot.
//!
//! ```text
//! walk -> batches -> read and cut -> jobs -> hash, look up, compress, seal -> results -> trees -> snapshot
//! 1 thread          1 to 4 threads          one thread a processor                    this thread
//!                                                  `-> packs -> publish: as many threads as
//!                                                      the store has connections, 1 for a directory
//! ```
//!
//! Every arrow is a bounded channel, so a slow store slows the readers down and memory
//! does not depend on what is backed up: packs on their way lie in files of the store's, and
//! what is in memory of each is its table. A batch is what lies next to each other in the
//! walk, about [`crate::ops::backup::batches::BATCH_BYTES`] of files; readers and workers may finish batches in any order,
//! and [`assemble`] puts the results back into that of the walk, in which directories
//! are a stack. What is unchanged since the last snapshot passes through without being read,
//! and so do further names of files that were read ([`linked`](crate::ops::backup::hardlinks)).
//!
//! The snapshot is published last, when all it needs is durable. If anything stops the
//! backup before that, what was stored is left for the next one to find, and nothing refers to it.

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

/// Decoded blocks of older trees that are kept while walking.
const TREE_CACHE_BYTES: usize = 8 << 20;
/// Contents in one job. Larger than a batch, so that one batch is mostly one job.
const BUFFER_BYTES: usize = 5 << 20;
/// Batches between walker and readers.
const BATCHES: usize = 4;
/// Batches that may be finished before one that comes earlier in the walk.
const WINDOW: u64 = 64;
/// Finished packs that may wait for a storing thread.
const PACKS_WAITING: usize = 2;

/// Whether to do something that is off unless asked for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Switch {
    /// No.
    #[default]
    Off,
    /// Yes.
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
    /// Absolute paths without links in them, as raw bytes.
    pub places: Vec<Vec<u8>>,
    /// What to leave out.
    pub excludes: Excludes,
    /// What the user says of the snapshot.
    pub labels: Labels,
    /// The time to record instead of now, in nanoseconds since 1970.
    pub time_ns: Option<i64>,
    /// zstd level, if not that of the store.
    pub level: Option<i32>,
    /// Threads that compress.
    pub workers: usize,
    /// Threads that read.
    pub readers: usize,
    /// How to tell that a file did not change; nothing to read every file.
    pub compare: Option<Compare>,
    /// Which snapshots may be compared with.
    pub base: Base,
    /// Stay on the file system that each place is on.
    pub one_file_system: Switch,
    /// Leave out what is below directories that hold a valid `CACHEDIR.TAG`.
    pub exclude_caches: Switch,
    /// Leave extended attributes out.
    pub skip_xattrs: Switch,
    /// Directories that are never entered, as device and inode: the store, the cache.
    pub skip: Vec<(u64, u64)>,
    /// The same by their absolute paths, where a source has no inodes.
    pub skip_paths: Vec<Vec<u8>>,
    /// The machine this runs on.
    pub host: String,
    /// Who runs it.
    pub user: String,
    /// Name and version of this program.
    pub program: String,
    /// Count what there is on a thread of its own if no earlier snapshot tells, for progress.
    pub scan: Switch,
    /// Set when the user wants to stop.
    pub interrupt: Interrupt,
}

/// How a backup went.
#[derive(Clone, Debug, Default)]
pub struct Summary {
    /// The new snapshot.
    pub snapshot: Id,
    /// Its [`Snapshot::digest`], for [`Base::Created`] of later backups.
    pub digest: Id,
    /// Its [`Snapshot::source_digest`].
    pub source: Id,
    /// Everything below the root.
    pub totals: Totals,
    /// Files that were not in the snapshot before.
    pub files_new: u64,
    /// Files whose contents or metadata changed.
    pub files_changed: u64,
    /// Files that are as they were.
    pub files_unchanged: u64,
    /// Bytes read from the source.
    pub read_bytes: u64,
    /// Bytes of the source that were not in the store before.
    pub new_bytes: u64,
    /// Bytes added to the store.
    pub stored_bytes: u64,
    /// Items that could not be backed up.
    pub errors: u64,
    /// How long it took.
    pub duration: Duration,
}

/// Makes a snapshot of `source`.
///
/// # Errors
/// Whatever keeps the snapshot from being made. Items that fail do not: they are recorded
/// in it, told to the observer and counted.
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

/// What a backup has to know of the store before it begins.
struct Beginning {
    condemned: Condemned,
    /// Packs that no index object tells of.
    orphans: HashSet<Id>,
    previous: Option<Snapshot>,
}

/// Learns what is in the store. Condemnations are listed before packs: who deletes a condemned pack
/// takes its condemnation away after it, so a pack that is seen and whose condemnation is
/// not, is none. Snapshots may be read at the same time, if the store bears it: the last one only saves work.
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

/// Tells the observer of everything that a backup with these options would take, without
/// reading or storing anything.
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

/// Tells whoever watches how much there will be, as far as the last snapshot tells.
fn expect(kloset: &Kloset, previous: Option<&Snapshot>) {
    let totals = previous.map(Snapshot::totals).unwrap_or_default();
    let counters = kloset.observer().counters();
    add(&counters.expected_files, totals.files);
    add(&counters.expected_bytes, totals.bytes);
}

/// What every thread of one backup looks at.
struct Pipeline<'a> {
    kloset: &'a Kloset,
    source: &'a dyn Source,
    options: &'a Options,
    blobs: &'a BlobReader<'a>,
}

/// What comes out of the pipeline.
struct Outcome {
    root: Entry,
    summary: Summary,
}

impl Pipeline<'_> {
    /// Runs every stage to the end.
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
    /// Runs them; this thread assembles.
    fn run(&self, session: &WriteSession<'_>, previous: Option<Snapshot>) -> Result<Outcome> {
        let Pipeline {
            kloset, options, ..
        } = *self.pipeline;
        let counters = kloset.observer().counters();
        // One in each hand, and one that is free, or readers could wait for each other.
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

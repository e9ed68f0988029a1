//! Sync between stores with different keys: chunks are opened with one key and sealed with the other.
//!
//! ```text
//! walk both trees -> batches -> read, open, hash, look up, compress, seal -> results -> trees
//! 1 thread                      several threads                              this thread
//!                                              `-> packs -> publish: 1 thread per connection
//! ```
//!
//! Chunk boundaries are kept, so that data that earlier copies have in common with this one is found.
//! Trees are split as the CONFIG of the destination store specifies, like those of its own backups.
//!
//! The id of a chunk in the destination is known only after the chunk was read. To read only new
//! data, sync looks for a snapshot of the same places that exists in both stores. Where its tree is
//! equal to the tree of this snapshot, its copy provides the ids in the destination ([`translate`]).
//! They are used only if the chunks with these ids exist.

use std::sync::mpsc::{SyncSender, sync_channel};
use std::thread;

use super::Options;
use super::below::Below;
use super::course::{Course, Stop, lost};
use super::out::{Batch, Out};
use super::translate::{Base, Translator};
use crate::error::{Error, Kind, Result};
use crate::format::entry::Entry;
use crate::format::pack_table::PackKind;
use crate::kloset::blob::{BlobReader, Packer, Put};
use crate::kloset::pipeline::{Shared, Window, send, shared_channel};
use crate::kloset::progress::add;
use crate::kloset::snapshot::Snapshot;
use crate::kloset::write_session::{WriteSession, write_session};
use crate::kloset::{Kloset, readers};
use crate::ops::backup::{Assembler, Done, End, Linked, Step};
use crate::util::Id;

/// Size of the cache of decoded blocks for reading, of contents and of trees.
const CACHE_BYTES: usize = 6 << 20;
/// Size of the cache of decoded tree blocks of the destination, for the walk and for the check that
/// referenced chunks exist.
const TREE_CACHE_BYTES: usize = 2 << 20;
/// Batches queued between the walk and the workers.
const BATCHES: usize = 4;
/// Batches that may be finished before one that comes earlier in the walk.
const WINDOW: u64 = 16;
/// Finished packs that may wait for a storing thread.
const PACKS_WAITING: usize = 2;
/// Extra workers that mainly wait for a remote store, at most. Each has a block in memory.
const READERS_LIMIT: usize = 4;

/// A snapshot that exists in both stores.
struct Copied {
    origin: String,
    roots: Vec<Vec<u8>>,
    base: Base,
}

/// Copies between stores with different keys.
pub(super) struct Reseal<'a> {
    from: &'a Kloset,
    to: &'a Kloset,
    options: &'a Options,
    blobs: BlobReader<'a>,
    blobs_there: BlobReader<'a>,
    there: Below<'a>,
    copied: Vec<Copied>,
}

impl<'a> Reseal<'a> {
    /// Creates a copier from `from` to `to`.
    pub(super) fn new(
        from: &'a Kloset,
        to: &'a Kloset,
        options: &'a Options,
    ) -> Result<Reseal<'a>> {
        Ok(Reseal {
            from,
            to,
            options,
            blobs: BlobReader::new(from, CACHE_BYTES)?,
            blobs_there: BlobReader::new(to, TREE_CACHE_BYTES)?,
            there: Below::new(to, TREE_CACHE_BYTES, None, options.interrupt.clone())?,
            copied: Vec::new(),
        })
    }

    /// Notes that `snapshot` exists in the destination too, with the root `root`.
    pub(super) fn note_copy(&mut self, snapshot: &Snapshot, root: &Entry) {
        self.copied.push(Copied {
            origin: snapshot.origin.clone(),
            roots: snapshot.roots.clone(),
            base: Base {
                here: snapshot.root.clone(),
                there: root.clone(),
            },
        });
    }

    /// Copies all data that `snapshot` references, publishes an index object that covers it, and
    /// returns the root in the destination.
    pub(super) fn copy(&mut self, snapshot: &Snapshot) -> Result<Entry, Stop> {
        let is_like =
            |copied: &&Copied| copied.origin == snapshot.origin && copied.roots == snapshot.roots;
        let base = self.copied.iter().rev().find(is_like);
        let base = base.map(|copied| copied.base.clone());
        let course = Course::new(self.options.interrupt.clone());
        let level = self.to.config().compression;
        let root = write_session(self.to, level, PACKS_WAITING, &course.trouble, |session| {
            let stages = Stages {
                from: self.from,
                to: self.to,
                options: self.options,
                blobs: &self.blobs,
                blobs_there: &self.blobs_there,
                course: &course,
            };
            course.note(stages.run(&session, snapshot, base, &mut self.there))
        })?;
        course.outcome()?;
        let stopped = || Stop::Fatal(Error::new(Kind::Interrupted, "stopped"));
        root.flatten().ok_or_else(stopped)
    }
}

/// The stages from the walk to the trees.
struct Stages<'a> {
    from: &'a Kloset,
    to: &'a Kloset,
    options: &'a Options,
    blobs: &'a BlobReader<'a>,
    blobs_there: &'a BlobReader<'a>,
    course: &'a Course,
}

impl Stages<'_> {
    /// Runs the stages. The calling thread assembles the trees.
    fn run(
        &self,
        session: &WriteSession<'_>,
        snapshot: &Snapshot,
        base: Option<Base>,
        there: &mut Below<'_>,
    ) -> Result<Option<Entry>, Stop> {
        let workers = readers(self.from.store(), self.options.workers, READERS_LIMIT);
        let window = Window::new(WINDOW);
        let (batch_sender, batches) = shared_channel(BATCHES);
        let (done_sender, results) = sync_channel(2 * workers);
        let linked = Linked::default();
        let trees = session.packer(PackKind::Tree)?;
        let mut assembler = Assembler::new(self.to, trees, &linked);
        let mut packers = Vec::new();
        for _ in 0..workers {
            packers.push(session.packer(PackKind::Data)?);
        }
        thread::scope(|scope| {
            let out = Out::new(batch_sender, &window, &self.course.trouble);
            let translator = Translator {
                here: self.blobs,
                there: self.blobs_there,
                below: there,
                to: self.to,
                out,
            };
            scope.spawn(move || self.course.note(translator.run(&snapshot.root, base)));
            for packer in packers {
                let (done, batches) = (done_sender.clone(), &batches);
                scope.spawn(move || self.work(packer, batches, done));
            }
            drop(done_sender);
            assembler.run(results, &window, &self.course.trouble);
        });
        Ok(assembler.finish(&self.course.trouble)?)
    }

    /// Runs one worker: copies the chunks of batches until there are no more. After an error,
    /// discards batches.
    fn work(&self, mut packer: Packer<'_>, batches: &Shared<Batch>, done: SyncSender<Done>) {
        let trouble = &self.course.trouble;
        while let Some(batch) = batches.next() {
            if trouble.check().is_ok() {
                let moved = self.batch(&mut packer, batch);
                self.course
                    .note(moved.and_then(|results| Ok(send(&done, results)?)));
            }
        }
        if !trouble.has_failed() {
            trouble.note(packer.flush());
        }
    }

    /// Copies the chunks of one batch.
    fn batch(&self, packer: &mut Packer<'_>, batch: Batch) -> Result<Done, Stop> {
        let mut steps = Vec::with_capacity(batch.steps.len());
        let mut moved = |chunks: Vec<Id>| -> Result<Vec<Id>, Stop> {
            let moved = chunks.iter().map(|chunk| self.chunk(packer, chunk));
            moved.collect()
        };
        for step in batch.steps {
            steps.push(match step {
                Step::Chunks(chunks) => Step::Chunks(moved(chunks)?),
                Step::File(entry, chunks) => Step::File(entry, moved(chunks)?),
                other => other,
            });
        }
        Ok(Done {
            batch: batch.number,
            part: 0,
            end: End::Batch,
            steps,
        })
    }

    /// Copies one chunk, and returns its id in the destination.
    fn chunk(&self, packer: &mut Packer<'_>, chunk: &Id) -> Result<Id, Stop> {
        self.course.trouble.check()?;
        let counters = self.to.observer().counters();
        let read = self.blobs.with(chunk, |plain| {
            let length = plain.len() as u64;
            add(&counters.read_bytes, length);
            Ok((packer.put(plain), length))
        });
        let (put, length) = read.map_err(lost)?;
        let (id, put) = put?;
        if put == Put::New {
            add(&counters.new_bytes, length);
        }
        Ok(id)
    }
}

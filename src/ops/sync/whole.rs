//! Sync between siblings: packs are copied byte for byte.
//!
//! The trees of a snapshot determine the chunks that it references. For each chunk that the
//! destination lacks, the whole pack that holds it is copied. The bytes are verified against the name
//! of the pack during the transfer, and its footer makes its chunks available in the destination.
//! Nothing else in the pack is opened.
//!
//! A damaged pack cannot be copied, since its bytes would have another name. A pack that is condemned
//! or damaged in the destination must not be relied on, and copying it again would yield the same
//! pack. Chunks that are in no other pack are read one by one instead and written to new packs. So
//! only snapshots that need the damaged data fail.

use std::collections::HashSet;
use std::sync::mpsc::SyncSender;
use std::thread;

use super::Options;
use super::below::Below;
use super::course::{Course, Stop, lost};
use super::transfer::{Stranded, Transfers};
use crate::error::Result;
use crate::format::pack_table::PackKind;
use crate::kloset::blob::{BlobReader, Packer};
use crate::kloset::pipeline::shared_channel;
use crate::kloset::progress::{add, read as read_counter};
use crate::kloset::snapshot::Snapshot;
use crate::kloset::write_session::{WriteSession, write_session};
use crate::kloset::{Kloset, bad_packs};
use crate::util::Id;

/// Size of the cache of decoded blocks of packs that cannot be copied.
const CACHE_BYTES: usize = 8 << 20;
/// Size of the cache of decoded tree blocks.
const TREE_CACHE_BYTES: usize = 8 << 20;
/// Maximum number of packs that are copied concurrently. Each has a buffer.
const TRANSFERS_LIMIT: usize = 8;
/// Minimum number, so that one pack can be read while another is being made durable.
const TRANSFERS_LEAST: usize = 2;

/// Copies between siblings.
pub(super) struct Whole<'a> {
    from: &'a Kloset,
    to: &'a Kloset,
    options: &'a Options,
    below: Below<'a>,
    /// Reads single chunks.
    blobs: BlobReader<'a>,
    /// Packs that must not, or cannot, be copied.
    unfit: HashSet<Id>,
}

impl<'a> Whole<'a> {
    /// Creates a copier from `from` to `to`.
    pub(super) fn new(from: &'a Kloset, to: &'a Kloset, options: &'a Options) -> Result<Whole<'a>> {
        let counters = to.observer().counters();
        Ok(Whole {
            from,
            to,
            options,
            blobs: BlobReader::new(from, CACHE_BYTES)?,
            below: Below::new(
                from,
                TREE_CACHE_BYTES,
                Some(counters),
                options.interrupt.clone(),
            )?,
            unfit: bad_packs::read(to).into_iter().collect(),
        })
    }

    /// Copies all data that `snapshot` references, and publishes an index object that covers it.
    /// Packs that are `condemned` in the destination, and hidden, count as missing.
    pub(super) fn copy(
        &mut self,
        snapshot: &Snapshot,
        condemned: &HashSet<Id>,
    ) -> Result<(), Stop> {
        self.unfit.extend(condemned);
        let counters = self.to.observer().counters();
        let before = (read_counter(&counters.files), read_counter(&counters.bytes));
        let course = Course::new(self.options.interrupt.clone());
        let level = self.to.config().compression;
        write_session(self.to, level, 1, &course.trouble, |session| {
            let moved = self.transfer(snapshot, &session, &course);
            if course.note(moved).is_none() {
                self.below.clear();
            }
        })?;
        course.outcome()?;
        // Data shared with snapshots that were copied before was not counted again.
        let (files, bytes) = (read_counter(&counters.files), read_counter(&counters.bytes));
        let totals = snapshot.totals();
        add(
            &counters.files,
            totals.files.saturating_sub(files - before.0),
        );
        add(
            &counters.bytes,
            totals.bytes.saturating_sub(bytes - before.1),
        );
        Ok(())
    }

    /// Copies packs, several at a time, and the chunks that are in no pack that can be copied.
    fn transfer(
        &mut self,
        snapshot: &Snapshot,
        session: &WriteSession<'_>,
        course: &Course,
    ) -> Result<(), Stop> {
        let connections = self.from.connections().max(self.to.connections());
        let threads = connections.clamp(TRANSFERS_LEAST, TRANSFERS_LIMIT);
        let (queue, packs) = shared_channel(threads);
        let unfit = std::mem::take(&mut self.unfit);
        let transfers = Transfers::new(self.from, self.to, session.writing(), unfit);
        let Whole { blobs, below, .. } = self;
        let copied = Saver::new(blobs, session).map_err(Stop::from);
        let copied = copied.and_then(|mut saver| {
            thread::scope(|scope| {
                for _ in 0..threads {
                    scope.spawn(|| transfers.run(&packs, course));
                }
                let mut walk = Walk {
                    transfers: &transfers,
                    course,
                    saver: &mut saver,
                    queue,
                };
                below.each(&snapshot.root, &mut |chunk, kind| walk.want(chunk, kind))
            })?;
            saver.save(transfers.stranded())?;
            saver.finish()
        });
        self.unfit = transfers.into_unfit();
        copied
    }
}

/// Processes each chunk that the walk finds. Dropping it closes the queue.
struct Walk<'a, 'b> {
    transfers: &'a Transfers<'a>,
    course: &'a Course,
    saver: &'a mut Saver<'b>,
    queue: SyncSender<Id>,
}

impl Walk<'_, '_> {
    /// Makes sure that `chunk` is transferred, and returns its length.
    fn want(&mut self, chunk: Id, kind: PackKind) -> Result<u32, Stop> {
        self.course.trouble.check()?;
        let length = self.transfers.want(chunk, kind, &self.queue)?;
        self.saver.save(self.transfers.stranded())?;
        Ok(length)
    }
}

/// Copies single chunks.
struct Saver<'a> {
    blobs: &'a BlobReader<'a>,
    data: Packer<'a>,
    trees: Packer<'a>,
}

impl<'a> Saver<'a> {
    /// Creates a saver from `blobs` to the store of `session`.
    fn new(blobs: &'a BlobReader<'a>, session: &WriteSession<'a>) -> Result<Saver<'a>> {
        Ok(Saver {
            blobs,
            data: session.packer(PackKind::Data)?,
            trees: session.packer(PackKind::Tree)?,
        })
    }

    /// Copies the stranded chunks.
    fn save(&mut self, stranded: Vec<Stranded>) -> Result<(), Stop> {
        for Stranded { chunk, kind } in stranded {
            let packer = match kind {
                PackKind::Data => &mut self.data,
                PackKind::Tree => &mut self.trees,
            };
            let read = self.blobs.with(&chunk, |plain| Ok(packer.put(plain)));
            // The keys are equal, so the chunk has the same id in the destination.
            read.map_err(lost)??;
        }
        Ok(())
    }

    /// Stores the open packs.
    fn finish(mut self) -> Result<(), Stop> {
        self.data.flush()?;
        Ok(self.trees.flush()?)
    }
}

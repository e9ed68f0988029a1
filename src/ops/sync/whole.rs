//! Between siblings: packs move as they are.
//!
//! The trees of a snapshot tell which chunks it needs. For each that the other store does
//! not have, the pack that holds it is copied, with all else that is in it. Its bytes are
//! compared with its name on the way, and with its footer it can be found over there; nothing
//! else of it is opened.
//!
//! A damaged pack cannot be copied, since its bytes would have another name. One that is
//! condemned or damaged over there must not be counted on, and is not another when it is copied again.
//! Chunks that are in no other pack are read one by one instead, and go into packs of their
//! own. So only those snapshots fail that need what is damaged.

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

/// Decoded blocks that are kept of packs that cannot be copied.
const CACHE_BYTES: usize = 8 << 20;
/// The same of trees.
const TREE_CACHE_BYTES: usize = 8 << 20;
/// Packs that are copied at the same time at most: each has a buffer.
const TRANSFERS_LIMIT: usize = 8;
/// And at least, so that one can be read while another is being made durable.
const TRANSFERS_LEAST: usize = 2;

/// Copies between siblings.
pub(super) struct Whole<'a> {
    from: &'a Kloset,
    to: &'a Kloset,
    options: &'a Options,
    below: Below<'a>,
    /// For single chunks.
    blobs: BlobReader<'a>,
    /// Packs that must not, or cannot, be copied.
    unfit: HashSet<Id>,
}

impl<'a> Whole<'a> {
    /// From `from` to `to`.
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

    /// Copies everything that `snapshot` needs, and publishes an index object that tells of it.
    /// Packs that are `condemned` over there, and hidden, do not count.
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
        // What other snapshots share with it was not counted again.
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

    /// Copies packs, several at once, and the chunks that are in none that can be copied.
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

/// What each chunk of a snapshot is asked for, until nobody asks any more.
struct Walk<'a, 'b> {
    transfers: &'a Transfers<'a>,
    course: &'a Course,
    saver: &'a mut Saver<'b>,
    queue: SyncSender<Id>,
}

impl Walk<'_, '_> {
    /// Sees to it that `chunk` gets across, and tells how long it is.
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
    /// From `blobs` to the store of `session`.
    fn new(blobs: &'a BlobReader<'a>, session: &WriteSession<'a>) -> Result<Saver<'a>> {
        Ok(Saver {
            blobs,
            data: session.packer(PackKind::Data)?,
            trees: session.packer(PackKind::Tree)?,
        })
    }

    /// Copies these.
    fn save(&mut self, stranded: Vec<Stranded>) -> Result<(), Stop> {
        for Stranded { chunk, kind } in stranded {
            let packer = match kind {
                PackKind::Data => &mut self.data,
                PackKind::Tree => &mut self.trees,
            };
            let read = self.blobs.with(&chunk, |plain| Ok(packer.put(plain)));
            // Of the same key, so it has the same id there.
            read.map_err(lost)??;
        }
        Ok(())
    }

    /// Stores what is open.
    fn finish(mut self) -> Result<(), Stop> {
        self.data.flush()?;
        Ok(self.trees.flush()?)
    }
}

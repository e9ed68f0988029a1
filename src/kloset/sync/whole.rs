//! Between siblings: packs move as they are.
//!
//! The trees of a snapshot tell which chunks it needs. For each that the other store does
//! not have, the pack that holds it is copied, with all else that is in it. Its bytes are
//! compared with its name on the way, and with its footer it can be found over there; nothing
//! else of it is opened.
//!
//! A damaged pack cannot be copied, since its bytes would have another name. Chunks that are
//! in no good pack are read one by one instead, and go into packs of their own: so only
//! those snapshots fail that need what is damaged.

use std::collections::HashMap;
use std::thread;

use super::Options;
use super::below::Below;
use super::course::{Course, Stop, lost};
use super::transfer::{Stranded, Transfers};
use crate::error::{Error, Kind, Result};
use crate::kloset::Kloset;
use crate::kloset::backup::store_packs;
use crate::kloset::blob::{Packer, Writing};
use crate::kloset::pipeline::shared_channel;
use crate::kloset::progress::{add, read as read_counter};
use crate::kloset::snapshot::Snapshot;
use crate::kloset::table::PackKind;
use crate::util::Id;

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
    /// Packs that could not be copied, and why.
    unfit: HashMap<Id, Error>,
}

impl<'a> Whole<'a> {
    /// From `from` to `to`.
    pub(super) fn new(from: &'a Kloset, to: &'a Kloset, options: &'a Options) -> Result<Whole<'a>> {
        let counters = to.observer().counters();
        Ok(Whole {
            from,
            to,
            options,
            below: Below::new(from, Some(counters), options.interrupt.clone())?,
            unfit: HashMap::new(),
        })
    }

    /// Copies everything that `snapshot` needs, and publishes an index object that tells of it.
    pub(super) fn copy(&mut self, snapshot: &Snapshot) -> Result<(), Stop> {
        let counters = self.to.observer().counters();
        let before = (read_counter(&counters.files), read_counter(&counters.bytes));
        let writing = Writing::new(self.to, self.to.config().compression)?;
        let moved = self.transfer(snapshot, &writing);
        let moved = moved.and_then(|stranded| self.save(&stranded, &writing));
        // What came across is worth finding, whatever became of the rest.
        let published = writing.publish_index();
        if moved.is_err() {
            self.below.clear();
        }
        moved?;
        published?;
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

    /// Copies packs, several at once. Returns the chunks that are in none that can be copied.
    fn transfer(
        &mut self,
        snapshot: &Snapshot,
        writing: &Writing<'_>,
    ) -> Result<Vec<Stranded>, Stop> {
        let connections = self.from.connections().max(self.to.connections());
        let threads = connections.clamp(TRANSFERS_LEAST, TRANSFERS_LIMIT);
        let course = Course::new(self.options.interrupt.clone());
        let (queue, packs) = shared_channel(threads);
        let unfit = std::mem::take(&mut self.unfit);
        let transfers = Transfers::new(self.from, self.to, writing, unfit);
        thread::scope(|scope| {
            for _ in 0..threads {
                scope.spawn(|| transfers.run(&packs, &course));
            }
            course.note(self.below.each(&snapshot.root, &mut |chunk, kind| {
                course.trouble.check()?;
                transfers.want(chunk, kind, &queue)
            }));
            drop(queue);
        });
        let (unfit, stranded) = transfers.into_rest();
        self.unfit = unfit;
        course.outcome()?;
        Ok(stranded)
    }

    /// Copies single chunks.
    fn save(&self, stranded: &[Stranded], writing: &Writing<'_>) -> Result<(), Stop> {
        if stranded.is_empty() {
            return Ok(());
        }
        let course = Course::new(self.options.interrupt.clone());
        let (finished, packs) = shared_channel(1);
        thread::scope(|scope| {
            scope.spawn(|| store_packs(writing, &packs, &course.trouble));
            for kind in [PackKind::Data, PackKind::Tree] {
                let of_kind = stranded.iter().filter(|stranded| stranded.kind == kind);
                let chunks = of_kind.map(|stranded| stranded.chunk);
                let packer = Packer::new(writing, kind, finished.clone());
                let packer = packer.map_err(Stop::from);
                course.note(packer.and_then(|packer| self.save_in(packer, chunks, &course)));
            }
            drop(finished);
        });
        course.outcome()
    }

    /// Copies `chunks` into packs of one kind.
    fn save_in(
        &self,
        mut packer: Packer<'_>,
        mut chunks: impl Iterator<Item = Id>,
        course: &Course,
    ) -> Result<(), Stop> {
        chunks.try_for_each(|chunk| {
            course.trouble.check()?;
            self.save_one(chunk, &mut packer)
        })?;
        Ok(packer.flush()?)
    }

    /// Copies one chunk.
    fn save_one(&self, chunk: Id, packer: &mut Packer<'_>) -> Result<(), Stop> {
        let put = |plain: &[u8]| Ok(packer.put(plain));
        let read = self.below.blobs.with(&chunk, put);
        let (id, _) = read.map_err(lost)??;
        match id == chunk {
            true => Ok(()),
            false => Err(Stop::Fatal(Error::new(
                Kind::Failed,
                "a sibling names a chunk otherwise: a mistake in this program",
            ))),
        }
    }
}

//! What is live: a walk from snapshots down that leaves one bit for each chunk.
//!
//! Bits are kept by the ordinals of the index, which is held still for as long. Of a chunk that
//! is stored more than once one copy is marked, and the chunk counts as live if any copy is.
//!
//! What was once followed is not followed again, and as what matters: a chunk that is marked
//! as a piece of some file may be a tree, or a list of chunks, to another snapshot. Whoever has
//! the key could make such a snapshot so that what an honest one needs is passed over. So there is
//! a bit for each role.

use std::collections::HashSet;
use std::ops::ControlFlow;

use crate::error::{During, Error, Kind, Result};
use crate::format::entry::{Content, Entry};
use crate::kloset::Kloset;
use crate::kloset::blob::BlobReader;
use crate::kloset::index::{Held, Index};
use crate::kloset::progress::add;
use crate::kloset::tree::{self, decode_list};
use crate::util::Id;
use crate::util::interrupt::Interrupt;

/// Levels of lists between an entry and its chunks. Two are enough for 10 TB.
const LIST_DEPTH_LIMIT: u32 = 16;
/// Decoded blocks of trees that are kept.
const CACHE_BYTES: usize = 8 << 20;

/// Pieces of trees that are followed in the order of packs, not of the tree.
const PIECES_AT_ONCE: usize = 4096;
/// When more wait, they are followed one by one: 2 MB of ids.
const WAITING_LIMIT: usize = 1 << 16;

/// One bit for each of a row of numbers.
#[derive(Default)]
pub(super) struct Bits(Vec<u64>);

impl Bits {
    /// No bit of `count` is set.
    pub(super) fn new(count: u64) -> Bits {
        Bits(vec![0; count.div_ceil(64) as usize])
    }

    /// Makes room for `count`.
    pub(super) fn grow(&mut self, count: u64) {
        let words = count.div_ceil(64) as usize;
        if words > self.0.len() {
            self.0.reserve_exact(words - self.0.len());
            self.0.resize(words, 0);
        }
    }

    /// Sets bit `at`, and tells whether it was set before.
    pub(super) fn set(&mut self, at: u64) -> bool {
        let bit = 1 << (at % 64);
        let word = &mut self.0[(at / 64) as usize];
        let was = *word & bit != 0;
        *word |= bit;
        was
    }

    /// Clears bit `at`.
    pub(super) fn clear(&mut self, at: u64) {
        if let Some(word) = self.0.get_mut((at / 64) as usize) {
            *word &= !(1 << (at % 64));
        }
    }

    /// Whether bit `at` is set; one that there is no room for is not.
    pub(super) fn is_set(&self, at: u64) -> bool {
        let word = self.0.get((at / 64) as usize).copied().unwrap_or_default();
        word & 1 << (at % 64) != 0
    }
}

/// Which chunks are live.
pub(super) struct Marks<'a> {
    index: &'a Index,
    held: Held<'a>,
    live: Bits,
    /// Chunks whose entries were followed.
    trees: Bits,
    /// Chunks that were followed as lists of chunks of files.
    lists: Bits,
    /// The same for lists of lists, with how deep they are: there are few.
    deep: HashSet<(u64, u32)>,
    /// Chunks that are in no pack.
    pub(super) lost: u64,
}

impl<'a> Marks<'a> {
    /// No chunk of `index` is live.
    pub(super) fn new(index: &'a Index) -> Result<Marks<'a>> {
        let held = index.hold()?;
        let records = held.records();
        Ok(Marks {
            index,
            held,
            live: Bits::new(records),
            trees: Bits::new(records),
            lists: Bits::new(records),
            deep: HashSet::new(),
            lost: 0,
        })
    }

    /// Takes in what the index learnt since.
    pub(super) fn extend(&mut self) -> Result<()> {
        self.held.extend()?;
        let records = self.held.records();
        for bits in [&mut self.live, &mut self.trees, &mut self.lists] {
            bits.grow(records);
        }
        Ok(())
    }

    /// # Errors
    /// [`Kind::Unavailable`] if the marks mean nothing any more. Whoever is about to rely on what
    /// they said asks after they said it.
    pub(super) fn check(&self) -> Result<()> {
        self.held.check()
    }

    /// Whether any copy of the chunk is marked, be it in a pack that is there, in one that we deleted
    /// since, or in one that got another number when it was found again.
    pub(super) fn is_live(&self, id: &Id) -> Result<bool> {
        let mut is_live = false;
        self.index.each_ordinal(id, &mut |ordinal| {
            is_live |= self.live.is_set(ordinal);
            match is_live {
                true => ControlFlow::Break(()),
                false => ControlFlow::Continue(()),
            }
        })?;
        Ok(is_live)
    }

    /// Shows `take` the number of the pack of every record, the length of its chunk, and
    /// whether it is marked.
    pub(super) fn each_record(&self, take: &mut dyn FnMut(u32, u32, bool)) -> Result<()> {
        self.held.each_record(&mut |pack, ordinal, length| {
            take(pack, length, self.live.is_set(ordinal));
        })?;
        self.check()
    }

    /// Marks the chunk, and tells the ordinal of the mark: nothing if it is in no pack. A copy
    /// that is not condemned comes first.
    fn mark(&mut self, id: &Id) -> Result<Option<u64>> {
        let mut ordinal = self.find(id)?;
        // Learnt meanwhile, from a footer: it has no bit yet, and moves when it gets one.
        if ordinal.is_some_and(|ordinal| ordinal >= self.held.records()) {
            self.extend()?;
            ordinal = self.find(id)?;
        }
        match ordinal {
            Some(ordinal) => drop(self.live.set(ordinal)),
            None => self.lost += 1,
        }
        Ok(ordinal)
    }

    /// The ordinal of the copy to mark.
    fn find(&self, id: &Id) -> Result<Option<u64>> {
        let found = match self.index.lookup(id)? {
            None => self.index.lookup_in_all(id)?,
            found => found,
        };
        Ok(found.map(|found| found.ordinal))
    }

    /// Whether a record with this ordinal is there since the index was held only.
    pub(super) fn is_new(&self, ordinal: u64) -> bool {
        ordinal >= self.held.records()
    }
}

/// Marks what snapshots need.
pub(super) struct Marker<'a, 'b> {
    kloset: &'a Kloset,
    blobs: BlobReader<'a>,
    marks: &'b mut Marks<'a>,
    interrupt: &'b Interrupt,
    /// Pieces of trees that are still to be followed.
    waiting: Vec<Id>,
}

impl<'a, 'b> Marker<'a, 'b> {
    /// One who marks in `marks`.
    pub(super) fn new(
        kloset: &'a Kloset,
        marks: &'b mut Marks<'a>,
        interrupt: &'b Interrupt,
    ) -> Result<Marker<'a, 'b>> {
        Ok(Marker {
            kloset,
            blobs: BlobReader::new(kloset, CACHE_BYTES)?,
            marks,
            interrupt,
            waiting: Vec::new(),
        })
    }

    /// Marks everything that is needed by a snapshot with this root.
    ///
    /// # Errors
    /// Whatever keeps a tree or a list of chunks from being read: what it needs cannot be told.
    pub(super) fn snapshot(&mut self, root: &Entry) -> Result<()> {
        self.waiting.clear();
        self.entry(root)?;
        while !self.waiting.is_empty() {
            for chunk in self.next_pieces()? {
                self.piece(&chunk)?;
            }
        }
        Ok(())
    }

    /// Some of the pieces that wait, in the order in which they lie in packs. The directories that
    /// changed between two snapshots lie in blocks of their own: one after the other, as in
    /// the tree, each would have its block decoded anew.
    fn next_pieces(&mut self) -> Result<Vec<Id>> {
        let count = match self.waiting.len() {
            ..WAITING_LIMIT => PIECES_AT_ONCE,
            // Down before sideways: else a tree that is wide at each level is in memory at once.
            _ => 1,
        };
        let rest = self.waiting.len().saturating_sub(count);
        let mut pieces = self.waiting.split_off(rest);
        let mut places = Vec::with_capacity(pieces.len());
        for id in pieces.drain(..) {
            let found = self.marks.index.lookup(&id)?;
            let place = found.map(|found| (found.place.pack, found.place.block_offset));
            places.push((place, id));
        }
        places.sort_unstable();
        pieces.extend(places.into_iter().map(|(_, id)| id));
        Ok(pieces)
    }

    /// Marks what a piece of a tree needs, unless it was followed before.
    fn piece(&mut self, chunk: &Id) -> Result<()> {
        self.interrupt.check()?;
        let ordinal = self.marks.mark(chunk)?.ok_or_else(|| missing(chunk))?;
        if self.marks.trees.set(ordinal) {
            return Ok(());
        }
        let entries = self.read(chunk, tree::decode_all);
        let entries = entries.during(|| format!("tree {}", chunk.short()))?;
        entries.iter().try_for_each(|entry| self.entry(entry))
    }

    /// Marks the contents of `entry`, and leaves the pieces of its tree waiting.
    fn entry(&mut self, entry: &Entry) -> Result<()> {
        let counters = self.kloset.observer().counters();
        match entry.is_dir() {
            true => add(&counters.directories, 1),
            false => add(&counters.files, 1),
        }
        self.content(&entry.content)?;
        let mut pieces = Vec::new();
        self.pieces(&entry.tree.ids, entry.tree.depth, &mut pieces)?;
        self.waiting.append(&mut pieces);
        Ok(())
    }

    /// Marks the chunks of a file, and the lists that tell of them.
    fn content(&mut self, content: &Content) -> Result<()> {
        check_depth(content.depth)?;
        let mut waiting = vec![(content.ids.clone(), content.depth)];
        while let Some((ids, depth)) = waiting.pop() {
            for id in ids {
                let ordinal = self.marks.mark(&id)?;
                if depth == 0 {
                    continue;
                }
                self.interrupt.check()?;
                let ordinal = ordinal.ok_or_else(|| missing(&id))?;
                let was_followed = match depth {
                    1 => self.marks.lists.set(ordinal),
                    _ => !self.marks.deep.insert((ordinal, depth)),
                };
                if !was_followed {
                    waiting.push((self.list(&id)?, depth - 1));
                }
            }
        }
        Ok(())
    }

    /// Marks the lists that tell of the pieces of a tree, and appends the pieces to `found`. These
    /// lists are followed each time, as they are few: so many pieces has no directory.
    fn pieces(&mut self, ids: &[Id], depth: u32, found: &mut Vec<Id>) -> Result<()> {
        check_depth(depth)?;
        for id in ids {
            if depth == 0 {
                found.push(*id);
            } else {
                self.interrupt.check()?;
                self.marks.mark(id)?.ok_or_else(|| missing(id))?;
                let list = self.list(id)?;
                self.pieces(&list, depth - 1, found)?;
            }
            if found.len() > tree::TREE_CHUNKS_LIMIT {
                return Err(Error::corrupt("a tree of too many chunks"));
            }
        }
        Ok(())
    }

    /// The ids in a list of chunks.
    fn list(&self, id: &Id) -> Result<Vec<Id>> {
        let list = self.read(id, decode_list);
        list.during(|| format!("list of chunks {}", id.short()))
    }

    /// What `decode` makes of the chunk, which may be in hidden packs only.
    fn read<T>(&self, id: &Id, decode: impl Fn(&[u8]) -> Result<T>) -> Result<T> {
        if !self.marks.index.contains(id)? {
            let mut places = Vec::new();
            self.marks.index.each_copy(id, &mut |copy| {
                places.push(copy.place);
                ControlFlow::Continue(())
            })?;
            for place in places {
                match self.blobs.with_at(id, &place, &decode) {
                    Err(error) if error.is_of_one_object() => {}
                    outcome => return outcome,
                }
            }
        }
        self.blobs.with(id, decode)
    }
}

/// # Errors
/// [`Kind::Corrupt`] for more lists in each other than anybody makes.
fn check_depth(depth: u32) -> Result<()> {
    match depth <= LIST_DEPTH_LIMIT {
        true => Ok(()),
        false => Err(Error::corrupt(format!("lists {depth} deep"))),
    }
}

/// The error of a tree, or of a list, that is in no pack.
fn missing(id: &Id) -> Error {
    Error::new(
        Kind::NotFound,
        format!("chunk {} is in no pack", id.short()),
    )
}

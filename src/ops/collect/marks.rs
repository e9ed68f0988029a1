//! The mark phase: traverses snapshots and keeps one bit for each live chunk.
//!
//! Bits are addressed by the ordinals of the index, which stay fixed while the index is held. If a
//! chunk is stored more than once, one copy is marked, and the chunk counts as live if any copy is
//! marked.
//!
//! A chunk is traversed once for each role. A chunk that is marked as part of a file may be a tree,
//! or a list of chunks, in another snapshot. With a single bit, an attacker who has the key could
//! publish a snapshot that causes chunks of an honest snapshot to be skipped. So there is a bit for
//! each role.

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
/// Size of the cache of decoded tree blocks.
const CACHE_BYTES: usize = 8 << 20;

/// Tree chunks that are traversed as one batch, in the order of packs instead of the tree.
const PIECES_AT_ONCE: usize = 4096;
/// If more tree chunks than this wait (2 MB of ids), they are traversed one at a time.
const WAITING_LIMIT: usize = 1 << 16;

/// A growable bit set.
#[derive(Default)]
pub(super) struct Bits(Vec<u64>);

impl Bits {
    /// Creates a set of `count` bits, all clear.
    pub(super) fn new(count: u64) -> Bits {
        Bits(vec![0; count.div_ceil(64) as usize])
    }

    /// Extends the set to at least `count` bits.
    pub(super) fn grow(&mut self, count: u64) {
        let words = count.div_ceil(64) as usize;
        if words > self.0.len() {
            self.0.reserve_exact(words - self.0.len());
            self.0.resize(words, 0);
        }
    }

    /// Sets bit `at`, and returns whether it was set before.
    pub(super) fn set(&mut self, at: u64) -> bool {
        let bit = 1 << (at % 64);
        let word = &mut self.0[(at / 64) as usize];
        let was = *word & bit != 0;
        *word |= bit;
        was
    }

    pub(super) fn clear(&mut self, at: u64) {
        if let Some(word) = self.0.get_mut((at / 64) as usize) {
            *word &= !(1 << (at % 64));
        }
    }

    /// Whether bit `at` is set. A bit beyond the end is clear.
    pub(super) fn is_set(&self, at: u64) -> bool {
        let word = self.0.get((at / 64) as usize).copied().unwrap_or_default();
        word & 1 << (at % 64) != 0
    }
}

/// The marks of live chunks.
pub(super) struct Marks<'a> {
    index: &'a Index,
    held: Held<'a>,
    live: Bits,
    /// Chunks whose entries were traversed.
    trees: Bits,
    /// Chunks that were traversed as lists of chunks of files.
    lists: Bits,
    /// The same for lists of lists, with their depth. These are few.
    deep: HashSet<(u64, u32)>,
    /// Number of references to chunks that are in no pack.
    pub(super) lost: u64,
}

impl<'a> Marks<'a> {
    /// Creates marks with no live chunk, and holds `index`.
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

    /// Includes records that were added to the index since.
    pub(super) fn extend(&mut self) -> Result<()> {
        self.held.extend()?;
        let records = self.held.records();
        for bits in [&mut self.live, &mut self.trees, &mut self.lists] {
            bits.grow(records);
        }
        Ok(())
    }

    /// # Errors
    /// [`Kind::Unavailable`] if the marks are no longer valid. A caller that relies on a mark must
    /// call this after it has read the mark.
    pub(super) fn check(&self) -> Result<()> {
        self.held.check()
    }

    /// Whether any copy of the chunk is marked, whether in an existing pack, in a pack that this run
    /// has deleted since, or in a pack that got another number when it was found again.
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

    /// Calls `take` for every record with the number of its pack, the length of its chunk, and
    /// whether it is marked.
    pub(super) fn each_record(&self, take: &mut dyn FnMut(u32, u32, bool)) -> Result<()> {
        self.held.each_record(&mut |pack, ordinal, length| {
            take(pack, length, self.live.is_set(ordinal));
        })?;
        self.check()
    }

    /// Marks the chunk, and returns the ordinal of the mark; `None` if the chunk is in no pack.
    /// Prefers a copy in a pack that is not condemned.
    fn mark(&mut self, id: &Id) -> Result<Option<u64>> {
        let mut ordinal = self.find(id)?;
        // Added meanwhile, from a footer: the record has no bit yet, and gets another ordinal with
        // it.
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

    /// Whether the record with this ordinal was added after the marks were last extended.
    pub(super) fn is_new(&self, ordinal: u64) -> bool {
        ordinal >= self.held.records()
    }
}

/// Marks the chunks that snapshots reference.
pub(super) struct Marker<'a, 'b> {
    kloset: &'a Kloset,
    blobs: BlobReader<'a>,
    marks: &'b mut Marks<'a>,
    interrupt: &'b Interrupt,
    /// Tree chunks that are still to be traversed.
    waiting: Vec<Id>,
}

impl<'a, 'b> Marker<'a, 'b> {
    /// Creates a marker that sets bits in `marks`.
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

    /// Marks all chunks that a snapshot with this root references.
    ///
    /// # Errors
    /// Any error that prevents reading a tree or a list of chunks: its references are then unknown.
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

    /// Takes some of the waiting tree chunks, in the order of their places in packs. Directories that
    /// changed between two snapshots are stored in separate blocks. In tree order, each of them would
    /// require its block to be decoded again.
    fn next_pieces(&mut self) -> Result<Vec<Id>> {
        let count = match self.waiting.len() {
            ..WAITING_LIMIT => PIECES_AT_ONCE,
            // Depth first: otherwise a tree that is wide at each level would be in memory completely.
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

    /// Marks the references of a tree chunk, unless it was traversed before.
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

    /// Marks the contents of `entry`, and queues the chunks of its tree.
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

    /// Marks the chunks of a file, and the lists that contain their ids.
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

    /// Marks the lists that contain the ids of tree chunks, and appends these ids to `found`. The
    /// lists are read each time. They are few, because hardly any directory has so many tree chunks.
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

    /// Reads a chunk and decodes it with `decode`. The chunk may be in hidden packs only.
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
/// [`Kind::Corrupt`] if lists are nested deeper than any writer nests them.
fn check_depth(depth: u32) -> Result<()> {
    match depth <= LIST_DEPTH_LIMIT {
        true => Ok(()),
        false => Err(Error::corrupt(format!("lists {depth} deep"))),
    }
}

/// The error for a tree, or a list, that is in no pack.
fn missing(id: &Id) -> Error {
    Error::new(
        Kind::NotFound,
        format!("chunk {} is in no pack", id.short()),
    )
}

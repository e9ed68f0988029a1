//! Traverses references from snapshots down to chunks, and checks that all referenced chunks are
//! good.

use std::collections::{HashMap, HashSet};
use std::vec::IntoIter;

use super::objects::whole;
use super::{Context, Looked, Target, is_damage};
use crate::error::{Error, Result};
use crate::format::entry::{Content, Entry};
use crate::format::holes::ContentLength;
use crate::kloset::blob::BlobReader;
use crate::kloset::index::Index;
use crate::kloset::progress::add;
use crate::kloset::tree::{self, DEPTH_LIMIT, Part, Tally, chunk_ids, each_chunk};
use crate::kloset::{Kloset, snapshot};
use crate::ops::select;
use crate::store::Area;
use crate::util::Id;

/// Size of the cache of decoded tree blocks.
const CACHE_BYTES: usize = 3 << 20;
/// Number of traversed chunks whose order and totals are kept, for directories that share them: 5 MB.
const PARTS_LIMIT: usize = 1 << 15;

/// One bit per record of an index.
struct Marks(Vec<u64>);

impl Marks {
    /// Creates marks for `records`, none set.
    fn new(records: u64) -> Marks {
        Marks(vec![0; records.div_ceil(64) as usize])
    }

    /// Marks `ordinal`, and returns whether it was marked before.
    fn mark(&mut self, ordinal: u64) -> bool {
        let bit = 1 << (ordinal % 64);
        let word = &mut self.0[(ordinal / 64) as usize];
        let was = *word & bit != 0;
        *word |= bit;
        was
    }
}

/// Whether there is damage in an item or below it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Good,
    Damaged,
}

/// An open directory.
struct Frame {
    /// Length of the path of this directory.
    path_bytes: usize,
    /// Chunks of its tree that are still to be traversed.
    chunks: IntoIter<Id>,
    /// The current chunk.
    chunk: Option<Id>,
    /// Whether there is damage below the current chunk.
    chunk_state: State,
    /// Entries of the current chunk that are still to be traversed.
    entries: IntoIter<Result<Entry>>,
    tally: Tally,
    /// Whether there is damage below any chunk.
    state: State,
    /// Whether the directory itself lost data.
    own_state: State,
    /// Whether any chunk was read for this snapshot, not for an earlier one.
    is_new: bool,
}

impl Frame {
    /// Notes that the directory itself lost data.
    fn lose(&mut self) {
        self.is_new = true;
        self.own_state = State::Damaged;
        self.state = State::Damaged;
    }

    /// Notes the state of an entry of the current chunk.
    fn note(&mut self, state: State) {
        if state == State::Damaged {
            self.chunk_state = State::Damaged;
            self.state = State::Damaged;
        }
    }

    /// The next entry of the chunk, after counting it.
    fn next_entry(&mut self) -> Option<Result<Entry>> {
        let entry = self.entries.next()?;
        let counted = entry.and_then(|entry| self.tally.count(&entry).map(|()| entry));
        if counted.is_err() {
            self.tally.skip();
        }
        Some(counted)
    }
}

/// Traverses references from snapshots down.
struct Follower<'a> {
    context: &'a Context<'a>,
    blobs: &'a BlobReader<'a>,
    good: &'a Index,
    /// Tree chunks that were traversed.
    followed: Marks,
    /// Traversed chunks with damage in or below them.
    damaged: HashSet<Id>,
    /// Order and totals of other traversed chunks, up to the limit.
    parts: HashMap<Id, Part>,
    /// The current snapshot, for messages.
    name: String,
    /// Damaged items in the current snapshot.
    damaged_items: u64,
}

/// Traverses everything that `targets` reference, and counts references to chunks that are not good.
pub(super) fn follow(
    context: &Context<'_>,
    kloset: &Kloset,
    good: &Index,
    targets: &[Target],
) -> Result<()> {
    let blobs = BlobReader::of_store(kloset, CACHE_BYTES)?;
    let mut follower = Follower {
        context,
        blobs: &blobs,
        good,
        followed: Marks::new(good.records()),
        damaged: HashSet::new(),
        parts: HashMap::new(),
        name: String::new(),
        damaged_items: 0,
    };
    for target in targets {
        context.trouble.check()?;
        follower.snapshot(target)?;
    }
    Ok(())
}

impl Follower<'_> {
    /// Traverses one snapshot.
    fn snapshot(&mut self, target: &Target) -> Result<()> {
        self.name = target.stored.snapshot.id.short();
        self.damaged_items = 0;
        match select::entry(self.blobs, &target.stored.snapshot, &target.path) {
            Ok(entry) => {
                let mut path = if target.path == b"/" {
                    Vec::new()
                } else {
                    target.path.clone()
                };
                self.entry(&entry, &mut path)?;
            }
            Err(error) => {
                self.count_directory(State::Damaged);
                self.damage(&target.path, &error)?;
            }
        }
        let damaged_items = self.damaged_items;
        self.context.count(|summary| {
            summary.snapshots += 1;
            if damaged_items > 0 {
                summary.lossy.push(target.stored.snapshot.id);
            }
            summary.damaged_snapshots += u64::from(damaged_items > 0);
        });
        Ok(())
    }

    /// Traverses the references of `entry`, which is at `path`. Directories can be nested deeper than
    /// the stack of a thread allows, so the open directories are on an explicit stack.
    fn entry(&mut self, entry: &Entry, path: &mut Vec<u8>) -> Result<()> {
        if !entry.is_dir() {
            return self.file(entry, path).map(drop);
        }
        let mut open: Vec<Frame> = self.enter(entry, path, 0)?.into_iter().collect();
        while let Some(frame) = open.last_mut() {
            path.truncate(frame.path_bytes);
            if let Some(entry) = frame.next_entry() {
                let entry = match entry {
                    Ok(entry) => entry,
                    Err(error) => {
                        frame.lose();
                        frame.note(State::Damaged);
                        self.damage(path, &error)?;
                        continue;
                    }
                };
                path.push(b'/');
                path.extend_from_slice(&entry.name);
                if !entry.is_dir() {
                    frame.note(self.file(&entry, path)?);
                    continue;
                }
                let depth = open.len();
                match self.enter(&entry, path, depth)? {
                    Some(below) => open.push(below),
                    None => open[depth - 1].note(State::Damaged),
                }
            } else if !self.next_chunk(frame, path)? {
                let state = frame.state;
                if frame.is_new {
                    self.count_directory(frame.own_state);
                }
                open.pop();
                if let Some(parent) = open.last_mut() {
                    parent.note(state);
                }
            }
        }
        Ok(())
    }

    /// Enters the directory `entry`, which is `depth` levels down. Returns `None` if it cannot be
    /// read, which is reported.
    fn enter(&mut self, entry: &Entry, path: &[u8], depth: usize) -> Result<Option<Frame>> {
        let chunks = match depth < DEPTH_LIMIT {
            true => chunk_ids(self.blobs, &entry.tree),
            false => Err(Error::corrupt(format!(
                "more than {DEPTH_LIMIT} directories deep"
            ))),
        };
        let is_empty = chunks.as_ref().is_ok_and(Vec::is_empty);
        match chunks {
            Ok(chunks) => Ok(Some(Frame {
                path_bytes: path.len(),
                chunks: chunks.into_iter(),
                chunk: None,
                chunk_state: State::Good,
                entries: Vec::new().into_iter(),
                tally: Tally::new(entry.below),
                state: State::Good,
                own_state: State::Good,
                is_new: is_empty,
            })),
            Err(error) => {
                self.count_directory(State::Damaged);
                self.damage(path, &error).map(|()| None)
            }
        }
    }

    fn count_directory(&self, state: State) {
        add(&self.context.observer.counters().directories, 1);
        self.context.count(|summary| {
            summary.directories += 1;
            summary.damaged_directories += u64::from(state == State::Damaged);
        });
    }

    /// Goes to the next chunk of the tree of `frame`. Returns `false` if there is none.
    fn next_chunk(&mut self, frame: &mut Frame, path: &[u8]) -> Result<bool> {
        self.context.trouble.check()?;
        if let (Some(chunk), State::Damaged) = (frame.chunk.take(), frame.chunk_state) {
            self.damaged.insert(chunk);
        }
        frame.chunk_state = State::Good;
        let Some(chunk) = frame.chunks.next() else {
            if let Err(error) = frame.tally.end() {
                self.damage(path, &error)?;
                frame.lose();
            }
            return Ok(false);
        };
        if let Err(error) = self.chunk(frame, chunk) {
            self.damage(path, &error)?;
            frame.tally.skip();
            frame.lose();
            frame.note(State::Damaged);
        }
        Ok(true)
    }

    /// Makes the entries of `chunk` the next ones of `frame`, unless it was traversed before.
    fn chunk(&mut self, frame: &mut Frame, chunk: Id) -> Result<()> {
        let found = self.good.lookup(&chunk)?;
        let found = found.ok_or_else(|| lost("tree", &chunk))?;
        if self.followed.mark(found.ordinal) && !self.damaged.contains(&chunk) {
            return match self.parts.get(&chunk) {
                Some(part) => frame.tally.count_part(part),
                None => {
                    frame.tally.skip();
                    Ok(())
                }
            };
        }
        frame.chunk = Some(chunk);
        frame.is_new = true;
        let entries = self.blobs.with(&chunk, |chunk| Ok(tree::decode(chunk)))?;
        if let Some(part) = Part::of(&entries) {
            if self.parts.len() >= PARTS_LIMIT {
                self.parts.clear();
            }
            self.parts.insert(chunk, part);
        }
        frame.entries = entries.into_iter();
        Ok(())
    }

    /// Looks up every chunk of a file.
    fn file(&mut self, entry: &Entry, path: &[u8]) -> Result<State> {
        add(&self.context.observer.counters().files, 1);
        self.context.count(|summary| summary.files += 1);
        match self.contents(entry) {
            Ok(()) => Ok(State::Good),
            Err(error) => {
                self.damage(path, &error)?;
                self.context.count(|summary| summary.damaged_files += 1);
                Ok(State::Damaged)
            }
        }
    }

    /// # Errors
    /// [`crate::error::Kind::Corrupt`] unless all chunks of the file are good and their total length
    /// is that of the file.
    fn contents(&self, entry: &Entry) -> Result<()> {
        let mut length = ContentLength::new(&entry.holes, entry.metadata.size_bytes);
        each_chunk(self.blobs, &entry.content, &mut |chunk| {
            self.context.trouble.check()?;
            let found = self
                .good
                .lookup(&chunk)?
                .ok_or_else(|| lost("chunk", &chunk))?;
            length.add(found.place.length.into())
        })?;
        match entry.is_file() && entry.problem.is_none() {
            true => length.end(),
            false => Ok(()),
        }
    }

    /// Reports damage to the item at `path` of the snapshot.
    fn damage(&mut self, path: &[u8], error: &Error) -> Result<()> {
        if !is_damage(error) {
            return Err(error.clone());
        }
        let path = if path.is_empty() { b"/" } else { path };
        self.context
            .failures
            .add(&[self.name.as_bytes(), b":", path].concat(), error);
        self.damaged_items += 1;
        Ok(())
    }
}

/// The error of a reference to a chunk that is not good.
fn lost(what: &str, chunk: &Id) -> Error {
    Error::corrupt(format!("{what} {} is damaged or missing", chunk.short()))
}

/// The packs that `targets` reference. Unreadable data is reported by [`follow`].
pub(super) fn packs_of(
    context: &Context<'_>,
    kloset: &Kloset,
    targets: &[Target],
) -> Result<HashSet<Id>> {
    let blobs = BlobReader::of_store(kloset, CACHE_BYTES)?;
    let mut collector = Collector {
        context,
        kloset,
        blobs: &blobs,
        packs: HashSet::new(),
        seen: HashSet::new(),
    };
    for target in targets {
        let object = target.stored.object;
        context.count(|summary| summary.objects += 1);
        let read = whole(context, Area::Snapshots, object)
            .and_then(|bytes| snapshot::parse(kloset, object, bytes));
        if !matches!(
            context.object(Area::Snapshots, object, read)?,
            Looked::Good(_)
        ) {
            continue;
        }
        if let Ok(entry) = select::entry(&blobs, &target.stored.snapshot, &target.path) {
            collector.note_way(&target.stored.snapshot.root, &target.path)?;
            collector.entry(&entry)?;
        }
    }
    Ok(collector.packs)
}

/// Collects the packs that are referenced.
struct Collector<'a> {
    context: &'a Context<'a>,
    kloset: &'a Kloset,
    blobs: &'a BlobReader<'a>,
    packs: HashSet<Id>,
    seen: HashSet<Id>,
}

impl Collector<'_> {
    /// Collects the packs of the trees on the path from `root` to `path`.
    fn note_way(&mut self, root: &Entry, path: &[u8]) -> Result<()> {
        let mut entry = root.clone();
        for name in path
            .split(|byte| *byte == b'/')
            .filter(|name| !name.is_empty())
        {
            self.tree(&entry.tree)?;
            let children = tree::TreeReader::new(self.blobs, &entry).entries();
            match children.flatten().find(|child| child.name == name) {
                Some(child) => entry = child,
                None => break,
            }
        }
        Ok(())
    }

    /// Collects the packs of all data that `entry` references. Trees that are nested too deeply are
    /// reported when references are traversed.
    fn entry(&mut self, entry: &Entry) -> Result<()> {
        self.file(entry)?;
        let below = |depth: usize| move |chunk| (chunk, depth);
        let mut waiting: Vec<(Id, usize)> =
            self.tree(&entry.tree)?.into_iter().map(below(1)).collect();
        while let Some((chunk, depth)) = waiting.pop() {
            self.context.trouble.check()?;
            if depth > DEPTH_LIMIT || !self.seen.insert(chunk) {
                continue;
            }
            let entries = self.blobs.with(&chunk, |chunk| Ok(tree::decode(chunk)));
            for entry in entries.unwrap_or_default().into_iter().flatten() {
                self.file(&entry)?;
                waiting.extend(self.tree(&entry.tree)?.into_iter().map(below(depth + 1)));
            }
        }
        Ok(())
    }

    /// Collects the packs of the chunks of which the tree at `content` consists, and returns these
    /// chunks. Unreadable lists are reported when references are traversed.
    fn tree(&mut self, content: &Content) -> Result<Vec<Id>> {
        let chunks = chunk_ids(self.blobs, content).unwrap_or_default();
        for chunk in content.ids.iter().chain(&chunks) {
            self.chunk(chunk)?;
        }
        Ok(chunks)
    }

    /// Like [`Collector::tree`], for a file, whose chunks may be too many to hold. Stops at the
    /// maximum number of chunks that the file can have, because a malicious list could expand to
    /// more.
    fn file(&mut self, entry: &Entry) -> Result<()> {
        let smallest = u64::from(self.kloset.config().chunk_minimum);
        let mut room = entry.metadata.size_bytes / smallest + 1;
        for chunk in &entry.content.ids {
            self.chunk(chunk)?;
        }
        let blobs = self.blobs;
        let walked = each_chunk(blobs, &entry.content, &mut |chunk| {
            let fewer = room.checked_sub(1);
            room = fewer.ok_or_else(|| Error::corrupt("more chunks than there can be"))?;
            self.chunk(&chunk)
        });
        match walked {
            // Reported when references are traversed.
            Err(error) if is_damage(&error) => Ok(()),
            outcome => outcome,
        }
    }

    /// Collects the packs that hold `chunk`.
    fn chunk(&mut self, chunk: &Id) -> Result<()> {
        let mut places = self.blobs.places(chunk)?;
        if places.is_empty() {
            places = self.kloset.places_by_footers(chunk, &[])?;
        }
        self.packs
            .extend(places.into_iter().map(|place| place.pack));
        Ok(())
    }
}

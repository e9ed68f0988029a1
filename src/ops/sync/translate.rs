//! Walks a snapshot that is to be resealed, together with one that was resealed before.
//!
//! Three trees are walked in parallel, by names: the tree to copy, the tree of an earlier snapshot
//! (the base), and the copy of that tree. Where the first two are equal, the third provides the ids
//! that their contents have in the destination, if these chunks still exist. Everything that differs
//! is passed on to be read. A base that is damaged, or whose entries show that it is not a faithful
//! copy, only increases the amount of data to read.

use super::below::{Below, too_deep};
use super::course::{Stop, lost};
use super::out::Out;
use crate::error::{Error, Kind, Result};
use crate::format::entry::{Content, Entry, Totals};
use crate::format::holes::content_bytes;
use crate::kloset::Kloset;
use crate::kloset::blob::BlobReader;
use crate::kloset::progress::add;
use crate::kloset::tree::{DEPTH_LIMIT, TreeReader, each_chunk};
use crate::ops::backup::{OldDirectory, Step};
use crate::util::Id;

/// Size of the parts in which a long file is passed on: as much as a batch holds.
const PIECE_BYTES: u64 = 4 << 20;

/// The same directory or file in both stores.
#[derive(Clone)]
pub(super) struct Base {
    pub(super) here: Entry,
    pub(super) there: Entry,
}

/// Walks the tree of one snapshot.
pub(super) struct Translator<'a, 'b> {
    pub(super) here: &'a BlobReader<'a>,
    pub(super) there: &'a BlobReader<'a>,
    /// Checks whether the chunks that a base references exist.
    pub(super) below: &'a mut Below<'b>,
    pub(super) to: &'a Kloset,
    pub(super) out: Out<'a>,
}

/// An open directory.
struct Frame<'a> {
    path_bytes: usize,
    entries: TreeReader<'a>,
    /// The same directory of the base, in both stores.
    old_here: OldDirectory<'a>,
    old_there: OldDirectory<'a>,
}

impl Frame<'_> {
    /// The entry of the base with this name, which must come after the names of earlier calls.
    fn base(&mut self, name: &[u8]) -> Option<Base> {
        let (here, there) = (self.old_here.take(name), self.old_there.take(name));
        here.zip(there).map(|(here, there)| Base { here, there })
    }
}

impl<'a> Translator<'a, '_> {
    /// Walks everything below `root`. `base` is optional.
    pub(super) fn run(mut self, root: &Entry, base: Option<Base>) -> Result<(), Stop> {
        let mut path = Vec::new();
        let mut open = vec![self.enter(root.clone(), base, 0)?];
        while let Some(frame) = open.last_mut() {
            path.truncate(frame.path_bytes);
            let next = frame.entries.try_next().map_err(lost);
            let Some(entry) = next.map_err(|stop| stop.at(&path))? else {
                open.pop();
                self.out.push(Step::Leave, 0)?;
                continue;
            };
            let base = frame.base(&entry.name);
            path.push(b'/');
            path.extend_from_slice(&entry.name);
            if !entry.is_dir() {
                self.file(entry, base).map_err(|stop| stop.at(&path))?;
            } else if let Some(known) = self.known_directory(&entry, base.as_ref())? {
                self.out.push(Step::Ready(Box::new(known)), 0)?;
            } else if open.len() >= DEPTH_LIMIT {
                return Err(Stop::Lost(too_deep()).at(&path));
            } else {
                open.push(self.enter(entry, base, path.len())?);
            }
        }
        Ok(self.out.flush()?)
    }

    fn enter(&mut self, entry: Entry, base: Option<Base>, path_bytes: usize) -> Result<Frame<'a>> {
        let entries = TreeReader::new(self.here, &entry);
        let entered = Entry {
            tree: Content::default(),
            // Summed up again while the entries are processed.
            below: Totals::default(),
            ..entry
        };
        self.out.push(Step::Enter(Box::new(entered)), 0)?;
        let observer = self.to.observer();
        let base = base.filter(|base| base.here.is_dir() && base.there.is_dir());
        let (old_here, old_there) = match base {
            Some(Base { here, there }) => (
                OldDirectory::new(self.here, &here, observer),
                OldDirectory::new(self.there, &there, observer),
            ),
            None => (OldDirectory::none(observer), OldDirectory::none(observer)),
        };
        Ok(Frame {
            path_bytes,
            entries,
            old_here,
            old_there,
        })
    }

    /// The directory `entry` as it is in the destination, if it equals that of the base, and all of
    /// its data exists there.
    fn known_directory(
        &mut self,
        entry: &Entry,
        base: Option<&Base>,
    ) -> Result<Option<Entry>, Stop> {
        let is_same = |base: &&Base| base.here.tree == entry.tree && base.is_faithful();
        let Some(base) = base.filter(is_same) else {
            return Ok(None);
        };
        let to = self.to;
        match self
            .below
            .each(&base.there, &mut |chunk, _| length_of(to, &chunk))
        {
            Ok(()) => {
                self.count(entry.below);
                Ok(Some(Entry {
                    tree: base.there.tree.clone(),
                    ..entry.clone()
                }))
            }
            Err(Stop::Lost(_)) => {
                // It is unknown which of the followed trees contains the missing chunk.
                self.below.clear();
                Ok(None)
            }
            Err(fatal) => Err(fatal),
        }
    }

    /// Passes a file on. It is read unless the ids of its chunks in the destination are known.
    fn file(&mut self, entry: Entry, base: Option<Base>) -> Result<(), Stop> {
        self.count(entry.totals());
        if entry.content.ids.is_empty() {
            return Ok(self.out.push(Step::Ready(Box::new(entry)), 0)?);
        }
        let is_same = |base: &Base| base.here.content == entry.content && base.is_faithful();
        if let Some(base) = base.filter(is_same)
            && self.is_there(&base.there)?
        {
            let content = base.there.content;
            let known = Entry { content, ..entry };
            return Ok(self.out.push(Step::Ready(Box::new(known)), 0)?);
        }
        let (chunks, bytes) = self.chunks(&entry)?;
        let bare = Entry {
            content: Content::default(),
            ..entry
        };
        Ok(self.out.push(Step::File(Box::new(bare), chunks), bytes)?)
    }

    /// Passes on the chunks of a file except the last ones, which are returned with their length.
    /// Limits the total to the size of the file, because a malicious list could expand to more.
    fn chunks(&mut self, entry: &Entry) -> Result<(Vec<Id>, u64), Stop> {
        let mut room = content_bytes(&entry.holes, entry.metadata.size_bytes);
        let (mut chunks, mut bytes) = (Vec::new(), 0);
        let mut sent = Ok(());
        let (here, out) = (self.here, &mut self.out);
        let walked = each_chunk(here, &entry.content, &mut |chunk| {
            // The footers may contain a chunk that is in no index object; they are read with the
            // chunk.
            let length = here.length(&chunk)?.map_or(1, u64::from);
            let left = room.checked_sub(length).filter(|_| length > 0);
            room = left.ok_or_else(|| Error::corrupt("its content is longer than it is"))?;
            chunks.push(chunk);
            bytes += length;
            if bytes >= PIECE_BYTES {
                sent = out.push(Step::Chunks(std::mem::take(&mut chunks)), bytes);
                bytes = 0;
            }
            sent.clone()
        });
        sent?;
        walked.map_err(lost)?;
        Ok((chunks, bytes))
    }

    /// Whether the destination has every chunk of the file.
    fn is_there(&self, file: &Entry) -> Result<bool, Stop> {
        match self
            .below
            .file(file, &mut |chunk, _| length_of(self.to, &chunk))
        {
            Ok(()) => Ok(true),
            Err(Stop::Lost(_)) => Ok(false),
            Err(fatal) => Err(fatal),
        }
    }

    /// Counts processed files.
    fn count(&self, totals: Totals) {
        let counters = self.to.observer().counters();
        add(&counters.files, totals.files);
        add(&counters.bytes, totals.bytes);
    }
}

impl Base {
    /// Whether one is a copy of the other, as far as their entries show without following them.
    fn is_faithful(&self) -> bool {
        let bare = |entry: &Entry| Entry {
            content: Content::default(),
            tree: Content::default(),
            ..entry.clone()
        };
        bare(&self.here) == bare(&self.there)
    }
}

/// The length of the chunk in `to`.
///
/// # Errors
/// [`Stop::Lost`] if `to` lacks the chunk.
fn length_of(to: &Kloset, chunk: &Id) -> Result<u32, Stop> {
    let found = to.look_up(|index| index.lookup(chunk))?;
    let missing = || Stop::Lost(Error::new(Kind::NotFound, "a chunk is lost"));
    found.map(|found| found.place.length).ok_or_else(missing)
}

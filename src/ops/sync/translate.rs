//! The walk through a snapshot that is to be resealed, beside one that was.
//!
//! Three trees are walked at once, by names: the one to be copied, the one of an earlier
//! snapshot, and the copy of that. Where the first two are the same, what
//! they hold is called over there as the third tells, if it is still there. Whatever differs is
//! handed on to be read. A base that is damaged, or that is no faithful copy as far as its
//! entries tell, makes for more to read and for nothing else.

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

/// How much of a long file is handed on at a time: as much as a batch holds.
const PIECE_BYTES: u64 = 4 << 20;

/// The same directory at both ends.
#[derive(Clone)]
pub(super) struct Base {
    pub(super) here: Entry,
    pub(super) there: Entry,
}

/// Walks the tree of one snapshot.
pub(super) struct Translator<'a, 'b> {
    pub(super) here: &'a BlobReader<'a>,
    pub(super) there: &'a BlobReader<'a>,
    /// Looks whether what a base tells of is there.
    pub(super) below: &'a mut Below<'b>,
    pub(super) to: &'a Kloset,
    pub(super) out: Out<'a>,
}

/// A directory we are in.
struct Frame<'a> {
    path_bytes: usize,
    entries: TreeReader<'a>,
    /// The same directory of the base, at both ends.
    old_here: OldDirectory<'a>,
    old_there: OldDirectory<'a>,
}

impl Frame<'_> {
    /// What the base has of this name, which comes after those that were asked for.
    fn base(&mut self, name: &[u8]) -> Option<Base> {
        let (here, there) = (self.old_here.take(name), self.old_there.take(name));
        here.zip(there).map(|(here, there)| Base { here, there })
    }
}

impl<'a> Translator<'a, '_> {
    /// Walks everything below `root`, of which there may be a base.
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

    /// Enters a directory.
    fn enter(&mut self, entry: Entry, base: Option<Base>, path_bytes: usize) -> Result<Frame<'a>> {
        let entries = TreeReader::new(self.here, &entry);
        let entered = Entry {
            tree: Content::default(),
            // Summed up anew while the entries come by.
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

    /// The directory `entry` as it is over there, if it is the one of the base, and all of it
    /// is there.
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
                // Nobody knows which of the trees that were followed this is below.
                self.below.clear();
                Ok(None)
            }
            Err(fatal) => Err(fatal),
        }
    }

    /// Hands a file on, to be read unless it is known what its chunks are called over there.
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

    /// Hands the chunks of a file on, but for the last, which are returned with their length.
    /// There are no more than it is long: lists can be made to stand for more.
    fn chunks(&mut self, entry: &Entry) -> Result<(Vec<Id>, u64), Stop> {
        let mut room = content_bytes(&entry.holes, entry.metadata.size_bytes);
        let (mut chunks, mut bytes) = (Vec::new(), 0);
        let mut sent = Ok(());
        let (here, out) = (self.here, &mut self.out);
        let walked = each_chunk(here, &entry.content, &mut |chunk| {
            // Of one that is in no index the footers may tell, when it is read.
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

    /// Whether every chunk of the file is over there.
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

    /// Counts files that were dealt with.
    fn count(&self, totals: Totals) {
        let counters = self.to.observer().counters();
        add(&counters.files, totals.files);
        add(&counters.bytes, totals.bytes);
    }
}

impl Base {
    /// Whether one is a copy of the other, as far as can be told without following it.
    fn is_faithful(&self) -> bool {
        let bare = |entry: &Entry| Entry {
            content: Content::default(),
            tree: Content::default(),
            ..entry.clone()
        };
        bare(&self.here) == bare(&self.there)
    }
}

/// How long the chunk is, which is in `to`.
///
/// # Errors
/// [`Stop::Lost`] if it is not.
fn length_of(to: &Kloset, chunk: &Id) -> Result<u32, Stop> {
    let found = to.look_up(|index| index.lookup(chunk))?;
    let missing = || Stop::Lost(Error::new(Kind::NotFound, "a chunk is lost"));
    found.map(|found| found.place.length).ok_or_else(missing)
}

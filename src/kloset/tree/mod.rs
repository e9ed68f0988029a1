//! A tree: the entries of one directory, and how they are stored in chunks.
//!
//! A tree is a sequence of CBOR maps (RFC 8742), one per entry, sorted by the raw bytes of their
//! names. Names are unique. A tree is split into chunks like a file, with the smaller chunk sizes
//! in CONFIG. Each cut is moved forward to the end of the entry that it falls in, so every chunk
//! contains whole entries and can be decoded separately. Therefore an unchanged directory is stored
//! once, a new version of a huge directory shares most chunks with the old one, and reading a tree
//! never needs more memory than one chunk.

mod chunk_list;
mod tally;
mod walk;

pub use crate::format::entry::{Content, Entry, Totals, check_name};
pub use crate::kloset::tree::chunk_list::{
    ListWriter, Role, TREE_CHUNKS_LIMIT, chunk_ids, decode_list, each_chunk, each_reference,
};
pub use tally::{Part, Tally};
pub use walk::{Reach, TreeWalk};

use super::Kloset;
use super::blob::{BlobReader, Packer};
use crate::error::{During, Error, Result};
use crate::format::cbor::Reader;
use crate::util::Id;

/// Maximum depth of nested directories. Each level needs an open file descriptor while it is
/// visited.
pub const DEPTH_LIMIT: usize = 16_384;

/// Maximum number of entries in one chunk: many times more than plakar writes, and 100 MB of
/// memory.
const ENTRIES_LIMIT: usize = 1 << 18;

/// Writes one tree, entry by entry.
#[derive(Default)]
pub struct TreeWriter {
    bytes: Vec<u8>,
    /// Where each entry in `bytes` ends.
    ends: Vec<usize>,
    chunks: ListWriter,
}

impl TreeWriter {
    /// Appends `entry`. Its name must sort after that of the previous entry.
    pub fn push(&mut self, entry: &Entry, packer: &mut Packer<'_>, kloset: &Kloset) -> Result<()> {
        entry.encode(&mut self.bytes);
        self.ends.push(self.bytes.len());
        while self.bytes.len() >= kloset.tree_chunker().parameters().max_bytes as usize {
            self.cut(packer, kloset)?;
        }
        Ok(())
    }

    /// Stores the remaining entries, and returns the location of the tree.
    pub fn finish(mut self, packer: &mut Packer<'_>, kloset: &Kloset) -> Result<Content> {
        while !self.bytes.is_empty() {
            self.cut(packer, kloset)?;
        }
        self.chunks.finish(packer, kloset)
    }

    /// Stores the first chunk of the buffered entries.
    fn cut(&mut self, packer: &mut Packer<'_>, kloset: &Kloset) -> Result<()> {
        let wanted = kloset.tree_chunker().cut(&self.bytes);
        let whole = self.ends.partition_point(|end| *end < wanted);
        let length = self.ends[whole];
        let (chunk, _) = packer.put(&self.bytes[..length])?;
        self.chunks.push(chunk, packer, kloset)?;
        self.bytes.drain(..length);
        self.ends.drain(..=whole);
        self.ends.iter_mut().for_each(|end| *end -= length);
        Ok(())
    }
}

/// Reads one tree, entry by entry.
pub struct TreeReader<'a> {
    blobs: &'a BlobReader<'a>,
    /// The location of the tree; `None` when its chunks are known.
    tree: Option<Content>,
    chunks: std::vec::IntoIter<Id>,
    entries: std::vec::IntoIter<Result<Entry>>,
    tally: Tally,
}

impl<'a> TreeReader<'a> {
    /// Creates a reader of the tree of `directory`. Nothing is read yet.
    pub fn new(blobs: &'a BlobReader<'a>, directory: &Entry) -> TreeReader<'a> {
        TreeReader {
            blobs,
            tree: Some(directory.tree.clone()),
            chunks: Vec::new().into_iter(),
            entries: Vec::new().into_iter(),
            tally: Tally::new(directory.below),
        }
    }

    /// The next entry, or `None` after the last one.
    ///
    /// # Errors
    /// [`crate::error::Kind::Corrupt`] for one damaged entry, for an unreadable chunk, or for a
    /// directory with wrong totals. The next call returns the entry after the damage.
    pub fn try_next(&mut self) -> Result<Option<Entry>> {
        let next = self.next();
        if next.is_err() {
            self.tally.skip();
        }
        next
    }

    fn next(&mut self) -> Result<Option<Entry>> {
        self.begin()?;
        loop {
            if let Some(entry) = self.entries.next() {
                let entry = entry?;
                self.tally.count(&entry)?;
                return Ok(Some(entry));
            }
            let Some(chunk) = self.chunks.next() else {
                return self.tally.end().map(|()| None);
            };
            let read = self
                .blobs
                .with(&chunk, |chunk| Ok(decode(chunk)))
                .during(|| format!("tree {}", chunk.short()));
            self.entries = read?.into_iter();
        }
    }

    /// Reads the list of the chunks of the tree, unless it was read already.
    pub fn begin(&mut self) -> Result<()> {
        if let Some(tree) = self.tree.take() {
            self.chunks = chunk_ids(self.blobs, &tree)?.into_iter();
        }
        Ok(())
    }

    /// Skips the chunks that come next in both trees, without reading them. This works only if both
    /// readers have [begun](TreeReader::begin) and neither is inside a chunk. Two versions of a
    /// large directory differ in few chunks.
    pub fn skip_common(&mut self, other: &mut TreeReader<'_>) {
        let is_between = self.entries.len() == 0 && other.entries.len() == 0;
        while is_between
            && let (Some(one), Some(two)) = (
                self.chunks.as_slice().first(),
                other.chunks.as_slice().first(),
            )
            && one == two
        {
            self.chunks.next();
            self.tally.skip();
            other.chunks.next();
            other.tally.skip();
        }
    }

    /// The remaining entries as an iterator. It continues after errors like
    /// [`TreeReader::try_next`].
    pub fn entries(mut self) -> impl Iterator<Item = Result<Entry>> {
        std::iter::from_fn(move || self.try_next().transpose())
    }
}

/// Decodes the entries in one chunk. A damaged entry is an error at its position in the list. The
/// end of a damaged entry is known if the entry is well-formed CBOR; otherwise the rest of the
/// chunk is lost too.
pub fn decode(chunk: &[u8]) -> Vec<Result<Entry>> {
    let mut entries = Vec::new();
    let mut rest = chunk;
    while !rest.is_empty() {
        if entries.len() >= ENTRIES_LIMIT {
            entries.push(Err(Error::corrupt("a chunk of too many entries")));
            break;
        }
        let mut reader = Reader::new(rest);
        let mut entry = Entry::decode(&mut reader);
        if let Err(error) = entry {
            let name = Entry::name_in(rest);
            entry = Err(name.map_or(error.clone(), |name| error.during(tally::label(&name))));
            reader = Reader::new(rest);
            if reader.skip().is_err() {
                rest = &[];
            }
        }
        rest = rest.get(reader.position()..).unwrap_or_default();
        entries.push(entry);
    }
    entries
}

/// Decodes the entries in one chunk, for callers that need all of them.
///
/// # Errors
/// [`crate::error::Kind::Corrupt`] if any entry is damaged.
pub fn decode_all(chunk: &[u8]) -> Result<Vec<Entry>> {
    decode(chunk).into_iter().collect()
}

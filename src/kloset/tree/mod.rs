//! A tree: the entries of one directory, and how they lie in chunks.
//!
//! A tree is a sequence of CBOR maps (RFC 8742), one per entry, sorted by the raw
//! bytes of their names, each name once. It is cut into chunks as files are, with the
//! smaller sizes that CONFIG names, except that a cut is moved forward to the end of
//! the entry it falls in: every chunk holds whole entries and can be read by itself.
//! So a directory that did not change is stored once, a huge one shares most chunks
//! with its older self, and reading one never takes more memory than a chunk.

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

/// How deep directories may lie in each other: each level holds a descriptor while we are in it.
pub const DEPTH_LIMIT: usize = 16_384;

/// Entries that one chunk may hold: many times what we put there, and 100 MB of memory.
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
    /// Appends `entry`, whose name sorts after that of the one before.
    pub fn push(&mut self, entry: &Entry, packer: &mut Packer<'_>, kloset: &Kloset) -> Result<()> {
        entry.encode(&mut self.bytes);
        self.ends.push(self.bytes.len());
        while self.bytes.len() >= kloset.tree_chunker().parameters().max_bytes as usize {
            self.cut(packer, kloset)?;
        }
        Ok(())
    }

    /// Stores what is left, and returns where the tree is.
    pub fn finish(mut self, packer: &mut Packer<'_>, kloset: &Kloset) -> Result<Content> {
        while !self.bytes.is_empty() {
            self.cut(packer, kloset)?;
        }
        self.chunks.finish(packer, kloset)
    }

    /// Stores the first chunk of what is there.
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
    /// Where the tree is, until its chunks are known.
    tree: Option<Content>,
    chunks: std::vec::IntoIter<Id>,
    entries: std::vec::IntoIter<Result<Entry>>,
    tally: Tally,
}

impl<'a> TreeReader<'a> {
    /// A reader of the tree of `directory`.
    pub fn new(blobs: &'a BlobReader<'a>, directory: &Entry) -> TreeReader<'a> {
        TreeReader {
            blobs,
            tree: Some(directory.tree.clone()),
            chunks: Vec::new().into_iter(),
            entries: Vec::new().into_iter(),
            tally: Tally::new(directory.below),
        }
    }

    /// The next entry.
    ///
    /// # Errors
    /// [`crate::error::Kind::Corrupt`] for one damaged entry, a chunk that cannot be read, or a
    /// directory whose totals are wrong. The next call returns what follows.
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

    /// Learns which chunks there are, unless that is known already.
    pub fn begin(&mut self) -> Result<()> {
        if let Some(tree) = self.tree.take() {
            self.chunks = chunk_ids(self.blobs, &tree)?.into_iter();
        }
        Ok(())
    }

    /// Passes over the chunks that come next in both trees, without reading them, if both
    /// readers have [begun](TreeReader::begin) and are between two chunks: two versions of a
    /// long directory differ in few.
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

    /// Entry by entry, as an iterator.
    pub fn entries(mut self) -> impl Iterator<Item = Result<Entry>> {
        std::iter::from_fn(move || self.try_next().transpose())
    }
}

/// The entries in one chunk, and an error in the place of each that is damaged. Where one ends
/// is known as long as it is well-formed CBOR; one that is not takes the rest of the chunk along.
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

/// The entries in one chunk, for callers that need all of them.
///
/// # Errors
/// [`crate::error::Kind::Corrupt`] if any is damaged.
pub fn decode_all(chunk: &[u8]) -> Result<Vec<Entry>> {
    decode(chunk).into_iter().collect()
}

//! A tree: the entries of one directory, and how they lie in chunks.
//!
//! A tree is a sequence of CBOR maps (RFC 8742), one per entry, sorted by the raw
//! bytes of their names, each name once. It is cut into chunks as files are, with the
//! smaller sizes that CONFIG names, except that a cut is moved forward to the end of
//! the entry it falls in: every chunk holds whole entries and can be read by itself.
//! So a directory that did not change is stored once, a huge one shares most chunks
//! with its older self, and reading one never takes more memory than a chunk.

mod chunk_list;
mod walk;

pub use crate::format::entry::{Content, Entry, Totals, check_name};
pub use crate::kloset::tree::chunk_list::{
    ListWriter, Role, TREE_CHUNKS_LIMIT, chunk_ids, decode_list, each_chunk, each_reference,
};
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
    entries: std::vec::IntoIter<Entry>,
    last_name: Vec<u8>,
}

impl<'a> TreeReader<'a> {
    /// A reader of the tree that is at `tree`.
    pub fn new(blobs: &'a BlobReader<'a>, tree: Content) -> TreeReader<'a> {
        TreeReader {
            blobs,
            tree: Some(tree),
            chunks: Vec::new().into_iter(),
            entries: Vec::new().into_iter(),
            last_name: Vec::new(),
        }
    }

    /// The next entry. After an error the rest of the chunk it is in is passed over, so
    /// that a damaged one does not hide those after it.
    pub fn try_next(&mut self) -> Result<Option<Entry>> {
        self.begin()?;
        loop {
            if let Some(entry) = self.entries.next() {
                self.check_order(&entry)?;
                return Ok(Some(entry));
            }
            let Some(chunk) = self.chunks.next() else {
                return Ok(None);
            };
            let read = self
                .blobs
                .with(&chunk, decode)
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
            other.chunks.next();
        }
    }

    /// Entry by entry, as an iterator.
    pub fn entries(mut self) -> impl Iterator<Item = Result<Entry>> {
        std::iter::from_fn(move || self.try_next().transpose())
    }

    /// # Errors
    /// [`crate::error::Kind::Corrupt`] unless names come sorted, each once: two entries of one
    /// name could be used to have the second written through the first. Then nothing more is
    /// taken from the chunk, and what follows is measured by the last name that was sorted.
    fn check_order(&mut self, entry: &Entry) -> Result<()> {
        if self.last_name < entry.name {
            self.last_name.clone_from(&entry.name);
            return Ok(());
        }
        self.entries = Vec::new().into_iter();
        Err(Error::corrupt("entries of a tree are out of order"))
    }
}

/// The entries that lie in one chunk.
pub fn decode(chunk: &[u8]) -> Result<Vec<Entry>> {
    let mut reader = Reader::new(chunk);
    let mut entries = Vec::new();
    while !reader.at_end() {
        if entries.len() >= ENTRIES_LIMIT {
            return Err(Error::corrupt("a chunk of too many entries"));
        }
        entries.push(Entry::decode(&mut reader)?);
    }
    Ok(entries)
}

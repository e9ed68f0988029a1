//! Lists of chunk ids: an entry holds a short list itself; a long list is stored in chunks of its
//! own.
//!
//! A list is split like a tree. Each cut is moved forward to the end of an id. Therefore a change
//! in the middle of a large file stores only the lists around the change again.

use crate::error::{During, Error, Result};
use crate::format::entry::Content;
use crate::kloset::Kloset;
use crate::kloset::blob::{BlobReader, Packer};
use crate::util::Id;
use crate::util::id::ID_BYTES;

/// Maximum number of ids that an entry holds itself.
const DIRECT_IDS: u64 = 64;

/// Maximum number of chunks of one tree. Even with chunks of the minimum size, this is enough for
/// ten million entries.
pub const TREE_CHUNKS_LIMIT: usize = 1 << 20;

/// Writes the list of the chunks of one file, chunk by chunk.
///
/// Each level of lists buffers less than one chunk. Therefore the memory use depends on the depth
/// of the lists, not on the number of chunks.
#[derive(Default)]
pub struct ListWriter {
    /// The list of chunks, the list of the chunks of that list, and so on.
    levels: Vec<Level>,
}

#[derive(Default)]
struct Level {
    /// Number of ids in the list.
    ids: u64,
    /// The ids that are not stored yet. This is the whole list while it may still fit into the
    /// entry.
    bytes: Vec<u8>,
}

impl ListWriter {
    /// Appends a chunk id. Stores a chunk of the list when it is full.
    pub fn push(&mut self, chunk: Id, packer: &mut Packer<'_>, kloset: &Kloset) -> Result<()> {
        let largest = kloset.tree_chunker().parameters().max_bytes as usize;
        let (mut id, mut depth) = (chunk, 0);
        loop {
            let level = self.append(depth, id);
            // The position of a cut does not depend on bytes beyond the maximum chunk size.
            if !level.is_long() || level.bytes.len() < largest {
                return Ok(());
            }
            id = level.cut(packer, kloset)?;
            depth += 1;
        }
    }

    /// Stores the lists that are too long for an entry. Returns the ids that the entry holds.
    pub fn finish(mut self, packer: &mut Packer<'_>, kloset: &Kloset) -> Result<Content> {
        let mut depth = 0;
        while self.levels.get(depth).is_some_and(Level::is_long) {
            while !self.levels[depth].bytes.is_empty() {
                let list = self.levels[depth].cut(packer, kloset)?;
                self.append(depth + 1, list);
            }
            depth += 1;
        }
        let ids = match self.levels.get(depth) {
            Some(level) => decode_list(&level.bytes)?,
            None => Vec::new(),
        };
        let depth = u32::try_from(depth).expect("every list is shorter than the one below it");
        Ok(Content { ids, depth })
    }

    /// Appends an id to the list at `depth`, which exists or is the next one.
    fn append(&mut self, depth: usize, id: Id) -> &mut Level {
        if depth == self.levels.len() {
            self.levels.push(Level::default());
        }
        let level = &mut self.levels[depth];
        level.ids += 1;
        level.bytes.extend_from_slice(&id.0);
        level
    }
}

impl Level {
    /// Whether the list is too long for an entry.
    fn is_long(&self) -> bool {
        self.ids > DIRECT_IDS
    }

    /// Stores the first chunk of the buffered ids, and returns its id.
    fn cut(&mut self, packer: &mut Packer<'_>, kloset: &Kloset) -> Result<Id> {
        let cut = kloset.tree_chunker().cut(&self.bytes);
        let cut = cut.next_multiple_of(ID_BYTES);
        let (id, _) = packer.put(&self.bytes[..cut])?;
        self.bytes.drain(..cut);
        Ok(id)
    }
}

/// Calls `each` with every chunk of the file with this `content`, in order.
///
/// # Errors
/// Those of `each`, and [`crate::error::Kind::Corrupt`] for unreadable lists.
pub fn each_chunk(
    blobs: &BlobReader<'_>,
    content: &Content,
    each: &mut dyn FnMut(Id) -> Result<()>,
) -> Result<()> {
    descend(blobs, &content.ids, content.depth, each)
}

/// Calls `each` with every chunk that `content` refers to, and with its role. A list comes before
/// the chunks that it lists.
///
/// # Errors
/// As [`each_chunk`].
pub fn each_reference(
    blobs: &BlobReader<'_>,
    content: &Content,
    each: &mut dyn FnMut(Id, Role) -> Result<()>,
) -> Result<()> {
    descend_all(blobs, &content.ids, content.depth, each)
}

/// The role of a chunk in the file or directory that it belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// It holds part of the contents or of the tree.
    Part,
    /// It holds the ids of other chunks.
    List,
}

/// Visits one level of lists for [`each_reference`].
fn descend_all(
    blobs: &BlobReader<'_>,
    ids: &[Id],
    depth: u32,
    each: &mut dyn FnMut(Id, Role) -> Result<()>,
) -> Result<()> {
    for id in ids {
        match depth {
            0 => each(*id, Role::Part)?,
            _ => {
                each(*id, Role::List)?;
                let list = blobs
                    .with(id, decode_list)
                    .during(|| format!("list of chunks {}", id.short()))?;
                descend_all(blobs, &list, depth - 1, each)?;
            }
        }
    }
    Ok(())
}

/// The ids of all chunks of `content`, in order. Used for trees, which have few chunks.
///
/// # Errors
/// As [`each_chunk`], and [`crate::error::Kind::Corrupt`] for more than [`TREE_CHUNKS_LIMIT`] ids:
/// crafted lists can stand for more ids than fit in memory.
pub fn chunk_ids(blobs: &BlobReader<'_>, content: &Content) -> Result<Vec<Id>> {
    let mut ids = Vec::with_capacity(content.ids.len());
    each_chunk(blobs, content, &mut |id| {
        ids.push(id);
        match ids.len() <= TREE_CHUNKS_LIMIT {
            true => Ok(()),
            false => Err(Error::corrupt("a tree of too many chunks")),
        }
    })?;
    Ok(ids)
}

/// Visits one level of lists for [`each_chunk`].
fn descend(
    blobs: &BlobReader<'_>,
    ids: &[Id],
    depth: u32,
    each: &mut dyn FnMut(Id) -> Result<()>,
) -> Result<()> {
    for id in ids {
        match depth {
            0 => each(*id)?,
            _ => {
                let list = blobs
                    .with(id, decode_list)
                    .during(|| format!("list of chunks {}", id.short()))?;
                descend(blobs, &list, depth - 1, each)?;
            }
        }
    }
    Ok(())
}

/// Decodes the ids in one chunk of a list.
///
/// # Errors
/// [`crate::error::Kind::Corrupt`] if the last id is incomplete.
pub fn decode_list(list: &[u8]) -> Result<Vec<Id>> {
    match list.as_chunks::<ID_BYTES>() {
        (ids, []) => Ok(ids.iter().map(|id| Id(*id)).collect()),
        _ => Err(Error::corrupt("a broken last id")),
    }
}

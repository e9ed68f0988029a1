//! Lists of chunks: short ones lie in the entry, long ones in chunks of their own.
//!
//! A list is cut as a tree is, with cuts moved forward to the end of an id, so that a
//! change in the middle of a large file stores anew only the lists around it.

use crate::error::{During, Error, Result};
use crate::format::entry::Content;
use crate::kloset::Kloset;
use crate::kloset::blob::{BlobReader, Packer};
use crate::util::Id;
use crate::util::id::ID_BYTES;

/// Ids that an entry holds itself.
const DIRECT_IDS: u64 = 64;

/// Chunks of one tree at most: even the smallest are enough for ten million entries.
pub const TREE_CHUNKS_LIMIT: usize = 1 << 20;

/// Writes the list of the chunks of one file, chunk by chunk.
///
/// Every level of lists holds back what is less than a chunk of it, so that memory depends
/// on how deep they lie, and not on how many chunks there are.
#[derive(Default)]
pub struct ListWriter {
    /// The list of chunks, the list of the chunks of that, and so on.
    levels: Vec<Level>,
}

/// One list.
#[derive(Default)]
struct Level {
    /// How many ids it has.
    ids: u64,
    /// Those that are not stored: all of them, while they may lie in the entry itself.
    bytes: Vec<u8>,
}

impl ListWriter {
    /// Appends a chunk.
    pub fn push(&mut self, chunk: Id, packer: &mut Packer<'_>, kloset: &Kloset) -> Result<()> {
        let largest = kloset.tree_chunker().parameters().max_bytes as usize;
        let (mut id, mut depth) = (chunk, 0);
        loop {
            let level = self.append(depth, id);
            // A cut depends on no more bytes than the largest chunk has.
            if !level.is_long() || level.bytes.len() < largest {
                return Ok(());
            }
            id = level.cut(packer, kloset)?;
            depth += 1;
        }
    }

    /// Stores what must not lie in an entry, and returns what does.
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

    /// Appends an id to the list at `depth`, which is there or the next one.
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
    /// Whether an entry does not hold as many ids itself.
    fn is_long(&self) -> bool {
        self.ids > DIRECT_IDS
    }

    /// Stores the first chunk of what is held back, and returns its id.
    fn cut(&mut self, packer: &mut Packer<'_>, kloset: &Kloset) -> Result<Id> {
        let cut = kloset.tree_chunker().cut(&self.bytes);
        let cut = cut.next_multiple_of(ID_BYTES);
        let (id, _) = packer.put(&self.bytes[..cut])?;
        self.bytes.drain(..cut);
        Ok(id)
    }
}

/// Calls `each` with every chunk of the file that `content` stands for, in order.
///
/// # Errors
/// Those of `each`, and [`crate::error::Kind::Corrupt`] for lists that cannot be read.
pub fn each_chunk(
    blobs: &BlobReader<'_>,
    content: &Content,
    each: &mut dyn FnMut(Id) -> Result<()>,
) -> Result<()> {
    descend(blobs, &content.ids, content.depth, each)
}

/// Calls `each` with every chunk that `content` needs, lists before what they list, and with
/// whether it is a list.
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

/// What a chunk is to the file or directory it belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Part of it.
    Part,
    /// Ids of further chunks.
    List,
}

/// Goes down one level, as [`descend`].
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

/// The ids of all chunks that `content` stands for, in order: for trees, which have few.
///
/// # Errors
/// As [`each_chunk`], and [`crate::error::Kind::Corrupt`] for more than any directory has: lists can
/// be made to stand for more ids than memory holds.
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

/// Goes down one level.
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

/// The ids in one chunk of a list.
pub fn decode_list(list: &[u8]) -> Result<Vec<Id>> {
    match list.as_chunks::<ID_BYTES>() {
        (ids, []) => Ok(ids.iter().map(|id| Id(*id)).collect()),
        _ => Err(Error::corrupt("a broken last id")),
    }
}

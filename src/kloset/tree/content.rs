//! Lists of chunks: short ones lie in the entry, long ones in chunks of their own.
//!
//! A list is cut as a tree is, with cuts moved forward to the end of an id, so that a
//! change in the middle of a large file stores anew only the lists around it.

use super::Content;
use crate::error::{During, Error, Result};
use crate::kloset::Kloset;
use crate::kloset::blob::{BlobReader, Packer};
use crate::util::Id;
use crate::util::id::ID_BYTES;

/// Ids that an entry holds itself.
const DIRECT_IDS: usize = 64;

/// Chunks of one tree at most: even the smallest are enough for ten million entries.
const TREE_CHUNKS_LIMIT: usize = 1 << 20;

/// The content that consists of these chunks; stores lists of them if they are many.
pub fn store_ids(mut ids: Vec<Id>, packer: &mut Packer<'_>, kloset: &Kloset) -> Result<Content> {
    let mut depth = 0;
    while ids.len() > DIRECT_IDS {
        ids = store_lists(&ids, packer, kloset)?;
        depth += 1;
    }
    Ok(Content { ids, depth })
}

/// Stores `ids` in chunks, and returns the ids of those.
fn store_lists(ids: &[Id], packer: &mut Packer<'_>, kloset: &Kloset) -> Result<Vec<Id>> {
    let bytes: Vec<u8> = ids.iter().flat_map(|id| id.0).collect();
    let mut lists = Vec::new();
    let mut rest = bytes.as_slice();
    while !rest.is_empty() {
        let cut = kloset.tree_chunker().cut(rest).next_multiple_of(ID_BYTES);
        lists.push(packer.put(&rest[..cut])?.0);
        rest = &rest[cut..];
    }
    Ok(lists)
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
                    .with(id, parse)
                    .during(|| format!("list of chunks {}", id.short()))?;
                descend(blobs, &list, depth - 1, each)?;
            }
        }
    }
    Ok(())
}

/// The ids in one chunk of a list.
fn parse(list: &[u8]) -> Result<Vec<Id>> {
    match list.as_chunks::<ID_BYTES>() {
        (ids, []) => Ok(ids.iter().map(|id| Id(*id)).collect()),
        _ => Err(Error::corrupt("a broken last id")),
    }
}

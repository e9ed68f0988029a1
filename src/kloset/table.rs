//! The table of a pack: which blocks it has, and which chunks each block has.
//!
//! A pack's sealed footer holds its table, and an index object holds copies of
//! the tables of many packs. Both encode it with the functions here.

use crate::util::Id;

/// What a pack was filled with. Trees are kept apart so that walking a snapshot
/// reads, and a cache keeps, nothing but trees.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PackKind {
    /// Pieces of files.
    Data,
    /// Pieces of directories.
    Tree,
}

/// One chunk in a block; its offset is the sum of the lengths before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ChunkEntry {
    /// Keyed hash of the plain bytes.
    pub id: Id,
    /// Length of the plain bytes.
    pub length: u32,
}

/// One sealed block of a pack; its offset is the sum of the sealed lengths before it
/// plus the pack's header.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BlockTable {
    /// Length as it lies in the pack.
    pub sealed_bytes: u32,
    /// What is in it, in order.
    pub chunks: Vec<ChunkEntry>,
}

/// Everything there is to know about a pack without reading its blocks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PackTable {
    /// The pack's name.
    pub pack: Id,
    /// Length of the whole object.
    pub size_bytes: u64,
    /// What it was filled with.
    pub kind: PackKind,
    /// Its blocks, in order.
    pub blocks: Vec<BlockTable>,
}

/// Bytes before the first block of a pack: the magic.
pub const PACK_HEADER_BYTES: u32 = 8;

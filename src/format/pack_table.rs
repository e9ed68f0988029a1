//! The table of a pack: its blocks, and the chunks of each block.
//!
//! The sealed footer of a pack contains its table. An index object contains copies of the tables of
//! many packs. The functions of this module encode both.

use super::cbor::{Reader, Writer};
use super::codec;
use super::seal::Part;
use crate::error::{Error, Result};
use crate::util::Id;

/// The kind of data in a pack. Trees are stored in separate packs, so that walking a snapshot reads
/// only trees, and a cache stores only trees.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PackKind {
    /// Parts of files.
    Data,
    /// Parts of directories.
    Tree,
}

impl PackKind {
    /// Number of plain bytes at which a block is sealed.
    ///
    /// A Linux kernel source tree needs 207 MB with data blocks of 1 MiB, 202 MB with this size,
    /// and 200 MB with 4 MiB, but reading even the smallest file costs one block. Directories are
    /// read one by one, and in a store with some history each one is in a different block.
    pub const fn block_bytes(self) -> usize {
        match self {
            PackKind::Data => 2 << 20,
            PackKind::Tree => 256 << 10,
        }
    }
}

/// One chunk in a block. Its offset is the sum of the lengths before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ChunkEntry {
    /// Keyed hash of the plain bytes.
    pub id: Id,
    /// Length of the plain bytes.
    pub length: u32,
}

/// One sealed block of a pack. Its offset is the sum of the sealed lengths before it plus the
/// length of the header of the pack.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BlockTable {
    /// Length of the sealed block in the pack.
    pub sealed_bytes: u32,
    /// Its chunks, in order.
    pub chunks: Vec<ChunkEntry>,
}

/// Everything that is known about a pack without reading its blocks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PackTable {
    /// The name of the pack.
    pub pack: Id,
    /// Size of the whole object, in bytes.
    pub size_bytes: u64,
    /// The kind of data in the pack.
    pub kind: PackKind,
    /// The blocks, in order.
    pub blocks: Vec<BlockTable>,
}

/// Number of bytes before the first block of a pack: the magic.
pub const PACK_HEADER_BYTES: u32 = 8;

/// Maximum number of chunks in one block of a decoded table.
const CHUNKS_PER_BLOCK_LIMIT: usize = 1 << 20;

impl PackKind {
    /// The code of this kind in a table.
    fn code(self) -> u8 {
        match self {
            PackKind::Data => 0,
            PackKind::Tree => 1,
        }
    }

    /// The inverse of [`PackKind::code`].
    fn from_code(code: u8) -> Result<PackKind> {
        match code {
            0 => Ok(PackKind::Data),
            1 => Ok(PackKind::Tree),
            other => Err(Error::corrupt(format!("pack of kind {other}"))),
        }
    }
}

impl BlockTable {
    /// Length of the plain bytes of the block.
    pub fn plain_bytes(&self) -> u64 {
        self.chunks
            .iter()
            .map(|chunk| u64::from(chunk.length))
            .sum()
    }
}

impl PackTable {
    /// Number of chunks in the pack.
    pub fn chunk_count(&self) -> usize {
        self.blocks.iter().map(|block| block.chunks.len()).sum()
    }

    /// The blocks with their offsets in the pack.
    pub fn offsets(&self) -> impl Iterator<Item = (u64, &BlockTable)> {
        let mut next = u64::from(PACK_HEADER_BYTES);
        self.blocks.iter().map(move |block| {
            let offset = next;
            next += u64::from(block.sealed_bytes);
            (offset, block)
        })
    }
}

/// How much of each chunk id a table contains.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ids {
    /// The whole id: in footers, from which all other information can be restored.
    Whole,
    /// The first 16 bytes: in index objects, because the index compares only these.
    Prefix,
}

impl Ids {
    /// Number of bytes of each id.
    fn bytes(self) -> usize {
        match self {
            Ids::Whole => 32,
            Ids::Prefix => 16,
        }
    }
}

/// Appends `[kind, [[sealed length, ids, lengths] …]]`. The ids and the little-endian lengths are
/// byte strings.
pub fn encode(kind: PackKind, blocks: &[BlockTable], ids: Ids, out: &mut Vec<u8>) {
    encode_head(2, kind, blocks.len(), out);
    encode_blocks(blocks, ids, out);
}

/// Appends the same with whole ids and one more item: the salt that makes the bytes of each pack
/// unique.
pub fn encode_salted(kind: PackKind, blocks: &[BlockTable], salt: &[u8], out: &mut Vec<u8>) {
    encode_head(3, kind, blocks.len(), out);
    encode_blocks(blocks, Ids::Whole, out);
    Writer::new(out).bytes(salt);
}

/// Appends the head of an array of `items` items, up to the number of blocks.
fn encode_head(items: usize, kind: PackKind, blocks: usize, out: &mut Vec<u8>) {
    Writer::new(out)
        .array(items)
        .u64(kind.code().into())
        .array(blocks);
}

fn encode_blocks(blocks: &[BlockTable], ids: Ids, out: &mut Vec<u8>) {
    let mut encoder = Writer::new(out);
    for block in blocks {
        let ids: Vec<u8> = block
            .chunks
            .iter()
            .flat_map(|chunk| &chunk.id.0[..ids.bytes()])
            .copied()
            .collect();
        let lengths: Vec<u8> = block
            .chunks
            .iter()
            .flat_map(|chunk| chunk.length.to_le_bytes())
            .collect();
        encoder
            .array(3)
            .u64(block.sealed_bytes.into())
            .bytes(&ids)
            .bytes(&lengths);
    }
}

/// Decodes what [`encode`] wrote. The missing rest of truncated ids is zero.
///
/// # Errors
/// [`crate::error::Kind::Corrupt`] for an impossible table.
pub fn decode(reader: &mut Reader<'_>, ids: Ids) -> Result<(PackKind, Vec<BlockTable>)> {
    let additions = reader.record(2)?;
    let kind = PackKind::from_code(reader.u8()?)?;
    let count = reader.array()?;
    let mut blocks = Vec::with_capacity(reader.plausible(count));
    for _ in 0..count {
        blocks.push(block(reader, ids)?);
    }
    reader.skip_many(additions)?;
    Ok((kind, blocks))
}

/// Decodes one block of a table.
fn block(reader: &mut Reader<'_>, ids: Ids) -> Result<BlockTable> {
    let additions = reader.record(3)?;
    let sealed_bytes = reader.u32()?;
    let id_bytes = reader.bytes()?.chunks_exact(ids.bytes());
    let (lengths, odd_length) = reader.bytes()?.as_chunks::<4>();
    reader.skip_many(additions)?;
    if id_bytes.len() != lengths.len() || !id_bytes.remainder().is_empty() || !odd_length.is_empty()
    {
        return Err(Error::corrupt("a block whose chunks have no length each"));
    }
    if lengths.len() > CHUNKS_PER_BLOCK_LIMIT {
        return Err(Error::corrupt("a block of too many chunks"));
    }
    let chunk = |(bytes, length): (&[u8], &[u8; 4])| {
        let mut id = Id::default();
        id.0[..bytes.len()].copy_from_slice(bytes);
        ChunkEntry {
            id,
            length: u32::from_le_bytes(*length),
        }
    };
    let block = BlockTable {
        sealed_bytes,
        chunks: id_bytes.zip(lengths).map(chunk).collect(),
    };
    let plain_limit = codec::limit_bytes(Part::Block);
    if block.plain_bytes() > plain_limit as u64
        || sealed_bytes as usize > codec::sealed_limit_bytes(plain_limit)
    {
        return Err(Error::corrupt("a block larger than any block"));
    }
    Ok(block)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_round_trips_and_every_truncation_is_an_error() {
        let chunk = |at: u8| ChunkEntry {
            id: Id([at; 32]),
            length: at.into(),
        };
        let blocks = vec![
            BlockTable {
                sealed_bytes: 70_000,
                chunks: vec![chunk(1), chunk(2)],
            },
            BlockTable {
                sealed_bytes: 100,
                chunks: vec![],
            },
        ];
        let mut bytes = Vec::new();
        encode(PackKind::Tree, &blocks, Ids::Whole, &mut bytes);
        assert_eq!(
            decode(&mut Reader::new(&bytes), Ids::Whole).unwrap(),
            (PackKind::Tree, blocks)
        );
        for length in 0..bytes.len() {
            assert!(
                decode(&mut Reader::new(&bytes[..length]), Ids::Whole).is_err(),
                "length {length}"
            );
        }
    }
}

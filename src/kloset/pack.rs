//! A pack: an object that holds many sealed blocks and, sealed too, the table of them.
//!
//! ```text
//! magic (8) ‖ sealed block ‖ … ‖ sealed footer ‖ length of the sealed footer (4) ‖ end magic (8)
//! ```
//!
//! A pack goes to its store block by block while its name, the BLAKE3 of all its bytes,
//! is computed beside; only the table stays in memory. Whoever has the key can read the
//! table from the end alone, so that a store whose index objects are lost loses nothing.

use crate::error::{During, Error, Kind, Result};
use crate::format::cbor::Reader;
use crate::format::codec::limit_bytes;
use crate::format::codec::{Decoder, Encoder, sealed_limit_bytes};
use crate::format::master::random;
use crate::format::object::{check_magic, magic};
use crate::format::pack_table::{
    self, BlockTable, ChunkEntry, Ids, PACK_HEADER_BYTES, PackKind, PackTable,
};
use crate::format::seal::{Part, Sealer};
use crate::store::{Area, Store, Upload};
use crate::util::Id;

/// The size at which a pack is finished. Larger ones mean fewer requests, smaller ones
/// less to copy when some of it dies; peers sit between 5 and 128 MiB.
pub const PACK_BYTES: u64 = 16 << 20;
/// Chunks at which a pack is finished, however small they are: its table must fit in memory
/// many times over.
const PACK_CHUNKS: usize = 1 << 16;
/// Last bytes of a pack; the last of them is the format version.
const END_MAGIC: &[u8; 8] = b"KLOSETE\x01";
/// Random bytes in the footer. Sealing is deterministic, so without them the same chunks would
/// make the same pack: one that maintenance condemned, say, and is about to delete.
const SALT_BYTES: usize = 16;
/// Footer length and end magic.
pub const TRAILER_BYTES: usize = 12;
/// How much of the end of a pack is read in the hope that the footer is in it.
const TAIL_GUESS_BYTES: u64 = 64 << 10;

/// A pack on its way into a store.
pub struct PackWriter {
    upload: Box<dyn Upload>,
    hasher: blake3::Hasher,
    written_bytes: u64,
    kind: PackKind,
    blocks: Vec<BlockTable>,
    chunks: usize,
}

impl PackWriter {
    /// Starts a pack.
    pub fn new(store: &dyn Store, kind: PackKind) -> Result<PackWriter> {
        let upload = store.upload(Area::Packs).during(|| "start a pack")?;
        let mut pack = PackWriter {
            upload,
            hasher: blake3::Hasher::new(),
            written_bytes: 0,
            kind,
            blocks: Vec::new(),
            chunks: 0,
        };
        pack.write(magic(Part::Block))?;
        Ok(pack)
    }

    /// Appends a sealed block that holds `chunks`, and tells where in the pack it begins.
    pub fn append(&mut self, sealed: &[u8], chunks: Vec<ChunkEntry>) -> Result<u32> {
        let too_long = || Error::new(Kind::Failed, "a pack of over 4 GiB");
        let offset = u32::try_from(self.written_bytes).map_err(|_| too_long())?;
        let sealed_bytes = u32::try_from(sealed.len())
            .map_err(|_| Error::new(Kind::Failed, "a block of over 4 GiB"))?;
        self.write(sealed)?;
        self.chunks += chunks.len();
        self.blocks.push(BlockTable {
            sealed_bytes,
            chunks,
        });
        Ok(offset)
    }

    /// Whether the pack is large enough to be finished.
    pub fn is_full(&self) -> bool {
        self.written_bytes >= PACK_BYTES || self.chunks >= PACK_CHUNKS
    }

    /// Appends footer and trailer, after which the name is known.
    pub fn finish(
        mut self,
        sealer: &Sealer,
        encoder: &mut Encoder,
        sealed: &mut Vec<u8>,
    ) -> Result<FinishedPack> {
        let mut body = Vec::new();
        let salt: [u8; SALT_BYTES] = random()?;
        pack_table::encode_salted(self.kind, &self.blocks, &salt, &mut body);
        encoder.encode(sealer, Part::Footer, &body, sealed)?;
        let footer_bytes = u32::try_from(sealed.len())
            .map_err(|_| Error::new(Kind::Failed, "a footer of over 4 GiB"))?;
        sealed.extend_from_slice(&footer_bytes.to_le_bytes());
        sealed.extend_from_slice(END_MAGIC);
        self.write(sealed)?;
        let pack = Id(*self.hasher.finalize().as_bytes());
        let table = PackTable {
            pack,
            size_bytes: self.written_bytes,
            kind: self.kind,
            blocks: self.blocks,
        };
        Ok(FinishedPack {
            upload: self.upload,
            table,
        })
    }

    /// Hands `bytes` on, and counts and hashes them.
    fn write(&mut self, bytes: &[u8]) -> Result<()> {
        self.hasher.update(bytes);
        self.written_bytes += bytes.len() as u64;
        self.upload.write(bytes).during(|| "write a pack")
    }
}

/// A pack that is complete but not yet published.
pub struct FinishedPack {
    upload: Box<dyn Upload>,
    /// What is in it.
    pub table: PackTable,
}

impl FinishedPack {
    /// Publishes it; durable on return.
    pub fn publish(self) -> Result<PackTable> {
        let pack = self.table.pack;
        self.upload
            .commit(pack)
            .during(|| format!("publish pack {}", pack.short()))?;
        Ok(self.table)
    }
}

/// The table of a pack, read from its end.
///
/// # Errors
/// [`Kind::Corrupt`] unless the end of the pack is intact.
pub fn read_table(store: &dyn Store, sealer: &Sealer, pack: Id) -> Result<PackTable> {
    read_end(store, sealer, pack).map(|(table, _)| table)
}

/// The same, and the bytes it was read from: the end of the pack, as it lies in the store.
pub fn read_end(store: &dyn Store, sealer: &Sealer, pack: Id) -> Result<(PackTable, Vec<u8>)> {
    let read = || -> Result<(PackTable, Vec<u8>)> {
        let size_bytes = store.stat(Area::Packs, pack)?.size_bytes;
        let tail = read_tail(store, pack, size_bytes)?;
        let table = decode_tail(sealer, pack, size_bytes, tail.clone())?;
        Ok((table, tail))
    };
    read().during(|| format!("read the footer of pack {}", pack.short()))
}

/// The sealed footer of a pack of `size_bytes` and what is behind it, mostly in one read.
pub fn read_tail(store: &dyn Store, pack: Id, size_bytes: u64) -> Result<Vec<u8>> {
    let mut tail = vec![0; size_bytes.min(TAIL_GUESS_BYTES) as usize];
    store.read_at(Area::Packs, pack, size_bytes - tail.len() as u64, &mut tail)?;
    let wanted = footer_bytes(&tail, size_bytes)? + TRAILER_BYTES;
    if wanted > tail.len() {
        tail.resize(wanted, 0);
        store.read_at(Area::Packs, pack, size_bytes - wanted as u64, &mut tail)?;
    } else {
        tail.drain(..tail.len() - wanted);
    }
    Ok(tail)
}

/// The length of the sealed footer of a pack of `size_bytes` that ends with `tail`.
///
/// # Errors
/// [`Kind::Corrupt`] for a length that cannot be.
pub fn footer_bytes(tail: &[u8], size_bytes: u64) -> Result<usize> {
    let trailer = tail
        .last_chunk::<TRAILER_BYTES>()
        .ok_or_else(|| Error::corrupt("too short to be a pack"))?;
    let (length, end) = trailer.split_at(4);
    if end != END_MAGIC {
        return Err(Error::corrupt("does not end like a pack"));
    }
    let length = u32::from_le_bytes(length.try_into().expect("4 bytes"));
    let room = size_bytes.saturating_sub(u64::from(PACK_HEADER_BYTES) + TRAILER_BYTES as u64);
    let limit = sealed_limit_bytes(limit_bytes(Part::Footer)) as u64;
    match u64::from(length) <= room.min(limit) {
        true => Ok(length as usize),
        false => Err(Error::corrupt(format!("claims a footer of {length} bytes"))),
    }
}

/// The table in the sealed footer that `tail` starts with.
pub fn decode_tail(
    sealer: &Sealer,
    pack: Id,
    size_bytes: u64,
    mut tail: Vec<u8>,
) -> Result<PackTable> {
    let footer_bytes = tail.len() - TRAILER_BYTES;
    let mut body = Vec::new();
    Decoder::new()?
        .decode(sealer, Part::Footer, &mut tail[..footer_bytes], &mut body)
        .during(|| "footer")?;
    let (kind, blocks) = pack_table::decode(&mut Reader::new(&body), Ids::Whole)?;
    let sealed: u64 = blocks
        .iter()
        .map(|block| u64::from(block.sealed_bytes))
        .sum();
    if u64::from(PACK_HEADER_BYTES) + sealed + tail.len() as u64 != size_bytes {
        return Err(Error::corrupt("its blocks do not add up to its size"));
    }
    Ok(PackTable {
        pack,
        size_bytes,
        kind,
        blocks,
    })
}

/// # Errors
/// [`Kind::Corrupt`] unless `head` is how a pack begins.
pub fn check_head(head: &[u8]) -> Result<()> {
    check_magic(Part::Block, head)
}

//! A pack: an object that consists of sealed blocks and a sealed table of these blocks.
//!
//! ```text
//! magic (8) ‖ sealed block ‖ … ‖ sealed footer ‖ length of the sealed footer (4) ‖ end magic (8)
//! ```
//!
//! A pack is uploaded block by block. Its name, the BLAKE3 hash of all its bytes, is computed at
//! the same time. Only the table is kept in memory. A holder of the key can read the table from the
//! end of the pack alone, so a store that loses its index objects loses no data.

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

/// Size at which a pack is finished. Larger packs need fewer requests. Smaller packs leave less
/// data to copy when part of the pack becomes unreferenced. Comparable programs use 5 to 128 MiB.
pub const PACK_BYTES: u64 = 16 << 20;
/// Number of chunks at which a pack is finished, regardless of their size. Many tables must fit in
/// memory at the same time.
const PACK_CHUNKS: usize = 1 << 16;
/// Last bytes of a pack. The last byte is the format version.
const END_MAGIC: &[u8; 8] = b"KLOSETE\x01";
/// Length of the random salt in the footer. Sealing is deterministic, so without a salt the same
/// chunks would result in a pack with the same name. Maintenance may have condemned that name, and
/// may be about to delete it.
const SALT_BYTES: usize = 16;
/// Length of the trailer: footer length (4 bytes) and end magic (8 bytes).
pub const TRAILER_BYTES: usize = 12;
/// Number of bytes at the end of a pack that are read first. They usually include the whole footer.
const TAIL_GUESS_BYTES: u64 = 64 << 10;

/// A pack that is being uploaded.
pub struct PackWriter {
    upload: Box<dyn Upload>,
    hasher: blake3::Hasher,
    written_bytes: u64,
    kind: PackKind,
    blocks: Vec<BlockTable>,
    chunks: usize,
}

impl PackWriter {
    /// Starts the upload of a pack and writes its magic.
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

    /// Appends a sealed block that holds `chunks`. Returns its offset in the pack.
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

    /// Whether the pack has reached the size or the number of chunks at which it is finished.
    pub fn is_full(&self) -> bool {
        self.written_bytes >= PACK_BYTES || self.chunks >= PACK_CHUNKS
    }

    /// Appends the footer and the trailer. This determines the name of the pack.
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

    /// Uploads, hashes and counts `bytes`.
    fn write(&mut self, bytes: &[u8]) -> Result<()> {
        self.hasher.update(bytes);
        self.written_bytes += bytes.len() as u64;
        self.upload.write(bytes).during(|| "write a pack")
    }
}

/// A pack that is complete but not yet published. Dropping it discards the upload.
pub struct FinishedPack {
    upload: Box<dyn Upload>,
    /// The blocks and chunks of the pack.
    pub table: PackTable,
}

impl FinishedPack {
    /// Publishes the pack. It is durable on return.
    pub fn publish(self) -> Result<PackTable> {
        let pack = self.table.pack;
        self.upload
            .commit(pack)
            .during(|| format!("publish pack {}", pack.short()))?;
        Ok(self.table)
    }
}

/// Reads the table of a pack from its end.
///
/// # Errors
/// [`Kind::Corrupt`] unless the end of the pack is intact.
pub fn read_table(store: &dyn Store, sealer: &Sealer, pack: Id) -> Result<PackTable> {
    read_end(store, sealer, pack).map(|(table, _)| table)
}

/// Reads the table as [`read_table`], and also returns the end of the pack as it is stored.
pub fn read_end(store: &dyn Store, sealer: &Sealer, pack: Id) -> Result<(PackTable, Vec<u8>)> {
    let read = || -> Result<(PackTable, Vec<u8>)> {
        let size_bytes = store.stat(Area::Packs, pack)?.size_bytes;
        let tail = read_tail(store, pack, size_bytes)?;
        let table = decode_tail(sealer, pack, size_bytes, tail.clone())?;
        Ok((table, tail))
    };
    read().during(|| format!("read the footer of pack {}", pack.short()))
}

/// Reads the sealed footer and the trailer of a pack of `size_bytes`, usually in one read.
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
/// [`Kind::Corrupt`] if the trailer is incomplete or the length is impossible.
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

/// Decodes the table in the sealed footer at the start of `tail`.
///
/// # Errors
/// [`Kind::Corrupt`] if the footer is damaged, or the sizes of its blocks do not add up to
/// `size_bytes`.
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
/// [`Kind::Corrupt`] unless `head` is the beginning of a pack.
pub fn check_head(head: &[u8]) -> Result<()> {
    check_magic(Part::Block, head)
}

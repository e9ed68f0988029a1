//! The data path: how chunks are stored and read.
//!
//! ```text
//! put  plain -> [1] id = keyed hash -> [2] known? stop -> [3] append to the open block
//!      -> [4] full block: compress, seal -> [5] append to the open pack
//!      -> [6] full pack: hand to the storing thread, which publishes it -> index
//! get  id -> [1] place (pack, block, offset) -> [2] read just that block -> [3] unseal,
//!      decompress -> [4] slice, recompute the id, or Corrupt
//! ```
//!
//! **Put.** Every thread has a [`Packer`] with its own block and pack. Therefore no lock is held
//! per byte, and chunks of neighboring files share a block. The packers of one [write
//! session](super::write_session) share the set of pending chunks.
//!
//! **Get.** A [`BlobReader`] caches a bounded number of decoded blocks. If two threads need the
//! same block, one decodes it and the other waits. If a chunk is stored twice and the first copy is
//! damaged, the second one is read. For a remote store, tree blocks are [cached](super::cache)
//! locally when they are written or read, and other blocks are read [ahead](ahead).

mod ahead;
mod decoded;
mod exact;
mod spare;

use std::sync::mpsc::SyncSender;
use std::sync::{Arc, Mutex};

use super::Kloset;
use super::cache::{Copies, Draft, Original};
use super::index::Place;
use super::pack::{FinishedPack, PackWriter};
use super::pipeline::{lock, send};
use super::write_session::Writing;
use crate::error::{During, Error, Kind, Result};
use crate::format::codec::{Decoder, Encoder};
use crate::format::pack_table::{ChunkEntry, PackKind};
use crate::format::seal::Part;
use crate::store::{Area, Distance};
use crate::util::Id;

use ahead::Ahead;
use decoded::{Block, Decoded, slice};

/// Maximum number of chunks in a block, regardless of their size.
const BLOCK_CHUNKS: usize = 1 << 14;

/// The result of storing a chunk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Put {
    /// The chunk was not in the store.
    New,
    /// The chunk is stored already, or is pending in this write session.
    Known,
}

/// A finished pack that a storing thread has to publish.
pub struct Outgoing {
    pub(super) pack: FinishedPack,
    /// Local copies of its blocks, with their offsets. They get their names when the pack is
    /// published.
    pub(super) drafts: Vec<(u32, Draft)>,
}

/// The open block and the open pack of one thread.
pub struct Packer<'a> {
    writing: &'a Writing<'a>,
    kind: PackKind,
    encoder: Encoder,
    plain: Vec<u8>,
    chunks: Vec<ChunkEntry>,
    sealed: Vec<u8>,
    pack: Option<PackWriter>,
    drafts: Vec<(u32, Draft)>,
    finished: SyncSender<Outgoing>,
}

impl<'a> Packer<'a> {
    /// Creates a packer without an open block. It sends its packs to the storing threads through
    /// `finished`.
    pub(super) fn new(
        writing: &'a Writing<'a>,
        kind: PackKind,
        finished: SyncSender<Outgoing>,
    ) -> Result<Packer<'a>> {
        Ok(Packer {
            writing,
            kind,
            encoder: Encoder::new(writing.level)?,
            plain: Vec::new(),
            chunks: Vec::new(),
            sealed: Vec::new(),
            pack: None,
            drafts: Vec::new(),
            finished,
        })
    }

    /// Stores the chunk `plain`, unless it is known.
    pub fn put(&mut self, plain: &[u8]) -> Result<(Id, Put)> {
        let id = self.writing.kloset.chunk_id(plain); // [1]
        if !self.writing.claim(id)? {
            return Ok((id, Put::Known)); // [2]
        }
        let most = self.kind.block_bytes();
        if self.plain.len() + plain.len() > most || self.chunks.len() >= BLOCK_CHUNKS {
            self.seal_block()?;
        }
        let length = u32::try_from(plain.len())
            .map_err(|_| Error::new(Kind::Failed, "a chunk of over 4 GiB"))?;
        self.plain.extend_from_slice(plain); // [3]
        self.chunks.push(ChunkEntry { id, length });
        Ok((id, Put::New))
    }

    /// Seals the open block and sends the open pack to the storing threads, regardless of their
    /// size.
    pub fn flush(&mut self) -> Result<()> {
        self.seal_block()?;
        self.finish_pack()
    }

    /// Compresses and seals the open block, and appends it to the open pack.
    fn seal_block(&mut self) -> Result<()> {
        if self.chunks.is_empty() {
            return Ok(());
        }
        let kloset = self.writing.kloset;
        self.encoder
            .encode(kloset.sealer(), Part::Block, &self.plain, &mut self.sealed)?; // [4]
        let pack = match &mut self.pack {
            Some(pack) => pack,
            none => none.insert(PackWriter::new(kloset.store(), self.kind)?),
        };
        let offset = pack.append(&self.sealed, std::mem::take(&mut self.chunks))?; // [5]
        let is_full = pack.is_full();
        self.plain.clear();
        if let (PackKind::Tree, Some(copies)) = (self.kind, kloset.copies()) {
            let draft = copies.draft(&self.sealed);
            self.drafts.extend(draft.map(|draft| (offset, draft)));
        }
        match is_full {
            true => self.finish_pack(),
            false => Ok(()),
        }
    }

    /// Finishes the open pack and sends it to the storing threads.
    fn finish_pack(&mut self) -> Result<()> {
        let Some(pack) = self.pack.take() else {
            return Ok(());
        };
        let sealer = self.writing.kloset.sealer();
        let pack = pack.finish(sealer, &mut self.encoder, &mut self.sealed)?;
        let drafts = std::mem::take(&mut self.drafts);
        send(&self.finished, Outgoing { pack, drafts }) // [6]
    }
}

/// Reads chunks and caches the most recently used decoded blocks. Can be used from several threads.
pub struct BlobReader<'a> {
    kloset: &'a Kloset,
    /// `None` if only the store itself is to be read.
    copies: Option<&'a Copies>,
    /// `Some` for a remote store.
    ahead: Option<Ahead>,
    decoded: Mutex<Decoded>,
    decoders: Mutex<Vec<(Decoder, Vec<u8>)>>,
}

impl<'a> BlobReader<'a> {
    /// Creates a reader that caches up to `limit_bytes` of decoded blocks.
    pub fn new(kloset: &'a Kloset, limit_bytes: usize) -> Result<BlobReader<'a>> {
        Ok(BlobReader {
            copies: kloset.copies(),
            ..BlobReader::of_store(kloset, limit_bytes)?
        })
    }

    /// Creates a reader that ignores local copies. A local copy does not prove that the original in
    /// the store is intact.
    pub fn of_store(kloset: &'a Kloset, limit_bytes: usize) -> Result<BlobReader<'a>> {
        kloset.index()?;
        let is_remote = kloset.store().manner().distance == Distance::Remote;
        Ok(BlobReader {
            kloset,
            copies: None,
            ahead: is_remote.then(|| Ahead::new(kloset.shared_store())),
            decoded: Mutex::new(Decoded::new(limit_bytes)),
            decoders: Mutex::default(),
        })
    }

    /// The size of a chunk in plain bytes, from the index; the chunk is not read. `None` if it is
    /// not stored.
    pub fn length(&self, id: &Id) -> Result<Option<u32>> {
        Ok(self
            .kloset
            .find(|index| index.lookup(id))?
            .map(|found| found.place.length))
    }

    /// Calls `use_it` with the plain bytes of the chunk.
    ///
    /// # Errors
    /// [`Kind::NotFound`] if no pack contains the chunk. If all copies are damaged, the error of
    /// the last one.
    pub fn with<T>(&self, id: &Id, use_it: impl FnOnce(&[u8]) -> Result<T>) -> Result<T> {
        let places = self.places(id)?;
        let found = match self.at_any(id, &places) {
            Err(error) if error.is_of_one_object() => {
                let others = self.kloset.places_by_footers(id, &places)?;
                self.at_any(id, &others).map_err(|_| error)
            }
            outcome => outcome,
        };
        let (block, place) = found?;
        use_it(slice(&block, &place))
    }

    /// The first of `places` where the chunk is intact, with its block.
    fn at_any(&self, id: &Id, places: &[Place]) -> Result<(Block, Place)> {
        let mut trouble = Error::new(
            Kind::NotFound,
            format!("chunk {} is in no pack", id.short()),
        );
        for place in places {
            match self.at(id, place) {
                Ok(block) => return Ok((block, *place)),
                Err(error) if error.is_of_one_object() => trouble = error,
                Err(error) => return Err(error),
            }
        }
        Err(trouble)
    }

    /// All places of the chunk; empty if it is not stored.
    pub fn places(&self, id: &Id) -> Result<Vec<Place>> {
        let places = self
            .kloset
            .find(|index| Ok(Some(index.places(id)?).filter(|places| !places.is_empty())))?;
        Ok(places.unwrap_or_default())
    }

    /// Appends the plain bytes of the chunk to `out`. Errors are those of [`BlobReader::with`].
    pub fn append(&self, id: &Id, out: &mut Vec<u8>) -> Result<()> {
        self.with(id, |plain| {
            out.extend_from_slice(plain);
            Ok(())
        })
    }

    /// Reads the block at `place` and verifies that it contains the chunk. If a local copy of the
    /// block turns out to be damaged, this deletes the copy and reads the store.
    fn at(&self, id: &Id, place: &Place) -> Result<Block> {
        let read = match self.proven(id, place) {
            Err(error) if error.kind() == Kind::Corrupt && self.forget_copy(place) => {
                self.proven(id, place)
            }
            read => read,
        };
        read.during(|| {
            format!(
                "read pack {}: block at {}",
                place.pack.short(),
                place.block_offset
            )
        })
    }

    /// # Errors
    /// [`Kind::Corrupt`] unless the chunk is at `place`.
    fn proven(&self, id: &Id, place: &Place) -> Result<Block> {
        let block = self.block(place)?;
        let end = place.start as usize + place.length as usize;
        if end > block.len() || self.kloset.chunk_id(slice(&block, place)) != *id {
            return Err(Error::corrupt(format!(
                "chunk {} is not what was stored",
                id.short()
            ))); // [4]
        }
        Ok(block)
    }

    /// Deletes the local copy and the decoded block at `place`. Returns false if there was no local
    /// copy.
    fn forget_copy(&self, place: &Place) -> bool {
        let forgotten = self
            .copy_of(place)
            .is_some_and(|(copies, original)| copies.forget(original));
        if forgotten {
            lock(&self.decoded).forget(place);
        }
        forgotten
    }

    /// The name of the local copy of the block at `place`, whether it exists or not. Only tree
    /// blocks have local copies.
    fn copy_of(&self, place: &Place) -> Option<(&'a Copies, Original)> {
        let copies = self.copies?;
        let pack = self.kloset.index().ok()?.pack(&place.pack)?;
        let original = Original::Block(place.pack, place.block_offset);
        (pack.kind == PackKind::Tree).then_some((copies, original))
    }

    /// Returns the decoded block at `place` from memory, or decodes it.
    fn block(&self, place: &Place) -> Result<Block> {
        let slot = lock(&self.decoded).slot(place);
        let mut held = lock(&slot);
        if let Some(block) = &*held {
            return Ok(block.clone());
        }
        let block = self.decode(place).map(Arc::new);
        match &block {
            Ok(block) => {
                *held = Some(block.clone());
                lock(&self.decoded).filled(place, block.capacity());
            }
            Err(_) => lock(&self.decoded).forget(place),
        }
        block
    }

    /// Reads, unseals and decompresses the block at `place`.
    fn decode(&self, place: &Place) -> Result<Vec<u8>> {
        let idle = lock(&self.decoders).pop();
        let (mut decoder, mut sealed) = match idle {
            Some(idle) => idle,
            None => (Decoder::new()?, Vec::new()),
        };
        let plain = match self.decode_copy(place, &mut decoder) {
            Some(plain) => plain,
            None => self.decode_stored(place, &mut decoder, &mut sealed)?,
        };
        lock(&self.decoders).push((decoder, sealed));
        Ok(plain)
    }

    /// Decodes the local copy of the block at `place`, if there is an intact one.
    fn decode_copy(&self, place: &Place, decoder: &mut Decoder) -> Option<Vec<u8>> {
        let (copies, original) = self.copy_of(place)?;
        let (mut sealed, mut plain) = (copies.read(original)?, Vec::new());
        let opened = decoder.decode(self.kloset.sealer(), Part::Block, &mut sealed, &mut plain);
        if opened.is_err() {
            copies.forget(original);
        }
        opened.ok().map(|()| plain)
    }

    /// Decodes the block at `place` from the store. Keeps a local copy of a tree block.
    fn decode_stored(
        &self,
        place: &Place,
        decoder: &mut Decoder,
        sealed: &mut Vec<u8>,
    ) -> Result<Vec<u8>> {
        sealed.resize(place.sealed_bytes as usize, 0);
        self.read_sealed(place, sealed)?; // [2]
        let copy = self
            .copy_of(place)
            .and_then(|(copies, original)| Some((copies, original, copies.draft(sealed)?)));
        let mut plain = lock(&self.decoded).buffer(place.sealed_bytes as usize);
        decoder.decode(self.kloset.sealer(), Part::Block, sealed, &mut plain)?; // [3]
        if let Some((copies, original, draft)) = copy {
            copies.name(draft, original);
        }
        Ok(plain)
    }

    /// Reads the sealed bytes of the block at `place` into `sealed`.
    fn read_sealed(&self, place: &Place, sealed: &mut [u8]) -> Result<()> {
        let offset = u64::from(place.block_offset);
        match &self.ahead {
            Some(ahead) => {
                let pack = self.kloset.index()?.pack(&place.pack);
                let end = pack.map(|pack| pack.size_bytes);
                ahead.read(place.pack, end, offset, sealed)
            }
            None => (self.kloset.store()).read_at(Area::Packs, place.pack, offset, sealed),
        }
    }
}

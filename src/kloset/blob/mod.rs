//! The data path: how a chunk gets into a store and out again.
//!
//! ```text
//! put  plain -> [1] id = keyed hash -> [2] known? stop -> [3] append to the open block
//!      -> [4] full block: compress, seal -> [5] append to the open pack
//!      -> [6] full pack: hand to the storing thread, which publishes it -> index
//! get  id -> [1] place (pack, block, offset) -> [2] read just that block -> [3] unseal,
//!      decompress -> [4] slice, recompute the id, or Corrupt
//! ```
//!
//! **Putting.** Every thread has a [`Packer`] with a block and a pack of its own, so no
//! lock is held per byte and chunks of neighboring files share a block. The packers of one
//! [write session](super::write_session) share the set of pending chunks.
//!
//! **Getting.** A [`BlobReader`] keeps a bounded number of decoded blocks. Two threads
//! that want the same block wait for one decoding of it. A chunk that is stored twice
//! is read from the second place when the first is damaged. Of a store behind a network,
//! blocks of trees are [copied](super::cache) to this machine, by whoever puts or gets them,
//! and other blocks are read [ahead](ahead) of need.

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

/// Chunks at which a block is sealed, however small they are.
const BLOCK_CHUNKS: usize = 1 << 14;

/// What became of a chunk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Put {
    /// It was not stored before.
    New,
    /// It is stored already, or on its way.
    Known,
}

/// A pack on its way to a storing thread.
pub struct Outgoing {
    pub(super) pack: FinishedPack,
    /// Copies of its blocks, with their offsets, that are named when the pack is published.
    pub(super) drafts: Vec<(u32, Draft)>,
}

/// One thread's open block and open pack.
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
    /// A packer with nothing open, whose packs go to the storing threads through `finished`.
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

    /// Seals what is open and hands the pack on, however small it is.
    pub fn flush(&mut self) -> Result<()> {
        self.seal_block()?;
        self.finish_pack()
    }

    /// Makes a sealed block of what was gathered, and appends it to the pack.
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

    /// Hands the pack to the storing threads.
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

/// Reads chunks, keeping the blocks that were decoded last. May be used from several threads.
pub struct BlobReader<'a> {
    kloset: &'a Kloset,
    /// Nothing if only the store itself is to be read.
    copies: Option<&'a Copies>,
    /// For a store behind a network.
    ahead: Option<Ahead>,
    decoded: Mutex<Decoded>,
    decoders: Mutex<Vec<(Decoder, Vec<u8>)>>,
}

impl<'a> BlobReader<'a> {
    /// A reader that keeps up to `limit_bytes` of decoded blocks.
    pub fn new(kloset: &'a Kloset, limit_bytes: usize) -> Result<BlobReader<'a>> {
        Ok(BlobReader {
            copies: kloset.copies(),
            ..BlobReader::of_store(kloset, limit_bytes)?
        })
    }

    /// The same, of the store itself: copies on this machine tell nothing of how it is.
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

    /// Length of the plain bytes of a chunk, without reading it; nothing if it is not stored.
    pub fn length(&self, id: &Id) -> Result<Option<u32>> {
        Ok(self
            .kloset
            .find(|index| index.lookup(id))?
            .map(|found| found.place.length))
    }

    /// Calls `use_it` with the plain bytes of the chunk.
    ///
    /// # Errors
    /// [`Kind::NotFound`] when no pack has it; when no copy is good, whatever is the matter with
    /// the last.
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

    /// The first of `places` that has the chunk, and its block.
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

    /// Every place the chunk is at; none if it is not stored.
    pub fn places(&self, id: &Id) -> Result<Vec<Place>> {
        let places = self
            .kloset
            .find(|index| Ok(Some(index.places(id)?).filter(|places| !places.is_empty())))?;
        Ok(places.unwrap_or_default())
    }

    /// Appends the plain bytes of the chunk to `out`.
    pub fn append(&self, id: &Id, out: &mut Vec<u8>) -> Result<()> {
        self.with(id, |plain| {
            out.extend_from_slice(plain);
            Ok(())
        })
    }

    /// The block that holds the chunk at `place`, once the chunk proved to be there. If it was
    /// read from a copy, that is thrown away, and the store asked.
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

    /// Throws away what is known of the block at `place`. False if there was no copy of it.
    fn forget_copy(&self, place: &Place) -> bool {
        let forgotten = self
            .copy_of(place)
            .is_some_and(|(copies, original)| copies.forget(original));
        if forgotten {
            lock(&self.decoded).forget(place);
        }
        forgotten
    }

    /// Where a copy of the block at `place` is, or would be: those of trees are worth one.
    fn copy_of(&self, place: &Place) -> Option<(&'a Copies, Original)> {
        let copies = self.copies?;
        let pack = self.kloset.index().ok()?.pack(&place.pack)?;
        let original = Original::Block(place.pack, place.block_offset);
        (pack.kind == PackKind::Tree).then_some((copies, original))
    }

    /// The decoded block at `place`, if need be decoded now.
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

    /// What the copy of the block at `place` holds, if there is a good one.
    fn decode_copy(&self, place: &Place, decoder: &mut Decoder) -> Option<Vec<u8>> {
        let (copies, original) = self.copy_of(place)?;
        let (mut sealed, mut plain) = (copies.read(original)?, Vec::new());
        let opened = decoder.decode(self.kloset.sealer(), Part::Block, &mut sealed, &mut plain);
        if opened.is_err() {
            copies.forget(original);
        }
        opened.ok().map(|()| plain)
    }

    /// What the block at `place` holds in the store. Of trees, a copy is kept.
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

    /// Fills `sealed` with the sealed bytes of the block at `place`.
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

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
//! lock is held per byte and chunks of neighbouring files share a block. What threads
//! share is [`Writing`]: which chunks are on their way, and the [`Ledger`] of packs
//! that no index object tells of yet. An index object is published when the ledger
//! holds a gibibyte, or many chunks, or is five minutes old, so an interrupted run
//! leaves at most that much for the next one to store again.
//!
//! **Getting.** A [`BlobReader`] keeps a bounded number of decoded blocks. Two threads
//! that want the same block wait for one decoding of it. A chunk that is stored twice
//! is read from the second place when the first is damaged.

use std::collections::{HashMap, HashSet};
use std::sync::mpsc::SyncSender;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use super::Kloset;
use super::codec::{Decoder, Encoder};
use super::index::{Index, Place};
use super::index_object;
use super::pack::{FinishedPack, PackWriter, read_table};
use super::pipeline::{lock, send};
use super::progress::{Counters, add};
use super::seal::Part;
use super::table::{ChunkEntry, PackKind, PackTable};
use crate::error::{During, Error, Kind, Result};
use crate::store::Area;
use crate::util::Id;

/// Plain bytes at which a block is sealed. A kernel tree takes 207 MB in blocks of 1 MiB, 202 in
/// these, 200 in 4 MiB, while the smallest file costs one block to read.
pub const BLOCK_BYTES: usize = 2 << 20;
/// Chunks at which a block is sealed, however small they are.
const BLOCK_CHUNKS: usize = 1 << 14;
/// Packed bytes after which an index object is published.
const LEDGER_BYTES: u64 = 1 << 30;
/// Chunks after which an index object is published, whatever their size: 100,000 take 4 MB of memory.
const LEDGER_CHUNKS: usize = 100_000;
/// Age at which an index object is published.
const LEDGER_AGE: Duration = Duration::from_secs(300);
/// Locks that the chunks on their way are spread over, so that workers rarely wait.
const SHARDS: usize = 64;

/// Blocks kept at most, however small they are: the one to drop is searched for in line.
const SLOTS: usize = 512;

/// What the threads that put chunks share.
pub struct Writing<'a> {
    kloset: &'a Kloset,
    index: &'a Index,
    level: i32,
    /// Chunks in blocks and packs that are not published yet.
    pending: [Mutex<HashSet<Id>>; SHARDS],
    ledger: Mutex<Ledger>,
    counters: &'a Counters,
}

/// Packs that are published, but that no index object tells of.
struct Ledger {
    tables: Vec<PackTable>,
    chunks: usize,
    bytes: u64,
    since: Instant,
}

impl Ledger {
    /// A ledger with nothing in it.
    fn new() -> Ledger {
        Ledger {
            tables: Vec::new(),
            chunks: 0,
            bytes: 0,
            since: Instant::now(),
        }
    }

    /// Whether an index object should be published now.
    fn is_due(&self) -> bool {
        self.bytes >= LEDGER_BYTES
            || self.chunks >= LEDGER_CHUNKS
            || self.since.elapsed() >= LEDGER_AGE
    }
}

impl<'a> Writing<'a> {
    /// A session of putting chunks into `kloset`, compressed at `level`.
    pub fn new(kloset: &'a Kloset, level: i32) -> Result<Writing<'a>> {
        Ok(Writing {
            kloset,
            index: kloset.index()?,
            level,
            pending: std::array::from_fn(|_| Mutex::default()),
            ledger: Mutex::new(Ledger::new()),
            counters: kloset.observer().counters(),
        })
    }

    /// Publishes `pack`, after which its chunks can be found. The storing thread's work.
    pub fn store(&self, pack: FinishedPack) -> Result<()> {
        let table = pack.publish()?;
        add(&self.counters.stored_bytes, table.size_bytes);
        self.index.insert(&table)?;
        for chunk in table.blocks.iter().flat_map(|block| &block.chunks) {
            lock(self.shard(&chunk.id)).remove(&chunk.id);
        }
        self.enter(table)
    }

    /// Takes in packs that were published by a backup that was killed before it could publish an
    /// index object, so that what it stored is not stored again.
    pub fn adopt(&self, packs: &HashSet<Id>) -> Result<()> {
        for pack in packs {
            match read_table(self.kloset.store(), self.kloset.sealer(), *pack) {
                Ok(table) => {
                    self.index.insert(&table)?;
                    self.enter(table)?;
                }
                // What cannot be read is no use to anyone, and check tells of it.
                Err(error) if error.is_of_one_object() => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Publishes an index object with whatever no other tells of yet.
    pub fn publish_index(&self) -> Result<()> {
        let ledger = std::mem::replace(&mut *lock(&self.ledger), Ledger::new());
        self.publish_ledger(ledger)
    }

    /// Whether the chunk is stored, or on its way.
    pub fn is_known(&self, id: &Id) -> Result<bool> {
        Ok(lock(self.shard(id)).contains(id) || self.kloset.look_up(|index| index.contains(id))?)
    }

    /// Notes a published pack, and publishes an index object when it is time.
    fn enter(&self, table: PackTable) -> Result<()> {
        let mut ledger = lock(&self.ledger);
        ledger.chunks += table.chunk_count();
        ledger.bytes += table.size_bytes;
        ledger.tables.push(table);
        if !ledger.is_due() {
            return Ok(());
        }
        let due = std::mem::replace(&mut *ledger, Ledger::new());
        drop(ledger);
        self.publish_ledger(due)
    }

    /// Publishes what `ledger` holds as one index object. If that fails, its packs are entered
    /// again, for another try when the backup ends.
    fn publish_ledger(&self, ledger: Ledger) -> Result<()> {
        if ledger.tables.is_empty() {
            return Ok(());
        }
        let published = index_object::publish(self.kloset, &ledger.tables);
        let (object, size_bytes) = match published {
            Ok(published) => published,
            Err(error) => {
                lock(&self.ledger).tables.extend(ledger.tables);
                return Err(error);
            }
        };
        add(&self.counters.stored_bytes, size_bytes);
        let packs: Vec<Id> = ledger.tables.iter().map(|table| table.pack).collect();
        self.index.cover(object, &packs);
        Ok(())
    }

    /// Claims the chunk for the caller to store. False when it is known already.
    fn claim(&self, id: Id) -> Result<bool> {
        if self.kloset.look_up(|index| index.contains(&id))? {
            return Ok(false);
        }
        Ok(lock(self.shard(&id)).insert(id))
    }

    /// The lock that `id` is behind.
    fn shard(&self, id: &Id) -> &Mutex<HashSet<Id>> {
        &self.pending[usize::from(id.0[31]) % SHARDS]
    }
}

/// What became of a chunk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Put {
    /// It was not stored before.
    New,
    /// It is stored already, or on its way.
    Known,
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
    finished: SyncSender<FinishedPack>,
}

impl<'a> Packer<'a> {
    /// A packer with nothing open, whose packs go to the storing thread through `finished`.
    pub fn new(
        writing: &'a Writing<'a>,
        kind: PackKind,
        finished: SyncSender<FinishedPack>,
    ) -> Result<Packer<'a>> {
        Ok(Packer {
            writing,
            kind,
            encoder: Encoder::new(writing.level)?,
            plain: Vec::new(),
            chunks: Vec::new(),
            sealed: Vec::new(),
            pack: None,
            finished,
        })
    }

    /// Stores the chunk `plain`, unless it is known.
    pub fn put(&mut self, plain: &[u8]) -> Result<(Id, Put)> {
        let id = self.writing.kloset.chunk_id(plain); // [1]
        if !self.writing.claim(id)? {
            return Ok((id, Put::Known)); // [2]
        }
        if self.plain.len() + plain.len() > BLOCK_BYTES || self.chunks.len() >= BLOCK_CHUNKS {
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
        pack.append(&self.sealed, std::mem::take(&mut self.chunks))?; // [5]
        self.plain.clear();
        match pack.is_full() {
            true => self.finish_pack(),
            false => Ok(()),
        }
    }

    /// Hands the pack to the storing thread.
    fn finish_pack(&mut self) -> Result<()> {
        let Some(pack) = self.pack.take() else {
            return Ok(());
        };
        let finished = pack.finish(
            self.writing.kloset.sealer(),
            &mut self.encoder,
            &mut self.sealed,
        )?;
        send(&self.finished, finished) // [6]
    }
}

/// A decoded block, shared by those who read from it.
type Block = Arc<Vec<u8>>;
/// Where a block is: its pack and its offset in it.
type BlockKey = (Id, u32);

/// Reads chunks, keeping the blocks that were decoded last. May be used from several threads.
pub struct BlobReader<'a> {
    kloset: &'a Kloset,
    cache: Mutex<Cache>,
    decoders: Mutex<Vec<(Decoder, Vec<u8>)>>,
}

/// Decoded blocks, by place, and in the order in which they were last used.
struct Cache {
    slots: HashMap<BlockKey, Slot>,
    clock: u64,
    bytes: usize,
    limit_bytes: usize,
}

/// One block of the cache: empty while somebody, who holds its lock, decodes it.
struct Slot {
    block: Arc<Mutex<Option<Block>>>,
    used: u64,
    bytes: usize,
}

impl<'a> BlobReader<'a> {
    /// A reader that keeps up to `limit_bytes` of decoded blocks.
    pub fn new(kloset: &'a Kloset, limit_bytes: usize) -> Result<BlobReader<'a>> {
        let cache = Cache {
            slots: HashMap::new(),
            clock: 0,
            bytes: 0,
            limit_bytes,
        };
        kloset.index()?;
        Ok(BlobReader {
            kloset,
            cache: Mutex::new(cache),
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

    /// The block that holds the chunk at `place`, once the chunk proved to be there.
    fn at(&self, id: &Id, place: &Place) -> Result<Block> {
        let read = || -> Result<Block> {
            let block = self.block(place)?;
            let end = place.start as usize + place.length as usize;
            if end > block.len() || self.kloset.chunk_id(slice(&block, place)) != *id {
                return Err(Error::corrupt(format!(
                    "chunk {} is not what was stored",
                    id.short()
                ))); // [4]
            }
            Ok(block)
        };
        read().during(|| {
            format!(
                "read pack {}: block at {}",
                place.pack.short(),
                place.block_offset
            )
        })
    }

    /// The decoded block at `place`, from the cache if it is there.
    fn block(&self, place: &Place) -> Result<Block> {
        let slot = lock(&self.cache).slot((place.pack, place.block_offset));
        let mut held = lock(&slot);
        if let Some(block) = &*held {
            return Ok(block.clone());
        }
        let decoded = self.decode(place);
        let mut cache = lock(&self.cache);
        match decoded {
            Ok(plain) => {
                let block = Arc::new(plain);
                *held = Some(block.clone());
                cache.filled((place.pack, place.block_offset), block.len());
                Ok(block)
            }
            Err(error) => {
                cache.slots.remove(&(place.pack, place.block_offset));
                Err(error)
            }
        }
    }

    /// Reads, unseals and decompresses the block at `place`.
    fn decode(&self, place: &Place) -> Result<Vec<u8>> {
        let idle = lock(&self.decoders).pop();
        let (mut decoder, mut sealed) = match idle {
            Some(idle) => idle,
            None => (Decoder::new()?, Vec::new()),
        };
        sealed.resize(place.sealed_bytes as usize, 0);
        let offset = u64::from(place.block_offset);
        self.kloset
            .store()
            .read_at(Area::Packs, place.pack, offset, &mut sealed)?; // [2]
        let mut plain = Vec::new();
        decoder.decode(self.kloset.sealer(), Part::Block, &mut sealed, &mut plain)?; // [3]
        lock(&self.decoders).push((decoder, sealed));
        Ok(plain)
    }
}

impl Cache {
    /// The slot for `key`, empty if it is new.
    fn slot(&mut self, key: BlockKey) -> Arc<Mutex<Option<Block>>> {
        self.clock += 1;
        let used = self.clock;
        let slot = self.slots.entry(key).or_insert_with(|| Slot {
            block: Arc::default(),
            used,
            bytes: 0,
        });
        slot.used = used;
        slot.block.clone()
    }

    /// Notes that the slot for `key` now holds `bytes`, and drops what was used longest ago.
    fn filled(&mut self, key: BlockKey, bytes: usize) {
        if let Some(slot) = self.slots.get_mut(&key) {
            self.bytes += bytes - slot.bytes;
            slot.bytes = bytes;
        }
        while self.bytes > self.limit_bytes || self.slots.len() > SLOTS {
            let idle = |(_, slot): &(&BlockKey, &Slot)| slot.bytes > 0;
            let oldest = self
                .slots
                .iter()
                .filter(idle)
                .min_by_key(|(_, slot)| slot.used)
                .map(|(key, _)| *key);
            let Some(slot) = oldest.and_then(|oldest| self.slots.remove(&oldest)) else {
                return;
            };
            self.bytes -= slot.bytes;
        }
    }
}

/// The bytes of the chunk at `place` in its block.
fn slice<'a>(block: &'a Block, place: &Place) -> &'a [u8] {
    &block[place.start as usize..][..place.length as usize]
}

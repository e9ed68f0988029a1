//! Checks objects against their names, and the contents of sealed parts against their ids.

use std::collections::{HashMap, HashSet};
use std::sync::mpsc::SyncSender;
use std::sync::{Mutex, PoisonError};
use std::thread;

use super::reading::Reading;
use super::{Context, Depth, Looked, Target};
use crate::error::{During, Error, Kind, Result};
use crate::format::codec::Decoder;
use crate::format::object::{check_name, misnamed};
use crate::format::pack_table::{BlockTable, PACK_HEADER_BYTES, PackKind, PackTable};
use crate::format::seal::Part;
use crate::format::slot;
use crate::kloset::claims::wrong_copies;
use crate::kloset::index::{Index, Known, PackInfo};
use crate::kloset::pack::{check_head, decode_tail, read_tail};
use crate::kloset::pipeline::{each_at_once, lock, send, shared_channel};
use crate::kloset::progress::{Event, add};
use crate::kloset::snapshot::{self, Stored};
use crate::kloset::{Kloset, connections, index_object, readers};
use crate::store::{Area, Object};
use crate::util::Id;

/// Maximum number of extra decoding threads that mainly wait for a remote store. Each has a few
/// blocks in memory.
const WORKERS_LIMIT: usize = 8;
/// Objects other than packs that are read concurrently: an index object may take about 10 MB of
/// memory.
const OBJECTS_AT_ONCE: usize = 4;
/// Bytes of an object that are read at a time by default.
const PART_BYTES: u64 = 1 << 20;

/// Checks every object that is small enough to be read at once, except snapshots.
pub(super) fn check_small(context: &Context<'_>, kloset: &Kloset) -> Result<()> {
    each_object(context, Area::Keys, |Object { id, .. }| {
        let outcome = whole(context, Area::Keys, id).and_then(|bytes| slot::inspect(&bytes));
        context.object(Area::Keys, id, outcome).map(drop)
    })?;
    each_object(context, Area::Index, |Object { id, .. }| {
        let outcome = whole(context, Area::Index, id)
            .and_then(|bytes| index_object::parse(kloset, id, bytes));
        if let Some(tables) = context.object(Area::Index, id, outcome)?.good() {
            lock(&context.claims).add(id, &tables);
        }
        Ok(())
    })?;
    each_object(
        context,
        Area::Condemned,
        |Object { id, size_bytes, .. }| {
            let outcome = hash(context, Area::Condemned, id, size_bytes);
            context.object(Area::Condemned, id, outcome).map(drop)
        },
    )
}

/// Calls `check` for every object of `area`, concurrently if the store supports it.
fn each_object(
    context: &Context<'_>,
    area: Area,
    check: impl Fn(Object) -> Result<()> + Sync,
) -> Result<()> {
    let at_once = connections(context.store).min(OBJECTS_AT_ONCE);
    let mut objects = Vec::new();
    listed(context, area, &mut |object| objects.push(object))?;
    objects.sort_by_key(|object| object.id);
    each_at_once(&objects, at_once, |object| check(*object))
}

/// Checks every snapshot object, and returns the readable snapshots.
pub(super) fn readable_snapshots(context: &Context<'_>, kloset: &Kloset) -> Result<Vec<Target>> {
    let readable = Mutex::new(Vec::new());
    each_object(context, Area::Snapshots, |object| {
        let id = object.id;
        let outcome = whole(context, Area::Snapshots, id)
            .and_then(|bytes| snapshot::parse(kloset, id, bytes));
        match context.object(Area::Snapshots, id, outcome)? {
            Looked::Good(mut snapshot) => {
                // The errors of many snapshots would need too much memory.
                snapshot.errors = Vec::new();
                lock(&readable).push(Stored {
                    object: id,
                    older: Vec::new(),
                    first: id,
                    published_ns: object.modified_ns,
                    snapshot,
                });
            }
            Looked::Damaged => context.count(|summary| {
                summary.snapshots += 1;
                summary.damaged_snapshots += 1;
            }),
            Looked::Gone => {}
        }
        Ok(())
    })?;
    let readable = readable
        .into_inner()
        .unwrap_or_else(PoisonError::into_inner);
    let whole = |stored| Target {
        stored,
        path: b"/".to_vec(),
    };
    Ok(snapshot::one_each(readable)
        .into_iter()
        .map(whole)
        .collect())
}

/// Checks every pack, and adds its good chunks to `good`.
pub(super) fn check_all_packs(
    context: &Context<'_>,
    kloset: &Kloset,
    condemned: &HashMap<Id, i64>,
    good: &Index,
) -> Result<()> {
    // The order matters: packs that the index knows existed before they were listed.
    let index = kloset.index()?;
    let packs = each(context, Area::Packs)?;
    expect(
        context,
        packs.iter().map(|(_, size_bytes)| size_bytes).sum(),
    );
    tell_of_unindexed(context, index, condemned, &packs)?;
    in_parallel(
        context,
        packs.into_iter(),
        |decoder, plain, (pack, size_bytes)| {
            let table = check_pack(context, kloset, decoder, plain, pack, size_bytes);
            let table = context.object(Area::Packs, pack, table)?;
            table.good().map_or(Ok(()), |table| good.insert(&table))
        },
    )?;
    for (object, packs) in lock(&context.claims).wrong() {
        context.object::<()>(Area::Index, object, Err(wrong_copies(packs)))?;
    }
    Ok(())
}

/// Checks the needed `packs`, and adds their good chunks to `good`. A missing pack is damage here.
pub(super) fn check_needed_packs(
    context: &Context<'_>,
    kloset: &Kloset,
    packs: HashSet<Id>,
    good: &Index,
) -> Result<()> {
    let needed = |pack: &PackInfo| packs.contains(&pack.id);
    let sizes = kloset.index()?.packs_in_use().filter(needed);
    expect(context, sizes.map(|pack| pack.size_bytes).sum());
    context.count(|summary| summary.objects += packs.len() as u64);
    in_parallel(context, packs.iter().copied(), |decoder, plain, pack| {
        let object = context.store.stat(Area::Packs, pack);
        let table = object.and_then(|Object { size_bytes, .. }| {
            check_pack(context, kloset, decoder, plain, pack, size_bytes)
        });
        let table = table.map_err(as_missing);
        let table = context.object(Area::Packs, pack, table)?;
        table.good().map_or(Ok(()), |table| good.insert(&table))
    })
}

/// Reports the expected number of bytes to the observer.
fn expect(context: &Context<'_>, bytes: u64) {
    if context.options.depth == Depth::Contents {
        add(&context.observer.counters().expected_bytes, bytes);
    }
}

/// Converts the error of a needed pack that does not exist.
fn as_missing(error: Error) -> Error {
    match error.kind() {
        Kind::NotFound => Error::corrupt("missing"),
        _ => error,
    }
}

/// Checks every object of every area against its name.
pub(super) fn check_names(context: &Context<'_>) -> Result<()> {
    let mut all = Vec::new();
    for area in Area::ALL {
        let listed = each(context, area)?;
        add(
            &context.observer.counters().expected_bytes,
            listed.iter().map(|(_, size_bytes)| size_bytes).sum(),
        );
        all.extend(
            listed
                .into_iter()
                .map(|(id, size_bytes)| (area, id, size_bytes)),
        );
    }
    in_parallel(context, all.into_iter(), |_, _, (area, id, size_bytes)| {
        let outcome = hash(context, area, id, size_bytes);
        context.object(area, id, outcome).map(drop)
    })
}

/// Calls `check` for every item, from several threads, each with its own decoder and buffer.
fn in_parallel<T: Send>(
    context: &Context<'_>,
    items: impl Iterator<Item = T>,
    check: impl Fn(&mut Decoder, &mut Vec<u8>, T) -> Result<()> + Sync,
) -> Result<()> {
    let (sender, queue) = shared_channel::<T>(1);
    thread::scope(|scope| {
        for _ in 0..readers(context.store, context.options.workers, WORKERS_LIMIT) {
            scope.spawn(|| {
                let mut decoder = context.trouble.note(Decoder::new());
                let mut plain = Vec::new();
                while let Some(item) = queue.next() {
                    if let (Some(decoder), Ok(())) = (&mut decoder, context.trouble.check()) {
                        context.trouble.note(check(decoder, &mut plain, item));
                    }
                }
            });
        }
        context.trouble.note(hand_out(context, items, sender));
    });
    context
        .trouble
        .check()
        .or_else(|_| context.trouble.outcome())
}

/// Sends every item to the workers, until an error occurs.
fn hand_out<T>(
    context: &Context<'_>,
    items: impl Iterator<Item = T>,
    sender: SyncSender<T>,
) -> Result<()> {
    for item in items {
        context.trouble.check()?;
        send(&sender, item)?;
    }
    Ok(())
}

/// The objects of `area`, sorted, with their sizes. Counts them.
fn each(context: &Context<'_>, area: Area) -> Result<Vec<(Id, u64)>> {
    let mut objects = Vec::new();
    listed(context, area, &mut |object| {
        objects.push((object.id, object.size_bytes));
    })?;
    objects.sort();
    Ok(objects)
}

/// Calls `take` with every object of `area`, and counts them.
fn listed(context: &Context<'_>, area: Area, take: &mut dyn FnMut(Object)) -> Result<()> {
    let mut count = 0;
    let listed = context.store.list(area, &mut |object| {
        count += 1;
        take(object);
        Ok(())
    });
    listed.during(|| format!("list {}", area.name()))?;
    context.count(|summary| summary.objects += count);
    Ok(())
}

/// The bytes of a small object, verified against its name.
pub(super) fn whole(context: &Context<'_>, area: Area, id: Id) -> Result<Vec<u8>> {
    let bytes = context.store.get(area, id)?;
    context.read(bytes.len() as u64);
    check_name(id, bytes)
}

/// Compares an object of any size with its name.
fn hash(context: &Context<'_>, area: Area, id: Id, size_bytes: u64) -> Result<()> {
    let mut hasher = blake3::Hasher::new();
    let mut part = vec![0; size_bytes.min(PART_BYTES) as usize];
    let mut offset = 0;
    while offset < size_bytes {
        context.trouble.check()?;
        part.truncate((size_bytes - offset).min(PART_BYTES) as usize);
        context.store.read_at(area, id, offset, &mut part)?;
        hasher.update(&part);
        context.read(part.len() as u64);
        offset += part.len() as u64;
    }
    match Id(*hasher.finalize().as_bytes()) == id {
        true => Ok(()),
        false => Err(misnamed()),
    }
}

/// Reports the packs that the index has, that are not condemned, and that are not among `packs`,
/// which are sorted. Then reports how many packs no index object covers, except condemned ones: an
/// interrupted backup left them, or an index object was lost. Their chunks are still found through
/// their footers.
fn tell_of_unindexed(
    context: &Context<'_>,
    index: &Index,
    condemned: &HashMap<Id, i64>,
    packs: &[(Id, u64)],
) -> Result<()> {
    for PackInfo { id, .. } in index.packs_in_use() {
        let is_listed = packs.binary_search_by_key(&id, |(pack, _)| *pack).is_ok();
        if !is_listed && !condemned.contains_key(&id) {
            context.object::<()>(Area::Packs, id, Err(Error::corrupt("missing")))?;
        }
    }
    let is_uncovered = |pack: &Id| index.knows(pack) == Known::No && !condemned.contains_key(pack);
    let count = packs.iter().filter(|(pack, _)| is_uncovered(pack)).count();
    if count > 0 {
        let packs = if count == 1 { "pack is" } else { "packs are" };
        let error = Error::corrupt(format!(
            "{count} {packs} in no index object; the next maintenance adds what is missing"
        ));
        context.observer.event(&Event::Warning(&error));
    }
    Ok(())
}

/// Checks a pack of `size_bytes`, and returns the table of its good chunks.
fn check_pack(
    context: &Context<'_>,
    kloset: &Kloset,
    decoder: &mut Decoder,
    plain: &mut Vec<u8>,
    pack: Id,
    size_bytes: u64,
) -> Result<PackTable> {
    let (table, tail) = match footer(context, kloset, pack, size_bytes) {
        Ok(footer) => footer,
        // Without a table, its blocks cannot be located. Its name can still be verified.
        Err(error) => {
            context.bad_pack(pack, &error);
            return Err(error.during("footer"));
        }
    };
    lock(&context.claims).compare(&table);
    if context.options.depth == Depth::Structure && table.kind == PackKind::Data {
        return Ok(table);
    }
    let mut check = PackCheck {
        context,
        kloset,
        decoder,
        plain,
        hasher: blake3::Hasher::new(),
        sealed: Vec::new(),
        reading: Reading::new(context.store, &table),
    };
    let good = check
        .blocks(&table)
        .inspect_err(|error| context.bad_pack(pack, error))?;
    check.hasher.update(&tail);
    if Id(*check.hasher.finalize().as_bytes()) != pack {
        context.bad_pack(pack, &misnamed());
        context.object::<()>(Area::Packs, pack, Err(misnamed()))?;
    }
    context.whole_pack(pack);
    Ok(PackTable {
        blocks: good,
        ..table
    })
}

/// The table of a pack, and the bytes from which it was read.
fn footer(
    context: &Context<'_>,
    kloset: &Kloset,
    pack: Id,
    size_bytes: u64,
) -> Result<(PackTable, Vec<u8>)> {
    let tail = read_tail(context.store, pack, size_bytes)?;
    context.read(tail.len() as u64);
    let table = decode_tail(kloset.sealer(), pack, size_bytes, tail.clone())?;
    Ok((table, tail))
}

/// A walk through the blocks of one pack.
struct PackCheck<'a, 'b> {
    context: &'a Context<'a>,
    kloset: &'a Kloset,
    decoder: &'b mut Decoder,
    plain: &'b mut Vec<u8>,
    hasher: blake3::Hasher,
    sealed: Vec<u8>,
    reading: Reading<'a>,
}

impl PackCheck<'_, '_> {
    /// Checks every block, and returns the blocks with only their good chunks.
    fn blocks(&mut self, table: &PackTable) -> Result<Vec<BlockTable>> {
        self.reading.next(PACK_HEADER_BYTES, &mut self.sealed)?;
        self.hasher.update(&self.sealed);
        check_head(&self.sealed)?;
        let mut good = Vec::with_capacity(table.blocks.len());
        for (offset, block) in table.offsets() {
            self.context.trouble.check()?;
            self.reading.next(block.sealed_bytes, &mut self.sealed)?;
            self.context.read(self.sealed.len() as u64);
            self.hasher.update(&self.sealed);
            let outcome = self
                .block(block)
                .inspect_err(|error| self.context.bad_pack(table.pack, error))
                .during(|| format!("block at {offset}"));
            let is_good = self
                .context
                .object(Area::Packs, table.pack, outcome)?
                .good()
                .is_some();
            good.push(if is_good {
                block.clone()
            } else {
                forgotten(block)
            });
        }
        Ok(good)
    }

    /// Checks the block that was just read.
    fn block(&mut self, block: &BlockTable) -> Result<()> {
        self.decoder.decode(
            self.kloset.sealer(),
            Part::Block,
            &mut self.sealed,
            self.plain,
        )?;
        let mut rest = self.plain.as_slice();
        for chunk in &block.chunks {
            let (plain, after) = rest
                .split_at_checked(chunk.length as usize)
                .ok_or_else(|| Error::corrupt("shorter than its chunks"))?;
            if self.kloset.chunk_id(plain) != chunk.id {
                return Err(Error::corrupt(format!(
                    "chunk {} is not what was stored",
                    chunk.id.short()
                )));
            }
            rest = after;
        }
        match rest {
            [] => Ok(()),
            _ => Err(Error::corrupt("longer than its chunks")),
        }
    }
}

/// A damaged block without its chunks. Its size is kept, so that later blocks are found.
fn forgotten(block: &BlockTable) -> BlockTable {
    BlockTable {
        sealed_bytes: block.sealed_bytes,
        chunks: Vec::new(),
    }
}

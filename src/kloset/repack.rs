//! Moves chunks within a store: out of packs that will be deleted, into new ones.
//!
//! Before that, the packs that will be deleted are hidden from the index. A chunk is *kept* if a
//! pack that is not hidden contains it. A kept chunk is not stored again.

use std::ops::ControlFlow;

use super::Kloset;
use super::blob::{BlobReader, Packer, Put};
use super::index::Place;
use super::pipeline::Trouble;
use super::write_session::write_session;
use crate::error::{Error, Kind, Result};
use crate::format::pack_table::PackKind;
use crate::util::Id;
use crate::util::interrupt::Interrupt;

/// Size of the cache of decoded blocks. It is small, because chunks mostly arrive in storage order.
const CACHE_BYTES: usize = 8 << 20;

/// Copies chunks into new packs.
pub(crate) struct Copier<'a> {
    kloset: &'a Kloset,
    blobs: BlobReader<'a>,
    data: Packer<'a>,
    trees: Packer<'a>,
    trouble: &'a Trouble,
    /// Plain bytes that were stored.
    pub(crate) copied_bytes: u64,
}

/// Runs `work` with a [`Copier`]. On return, and not earlier, the copied chunks are in published
/// packs that index objects list.
pub(crate) fn copying<T>(
    kloset: &Kloset,
    interrupt: &Interrupt,
    work: impl FnOnce(&mut Copier<'_>) -> Result<T>,
) -> Result<T> {
    let trouble = Trouble::new(interrupt.clone());
    let level = kloset.config().compression;
    let outcome = write_session(kloset, level, 1, &trouble, |session| {
        let moved = || -> Result<T> {
            let mut copier = Copier {
                kloset,
                blobs: BlobReader::of_store(kloset, CACHE_BYTES)?,
                data: session.packer(PackKind::Data)?,
                trees: session.packer(PackKind::Tree)?,
                trouble: &trouble,
                copied_bytes: 0,
            };
            let value = work(&mut copier)?;
            copier.data.flush()?;
            copier.trees.flush()?;
            Ok(value)
        };
        trouble.note(moved())
    })?;
    trouble.outcome()?;
    Ok(outcome.expect("without trouble there is an outcome"))
}

impl Copier<'_> {
    /// Ensures that a pack that is not hidden contains the chunk. If only hidden packs contain it,
    /// the chunk is copied to a pack of this `kind`.
    pub(crate) fn keep(&mut self, id: &Id, kind: PackKind) -> Result<()> {
        if self.kloset.look_up(|index| index.contains(id))? {
            return Ok(());
        }
        let plain = self.read_hidden(id)?;
        self.put(&plain, kind)
    }

    /// Copies the chunk at `place` to a pack of this `kind`, unless it is kept.
    pub(crate) fn copy(&mut self, id: &Id, place: &Place, kind: PackKind) -> Result<()> {
        let mut plain = Vec::with_capacity(place.length as usize);
        self.blobs.with_at(id, place, |bytes| {
            plain.extend_from_slice(bytes);
            Ok(())
        })?;
        self.put(&plain, kind)
    }

    /// The plain bytes of the chunk, from any pack, hidden or not.
    pub(crate) fn read(&self, id: &Id) -> Result<Vec<u8>> {
        if !self.kloset.look_up(|index| index.contains(id))? {
            return self.read_hidden(id);
        }
        let mut plain = Vec::new();
        self.blobs.append(id, &mut plain)?;
        Ok(plain)
    }

    /// Stores a chunk, unless it is kept.
    fn put(&mut self, plain: &[u8], kind: PackKind) -> Result<()> {
        self.trouble.check()?;
        let packer = match kind {
            PackKind::Data => &mut self.data,
            PackKind::Tree => &mut self.trees,
        };
        if packer.put(plain)?.1 == Put::New {
            self.copied_bytes += plain.len() as u64;
        }
        Ok(())
    }

    /// The plain bytes of a chunk that only hidden packs contain.
    fn read_hidden(&self, id: &Id) -> Result<Vec<u8>> {
        let mut places = Vec::new();
        self.kloset.index()?.each_copy(id, &mut |copy| {
            places.push(copy.place);
            ControlFlow::Continue(())
        })?;
        let nowhere = format!("chunk {} is in no pack", id.short());
        let mut trouble = Error::new(Kind::NotFound, nowhere);
        for place in places {
            let mut plain = Vec::new();
            let read = self.blobs.with_at(id, &place, |bytes| {
                plain.extend_from_slice(bytes);
                Ok(())
            });
            match read {
                Ok(()) => return Ok(plain),
                Err(error) if error.is_of_one_object() => trouble = error,
                Err(error) => return Err(error),
            }
        }
        Err(trouble)
    }
}

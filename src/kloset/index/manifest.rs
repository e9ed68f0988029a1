//! The manifest: the list of the contents of a saved cache. It is written last, as a whole, and
//! replaces the previous one by rename, so the cache changes atomically.
//!
//! ```text
//! magic      8 bytes, with the version of the format
//! counts     packs u32 | segments u32 | objects u32
//! packs      state u8 (0 free, 1 dead, 2 data, 3 tree) | and if alive: id 32, size u32
//! segments   name u64 | records u64 | length of the file u64
//! objects    id 32 | runs u32 | of each run: first pack u32, packs u32
//! checksum   BLAKE3 of all before it, 32 bytes
//! ```
//!
//! Files are not synced. After a power failure, the manifest may be incomplete, or list segments
//! whose bytes never reached the disk. Checksums detect this, and the cache starts empty. This
//! costs time, but never data.
//!
//! The manifest is read and written as a stream. With a million packs it has 37 MB.

use std::io::{BufReader, BufWriter, Read, Write};

use super::PackInfo;
use super::packs::{Packs, Run, Slot};
use super::segment::Segment;
use crate::error::{Error, Result};
use crate::format::pack_table::PackKind;
use crate::util::Id;

/// The last digit is the version. Other versions are not read.
const MAGIC: &[u8; 8] = b"PLKIDX01";
/// Maximum number of segments that a manifest can list. A valid cache never reaches it: it has at
/// most the number of tiers times the fan-in.
const MAX_SEGMENTS: u32 = 1 << 16;

/// A segment as the manifest lists it.
pub(super) struct SegmentName {
    pub(super) name: u64,
    pub(super) records: u64,
    pub(super) file_bytes: u64,
}

/// Writes the manifest of a cache of these packs and segments.
pub(super) fn write<'a>(
    to: impl Write,
    packs: &Packs,
    segments: impl ExactSizeIterator<Item = &'a Segment>,
) -> Result<()> {
    let mut to = Summed {
        inner: BufWriter::new(to),
        hasher: blake3::Hasher::new(),
    };
    to.write_all(MAGIC)?;
    let objects = packs.written_objects().count();
    for count in [packs.len(), segments.len(), objects] {
        to.write_all(&(count as u32).to_le_bytes())?;
    }
    for number in 0..packs.len() {
        write_slot(&mut to, packs.slot(number))?;
    }
    for segment in segments {
        for number in [segment.name, segment.records, segment.file_bytes] {
            to.write_all(&number.to_le_bytes())?;
        }
    }
    for (object, runs) in packs.written_objects() {
        write_object(&mut to, object, runs)?;
    }
    let sum = *to.hasher.finalize().as_bytes();
    to.inner.write_all(&sum)?;
    Ok(to.inner.flush()?)
}

/// Reads a manifest.
///
/// # Errors
/// [`Corrupt`](crate::error::Kind::Corrupt) unless every byte is what [`write`] wrote.
pub(super) fn read(from: impl Read) -> Result<(Packs, Vec<SegmentName>)> {
    let mut from = Summed {
        inner: BufReader::new(from),
        hasher: blake3::Hasher::new(),
    };
    if bytes::<8>(&mut from)? != *MAGIC {
        return Err(Error::corrupt("the index cache is of another format"));
    }
    let counts = [number(&mut from)?, number(&mut from)?, number(&mut from)?];
    let contents = read_contents(&mut from, counts)?;
    let sum = *from.hasher.finalize().as_bytes();
    if bytes::<32>(&mut from)? != sum || from.inner.read(&mut [0])? != 0 {
        return Err(damaged());
    }
    Ok(contents)
}

fn read_contents(from: &mut impl Read, counts: [u32; 3]) -> Result<(Packs, Vec<SegmentName>)> {
    // Memory is allocated while the file is read, never in advance according to a count.
    let mut packs = Packs::default();
    let [slots, segments, objects] = counts;
    for _ in 0..slots {
        packs.restore_slot(read_slot(from)?);
    }
    if segments > MAX_SEGMENTS {
        return Err(damaged());
    }
    let segments = (0..segments)
        .map(|_| read_segment(from))
        .collect::<Result<_>>()?;
    for _ in 0..objects {
        let (object, runs) = read_object(from)?;
        packs.restore_object(object, runs).ok_or_else(damaged)?;
    }
    packs.restored();
    Ok((packs, segments))
}

fn write_slot(to: &mut impl Write, slot: Slot) -> Result<()> {
    let (state, pack) = match slot {
        Slot::Free => (0, None),
        Slot::Dead => (1, None),
        Slot::Live(
            pack @ PackInfo {
                kind: PackKind::Data,
                ..
            },
        ) => (2, Some(pack)),
        Slot::Live(
            pack @ PackInfo {
                kind: PackKind::Tree,
                ..
            },
        ) => (3, Some(pack)),
    };
    to.write_all(&[state])?;
    if let Some(pack) = pack {
        to.write_all(&pack.id.0)?;
        to.write_all(&(pack.size_bytes as u32).to_le_bytes())?;
    }
    Ok(())
}

fn read_slot(from: &mut impl Read) -> Result<Slot> {
    let kind = match bytes::<1>(from)? {
        [0] => return Ok(Slot::Free),
        [1] => return Ok(Slot::Dead),
        [2] => PackKind::Data,
        [3] => PackKind::Tree,
        _ => return Err(damaged()),
    };
    let id = Id(bytes(from)?);
    Ok(Slot::Live(PackInfo {
        id,
        size_bytes: number(from)?.into(),
        kind,
    }))
}

fn read_segment(from: &mut impl Read) -> Result<SegmentName> {
    let mut number = || Ok::<_, Error>(u64::from_le_bytes(bytes(from)?));
    Ok(SegmentName {
        name: number()?,
        records: number()?,
        file_bytes: number()?,
    })
}

fn write_object(to: &mut impl Write, object: &Id, runs: &[Run]) -> Result<()> {
    to.write_all(&object.0)?;
    to.write_all(&(runs.len() as u32).to_le_bytes())?;
    for run in runs {
        to.write_all(&run.first.to_le_bytes())?;
        to.write_all(&run.count.to_le_bytes())?;
    }
    Ok(())
}

fn read_object(from: &mut impl Read) -> Result<(Id, Vec<Run>)> {
    let object = Id(bytes(from)?);
    let mut runs = Vec::new();
    for _ in 0..number(from)? {
        runs.push(Run {
            first: number(from)?,
            count: number(from)?,
        });
    }
    runs.shrink_to_fit();
    Ok((object, runs))
}

fn number(from: &mut impl Read) -> Result<u32> {
    Ok(u32::from_le_bytes(bytes(from)?))
}

fn bytes<const LENGTH: usize>(from: &mut impl Read) -> Result<[u8; LENGTH]> {
    let mut bytes = [0; LENGTH];
    from.read_exact(&mut bytes)?;
    Ok(bytes)
}

fn damaged() -> Error {
    Error::corrupt("the manifest of the index cache is damaged")
}

/// Hashes the bytes that are read or written through it.
struct Summed<T> {
    inner: T,
    hasher: blake3::Hasher,
}

impl<T: Write> Write for Summed<T> {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        let written = self.inner.write(bytes)?;
        self.hasher.update(&bytes[..written]);
        Ok(written)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        self.inner.flush()
    }
}

impl<T: Read> Read for Summed<T> {
    fn read(&mut self, bytes: &mut [u8]) -> std::io::Result<usize> {
        let read = self.inner.read(bytes)?;
        self.hasher.update(&bytes[..read]);
        Ok(read)
    }
}

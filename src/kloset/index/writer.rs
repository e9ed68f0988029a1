//! Writes a segment, record by record, in ascending order.
//!
//! The memory use is one page, the keys of one group (2 MiB) and the fences, regardless of the
//! number of records. Filters are built group by group (8 MiB during that) and written immediately.
//! An unfinished segment leaves no file.
//!
//! The layout is described in `segment.rs`. Change both or neither.

use std::fs::{self, File};
use std::io::{BufWriter, Write};

use super::filter::Filter;
use super::home::{Home, NewFile, Preference};
use super::record::{
    PAGE_BYTES, PAGE_RECORDS, RECORD_BYTES, Record, checksum, fence_key, filter_key, seal_page,
};
use super::segment::{GROUP_PAGES, Segment, filter_seed, page_seed};
use crate::error::{During, Kind, Result};

/// Size of the write buffer: 64 pages, so that there are few large writes.
const BUFFER_BYTES: usize = 1 << 18;

/// A segment that is being written.
pub(super) struct SegmentWriter {
    to: BufWriter<File>,
    draft: Draft,
    page: Vec<u8>,
    keys: Vec<u64>,
    fences: Vec<u32>,
    filter_lengths: Vec<u8>,
    records: u64,
    file_bytes: u64,
}

/// Deletes the file on drop unless it was finished, most importantly on a full disk.
struct Draft(Option<NewFile>);

impl Drop for Draft {
    fn drop(&mut self) {
        if let Some(path) = self.0.take().and_then(|new| new.path) {
            let _ = fs::remove_file(path);
        }
    }
}

/// Writes the records that `fill` pushes as a segment. Returns `None` if there are none.
///
/// The segment is written to the directory. If the directory is full or missing, it is written to a
/// temporary directory. If that fails too, it is written to memory. `fill` may be called several
/// times.
pub(super) fn write_segment(
    home: &Home,
    fill: impl Fn(&mut SegmentWriter) -> Result<()>,
) -> Result<Option<Segment>> {
    let attempt = |place| {
        let mut writer = SegmentWriter::create(home.create_segment(place)?)?;
        fill(&mut writer)?;
        writer.finish()
    };
    let outcome = match attempt(Preference::Directory) {
        // Return the first error, because it is the one that the user can act on.
        Err(cause) if cause.kind() != Kind::Corrupt => attempt(Preference::Elsewhere)
            .or_else(|_| attempt(Preference::Memory))
            .map_err(|_| cause),
        outcome => return outcome,
    };
    outcome.during(|| "write the index cache")
}

impl SegmentWriter {
    fn create(new: NewFile) -> Result<SegmentWriter> {
        let to = BufWriter::with_capacity(BUFFER_BYTES, new.file.try_clone()?);
        Ok(SegmentWriter {
            to,
            draft: Draft(Some(new)),
            page: Vec::with_capacity(PAGE_BYTES),
            keys: Vec::new(),
            fences: Vec::new(),
            filter_lengths: Vec::new(),
            records: 0,
            file_bytes: 0,
        })
    }

    /// Appends a record, which must not sort before the previous one.
    pub(super) fn push(&mut self, record: &Record) -> Result<()> {
        if self.page.is_empty() {
            self.fences.push(fence_key(&record.prefix));
        }
        let mut bytes = [0; RECORD_BYTES];
        record.encode(&mut bytes);
        self.page.extend_from_slice(&bytes);
        self.keys.push(filter_key(&record.prefix));
        self.records += 1;
        if self.page.len() == PAGE_RECORDS * RECORD_BYTES {
            self.end_page()?;
        }
        Ok(())
    }

    fn end_page(&mut self) -> Result<()> {
        let number = self.fences.len() - 1;
        self.page.resize(PAGE_BYTES, 0);
        let seed = page_seed(self.name(), number);
        seal_page(&mut self.page, seed);
        self.to.write_all(&self.page)?;
        self.file_bytes += PAGE_BYTES as u64;
        self.page.clear();
        if self.fences.len().is_multiple_of(GROUP_PAGES) {
            self.end_group()?;
        }
        Ok(())
    }

    fn end_group(&mut self) -> Result<()> {
        let group = self.filter_lengths.len() / 4;
        let seed = filter_seed(self.name(), group);
        let filter = Filter::build(&mut self.keys).encode(seed);
        self.keys.clear();
        self.to.write_all(&filter)?;
        self.filter_lengths
            .extend((filter.len() as u32).to_le_bytes());
        self.file_bytes += filter.len() as u64;
        Ok(())
    }

    fn finish(mut self) -> Result<Option<Segment>> {
        if self.records == 0 {
            return Ok(None);
        }
        if !self.page.is_empty() {
            self.end_page()?;
        }
        if !self.keys.is_empty() {
            self.end_group()?;
        }
        self.write_tail()?;
        let SegmentWriter {
            to,
            mut draft,
            records,
            file_bytes,
            ..
        } = self;
        drop(to);
        let new = draft.0.take().expect("finish is the only one to take it");
        let path = new.path.clone();
        let segment = Segment::open(new, records, file_bytes);
        if let (Err(_), Some(path)) = (&segment, path) {
            let _ = fs::remove_file(path);
        }
        segment.map(Some)
    }

    fn write_tail(&mut self) -> Result<()> {
        let mut tail: Vec<u8> = self
            .fences
            .iter()
            .flat_map(|fence| fence.to_le_bytes())
            .collect();
        tail.extend_from_slice(&self.filter_lengths);
        tail.extend(checksum(self.name(), &tail).to_le_bytes());
        self.file_bytes += tail.len() as u64;
        self.to.write_all(&tail)?;
        self.to.flush().during(|| "write the index cache")
    }

    fn name(&self) -> u64 {
        self.draft.0.as_ref().map_or(0, |new| new.name)
    }
}

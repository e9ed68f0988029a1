//! Writes a segment, record by record, in ascending order.
//!
//! Holds one page, one group's keys (2 MiB) and the fences, whatever the length:
//! filters are built group by group (8 MiB while one is) and written at once.
//! A segment that is not finished leaves no file behind.
//!
//! The layout is drawn in `segment.rs`; change both or neither.

use std::fs::{self, File};
use std::io::{BufWriter, Write};

use super::filter::Filter;
use super::home::{Home, NewFile, Preference};
use super::record::{
    PAGE_BYTES, PAGE_RECORDS, RECORD_BYTES, Record, checksum, fence_key, filter_key, seal_page,
};
use super::segment::{GROUP_PAGES, Segment, filter_seed, page_seed};
use crate::error::{During, Kind, Result};

/// Few large writes: 64 pages.
const BUFFER_BYTES: usize = 1 << 18;

/// A segment in the making.
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

/// Removes the file unless it was finished: on a full disk above all.
struct Draft(Option<NewFile>);

impl Drop for Draft {
    fn drop(&mut self) {
        if let Some(path) = self.0.take().and_then(|new| new.path) {
            let _ = fs::remove_file(path);
        }
    }
}

/// Writes what `fill` pushes as a segment: in the directory; if that fails because it is full
/// or missing, in a temporary directory; and if that fails too, in memory. `None` if nothing was
/// pushed.
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
        // What the user can act on is the first cause, not the others.
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

    /// Appends a record, which must not be below the one before.
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

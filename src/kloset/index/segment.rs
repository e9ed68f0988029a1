//! A segment: an immutable file of sorted records. A chunk is found with one read. If the chunk is
//! not in the segment, usually no read is needed.
//!
//! ```text
//! group 0:  2304 pages | filter
//! group 1:  2304 pages | filter
//! ...       the last group has what pages are left
//! tail:     fences, u32 a page | length of each filter, u32 a group | checksum u64
//! ```
//!
//! A fence is the first four bytes of the first id of a page. Fences are kept in memory: 4 bytes
//! for 113 records. Four bytes are enough. With 100 million records, one lookup in 5,000 finds a
//! fence that equals its key by chance, and may read one more page. Eight bytes would need 0.035
//! bytes per chunk more, of 2 in total.
//!
//! A lookup first finds the fence. Ids are evenly distributed, so the position of a fence can be
//! estimated by interpolation, to within the square root of the number of fences. A search from
//! there touches few cache lines. The lookup then queries the filter of the group. Only then is the
//! page read and its checksum verified. Besides fences and filters, only a small fixed number of
//! pages is kept in memory (see `kept`). The other pages are in the page cache of the system, which
//! can evict them.
//!
//! All offsets follow from the number of records and the lengths of the filters, so there is little
//! in the file that could be wrong. The length of the file must match.
//!
//! This module knows nothing about packs: it finds records, alive or dead.

use std::fs::{self, File};
use std::ops::ControlFlow;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use super::filter::{Filter, MAX_FILTER_BYTES};
use super::home::NewFile;
use super::kept::Kept;
use super::record::{
    PAGE_BYTES, PAGE_RECORDS, Page, Prefix, Record, checksum, fence_key, filter_key, page_is_sound,
    records_in, u32_at, u64_at,
};
use crate::error::{During, Error, Result};

/// Maximum number of pages in a group: 260,352 records. See `filter` for the reason.
pub(super) const GROUP_PAGES: usize = 2304;
/// Maximum number of records in a segment. 2^32 records would be a store of a petabyte, with fences
/// of 150 MB; a manifest with more is damaged.
pub(super) const MAX_RECORDS: u64 = 1 << 32;

/// A file of sorted records.
pub(super) struct Segment {
    file: File,
    pub(super) name: u64,
    /// The path of the file; `None` if it has no name that a manifest could list.
    pub(super) path: Option<PathBuf>,
    pub(super) records: u64,
    pub(super) file_bytes: u64,
    fences: Vec<u32>,
    groups: Vec<Group>,
    kept: Kept,
    page_reads: AtomicU64,
    saved: AtomicBool,
}

/// No other process can use a segment that no manifest lists.
impl Drop for Segment {
    fn drop(&mut self) {
        if let (Some(path), false) = (&self.path, self.saved.load(Ordering::Relaxed)) {
            let _ = fs::remove_file(path);
        }
    }
}

/// A run of pages and the filter after it.
struct Group {
    offset: u64,
    pages: usize,
    filter_bytes: usize,
    /// Empty until it is loaded. A merge drops the filters of its sources first, so that both are
    /// never in memory at the same time. Without the filter, lookups read a page.
    filter: OnceLock<Filter>,
}

impl Segment {
    /// Opens a segment whose size is known from its writer or from the manifest. Filters are not
    /// loaded yet.
    ///
    /// # Errors
    /// [`Corrupt`](crate::error::Kind::Corrupt) if the file is not what was written.
    pub(super) fn open(new: NewFile, records: u64, file_bytes: u64) -> Result<Segment> {
        if records == 0 || records > MAX_RECORDS || new.file.metadata()?.len() != file_bytes {
            return Err(damaged("its length"));
        }
        let pages = (records as usize).div_ceil(PAGE_RECORDS);
        let tail = read_tail(&new, pages, file_bytes)?;
        let fences = (0..pages).map(|page| u32_at(&tail, 4 * page)).collect();
        let groups = groups(&tail[4 * pages..], pages, file_bytes - tail.len() as u64)?;
        let NewFile { file, name, path } = new;
        let (page_reads, saved) = (AtomicU64::new(0), AtomicBool::new(false));
        Ok(Segment {
            file,
            name,
            path,
            records,
            file_bytes,
            fences,
            groups,
            kept: Kept::new(pages),
            page_reads,
            saved,
        })
    }

    /// Records that a manifest lists the segment, so that its file is kept.
    pub(super) fn mark_saved(&self) {
        self.saved.store(true, Ordering::Relaxed);
    }

    /// Loads the filters into memory.
    pub(super) fn load_filters(&self) -> Result<()> {
        for (number, group) in self.groups.iter().enumerate() {
            let mut bytes = vec![0; group.filter_bytes];
            let at = group.offset + (group.pages * PAGE_BYTES) as u64;
            self.file
                .read_exact_at(&mut bytes, at)
                .during(|| "read a filter of the cache")?;
            let filter = Filter::decode(&bytes, filter_seed(self.name, number))?;
            let _ = group.filter.set(filter);
        }
        Ok(())
    }

    /// Calls `take` with every record with this `prefix` and its position in the segment, until it
    /// breaks.
    pub(super) fn find(
        &self,
        prefix: &Prefix,
        take: &mut dyn FnMut(Record, u64) -> ControlFlow<()>,
    ) -> Result<ControlFlow<()>> {
        let key = fence_key(prefix);
        // Start with the last page that begins below the key, and continue with the pages that
        // begin with the key: the copies of one chunk can fill more than one page.
        let mut number = fences_below(&self.fences, key).saturating_sub(1);
        while self.fences.get(number).is_some_and(|fence| *fence <= key) {
            if self.may_hold(number, prefix) && self.find_in_page(number, prefix, take)?.is_break()
            {
                return Ok(ControlFlow::Break(()));
            }
            number += 1;
        }
        Ok(ControlFlow::Continue(()))
    }

    fn may_hold(&self, number: usize, prefix: &Prefix) -> bool {
        let filter = self.groups[number / GROUP_PAGES].filter.get();
        filter.is_none_or(|filter| filter.may_hold(filter_key(prefix)))
    }

    fn find_in_page(
        &self,
        number: usize,
        prefix: &Prefix,
        take: &mut dyn FnMut(Record, u64) -> ControlFlow<()>,
    ) -> Result<ControlFlow<()>> {
        let mut buffer = [0; PAGE_BYTES];
        let page = match self.kept.get(number) {
            Some(page) => page,
            None => {
                self.read_page(number, &mut buffer)?;
                self.kept.keep(number, &buffer);
                &buffer
            }
        };
        let records = records_in(page, self.records_of_page(number));
        let first = records.partition_point(|record| record[..prefix.len()] < prefix[..]);
        for (place, bytes) in records.iter().enumerate().skip(first) {
            let record = Record::decode(bytes);
            if record.prefix != *prefix {
                break;
            }
            if take(record, (number * PAGE_RECORDS + place) as u64).is_break() {
                return Ok(ControlFlow::Break(()));
            }
        }
        Ok(ControlFlow::Continue(()))
    }

    fn read_page(&self, number: usize, page: &mut Page) -> Result<()> {
        self.page_reads.fetch_add(1, Ordering::Relaxed);
        let group = &self.groups[number / GROUP_PAGES];
        let at = group.offset + (number % GROUP_PAGES * PAGE_BYTES) as u64;
        // An unreadable page is as lost as a damaged one. A defective disk is not a reason to stop,
        // because the store still has the contents of the page.
        self.file
            .read_exact_at(page, at)
            .map_err(|cause| Error::corrupt(format!("read the cache: {cause}")))?;
        match page_is_sound(page, page_seed(self.name, number)) {
            true => Ok(()),
            false => Err(damaged("a page")),
        }
    }

    /// Appends the records of up to `pages` pages, from page `number` on, to `to`. Returns the
    /// number of pages read; 0 after the last page.
    pub(super) fn read_run(
        &self,
        number: usize,
        pages: usize,
        to: &mut Vec<Record>,
    ) -> Result<usize> {
        let last = self.fences.len().min(number + pages);
        let mut page = [0; PAGE_BYTES];
        for number in number..last {
            self.read_page(number, &mut page)?;
            to.extend(
                records_in(&page, self.records_of_page(number))
                    .iter()
                    .map(Record::decode),
            );
        }
        Ok(last.saturating_sub(number))
    }

    /// Every page is full except the last one.
    fn records_of_page(&self, number: usize) -> usize {
        (self.records as usize - number * PAGE_RECORDS).min(PAGE_RECORDS)
    }

    /// Number of pages read, which shows whether the filters are worth their memory.
    pub(super) fn page_reads(&self) -> u64 {
        self.page_reads.load(Ordering::Relaxed)
    }

    /// Memory use of fences, filters and their containers, in bytes. Kept pages are not included:
    /// their number is limited for all segments together.
    pub(super) fn memory_bytes(&self) -> usize {
        let filter =
            |group: &Group| group.filter.get().map_or(0, Filter::memory_bytes) + size_of::<Group>();
        4 * self.fences.capacity() + self.groups.iter().map(filter).sum::<usize>()
    }
}

/// Reads and verifies the tail of a segment of `pages` pages.
fn read_tail(new: &NewFile, pages: usize, file_bytes: u64) -> Result<Vec<u8>> {
    let length = 4 * pages + 4 * pages.div_ceil(GROUP_PAGES) + 8;
    let at = file_bytes
        .checked_sub(length as u64)
        .ok_or_else(|| damaged("its length"))?;
    let mut tail = vec![0; length];
    new.file
        .read_exact_at(&mut tail, at)
        .during(|| "read the cache")?;
    let (body, sum) = tail.split_at(length - 8);
    match checksum(new.name, body) == u64_at(sum, 0) {
        true => Ok(tail),
        false => Err(damaged("its tail")),
    }
}

/// Computes the offset of each group from the lengths of the filters. The last group must end where
/// the tail begins.
fn groups(filter_lengths: &[u8], pages: usize, end: u64) -> Result<Vec<Group>> {
    let count = pages.div_ceil(GROUP_PAGES);
    let mut groups = Vec::with_capacity(count);
    let mut offset = 0;
    for number in 0..count {
        let filter_bytes = u32_at(filter_lengths, 4 * number) as usize;
        let pages = (pages - number * GROUP_PAGES).min(GROUP_PAGES);
        groups.push(Group {
            offset,
            pages,
            filter_bytes,
            filter: OnceLock::new(),
        });
        offset += (pages * PAGE_BYTES + filter_bytes) as u64;
    }
    let too_long = groups
        .iter()
        .any(|group| group.filter_bytes > MAX_FILTER_BYTES);
    if too_long || offset != end {
        return Err(damaged("its length"));
    }
    Ok(groups)
}

/// The seed for the checksum of a page. It is different for every page of every segment.
pub(super) fn page_seed(segment: u64, page: usize) -> u64 {
    segment.wrapping_add(page as u64)
}

/// The seed for the checksum of a filter. It is different for every filter of every segment, and
/// from the seeds of pages.
pub(super) fn filter_seed(segment: u64, group: usize) -> u64 {
    !segment.wrapping_add(group as u64)
}

fn damaged(what: &str) -> Error {
    Error::corrupt(format!("{what} is damaged")).during("cached segment")
}

/// The number of the sorted `fences` that are below `key`. The search starts at an interpolated
/// position, doubles its steps until the key is enclosed, and then bisects.
fn fences_below(fences: &[u32], key: u32) -> usize {
    let guess = ((u64::from(key) * fences.len() as u64) >> 32) as usize;
    let (mut low, mut step) = (guess, 8);
    while low > 0 && fences[low] >= key {
        low = low.saturating_sub(step);
        step *= 2;
    }
    let (mut high, mut step) = (guess, 8);
    while high < fences.len() && fences[high] < key {
        high = fences.len().min(high + step);
        step *= 2;
    }
    low + fences[low..high].partition_point(|fence| *fence < key)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kloset::index::testing::Random;

    #[test]
    fn a_guess_by_proportion_finds_what_a_plain_search_finds() {
        let mut random = Random(3);
        for count in [0, 1, 2, 100, 5000] {
            let even: Vec<u32> = (0..count).map(|_| random.next() as u32).collect();
            let skewed: Vec<u32> = (0..count).map(|_| random.next() as u32 % 50).collect();
            for mut fences in [even, skewed] {
                fences.sort_unstable();
                let keys = fences
                    .iter()
                    .flat_map(|key| [key - (*key).min(1), *key, key | 1]);
                for key in keys.chain([0, u32::MAX, random.next() as u32]) {
                    let plain = fences.partition_point(|fence| *fence < key);
                    assert_eq!(fences_below(&fences, key), plain);
                }
            }
        }
    }
}

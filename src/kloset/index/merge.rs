//! Merges segments, and chooses which ones to merge.
//!
//! The strategy is size-tiered, like the log-structured merge tree (O'Neil et al., 1996): four
//! segments of similar size become one. A record is rewritten once per tier, that is log4 of the
//! number of spills: five times for 64 million records. There are at most three segments per tier,
//! so a lookup then queries about fifteen filters. A larger fan-in would rewrite less and query
//! more filters, and lookups are the most frequent operation of a backup.
//!
//! A merge reads runs of 16 pages (64 KiB) from each source, and drops the records of dead packs.
//! It identifies packs only by number.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::sync::Arc;

use super::record::Record;
use super::segment::Segment;
use super::writer::SegmentWriter;
use crate::error::Result;

/// Number of segments of one tier that are merged into one.
const FAN_IN: usize = 4;
/// Number of pages of each source in memory.
const RUN_PAGES: usize = 16;

/// Chooses the segments to merge now, if any. `records` are the sizes of the segments; `spill` is
/// the number of records in a full memory table.
pub(super) fn choose(records: &[u64], spill: u64) -> Option<Vec<usize>> {
    let tier = |records: u64| {
        (records / spill.max(1))
            .checked_ilog(FAN_IN as u64)
            .unwrap_or(0)
    };
    let highest = records.iter().map(|records| tier(*records)).max()?;
    (0..=highest)
        .map(|wanted| {
            (0..records.len())
                .filter(|at| tier(records[*at]) == wanted)
                .collect()
        })
        .find(|members: &Vec<usize>| members.len() >= FAN_IN)
}

/// Pushes the records of all `sources` in order and without duplicates, except those of packs for
/// which `is_dead` returns true.
pub(super) fn merge(
    sources: &[Arc<Segment>],
    is_dead: impl Fn(u32) -> bool,
    to: &mut SegmentWriter,
) -> Result<()> {
    let mut cursors: Vec<Cursor<'_>> = sources.iter().map(|source| Cursor::new(source)).collect();
    let mut heap = BinaryHeap::new();
    for (at, cursor) in cursors.iter_mut().enumerate() {
        heap.extend(cursor.next()?.map(|record| Reverse((record, at))));
    }
    let mut last = None;
    while let Some(Reverse((record, at))) = heap.pop() {
        heap.extend(cursors[at].next()?.map(|record| Reverse((record, at))));
        if last != Some(record) && !is_dead(record.pack) {
            to.push(&record)?;
        }
        last = Some(record);
    }
    Ok(())
}

/// Reads the records of a segment in order.
struct Cursor<'a> {
    segment: &'a Segment,
    next_page: usize,
    run: Vec<Record>,
    position: usize,
}

impl<'a> Cursor<'a> {
    fn new(segment: &'a Segment) -> Cursor<'a> {
        Cursor {
            segment,
            next_page: 0,
            run: Vec::new(),
            position: 0,
        }
    }

    fn next(&mut self) -> Result<Option<Record>> {
        if self.position == self.run.len() {
            self.run.clear();
            self.position = 0;
            self.next_page += self
                .segment
                .read_run(self.next_page, RUN_PAGES, &mut self.run)?;
        }
        let record = self.run.get(self.position).copied();
        self.position += 1;
        Ok(record)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn four_of_a_size_are_merged_smallest_first() {
        assert_eq!(choose(&[], 10), None);
        assert_eq!(choose(&[1, 10, 40], 10), None);
        assert_eq!(choose(&[1, 500, 10, 39, 40, 2], 10), Some(vec![0, 2, 3, 5]));
        assert_eq!(choose(&[40, 50, 60, 159, 1], 10), Some(vec![0, 1, 2, 3]));
    }
}

//! Maps the content of a file with holes to file offsets. The content is the data between the
//! holes, in order.

use std::ops::Range;

use crate::error::{Error, Result};

/// Converts positions in the content to positions in the file.
pub struct Layout {
    /// Runs of data in the file, in order.
    runs: Vec<Range<u64>>,
}

impl Layout {
    /// The layout of a file of `size_bytes` with these holes, which must be sorted and disjoint.
    /// The last run has no end, so content beyond `size_bytes` has a position too;
    /// [`ContentLength`] refuses such content.
    pub fn new(holes: &[Range<u64>], size_bytes: u64) -> Layout {
        let mut runs = Vec::with_capacity(holes.len() + 1);
        let mut start = 0;
        for hole in holes {
            if hole.start > start {
                runs.push(start..hole.start);
            }
            start = hole.end;
        }
        if start < size_bytes || holes.is_empty() {
            runs.push(start..u64::MAX);
        }
        Layout { runs }
    }

    /// The parts of the file that `length` bytes of content at `position` belong to: each with its
    /// file offset and its range in those bytes. Content that has no position in the file is
    /// omitted.
    pub fn parts(&self, position: u64, length: u64) -> Vec<(u64, Range<usize>)> {
        let mut parts = Vec::with_capacity(1);
        let (mut skip, mut done) = (position, 0);
        for run in &self.runs {
            let run_bytes = run.end - run.start;
            if skip >= run_bytes {
                skip -= run_bytes;
                continue;
            }
            let part = (run_bytes - skip).min(length - done);
            parts.push((run.start + skip, done as usize..(done + part) as usize));
            (done, skip) = (done + part, 0);
            if done == length {
                break;
            }
        }
        parts
    }
}

/// The number of content bytes of a file of `size_bytes` with these holes.
pub fn content_bytes(holes: &[Range<u64>], size_bytes: u64) -> u64 {
    size_bytes - holes.iter().map(|hole| hole.end - hole.start).sum::<u64>()
}

/// Checks the length of the content of one file while it is read.
///
/// The rule: the sum of the lengths of the chunks of a file is exactly its size without the holes,
/// and no chunk is empty. This is also true for a file that changed while it was read, because the
/// recorded size is the number of bytes read.
#[derive(Clone, Copy, Debug)]
pub struct ContentLength {
    expected_bytes: u64,
    found_bytes: u64,
}

impl ContentLength {
    /// Creates the check for a file of `size_bytes` with these holes.
    pub fn new(holes: &[Range<u64>], size_bytes: u64) -> ContentLength {
        ContentLength {
            expected_bytes: content_bytes(holes, size_bytes),
            found_bytes: 0,
        }
    }

    /// The number of content bytes so far.
    pub fn found_bytes(&self) -> u64 {
        self.found_bytes
    }

    /// Counts a chunk. Must be called for each chunk before the next one is read, because crafted
    /// lists of chunks can stand for more data than fits on any disk.
    ///
    /// # Errors
    /// [`crate::error::Kind::Corrupt`] if the chunk is empty, or if the content exceeds that of the
    /// file.
    pub fn add(&mut self, chunk_bytes: u64) -> Result<()> {
        let found_bytes = self.found_bytes.saturating_add(chunk_bytes);
        if chunk_bytes == 0 {
            return Err(Error::corrupt("one of its chunks is empty"));
        }
        if found_bytes > self.expected_bytes {
            let expected = self.expected_bytes;
            let cause = format!("its content has more than {expected} bytes");
            return Err(Error::corrupt(cause));
        }
        self.found_bytes = found_bytes;
        Ok(())
    }

    /// # Errors
    /// [`crate::error::Kind::Corrupt`] if there was less content than the file has.
    pub fn end(&self) -> Result<()> {
        let (found, expected) = (self.found_bytes, self.expected_bytes);
        match found == expected {
            true => Ok(()),
            false => Err(Error::corrupt(format!(
                "its content has {found} bytes instead of {expected}"
            ))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn content_goes_around_holes() {
        let layout = Layout::new(&[0..10, 20..30], 35);
        assert_eq!(layout.parts(0, 15), vec![(10, 0..10), (30, 10..15)]);
        assert_eq!(layout.parts(12, 3), vec![(32, 0..3)]);
        assert_eq!(content_bytes(&[0..10, 20..30], 35), 15);
    }

    #[test]
    fn contents_are_exactly_as_long_as_the_file() {
        let mut length = ContentLength::new(std::slice::from_ref(&(0..10)), 15);
        assert!(length.end().is_err());
        assert!(length.add(0).is_err());
        assert!(length.add(6).is_err());
        assert!(length.add(5).is_ok());
        assert!(length.end().is_ok());
        assert!(length.add(u64::MAX).is_err());
    }

    #[test]
    fn without_holes_content_is_the_file() {
        assert_eq!(Layout::new(&[], 7).parts(3, 4), vec![(3, 0..4)]);
    }

    #[test]
    fn a_file_that_is_one_hole_has_no_content() {
        let hole = 0..7;
        assert!(
            Layout::new(std::slice::from_ref(&hole), 7)
                .parts(0, 4)
                .is_empty()
        );
    }
}

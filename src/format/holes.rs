//! Where the content of a file with holes goes: content is what is not a hole, in order.

use std::ops::Range;

/// Turns positions in the content into positions in the file.
pub struct Layout {
    /// Runs of data in the file, in order.
    runs: Vec<Range<u64>>,
}

impl Layout {
    /// The layout of a file of `size_bytes` with these holes, which are sorted and apart. The last
    /// run has no end, so that a file that grew while it was read keeps all that was read.
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

    /// The parts of the file that `length` bytes of content at `position` go to, each with
    /// where in those bytes it begins. Content that has no place is left out.
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

/// How many bytes of content belong to a file of `size_bytes` with these holes.
pub fn content_bytes(holes: &[Range<u64>], size_bytes: u64) -> u64 {
    size_bytes - holes.iter().map(|hole| hole.end - hole.start).sum::<u64>()
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

//! Line-by-line differences between two texts, in the format of `diff -u`.
//!
//! Lines are bytes up to a newline, in any encoding. As in git, a file with a NUL near its beginning
//! is binary. The algorithm is that of Myers (1986), as implemented by the crate `similar`.

use std::fmt::Write;
use std::time::{Duration, Instant};

use similar::{Algorithm, DiffOp, DiffTag, capture_diff_slices_deadline, group_diff_ops};

use super::side::Node;
use crate::error::Result;
use crate::util::interrupt::Interrupt;

/// The largest file that is compared line by line. Both files are held in memory.
const LIMIT_BYTES: u64 = 16 << 20;
/// The maximum number of lines that are compared. Each takes about 60 bytes during the comparison.
const LIMIT_LINES: usize = 1 << 18;
/// Number of leading bytes of a file that are searched for a NUL.
const LOOK_BYTES: usize = 8 << 10;
/// After this time, a less minimal but correct result is returned.
const PATIENCE: Duration = Duration::from_secs(10);
/// Unchanged lines printed around a change.
const CONTEXT_LINES: usize = 3;

/// Two files that can be compared line by line, or the reason why they cannot.
pub enum Texts {
    /// The bytes of both files.
    Text(Vec<u8>, Vec<u8>),
    /// At least one file is binary.
    Binary,
    /// At least one file is too large.
    TooLarge,
}

/// The kind of an output line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Line {
    /// A header such as `@@ -1,3 +1,4 @@`.
    Hunk,
    /// A line in both texts.
    Context,
    /// A line only in the first text.
    Removed,
    /// A line only in the second text.
    Added,
}

/// Reads two files completely into memory, unless one exceeds the size limit.
pub fn load(a: &Node<'_>, b: &Node<'_>, interrupt: &Interrupt) -> Result<Texts> {
    let size = |node: &Node<'_>| node.entry.metadata.size_bytes;
    if size(a).max(size(b)) > LIMIT_BYTES {
        return Ok(Texts::TooLarge);
    }
    let (one, two) = (bytes(a, interrupt)?, bytes(b, interrupt)?);
    if is_binary(&one) || is_binary(&two) {
        return Ok(Texts::Binary);
    }
    let is_large = |bytes: &[u8]| {
        let lines = bytes.iter().filter(|byte| **byte == b'\n').count();
        bytes.len() as u64 > LIMIT_BYTES || lines > LIMIT_LINES
    };
    match is_large(&one) || is_large(&two) {
        true => Ok(Texts::TooLarge),
        false => Ok(Texts::Text(one, two)),
    }
}

/// All bytes of a file, but at most one more than the limit: it may grow meanwhile.
fn bytes(node: &Node<'_>, interrupt: &Interrupt) -> Result<Vec<u8>> {
    const PIECE_BYTES: usize = 256 << 10;
    let mut file = node.open()?;
    let mut bytes = Vec::new();
    loop {
        interrupt.check()?;
        let before = bytes.len();
        bytes.resize(before + PIECE_BYTES, 0);
        let count = file.read(&mut bytes[before..])?;
        bytes.truncate(before + count);
        if count < PIECE_BYTES || bytes.len() as u64 > LIMIT_BYTES {
            return Ok(bytes);
        }
    }
}

fn is_binary(bytes: &[u8]) -> bool {
    bytes[..bytes.len().min(LOOK_BYTES)].contains(&0)
}

/// Calls `each` with every line of the difference from `old` to `new`, without the trailing newline.
/// A missing newline at the end of a file is reported as by `diff -u`.
///
/// # Errors
/// Errors of `each`.
pub fn unified(
    old: &[u8],
    new: &[u8],
    each: &mut dyn FnMut(Line, &[u8]) -> Result<()>,
) -> Result<()> {
    let (old, new) = (lines(old), lines(new));
    let deadline = Instant::now() + PATIENCE;
    let changes = capture_diff_slices_deadline(Algorithm::Myers, &old, &new, Some(deadline));
    for group in group_diff_ops(changes, CONTEXT_LINES) {
        let (Some(first), Some(last)) = (group.first(), group.last()) else {
            continue;
        };
        let header = hunk(first, last);
        each(Line::Hunk, header.as_bytes())?;
        for change in &group {
            let (tag, removed, added) = change.as_tag_tuple();
            if tag == DiffTag::Equal {
                print(Line::Context, &old[removed], each)?;
                continue;
            }
            print(Line::Removed, &old[removed], each)?;
            print(Line::Added, &new[added], each)?;
        }
    }
    Ok(())
}

/// The lines of a text, each with its newline.
fn lines(text: &[u8]) -> Vec<&[u8]> {
    text.split_inclusive(|byte| *byte == b'\n').collect()
}

/// The header of the changes from `first` to `last`, such as `@@ -1,3 +1,4 @@`.
fn hunk(first: &DiffOp, last: &DiffOp) -> String {
    let range = |start: usize, end: usize| match end - start {
        // As in POSIX, an empty range is placed after the line with this number.
        0 => format!("{start},0"),
        1 => format!("{}", start + 1),
        count => format!("{},{count}", start + 1),
    };
    let mut header = String::from("@@ -");
    header += &range(first.old_range().start, last.old_range().end);
    let new = range(first.new_range().start, last.new_range().end);
    write!(header, " +{new} @@").expect("a string can be written to");
    header
}

/// Passes lines to `each`, with the prefix for their kind.
fn print(
    line: Line,
    lines: &[&[u8]],
    each: &mut dyn FnMut(Line, &[u8]) -> Result<()>,
) -> Result<()> {
    let sign = match line {
        Line::Removed => b'-',
        Line::Added => b'+',
        Line::Context | Line::Hunk => b' ',
    };
    for text in lines {
        let whole = text.strip_suffix(b"\n");
        each(line, &[&[sign], whole.unwrap_or(text)].concat())?;
        if whole.is_none() {
            each(line, b"\\ No newline at end of file")?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(old: &[u8], new: &[u8]) -> String {
        let mut told = Vec::new();
        let mut each = |_: Line, line: &[u8]| {
            told.extend_from_slice(line);
            told.push(b'\n');
            Ok(())
        };
        unified(old, new, &mut each).unwrap();
        String::from_utf8_lossy(&told).into_owned()
    }

    #[test]
    fn what_changed_is_told_as_diff_does() {
        assert_eq!(
            told(b"a\nb\nc\n", b"a\nB\nc\n"),
            "@@ -1,3 +1,3 @@\n a\n-b\n+B\n c\n"
        );
        assert_eq!(told(b"", b"a\n"), "@@ -0,0 +1 @@\n+a\n");
        assert_eq!(told(b"a\nb\n", b""), "@@ -1,2 +0,0 @@\n-a\n-b\n");
        assert_eq!(told(b"same\n", b"same\n"), "");
    }

    #[test]
    fn the_last_newline_counts() {
        assert_eq!(
            told(b"a", b"a\n"),
            "@@ -1 +1 @@\n-a\n\\ No newline at end of file\n+a\n"
        );
        assert_eq!(
            told(b"a\nb", b"c\nb"),
            "@@ -1,2 +1,2 @@\n-a\n+c\n b\n\\ No newline at end of file\n"
        );
    }

    #[test]
    fn only_a_newline_ends_a_line() {
        assert_eq!(
            told(b"a\rb\r\nc\n", b"a\rb\nc\n"),
            "@@ -1,2 +1,2 @@\n-a\rb\r\n+a\rb\n c\n"
        );
    }

    #[test]
    fn hunks_are_apart_where_little_changed() {
        let old: String = (0..40).map(|n| format!("{n}\n")).collect();
        let new = old.replace("\n5\n", "\nfive\n").replace("\n30\n", "\n");
        let told = told(old.as_bytes(), new.as_bytes());
        assert!(
            told.starts_with("@@ -3,7 +3,7 @@\n 2\n 3\n 4\n-5\n+five\n"),
            "{told}"
        );
        assert!(told.contains("\n@@ -28,7 +28,6 @@\n"), "{told}");
    }
}

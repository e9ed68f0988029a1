//! What changed between two texts, line by line, as `diff -u` tells it.
//!
//! Lines are bytes up to a newline, in whatever encoding. A file with a NUL near its
//! beginning is no text, as git has it. The algorithm is Myers' (1986), as the crate
//! `similar` has it.

use std::fmt::Write;
use std::time::{Duration, Instant};

use similar::{Algorithm, DiffOp, DiffTag, capture_diff_slices_deadline, group_diff_ops};

use super::side::Node;
use crate::error::Result;
use crate::util::interrupt::Interrupt;

/// The largest file that is compared line by line: both are held in memory.
const LIMIT_BYTES: u64 = 16 << 20;
/// The most lines that are compared: each takes some 60 bytes while they are.
const LIMIT_LINES: usize = 1 << 18;
/// How much of a file is looked at for a NUL.
const LOOK_BYTES: usize = 8 << 10;
/// After that a coarser answer, which is as right, is better than a later one.
const PATIENCE: Duration = Duration::from_secs(10);
/// Equal lines around what changed.
const CONTEXT_LINES: usize = 3;

/// Two files that can be compared line by line, or why not.
pub enum Texts {
    /// The bytes of both.
    Text(Vec<u8>, Vec<u8>),
    /// At least one is no text.
    Binary,
    /// At least one is too large.
    TooLarge,
}

/// What a line of the outcome is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Line {
    /// `@@ -1,3 +1,4 @@`.
    Hunk,
    /// In both.
    Context,
    /// Only in the first.
    Removed,
    /// Only in the second.
    Added,
}

/// Reads two files.
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

/// All bytes of a file, but no more than one more than the limit: it may grow meanwhile.
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

/// Whether it is no text.
fn is_binary(bytes: &[u8]) -> bool {
    bytes[..bytes.len().min(LOOK_BYTES)].contains(&0)
}

/// Calls `each` with every line that tells what changed from `old` to `new`, without the
/// newline at its end. Whether the last line of a file has one is told as in `diff -u`.
///
/// # Errors
/// Those of `each`.
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

/// `@@ -1,3 +1,4 @@`: where the changes from `first` to `last` are.
fn hunk(first: &DiffOp, last: &DiffOp) -> String {
    let range = |start: usize, end: usize| match end - start {
        // What is empty lies after a line, as POSIX has it.
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

/// Hands on lines, with the sign that tells what they are.
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

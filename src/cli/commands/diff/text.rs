//! Compares two texts line by line, in the unified format of `diff -u`, for `patch`.

use super::Colours;
use super::line::Place;
use crate::cli::escape::printable;
use crate::cli::{Globals, date};
use crate::error::Result;
use crate::ops::compare::Node;
use crate::ops::compare::text::{self, Line, Texts};

/// The size of one write.
const PIECE_BYTES: usize = 64 << 10;

/// The outcome for a pair of files.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Printed {
    /// The differing lines were printed.
    Text,
    /// Nothing was printed, because one file is not text.
    Binary,
    /// Nothing was printed.
    Nothing,
}

/// Prints the differences between two files, if both are text.
///
/// # Errors
/// If standard output cannot be written.
pub(super) fn print(
    globals: &Globals,
    colours: Colours,
    (a, b): (&Place, &Place),
    nodes: &(Node<'_>, Node<'_>),
    texts: &Texts,
) -> Result<Printed> {
    let (old, new) = match texts {
        Texts::Text(old, new) => (old, new),
        Texts::Binary => return Ok(Printed::Binary),
        Texts::TooLarge => return Ok(Printed::Nothing),
    };
    let mut out = Vec::new();
    for (sign, place, node) in [("---", a, &nodes.0), ("+++", b, &nodes.1)] {
        let time = date::in_diff(node.entry.metadata.mtime_ns);
        let header = format!("{sign} {}\t{time}", quoted(&place.in_header()));
        append(&mut out, colours, "1", header.as_bytes());
    }
    let mut each = |line: Line, text: &[u8]| {
        let colour = match line {
            Line::Hunk => "36",
            Line::Removed => "31",
            Line::Added => "32",
            Line::Context => "",
        };
        append(&mut out, colours, colour, text);
        if out.len() >= PIECE_BYTES {
            globals.out.bytes(&out)?;
            out.clear();
        }
        globals.interrupt.check()
    };
    text::unified(old, new, &mut each)?;
    globals.out.bytes(&out)?;
    Ok(Printed::Text)
}

/// Appends a line, in an ECMA-48 color if colors are enabled and `colour` is not empty.
fn append(out: &mut Vec<u8>, colours: Colours, colour: &str, line: &[u8]) {
    let is_coloured = colours == Colours::On && !colour.is_empty();
    if is_coloured {
        out.extend_from_slice(format!("\x1b[{colour}m").as_bytes());
    }
    out.extend_from_slice(line);
    if is_coloured {
        out.extend_from_slice(b"\x1b[m");
    }
    out.push(b'\n');
}

/// A file name in the format of `diff`: quoted, with C escapes, if a terminal or `patch` could
/// misinterpret it.
fn quoted(name: &[u8]) -> String {
    let plain = printable(name);
    let is_plain = plain.as_bytes() == name && !name.iter().any(|byte| b"\"\\".contains(byte));
    if is_plain {
        return plain;
    }
    let mut quoted = String::from("\"");
    for byte in name {
        match byte {
            b'"' | b'\\' => quoted.extend(['\\', char::from(*byte)]),
            b'\n' => quoted.push_str("\\n"),
            b'\t' => quoted.push_str("\\t"),
            b' '..=b'~' => quoted.push(char::from(*byte)),
            _ => quoted.push_str(&format!("\\{byte:03o}")),
        }
    }
    quoted.push('"');
    quoted
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_quoted_where_they_must() {
        assert_eq!(quoted(b"a/b c.txt"), "a/b c.txt");
        assert_eq!(quoted("a/\u{e9}".as_bytes()), "a/\u{e9}");
        assert_eq!(quoted(b"a\n\"b\\"), r#""a\n\"b\\""#);
        assert_eq!(quoted(b"caf\xe9\x1b"), r#""caf\351\033""#);
    }
}

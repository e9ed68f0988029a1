//! Splits a line of mdoc(7) into words: quotes, macros, delimiters, escapes.

/// Macros that are recognized among arguments.
const MACROS: &[&str] = &[
    "Ar", "Cm", "Dq", "Dv", "Em", "Ev", "Fl", "Fn", "Ic", "Li", "Nm", "No", "Ns", "Oc", "Oo", "Op",
    "Pa", "Pc", "Po", "Pq", "Ql", "Sq", "Sx", "Xc", "Xo", "Xr",
];

/// Punctuation, which is not part of the text that a macro marks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Delimiter {
    /// No blank follows it.
    Opening,
    /// Blanks surround it.
    Middle,
    /// No blank precedes it.
    Closing,
}

/// An argument of a macro.
pub(super) struct Argument {
    /// The source text, including escapes.
    pub(super) text: String,
    /// Whether it was quoted. A quoted argument is never a macro or a delimiter.
    pub(super) is_quoted: bool,
}

impl Argument {
    /// Whether it is itself a macro.
    pub(super) fn is_macro(&self) -> bool {
        !self.is_quoted && MACROS.contains(&self.text.as_str())
    }

    /// Its type of delimiter, if it is one.
    pub(super) fn delimiter(&self) -> Option<Delimiter> {
        match self.text.as_str() {
            _ if self.is_quoted => None,
            "(" | "[" => Some(Delimiter::Opening),
            "|" => Some(Delimiter::Middle),
            "." | "," | ":" | ";" | ")" | "]" | "?" | "!" => Some(Delimiter::Closing),
            _ => None,
        }
    }

    /// Whether it is neither a macro nor a delimiter.
    pub(super) fn is_word(&self) -> bool {
        !self.is_macro() && self.delimiter().is_none()
    }
}

/// Splits a line, without its leading dot, into arguments.
pub(super) fn arguments(line: &str) -> Vec<Argument> {
    let mut found = Vec::new();
    let mut rest = line.trim_start();
    while !rest.is_empty() {
        let is_quoted = rest.starts_with('"');
        let (text, after) = match rest.strip_prefix('"') {
            Some(quoted) => quoted.split_once('"').unwrap_or((quoted, "")),
            None => rest.split_once(' ').unwrap_or((rest, "")),
        };
        found.push(Argument {
            text: text.to_owned(),
            is_quoted,
        });
        rest = after.trim_start();
    }
    found
}

/// Replaces the roff(7) escapes in `text` that the pages of plakar use.
pub(super) fn unescaped(text: &str) -> String {
    let mut letters = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('\\') {
        letters.push_str(before);
        let (letter, length) = match after.as_bytes() {
            [b'(', b'd', b'q', ..] => ("\"", 3),
            [b'(', b'a', b'q', ..] => ("'", 3),
            [b'e', ..] => ("\\", 1),
            [b'-', ..] => ("-", 1),
            [b'&' | b':', ..] => ("", 1),
            _ => ("\\", 0),
        };
        letters.push_str(letter);
        rest = &after[length..];
    }
    letters + rest
}

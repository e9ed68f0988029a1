//! The words of a line in mdoc(7): quoted or not, macros, delimiters, escapes.

/// Macros that may stand among arguments.
const MACROS: &[&str] = &[
    "Ar", "Cm", "Dq", "Dv", "Em", "Ev", "Fl", "Fn", "Ic", "Li", "Nm", "No", "Ns", "Oc", "Oo", "Op",
    "Pa", "Pc", "Po", "Pq", "Ql", "Sq", "Sx", "Xc", "Xo", "Xr",
];

/// A sign that is not part of what a macro marks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Delimiter {
    /// No blank after it.
    Opening,
    /// Blanks around it.
    Middle,
    /// No blank before it.
    Closing,
}

/// A word after a macro.
pub(super) struct Argument {
    /// As it is written, escapes and all.
    pub(super) text: String,
    /// Whether it stood in quotes, which makes it a plain word whatever it says.
    pub(super) is_quoted: bool,
}

impl Argument {
    /// Whether it is a macro itself.
    pub(super) fn is_macro(&self) -> bool {
        !self.is_quoted && MACROS.contains(&self.text.as_str())
    }

    /// Which kind of delimiter it is, if any.
    pub(super) fn delimiter(&self) -> Option<Delimiter> {
        match self.text.as_str() {
            _ if self.is_quoted => None,
            "(" | "[" => Some(Delimiter::Opening),
            "|" => Some(Delimiter::Middle),
            "." | "," | ":" | ";" | ")" | "]" | "?" | "!" => Some(Delimiter::Closing),
            _ => None,
        }
    }

    /// Whether it is neither.
    pub(super) fn is_word(&self) -> bool {
        !self.is_macro() && self.delimiter().is_none()
    }
}

/// The words of a line without its leading dot.
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

/// `text` with the escapes of roff(7) that our pages use made letters.
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

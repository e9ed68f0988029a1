//! Names for people: file names hold any byte, and a terminal obeys some of them.
//!
//! Whoever can name a file that is backed up could move the cursor, recolour or
//! retitle the terminal of whoever lists it, so nothing that a terminal acts on
//! is ever printed. What reads these lines as data should use `-json`, where
//! [`JsonPath`] keeps every byte.

use serde::Serialize;

/// `bytes` as one printable line: control characters, characters that reorder
/// text, and bytes that are not UTF-8 are escaped. A backslash stands for itself.
pub fn printable(bytes: &[u8]) -> String {
    let mut shown = String::with_capacity(bytes.len());
    for part in bytes.utf8_chunks() {
        for letter in part.valid().chars() {
            match is_obeyed(letter) {
                true => shown.extend(letter.escape_default()),
                false => shown.push(letter),
            }
        }
        for byte in part.invalid() {
            shown.push_str(&format!("\\x{byte:02x}"));
        }
    }
    shown
}

/// Whether a terminal acts on `letter` rather than showing it: C0, DEL and C1
/// controls, line separators, and the bidirectional controls of Unicode (UAX #9).
fn is_obeyed(letter: char) -> bool {
    letter.is_control()
        || matches!(letter, '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// A path as JSON has it: text, and the bytes in hex where text cannot tell them.
#[derive(Debug, Serialize)]
pub struct JsonPath {
    /// The path; what is not UTF-8 is replaced by U+FFFD.
    pub path: String,
    /// The bytes of the path in hex, if it is not UTF-8.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub path_bytes: Option<String>,
}

impl From<&[u8]> for JsonPath {
    fn from(bytes: &[u8]) -> JsonPath {
        let hex = || bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        JsonPath {
            path: String::from_utf8_lossy(bytes).into_owned(),
            path_bytes: std::str::from_utf8(bytes).is_err().then(hex),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_terminal_is_never_told_what_to_do() {
        assert_eq!(printable(b"plain \xc3\xa9 a\\b"), "plain é a\\b");
        assert_eq!(printable(b"\x1b]0;owned\x07\n"), "\\u{1b}]0;owned\\u{7}\\n");
        assert_eq!(
            printable("\u{9b}31m\u{202e}".as_bytes()),
            "\\u{9b}31m\\u{202e}"
        );
        assert_eq!(printable(b"caf\xe9"), "caf\\xe9");
    }

    #[test]
    fn json_keeps_every_byte() {
        let text = serde_json::to_string(&JsonPath::from(b"a\x1b".as_slice())).unwrap();
        assert_eq!(text, r#"{"path":"a\u001b"}"#);
        let raw = serde_json::to_string(&JsonPath::from(b"\xe9".as_slice())).unwrap();
        assert_eq!(raw, "{\"path\":\"\u{fffd}\",\"path_bytes\":\"e9\"}");
    }
}

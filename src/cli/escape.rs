//! Formats file names for output: as one line for people ([`printable`]), or in JSON for programs,
//! where [`JsonPath`] preserves every byte.

use serde::Serialize;

pub use crate::util::printable::{printable, printable_path};

/// A path in JSON: text, and also the bytes in hex if the path is not UTF-8.
#[derive(Debug, Serialize)]
pub struct JsonPath {
    /// The path as text. Bytes that are not UTF-8 are replaced by U+FFFD.
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
    fn json_keeps_every_byte() {
        let text = serde_json::to_string(&JsonPath::from(b"a\x1b".as_slice())).unwrap();
        assert_eq!(text, r#"{"path":"a\u001b"}"#);
        let raw = serde_json::to_string(&JsonPath::from(b"\xe9".as_slice())).unwrap();
        assert_eq!(raw, "{\"path\":\"\u{fffd}\",\"path_bytes\":\"e9\"}");
    }
}

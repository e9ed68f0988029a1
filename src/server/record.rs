//! A line of the access log, which describes one request and its result.
//!
//! ```text
//! 2026-11-26T11:07:26.123Z 192.0.2.7:51234 laptop PUT /resources/packs/9f2c... 201 16777216 0 84
//! ```
//!
//! The fields are: time, address, name of the token, method, target, status, bytes of the request
//! body, bytes of the response body, milliseconds. An unknown value is `-`. No field contains
//! blanks or characters that a terminal interprets.

use std::fmt;
use std::net::SocketAddr;
use std::time::Duration;

use jiff::Timestamp;

use crate::util::human;

/// The maximum length of a target in the log. Targets of plakar have 100 bytes.
const TARGET_LIMIT_BYTES: usize = 512;

/// A request and its result, as one line of the log.
#[derive(Clone, Debug)]
pub struct Record {
    /// The address of the client.
    pub peer: SocketAddr,
    /// The name of the token.
    pub name: Option<String>,
    /// The HTTP method as it was sent.
    pub verb: String,
    /// The request target as it was sent.
    pub target: String,
    /// The status of the response; 0 if no client was left to receive one.
    pub status: u16,
    /// The bytes of the request body received.
    pub bytes_in: u64,
    /// The bytes of the response body sent.
    pub bytes_out: u64,
    /// The time since the last byte of the request head.
    pub took: Duration,
}

impl Record {
    /// Creates a record with only the client address.
    pub(super) fn new(peer: SocketAddr) -> Record {
        Record {
            peer,
            name: None,
            verb: String::new(),
            target: String::new(),
            status: 0,
            bytes_in: 0,
            bytes_out: 0,
            took: Duration::ZERO,
        }
    }
}

impl fmt::Display for Record {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let now = Timestamp::now();
        let name = word(self.name.as_deref().unwrap_or_default());
        let (verb, target) = (word(&self.verb), word(&self.target));
        write!(f, "{now:.3} {} {name} {verb} {target} ", self.peer)?;
        match self.status {
            0 => f.write_str("-")?,
            status => write!(f, "{status}")?,
        }
        let took = self.took.as_millis();
        write!(f, " {} {} {took}", self.bytes_in, self.bytes_out)
    }
}

/// Formats `text` as one word of printable ASCII, or `-` if it is empty.
fn word(text: &str) -> String {
    let mut shown = String::new();
    for letter in human::shorten(text, TARGET_LIMIT_BYTES).chars() {
        match letter {
            '!'..='~' if letter != '\\' => shown.push(letter),
            _ => shown.extend(letter.escape_unicode()),
        }
    }
    match shown.is_empty() {
        true => "-".to_owned(),
        false => shown,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_one_line_of_nine_words() {
        let mut record = Record::new("[::1]:80".parse().unwrap());
        assert!(
            record.to_string().ends_with("Z [::1]:80 - - - - 0 0 0"),
            "{record}"
        );
        record.verb = "GET".into();
        record.target = format!("/a\x1b[31m \n\u{202e}\\{}", "x".repeat(1000));
        record.status = 404;
        let line = record.to_string();
        assert_eq!(line.split(' ').count(), 9, "{line}");
        assert!(
            line.bytes().all(|byte| (b' '..=b'~').contains(&byte)),
            "{line}"
        );
        assert!(line.len() < 700);
    }
}

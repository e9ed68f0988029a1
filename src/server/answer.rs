//! HTTP responses: status, header fields and body. An error has a line of text for users and a
//! keyword for programs, from which the client reconstructs the error.

use super::budget::Room;
use crate::error::{Error, Kind};
use crate::net::http1::Wrong;
use crate::store::Area;
use crate::util::Id;

/// The retry delay for temporary errors, in seconds.
pub(super) const RETRY_AFTER: &str = "2";

/// A response before it is sent.
pub(super) struct Answer {
    /// The status, or 0 if no client is left to receive it.
    pub(super) status: u16,
    pub(super) fields: Vec<(&'static str, String)>,
    pub(super) content: Content,
    /// The reservation for the memory of the body.
    pub(super) room: Option<Room>,
    /// Whether the connection must be closed afterwards.
    pub(super) is_last: bool,
}

/// The body of a response.
pub(super) enum Content {
    /// No body and no length (204, 304).
    Nothing,
    Bytes(Vec<u8>),
    Object(Part),
}

/// A range of an object.
#[derive(Clone, Copy)]
pub(super) struct Part {
    pub(super) area: Area,
    pub(super) id: Id,
    pub(super) offset: u64,
    pub(super) length: u64,
}

/// Whether the error occurred while reading or writing stored data.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum During {
    Reading,
    Writing,
}

impl Answer {
    /// Creates a response without a body.
    pub(super) fn empty(status: u16) -> Answer {
        let content = match status {
            204 | 304 => Content::Nothing,
            _ => Content::Bytes(Vec::new()),
        };
        Answer {
            status,
            fields: Vec::new(),
            content,
            room: None,
            is_last: false,
        }
    }

    /// Creates a response with `bytes` of the media type `kind`.
    pub(super) fn bytes(kind: &'static str, bytes: Vec<u8>) -> Answer {
        let mut answer = Answer::empty(200).with("Content-Type", kind);
        answer.content = Content::Bytes(bytes);
        answer
    }

    /// Creates an error response with one line of text.
    pub(super) fn failure(status: u16, word: &'static str, text: impl Into<String>) -> Answer {
        let mut line: String = text.into();
        line.push('\n');
        let mut answer = Answer::empty(status)
            .with("Content-Type", "text/plain; charset=utf-8")
            .with("Kloset-Error", word);
        answer.content = Content::Bytes(line.into_bytes());
        if matches!(status, 429 | 503) {
            answer = answer.with("Retry-After", RETRY_AFTER);
        }
        answer
    }

    /// The result if no client is left to receive a response.
    pub(super) fn lost() -> Answer {
        Answer::empty(0).last()
    }

    /// Adds a header field.
    pub(super) fn with(mut self, name: &'static str, value: impl Into<String>) -> Answer {
        self.fields.push((name, value.into()));
        self
    }

    /// Closes the connection after this response.
    pub(super) fn last(mut self) -> Answer {
        self.is_last = true;
        self
    }

    /// Converts `error` of a store at `location`. Removes the location, because the client must not
    /// learn local paths.
    pub(super) fn of_error(error: &Error, during: During, location: &str) -> Answer {
        let kind = error.kind();
        let status = match kind {
            Kind::NotFound => 404,
            Kind::Exists => 409,
            Kind::Corrupt if during == During::Writing => 409,
            Kind::Denied => 403,
            Kind::NoSpace => 507,
            Kind::Unavailable | Kind::Interrupted => 503,
            Kind::Failed | Kind::Corrupt | Kind::Usage | Kind::Unsupported => 500,
        };
        // A location without a slash reveals nothing, and could be part of any word.
        let text = match location.contains('/') {
            true => error.to_string().replace(location, "the store"),
            false => error.to_string(),
        };
        Answer::failure(status, word(kind), printable(&text))
    }

    /// Converts an error of reading a request.
    pub(super) fn of_wrong(wrong: &Wrong) -> Answer {
        let answer = match wrong {
            Wrong::Closed => return Answer::lost(),
            Wrong::Io(cause) if cause.kind() == std::io::ErrorKind::TimedOut => {
                Answer::failure(408, "unavailable", "it took too long to come")
            }
            Wrong::Io(_) => return Answer::lost(),
            Wrong::LongTarget => Answer::failure(414, "usage", "the target is too long"),
            Wrong::LongHead => Answer::failure(431, "usage", "the head is too long"),
            Wrong::Version => Answer::failure(505, "usage", "that is not HTTP/1.0 or HTTP/1.1"),
            Wrong::Coding => Answer::failure(501, "usage", "no transfer coding but chunked"),
            Wrong::Malformed(what) => {
                Answer::failure(400, "usage", format!("not a good request: {what}"))
            }
        };
        answer.last()
    }
}

/// Returns the keyword of an error kind.
fn word(kind: Kind) -> &'static str {
    match kind {
        Kind::Failed => "failed",
        Kind::Usage => "usage",
        Kind::Corrupt => "corrupt",
        Kind::NotFound => "not-found",
        Kind::Exists => "exists",
        Kind::Unavailable | Kind::Interrupted => "unavailable",
        Kind::Denied => "denied",
        Kind::Unsupported => "unsupported",
        Kind::NoSpace => "no-space",
    }
}

/// Replaces control characters in `text`.
fn printable(text: &str) -> String {
    let shown = |letter: char| if letter.is_control() { '?' } else { letter };
    text.chars().map(shown).collect()
}

//! Answers: a status, fields and what follows. Every failure has a line of text for people and
//! a word for programs, from which a client makes the same error again.

use super::budget::Room;
use crate::error::{Error, Kind};
use crate::net::http1::Wrong;
use crate::store::Area;
use crate::util::Id;

/// How long those should wait who come at a bad time, in seconds.
pub(super) const RETRY_AFTER: &str = "2";

/// An answer that is not sent yet.
pub(super) struct Answer {
    /// 0 if there is nobody to send it to.
    pub(super) status: u16,
    pub(super) fields: Vec<(&'static str, String)>,
    pub(super) content: Content,
    /// What was granted for the memory that it takes.
    pub(super) room: Option<Room>,
    /// Whether the connection cannot be used after it.
    pub(super) is_last: bool,
}

/// What follows the head.
pub(super) enum Content {
    /// Not even a length (204, 304).
    Nothing,
    Bytes(Vec<u8>),
    Object(Part),
}

/// A part of an object.
#[derive(Clone, Copy)]
pub(super) struct Part {
    pub(super) area: Area,
    pub(super) id: Id,
    pub(super) offset: u64,
    pub(super) length: u64,
}

/// Whether stored bytes were read or written when something went wrong.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum During {
    Reading,
    Writing,
}

impl Answer {
    /// An answer without a body.
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

    /// An answer with `bytes` of the media type `kind`.
    pub(super) fn bytes(kind: &'static str, bytes: Vec<u8>) -> Answer {
        let mut answer = Answer::empty(200).with("Content-Type", kind);
        answer.content = Content::Bytes(bytes);
        answer
    }

    /// A failure, in a line of text.
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

    /// There is nobody left to answer.
    pub(super) fn lost() -> Answer {
        Answer::empty(0).last()
    }

    /// The same with a field more.
    pub(super) fn with(mut self, name: &'static str, value: impl Into<String>) -> Answer {
        self.fields.push((name, value.into()));
        self
    }

    /// The same, and nothing else on this connection.
    pub(super) fn last(mut self) -> Answer {
        self.is_last = true;
        self
    }

    /// What `error` of a store at `location` comes to. Where the store is on this machine is
    /// nobody else's business.
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
        // One without a slash tells nothing, and may be a part of any word.
        let text = match location.contains('/') {
            true => error.to_string().replace(location, "the store"),
            false => error.to_string(),
        };
        Answer::failure(status, word(kind), printable(&text))
    }

    /// What a message that is none comes to; nothing if there is nobody to tell.
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

/// What programs call an error.
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

/// `text` without what a terminal acts on.
fn printable(text: &str) -> String {
    let shown = |letter: char| if letter.is_control() { '?' } else { letter };
    text.chars().map(shown).collect()
}

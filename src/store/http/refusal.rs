//! Conversion of unexpected responses into errors.
//!
//! A plakar server reports an error by a word in `Kloset-Error` and a line in the body. A response
//! without `Kloset-Protocol` is from another program: a proxy in front of the server, of which only
//! the status is meaningful, or an unrelated web server.

use std::time::Duration;

use crate::error::{Error, Kind};
use crate::net::client::Answer;
use crate::net::retry::Failure;
use crate::util::human;

/// The supported version of the protocol.
const PROTOCOL: &str = "1";
/// The maximum length of an error body.
const BODY_LIMIT_BYTES: u64 = 4 << 10;
/// The maximum number of bytes of it in a message.
const WORDS_LIMIT_BYTES: usize = 200;

/// Returns `answer` if its status is one of `expected`, and an error otherwise.
pub(super) fn accepted<'a>(
    mut answer: Answer<'a>,
    expected: &[u16],
    has_token: bool,
) -> Result<Answer<'a>, Failure> {
    match answer.headers().first("kloset-protocol") {
        None => Err(foreign(&answer)),
        Some(PROTOCOL) if expected.contains(&answer.status()) => Ok(answer),
        Some(PROTOCOL) => Err(refusal(&mut answer, has_token)),
        Some(other) => {
            let other = printable(other);
            let words = format!("it speaks version {other} of the protocol, and we know 1");
            Err(Failure::Final(Error::new(Kind::Unsupported, words)))
        }
    }
}

/// The error for a response that a correct server never sends.
pub(super) fn lie(words: &str) -> Failure {
    Failure::Final(Error::corrupt(words))
}

/// Converts an error reported by a plakar server.
fn refusal(answer: &mut Answer<'_>, has_token: bool) -> Failure {
    let status = answer.status();
    let word = answer.headers().first("kloset-error").map(str::to_owned);
    let kind = match word.as_deref() {
        _ if status == 401 => Kind::Denied,
        Some("corrupt") => Kind::Corrupt,
        Some("not-found") => Kind::NotFound,
        Some("exists") => Kind::Exists,
        Some("unavailable") => Kind::Unavailable,
        Some("denied") => Kind::Denied,
        Some("unsupported") => Kind::Unsupported,
        Some("no-space") => Kind::NoSpace,
        // The kind `usage` concerns an invalid request of this client, not the command line of the
        // user.
        Some("failed" | "usage") => Kind::Failed,
        _ => kind_of(status),
    };
    let body = answer.all(BODY_LIMIT_BYTES).unwrap_or_default();
    let body = String::from_utf8_lossy(&body);
    let said = printable(body.lines().next().unwrap_or_default());
    let words = match (status, said.is_empty()) {
        (401, _) if has_token => {
            "the server does not know this token: set another auth_token".into()
        }
        (401, _) => "the server wants a token: set auth_token".into(),
        (_, false) => said,
        (404, true) => "it is not there".into(),
        (_, true) => format!("the server says no more than HTTP {status}"),
    };
    failure(kind, words, answer)
}

/// Converts a response of a proxy or of an unrelated server.
fn foreign(answer: &Answer<'_>) -> Failure {
    let status = answer.status();
    let who = match answer.headers().first("server").map(printable) {
        Some(name) if !name.is_empty() => name,
        _ => "an unknown server".to_owned(),
    };
    let words = match status {
        401 | 407 => {
            format!("{who}, which is not plakar server, wants us to log in (HTTP {status})")
        }
        403 => format!("{who}, which is not plakar server, forbids it (HTTP 403)"),
        408 | 429 | 502..=504 => format!("{who} says that it is not available (HTTP {status})"),
        413 => format!("{who}, in front of the server, takes no objects of this size (HTTP 413)"),
        _ => format!("no plakar server is here: {who} answers with HTTP {status}"),
    };
    let kind = match kind_of(status) {
        kind @ (Kind::Denied | Kind::Unavailable) => kind,
        _ if status == 413 => Kind::Failed,
        _ => Kind::Unsupported,
    };
    failure(kind, words, answer)
}

fn failure(kind: Kind, words: String, answer: &Answer<'_>) -> Failure {
    let error = Error::new(kind, words);
    match kind {
        Kind::Unavailable => Failure::Again {
            error,
            after: Some(wish(answer)),
        },
        _ => Failure::Final(error),
    }
}

/// The delay that the server requests. A date instead of a number is ignored, since no server sends
/// one with these statuses.
fn wish(answer: &Answer<'_>) -> Duration {
    let wish = answer.headers().first("retry-after");
    let seconds = wish.and_then(|wish| wish.parse().ok());
    Duration::from_secs(seconds.unwrap_or(0))
}

/// The kind for a status without further information.
fn kind_of(status: u16) -> Kind {
    match status {
        401 | 403 | 407 => Kind::Denied,
        404 => Kind::NotFound,
        408 | 429 | 502..=504 => Kind::Unavailable,
        409 => Kind::Exists,
        416 | 422 => Kind::Corrupt,
        405 | 501 | 505 => Kind::Unsupported,
        507 => Kind::NoSpace,
        _ => Kind::Failed,
    }
}

/// Shortens `text` and replaces characters that a terminal could interpret.
fn printable(text: &str) -> String {
    let shown = |letter: char| match letter {
        ' '..='~' => letter,
        letter if letter.is_alphanumeric() => letter,
        _ => '?',
    };
    let text = human::shorten(text.trim(), WORDS_LIMIT_BYTES);
    text.chars().map(shown).collect()
}

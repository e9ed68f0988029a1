//! Where a body ends, and reading it to there (RFC 9112, sections 6 and 7).

use std::io::{self, Read, Write};

use super::{Connection, Headers, Request, Response, Wrong};

/// The longest line before a chunk: a length of 16 digits, and extensions that nobody uses.
const CHUNK_LINE_LIMIT_BYTES: usize = 256;
/// CR and LF.
const LINE_END_BYTES: usize = 2;
/// The most trailer fields after the last chunk, which are thrown away.
const TRAILER_LIMIT_LINES: usize = 32;
/// The longest of these.
const TRAILER_LIMIT_BYTES: usize = 4 << 10;

/// How a message tells where its body ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Framing {
    /// After so many bytes.
    Length(u64),
    /// After a chunk of no bytes.
    Chunked,
    /// With the connection. Only answers.
    UntilClose,
}

impl Framing {
    /// How the body of `request` ends. Without a word about it there is none.
    ///
    /// # Errors
    /// What a proxy in front of us could understand otherwise is [`Wrong::Malformed`]: two lengths, a
    /// length and a coding, a coding in HTTP/1.0. [`Wrong::Coding`] is one that is not known.
    pub fn of_request(request: &Request) -> Result<Framing, Wrong> {
        match declared(&request.headers, request.minor)? {
            Some(framing) => Ok(framing),
            None => Ok(Framing::Length(0)),
        }
    }

    /// How the body of `response` ends, which answers a request with `method`.
    ///
    /// # Errors
    /// As [`Framing::of_request`].
    pub fn of_response(response: &Response, method: &str) -> Result<Framing, Wrong> {
        let has_none = method == "HEAD" || matches!(response.status, 100..200 | 204 | 304);
        match declared(&response.headers, response.minor)? {
            _ if has_none => Ok(Framing::Length(0)),
            Some(framing) => Ok(framing),
            None => Ok(Framing::UntilClose),
        }
    }
}

/// What the fields say of the body.
fn declared(headers: &Headers, minor: u8) -> Result<Option<Framing>, Wrong> {
    let length = headers.only("content-length")?;
    match (headers.only("transfer-encoding")?, length) {
        (None, None) => Ok(None),
        (None, Some(length)) => Ok(Some(Framing::Length(number(length)?))),
        (Some(_), Some(_)) => Err(Wrong::Malformed("a length and a coding")),
        (Some(_), None) if minor == 0 => Err(Wrong::Malformed("a coding in HTTP/1.0")),
        (Some(coding), None) if coding.eq_ignore_ascii_case("chunked") => {
            Ok(Some(Framing::Chunked))
        }
        (Some(_), None) => Err(Wrong::Coding),
    }
}

/// A length in decimal digits and nothing else.
pub fn number(text: &str) -> Result<u64, Wrong> {
    let is_number = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let number = is_number.then(|| text.parse().ok()).flatten();
    number.ok_or(Wrong::Malformed("a length is not a number"))
}

/// A body that is being read. Borrows nothing, so that answers can be written meanwhile.
#[derive(Clone, Copy, Debug)]
pub struct Body {
    state: State,
}

#[derive(Clone, Copy, Debug)]
enum State {
    /// So many bytes are left.
    Left(u64),
    /// So many bytes of the chunk are left.
    InChunk(u64),
    /// The line end of a chunk comes.
    AfterChunk,
    /// A line with the length of the next chunk comes.
    BeforeChunk,
    UntilClose,
    Ended,
}

impl Body {
    /// A body of which nothing was read.
    pub fn new(framing: Framing) -> Body {
        let state = match framing {
            Framing::Length(0) => State::Ended,
            Framing::Length(length) => State::Left(length),
            Framing::Chunked => State::BeforeChunk,
            Framing::UntilClose => State::UntilClose,
        };
        Body { state }
    }

    /// Whether all of it was read, so that a next message can follow.
    pub fn is_ended(&self) -> bool {
        matches!(self.state, State::Ended)
    }

    /// How many bytes are still to come, where that is known.
    pub fn left(&self) -> Option<u64> {
        match self.state {
            State::Ended => Some(0),
            State::Left(left) => Some(left),
            State::InChunk(_) | State::AfterChunk | State::BeforeChunk | State::UntilClose => None,
        }
    }

    /// Reads what stands before the next bytes, so that a buffer for these need not be had
    /// before they come. Tells whether there are any.
    pub fn begin<S: Read + Write>(
        &mut self,
        connection: &mut Connection<S>,
    ) -> Result<bool, Wrong> {
        loop {
            match self.state {
                State::Ended => return Ok(false),
                State::Left(_) | State::InChunk(_) | State::UntilClose => return Ok(true),
                State::BeforeChunk => self.state = next_chunk(connection)?,
                State::AfterChunk => {
                    end_chunk(connection)?;
                    self.state = State::BeforeChunk;
                }
            }
        }
    }

    /// Reads some bytes; none when the body has ended.
    ///
    /// # Errors
    /// [`Wrong::Io`] with `UnexpectedEof` if the connection ends before the body does.
    pub fn read<S: Read + Write>(
        &mut self,
        connection: &mut Connection<S>,
        into: &mut [u8],
    ) -> Result<usize, Wrong> {
        if into.is_empty() || !self.begin(connection)? {
            return Ok(0);
        }
        let left = match self.state {
            State::Left(left) | State::InChunk(left) => left,
            _ => u64::MAX,
        };
        let read = match self.state {
            State::UntilClose => connection.read_some(into)?,
            _ => read_within(connection, left, into)?,
        };
        self.state = match (self.state, left - read as u64) {
            (State::UntilClose, _) if read == 0 => State::Ended,
            (State::Left(_), 0) => State::Ended,
            (State::Left(_), left) => State::Left(left),
            (State::InChunk(_), 0) => State::AfterChunk,
            (State::InChunk(_), left) => State::InChunk(left),
            (state, _) => state,
        };
        Ok(read)
    }
}

/// Reads some of the `left` bytes, at least one.
fn read_within<S: Read + Write>(
    connection: &mut Connection<S>,
    left: u64,
    into: &mut [u8],
) -> Result<usize, Wrong> {
    let wanted = usize::try_from(left).map_or(into.len(), |left| left.min(into.len()));
    match connection.read_some(&mut into[..wanted])? {
        0 => Err(io::Error::from(io::ErrorKind::UnexpectedEof).into()),
        read => Ok(read),
    }
}

/// Reads the line before a chunk, and after the last one the trailer.
fn next_chunk<S: Read + Write>(connection: &mut Connection<S>) -> Result<State, Wrong> {
    let line = connection.read_line(CHUNK_LINE_LIMIT_BYTES)?;
    // Such as a CR in an extension, which others take for the end of the line.
    if line
        .iter()
        .any(|byte| byte.is_ascii_control() && *byte != b'\t')
    {
        return Err(Wrong::Malformed("a control character before a chunk"));
    }
    let digits = line.split(|byte| *byte == b';').next().unwrap_or_default();
    let digits = digits.trim_ascii_end();
    let is_number = (1..=16).contains(&digits.len()) && digits.iter().all(u8::is_ascii_hexdigit);
    let text = std::str::from_utf8(digits).ok().filter(|_| is_number);
    let length = text.and_then(|text| u64::from_str_radix(text, 16).ok());
    match length {
        None => Err(Wrong::Malformed("a chunk has no length")),
        Some(0) => skip_trailer(connection).map(|()| State::Ended),
        Some(length) => Ok(State::InChunk(length)),
    }
}

/// Reads the line end that closes a chunk.
fn end_chunk<S: Read + Write>(connection: &mut Connection<S>) -> Result<(), Wrong> {
    match connection.read_line(LINE_END_BYTES - 1)?.is_empty() {
        true => Ok(()),
        false => Err(Wrong::Malformed("a chunk is longer than it says")),
    }
}

/// Throws away the fields after the last chunk, up to the empty line.
fn skip_trailer<S: Read + Write>(connection: &mut Connection<S>) -> Result<(), Wrong> {
    for _ in 0..TRAILER_LIMIT_LINES {
        let line = connection.read_line(TRAILER_LIMIT_BYTES)?;
        if line.is_empty() {
            return Ok(());
        }
        if line.contains(&b'\r') {
            return Err(Wrong::Malformed("a line does not end with CR and LF"));
        }
    }
    Err(Wrong::LongHead)
}

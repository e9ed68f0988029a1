//! The framing of message bodies, and reading them (RFC 9112, sections 6 and 7).

use std::io::{self, Read, Write};

use super::{Connection, Headers, Request, Response, Wrong};

/// The maximum length of the line before a chunk: a length of 16 digits, and chunk extensions,
/// which are not used in practice.
const CHUNK_LINE_LIMIT_BYTES: usize = 256;
/// The length of CR LF.
const LINE_END_BYTES: usize = 2;
/// The maximum number of trailer fields after the last chunk. They are discarded.
const TRAILER_LIMIT_LINES: usize = 32;
/// The maximum length of a trailer field.
const TRAILER_LIMIT_BYTES: usize = 4 << 10;

/// How the end of a body is determined.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Framing {
    /// After this number of bytes.
    Length(u64),
    /// After a chunk of zero bytes.
    Chunked,
    /// At the end of the connection. Only for responses.
    UntilClose,
}

impl Framing {
    /// Determines the framing of the body of `request`. Without a length there is no body.
    ///
    /// # Errors
    /// [`Wrong::Malformed`] for a request that a proxy might interpret differently: two lengths, a
    /// length together with a transfer coding, or a transfer coding in HTTP/1.0. [`Wrong::Coding`]
    /// for an unknown transfer coding.
    pub fn of_request(request: &Request) -> Result<Framing, Wrong> {
        match declared(&request.headers, request.minor)? {
            Some(framing) => Ok(framing),
            None => Ok(Framing::Length(0)),
        }
    }

    /// Determines the framing of the body of `response` to a request with `method`.
    ///
    /// # Errors
    /// The same as [`Framing::of_request`].
    pub fn of_response(response: &Response, method: &str) -> Result<Framing, Wrong> {
        let has_none = method == "HEAD" || matches!(response.status, 100..200 | 204 | 304);
        match declared(&response.headers, response.minor)? {
            _ if has_none => Ok(Framing::Length(0)),
            Some(framing) => Ok(framing),
            None => Ok(Framing::UntilClose),
        }
    }
}

/// Determines the framing from the header fields.
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

/// Parses a length that consists only of decimal digits.
pub fn number(text: &str) -> Result<u64, Wrong> {
    let is_number = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let number = is_number.then(|| text.parse().ok()).flatten();
    number.ok_or(Wrong::Malformed("a length is not a number"))
}

/// The state of a body that is being read. Borrows nothing, so that responses can be written
/// meanwhile.
#[derive(Clone, Copy, Debug)]
pub struct Body {
    state: State,
}

#[derive(Clone, Copy, Debug)]
enum State {
    /// The number of remaining bytes.
    Left(u64),
    /// The number of remaining bytes of the current chunk.
    InChunk(u64),
    /// The line end after a chunk follows.
    AfterChunk,
    /// The line with the length of the next chunk follows.
    BeforeChunk,
    UntilClose,
    Ended,
}

impl Body {
    /// Creates the state before the first byte.
    pub fn new(framing: Framing) -> Body {
        let state = match framing {
            Framing::Length(0) => State::Ended,
            Framing::Length(length) => State::Left(length),
            Framing::Chunked => State::BeforeChunk,
            Framing::UntilClose => State::UntilClose,
        };
        Body { state }
    }

    /// Whether the body was read completely, so that another message can follow.
    pub fn is_ended(&self) -> bool {
        matches!(self.state, State::Ended)
    }

    /// The number of remaining bytes, if it is known.
    pub fn left(&self) -> Option<u64> {
        match self.state {
            State::Ended => Some(0),
            State::Left(left) => Some(left),
            State::InChunk(_) | State::AfterChunk | State::BeforeChunk | State::UntilClose => None,
        }
    }

    /// Reads the framing before the next bytes, so that the caller can allocate a buffer after they
    /// have arrived. Returns whether bytes follow.
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

    /// Reads some bytes. Returns 0 at the end of the body.
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

/// Reads at least one of the `left` remaining bytes.
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

/// Reads the line before a chunk, and after the last chunk the trailer.
fn next_chunk<S: Read + Write>(connection: &mut Connection<S>) -> Result<State, Wrong> {
    let line = connection.read_line(CHUNK_LINE_LIMIT_BYTES)?;
    // For example a CR in an extension, which other parsers may treat as the end of the line.
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

/// Reads the line end after a chunk.
fn end_chunk<S: Read + Write>(connection: &mut Connection<S>) -> Result<(), Wrong> {
    match connection.read_line(LINE_END_BYTES - 1)?.is_empty() {
        true => Ok(()),
        false => Err(Wrong::Malformed("a chunk is longer than it says")),
    }
}

/// Discards the trailer fields up to the empty line.
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

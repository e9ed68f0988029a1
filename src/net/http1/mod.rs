//! HTTP/1.1 messages (RFC 9110, 9112), shared by the client and the server.
//!
//! [`head`] parses message heads, [`body`] handles body framing. A [`Connection`] buffers the bytes
//! read beyond a head: the start of a body, or of the next request of a client that uses
//! pipelining. It never reads more than requested, so TCP flow control holds back such a client,
//! and its requests do not accumulate in memory.
//!
//! Anything that two parsers could interpret differently is rejected. This prevents request
//! smuggling: a proxy always sees the same requests as this parser.
//!
//! This module knows neither the purpose of the messages nor their time limits, which are set on
//! the socket.

pub mod body;
pub mod head;

use std::io::{self, Read, Write};

pub use body::{Body, Framing};
pub use head::{Headers, Request, Response};

/// The maximum length of a message head, and of the bytes buffered beyond it.
pub const HEAD_LIMIT_BYTES: usize = 16 << 10;
/// The maximum number of header fields of a message.
pub const FIELDS_LIMIT: usize = 64;

/// Why a message could not be read.
#[derive(Debug)]
pub enum Wrong {
    /// The peer closed the connection, or was idle for too long, before the first byte.
    Closed,
    /// The connection broke, or the message arrived too slowly.
    Io(io::Error),
    /// The request target is too long.
    LongTarget,
    /// The head is too long or has too many fields.
    LongHead,
    /// The protocol is not HTTP/1.0 or HTTP/1.1.
    Version,
    /// The transfer coding is unknown.
    Coding,
    /// Any other error, with its description.
    Malformed(&'static str),
}

impl From<io::Error> for Wrong {
    fn from(cause: io::Error) -> Wrong {
        Wrong::Io(cause)
    }
}

/// A connection that carries messages in both directions.
#[derive(Debug)]
pub struct Connection<S> {
    stream: S,
    /// The bytes that were read but not consumed are `buffer[start..]`. Empty while idle, to save
    /// memory.
    buffer: Vec<u8>,
    start: usize,
}

impl<S: Read + Write> Connection<S> {
    /// Creates a connection with an empty buffer.
    pub fn new(stream: S) -> Connection<S> {
        Connection {
            stream,
            buffer: Vec::new(),
            start: 0,
        }
    }

    /// The underlying stream.
    pub fn stream(&mut self) -> &mut S {
        &mut self.stream
    }

    /// Whether bytes of the next message are buffered.
    pub fn has_more(&self) -> bool {
        self.start < self.buffer.len()
    }

    /// The bytes that were read but not consumed.
    pub fn unread(&self) -> &[u8] {
        &self.buffer[self.start..]
    }

    /// Reads the head of a request.
    ///
    /// # Errors
    /// [`Wrong::Closed`] if the connection ends before a request.
    pub fn read_request(&mut self) -> Result<Request, Wrong> {
        self.read_head(head::parse_request)
    }

    /// Reads the head of a final response, and skips interim (1xx) responses.
    ///
    /// # Errors
    /// [`Wrong::Closed`] if the connection ends before a response.
    pub fn read_response(&mut self) -> Result<Response, Wrong> {
        loop {
            let response = self.read_any_response()?;
            if !response.is_interim() {
                return Ok(response);
            }
        }
    }

    /// Reads the head of a response, which may be an interim (1xx) response.
    pub fn read_any_response(&mut self) -> Result<Response, Wrong> {
        self.read_head(head::parse_response)
    }

    /// Reads until `parse` finds a complete head.
    fn read_head<T>(
        &mut self,
        parse: impl Fn(&[u8]) -> Result<Option<(T, usize)>, Wrong>,
    ) -> Result<T, Wrong> {
        // Parsing is repeated only after a complete line; otherwise a slow sender would cause
        // quadratic costs.
        let mut is_new_line = true;
        loop {
            let unread = &self.buffer[self.start..];
            if is_new_line
                && !unread.is_empty()
                && let Some((head, length)) = parse(unread)?
            {
                self.take(length);
                return Ok(head);
            }
            if unread.len() >= HEAD_LIMIT_BYTES {
                return Err(head::too_long(unread));
            }
            let before = self.buffer.len() - self.start;
            match self.fill()? {
                0 if before == 0 => return Err(Wrong::Closed),
                0 => return Err(Wrong::Malformed("it ends within a head")),
                // The first bytes are parsed immediately, to reject other protocols early.
                _ => is_new_line = before == 0 || self.buffer[before..].contains(&b'\n'),
            }
        }
    }

    /// Reads into the buffer, up to the maximum length of a head.
    fn fill(&mut self) -> io::Result<usize> {
        self.buffer.drain(..self.start);
        self.start = 0;
        let filled = self.buffer.len();
        self.buffer.resize(HEAD_LIMIT_BYTES, 0);
        let outcome = self.stream.read(&mut self.buffer[filled..]);
        self.buffer
            .truncate(filled + *outcome.as_ref().unwrap_or(&0));
        outcome
    }

    /// Consumes `length` bytes of the buffer, and frees its memory when all are consumed.
    fn take(&mut self, length: usize) {
        self.start += length;
        if self.start >= self.buffer.len() {
            self.buffer = Vec::new();
            self.start = 0;
        }
    }

    /// Reads up to `into.len()` bytes, buffered ones first.
    fn read_some(&mut self, into: &mut [u8]) -> io::Result<usize> {
        if !self.has_more() {
            return self.stream.read(into);
        }
        let unread = &self.buffer[self.start..];
        let length = unread.len().min(into.len());
        into[..length].copy_from_slice(&unread[..length]);
        self.take(length);
        Ok(length)
    }

    /// Reads one line of at most `limit` bytes. Returns it without the line end.
    fn read_line(&mut self, limit: usize) -> Result<Vec<u8>, Wrong> {
        loop {
            let unread = &self.buffer[self.start..];
            if let Some(end) = unread.iter().position(|byte| *byte == b'\n') {
                let line = unread[..end].strip_suffix(b"\r");
                let line = line.ok_or(Wrong::Malformed("a line without CR"))?.to_vec();
                self.take(end + 1);
                return Ok(line);
            }
            if unread.len() > limit {
                return Err(Wrong::Malformed("a line too long"));
            }
            if self.fill()? == 0 {
                return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into());
            }
        }
    }

    /// Writes the head of a request: the request line, the fields, and an empty line.
    pub fn write_request(
        &mut self,
        method: &str,
        target: &str,
        fields: &[(&str, &str)],
    ) -> io::Result<()> {
        self.write_head(format!("{method} {target} HTTP/1.1\r\n"), fields, &[])
    }

    /// Writes the head of a response.
    pub fn write_response(&mut self, status: u16, fields: &[(&str, &str)]) -> io::Result<()> {
        self.write_whole_response(status, fields, &[])
    }

    /// Writes the head of a response together with a short body.
    pub fn write_whole_response(
        &mut self,
        status: u16,
        fields: &[(&str, &str)],
        body: &[u8],
    ) -> io::Result<()> {
        let reason = head::reason(status);
        self.write_head(format!("HTTP/1.1 {status} {reason}\r\n"), fields, body)
    }

    /// Writes the first line, the fields and the body in one call, so that they fit in one packet.
    fn write_head(
        &mut self,
        mut head: String,
        fields: &[(&str, &str)],
        body: &[u8],
    ) -> io::Result<()> {
        for (name, value) in fields {
            // A line end in a generated value would inject another field.
            if value.contains(['\r', '\n', '\0']) {
                return Err(io::Error::other("a field of two lines"));
            }
            head.push_str(name);
            head.push_str(": ");
            head.push_str(value);
            head.push_str("\r\n");
        }
        head.push_str("\r\n");
        let mut bytes = head.into_bytes();
        bytes.extend_from_slice(body);
        self.stream.write_all(&bytes)
    }
}

#[cfg(test)]
mod tests;

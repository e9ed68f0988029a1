//! Messages of HTTP/1.1 (RFC 9110, 9112), parsed and written once for client and server.
//!
//! [`head`] understands heads, [`body`] finds where bodies end. A [`Connection`] holds the
//! bytes that were read too far: the beginning of a body, or of the next request of a client
//! that does not wait for answers. It never reads ahead of what it is asked for, so such a
//! client is held back by TCP, not kept in memory.
//!
//! Everything that two parsers could understand differently is refused rather than guessed at,
//! so that no proxy can be made to see other requests than we do.
//!
//! Nothing here knows what is asked for, nor how long it may take: that is set at the socket.

pub mod body;
pub mod head;

use std::io::{self, Read, Write};

pub use body::{Body, Framing};
pub use head::{Headers, Request, Response};

/// The most that the head of a message may have, and what is read at once beyond it.
pub const HEAD_LIMIT_BYTES: usize = 16 << 10;
/// The most header fields that a message may have.
pub const FIELDS_LIMIT: usize = 64;

/// Why a message is not one.
#[derive(Debug)]
pub enum Wrong {
    /// The other side closed, or was idle for too long, before a first byte.
    Closed,
    /// The connection broke, or what came took too long.
    Io(io::Error),
    /// The target of a request is too long.
    LongTarget,
    /// The head is too long, or has too many fields.
    LongHead,
    /// It is not HTTP/1.0 or HTTP/1.1.
    Version,
    /// A coding that is not known.
    Coding,
    /// Anything else, in a few words.
    Malformed(&'static str),
}

impl From<io::Error> for Wrong {
    fn from(cause: io::Error) -> Wrong {
        Wrong::Io(cause)
    }
}

/// A connection on which messages come and go.
#[derive(Debug)]
pub struct Connection<S> {
    stream: S,
    /// What was read and not yet taken: `buffer[start..]`. Holds no memory while idle.
    buffer: Vec<u8>,
    start: usize,
}

impl<S: Read + Write> Connection<S> {
    /// A connection on which nothing was read yet.
    pub fn new(stream: S) -> Connection<S> {
        Connection {
            stream,
            buffer: Vec::new(),
            start: 0,
        }
    }

    /// The stream below.
    pub fn stream(&mut self) -> &mut S {
        &mut self.stream
    }

    /// Whether bytes of a next message were read already.
    pub fn has_more(&self) -> bool {
        self.start < self.buffer.len()
    }

    /// What was read and not yet understood.
    pub fn unread(&self) -> &[u8] {
        &self.buffer[self.start..]
    }

    /// Reads the head of a request.
    ///
    /// # Errors
    /// [`Wrong::Closed`] if none comes.
    pub fn read_request(&mut self) -> Result<Request, Wrong> {
        self.read_head(head::parse_request)
    }

    /// Reads the head of an answer, those that only say to go on left out.
    ///
    /// # Errors
    /// [`Wrong::Closed`] if none comes.
    pub fn read_response(&mut self) -> Result<Response, Wrong> {
        loop {
            let response = self.read_any_response()?;
            if !response.is_interim() {
                return Ok(response);
            }
        }
    }

    /// Reads the head of an answer, which may be one that only says to go on.
    pub fn read_any_response(&mut self) -> Result<Response, Wrong> {
        self.read_head(head::parse_response)
    }

    /// Reads until `parse` finds a whole head.
    fn read_head<T>(
        &mut self,
        parse: impl Fn(&[u8]) -> Result<Option<(T, usize)>, Wrong>,
    ) -> Result<T, Wrong> {
        // Parsed again only when a line has ended, or dripping bytes would cost their square.
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
                // The first bytes tell at once what is no HTTP at all.
                _ => is_new_line = before == 0 || self.buffer[before..].contains(&b'\n'),
            }
        }
    }

    /// Reads what comes into the buffer, up to the length of a head.
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

    /// Marks `length` bytes of the buffer as taken, and gives its memory back when all are.
    fn take(&mut self, length: usize) {
        self.start += length;
        if self.start >= self.buffer.len() {
            self.buffer = Vec::new();
            self.start = 0;
        }
    }

    /// Reads up to `into.len()` bytes, those in the buffer first.
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

    /// Reads one line of at most `limit` bytes, without its end.
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

    /// Writes the head of a request: its line, its fields, and an empty line.
    pub fn write_request(
        &mut self,
        method: &str,
        target: &str,
        fields: &[(&str, &str)],
    ) -> io::Result<()> {
        self.write_head(format!("{method} {target} HTTP/1.1\r\n"), fields, &[])
    }

    /// Writes the head of an answer.
    pub fn write_response(&mut self, status: u16, fields: &[(&str, &str)]) -> io::Result<()> {
        self.write_whole_response(status, fields, &[])
    }

    /// Writes the head of an answer and a body that is short, at once.
    pub fn write_whole_response(
        &mut self,
        status: u16,
        fields: &[(&str, &str)],
        body: &[u8],
    ) -> io::Result<()> {
        let reason = head::reason(status);
        self.write_head(format!("HTTP/1.1 {status} {reason}\r\n"), fields, body)
    }

    /// Writes a first line, fields and a body at once, so that they are one packet.
    fn write_head(
        &mut self,
        mut head: String,
        fields: &[(&str, &str)],
        body: &[u8],
    ) -> io::Result<()> {
        for (name, value) in fields {
            // A field is made by us. A line end in it would be a way to add others.
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

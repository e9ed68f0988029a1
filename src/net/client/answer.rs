//! A response: its head, and its body as a stream.

use super::pool::Lease;
use super::{PIECE_BYTES, Reply, Wire, lost, not_http, unavailable};
use crate::error::{Error, Result};
use crate::net::http1::{Body, Framing, Headers, Response, Wrong};
use crate::net::retry::Failure;
use crate::net::socket::Pace;
use crate::util::human;

/// A response. Owns its connection until it is dropped. If the body was read completely, the
/// connection is then kept for the next request.
pub struct Answer<'a> {
    lease: Lease<'a>,
    /// `None` after the connection was returned.
    wire: Option<Wire>,
    response: Response,
    framing: Framing,
    body: Body,
    is_reusable: bool,
    pace: Pace,
}

impl<'a> Answer<'a> {
    pub(super) fn new(
        lease: Lease<'a>,
        reply: Reply,
        method: &str,
        pace: Pace,
    ) -> Result<Answer<'a>, Failure> {
        let framing = Framing::of_response(&reply.response, method);
        let framing = framing.map_err(|wrong| not_http(&wrong))?;
        Ok(Answer {
            lease,
            is_reusable: reply.is_sent && reply.response.is_kept(),
            wire: Some(reply.wire),
            response: reply.response,
            framing,
            body: Body::new(framing),
            pace,
        })
    }

    /// The status of the final response; never an interim (1xx) status or a redirect.
    pub fn status(&self) -> u16 {
        self.response.status
    }

    /// The header fields, with names in lower case.
    pub fn headers(&self) -> &Headers {
        &self.response.headers
    }

    /// The length of the body, if the server sent it.
    pub fn size_bytes(&self) -> Option<u64> {
        match self.framing {
            Framing::Length(length) => Some(length),
            Framing::Chunked | Framing::UntilClose => None,
        }
    }

    /// Reads some bytes of the body. Returns 0 at its end.
    ///
    /// # Errors
    /// [`crate::error::Kind::Unavailable`] if the connection is lost or the body is slower than the
    /// minimum rate, however regularly bytes arrive.
    pub fn read(&mut self, into: &mut [u8]) -> Result<usize, Failure> {
        let most = into.len().min(PIECE_BYTES);
        let Some(wire) = &mut self.wire else {
            return Ok(0);
        };
        wire.stream().set_limit(self.pace.limit());
        let read = self.body.read(wire, &mut into[..most]);
        let read = read.map_err(|wrong| match wrong {
            Wrong::Io(cause) => unavailable(cause).into(),
            _ if wire.stream().has_ended() => lost("the connection ended within an answer"),
            wrong => not_http(&wrong),
        })?;
        self.pace.count(read as u64);
        Ok(read)
    }

    /// Reads until `into[*filled..]` is full. Updates `filled` even if it fails.
    ///
    /// # Errors
    /// [`crate::error::Kind::Corrupt`] if the body ends too early;
    /// [`crate::error::Kind::Unavailable`] if the connection is lost.
    pub fn fill(&mut self, into: &mut [u8], filled: &mut usize) -> Result<(), Failure> {
        while *filled < into.len() {
            match self.read(&mut into[*filled..])? {
                0 => return Err(Error::corrupt("the answer ends too early").into()),
                read => *filled += read,
            }
        }
        Ok(())
    }

    /// Discards the next `length` bytes.
    ///
    /// # Errors
    /// The same as [`Answer::fill`].
    pub fn skip(&mut self, length: u64) -> Result<(), Failure> {
        let mut buffer = vec![0; PIECE_BYTES];
        let mut left = length;
        while left > 0 {
            let most = usize::try_from(left).map_or(PIECE_BYTES, |left| left.min(PIECE_BYTES));
            let mut filled = 0;
            self.fill(&mut buffer[..most], &mut filled)?;
            left -= filled as u64;
        }
        Ok(())
    }

    /// Reads the whole body of at most `limit` bytes. Allocates no more memory than the bytes
    /// received.
    ///
    /// # Errors
    /// [`crate::error::Kind::Corrupt`] if the body is longer.
    pub fn all(&mut self, limit: u64) -> Result<Vec<u8>, Failure> {
        let over = || {
            let limit = human::size(limit);
            Failure::Final(Error::corrupt(format!("the answer has more than {limit}")))
        };
        if self.size_bytes().is_some_and(|length| length > limit) {
            return Err(over());
        }
        let mut bytes = Vec::new();
        let mut buffer = vec![0; PIECE_BYTES];
        loop {
            match self.read(&mut buffer)? {
                0 => return Ok(bytes),
                read if (bytes.len() + read) as u64 > limit => return Err(over()),
                read => bytes.extend_from_slice(&buffer[..read]),
            }
        }
    }
}

impl Drop for Answer<'_> {
    fn drop(&mut self) {
        if let Some(wire) = self.wire.take()
            && self.is_reusable
            && self.body.is_ended()
        {
            self.lease.keep(wire);
        }
    }
}

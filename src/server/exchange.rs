//! A request that is being processed: its head, and access to its body piece by piece.

use std::io;

use super::Server;
use super::answer::Answer;
use super::wire::Wire;
use crate::net::http1::{Body, Connection, Framing, Request, Wrong};
use crate::net::socket::{Limit, Pace};

use super::connection::{GRACE, PACE_BYTES_PER_SECOND};

/// A request and its connection.
pub(super) struct Exchange<'a> {
    pub(super) server: &'a Server,
    pub(super) request: &'a Request,
    connection: &'a mut Connection<Wire>,
    body: Body,
    /// Whether the client waits for `100 Continue` before it sends the body.
    is_held_back: bool,
    /// The number of bytes of the body received so far.
    pub(super) received: u64,
    pace: Pace,
    /// Whether the request was admitted.
    pub(super) is_authorized: bool,
}

impl<'a> Exchange<'a> {
    /// Prepares the processing of `request`.
    ///
    /// # Errors
    /// The response to a request with invalid body framing or an unknown `Expect` value.
    pub(super) fn new(
        server: &'a Server,
        connection: &'a mut Connection<Wire>,
        request: &'a Request,
    ) -> Result<Exchange<'a>, Answer> {
        let framing = Framing::of_request(request).map_err(|wrong| Answer::of_wrong(&wrong))?;
        let mut expected = request.headers.all("expect");
        // HTTP/1.0 has no expectations (RFC 9110, section 10.1.1).
        let is_held_back = match (request.minor, expected.next(), expected.next()) {
            (0, ..) | (_, None, _) => false,
            (_, Some(word), None) if word.eq_ignore_ascii_case("100-continue") => true,
            _ => {
                let answer = Answer::failure(417, "usage", "nothing is expected but 100-continue");
                return Err(answer.last());
            }
        };
        Ok(Exchange {
            server,
            request,
            is_held_back: is_held_back && framing != Framing::Length(0),
            body: Body::new(framing),
            connection,
            received: 0,
            pace: Pace::new(GRACE, PACE_BYTES_PER_SECOND),
            is_authorized: false,
        })
    }

    /// Returns the value of a field, or `None` if it is missing or occurs more than once.
    pub(super) fn field(&self, name: &str) -> Option<&'a str> {
        self.request.headers.only(name).ok().flatten()
    }

    /// Whether the client waits for `100 Continue` before it sends the body.
    pub(super) fn is_held_back(&self) -> bool {
        self.is_held_back
    }

    /// The length of the body, if the client has announced it.
    pub(super) fn declared(&self) -> Option<u64> {
        self.body.left()
    }

    /// Checks the announced length of the body.
    ///
    /// # Errors
    /// 411 if the client does not announce a length or a transfer coding; 413 if the body is longer
    /// than `limit`.
    pub(super) fn check_length(&self, limit: u64) -> Result<(), Answer> {
        let has = |name| self.request.headers.first(name).is_some();
        if !has("content-length") && !has("transfer-encoding") {
            return Err(Answer::failure(411, "usage", "a body needs a length"));
        }
        match self.declared() {
            Some(length) if length > limit => Err(too_large(limit)),
            _ => Ok(()),
        }
    }

    /// Passes the body to `each`, one piece at a time, and returns its length.
    ///
    /// # Errors
    /// The response to a body that is longer than `limit` or malformed or arrives too slowly, or an
    /// error response of `each`.
    pub(super) fn each_piece(
        &mut self,
        limit: u64,
        mut each: impl FnMut(&[u8]) -> Result<(), Answer>,
    ) -> Result<u64, Answer> {
        self.go_on()
            .map_err(|cause| Answer::of_wrong(&cause.into()))?;
        self.pace = Pace::new(GRACE, PACE_BYTES_PER_SECOND);
        loop {
            match self.piece(limit, &mut each) {
                Ok(0) => return Ok(self.received),
                Ok(_) => {}
                Err(answer) => return Err(answer.last()),
            }
        }
    }

    /// Reads one piece. The buffer is allocated only after bytes have arrived.
    fn piece(
        &mut self,
        limit: u64,
        each: &mut impl FnMut(&[u8]) -> Result<(), Answer>,
    ) -> Result<u64, Answer> {
        let wrong = |wrong: Wrong| Answer::of_wrong(&wrong);
        self.connection.stream().set_limit(self.pace.limit());
        if !self.body.begin(self.connection).map_err(wrong)? {
            return Ok(0);
        }
        if !self.connection.has_more() {
            let awaited = self.connection.stream().await_bytes();
            awaited.map_err(|cause| wrong(cause.into()))?;
        }
        let mut buffer = self.server.budget.buffer();
        let read = self
            .body
            .read(self.connection, &mut buffer)
            .map_err(wrong)?;
        let length = read as u64;
        self.received = self.received.saturating_add(length);
        self.pace.count(length);
        if self.received > limit {
            return Err(too_large(limit));
        }
        each(buffer.get(..read).unwrap_or_default())?;
        Ok(length)
    }

    /// Reads the whole body, which must be short.
    ///
    /// # Errors
    /// The same as [`Exchange::each_piece`].
    pub(super) fn whole(&mut self, limit: u64) -> Result<Vec<u8>, Answer> {
        let mut bytes = Vec::new();
        self.each_piece(limit, |piece| {
            bytes.extend_from_slice(piece);
            Ok(())
        })?;
        Ok(bytes)
    }

    /// Sends `100 Continue` to a client that waits for it (RFC 9110, section 10.1.1).
    fn go_on(&mut self) -> io::Result<()> {
        if !std::mem::take(&mut self.is_held_back) || self.connection.has_more() {
            return Ok(());
        }
        self.connection.stream().set_limit(pace());
        self.connection.write_response(100, &[])
    }

    /// Discards the rest of the body if it has at most `limit` bytes, so that another request can
    /// follow. Returns false if none can.
    pub(super) fn settle(&mut self, limit: u64) -> bool {
        if self.body.is_ended() {
            return true;
        }
        let is_short = self.body.left().is_none_or(|left| left <= limit);
        let limit = self.received.saturating_add(limit);
        !self.is_held_back && is_short && self.each_piece(limit, |_| Ok(())).is_ok()
    }

    /// Like [`Exchange::settle`], but does not wait for an unauthorized client: succeeds only if
    /// the rest was already received.
    pub(super) fn settle_received(&mut self) -> bool {
        let received = self.connection.unread().len() as u64;
        self.body.left().is_some_and(|left| left <= received) && self.settle(received)
    }
}

/// The minimum rate of a response, measured from now.
pub(super) fn pace() -> Limit {
    Limit::pace(GRACE, PACE_BYTES_PER_SECOND)
}

fn too_large(limit: u64) -> Answer {
    Answer::failure(413, "usage", format!("more than {limit} bytes"))
}

//! A connection to a client, with or without TLS.

use std::io::{self, Read, Write};
use std::net::Shutdown;

use crate::net::socket::{Limit, Socket};
use crate::net::tls::server::Stream;

/// A connection to a client.
pub(super) enum Wire {
    Plain(Socket),
    Tls(Box<Stream>),
}

impl Wire {
    fn socket(&mut self) -> &mut Socket {
        match self {
            Wire::Plain(socket) => socket,
            Wire::Tls(stream) => stream.socket(),
        }
    }

    /// Sets the limit for the following operations.
    pub(super) fn set_limit(&mut self, limit: Limit) {
        self.socket().set_limit(limit);
    }

    /// Waits for bytes without consuming them, so that a buffer is needed only afterwards. Returns
    /// false at the end of the stream.
    pub(super) fn await_bytes(&mut self) -> io::Result<bool> {
        match self {
            Wire::Plain(socket) => socket.await_bytes(),
            Wire::Tls(stream) => stream.await_bytes(),
        }
    }

    /// Sends the end of the stream.
    pub(super) fn end_writing(&mut self) {
        if let Wire::Tls(stream) = self {
            stream.close();
        }
        self.socket().shutdown(Shutdown::Write);
    }
}

impl Read for Wire {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        match self {
            Wire::Plain(socket) => socket.read(into),
            Wire::Tls(stream) => stream.read(into),
        }
    }
}

impl Write for Wire {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Wire::Plain(socket) => socket.write(bytes),
            Wire::Tls(stream) => stream.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Wire::Plain(socket) => socket.flush(),
            Wire::Tls(stream) => stream.flush(),
        }
    }
}

//! The transport of HTTP: TCP, or TLS over TCP.

use std::io::{self, Read, Write};

use rustix::event::{PollFd, PollFlags, Timespec, poll};

use crate::net::socket::{Limit, Socket};
use crate::net::tls::client as tls;

/// A connection, with or without TLS.
#[derive(Debug)]
pub(super) struct Stream {
    over: Over,
    has_ended: bool,
}

#[derive(Debug)]
enum Over {
    Tcp(Socket),
    Tls(Box<tls::Stream>),
}

impl Stream {
    pub(super) fn plain(socket: Socket) -> Stream {
        Stream {
            over: Over::Tcp(socket),
            has_ended: false,
        }
    }

    pub(super) fn tls(stream: tls::Stream) -> Stream {
        Stream {
            over: Over::Tls(Box::new(stream)),
            has_ended: false,
        }
    }

    fn socket(&mut self) -> &mut Socket {
        match &mut self.over {
            Over::Tcp(socket) => socket,
            Over::Tls(stream) => stream.socket(),
        }
    }

    /// Sets the limit for the following operations.
    pub(super) fn set_limit(&mut self, limit: Limit) {
        self.socket().set_limit(limit);
    }

    /// Whether the end of the stream was read.
    pub(super) fn has_ended(&self) -> bool {
        self.has_ended
    }

    /// Whether the socket is readable: bytes, an end of file, or an error are pending.
    pub(super) fn is_stirring(&mut self) -> bool {
        let tcp = self.socket().tcp().clone();
        let mut ends = [PollFd::new(&*tcp, PollFlags::IN | PollFlags::RDHUP)];
        let at_once = Timespec {
            tv_sec: 0,
            tv_nsec: 0,
        };
        // If poll fails, the state is unknown, and the connection is assumed to be broken.
        poll(&mut ends, Some(&at_once)).map_or(true, |count| count > 0)
    }

    /// Whether application data is available, as opposed to records that concern only TLS.
    pub(super) fn has_incoming(&mut self) -> io::Result<bool> {
        if !self.is_stirring() {
            return Ok(false);
        }
        match &mut self.over {
            Over::Tcp(_) => Ok(true),
            Over::Tls(stream) => stream.take_in(),
        }
    }
}

impl Read for Stream {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let outcome = match &mut self.over {
            Over::Tcp(socket) => socket.read(into),
            Over::Tls(stream) => stream.read(into),
        };
        self.has_ended |= matches!(outcome, Ok(0)) && !into.is_empty();
        outcome
    }
}

impl Write for Stream {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match &mut self.over {
            Over::Tcp(socket) => socket.write(bytes),
            Over::Tls(stream) => stream.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match &mut self.over {
            Over::Tcp(socket) => socket.flush(),
            Over::Tls(stream) => stream.flush(),
        }
    }
}

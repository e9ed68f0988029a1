//! What HTTP goes over: TCP, or TLS over it.

use std::io::{self, Read, Write};

use rustix::event::{PollFd, PollFlags, Timespec, poll};

use crate::net::socket::{Limit, Socket};
use crate::net::tls::client as tls;

/// A connection, in clear or over TLS.
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

    /// Sets how long what comes next may take.
    pub(super) fn set_limit(&mut self, limit: Limit) {
        self.socket().set_limit(limit);
    }

    /// Whether the other side has closed, as far as was read.
    pub(super) fn has_ended(&self) -> bool {
        self.has_ended
    }

    /// Whether something lies at the socket: bytes, an end, or an error.
    pub(super) fn is_stirring(&mut self) -> bool {
        let tcp = self.socket().tcp().clone();
        let mut ends = [PollFd::new(&*tcp, PollFlags::IN | PollFlags::RDHUP)];
        let at_once = Timespec {
            tv_sec: 0,
            tv_nsec: 0,
        };
        // What cannot be told is taken for trouble.
        poll(&mut ends, Some(&at_once)).map_or(true, |count| count > 0)
    }

    /// Whether there is something to be read for us, not only for TLS.
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

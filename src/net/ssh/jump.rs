//! A connection through another host: what ssh calls `ProxyJump`.
//!
//! The host in between is asked to connect to the one beyond. That channel becomes one end of
//! a pair of sockets, the other end of which a second session speaks through. A thread carries
//! bytes between both until either ends.

use std::io::{self, ErrorKind, Read, Write};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::thread;

use rustix::event::{PollFd, PollFlags, poll};
use rustix::time::Timespec;
use ssh2::{BlockDirections, Channel};

use super::TICK;
use super::session::{Session, broken};
use super::wire::Wire;
use crate::error::{Error, Kind, Result};

/// What is carried at once: two windows of a small packet each.
const PIECE_BYTES: usize = 64 << 10;

/// A connection to `host` through `session`, which goes with it.
pub(super) fn through(session: Session, host: &str, port: u16) -> Result<Wire> {
    let open = || session.ssh().channel_direct_tcpip(host, port, None);
    let channel = session.drive(open)?.map_err(|cause| {
        // The session is well; what is beyond is not to be had.
        Error::new(Kind::Unavailable, broken(&cause).to_string())
    })?;
    let (ours, theirs) = UnixStream::pair()?;
    theirs.set_nonblocking(true)?;
    thread::spawn(move || {
        let mut bridge = Bridge {
            session,
            channel,
            near: theirs,
            inwards: Piece::default(),
            outwards: Piece::default(),
        };
        // Whoever speaks through it sees the end of it, and that is all there is to tell.
        let _ = bridge.carry();
        let _ = bridge.near.shutdown(Shutdown::Both);
    });
    Ok(Wire::pair(ours))
}

/// Bytes that were read and not all written.
#[derive(Default)]
struct Piece {
    bytes: Vec<u8>,
    written: usize,
}

impl Piece {
    fn is_empty(&self) -> bool {
        self.written == self.bytes.len()
    }

    /// Moves what can be moved now; whether that was anything.
    fn pass(&mut self, from: &mut impl Read, to: &mut impl Write) -> io::Result<bool> {
        let mut has_moved = false;
        if self.is_empty() {
            self.bytes.resize(PIECE_BYTES, 0);
            let read = match from.read(&mut self.bytes) {
                Err(cause) if cause.kind() == ErrorKind::WouldBlock => None,
                read => Some(read?),
            };
            self.bytes.truncate(read.unwrap_or(0));
            self.written = 0;
            match read {
                Some(0) => return Err(ErrorKind::UnexpectedEof.into()),
                read => has_moved |= read.is_some(),
            }
        }
        if !self.is_empty() {
            match to.write(&self.bytes[self.written..]) {
                Err(cause) if cause.kind() == ErrorKind::WouldBlock => {}
                written => {
                    self.written += written?;
                    has_moved = true;
                }
            }
        }
        Ok(has_moved)
    }
}

struct Bridge {
    session: Session,
    channel: Channel,
    near: UnixStream,
    /// On its way from the channel to the pair.
    inwards: Piece,
    /// On its way from the pair to the channel.
    outwards: Piece,
}

impl Bridge {
    /// Carries bytes until an end or an error.
    fn carry(&mut self) -> io::Result<()> {
        loop {
            // Outwards first: writing to the channel may take packets in, which the second
            // step finds, where waiting for the socket would not.
            let mut has_moved = self.outwards.pass(&mut self.near, &mut self.channel)?;
            has_moved |= self.inwards.pass(&mut self.channel, &mut self.near)?;
            if !has_moved {
                self.wait()?;
            }
        }
    }

    fn wait(&self) -> io::Result<()> {
        let far = match self.session.ssh().block_directions() {
            BlockDirections::Outbound | BlockDirections::Both => PollFlags::IN | PollFlags::OUT,
            BlockDirections::None | BlockDirections::Inbound => PollFlags::IN,
        };
        let mut near = PollFlags::empty();
        if self.outwards.is_empty() {
            near |= PollFlags::IN;
        }
        if !self.inwards.is_empty() {
            near |= PollFlags::OUT;
        }
        let tick = Timespec::try_from(TICK).map_err(io::Error::other)?;
        let mut both = [
            PollFd::new(self.session.wire(), far),
            PollFd::new(&self.near, near),
        ];
        match poll(&mut both, Some(&tick)) {
            Err(rustix::io::Errno::INTR) => Ok(()),
            outcome => Ok(outcome.map(|_| ())?),
        }
    }
}

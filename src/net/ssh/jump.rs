//! A connection through a jump host (`ProxyJump` in ssh_config(5)).
//!
//! The jump host opens a channel to the next host. A thread copies bytes between this channel and
//! one end of a socket pair, until either closes. The session with the next host uses the other end
//! of the pair.

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

/// The number of bytes copied at once: two windows of one small packet each.
const PIECE_BYTES: usize = 64 << 10;

/// Connects to `host` through `session`. The connection owns the session.
pub(super) fn through(session: Session, host: &str, port: u16) -> Result<Wire> {
    let open = || session.ssh().channel_direct_tcpip(host, port, None);
    let channel = session.drive(open)?.map_err(|cause| {
        // The session is intact; the host beyond it is unreachable.
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
        // The session that uses the pair sees the end of the connection; no other report is needed.
        let _ = bridge.carry();
        let _ = bridge.near.shutdown(Shutdown::Both);
    });
    Ok(Wire::pair(ours))
}

/// Bytes read but not completely written.
#[derive(Default)]
struct Piece {
    bytes: Vec<u8>,
    written: usize,
}

impl Piece {
    fn is_empty(&self) -> bool {
        self.written == self.bytes.len()
    }

    /// Copies the bytes available now. Returns whether there were any.
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
    /// Bytes from the channel to the pair.
    inwards: Piece,
    /// Bytes from the pair to the channel.
    outwards: Piece,
}

impl Bridge {
    /// Copies bytes until an end of file or an error.
    fn carry(&mut self) -> io::Result<()> {
        loop {
            // Outwards first: a write to the channel may also receive packets. The second step
            // finds them; a wait for the socket would not.
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

//! One SSH connection of libssh2, in which every wait has a limit.
//!
//! libssh2 runs in non-blocking mode. When a call would block, [`Session::drive`] waits for the
//! socket and repeats the call. During this wait it notices interrupt requests, sends keepalive
//! messages to a silent server, and gives up when the server stays silent for too long. The timeout
//! of libssh2 cannot do this: it applies to the whole call, however many bytes the call transfers.
//!
//! Only one thread at a time may use a session: concurrent writes break the connection. `drop`
//! follows a fixed order: send a disconnect message, shut down the socket, then free the objects of
//! libssh2. If the socket were still open, freeing each object would wait for the server again.

use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;
use rustix::time::Timespec;
use ssh2::{BlockDirections, ErrorCode};

use super::TICK;
use super::wire::Wire;
use crate::error::{Error, Kind, Result};
use crate::util::interrupt::Interrupt;

/// The code that libssh2 returns when a call would block (`LIBSSH2_ERROR_EAGAIN`).
const AGAIN: i32 = -37;
/// The maximum duration of one call while the server is alive. The disk of the server may be slow,
/// but a disk that hangs must not block the caller forever.
const CALL_LIMIT: Duration = Duration::from_secs(15 * 60);

/// An error that may only mean that the call must be repeated.
pub(super) trait Outcome {
    /// Whether the call would have blocked.
    fn is_again(&self) -> bool;
}

impl Outcome for ssh2::Error {
    fn is_again(&self) -> bool {
        self.code() == ErrorCode::Session(AGAIN)
    }
}

impl Outcome for io::Error {
    fn is_again(&self) -> bool {
        self.kind() == io::ErrorKind::WouldBlock
    }
}

/// The keepalive settings: how long a silent server is tolerated.
#[derive(Clone, Copy, Debug)]
pub(super) struct Patience {
    /// The silence after which a keepalive message is sent.
    pub(super) interval: Duration,
    /// The number of keepalive messages without a response before the connection is closed.
    pub(super) count: u32,
}

impl Patience {
    /// The silence after which the connection is closed.
    fn limit(self) -> Duration {
        self.interval * self.count
    }
}

pub(super) struct Session {
    ssh: ssh2::Session,
    wire: Arc<Wire>,
    patience: Patience,
    /// Whether authentication has succeeded. No keepalive message may be sent before that.
    is_let_in: bool,
    interrupt: Interrupt,
}

impl Session {
    /// Creates a session over `wire`. Nothing is sent yet.
    pub(super) fn new(wire: Wire, patience: Duration, interrupt: &Interrupt) -> Result<Session> {
        let failed = |cause: ssh2::Error| Error::new(Kind::Failed, cause.message().to_owned());
        let mut ssh = ssh2::Session::new().map_err(failed)?;
        let wire = Arc::new(wire);
        ssh.set_blocking(false);
        // Applies only when libssh2 frees objects: no other call blocks inside libssh2.
        ssh.set_timeout(u32::try_from(TICK.as_millis()).unwrap_or(u32::MAX));
        ssh.set_tcp_stream(wire.clone());
        Ok(Session {
            ssh,
            wire,
            patience: Patience {
                interval: patience,
                count: 1,
            },
            is_let_in: false,
            interrupt: interrupt.clone(),
        })
    }

    /// The session of libssh2, for calls within [`Session::drive`].
    pub(super) fn ssh(&self) -> &ssh2::Session {
        &self.ssh
    }

    pub(super) fn wire(&self) -> &Wire {
        &self.wire
    }

    /// Exchanges keys. The inner result is that of libssh2.
    pub(super) fn handshake(&mut self) -> Result<Result<(), ssh2::Error>> {
        let mut ssh = self.ssh.clone();
        self.drive(|| ssh.handshake())
    }

    /// Sends keepalive messages to a silent server from now on, with the given intervals.
    pub(super) fn keep_alive(&mut self, patience: Patience) {
        let seconds = u32::try_from(patience.interval.as_secs()).unwrap_or(u32::MAX);
        self.ssh.set_keepalive(true, seconds.max(1));
        self.patience = patience;
        self.is_let_in = true;
    }

    /// Repeats `call` until it no longer would block.
    ///
    /// # Errors
    /// [`Kind::Unavailable`] if the server stayed silent for too long; [`Kind::Interrupted`]. After
    /// either the session is unusable. Any other error of `call` is returned in the inner result.
    pub(super) fn drive<T, E: Outcome>(
        &self,
        mut call: impl FnMut() -> Result<T, E>,
    ) -> Result<Result<T, E>> {
        let begun = Instant::now();
        let mut heard = begun;
        loop {
            match call() {
                Err(error) if error.is_again() => {}
                outcome => return Ok(outcome),
            }
            self.wait(begun, &mut heard)?;
        }
    }

    /// Waits for the socket. `heard` is the time at which the socket was last ready.
    fn wait(&self, begun: Instant, heard: &mut Instant) -> Result<()> {
        loop {
            self.interrupt.check()?;
            if self.is_ready()? {
                *heard = Instant::now();
                if begun.elapsed() > CALL_LIMIT {
                    return Err(silent(CALL_LIMIT));
                }
                return Ok(());
            }
            let limit = self.patience.limit();
            if heard.elapsed() > limit {
                return Err(silent(limit));
            }
            self.ask_for_life();
        }
    }

    /// Waits for at most one [`TICK`]. Returns whether the socket is ready in the directions that
    /// libssh2 needs.
    fn is_ready(&self) -> Result<bool> {
        let flags = match self.ssh.block_directions() {
            BlockDirections::Outbound => PollFlags::OUT,
            BlockDirections::Both => PollFlags::IN | PollFlags::OUT,
            BlockDirections::None | BlockDirections::Inbound => PollFlags::IN,
        };
        let tick = Timespec::try_from(TICK).map_err(|_| Errno::INVAL)?;
        match poll(&mut [PollFd::new(&*self.wire, flags)], Some(&tick)) {
            Err(Errno::INTR) => Ok(false),
            ready => Ok(ready? > 0),
        }
    }

    /// Sends a keepalive request, which every server answers, if the previous one is old enough and
    /// no packet is partially sent: a partial packet must be completed before another one begins.
    fn ask_for_life(&self) {
        if self.is_let_in && self.ssh.block_directions() == BlockDirections::Inbound {
            // An error is ignored here: if the message is lost, the server stays silent and the
            // limit applies.
            let _ = self.ssh.keepalive_send();
        }
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        if self.is_let_in && !std::thread::panicking() {
            // Sent without waiting: a lost disconnect message does no harm.
            let _ = self.ssh.disconnect(None, "done", None);
        }
        self.wire.shutdown();
    }
}

fn silent(limit: Duration) -> Error {
    let cause = format!("no answer for {} seconds", limit.as_secs());
    Error::new(Kind::Unavailable, cause)
}

/// The error of a broken connection. Not for SFTP status codes.
pub(super) fn broken(cause: &ssh2::Error) -> Error {
    let words = cause.message();
    let mut letters = words.chars();
    let words = match letters.next() {
        Some(first) => first.to_lowercase().chain(letters).collect(),
        None => String::from("no reason given"),
    };
    Error::new(Kind::Unavailable, format!("connection lost: {words}"))
}

//! One SSH connection of libssh2, on which nothing waits for ever.
//!
//! libssh2 is told not to wait. When a call would have to, [`Session::drive`] waits for the
//! socket itself and makes the call again: so it notices a request to stop, asks a silent
//! server whether it lives, and gives up on one from which nothing comes. libssh2's own
//! timeout does neither: it is counted per call, however much the call moves.
//!
//! A session is used by one thread at a time; two that write at once lose the connection.
//! It is let go of in this order: say farewell, shut the socket, then free what libssh2
//! holds. With an open socket each piece would wait for the server once more.

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

/// What libssh2 returns when it would have to wait (`LIBSSH2_ERROR_EAGAIN`).
const AGAIN: i32 = -37;
/// Longest that one call may take although the server is alive: its disk may be slow, but
/// one that hangs must not hold us for ever.
const CALL_LIMIT: Duration = Duration::from_secs(15 * 60);

/// An error that may only mean that a call has to be made again.
pub(super) trait Outcome {
    /// Whether the call would have had to wait.
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

/// How long a silent server is waited for.
#[derive(Clone, Copy, Debug)]
pub(super) struct Patience {
    /// Silence after which it is asked whether it lives.
    pub(super) interval: Duration,
    /// How often.
    pub(super) count: u32,
}

impl Patience {
    /// Silence after which the connection is given up.
    fn limit(self) -> Duration {
        self.interval * self.count
    }
}

/// A connection.
pub(super) struct Session {
    ssh: ssh2::Session,
    wire: Arc<Wire>,
    patience: Patience,
    /// Whether we are let in; before that nobody may be asked whether they live.
    is_let_in: bool,
    interrupt: Interrupt,
}

impl Session {
    /// A session over `wire` that has not said a word yet.
    pub(super) fn new(wire: Wire, patience: Duration, interrupt: &Interrupt) -> Result<Session> {
        let failed = |cause: ssh2::Error| Error::new(Kind::Failed, cause.message().to_owned());
        let mut ssh = ssh2::Session::new().map_err(failed)?;
        let wire = Arc::new(wire);
        ssh.set_blocking(false);
        // For what is freed only: calls of ours never wait inside.
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

    /// What it speaks through.
    pub(super) fn wire(&self) -> &Wire {
        &self.wire
    }

    /// Exchanges keys.
    pub(super) fn handshake(&mut self) -> Result<Result<(), ssh2::Error>> {
        let mut ssh = self.ssh.clone();
        self.drive(|| ssh.handshake())
    }

    /// From now on a silent server is asked whether it lives, with such patience.
    pub(super) fn keep_alive(&mut self, patience: Patience) {
        let seconds = u32::try_from(patience.interval.as_secs()).unwrap_or(u32::MAX);
        self.ssh.set_keepalive(true, seconds.max(1));
        self.patience = patience;
        self.is_let_in = true;
    }

    /// Makes `call` until it need not wait any more.
    ///
    /// # Errors
    /// [`Kind::Unavailable`] when nothing came for too long, [`Kind::Interrupted`]. After
    /// either the session is of no use. What `call` returns else is within.
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

    /// Waits for the socket. `heard` is when it was ready last.
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

    /// Whether the socket is ready for what libssh2 waits for, within a tick.
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

    /// Sends a question that any server answers, if the last one is old enough and nothing
    /// of ours is on its way: half a packet must be completed before another is begun.
    fn ask_for_life(&self) {
        if self.is_let_in && self.ssh.block_directions() == BlockDirections::Inbound {
            // That it could not be sent shows in what comes, or does not.
            let _ = self.ssh.keepalive_send();
        }
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        if self.is_let_in && !std::thread::panicking() {
            // Not waited for: a farewell that cannot be sent is not missed.
            let _ = self.ssh.disconnect(None, "done", None);
        }
        self.wire.shutdown();
    }
}

fn silent(limit: Duration) -> Error {
    let cause = format!("no answer for {} seconds", limit.as_secs());
    Error::new(Kind::Unavailable, cause)
}

/// The error of a connection that broke, for any but a status of SFTP.
pub(super) fn broken(cause: &ssh2::Error) -> Error {
    let words = cause.message();
    let mut letters = words.chars();
    let words = match letters.next() {
        Some(first) => first.to_lowercase().chain(letters).collect(),
        None => String::from("no reason is told"),
    };
    Error::new(Kind::Unavailable, format!("connection lost: {words}"))
}

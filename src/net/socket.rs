//! A TCP connection in which every wait has a limit.
//!
//! A timeout of the operating system restarts with each byte, so a peer that sends one byte per
//! minute could occupy a thread for days. A [`Limit`] does not restart: it is either a deadline or
//! a minimum average rate. Before each call the remaining time is set as timeout of the socket.
//! When none remains, calls fail with [`ErrorKind::TimedOut`]. They also fail with it after an
//! interrupt request, if the socket has an interrupt flag.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::util::interrupt::Interrupt;

/// The longest delay before an interrupt request is noticed.
const GLANCE: Duration = Duration::from_millis(200);

/// The time limit of the current operation.
#[derive(Clone, Copy, Debug)]
pub enum Limit {
    /// No limit. Only for trusted peers.
    None,
    /// A deadline for the whole operation, regardless of its progress.
    Until(Instant),
    /// A minimum average rate, after a grace period.
    Pace {
        /// The start of the operation.
        since: Instant,
        /// The time granted in addition to that for the bytes.
        grace: Duration,
        /// The minimum rate, averaged since the start.
        bytes_per_second: u64,
    },
}

impl Limit {
    /// A deadline `time` from now.
    pub fn within(time: Duration) -> Limit {
        Limit::Until(Instant::now() + time)
    }

    /// A minimum rate, measured from now.
    pub fn pace(grace: Duration, bytes_per_second: u64) -> Limit {
        Limit::Pace {
            since: Instant::now(),
            grace,
            bytes_per_second,
        }
    }

    /// The time that remains after `moved` bytes, or `None` without a limit.
    fn left(self, moved: u64) -> Option<Duration> {
        let until = match self {
            Limit::None => return None,
            Limit::Until(until) => until,
            Limit::Pace {
                since,
                grace,
                bytes_per_second,
            } => {
                let seconds = moved as f64 / bytes_per_second.max(1) as f64;
                since + grace + Duration::try_from_secs_f64(seconds).unwrap_or(Duration::MAX / 4)
            }
        };
        Some(until.saturating_duration_since(Instant::now()))
    }
}

/// The number of bytes after which a [`Pace`] restarts. Otherwise a peer that was fast at first
/// could pause for hours.
pub const PACE_WINDOW_BYTES: u64 = 1 << 20;

/// The minimum rate of a body, measured in windows. It counts only bytes of the body, not its
/// framing, and does not depend on how regularly bytes arrive.
#[derive(Clone, Copy, Debug)]
pub struct Pace {
    since: Instant,
    /// The number of bytes since `since`.
    moved: u64,
    grace: Duration,
    bytes_per_second: u64,
}

impl Pace {
    /// Starts measuring: the deadline is `grace` plus the time that the bytes take at
    /// `bytes_per_second`.
    pub fn new(grace: Duration, bytes_per_second: u64) -> Pace {
        Pace {
            since: Instant::now(),
            moved: 0,
            grace,
            bytes_per_second,
        }
    }

    /// The deadline for the next bytes.
    pub fn limit(&self) -> Limit {
        let time = Duration::from_secs_f64(self.moved as f64 / self.bytes_per_second.max(1) as f64);
        Limit::Until(self.since + self.grace + time)
    }

    /// Counts `bytes` received bytes of the body.
    pub fn count(&mut self, bytes: u64) {
        self.moved += bytes;
        if self.moved >= PACE_WINDOW_BYTES {
            *self = Pace::new(self.grace, self.bytes_per_second);
        }
    }
}

/// A TCP connection with a limit. Closed when all clones of the inner stream are dropped.
#[derive(Debug)]
pub struct Socket {
    tcp: Arc<TcpStream>,
    limit: Limit,
    /// The number of bytes transferred since the limit was set.
    moved: u64,
    /// The timeouts set on the socket, to avoid redundant system calls.
    read_timeout: Option<Duration>,
    write_timeout: Option<Duration>,
    /// The interrupt flag that ends waits.
    interrupt: Option<Interrupt>,
}

impl Socket {
    /// Wraps a connection. It has no limit yet.
    pub fn new(tcp: TcpStream) -> io::Result<Socket> {
        // Heads and small bodies are written at once, so Nagle's algorithm would only delay them.
        tcp.set_nodelay(true)?;
        Ok(Socket {
            tcp: Arc::new(tcp),
            limit: Limit::None,
            moved: 0,
            read_timeout: None,
            write_timeout: None,
            interrupt: None,
        })
    }

    /// Ends all waits when `interrupt` is set.
    pub fn stop_on(&mut self, interrupt: &Interrupt) {
        self.interrupt = Some(interrupt.clone());
    }

    /// Sets the limit for the following operations.
    pub fn set_limit(&mut self, limit: Limit) {
        self.limit = limit;
        self.moved = 0;
    }

    /// The underlying stream, with which another thread can shut down the connection.
    pub fn tcp(&self) -> &Arc<TcpStream> {
        &self.tcp
    }

    /// Shuts down the given directions. A connection that is already closed is not an error.
    pub fn shutdown(&self, how: Shutdown) {
        let _ = self.tcp.shutdown(how);
    }

    /// The timeout for the next call.
    fn patience(&self) -> io::Result<Option<Duration>> {
        let left = self.limit.left(self.moved);
        let is_over = self.interrupt.as_ref().is_some_and(Interrupt::is_set);
        // The resolution of the system is one microsecond, and 0 means no timeout.
        if is_over || left.is_some_and(|left| left < Duration::from_millis(1)) {
            return Err(ErrorKind::TimedOut.into());
        }
        match self.interrupt {
            Some(_) => Ok(Some(left.map_or(GLANCE, |left| left.min(GLANCE)))),
            None => Ok(left),
        }
    }
}

/// Whether the timeout must be set again. A limit that only comes closer is observed with a
/// tolerance of one twentieth, and a call that returns early is repeated.
fn is_far(told: Option<Duration>, wanted: Option<Duration>) -> bool {
    match (told, wanted) {
        (Some(told), Some(wanted)) => told > wanted || told < wanted - wanted / 20,
        (told, wanted) => told != wanted,
    }
}

impl Socket {
    /// Waits for bytes without consuming them. Returns false at the end of the stream.
    pub fn await_bytes(&mut self) -> io::Result<bool> {
        self.receive(|tcp| tcp.peek(&mut [0])).map(|read| read > 0)
    }

    /// Repeats the receive operation `call` until it succeeds or the limit is reached.
    fn receive(
        &mut self,
        mut call: impl FnMut(&TcpStream) -> io::Result<usize>,
    ) -> io::Result<usize> {
        loop {
            let patience = self.patience()?;
            if is_far(self.read_timeout, patience) {
                self.tcp.set_read_timeout(patience)?;
                self.read_timeout = patience;
            }
            match call(&self.tcp) {
                // Returned up to one twentieth too early: `patience` checks the limit.
                Err(cause) if is_again(&cause) => {}
                outcome => return outcome,
            }
        }
    }
}

impl Read for Socket {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.receive(|mut tcp| tcp.read(buffer))?;
        self.moved += read as u64;
        Ok(read)
    }
}

impl Write for Socket {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        loop {
            let patience = self.patience()?;
            if is_far(self.write_timeout, patience) {
                self.tcp.set_write_timeout(patience)?;
                self.write_timeout = patience;
            }
            match (&*self.tcp).write(bytes) {
                Err(cause) if is_again(&cause) => {}
                outcome => {
                    let written = outcome?;
                    self.moved += written as u64;
                    return Ok(written);
                }
            }
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Whether the call was interrupted or has reached the timeout of the socket.
fn is_again(cause: &io::Error) -> bool {
    matches!(
        cause.kind(),
        ErrorKind::WouldBlock | ErrorKind::TimedOut | ErrorKind::Interrupted
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpListener;
    use std::thread;

    fn pair() -> (Socket, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let there = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        (Socket::new(listener.accept().unwrap().0).unwrap(), there)
    }

    #[test]
    fn bytes_that_drip_do_not_move_a_deadline() {
        let (mut socket, mut there) = pair();
        socket.set_limit(Limit::within(Duration::from_millis(150)));
        let dripping = thread::spawn(move || {
            while there.write_all(b"x").is_ok() {
                thread::sleep(Duration::from_millis(10));
            }
        });
        let outcome = loop {
            if let Err(cause) = socket.read(&mut [0; 1]) {
                break cause;
            }
        };
        assert_eq!(outcome.kind(), ErrorKind::TimedOut);
        drop(socket);
        dripping.join().unwrap();
    }

    #[test]
    fn who_wants_to_stop_waits_for_nobody() {
        let (mut socket, there) = pair();
        let interrupt = Interrupt::default();
        socket.stop_on(&interrupt);
        let waiting = thread::spawn(move || socket.read(&mut [0; 1]));
        interrupt.set();
        let outcome = waiting.join().unwrap().unwrap_err();
        assert_eq!(outcome.kind(), ErrorKind::TimedOut);
        drop(there);
    }

    #[test]
    fn a_pace_is_kept_on_the_whole() {
        let begun = Instant::now();
        let pace = Limit::Pace {
            since: begun,
            grace: Duration::from_secs(2),
            bytes_per_second: 1000,
        };
        let seconds = |moved| pace.left(moved).unwrap().as_secs_f64().round();
        assert_eq!(seconds(0), 2.0);
        assert_eq!(seconds(10_000), 12.0);
        let mut body = Pace {
            since: begun,
            ..Pace::new(Duration::from_secs(2), 1000)
        };
        body.count(10_000);
        let Limit::Until(until) = body.limit() else {
            panic!("a pace has an end");
        };
        assert_eq!(until, begun + Duration::from_secs(12));
        body.count(PACE_WINDOW_BYTES);
        assert!(body.moved == 0 && body.since > begun);
        let long_ago = Limit::Until(begun);
        assert_eq!(long_ago.left(u64::MAX), Some(Duration::ZERO));
    }
}

//! A TCP connection on which nothing waits for ever.
//!
//! A timeout of the system starts anew with each byte, so whoever sends one byte a minute
//! holds a thread for days. A [`Limit`] does not: it is either a moment until which everything
//! has to be done, or a pace that has to be kept on the whole. Before each call the socket is
//! told how long that leaves, and once nothing is left, calls fail with
//! [`ErrorKind::TimedOut`]. So they do when the user wants to stop, if the socket was told
//! where that shows.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::util::interrupt::Interrupt;

/// How long a request to stop may go unnoticed.
const GLANCE: Duration = Duration::from_millis(200);

/// Until when a socket may be busy with what it does now.
#[derive(Clone, Copy, Debug)]
pub enum Limit {
    /// No limit. For nothing that a stranger is at the other end of.
    None,
    /// Everything is done by then, however little is missing.
    Until(Instant),
    /// So many bytes a second are moved on the whole, after some grace.
    Pace {
        /// When it began.
        since: Instant,
        /// What is granted beyond the time that the bytes take.
        grace: Duration,
        /// The least there is to be, in bytes a second.
        bytes_per_second: u64,
    },
}

impl Limit {
    /// Everything is done `time` from now.
    pub fn within(time: Duration) -> Limit {
        Limit::Until(Instant::now() + time)
    }

    /// A pace that has to be kept from now on.
    pub fn pace(grace: Duration, bytes_per_second: u64) -> Limit {
        Limit::Pace {
            since: Instant::now(),
            grace,
            bytes_per_second,
        }
    }

    /// How long is left after `moved` bytes; nothing if there is no limit.
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

/// After so many bytes a [`Pace`] begins anew. Otherwise a peer that was quick at first could
/// rest for hours.
pub const PACE_WINDOW_BYTES: u64 = 1 << 20;

/// The least rate of a body, measured in windows: only bytes of the body count, not what is
/// wrapped around them, and not how often some come.
#[derive(Clone, Copy, Debug)]
pub struct Pace {
    since: Instant,
    /// Bytes since then.
    moved: u64,
    grace: Duration,
    bytes_per_second: u64,
}

impl Pace {
    /// A pace from now on: `grace` and the time that bytes take at `bytes_per_second`.
    pub fn new(grace: Duration, bytes_per_second: u64) -> Pace {
        Pace {
            since: Instant::now(),
            moved: 0,
            grace,
            bytes_per_second,
        }
    }

    /// Until when the next bytes have to come.
    pub fn limit(&self) -> Limit {
        let time = Duration::from_secs_f64(self.moved as f64 / self.bytes_per_second.max(1) as f64);
        Limit::Until(self.since + self.grace + time)
    }

    /// Counts `bytes` of the body that came.
    pub fn count(&mut self, bytes: u64) {
        self.moved += bytes;
        if self.moved >= PACE_WINDOW_BYTES {
            *self = Pace::new(self.grace, self.bytes_per_second);
        }
    }
}

/// A TCP connection and its limit. Closed for good once every clone of the inner stream is.
#[derive(Debug)]
pub struct Socket {
    tcp: Arc<TcpStream>,
    limit: Limit,
    /// Bytes moved since the limit was set.
    moved: u64,
    /// What the system was told last, so as not to tell it again.
    read_timeout: Option<Duration>,
    write_timeout: Option<Duration>,
    /// Where it shows that the user wants to stop.
    interrupt: Option<Interrupt>,
}

impl Socket {
    /// A connection without a limit yet.
    pub fn new(tcp: TcpStream) -> io::Result<Socket> {
        // Heads and small bodies are written whole: waiting to fill a packet only delays them.
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

    /// Waits no longer once `interrupt` is set.
    pub fn stop_on(&mut self, interrupt: &Interrupt) {
        self.interrupt = Some(interrupt.clone());
    }

    /// Sets how long what comes next may take.
    pub fn set_limit(&mut self, limit: Limit) {
        self.limit = limit;
        self.moved = 0;
    }

    /// The stream below, by which another thread can shut the connection.
    pub fn tcp(&self) -> &Arc<TcpStream> {
        &self.tcp
    }

    /// Ends the connection in the directions named. That it has ended already is no error.
    pub fn shutdown(&self, how: Shutdown) {
        let _ = self.tcp.shutdown(how);
    }

    /// How long the next call may wait.
    fn patience(&self) -> io::Result<Option<Duration>> {
        let left = self.limit.left(self.moved);
        let is_over = self.interrupt.as_ref().is_some_and(Interrupt::is_set);
        // The system knows nothing below a microsecond, and takes 0 for no limit.
        if is_over || left.is_some_and(|left| left < Duration::from_millis(1)) {
            return Err(ErrorKind::TimedOut.into());
        }
        match self.interrupt {
            Some(_) => Ok(Some(left.map_or(GLANCE, |left| left.min(GLANCE)))),
            None => Ok(left),
        }
    }
}

/// Whether telling the system anew is worth a call: a limit that only grows nearer is kept to
/// within a twentieth, and a call that comes back early is made again.
fn is_far(told: Option<Duration>, wanted: Option<Duration>) -> bool {
    match (told, wanted) {
        (Some(told), Some(wanted)) => told > wanted || told < wanted - wanted / 20,
        (told, wanted) => told != wanted,
    }
}

impl Socket {
    /// Waits until there is something to read, without taking it. Tells whether anything is to
    /// come at all.
    pub fn await_bytes(&mut self) -> io::Result<bool> {
        self.receive(|tcp| tcp.peek(&mut [0])).map(|read| read > 0)
    }

    /// Lets `call` receive, again and again until it need not wait longer.
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
                // Too early by up to a twentieth: patience() tells.
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

/// A call that was interrupted, or waited as long as the system was told.
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

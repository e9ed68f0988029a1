//! The transport of a session: a TCP connection, or one end of a socket pair whose other end is a
//! command or a channel of another session.

use std::net::{Shutdown, TcpStream, ToSocketAddrs};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::os::unix::net::UnixStream;
use std::process::{Child, Stdio};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::{Duration, Instant};
use std::{io, thread};

use super::TICK;
use crate::error::{During, Error, Kind, Result};
use crate::util::child;
use crate::util::interrupt::Interrupt;

/// Few host names have more than two addresses. Addresses beyond this limit are not tried.
const ADDRESS_LIMIT: usize = 8;

/// A transport. The owner closes it.
#[derive(Debug)]
pub(super) struct Wire {
    stream: Stream,
    /// The proxy command at the other end, if there is one.
    command: Option<Running>,
}

#[derive(Debug)]
enum Stream {
    Tcp(TcpStream),
    Pair(UnixStream),
}

/// A command that is killed and reaped on drop.
#[derive(Debug)]
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        // An error means that the command has already exited.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Wire {
    /// Connects to `host` over TCP. Each of its addresses has the timeout `patience`.
    ///
    /// A separate thread resolves the name and connects, so that neither can block the caller.
    pub(super) fn tcp(
        host: &str,
        port: u16,
        patience: Duration,
        interrupt: &Interrupt,
    ) -> Result<Wire> {
        let (sender, receiver) = mpsc::channel();
        let place = (host.to_owned(), port);
        thread::spawn(move || sender.send(connect(&place, patience)));
        // One timeout more than the number of addresses, for the name lookup.
        let until = Instant::now() + patience * (ADDRESS_LIMIT as u32 + 1);
        loop {
            interrupt.check()?;
            match receiver.recv_timeout(TICK) {
                Ok(stream) => {
                    let stream = stream.map_err(|cause| unreachable(&cause))?;
                    stream.set_nodelay(true)?;
                    return Ok(Wire {
                        stream: Stream::Tcp(stream),
                        command: None,
                    });
                }
                Err(RecvTimeoutError::Timeout) if Instant::now() < until => {}
                Err(_) => return Err(Error::new(Kind::Unavailable, "connection timed out")),
            }
        }
    }

    /// Starts `line` in a shell, as ssh does for a `ProxyCommand`: its standard input and output
    /// are the connection. It inherits the standard error of this process.
    pub(super) fn command(line: &str) -> Result<Wire> {
        let (ours, theirs) = UnixStream::pair()?;
        let input = OwnedFd::from(theirs.try_clone()?);
        let mut command = child::command("/bin/sh");
        command.args(["-c", &format!("exec {line}")]);
        command
            .stdin(Stdio::from(input))
            .stdout(Stdio::from(OwnedFd::from(theirs)));
        let child = command.spawn().during(|| "/bin/sh")?;
        Ok(Wire {
            stream: Stream::Pair(ours),
            command: Some(Running(child)),
        })
    }

    /// Wraps one end of a socket pair.
    pub(super) fn pair(end: UnixStream) -> Wire {
        Wire {
            stream: Stream::Pair(end),
            command: None,
        }
    }

    /// The name of the peer in messages.
    pub(super) fn far_end(&self) -> &'static str {
        match self.command {
            Some(_) => "the proxy command",
            None => "the server",
        }
    }

    /// Shuts down the connection: all pending reads and writes fail immediately. A connection that
    /// is already closed is not an error.
    pub(super) fn shutdown(&self) {
        let _ = match &self.stream {
            Stream::Tcp(stream) => stream.shutdown(Shutdown::Both),
            Stream::Pair(stream) => stream.shutdown(Shutdown::Both),
        };
    }
}

impl AsFd for Wire {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match &self.stream {
            Stream::Tcp(stream) => stream.as_fd(),
            Stream::Pair(stream) => stream.as_fd(),
        }
    }
}

impl AsRawFd for Wire {
    fn as_raw_fd(&self) -> RawFd {
        self.as_fd().as_raw_fd()
    }
}

/// Connects to the first address of `place` that accepts. Returns the last error if none does.
fn connect(place: &(String, u16), patience: Duration) -> io::Result<TcpStream> {
    let addresses = (place.0.as_str(), place.1).to_socket_addrs()?;
    let mut last = io::Error::from(io::ErrorKind::AddrNotAvailable);
    for address in addresses.take(ADDRESS_LIMIT) {
        match TcpStream::connect_timeout(&address, patience) {
            Ok(stream) => return Ok(stream),
            Err(cause) => last = cause,
        }
    }
    Err(last)
}

/// Any error while connecting means that the server is unavailable for now.
fn unreachable(cause: &io::Error) -> Error {
    let words = Error::from(io::Error::new(cause.kind(), cause.to_string())).to_string();
    Error::new(Kind::Unavailable, words)
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::net::TcpListener;

    use super::*;

    #[test]
    fn a_command_is_a_connection() {
        let wire = Wire::command("cat").unwrap();
        let Stream::Pair(mut stream) = wire.stream else {
            panic!("it is a pair");
        };
        stream.write_all(b"there and back").unwrap();
        let mut back = [0; 14];
        stream.read_exact(&mut back).unwrap();
        assert_eq!(&back, b"there and back");
    }

    #[test]
    fn a_port_where_nobody_listens_is_told_at_once() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        drop(listener);
        let tried = Wire::tcp(
            "127.0.0.1",
            port,
            Duration::from_secs(5),
            &Interrupt::default(),
        );
        let error = tried.unwrap_err();
        assert_eq!(
            (error.kind(), error.to_string()),
            (Kind::Unavailable, "connection refused".into())
        );
    }
}

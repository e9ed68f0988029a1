//! The accept loop. It never waits for a client: every client is admitted or refused immediately,
//! whatever the other clients do. It ends only on request.

use std::collections::VecDeque;
use std::io::{self, ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;

use super::answer::RETRY_AFTER;
use super::census::{Full, Seat};
use super::{Server, Wish, connection};
use crate::error::{During, Error, Result};
use crate::net::http1::head::reason;
use crate::net::socket::Socket;

/// The stack size of a thread that serves a client; post-quantum key exchange needs most of it. The
/// system allocates only the pages that are used.
const STACK_BYTES: usize = 256 << 10;
/// The length of the accept queue; the system may impose a lower limit. A burst of connections
/// exceeds the 128 of the standard library, which delays each excess client by a second.
const BACKLOG: i32 = 4096;
/// The pause of the accept loop when descriptors, memory or threads have run out.
const PAUSE: Duration = Duration::from_millis(50);
/// How long a refused client is read from, so that it receives the response.
const FAREWELL: Duration = Duration::from_secs(1);
/// The maximum number of refused clients that are read from. Beyond it, the oldest is dropped.
const FAREWELLS: usize = 32;

/// Accepts clients until `told` requests to stop. `told` is called whenever `wake` has bytes.
pub(super) fn run(
    server: &Arc<Server>,
    listeners: &[TcpListener],
    wake: &UnixStream,
    told: &dyn Fn() -> Wish,
) -> Result<()> {
    for listener in listeners {
        listener.set_nonblocking(true).during(|| "listen")?;
        rustix::net::listen(listener, BACKLOG).during(|| "listen")?;
    }
    wake.set_nonblocking(true).during(|| "signals")?;
    let mut refused = VecDeque::new();
    while told() == Wish::GoOn {
        let ready = wait(listeners, wake, !refused.is_empty())?;
        listen_to(&mut refused);
        // The bytes have no meaning except that `told` must be called.
        let mut bytes = [0; 64];
        while matches!((&*wake).read(&mut bytes), Ok(read) if read > 0) {}
        for listener in ready {
            accept(server, listener, &mut refused);
        }
    }
    Ok(())
}

/// Waits for a client or a signal. Returns the listeners with clients.
fn wait<'a>(
    listeners: &'a [TcpListener],
    wake: &UnixStream,
    has_refused: bool,
) -> Result<Vec<&'a TcpListener>> {
    let mut polled: Vec<PollFd<'_>> = listeners
        .iter()
        .map(|listener| PollFd::new(listener, PollFlags::IN))
        .collect();
    polled.push(PollFd::new(wake, PollFlags::IN));
    let time = Timespec {
        tv_sec: 0,
        tv_nsec: PAUSE.as_nanos() as i64,
    };
    match poll(&mut polled, has_refused.then_some(&time)) {
        Err(Errno::INTR) => return Ok(Vec::new()),
        // A temporary shortage of memory.
        Err(Errno::NOMEM | Errno::AGAIN) => thread::sleep(PAUSE),
        outcome => {
            outcome.during(|| "listen")?;
        }
    }
    let ready = listeners
        .iter()
        .zip(&polled)
        .filter(|(_, polled)| !polled.revents().is_empty());
    Ok(ready.map(|(listener, _)| listener).collect())
}

/// A refused client and the time of the refusal.
type Refused = VecDeque<(Arc<TcpStream>, Instant)>;

/// Accepts one client, if it is still connected.
fn accept(server: &Arc<Server>, listener: &TcpListener, refused: &mut Refused) {
    match listener.accept() {
        Ok((tcp, peer)) => admit(server, tcp, peer, refused),
        Err(cause) if is_gone(&cause) => {}
        // Descriptors or memory have run out. They become available when a connection ends.
        Err(cause) => {
            server.census.make_room();
            refused.clear();
            troubled(server, cause.into());
        }
    }
}

/// Whether no client is waiting, or the client has disconnected.
fn is_gone(cause: &io::Error) -> bool {
    matches!(
        cause.kind(),
        ErrorKind::WouldBlock | ErrorKind::ConnectionAborted | ErrorKind::Interrupted
    )
}

/// Reports an error of accepting, and pauses.
fn troubled(server: &Server, error: Error) {
    server.metrics.trouble();
    server.warn(error.during("accept a connection"));
    thread::sleep(PAUSE);
}

/// Serves a client in a new thread, or refuses it.
fn admit(server: &Arc<Server>, tcp: TcpStream, peer: SocketAddr, refused: &mut Refused) {
    let peer = SocketAddr::new(peer.ip().to_canonical(), peer.port());
    // Fails for a client that has already disconnected.
    let Ok(socket) = tcp.set_nonblocking(false).and_then(|()| Socket::new(tcp)) else {
        return;
    };
    let tcp = socket.tcp().clone();
    match server.census.admit(peer.ip(), &tcp) {
        Err(full) => refuse(server, tcp, full, refused),
        Ok(seat) => match start(server, seat, socket, peer) {
            Ok(()) => server.metrics.welcome(),
            Err(cause) => {
                refuse(server, tcp, Full::Total, refused);
                troubled(server, Error::from(cause));
            }
        },
    }
}

fn start(server: &Arc<Server>, seat: Seat, socket: Socket, peer: SocketAddr) -> io::Result<()> {
    let server = server.clone();
    let serve = move || connection::serve(&server, &seat, socket, peer);
    let builder = thread::Builder::new().name("client".into());
    builder.stack_size(STACK_BYTES).spawn(serve).map(drop)
}

/// Refuses a client. Sends a response only if this does not block.
fn refuse(server: &Server, tcp: Arc<TcpStream>, full: Full, refused: &mut Refused) {
    server.metrics.refuse();
    // A client that expects TLS could not interpret a plain response.
    if server.identity().is_some() || tcp.set_nonblocking(true).is_err() {
        return;
    }
    let (status, text) = match full {
        Full::Total | Full::Unknown => (503, "too many connections\n"),
        Full::Share => (429, "too many connections from this address\n"),
    };
    let head = format!(
        "HTTP/1.1 {status} {}\r\nKloset-Protocol: 1\r\nKloset-Error: unavailable\r\n\
         Retry-After: {RETRY_AFTER}\r\nContent-Type: text/plain; charset=utf-8\r\n\
         Content-Length: {}\r\nConnection: close\r\n\r\n{text}",
        reason(status),
        text.len(),
    );
    // The send buffer is empty, so the response fits.
    let _ = (&*tcp).write(head.as_bytes());
    let _ = tcp.shutdown(Shutdown::Write);
    if refused.len() >= FAREWELLS {
        refused.pop_front();
    }
    refused.push_back((tcp, Instant::now()));
}

/// Reads and discards the requests of refused clients: with unread data at the close, the response
/// would be lost. A client is dropped after [`FAREWELL`].
fn listen_to(refused: &mut Refused) {
    let mut bytes = [0; 4096];
    refused.retain(|(tcp, since)| {
        let outcome = (&**tcp).read(&mut bytes);
        let is_there = match outcome {
            Ok(read) => read > 0,
            Err(cause) => cause.kind() == ErrorKind::WouldBlock,
        };
        is_there && since.elapsed() < FAREWELL
    });
}

//! The loop that lets clients in. It waits for nobody: whatever a client does, the next one is
//! let in or turned away at once. It ends when it is told to, and for no other reason.

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

/// What a thread that serves a client needs at most, and keys of the post-quantum kind take
/// most of it. Memory is taken as far as it is touched.
const STACK_BYTES: usize = 256 << 10;
/// How many clients may wait to be accepted; the system may allow fewer. A burst of
/// connections exceeds the 128 of the standard library, and delays each client by a second then.
const BACKLOG: i32 = 4096;
/// How long nobody is accepted when descriptors, memory or threads have run out.
const PAUSE: Duration = Duration::from_millis(50);
/// Those who are turned away are listened to for as long, so that they get the answer.
const FAREWELL: Duration = Duration::from_secs(1);
/// So many at once, of whom the first go when there are more.
const FAREWELLS: usize = 32;

/// Lets clients in until `told` wants to stop. It is asked whenever `wake` has bytes.
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
        // What it says is only that there is something to ask.
        let mut bytes = [0; 64];
        while matches!((&*wake).read(&mut bytes), Ok(read) if read > 0) {}
        for listener in ready {
            accept(server, listener, &mut refused);
        }
    }
    Ok(())
}

/// Waits for a client or a signal, and tells where there are clients.
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
        // Out of memory, for the moment.
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

/// A client that was turned away, and when.
type Refused = VecDeque<(Arc<TcpStream>, Instant)>;

/// Accepts one client, if it is still there.
fn accept(server: &Arc<Server>, listener: &TcpListener, refused: &mut Refused) {
    match listener.accept() {
        Ok((tcp, peer)) => admit(server, tcp, peer, refused),
        Err(cause) if is_gone(&cause) => {}
        // Descriptors or memory have run out. They come back when somebody leaves.
        Err(cause) => {
            server.census.make_room();
            refused.clear();
            troubled(server, cause.into());
        }
    }
}

/// Whether there was nobody to accept, or nobody any more.
fn is_gone(cause: &io::Error) -> bool {
    matches!(
        cause.kind(),
        ErrorKind::WouldBlock | ErrorKind::ConnectionAborted | ErrorKind::Interrupted
    )
}

/// Tells of trouble with accepting, and rests.
fn troubled(server: &Server, error: Error) {
    server.metrics.trouble();
    server.warn(error.during("accept a connection"));
    thread::sleep(PAUSE);
}

/// Serves a client in a thread of its own, or turns it away.
fn admit(server: &Arc<Server>, tcp: TcpStream, peer: SocketAddr, refused: &mut Refused) {
    let peer = SocketAddr::new(peer.ip().to_canonical(), peer.port());
    // It fails for who has gone already.
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

/// Turns a client away, as far as that can be said without waiting for it.
fn refuse(server: &Server, tcp: Arc<TcpStream>, full: Full, refused: &mut Refused) {
    server.metrics.refuse();
    // In clear it would make no sense to who wants to speak TLS.
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
    // There is room for it: nothing was sent before.
    let _ = (&*tcp).write(head.as_bytes());
    let _ = tcp.shutdown(Shutdown::Write);
    if refused.len() >= FAREWELLS {
        refused.pop_front();
    }
    refused.push_back((tcp, Instant::now()));
}

/// Drops what those send who were turned away: were it still there when their connection is
/// closed, the answer would be lost. They are let go once they have heard enough.
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

//! Intermediaries between a client and a server: a connection that is cut or stalls, and a proxy
//! that serves the store below a path.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use plakar::net::http1::{Body, Connection, Framing};

/// The direction of transferred bytes.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Way {
    Up,
    Down,
}

/// The type of failure of a connection.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Mishap {
    Cut,
    /// No more bytes are transferred, without any notification.
    Dead,
}

/// A forwarder to a server. Once, after a number of bytes in one direction, a failure occurs.
pub(crate) struct Line {
    pub(crate) port: u16,
    state: Arc<State>,
}

struct State {
    mishap: Mishap,
    way: Way,
    left: AtomicU64,
    has_happened: AtomicBool,
    /// Stalled connections, which must stay open until the end of the test.
    dead: Mutex<Vec<TcpStream>>,
}

impl Line {
    pub(crate) fn new(to_port: u16, mishap: Mishap, way: Way, after_bytes: u64) -> Line {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let state = Arc::new(State {
            mishap,
            way,
            left: AtomicU64::new(after_bytes),
            has_happened: AtomicBool::new(false),
            dead: Mutex::new(Vec::new()),
        });
        let shared = state.clone();
        // The thread ends with the test. It owns nothing except sockets.
        thread::spawn(move || {
            for client in listener.incoming() {
                let client = client.unwrap();
                let Ok(server) = TcpStream::connect(("127.0.0.1", to_port)) else {
                    continue;
                };
                let (back, forth) = (client.try_clone().unwrap(), server.try_clone().unwrap());
                let (one, other) = (shared.clone(), shared.clone());
                thread::spawn(move || one.carry(client, server, Way::Up));
                thread::spawn(move || other.carry(forth, back, Way::Down));
            }
        });
        Line { port, state }
    }

    pub(crate) fn has_happened(&self) -> bool {
        self.state.has_happened.load(Ordering::SeqCst)
    }
}

impl State {
    fn carry(&self, mut from: TcpStream, mut to: TcpStream, way: Way) {
        let mut buffer = [0; 64 << 10];
        while let Ok(read @ 1..) = from.read(&mut buffer) {
            let passed = match way == self.way && !self.has_happened.load(Ordering::SeqCst) {
                true => self.pass(read as u64) as usize,
                false => read,
            };
            if to.write_all(&buffer[..passed]).is_err() {
                break;
            }
            if passed < read {
                if self.mishap == Mishap::Dead {
                    return self.dead.lock().unwrap().extend([from, to]);
                }
                break;
            }
        }
        let _ = from.shutdown(Shutdown::Both);
        let _ = to.shutdown(Shutdown::Both);
    }

    /// The number of the `wanted` bytes that are transferred.
    fn pass(&self, wanted: u64) -> u64 {
        let take = |left: u64| Some(left.saturating_sub(wanted));
        let left = self
            .left
            .fetch_update(Ordering::SeqCst, Ordering::SeqCst, take);
        let passed = left.unwrap().min(wanted);
        if passed < wanted {
            self.has_happened.store(true, Ordering::SeqCst);
        }
        passed
    }
}

/// A proxy that serves a server below `/some/path`, with a separate connection for each request.
pub(crate) fn proxy(to_port: u16) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    thread::spawn(move || {
        for client in listener.incoming() {
            let client = client.unwrap();
            client
                .set_read_timeout(Some(Duration::from_secs(30)))
                .unwrap();
            thread::spawn(move || {
                let mut client = Connection::new(client);
                while forward(&mut client, to_port).is_some() {}
            });
        }
    });
    port
}

/// Forwards one request of `client` to the server. `None` after the last request.
fn forward(client: &mut Connection<TcpStream>, to_port: u16) -> Option<()> {
    let request = client.read_request().ok()?;
    let target = request
        .target
        .strip_prefix("/some/path")
        .unwrap_or("/nowhere");
    if request.headers.first("expect").is_some() {
        client.write_response(100, &[]).ok()?;
    }
    let body = body(client, Framing::of_request(&request).unwrap())?;
    let mut server = Connection::new(TcpStream::connect(("127.0.0.1", to_port)).unwrap());
    let length = body.len().to_string();
    let mut fields = vec![("Host", "inside"), ("Content-Length", &length)];
    fields.extend(request.headers.first("range").map(|range| ("Range", range)));
    server
        .write_request(&request.method, target, &fields)
        .unwrap();
    server.stream().write_all(&body).unwrap();
    let response = server.read_response().ok()?;
    let framing = Framing::of_response(&response, &request.method).unwrap();
    let body = self::body(&mut server, framing)?;
    let length = body.len().to_string();
    let told = response.headers.first("content-length");
    let mut fields = Vec::new();
    if response.status != 204 {
        fields.push(("Content-Length", told.unwrap_or(&length)));
    }
    for name in [
        "kloset-protocol",
        "kloset-error",
        "kloset-modified-ns",
        "content-range",
        "link",
    ] {
        fields.extend(response.headers.first(name).map(|value| (name, value)));
    }
    client.write_response(response.status, &fields).ok()?;
    client.stream().write_all(&body).ok()
}

fn body(connection: &mut Connection<TcpStream>, framing: Framing) -> Option<Vec<u8>> {
    let (mut body, mut bytes, mut buffer) = (Body::new(framing), Vec::new(), vec![0; 64 << 10]);
    loop {
        match body.read(connection, &mut buffer).ok()? {
            0 => return Some(bytes),
            read => bytes.extend_from_slice(&buffer[..read]),
        }
    }
}

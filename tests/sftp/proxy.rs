//! A proxy between a client and a server that counts, cuts and delays connections.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::thread;
use std::time::{Duration, Instant};

/// A proxy for a server on 127.0.0.1.
pub(crate) struct Proxy {
    port: u16,
    shared: Arc<Shared>,
}

struct Shared {
    target: u16,
    /// The index of the connection that is cut, counted from 0.
    cut: u64,
    /// The number of pieces, in both directions, after which it is cut.
    cut_after: u64,
    /// The delay of each piece.
    delay: Duration,
    pieces: AtomicU64,
    connections: AtomicU64,
    /// The number of times that a response followed a request.
    round_trips: AtomicU64,
    /// Whether the last piece came from the client.
    is_asked: Mutex<bool>,
    is_over: AtomicBool,
}

impl Proxy {
    /// A proxy for `target`. The first connection is cut after `cut_after` pieces, later ones are
    /// not.
    pub(crate) fn new(target: u16, cut_after: u64) -> Proxy {
        Proxy::with(target, 0, cut_after, Duration::ZERO)
    }

    /// The same, but it cuts the second connection.
    pub(crate) fn cutting_second(target: u16, cut_after: u64) -> Proxy {
        Proxy::with(target, 1, cut_after, Duration::ZERO)
    }

    /// A proxy for `target` that delays data in each direction.
    pub(crate) fn slow(target: u16, delay: Duration) -> Proxy {
        Proxy::with(target, 0, u64::MAX, delay)
    }

    fn with(target: u16, cut: u64, cut_after: u64, delay: Duration) -> Proxy {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let shared = Arc::new(Shared {
            target,
            cut,
            cut_after,
            delay,
            pieces: AtomicU64::new(0),
            connections: AtomicU64::new(0),
            round_trips: AtomicU64::new(0),
            is_asked: Mutex::new(false),
            is_over: AtomicBool::new(false),
        });
        let accepting = shared.clone();
        thread::spawn(move || {
            for client in listener.incoming() {
                if accepting.is_over.load(Ordering::SeqCst) {
                    return;
                }
                accepting.connect(client.unwrap());
            }
        });
        Proxy { port, shared }
    }

    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    pub(crate) fn connections(&self) -> u64 {
        self.shared.connections.load(Ordering::SeqCst)
    }

    pub(crate) fn round_trips(&self) -> u64 {
        self.shared.round_trips.load(Ordering::SeqCst)
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.shared.is_over.store(true, Ordering::SeqCst);
        // Wakes up the thread that accepts connections.
        let _ = TcpStream::connect(("127.0.0.1", self.port));
    }
}

impl Shared {
    fn connect(self: &Arc<Shared>, client: TcpStream) {
        let number = self.connections.fetch_add(1, Ordering::SeqCst);
        // A stopped server looks the same to the client.
        let Ok(server) = TcpStream::connect(("127.0.0.1", self.target)) else {
            return;
        };
        for (from, to, is_asking) in [(&client, &server, true), (&server, &client, false)] {
            from.set_nodelay(true).unwrap();
            let (from, to) = (from.try_clone().unwrap(), to.try_clone().unwrap());
            let shared = self.clone();
            thread::spawn(move || shared.carry(from, to, is_asking, number == shared.cut));
        }
    }

    fn carry(&self, mut from: TcpStream, to: TcpStream, is_asking: bool, may_be_cut: bool) {
        let (sender, pieces) = mpsc::channel::<(Instant, Vec<u8>)>();
        let mut late = to.try_clone().unwrap();
        let delay = self.delay;
        let carrying = thread::spawn(move || {
            for (when, piece) in pieces {
                thread::sleep((when + delay).saturating_duration_since(Instant::now()));
                if late.write_all(&piece).is_err() {
                    break;
                }
            }
        });
        let mut piece = [0; 32 << 10];
        while let Ok(length) = from.read(&mut piece) {
            let is_cut = may_be_cut && self.pieces.fetch_add(1, Ordering::SeqCst) >= self.cut_after;
            if length == 0 || is_cut {
                break;
            }
            let was_asked = std::mem::replace(&mut *self.is_asked.lock().unwrap(), is_asking);
            if was_asked && !is_asking {
                self.round_trips.fetch_add(1, Ordering::SeqCst);
            }
            if sender
                .send((Instant::now(), piece[..length].to_vec()))
                .is_err()
            {
                break;
            }
        }
        drop(sender);
        carrying.join().unwrap();
        let _ = from.shutdown(Shutdown::Both);
        let _ = to.shutdown(Shutdown::Both);
    }
}

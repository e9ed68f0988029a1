//! Tests a flood of clients without a token that occupy as many connections as possible, and a
//! client with a token.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use crate::served::{PATIENCE, Served, object, sandbox};
use crate::wire::{Wire, put_head};

/// The number of connections of the flood, far more than the server accepts concurrently.
const CONNECTIONS: usize = 800;
/// The number of threads that open and feed them.
const THREADS: usize = 2;
/// The duration of the flood, unless `PLAKAR_FLOOD_SECONDS` is set.
const SECONDS: u64 = 3;
/// The pause between two rounds of the flood. Each connection gets one byte per round.
const ROUND: Duration = Duration::from_millis(50);
/// The longest body that the server reads to keep a connection open.
const BODY_BYTES: usize = 64 << 10;

/// One connection of the flood: a request without a token and with an endless body. When the server
/// closes it, it is opened again.
struct Slow {
    address: SocketAddr,
    tcp: Option<TcpStream>,
}

impl Slow {
    /// Feeds the connection. Returns true if it was opened.
    fn feed(&mut self) -> bool {
        if let Some(tcp) = &mut self.tcp {
            let is_open = match tcp.read(&mut [0; 4096]) {
                // The response.
                Ok(read) => read > 0,
                Err(cause) => cause.kind() == ErrorKind::WouldBlock,
            };
            if is_open && tcp.write(b"x").is_ok() {
                return false;
            }
        }
        self.tcp = TcpStream::connect(self.address).ok();
        if let Some(tcp) = &mut self.tcp {
            let head = put_head(&object("packs", b"x"), BODY_BYTES);
            // The server may have refused the connection already.
            let _ = tcp.write_all(head.as_bytes());
            tcp.set_nonblocking(true).expect("it is a socket");
        }
        true
    }
}

#[test]
#[allow(clippy::print_stderr)]
fn clients_without_a_token_keep_no_client_with_one_out() {
    let sandbox = sandbox("flood");
    let words = ["server", "token", "add", "a", "-role", "read"];
    let token = sandbox.run(&words).ended(0).stdout();
    let field = format!("Authorization: Bearer {}\r\n", token.trim_end());
    let served = Served::of(sandbox, &[]);
    let seconds = std::env::var("PLAKAR_FLOOD_SECONDS").ok();
    let seconds = seconds.and_then(|text| text.parse().ok());
    let time = Duration::from_secs(seconds.unwrap_or(SECONDS));
    let (is_over, made) = (AtomicBool::new(false), AtomicU64::new(0));
    let begun = Instant::now();
    let mut latencies = thread::scope(|scope| {
        for _ in 0..THREADS {
            scope.spawn(|| {
                let new = |_| Slow {
                    address: served.address,
                    tcp: None,
                };
                let mut crowd: Vec<Slow> = (0..CONNECTIONS / THREADS).map(new).collect();
                while !is_over.load(Ordering::Relaxed) && begun.elapsed() < PATIENCE {
                    let new = crowd
                        .iter_mut()
                        .filter_map(|slow| slow.feed().then_some(()));
                    made.fetch_add(new.count() as u64, Ordering::Relaxed);
                    thread::sleep(ROUND);
                }
            });
        }
        let latencies = ask(&served, &field, time, &made);
        is_over.store(true, Ordering::Relaxed);
        latencies
    });
    latencies.sort();
    let (count, made) = (latencies.len(), made.into_inner());
    let outcome = latencies.iter().filter_map(|latency| *latency);
    let times: Vec<Duration> = outcome.collect();
    let at = |percent: usize| times.get(times.len().saturating_sub(1) * percent / 100);
    eprintln!(
        "{made} connections in {time:?}; {} of {count} requests answered; \
         median {:?}, 99 % {:?}, longest {:?}",
        times.len(),
        at(50),
        at(99),
        at(100)
    );
    assert_eq!(times.len(), count);
}

/// Sends requests with the token of `field`, each on a new connection, for the duration `time`.
/// Returns the response time of each request, if there was a response.
fn ask(served: &Served, field: &str, time: Duration, made: &AtomicU64) -> Vec<Option<Duration>> {
    while made.load(Ordering::Relaxed) < CONNECTIONS as u64 {
        thread::sleep(Duration::from_millis(1));
    }
    let (begun, mut latencies) = (Instant::now(), Vec::new());
    while begun.elapsed() < time {
        let asked = Instant::now();
        let mut wire = Wire::connect(served.address);
        let request = format!("GET / HTTP/1.1\r\nHost: localhost\r\n{field}\r\n");
        let sent = wire.try_send(request);
        let answer = sent.ok().and_then(|()| wire.answer_or_end("GET"));
        let is_good = answer.is_some_and(|answer| answer.status == 200);
        latencies.push(is_good.then(|| asked.elapsed()));
        thread::sleep(Duration::from_millis(20));
    }
    latencies
}

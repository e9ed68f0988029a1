//! Scripted servers for tests of the client.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use crate::net::location::{Location, Url};
use crate::net::retry::{Patience, Tries};

/// The reaction to one request.
pub(crate) enum Step {
    /// Reads the request and sends this response.
    Answer(Vec<u8>),
    /// Reads only the head of the request and sends this response.
    Early(Vec<u8>),
    /// Reads the head and waits until the client closes the connection.
    Hang,
    /// Reads the head and sends the first bytes; then the second bytes every 20 ms, a thousand
    /// times or until the client closes the connection.
    Drip(Vec<u8>, Vec<u8>),
}

/// A server that ends with its script.
pub(crate) struct Script {
    port: u16,
    requests: Arc<Mutex<Vec<String>>>,
    thread: Option<JoinHandle<()>>,
}

impl Script {
    /// Accepts one connection after another. Performs the given steps on each, then closes it.
    pub(crate) fn new(connections: Vec<Vec<Step>>) -> Script {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let requests = Arc::new(Mutex::new(Vec::new()));
        let seen = requests.clone();
        let thread = thread::spawn(move || {
            for steps in connections {
                let (mut tcp, _) = listener.accept().unwrap();
                // Without a timeout, a client that sends nothing would hang the test.
                tcp.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
                for step in steps {
                    play(&mut tcp, step, &seen);
                }
            }
        });
        Script {
            port,
            requests,
            thread: Some(thread),
        }
    }

    /// Uses one connection per response.
    pub(crate) fn answers(answers: &[&[u8]]) -> Script {
        let each = answers
            .iter()
            .map(|answer| vec![Step::Answer(answer.to_vec())]);
        Script::new(each.collect())
    }

    pub(crate) fn url(&self) -> Url {
        let text = format!("http://127.0.0.1:{}", self.port);
        match Location::parse(text.as_bytes()).unwrap() {
            Location::Url(url) => url,
            Location::Path(_) => unreachable!("it is a URL"),
        }
    }

    /// Waits for the end of the script and returns the heads of the requests.
    pub(crate) fn played(mut self) -> Vec<String> {
        self.thread.take().unwrap().join().unwrap();
        self.requests.lock().unwrap().clone()
    }
}

fn play(tcp: &mut TcpStream, step: Step, seen: &Mutex<Vec<String>>) {
    let head = head(tcp);
    seen.lock().unwrap().push(head.clone());
    let lower = head.to_ascii_lowercase();
    let length = lower.split("content-length: ").nth(1);
    let length = length.map_or(0, |rest| rest.lines().next().unwrap().parse().unwrap());
    match step {
        Step::Answer(answer) => {
            let mut body = Vec::new();
            tcp.take(length).read_to_end(&mut body).unwrap();
            // The client may have closed the connection already.
            let _ = tcp.write_all(&answer);
        }
        Step::Early(answer) => tcp.write_all(&answer).unwrap(),
        Step::Drip(first, piece) => {
            tcp.write_all(&first).unwrap();
            let mut pieces = 0..1000;
            while pieces.next().is_some() && tcp.write_all(&piece).is_ok() {
                thread::sleep(Duration::from_millis(20));
            }
        }
        Step::Hang => while tcp.read(&mut [0; 4096]).is_ok_and(|read| read > 0) {},
    }
}

fn head(tcp: &mut TcpStream) -> String {
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") && tcp.read(&mut byte).is_ok_and(|read| read == 1) {
        head.push(byte[0]);
    }
    String::from_utf8(head).unwrap()
}

/// Short timeouts, for servers that respond immediately or never.
pub(crate) fn impatience() -> Patience {
    let tries = |most| Tries {
        first_pause: Duration::from_millis(1),
        longest_pause: Duration::from_millis(2),
        patience: Duration::from_secs(60),
        most,
    };
    Patience {
        connect: Duration::from_secs(5),
        answer: Duration::from_millis(300),
        stall: Duration::from_millis(300),
        at_first: tries(3),
        later: tries(4),
    }
}

/// Builds a response with `fields` and a `Content-Length`.
pub(crate) fn answer(status: u16, fields: &str, body: &[u8]) -> Vec<u8> {
    let length = body.len();
    let head = format!("HTTP/1.1 {status} Words\r\nContent-Length: {length}\r\n{fields}\r\n");
    [head.as_bytes(), body].concat()
}

//! The client side of a connection: sends raw bytes and parses responses.

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};

use crate::served::PATIENCE;

/// A connection to a server.
pub(crate) struct Wire(TcpStream);

/// A parsed response.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) fields: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
}

impl Answer {
    /// The value of a field, which must not occur more than once.
    #[track_caller]
    pub(crate) fn field(&self, name: &str) -> Option<&str> {
        let mut values = self.all(name);
        let value = values.next();
        assert!(values.next().is_none(), "{name} is there twice: {self:?}");
        value
    }

    /// All values of a field.
    pub(crate) fn all<'a>(&'a self, name: &str) -> impl Iterator<Item = &'a str> {
        let ours = self
            .fields
            .iter()
            .filter(move |(known, _)| known.eq_ignore_ascii_case(name));
        ours.map(|(_, value)| value.as_str())
    }

    /// The body as text.
    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}

impl Wire {
    pub(crate) fn connect(address: SocketAddr) -> Wire {
        let tcp = TcpStream::connect(address).expect("the server accepts");
        // Time limits that are exceeded only if the server hangs.
        tcp.set_read_timeout(Some(PATIENCE))
            .expect("it is a socket");
        tcp.set_write_timeout(Some(PATIENCE))
            .expect("it is a socket");
        Wire(tcp)
    }

    /// Sends raw bytes.
    pub(crate) fn send(&mut self, bytes: impl AsRef<[u8]>) {
        self.try_send(bytes).expect("the server reads");
    }

    /// Like [`Wire::send`], if the server may have closed the connection.
    pub(crate) fn try_send(&mut self, bytes: impl AsRef<[u8]>) -> std::io::Result<()> {
        self.0.write_all(bytes.as_ref())
    }

    /// Closes the sending direction.
    pub(crate) fn end(&self) {
        self.0.shutdown(Shutdown::Write).expect("it is connected");
    }

    /// Sends a request without a body, with additional `fields`, and reads the response.
    pub(crate) fn ask(&mut self, verb: &str, target: &str, fields: &str) -> Answer {
        self.send(format!(
            "{verb} {target} HTTP/1.1\r\nHost: localhost\r\n{fields}\r\n"
        ));
        self.answer(verb)
    }

    /// Sends a request with a body and reads the response.
    pub(crate) fn put(&mut self, target: &str, bytes: &[u8]) -> Answer {
        self.send(put_head(target, bytes.len()));
        // The server may have responded and closed the connection early.
        let _ = self.try_send(bytes);
        self.answer("PUT")
    }

    /// Reads the response to a request with the method `verb`.
    #[track_caller]
    pub(crate) fn answer(&mut self, verb: &str) -> Answer {
        self.answer_or_end(verb).expect("the server answers")
    }

    /// Reads the response, or returns `None` if the connection ends.
    #[track_caller]
    pub(crate) fn answer_or_end(&mut self, verb: &str) -> Option<Answer> {
        let mut head = Vec::new();
        let mut byte = [0];
        while !head.ends_with(b"\r\n\r\n") {
            match self.0.read(&mut byte) {
                Ok(1) => head.extend(byte),
                Ok(_) if head.is_empty() => return None,
                Err(cause) if cause.kind() == ErrorKind::ConnectionReset && head.is_empty() => {
                    return None;
                }
                outcome => panic!("{outcome:?} within {:?}", String::from_utf8_lossy(&head)),
            }
        }
        let head = String::from_utf8(head).expect("a head is text");
        let mut lines = head.lines();
        let first = lines.next().expect("there is a first line");
        let status = first
            .strip_prefix("HTTP/1.1 ")
            .and_then(|rest| rest.get(..3));
        let status: u16 = status
            .and_then(|status| status.parse().ok())
            .expect("a status");
        let fields = lines.filter_map(|line| line.split_once(": "));
        let fields: Vec<(String, String)> = fields
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .collect();
        let mut answer = Answer {
            status,
            fields,
            body: Vec::new(),
        };
        let length = answer
            .field("content-length")
            .map(|length| length.parse().expect("a length"));
        assert_eq!(
            length.is_none(),
            matches!(status, 100 | 204 | 304),
            "{answer:?}"
        );
        if verb != "HEAD" {
            answer.body = vec![0; length.unwrap_or(0)];
            self.0.read_exact(&mut answer.body).expect("the body comes");
        }
        Some(answer)
    }

    /// Everything that arrives until the connection ends or fails.
    pub(crate) fn rest(&mut self) -> Vec<u8> {
        let mut bytes = Vec::new();
        match self.0.read_to_end(&mut bytes) {
            Err(cause) if matches!(cause.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                panic!("the connection does not end")
            }
            _ => bytes,
        }
    }

    /// Asserts that the server has closed the connection without sending anything else.
    #[track_caller]
    pub(crate) fn is_over(&mut self) {
        assert_eq!(String::from_utf8_lossy(&self.rest()), "");
    }

    /// The underlying socket.
    pub(crate) fn tcp(&self) -> &TcpStream {
        &self.0
    }
}

/// The head of a request that stores `length` bytes.
pub(crate) fn put_head(target: &str, length: usize) -> String {
    format!("PUT {target} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {length}\r\n\r\n")
}

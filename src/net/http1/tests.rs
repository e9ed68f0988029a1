use std::io::Cursor;

use super::*;

/// A stream that delivers its bytes in pieces of `step`, and records what is written.
struct Fake {
    incoming: Cursor<Vec<u8>>,
    step: usize,
    written: Vec<u8>,
}

impl Read for Fake {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let length = into.len().min(self.step);
        self.incoming.read(&mut into[..length])
    }
}

impl Write for Fake {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.written.write(bytes)
    }
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn connection(bytes: &[u8], step: usize) -> Connection<Fake> {
    Connection::new(Fake {
        incoming: Cursor::new(bytes.to_vec()),
        step,
        written: Vec::new(),
    })
}

fn request(text: &str) -> Result<Request, Wrong> {
    connection(text.as_bytes(), usize::MAX).read_request()
}

fn refused(text: &str) -> String {
    match request(text).and_then(|request| Framing::of_request(&request)) {
        Ok(framing) => panic!("{text:?} has {framing:?}"),
        Err(wrong) => format!("{wrong:?}"),
    }
}

/// Reads a whole body into a buffer of 3 bytes.
fn body(connection: &mut Connection<Fake>, framing: Framing) -> Result<Vec<u8>, Wrong> {
    let (mut body, mut bytes, mut buffer) = (Body::new(framing), Vec::new(), [0; 3]);
    loop {
        match body.read(connection, &mut buffer)? {
            0 => return Ok(bytes),
            read => bytes.extend_from_slice(&buffer[..read]),
        }
    }
}

#[test]
fn pipelined_requests_come_one_after_the_other_in_pieces_of_any_size() {
    let text = b"PUT /a HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: Chunked\r\n\r\n\
        3\r\nabc\r\n0A;x=y\r\n0123456789\r\n0\r\nTrailer: x\r\n\r\n\
        PUT /b HTTP/1.1\r\nhost: h\r\ncontent-length: 2\r\n\r\nhiGET /c HTTP/1.1\r\nHost: h\r\n\r\n";
    for step in 1..=text.len() {
        let mut connection = connection(text, step);
        for (target, expected) in [("/a", "abc0123456789"), ("/b", "hi"), ("/c", "")] {
            let request = connection.read_request().unwrap();
            assert_eq!(request.target, target);
            let framing = Framing::of_request(&request).unwrap();
            assert_eq!(body(&mut connection, framing).unwrap(), expected.as_bytes());
        }
        assert!(matches!(connection.read_request(), Err(Wrong::Closed)));
    }
}

#[test]
fn what_two_parsers_could_understand_differently_is_refused() {
    let with = |fields: &str| refused(&format!("PUT / HTTP/1.1\r\nHost: h\r\n{fields}\r\n\r\n"));
    for fields in [
        "Content-Length: 1\r\nContent-Length: 1",
        "Content-Length: 1\r\nContent-Length: 2",
        "Content-Length: 1, 1",
        "Content-Length: +1",
        "Content-Length: -1",
        "Content-Length: 0x1",
        "Content-Length: 18446744073709551616",
        "Content-Length: 1\r\nTransfer-Encoding: chunked",
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked",
        "Content-Length : 1",
        " Content-Length: 1",
        "X: a\r\n b",
        "X: \u{e9}",
        "X: a\rb",
        "Host: other",
    ] {
        assert!(
            with(fields).starts_with("Malformed"),
            "{fields}: {}",
            with(fields)
        );
    }
    assert_eq!(with("Transfer-Encoding: gzip, chunked"), "Coding");
    assert_eq!(with("Transfer-Encoding: identity"), "Coding");
    let old = "PUT / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n";
    assert!(refused(old).starts_with("Malformed"));
    assert!(refused("GET / HTTP/1.1\r\n\r\n").starts_with("Malformed"));
    assert_eq!(refused("GET / HTTP/2.0\r\n\r\n"), "Version");
    assert!(refused("\x16\x03\x01\x02\x00\x01\x00\x01").starts_with("Malformed"));
    assert!(refused("GET / HTTP/1.1\r\nHost: h").starts_with("Malformed"));
}

#[test]
fn every_line_of_a_head_ends_with_cr_and_lf() {
    for text in [
        "GET / HTTP/1.1\nHost: h\n\n",
        "GET / HTTP/1.1\nHost: h\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: h\n\r\n",
        "GET / HTTP/1.1\r\nHost: h\r\n\n",
        "\nGET / HTTP/1.1\r\nHost: h\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: h\r\nX: a\rY: b\r\n\r\n",
    ] {
        assert!(refused(text).starts_with("Malformed"), "{text:?}");
    }
    // Empty lines before a request are allowed (RFC 9112, section 2.2).
    assert!(request("\r\nGET / HTTP/1.1\r\nHost: h\r\n\r\n").is_ok());
    for text in [
        "HTTP/1.1 200 OK\nX: y\n\n",
        "HTTP/1.1 200 OK\r\nX: y\n\r\n",
        "HTTP/1.1 200 OK\n\r\n",
    ] {
        let response = connection(text.as_bytes(), usize::MAX).read_response();
        assert!(matches!(response, Err(Wrong::Malformed(_))), "{text:?}");
    }
}

#[test]
fn heads_have_limits() {
    let long = "x".repeat(HEAD_LIMIT_BYTES);
    assert_eq!(refused(&format!("GET /{long}")), "LongTarget");
    assert_eq!(refused(&format!("GET / HTTP/1.1\r\nX: {long}")), "LongHead");
    let many = "X: y\r\n".repeat(FIELDS_LIMIT + 1);
    assert_eq!(
        refused(&format!("GET / HTTP/1.1\r\n{many}\r\n")),
        "LongHead"
    );
    let most = "X: y\r\n".repeat(FIELDS_LIMIT - 1);
    assert!(request(&format!("GET / HTTP/1.1\r\nHost: h\r\n{most}\r\n")).is_ok());
}

#[test]
fn bodies_end_where_they_say_or_fail() {
    let chunked = |text: &str| {
        let outcome = body(&mut connection(text.as_bytes(), 1), Framing::Chunked);
        outcome.map_err(|wrong| format!("{wrong:?}"))
    };
    assert_eq!(chunked("0\r\n\r\n").unwrap(), b"");
    assert_eq!(chunked("1\r\na\r\n0\r\n\r\n").unwrap(), b"a");
    for text in [
        "g\r\n",
        "\r\n",
        "-1\r\n",
        "1\r\nab\r\n",
        "1\na\n0\n\n",
        "11111111111111111\r\n",
        "1;x\ry\r\na\r\n0\r\n\r\n",
        "1\r;x\r\na\r\n0\r\n\r\n",
        "1;x=\0\r\na\r\n0\r\n\r\n",
        "0\r\nX: a\rY: b\r\n\r\n",
        &"1".repeat(1000),
        &format!("0\r\n{}", "X: y\r\n".repeat(100)),
    ] {
        let wrong = chunked(text).unwrap_err();
        assert!(
            wrong.starts_with("Malformed") || wrong == "LongHead",
            "{text:?}: {wrong}"
        );
    }
    for text in ["", "5\r\nabc", "0\r\n", "fffffffffffffffe\r\nabc"] {
        assert!(
            chunked(text).unwrap_err().contains("UnexpectedEof"),
            "{text:?}"
        );
    }
    let short = body(&mut connection(b"abc", 1), Framing::Length(4));
    assert!(format!("{short:?}").contains("UnexpectedEof"));
    let rest = body(&mut connection(b"abc", 1), Framing::UntilClose);
    assert_eq!(rest.unwrap(), b"abc");
}

#[test]
fn answers_are_read_as_they_are_written() {
    let mut writing = connection(b"", 1);
    writing.write_response(100, &[]).unwrap();
    writing
        .write_response(206, &[("Content-Length", "2"), ("Connection", "close")])
        .unwrap();
    assert!(writing.write_response(200, &[("X", "a\r\nY: b")]).is_err());
    let mut reading = connection(&writing.stream.written, 7);
    let response = reading.read_response().unwrap();
    assert_eq!((response.status, response.is_kept()), (206, false));
    let framing = |method: &str| Framing::of_response(&response, method).unwrap();
    assert_eq!(framing("GET"), Framing::Length(2));
    assert_eq!(framing("HEAD"), Framing::Length(0));
    writing.stream.written.clear();
    writing
        .write_request("GET", "/x", &[("Host", "h")])
        .unwrap();
    assert_eq!(
        writing.stream.written,
        b"GET /x HTTP/1.1\r\nHost: h\r\n\r\n"
    );
}

use std::sync::Mutex;

use super::testing::{Script, Step, answer, impatience};
use super::*;

fn client(script: &Script) -> Client {
    client_of(script, Arc::new(|_| {}))
}

fn client_of(script: &Script, notice: Notice) -> Client {
    let setup = Setup {
        trust: tls::Trust::default(),
        patience: impatience(),
        connections: 2,
        credentials: Some("Bearer secret".to_owned().into()),
        notice,
        interrupt: Interrupt::default(),
    };
    Client::new(&script.url(), setup)
}

fn get(client: &Client) -> Result<(u16, Vec<u8>), Failure> {
    let request = Request {
        method: "GET",
        target: "/x",
        fields: &[],
        content: None,
    };
    let mut answer = client.ask(&request)?;
    Ok((answer.status(), answer.all(1000)?))
}

fn put(client: &Client, bytes: &[u8]) -> Result<u16, Failure> {
    let request = Request {
        method: "PUT",
        target: "/x",
        fields: &[],
        content: Some(&bytes),
    };
    let mut answer = client.ask(&request)?;
    answer.all(1000)?;
    Ok(answer.status())
}

/// Returns the kind and the message of a failure, and whether it can be retried.
fn failed<T>(outcome: Result<T, Failure>) -> (Kind, String, bool) {
    let failure = outcome.err().unwrap();
    let again = matches!(failure, Failure::Again { .. });
    let error = failure.into_error();
    (error.kind(), error.to_string(), again)
}

#[test]
fn a_connection_is_kept_and_says_who_is_asked() {
    let ok = || Step::Answer(answer(200, "", b"hi"));
    let script = Script::new(vec![vec![ok(), ok(), Step::Answer(answer(204, "", b""))]]);
    let port = script.url().port.unwrap();
    let client = client(&script);
    for _ in 0..2 {
        assert_eq!(get(&client).unwrap(), (200, b"hi".to_vec()));
    }
    put(&client, b"").unwrap();
    let requests = script.played();
    assert_eq!(requests.len(), 3);
    let expected = format!("GET /x HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n");
    assert!(requests[0].starts_with(&expected), "{}", requests[0]);
    assert!(requests[0].contains("\r\nAuthorization: Bearer secret\r\n"));
    assert!(requests[2].contains("\r\nContent-Length: 0\r\n"));
}

#[test]
fn a_kept_connection_that_ended_is_replaced_at_once() {
    let ok = |body: &[u8]| Step::Answer(answer(200, "", body));
    // Closed before and after the second request.
    for cut in [vec![ok(b"1")], vec![ok(b"1"), Step::Answer(Vec::new())]] {
        let script = Script::new(vec![cut, vec![ok(b"2")]]);
        let client = client(&script);
        assert_eq!(get(&client).unwrap().1, b"1");
        assert_eq!(get(&client).unwrap().1, b"2");
        script.played();
    }
}

#[test]
fn an_answer_that_ends_the_connection_ends_it() {
    let closing = answer(200, "Connection: close\r\n", b"1");
    let script = Script::answers(&[&closing, b"HTTP/1.1 200 OK\r\n\r\nuntil it closes"]);
    let client = client(&script);
    assert_eq!(get(&client).unwrap().1, b"1");
    assert_eq!(get(&client).unwrap().1, b"until it closes");
    script.played();
}

#[test]
fn connections_that_break_may_be_tried_again() {
    let whole = answer(200, "", &[b'x'; 100]);
    for cut in [0, 1, 10, whole.len() - 100, whole.len() - 1] {
        let script = Script::answers(&[&whole[..cut]]);
        let (kind, words, again) = failed(get(&client(&script)));
        assert_eq!((kind, again), (Kind::Unavailable, true), "{cut}: {words}");
        script.played();
        // The listener is closed now.
    }
    let script = Script::new(Vec::new());
    let client = client(&script);
    script.played();
    let expected = (Kind::Unavailable, "connection refused".to_owned(), true);
    assert_eq!(failed(get(&client)), expected);
}

#[test]
fn who_does_not_answer_is_not_waited_for() {
    let script = Script::new(vec![vec![Step::Hang]]);
    let (kind, words, again) = failed(get(&client(&script)));
    assert_eq!((kind, again), (Kind::Unavailable, true));
    assert!(words.starts_with("no answer within"), "{words}");
    let stuck = b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nab".to_vec();
    let script = Script::new(vec![vec![Step::Early(stuck), Step::Hang]]);
    let words = failed(get(&client(&script))).1;
    assert_eq!(words, "the connection is stalled or too slow");
}

#[test]
fn a_body_that_drips_is_given_up() {
    let length = |bytes| format!("HTTP/1.1 200 OK\r\nContent-Length: {bytes}\r\n\r\n");
    let chunked = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n".to_owned();
    // A body that arrives one byte at a time, and a body with one byte per long chunk extension.
    let wrapped = format!("1;{}\r\nx\r\n", "x".repeat(200));
    for (head, piece) in [(length(1000), "x".to_owned()), (chunked, wrapped)] {
        let script = Script::new(vec![vec![Step::Drip(head.into(), piece.into())]]);
        let (kind, words, again) = failed(get(&client(&script)));
        assert_eq!((kind, again), (Kind::Unavailable, true), "{words}");
        assert_eq!(words, "the connection is stalled or too slow");
        script.played();
    }
}

#[test]
fn what_is_no_answer_is_told_for_what_it_is() {
    let long = format!("HTTP/1.1 200 OK\r\nX: {}", "x".repeat(20_000));
    for (bytes, expected) in [
        (b"SSH-2.0-OpenSSH_9.2\r\n".to_vec(), "does not speak HTTP"),
        (
            b"\x15\x03\x01\x00\x02\x02\x16".to_vec(),
            "is it at an https:// location?",
        ),
        (long.into_bytes(), "the head of its answer is over 16.0 KiB"),
        (
            answer(301, "Location: https://elsewhere/\r\n", b""),
            "it redirects to https://elsewhere/",
        ),
        (
            answer(200, "Content-Length: 7\r\n", b""),
            "a field is there twice",
        ),
        (
            answer(200, "Transfer-Encoding: gzip\r\n", b""),
            "a length and a coding",
        ),
    ] {
        let script = Script::answers(&[&bytes]);
        let (kind, words, again) = failed(get(&client(&script)));
        assert_eq!((kind, again), (Kind::Unsupported, false), "{words}");
        assert!(words.contains(expected), "{words}");
    }
}

#[test]
fn bodies_have_limits() {
    let script = Script::answers(&[
        b"HTTP/1.1 200 OK\r\nContent-Length: 1000000000000\r\n\r\n",
        &answer(200, "", &[0; 1001]),
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3e8\r\n",
    ]);
    let client = client(&script);
    for _ in 0..2 {
        let (kind, words, _) = failed(get(&client));
        assert_eq!(
            (kind, words.as_str()),
            (Kind::Corrupt, "the answer has more than 1000 B")
        );
    }
    assert_eq!(failed(get(&client)).0, Kind::Unavailable);
}

#[test]
fn a_large_body_waits_for_the_word_and_comes_without_it() {
    let body = vec![7; EXPECT_FROM_BYTES as usize];
    let go_on = b"HTTP/1.1 100 Continue\r\n\r\n".to_vec();
    let stored = answer(201, "", b"");
    let refused = Step::Early(answer(409, "", b"no"));
    let both = Step::Answer([go_on, stored.clone()].concat());
    let script = Script::new(vec![vec![refused], vec![both], vec![Step::Answer(stored)]]);
    let client = client(&script);
    assert_eq!(put(&client, &body).unwrap(), 409);
    for _ in 0..2 {
        assert_eq!(put(&client, &body).unwrap(), 201);
        client.pool.lease().idle();
    }
    let requests = script.played();
    assert!(
        requests
            .iter()
            .all(|head| head.contains("\r\nExpect: 100-continue\r\n"))
    );
}

#[test]
fn what_a_server_says_before_it_stops_listening_is_heard() {
    // More than the buffers of both sides hold, but too little for `Expect: 100-continue`.
    let body = vec![7; EXPECT_FROM_BYTES as usize - 1];
    let refused = || Step::Early(answer(413, "", b"no"));
    for _ in 0..20 {
        let script = Script::new(vec![vec![refused()]]);
        assert_eq!(put(&client(&script), &body).unwrap(), 413);
    }
}

#[test]
fn what_is_in_clear_is_told_once() {
    let told = Arc::new(Mutex::new(Vec::new()));
    let heard = told.clone();
    let notice = move |error: &Error| heard.lock().unwrap().push(error.to_string());
    let script = Script::new(Vec::new());
    let client = client_of(&script, Arc::new(notice));
    for address in ["127.0.0.1:80", "[::1]:80", "[::ffff:127.0.0.1]:80"] {
        client.warn_once(&address.parse().unwrap());
    }
    assert!(told.lock().unwrap().is_empty());
    for address in ["192.168.1.2:80", "[fe80::1]:80"] {
        client.warn_once(&address.parse().unwrap());
    }
    let expected = format!("{}: {TOKEN_IN_CLEAR}", client.origin);
    assert_eq!(*told.lock().unwrap(), [expected]);
}

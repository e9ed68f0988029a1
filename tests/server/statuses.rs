//! Tests every status, with exact bytes.

use plakar::util::Id;

use crate::served::{Served, bytes, object, until};
use crate::wire::put_head;

#[test]
fn config_is_served_and_never_replaced() {
    let served = Served::new("config", &[]);
    let answer = served.ask("GET", "/");
    assert_eq!(answer.body, served.sandbox.read("st/CONFIG"));
    assert_eq!(answer.field("content-type"), Some("application/toml"));
    assert_eq!(answer.field("kloset-protocol"), Some("1"));
    let server = concat!("plakar/", env!("CARGO_PKG_VERSION"));
    assert_eq!(answer.field("server"), Some(server));
    let head = served.ask("HEAD", "/");
    assert_eq!(head.field("content-length"), answer.field("content-length"));
    let before = served.sandbox.read("st/CONFIG");
    for target in ["/", "/resources"] {
        let answer = served.connect().put(target, b"x");
        assert_eq!(answer.status, 409, "{target}");
        assert_eq!(answer.field("kloset-error"), Some("exists"));
    }
    assert_eq!(served.sandbox.read("st/CONFIG"), before);
}

#[test]
fn a_store_can_be_made_through_a_server() {
    let sandbox = crate::harness::Sandbox::new("server_create");
    let served = Served::of(sandbox, &[]);
    let answer = served.ask("GET", "/");
    assert_eq!(
        (answer.status, answer.field("kloset-error")),
        (404, Some("not-found"))
    );
    assert_eq!(served.ask("PUT", "/resources").status, 200);
    assert_eq!(served.ask("PUT", "/resources").status, 200);
    let answer = served.connect().put("/", &[b'x'; 65537]);
    assert_eq!(answer.status, 413);
    assert_eq!(served.connect().put("/", b"a = 1\n").status, 201);
    assert_eq!(served.ask("GET", "/").body, b"a = 1\n");
    assert_eq!(served.connect().put("/", b"a = 1\n").status, 409);
    assert_eq!(served.ask("PUT", "/resources").status, 409);
}

#[test]
fn objects_are_read_whole_and_in_parts() {
    let served = Served::new("parts", &[]);
    let object_bytes = bytes(1, 400_000);
    let target = object("packs", &object_bytes);
    assert_eq!(served.ask("GET", &target).status, 404);
    assert_eq!(served.connect().put(&target, &object_bytes).status, 201);
    let mut wire = served.connect();
    let whole = wire.ask("GET", &target, "");
    assert!(whole.status == 200 && whole.body == object_bytes);
    let etag = format!("\"{}\"", Id::of(&object_bytes));
    assert_eq!(whole.field("etag"), Some(etag.as_str()));
    assert_eq!(whole.field("accept-ranges"), Some("bytes"));
    let modified = whole.field("last-modified").expect("it is told").to_owned();
    assert!(
        whole
            .field("kloset-modified-ns")
            .is_some_and(|ns| ns.parse::<i64>().is_ok())
    );
    for (range, first, last) in [
        ("0-0", 0, 0),
        ("1000-299999", 1000, 299_999),
        ("399999-", 399_999, 399_999),
        ("399990-999999", 399_990, 399_999),
        ("-5", 399_995, 399_999),
    ] {
        let part = wire.ask("GET", &target, &format!("Range: bytes={range}\r\n"));
        assert_eq!(part.status, 206, "{range}");
        assert!(part.body == object_bytes[first..=last], "{range}");
        let told = format!("bytes {first}-{last}/400000");
        assert_eq!(part.field("content-range"), Some(told.as_str()));
    }
    let beyond = wire.ask("GET", &target, "Range: bytes=400000-\r\n");
    assert_eq!(
        (beyond.status, beyond.field("content-range")),
        (416, Some("bytes */400000"))
    );
    for fields in [
        "Range: bytes=0-1,4-5\r\n".to_owned(),
        "Range: bytes=5-1\r\n".to_owned(),
        "Range: bytes=0-1\r\nIf-Range: \"other\"\r\n".to_owned(),
        "If-None-Match: \"other\"\r\n".to_owned(),
        format!("If-Match: {etag}\r\n"),
    ] {
        assert_eq!(
            wire.ask("GET", &target, &fields).body.len(),
            400_000,
            "{fields}"
        );
    }
    for fields in [
        format!("If-None-Match: {etag}\r\n"),
        format!("If-None-Match: \"other\", W/{etag}\r\n"),
        "If-None-Match: *\r\n".to_owned(),
        format!("If-Modified-Since: {modified}\r\n"),
    ] {
        let answer = wire.ask("GET", &target, &fields);
        assert_eq!(
            (answer.status, answer.field("etag")),
            (304, Some(etag.as_str())),
            "{fields}"
        );
    }
    assert_eq!(
        wire.ask("GET", &target, "If-Match: \"other\"\r\n").status,
        412
    );
    let head = wire.ask("HEAD", &target, "Range: bytes=0-0\r\n");
    assert_eq!(
        (head.status, head.field("content-length")),
        (200, Some("400000"))
    );
}

#[test]
fn listings_are_paged() {
    let served = Served::new("paged", &[]);
    let mut ids: Vec<Id> = Vec::new();
    for number in 0..7 {
        let object = bytes(number, 100 + number as usize);
        assert_eq!(served.put("index", &object).status, 201);
        ids.push(Id::of(&object));
    }
    ids.sort();
    let mut wire = served.connect();
    let (mut found, mut pages) = (Vec::new(), 0);
    let mut target = "/resources/index?limit=3".to_owned();
    loop {
        let page = wire.ask("GET", &target, "");
        assert_eq!(page.field("content-type"), Some("application/x-ndjson"));
        for line in page.text().lines() {
            let object: serde_json::Value = serde_json::from_str(line).expect("it is JSON");
            assert!(
                object["size"]
                    .as_u64()
                    .is_some_and(|size| (100..107).contains(&size))
            );
            assert!(object["modified_ns"].as_i64().is_some_and(|ns| ns > 0));
            found.push(
                object["id"]
                    .as_str()
                    .and_then(|id| id.parse().ok())
                    .expect("an id"),
            );
        }
        pages += 1;
        let Some(link) = page.field("link") else {
            break;
        };
        let next = link
            .strip_prefix('<')
            .and_then(|link| link.strip_suffix(">; rel=\"next\""));
        target = next.expect("it is a link").to_owned();
    }
    assert_eq!((found, pages), (ids, 3));
    assert_eq!(wire.ask("GET", "/resources/snapshots", "").text(), "");
    assert_eq!(wire.ask("HEAD", "/resources/index", "").status, 200);
    assert_eq!(wire.ask("GET", "/resources/index?limit=0", "").status, 400);
    assert_eq!(wire.ask("GET", "/resources/index?after=x", "").status, 400);
}

#[test]
fn known_paths_tell_what_can_be_done_with_them() {
    let served = Served::new("verbs", &[]);
    let object = object("keys", b"");
    let mut wire = served.connect();
    for (target, allowed) in [
        ("/", "GET, HEAD, PUT"),
        ("/resources", "PUT"),
        ("/resources/keys", "GET, HEAD"),
        (object.as_str(), "GET, HEAD, PUT, DELETE"),
        ("/healthz", "GET, HEAD"),
        ("/metrics", "GET, HEAD"),
    ] {
        for verb in ["POST", "OPTIONS", "PROPFIND", "get"] {
            let answer = wire.ask(verb, target, "");
            assert_eq!(
                (answer.status, answer.field("allow")),
                (405, Some(allowed)),
                "{verb}"
            );
        }
        assert_eq!(wire.ask("POST", &format!("{target}x"), "").status, 404);
    }
    assert_eq!(wire.ask("GET", "/healthz", "").text(), "ok\n");
    let deleted = wire.ask("DELETE", &object, "");
    assert_eq!(deleted.status, 403);
    assert_eq!(
        deleted.text(),
        "the server deletes nothing: it runs without -allow-delete\n"
    );
}

/// Sends `bytes` on a separate connection. Asserts that the response has the status and is an error
/// in the documented format, and that the server continues to work.
#[track_caller]
fn refused(served: &Served, bytes: &str, status: u16) {
    let mut wire = served.connect();
    // The server may close the connection before everything was sent.
    let _ = wire.try_send(bytes);
    let answer = wire.answer("GET");
    let shown = &bytes[..bytes.len().min(200)];
    assert_eq!(answer.status, status, "{shown:?}: {answer:?}");
    assert!(answer.field("kloset-error").is_some() && answer.text().lines().count() == 1);
    served.lives();
}

#[test]
fn what_is_no_good_request_is_told_why() {
    let served = Served::new("bad", &[]);
    let put = |fields: &str| {
        let target = object("packs", b"x");
        format!("PUT {target} HTTP/1.1\r\nHost: localhost\r\n{fields}\r\n\r\n")
    };
    for (fields, status) in [
        ("Content-Length: 1\r\nContent-Length: 1", 400),
        ("Content-Length: 1, 1", 400),
        ("Content-Length: +1", 400),
        ("Content-Length: 99999999999999999999", 400),
        ("Content-Length: 1\r\nTransfer-Encoding: chunked", 400),
        ("Transfer-Encoding: gzip, chunked", 501),
        ("Transfer-Encoding: identity", 501),
        ("X: a\r\n b", 400),
        ("Content-Length: 1\r\nExpect: a-pony", 417),
        ("X: y", 411),
        ("Content-Length: 1000000000000", 413),
        ("Content-Length: 268435457", 413),
        ("Transfer-Encoding: chunked\r\n\r\nzz", 400),
        ("Transfer-Encoding: chunked\r\n\r\n1;x\ry\r\nx\r\n0", 400),
    ] {
        refused(&served, &put(fields), status);
    }
    for (text, status) in [
        ("GET / HTTP/1.1\r\n\r\n", 400),
        ("GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n", 400),
        ("GET / HTTP/2.0\r\nHost: localhost\r\n\r\n", 505),
        ("\x16\x03\x01\x02\0\x01\0\x01\u{fc}\x03\x03", 400),
        ("hello\r\n\r\n", 400),
        ("GET /\0 HTTP/1.1\r\nHost: localhost\r\n\r\n", 400),
        ("GET / HTTP/1.1\nHost: localhost\n\n", 400),
        ("GET / HTTP/1.1\r\nHost: localhost\nX: y\r\n\r\n", 400),
    ] {
        refused(&served, text, status);
    }
    refused(
        &served,
        &format!("GET /{} HTTP/1.1\r\n", "x".repeat(20_000)),
        414,
    );
    refused(
        &served,
        &format!("GET / HTTP/1.1\r\nX: {}", "x".repeat(20_000)),
        431,
    );
    refused(
        &served,
        &format!(
            "GET / HTTP/1.1\r\nHost: localhost\r\n{}\r\n",
            "X: y\r\n".repeat(70)
        ),
        431,
    );
}

#[test]
fn bodies_have_limits_even_if_they_do_not_tell_their_length() {
    let served = Served::new("limits", &[]);
    let mut wire = served.connect();
    let target = object("keys", b"x");
    wire.send(format!(
        "PUT {target} HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n"
    ));
    for _ in 0..100 {
        let chunk = format!("400\r\n{}\r\n", "x".repeat(1024));
        if wire.try_send(chunk).is_err() {
            break;
        }
    }
    let answer = wire.answer("PUT");
    assert_eq!(
        (answer.status, answer.field("connection")),
        (413, Some("close"))
    );
    assert!(served.files("tmp").is_empty() && served.files("keys").is_empty());
}

#[test]
fn connections_are_kept_as_the_client_wants() {
    let served = Served::new("kept", &[]);
    let mut wire = served.connect();
    for _ in 0..3 {
        assert_eq!(wire.ask("GET", "/healthz", "").field("connection"), None);
    }
    let last = wire.ask("GET", "/healthz", "Connection: close\r\n");
    assert_eq!(last.field("connection"), Some("close"));
    wire.is_over();

    let mut old = served.connect();
    old.send("GET /healthz HTTP/1.0\r\nConnection: keep-alive\r\n\r\n");
    assert_eq!(old.answer("GET").field("connection"), Some("keep-alive"));
    old.send("GET http://LOCALHOST./healthz HTTP/1.0\r\n\r\n");
    assert_eq!(old.answer("GET").field("connection"), Some("close"));
    old.is_over();

    // An unexpected body is read, so that the next request is found.
    let mut wire = served.connect();
    wire.send("GET /healthz HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5\r\n\r\nhello");
    assert_eq!(wire.answer("GET").status, 200);
    wire.send(put_head("/nothing", 5) + "hello");
    assert_eq!(wire.answer("PUT").status, 404);
    assert_eq!(wire.ask("GET", "/healthz", "").status, 200);
}

#[test]
fn pipelined_requests_are_answered_in_their_order() {
    let served = Served::new("pipelined", &[]);
    let mut wire = served.connect();
    let (one, other) = (bytes(1, 3000), bytes(2, 5));
    let mut all = put_head(&object("packs", &one), one.len()).into_bytes();
    all.extend_from_slice(&one);
    all.extend_from_slice(b"GET /nothing HTTP/1.1\r\nHost: localhost\r\n\r\n");
    all.extend_from_slice(put_head(&object("keys", &other), other.len()).as_bytes());
    all.extend_from_slice(&other);
    all.extend_from_slice(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n");
    wire.send(&all);
    let statuses: Vec<u16> = (0..4).map(|_| wire.answer("GET").status).collect();
    assert_eq!(statuses, [201, 404, 201, 200]);
}

#[test]
fn figures_count() {
    let served = Served::new("figures", &[]);
    assert_eq!(served.put("packs", &bytes(1, 1000)).status, 201);
    assert_eq!(served.ask("GET", "/nothing").status, 404);
    // A request is counted after its response was sent.
    let counted = "plakar_requests_total{verb=\"GET\",status=\"4xx\"} 1\n";
    until("it is counted", || {
        served.ask("GET", "/metrics").text().contains(counted)
    });
    let page = served.ask("GET", "/metrics");
    assert!(
        page.field("content-type")
            .is_some_and(|kind| kind.starts_with("text/plain; version="))
    );
    let page = page.text();
    for line in [
        "plakar_requests_total{verb=\"PUT\",status=\"2xx\"} 1",
        "plakar_requests_total{verb=\"GET\",status=\"4xx\"} 1",
        "plakar_received_bytes_total 1000",
        "plakar_uploads_total 1",
        "# TYPE plakar_requests_total counter",
    ] {
        assert!(page.lines().any(|known| known == line), "{line}\n{page}");
    }
}

#[test]
fn the_access_log_has_a_line_for_each_request() {
    let served = Served::new("access_log", &["-access-log", "log"]);
    let lines = || {
        served
            .sandbox
            .read("log")
            .iter()
            .filter(|byte| **byte == b'\n')
            .count()
    };
    // Each line is written after the response, so the test waits for it before the next request.
    let logged = |count: usize| until("there is a line", || lines() == count);
    served.put("packs", &bytes(1, 1000));
    logged(1);
    let mut wire = served.connect();
    wire.send("GET /\u{1b}[31m HTTP/1.1\r\nHost: localhost\r\n\r\n");
    wire.answer("GET");
    logged(2);
    served.ask("GET", "/%1b\\e");
    logged(3);
    served.ask("GET", "/healthz");
    logged(4);
    let log = String::from_utf8(served.sandbox.read("log")).expect("it is text");
    let lines: Vec<Vec<&str>> = log.lines().map(|line| line.split(' ').collect()).collect();
    assert!(lines.iter().all(|words| words.len() == 9), "{log}");
    assert_eq!(&lines[0][3..4], ["PUT"]);
    assert_eq!(&lines[0][5..8], ["201", "1000", "0"]);
    assert_eq!(&lines[1][2..6], ["-", "-", "-", "400"]);
    assert_eq!(lines[2][4], "/%1b\\u{5c}e");
    assert_eq!(&lines[3][3..8], ["GET", "/healthz", "200", "0", "3"]);
    assert!(
        log.bytes()
            .all(|byte| byte == b'\n' || (b' '..=b'~').contains(&byte))
    );
}

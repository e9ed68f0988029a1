//! Tests requests for other hosts, and requests by web pages of other hosts, as sent by browsers.

use crate::harness::Sandbox;
use crate::served::{Served, bytes, object, sandbox};
use crate::tls::certify;
use crate::wire::Answer;

/// The response to a request with `fields`, which include the host.
fn ask(served: &Served, verb: &str, target: &str, fields: &str) -> Answer {
    let mut wire = served.connect();
    wire.send(format!("{verb} {target} HTTP/1.1\r\n{fields}\r\n"));
    wire.answer(verb)
}

#[test]
fn a_request_for_another_host_is_misdirected() {
    let served = Served::new("host", &["-name", "NAS.example", "-name", "2001:db8::5"]);
    let port = served.address.port();
    let uname = rustix::system::uname();
    let machine = uname.nodename().to_str().expect("it is text").to_owned();
    for host in [
        "localhost",
        "LocalHost.",
        &format!("localhost:{port}"),
        &format!("127.0.0.1:{port}"),
        "127.1.2.3",
        "[::1]",
        &format!("[::1]:{port}"),
        "nas.example:80",
        "nas.EXAMPLE.",
        "[2001:db8:0::5]",
        &machine,
        &format!("{}.local", machine.split('.').next().unwrap_or_default()),
    ] {
        let answer = ask(&served, "GET", "/", &format!("Host: {host}\r\n"));
        assert_eq!(answer.status, 200, "{host}");
    }
    for host in [
        "evil.example",
        "evil.example:80",
        "localhost.evil.example",
        "example",
        "192.0.2.1",
        "[2001:db8::6]:1",
    ] {
        for target in ["/", "/healthz", "/nothing"] {
            let answer = ask(&served, "GET", target, &format!("Host: {host}\r\n"));
            let word = answer.field("kloset-error");
            assert_eq!((answer.status, word), (421, Some("usage")), "{host}");
            assert!(answer.text().contains("start the server with: -name "));
        }
        // The host in an absolute URL is checked too.
        let answer = ask(
            &served,
            "GET",
            &format!("http://{host}/"),
            "Host: localhost\r\n",
        );
        assert_eq!(answer.status, 421, "{host}");
    }
    for host in [
        "",
        "a b",
        "user@localhost",
        "localhost:x",
        "::1",
        "[localhost]",
        "a/b",
    ] {
        let answer = ask(&served, "GET", "/", &format!("Host: {host}\r\n"));
        assert_eq!(answer.status, 400, "{host}");
    }
    let mut old = served.connect();
    old.send("GET / HTTP/1.0\r\n\r\n");
    assert_eq!(old.answer("GET").status, 200);
}

#[test]
fn a_web_page_of_another_host_can_do_nothing() {
    let served = Served::new("origin", &["-allow-delete"]);
    let kept = bytes(1, 100);
    served.put("keys", &kept);
    let target = object("keys", &kept);
    let host = served.address;
    for origin in [
        "http://evil.example",
        "https://evil.example:9876",
        "null",
        "http://localhost:1",
        "file://",
    ] {
        for verb in ["GET", "PUT", "DELETE", "OPTIONS"] {
            let fields = format!("Host: {host}\r\nOrigin: {origin}\r\nContent-Length: 0\r\n");
            let answer = ask(&served, verb, &target, &fields);
            assert_eq!(answer.status, 403, "{verb} {origin}");
            assert_eq!(answer.field("access-control-allow-origin"), None);
        }
    }
    // A page whose host name resolves to this machine (DNS rebinding).
    let rebound = format!(
        "Host: evil.example:{0}\r\nOrigin: http://evil.example:{0}\r\n",
        host.port()
    );
    assert_eq!(ask(&served, "DELETE", &target, &rebound).status, 421);
    let two = format!("Host: {host}\r\nOrigin: http://{host}\r\nOrigin: null\r\n");
    assert_eq!(ask(&served, "DELETE", &target, &two).status, 403);
    assert_eq!(served.ask("GET", &target).body, kept);
    let same = format!("Host: {host}\r\nOrigin: http://{host}\r\n");
    assert_eq!(ask(&served, "DELETE", &target, &same).status, 204);
}

#[test]
fn the_names_of_the_certificate_are_names_of_the_server() {
    let sandbox = sandbox("certified");
    certify(
        &sandbox,
        "h",
        "DNS:nas.example,DNS:*.home.example,IP:192.0.2.7",
    );
    let flags = ["-cert", "cert.pem", "-key", "key.pem"];
    let served = Served::of(sandbox, &flags);
    let status = |host: &str| {
        let mut command = std::process::Command::new("curl");
        command.args([
            "--silent",
            "--insecure",
            "--max-time",
            "100",
            "-o",
            "/dev/null",
        ]);
        command.args(["-w", "%{http_code}", "-H", &format!("Host: {host}")]);
        let output = command
            .arg(&served.url)
            .output()
            .expect("curl is installed");
        String::from_utf8_lossy(&output.stdout).into_owned()
    };
    for host in [
        "nas.example",
        "NAS.example:1",
        "a.home.example",
        "192.0.2.7",
    ] {
        assert_eq!(status(host), "200", "{host}");
    }
    for host in ["home.example", "a.b.home.example", "192.0.2.8", "h"] {
        assert_eq!(status(host), "421", "{host}");
    }
}

#[test]
fn deletes_without_tokens_need_insecure_beyond_loopback() {
    let sandbox = sandbox("open");
    let words = [
        "at",
        "st",
        "server",
        "-listen",
        "0.0.0.0:0",
        "-allow-delete",
    ];
    sandbox
        .run(&words)
        .ended(64)
        .says("server: -allow-delete: without tokens, anyone who can connect could delete")
        .says("-insecure")
        .prints_nothing();
    for host in ["", "a:1", "http://nas", "nas/x", "[nas]"] {
        let words = ["at", "st", "server", "-name", host];
        sandbox.run(&words).ended(64).says("-name: invalid host");
    }
    let serves = |sandbox: Sandbox, flags: &[&str]| {
        let words = [
            "at",
            "st",
            "-json",
            "server",
            "-listen",
            "0.0.0.0:0",
            "-allow-delete",
        ];
        let command = sandbox.command(&[words.as_slice(), flags].concat());
        Served::started(sandbox, command)
    };
    let served = serves(sandbox, &["-insecure"]);
    assert_eq!(served.ask("DELETE", &object("keys", b"")).status, 204);
    let with_token = crate::served::sandbox("open_token");
    with_token
        .run(&["server", "token", "add", "a", "-role", "full"])
        .ended(0);
    let served = serves(with_token, &[]);
    assert_eq!(served.ask("DELETE", &object("keys", b"")).status, 401);
}

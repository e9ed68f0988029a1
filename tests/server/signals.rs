//! Tests signals: stopping without aborting requests, and reloading files.

use std::fs;

use rustix::process::Signal;

use crate::served::{Served, bytes, object, sandbox, until};
use crate::wire::put_head;

#[test]
fn an_upload_that_runs_is_finished_before_the_end() {
    let mut served = Served::new("term", &[]);
    let mut idle = served.connect();
    assert_eq!(idle.ask("GET", "/healthz", "").status, 200);
    let sent = bytes(1, 1 << 20);
    let mut wire = served.connect();
    wire.send(put_head(&object("packs", &sent), sent.len()));
    wire.send(&sent[..1000]);
    until("it is begun", || !served.files("tmp").is_empty());
    served.signal(Signal::TERM);
    idle.is_over();
    let refused = |address| std::net::TcpStream::connect(address).is_err();
    until("nobody is let in", || refused(served.address));
    wire.send(&sent[1000..]);
    let answer = wire.answer("PUT");
    assert_eq!(
        (answer.status, answer.field("connection")),
        (201, Some("close"))
    );
    assert_eq!(served.end().code(), Some(0));
    assert_eq!(served.said(), "");
    let fan = &object("packs", &sent)[17..19];
    assert_eq!(served.files(&format!("packs/{fan}")).len(), 1);
}

#[test]
fn who_does_not_come_to_an_end_is_cut_off_and_leaves_nothing() {
    let mut served = Served::new("interrupt", &[]);
    let mut wire = served.connect();
    wire.send(put_head(&object("packs", b"x"), 1000) + "begun");
    until("it is begun", || !served.files("tmp").is_empty());
    served.signal(Signal::INT);
    assert_eq!(served.end().code(), Some(0));
    wire.rest();
    assert!(served.files("tmp").is_empty());
}

#[test]
fn a_second_signal_ends_it_at_once() {
    let mut served = Served::new("twice", &[]);
    let mut wire = served.connect();
    wire.send(put_head(&object("packs", b"x"), 1000) + "begun");
    until("it is begun", || !served.files("tmp").is_empty());
    served.signal(Signal::TERM);
    until("it stops", || {
        std::net::TcpStream::connect(served.address).is_err()
    });
    served.signal(Signal::TERM);
    assert_eq!(served.end().code(), Some(130));
}

#[test]
fn tokens_and_log_are_looked_at_again() {
    let sandbox = sandbox("hangup");
    let add = |sandbox: &crate::harness::Sandbox, name: &str| {
        let words = [
            "server", "token", "add", name, "-role", "read", "-tokens", "mine",
        ];
        let token = sandbox.run(&words).ended(0).stdout();
        format!("Authorization: Bearer {}\r\n", token.trim_end())
    };
    let first = add(&sandbox, "first");
    let mut served = Served::of(sandbox, &["-tokens", "mine", "-access-log", "log"]);
    let mut kept = served.connect();
    assert_eq!(kept.ask("GET", "/", &first).status, 200);
    let second = add(&served.sandbox, "second");
    assert_eq!(kept.ask("GET", "/", &second).status, 401);
    fs::rename(served.sandbox.path("log"), served.sandbox.path("log.old")).expect("it is there");
    served.signal(Signal::HUP);
    until("the second is let in", || {
        served.connect().ask("GET", "/", &second).status == 200
    });
    until("the log is a new one", || {
        served.sandbox.path("log").exists()
    });
    // An existing connection is kept, and its permissions are checked again.
    assert_eq!(kept.ask("GET", "/", &second).status, 200);
    let words = ["server", "token", "rm", "first", "-tokens", "mine"];
    served.sandbox.run(&words).ended(0).silent();
    served.signal(Signal::HUP);
    until("the first is no longer", || {
        kept_is_refused(&served, &first)
    });
    // An invalid file neither admits additional clients nor excludes existing ones.
    for broken in ["nonsense", "[x]\nrole = 'king'\ncreated = ''\nhash = ''\n"] {
        served.sandbox.write("mine", broken.as_bytes());
        served.signal(Signal::HUP);
        let warning = served.line();
        assert!(
            warning.contains("the list of tokens in use stays: mine: "),
            "{warning}"
        );
        assert_eq!(kept.ask("GET", "/", &second).status, 200);
        assert!(kept_is_refused(&served, &first));
    }
    let log = String::from_utf8(served.sandbox.read("log.old")).expect("it is text");
    assert!(log.contains(" first GET / 200 "), "{log}");
}

fn kept_is_refused(served: &Served, fields: &str) -> bool {
    served.connect().ask("GET", "/", fields).status == 401
}

//! Tests the start of a server: addresses and warnings.

use std::fs;
use std::io::Read;
use std::net::{SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::os::unix::fs::{MetadataExt, lchown};

use rustix::process::Signal;

use crate::common::prerequisite::has_root;
use crate::common::user::USER;
use crate::served::{Served, sandbox};
use crate::tls::{NAMES, certify};
use crate::wire::Wire;

#[test]
fn addresses_that_make_no_sense_are_refused() {
    let sandbox = sandbox("nonsense");
    for address in [
        "",
        "localhost",
        "9876",
        "localhost:",
        ":99999",
        "::1:80",
        "a b:1",
        "http://h:1",
    ] {
        let run = sandbox.run(&["at", "st", "server", "-listen", address]);
        run.ended(64)
            .says("server: -listen: ")
            .says("is not [HOST]:PORT")
            .prints_nothing();
    }
    for (flag, value) in [
        ("-max-connections", "0"),
        ("-max-connections", "x"),
        ("-memory", "10K"),
        ("-memory", "much"),
    ] {
        sandbox
            .run(&["at", "st", "server", flag, value])
            .ended(64)
            .says(flag);
    }
    let taken = TcpListener::bind("127.0.0.1:0").expect("there is a port");
    let address = taken.local_addr().expect("it is bound").to_string();
    let run = sandbox
        .run(&["at", "st", "server", "-listen", &address])
        .ended(1);
    run.says(&format!(
        "plakar: listen on {address}: another program listens there"
    ));
    sandbox
        .run(&["at", "st", "server", "extra"])
        .ended(64)
        .says("unknown subcommand");
}

#[test]
fn every_interface_is_served_and_strangers_are_warned_of() {
    let sandbox = sandbox("everywhere");
    let command = sandbox.command(&["at", "st", "-json", "server", "-listen", ":0"]);
    let served = Served::started(sandbox, command);
    let port = served.address.port();
    assert_eq!(served.url, format!("http://localhost:{port}"));
    for host in ["127.0.0.1", "[::1]"] {
        let address: SocketAddr = format!("{host}:{port}").parse().expect("it is an address");
        // Except on a machine without IPv6.
        let has_it = TcpListener::bind(SocketAddr::new(address.ip(), 0)).is_ok();
        if has_it {
            assert_eq!(
                Wire::connect(address).ask("GET", "/", "").status,
                200,
                "{host}"
            );
        }
    }
}

/// The messages of a server that is started with `words` and stopped once it serves.
fn said(name: &str, words: &[&str], prepare: impl FnOnce(&crate::harness::Sandbox)) -> String {
    let sandbox = sandbox(name);
    prepare(&sandbox);
    let mut command = sandbox.command(words);
    command.stderr(std::process::Stdio::piped());
    let mut child = command.spawn().expect("the binary can be started");
    let mut stderr = child.stderr.take().expect("it is a pipe");
    let mut said = String::new();
    let mut byte = [0];
    while !(said.contains("serving ") && said.ends_with('\n')) {
        assert_eq!(
            stderr.read(&mut byte).expect("it is a pipe"),
            1,
            "it ended: {said}"
        );
        said.push(char::from(byte[0]));
    }
    rustix::process::kill_process(rustix::process::Pid::from_child(&child), Signal::TERM)
        .expect("it runs");
    assert!(child.wait().expect("it ends").success());
    said
}

#[test]
fn what_one_may_not_have_meant_is_told() {
    let nothing = |_: &crate::harness::Sandbox| {};
    let at = ["at", "st", "server", "-listen", "127.0.0.1:0"];
    let plain = said("plain", &at, nothing);
    let url = plain.strip_prefix("plakar: serving st at http://127.0.0.1:");
    let port = url.and_then(|url| url.trim_end().parse::<u16>().ok());
    assert!(port.is_some_and(|port| port > 0), "{plain}");

    for (flag, file) in [("-cert", "cert.pem"), ("-key", "key.pem")] {
        let words = [at.as_slice(), &["-quiet", flag, file]].concat();
        let half = said("half", &words, |sandbox| certify(sandbox, "h", NAMES));
        assert!(
            half.contains("WARNING: ") && half.contains("PLAIN HTTP"),
            "{half}"
        );
        assert!(half.contains("http://127.0.0.1:"), "{half}");
    }
    let open = said(
        "open",
        &["at", "st", "server", "-listen", "0.0.0.0:0"],
        nothing,
    );
    assert!(
        open.contains("warning: there are no tokens: every client that can connect"),
        "{open}"
    );
    let usual = said(
        "usual",
        &["at", "st", "server", "-listen", ":0"],
        |sandbox| {
            sandbox
                .run(&["server", "token", "add", "a", "-role", "read"])
                .ended(0);
        },
    );
    assert!(usual.contains("letting in those with a token in ") && !usual.contains("warning"));
    assert!(usual.contains("serving st at http://localhost:"), "{usual}");
    // The address at which others reach this machine, if it has one. No packet is sent.
    let outward = UdpSocket::bind("0.0.0.0:0").and_then(|udp| {
        udp.connect("192.0.2.1:9")?;
        udp.local_addr()
    });
    if let Some(ip) = outward.ok().map(|address| address.ip()) {
        assert!(
            ip.is_loopback() || usual.contains(&format!(", http://{ip}:")),
            "{usual}"
        );
    }
    let empty = said(
        "empty",
        &["at", "nowhere", "server", "-listen", "localhost:0"],
        nothing,
    );
    assert!(
        empty.contains("nowhere: no store yet: a client can create one"),
        "{empty}"
    );
    assert!(empty.contains(", http://127.0.0.1:"), "{empty}");
}

#[test]
fn files_that_are_not_there_or_no_good_keep_it_from_starting() {
    let sandbox = sandbox("files");
    certify(&sandbox, "h", NAMES);
    std::fs::rename(sandbox.path("key.pem"), sandbox.path("first.pem")).expect("it is there");
    certify(&sandbox, "h", NAMES);
    sandbox.write("nonsense", b"nonsense");
    let run = |words: &[&str]| sandbox.run(&[&["at", "st", "server"], words].concat());
    run(&["-tokens", "none"])
        .ended(66)
        .says("none: the file does not exist");
    run(&["-tokens", "nonsense"])
        .ended(78)
        .says("nonsense: line 1");
    run(&["-cert", "none", "-key", "key.pem"])
        .ended(66)
        .says("none: ");
    run(&["-cert", "nonsense", "-key", "key.pem"])
        .ended(78)
        .says("holds no certificate in PEM");
    run(&["-cert", "cert.pem", "-key", "nonsense"])
        .ended(78)
        .says("holds no key in PEM");
    run(&["-cert", "cert.pem", "-key", "first.pem"])
        .ended(78)
        .says("cert.pem and first.pem: ");
    run(&["-access-log", "none/log"])
        .ended(66)
        .says("none/log: ");
}

#[test]
fn requests_can_be_printed() {
    let mut served = Served::new("printed", &["-access-log", "-"]);
    served.ask("GET", "/nothing");
    let line = served.line();
    let object: serde_json::Value = serde_json::from_str(&line).expect("it is JSON");
    assert_eq!(
        (&object["type"], &object["status"]),
        (&"request".into(), &404.into())
    );
    assert_eq!(object["target"], "/nothing");
    assert!(TcpStream::connect(served.address).is_ok());
}

#[test]
fn objects_of_a_server_of_root_belong_to_the_owner_of_the_store() {
    if !has_root() {
        return;
    }
    let sandbox = sandbox("owner");
    let root = sandbox.path("st");
    for path in [root.clone(), root.join("packs"), root.join("tmp")] {
        lchown(path, Some(USER), Some(USER)).expect("root may give away");
    }
    let served = Served::of(sandbox, &[]);
    assert_eq!(served.put("packs", b"a pack").status, 201);
    for fan in fs::read_dir(root.join("packs")).expect("it is there") {
        let fan = fan.expect("it can be listed").path();
        let packs = fs::read_dir(&fan).expect("it is there");
        for path in packs.map(|pack| pack.expect("it can be listed").path()) {
            let there = fs::metadata(path).expect("it is there");
            assert_eq!((there.uid(), there.gid()), (USER, USER));
        }
        let there = fs::metadata(fan).expect("it is there");
        assert_eq!((there.uid(), there.gid()), (USER, USER));
    }
    assert_eq!(served.said(), "");
}

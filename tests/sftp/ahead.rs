//! Tests read-ahead of a remote source: its cost, and that it changes nothing except the speed.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use crate::command::sandbox;
use crate::connector::{assert_same_contents, listed, write};
use crate::harness::{Sandbox, noise};
use crate::proxy::Proxy;
use crate::server::Server;

/// A tree of 70 directories in three levels, with 10 small files in each of 60 directories.
pub(crate) fn many(root: &Path) {
    for n in 0..60 {
        let directory = root.join(format!("{}/{}/{n}", n % 3, n % 6));
        for file in 0..10 {
            let bytes = format!("{n} {file}\n").repeat(file * 100);
            write(&directory.join(format!("f{file}")), bytes.as_bytes(), 0o600);
        }
        symlink(format!("f{}", n % 10), directory.join("link")).unwrap();
    }
}

/// A sandbox with a store `st`, and a configured source `far` for `srv/tree`.
fn far(name: &str, server: &Server) -> Sandbox {
    let sandbox = sandbox(name, server);
    sandbox.run(&["at", "st", "create", "-plaintext"]).ended(0);
    let sandbox = sandbox.without("PLAKAR_PASSPHRASE");
    let location = server.location("tree");
    sandbox.run(&["source", "add", "far", &location]).ended(0);
    sandbox
}

/// Configures `nas` to be reached through `proxy`.
fn through(server: &Server, proxy: &Proxy) {
    server.configure(&format!(
        "Host nas\n  Port {}\n  HostKeyAlias [127.0.0.1]:{}\n",
        proxy.port(),
        server.port()
    ));
}

fn assert_comes_back(sandbox: &Sandbox, server: &Server, target: &str) {
    sandbox
        .run(&["at", "st", "restore", "-to", target, "latest"])
        .ended(0);
    assert_same_contents(&server.path("srv/tree"), &sandbox.path(target));
    assert_eq!(
        listed(&server.path("srv/tree")),
        listed(&sandbox.path(target))
    );
}

/// Backs up the source over a connection with delay, and returns the number of round trips.
fn round_trips(sandbox: &Sandbox, server: &Server) -> u64 {
    let proxy = Proxy::slow(server.port(), Duration::from_millis(5));
    through(server, &proxy);
    sandbox.run(&["at", "st", "backup", "@far"]).ended(0);
    proxy.round_trips()
}

#[test]
fn many_files_share_a_round_trip() {
    let server = Server::new();
    many(&server.path("srv/tree"));
    let sandbox = far("sftp_ahead", &server);
    // Each of two logins takes about 30 round trips.
    let first = round_trips(&sandbox, &server);
    let unchanged = round_trips(&sandbox, &server);
    assert!(first < 600 / 2, "{first} for 600 files in 70 directories");
    assert!(unchanged < 70 + 30, "{unchanged} for 70 directories");
    assert_comes_back(&sandbox, &server, "back");
    sandbox
        .run(&["source", "set", "far", "connections=1"])
        .ended(0);
    let one_by_one = round_trips(&sandbox, &server);
    assert!(one_by_one > 70 * 4, "{one_by_one} without reading ahead");
}

/// Files of all lengths that read-ahead handles differently.
fn lengths(root: &Path) {
    let piece = 32 << 10;
    let small = 512 << 10;
    for length in [0, 1, piece - 1, piece, piece + 1, 3 * piece, small - 1] {
        write(&root.join(format!("{length}")), &noise(length), 0o640);
    }
    for length in [small, small + 1, small + piece] {
        write(&root.join(format!("sub/{length}")), &noise(length), 0o640);
    }
}

#[test]
fn what_is_read_ahead_is_what_would_be_read() {
    let server = Server::new();
    let tree = server.path("srv/tree");
    lengths(&tree);
    // More entries than are listed ahead, and more than one response contains.
    for n in 0..2_500 {
        write(&tree.join(format!("wide/{n}")), b"", 0o600);
    }
    symlink("/no/where", tree.join("sub/dangling")).unwrap();
    symlink("wide", tree.join("to-a-directory")).unwrap();
    symlink("far/".repeat(100), tree.join("to-far-away")).unwrap();
    write(&tree.join("out/deep/er/not"), b"left out", 0o600);
    write(&tree.join("now"), b"", 0o600);
    fs::write(tree.join("now"), b"changed within this second").unwrap();
    let fifo = Command::new("mkfifo").arg(tree.join("fifo")).status();
    assert!(fifo.unwrap().success());
    let sandbox = far("sftp_ahead_same", &server);
    let listing = || {
        sandbox
            .run(&["at", "st", "backup", "-ignore", "out/deep", "@far"])
            .ended(0)
            .says("store st: it is not encrypted");
        sandbox
            .run(&["at", "st", "ls", "-recursive", "latest"])
            .ended(0)
            .stdout()
    };
    let ahead = listing();
    sandbox
        .run(&["source", "set", "far", "connections=1"])
        .ended(0);
    assert_eq!(ahead, listing());
    assert!(!ahead.contains("deep"), "{ahead}");
    fs::remove_dir_all(tree.join("out/deep")).unwrap();
    // diff cannot compare a FIFO.
    fs::remove_file(tree.join("fifo")).unwrap();
    sandbox.run(&["at", "st", "backup", "@far"]).ended(0);
    assert_comes_back(&sandbox, &server, "back");
}

#[test]
fn a_connection_to_read_ahead_over_may_break_anywhere() {
    let server = Server::new();
    many(&server.path("srv/tree"));
    let sandbox = far("sftp_ahead_cut", &server);
    for pieces in [0, 3, 10, 20, 25, 40, 80, 160] {
        let proxy = Proxy::cutting_second(server.port(), pieces);
        through(&server, &proxy);
        let run = sandbox.run(&["at", "st", "backup", "-json", "-cache", "no", "@far"]);
        let summary = run.ended(0).object("summary");
        assert_eq!(summary["files"], 660, "cut after {pieces}: {summary}");
        assert_eq!(summary["errors"], 0, "cut after {pieces}: {summary}");
        assert!(proxy.connections() > 1, "cut after {pieces}");
    }
    assert_comes_back(&sandbox, &server, "back");
}

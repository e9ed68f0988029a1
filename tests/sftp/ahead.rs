//! A source that is far away is read ahead: what that costs, and that nothing comes of it
//! but speed.

use std::fs;
use std::io::Read;
use std::os::unix::fs::symlink;
use std::process::Stdio;
use std::time::Duration;

use crate::command::sandbox;
use crate::connector::{assert_same_contents, listed, write};
use crate::harness::{Run, Sandbox, noise};
use crate::proxy::Proxy;
use crate::server::Server;

/// A tree of 60 directories, three deep, with 10 small files in each.
fn many(server: &Server) {
    for n in 0..60 {
        let directory = server.path(&format!("srv/tree/{}/{}/{n}", n % 3, n % 6));
        for file in 0..10 {
            let bytes = format!("{n} {file}\n").repeat(file * 100);
            write(&directory.join(format!("f{file}")), bytes.as_bytes(), 0o600);
        }
    }
}

/// Makes `nas` be reached through `proxy`.
fn through(server: &Server, proxy: &Proxy) {
    server.configure(&format!(
        "Host nas\n  Port {}\n  HostKeyAlias [127.0.0.1]:{}\n",
        proxy.port(),
        server.port()
    ));
}

/// Backs `srv/tree` up through a line with delay, and tells how many round trips that took.
fn round_trips(sandbox: &Sandbox, server: &Server) -> u64 {
    let proxy = Proxy::slow(server.port(), Duration::from_millis(10));
    through(server, &proxy);
    sandbox.run(&["at", "st", "backup", "@far"]).ended(0);
    proxy.round_trips()
}

#[test]
fn many_files_share_a_round_trip() {
    let server = Server::new();
    many(&server);
    let sandbox = sandbox("sftp_ahead", &server);
    sandbox.run(&["at", "st", "create"]).ended(0);
    let location = server.location("tree");
    sandbox.run(&["source", "add", "far", &location]).ended(0);
    let first = round_trips(&sandbox, &server);
    let unchanged = round_trips(&sandbox, &server);
    sandbox
        .run(&["at", "st", "restore", "-to", "back", "latest"])
        .ended(0);
    assert_same_contents(&server.path("srv/tree"), &sandbox.path("back"));
    assert_eq!(
        listed(&server.path("srv/tree")),
        listed(&sandbox.path("back"))
    );
    println!("{first} {unchanged}");
    // 600 files in 70 directories; one by one a file takes five, and a directory four.
    assert!(first < 600 / 2, "{first}");
    assert!(unchanged < 70, "{unchanged}");
    sandbox
        .run(&["source", "set", "far", "connections=1"])
        .ended(0);
    let one_by_one = round_trips(&sandbox, &server);
    println!("{one_by_one}");
    assert!(one_by_one > 70 * 4, "{one_by_one}");
}

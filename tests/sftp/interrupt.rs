//! Tests that an interrupted command ends soon even if a server does not respond.

use std::net::TcpListener;

use rustix::process::Signal;

use crate::command::sandbox;
use crate::harness::noise;
use crate::process::{Running, weight};
use crate::server::Server;

#[test]
fn a_server_that_never_says_a_word_holds_nobody_up() {
    let server = Server::new();
    let mute = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = mute.local_addr().unwrap().port();
    // The timeout is an hour, so it cannot be the reason if the command ends earlier.
    server.configure(&format!("Host nas\n  Port {port}\n  ConnectTimeout 3600\n"));
    let sandbox = sandbox("sftp_interrupt_mute", &server);
    let running = sandbox.start(&["at", &server.location("st"), "ls"]);
    let connection = mute.accept().unwrap();
    running.signal(Signal::INT);
    running.end().ended(130).says("interrupted\n");
    drop(connection);
}

#[test]
fn a_server_that_hangs_in_mid_backup_holds_nobody_up() {
    let server = Server::new();
    server.configure("ServerAliveInterval 3600\nServerAliveCountMax 3\n");
    let sandbox = sandbox("sftp_interrupt_stopped", &server);
    let store = server.location("st");
    sandbox.run(&["at", &store, "create"]).ended(0);
    sandbox.write("d/a", &noise(150 << 20));
    let mut running = sandbox.start(&["at", &store, "backup", "d"]);
    let packs = server.path("srv/st");
    let has_begun = |_: &Running| weight(&packs) > 20 << 20;
    assert!(running.until(has_begun), "it is still at work");
    server.signal(Signal::STOP);
    running.signal(Signal::INT);
    running
        .end()
        .ended(130)
        .says("interrupted; a rerun continues");
    sandbox.discard();
}

#[test]
fn a_source_that_hangs_in_mid_backup_holds_nobody_up() {
    let server = Server::new();
    server.configure("ServerAliveInterval 3600\nServerAliveCountMax 3\n");
    crate::ahead::many(&server.path("srv/tree"));
    std::fs::write(server.path("srv/tree/large"), noise(150 << 20)).unwrap();
    let sandbox = sandbox("sftp_interrupt_source", &server);
    sandbox.run(&["at", "st", "create"]).ended(0);
    let mut running = sandbox.start(&["at", "st", "backup", &server.location("tree")]);
    let packs = sandbox.path("st");
    let has_begun = |_: &Running| weight(&packs) > 20 << 20;
    assert!(running.until(has_begun), "it is still at work");
    server.signal(Signal::STOP);
    running.signal(Signal::TERM);
    running
        .end()
        .ended(130)
        .says("interrupted; a rerun continues");
    sandbox.discard();
}

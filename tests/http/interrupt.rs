//! Tests that an interrupted command ends soon even if a server does not respond.

use std::net::TcpListener;

use rustix::process::Signal;

use super::harness::{Sandbox, noise};
use super::process::{Running, weight};
use super::serving::Served;

#[test]
fn a_server_that_never_says_a_word_holds_nobody_up() {
    let mute = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = mute.local_addr().unwrap();
    let sandbox = Sandbox::new("http_interrupt_mute");
    for scheme in ["http", "https"] {
        let running = sandbox.start(&["at", &format!("{scheme}://{address}"), "ls"]);
        let connection = mute.accept().unwrap();
        running.signal(Signal::INT);
        running.end().ended(130).says("interrupted\n");
        drop(connection);
    }
}

#[test]
fn a_server_that_hangs_in_mid_backup_holds_nobody_up() {
    let sandbox = Sandbox::new("http_interrupt_stopped");
    let server = Served::new(&sandbox.path("st"), 0, &[]);
    sandbox.run(&["at", &server.url, "create"]).ended(0);
    sandbox.write("d/a", &noise(150 << 20));
    let mut running = sandbox.start(&["at", &server.url, "backup", "d"]);
    let packs = sandbox.path("st");
    let has_begun = |_: &Running| weight(&packs) > 20 << 20;
    assert!(running.until(has_begun), "it is still at work");
    server.signal(Signal::STOP);
    running.signal(Signal::INT);
    running
        .end()
        .ended(130)
        .says("interrupted; a rerun continues");
    server.signal(Signal::CONT);
    drop(server);
    sandbox.discard();
}

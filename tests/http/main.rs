//! Tests stores over HTTP and HTTPS with the real server: the suite of all stores, broken
//! connections, certificates, tokens, and messages to the user.

#![allow(clippy::unwrap_used, clippy::print_stderr, clippy::print_stdout)]

mod between;
mod broken;
mod commands;
#[path = "../common/mod.rs"]
mod common;
#[path = "../cli/harness.rs"]
#[allow(dead_code)]
mod harness;
mod interrupt;
#[path = "../cli/process.rs"]
#[allow(dead_code)]
mod process;
mod serving;
mod tls;
mod tokens;

use std::cell::RefCell;
use std::collections::VecDeque;
use std::sync::Arc;

use plakar::net::Trust;
use plakar::store::{Store, conformance};
use tempfile::TempDir;

use self::serving::{Served, store};

/// The number of servers that the suite may need concurrently.
const SERVERS: usize = 4;

/// Runs the suite on served stores, whose URL `url_of` returns.
fn conforms(flags: &[&str], trust: &Trust, url_of: &dyn Fn(&Served) -> String) {
    let directory = TempDir::new().unwrap();
    let servers = RefCell::new(VecDeque::new());
    let places = RefCell::new(0);
    conformance::run(&|| -> Arc<dyn Store> {
        *places.borrow_mut() += 1;
        let place = directory.path().join(places.borrow().to_string());
        let server = Served::new(&place, 0, &[&["-allow-delete"], flags].concat());
        let store = store(&url_of(&server), trust.clone());
        servers.borrow_mut().push_back(server);
        if servers.borrow().len() > SERVERS {
            servers.borrow_mut().pop_front();
        }
        store
    });
}

#[test]
fn a_store_over_http_keeps_the_promises() {
    conforms(&[], &Trust::default(), &|server| server.url.clone());
}

#[test]
fn a_store_below_a_path_of_a_proxy_keeps_the_promises() {
    let proxied = |server: &Served| {
        let port = between::proxy(server.port);
        format!("http://127.0.0.1:{port}/some/path")
    };
    // The proxy uses its own name for the server.
    conforms(&["-name", "inside"], &Trust::default(), &proxied);
}

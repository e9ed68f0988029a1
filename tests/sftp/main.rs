//! Tests SFTP with an OpenSSH server that the tests start themselves.

#![allow(clippy::unwrap_used, clippy::print_stderr, clippy::print_stdout)]

mod adverse;
mod ahead;
mod cipher;
mod command;
#[path = "../common/mod.rs"]
mod common;
mod connector;
#[path = "../cli/harness.rs"]
#[allow(dead_code)]
mod harness;
mod interrupt;
mod jail;
mod kinds;
mod login;
mod outage;
#[path = "../cli/process.rs"]
#[allow(dead_code)]
mod process;
mod proxy;
mod server;
mod store;
mod trust;
mod two_servers;
mod way;

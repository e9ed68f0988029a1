//! SFTP against a server of OpenSSH that the tests start themselves.

#![allow(clippy::unwrap_used, clippy::print_stderr, clippy::print_stdout)]

mod adverse;
mod ahead;
mod command;
mod connector;
#[path = "../cli/harness.rs"]
#[allow(dead_code)]
mod harness;
mod login;
mod proxy;
mod server;
mod store;
mod trust;
mod way;

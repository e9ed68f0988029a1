//! `plakar server` as its clients meet it: the binary, on a port of its own, spoken to byte by
//! byte, by curl and by openssl, and ended by the number of its process.

#[path = "../common/mod.rs"]
mod common;
#[allow(dead_code)]
#[path = "../cli/harness.rs"]
mod harness;
#[allow(dead_code)]
#[path = "../cli/mounted.rs"]
mod mounted;

mod adversity;
mod crowd;
mod curl;
mod flood;
mod keeping;
mod matrix;
mod names;
mod served;
mod signals;
mod start;
mod statuses;
mod tls;
mod tokens;
mod upload;
mod wire;

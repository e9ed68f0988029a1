//! Tests `plakar server` from the view of its clients: the binary on a separate port, accessed with
//! raw bytes, curl and openssl, and stopped by its process id.

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

//! What is built and installed beside the program: units, archives, what it says of its origin.
//!
//! The static binary has tests of its own, `make static-check`, since building it takes
//! minutes and more tools than everybody has.

mod commit;
#[path = "../common/mod.rs"]
mod common;
mod dependencies;
mod dist;
#[path = "../cli/harness.rs"]
#[allow(dead_code)]
mod harness;
mod install;
mod prerequisites;
mod services;

use std::path::Path;
use std::process::Command;

use harness::Run;

/// The top of the work tree.
fn top() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Runs `make` with `words` at the top.
fn make(words: &[String]) -> Run {
    let mut command = Command::new("make");
    command.arg("--no-print-directory").args(words);
    // Whoever runs the tests by `make` has given it flags, which are not for this one.
    command.env_remove("MAKEFLAGS").env_remove("MAKELEVEL");
    Run::of(command.current_dir(top()))
}

//! Tests of packaging: units, archives, installation, and the version information of the program.
//!
//! The static binary has separate tests, `make static-check`, because building it takes minutes and
//! requires additional tools.

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

/// The root of the work tree.
fn top() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Runs `make` with `words` in the root of the work tree.
fn make(words: &[String]) -> Run {
    let mut command = Command::new("make");
    command.arg("--no-print-directory").args(words);
    // If the tests are run by `make`, its flags must not be inherited.
    command.env_remove("MAKEFLAGS").env_remove("MAKELEVEL");
    Run::of(command.current_dir(top()))
}

//! `plakar version`: which version is this?

use std::fmt;

use serde::Serialize;

use crate::cli::{Args, Command, Globals, Status};
use crate::error::Result;

/// The entry in the table.
pub const COMMAND: Command = Command {
    name: "version",
    about: "print the version",
    run,
    ..Command::BLANK
};

/// What is printed.
#[derive(Serialize)]
struct Version {
    version: &'static str,
    os: &'static str,
    architecture: &'static str,
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "plakar {} {}/{}",
            self.version, self.os, self.architecture
        )
    }
}

fn run(globals: &Globals, args: Args) -> Result<Status> {
    args.no_arguments()?;
    let version = Version {
        version: env!("CARGO_PKG_VERSION"),
        os: std::env::consts::OS,
        architecture: std::env::consts::ARCH,
    };
    globals.out.result("version", &version)?;
    Ok(Status::Success)
}

//! `plakar version`: prints the version and the source commit.

use std::fmt;

use serde::Serialize;

use crate::cli::{Args, Command, Globals, Status};
use crate::error::Result;

/// The table entry of the command.
pub const COMMAND: Command = Command {
    name: "version",
    about: "print the version",
    run,
    ..Command::BLANK
};

/// Enough digits to identify a commit among millions.
const COMMIT_DIGITS: usize = 12;

/// The output of `plakar version`.
#[derive(Serialize)]
struct Version {
    version: &'static str,
    /// The full commit id, or `unknown`.
    commit: &'static str,
    os: &'static str,
    architecture: &'static str,
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let commit = self.commit.get(..COMMIT_DIGITS).unwrap_or(self.commit);
        write!(
            f,
            "plakar {} ({commit}) {}/{}",
            self.version, self.os, self.architecture
        )
    }
}

fn run(globals: &Globals, args: Args) -> Result<Status> {
    args.no_arguments()?;
    let version = Version {
        version: env!("CARGO_PKG_VERSION"),
        commit: env!("PLAKAR_COMMIT"),
        os: std::env::consts::OS,
        architecture: std::env::consts::ARCH,
    };
    globals.out.result("version", &version)?;
    Ok(Status::Success)
}

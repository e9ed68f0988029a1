//! `plakar version`: which version is this, and what was it built from?

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

/// Enough of the name of a commit to find it among millions.
const COMMIT_DIGITS: usize = 12;

/// What is printed.
#[derive(Serialize)]
struct Version {
    version: &'static str,
    /// In full, or `unknown`.
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

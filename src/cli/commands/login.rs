//! `plakar login`: there is no service to log in to.
//!
//! Scripts written for a program that has one call this first, and go on if it succeeds. So
//! it takes the flags that they give, says that nothing is needed, and succeeds.

use std::fmt;

use serde::Serialize;

use crate::cli::{Command, Flag, Globals, Status};
use crate::error::Result;

/// The entry in the table.
pub const COMMAND: Command = Command {
    name: "login",
    synopsis: "[-email ADDRESS | -github | -env] [-no-spawn] [-status]",
    about: "does nothing: there is no service to log in to",
    flags: &[
        Flag::value("email", "ADDRESS", "accepted, and not sent anywhere"),
        Flag::switch("github", "accepted, and ignored"),
        Flag::switch("env", "accepted, and ignored"),
        Flag::switch("no-spawn", "accepted, and ignored: no browser is opened"),
        Flag::switch("status", "accepted, and ignored"),
    ],
    run: |globals, args| {
        args.no_arguments()?;
        say(globals, "login")
    },
    ..Command::BLANK
};

/// That nothing is needed.
#[derive(Serialize)]
struct Needless {
    command: &'static str,
    is_needed: bool,
    message: &'static str,
}

impl fmt::Display for Needless {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.command, self.message)
    }
}

/// Says for `command` that nothing is needed.
pub(super) fn say(globals: &Globals, command: &'static str) -> Result<Status> {
    let message = "there is no service to log in to; nothing is needed, and nothing was sent";
    globals.out.result(
        "login",
        &Needless {
            command,
            is_needed: false,
            message,
        },
    )?;
    Ok(Status::Success)
}

//! `plakar login`: does nothing, because there is no service to log in to.
//!
//! Scripts written for a program that has such a service call this first, and continue if it
//! succeeds. Therefore this command accepts their flags, prints that no login is needed, and
//! succeeds.

use std::fmt;

use serde::Serialize;

use crate::cli::{Command, Flag, Globals, Status};
use crate::error::Result;

/// The table entry of the command.
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

/// The message that no login is needed.
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

/// Prints for `command` that it is not needed.
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

//! `plakar logout`: does nothing, because there is no service to log out from.

use super::login;
use crate::cli::Command;

/// The table entry of the command.
pub const COMMAND: Command = Command {
    name: "logout",
    about: "does nothing: there is no service to log out from",
    run: |globals, args| {
        args.no_arguments()?;
        login::say(globals, "logout")
    },
    ..Command::BLANK
};

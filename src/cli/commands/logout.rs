//! `plakar logout`: there is no service to log out from.

use super::login;
use crate::cli::Command;

/// The entry in the table.
pub const COMMAND: Command = Command {
    name: "logout",
    about: "does nothing: there is no service to log out from",
    run: |globals, args| {
        args.no_arguments()?;
        login::say(globals, "logout")
    },
    ..Command::BLANK
};

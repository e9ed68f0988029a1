//! The commands. Each file contains a table entry, `run` and `Opts`.
//!
//! A command parses its own flags, calls one function of the core and prints the result. It does
//! not depend on other commands.

pub mod archive;
pub mod backup;
pub mod cat;
pub mod check;
pub mod completion;
pub mod configure;
pub mod create;
pub mod diag;
pub mod diff;
pub mod digest;
pub mod dup;
pub mod help;
pub mod info;
pub mod key;
pub mod locate;
pub mod login;
pub mod logout;
pub mod ls;
pub mod maintenance;
pub mod pkg;
pub mod prune;
pub mod repair;
pub mod restore;
pub mod rm;
pub mod server;
pub mod sync;
pub mod tag;
pub mod version;

use super::table::Command;

/// All commands, in the order of the help: create a store, back up, inspect, restore, maintain, and
/// the rest.
pub static COMMANDS: &[Command] = &[
    create::COMMAND,
    backup::COMMAND,
    ls::COMMAND,
    cat::COMMAND,
    locate::COMMAND,
    diff::COMMAND,
    digest::COMMAND,
    info::COMMAND,
    restore::COMMAND,
    archive::COMMAND,
    check::COMMAND,
    repair::COMMAND,
    rm::COMMAND,
    prune::COMMAND,
    maintenance::COMMAND,
    dup::COMMAND,
    sync::COMMAND,
    tag::COMMAND,
    key::COMMAND,
    server::COMMAND,
    configure::STORE,
    configure::SOURCE,
    configure::DESTINATION,
    configure::POLICY,
    diag::COMMAND,
    pkg::COMMAND,
    login::COMMAND,
    logout::COMMAND,
    completion::COMMAND,
    version::COMMAND,
    help::COMMAND,
];

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::cli::table::Flag;

    #[test]
    fn names_are_unique_and_every_entry_is_filled_in() {
        assert_unique(COMMANDS.iter().flat_map(Command::names));
        COMMANDS.iter().for_each(check);
    }

    fn check(command: &Command) {
        assert!(
            !command.name.is_empty() && !command.about.is_empty(),
            "{command:?}"
        );
        assert_unique(command.tables().flatten().flat_map(Flag::names));
        assert_unique(command.subcommands.iter().flat_map(Command::names));
        for flag in command.tables().flatten() {
            let is_phrase = !flag.about.ends_with('.') && !flag.about.is_empty();
            assert!(is_phrase, "{} -{}", command.name, flag.name);
        }
        command.subcommands.iter().for_each(check);
    }

    fn assert_unique<'a>(names: impl Iterator<Item = &'a str>) {
        let mut seen = BTreeSet::new();
        for name in names {
            assert!(seen.insert(name), "{name} is there twice");
        }
    }
}

//! `plakar info`: shows the properties of a store, a snapshot or an entry.

mod entry;
mod snapshot;
mod store;

use crate::cli::selection::{self, Choice};
use crate::cli::{Args, Command, Flag, Globals, Status, opening};
use crate::error::Result;

/// The table entry of the command.
pub const COMMAND: Command = Command {
    name: "info",
    synopsis: "[-errors] [SNAPSHOT[:PATH]]",
    about: "show details of a store, a snapshot or a file",
    flags: &[Flag::switch("errors", "list what could not be backed up")],
    run,
    ..Command::BLANK
};

fn run(globals: &Globals, args: Args) -> Result<Status> {
    let words = args.at_most(1)?;
    let is_of_errors = args.is_on("errors");
    let watch = globals.watch();
    if words.is_empty() && !is_of_errors {
        return store::print(globals, &watch);
    }
    let kloset = opening::kloset(globals, &watch)?;
    let choice = selection::choices_or_latest(&kloset, words)?.remove(0);
    match choice {
        Choice { path: Some(_), .. } if is_of_errors => {
            Err(args.usage("-errors is about whole snapshots, not a PATH in one"))
        }
        Choice { path: Some(_), .. } => entry::print(globals, &kloset, &choice),
        _ if is_of_errors => snapshot::print_errors(globals, &kloset, &choice.stored),
        _ => snapshot::print(globals, &kloset, &choice.stored),
    }
}

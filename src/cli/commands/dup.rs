//! `plakar dup`: copies snapshots under new ids.

use std::fmt;

use serde::Serialize;

use crate::cli::{Args, Command, Globals, Status, opening, selection};
use crate::error::Result;
use crate::ops::dup;

/// The table entry of the command.
pub const COMMAND: Command = Command {
    name: "dup",
    synopsis: "SNAPSHOT ...",
    about: "copy snapshots under new ids",
    run,
    ..Command::BLANK
};

/// One copy.
#[derive(Serialize)]
struct Copy {
    snapshot: String,
    original: String,
}

impl fmt::Display for Copy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.snapshot)
    }
}

fn run(globals: &Globals, args: Args) -> Result<Status> {
    let words = args.at_least_one("a SNAPSHOT")?;
    let kloset = opening::kloset(globals, &globals.watch())?;
    for stored in &selection::whole(&args, selection::choices(&kloset, words)?)? {
        globals.interrupt.check()?;
        let copy = Copy {
            snapshot: dup::run(&kloset, stored)?.to_string(),
            original: stored.snapshot.id.to_string(),
        };
        globals.out.result("dup", &copy)?;
    }
    Ok(Status::Success)
}

//! `plakar rm`: remove snapshots.

use std::fmt;

use serde::Serialize;

use crate::cli::escape::printable;
use crate::cli::wording::counted;
use crate::cli::{Args, Command, Flag, Globals, Status, opening, query, selection};
use crate::error::Result;
use crate::kloset::snapshot::{self, Snapshot};
use crate::util::human;

/// The entry in the table.
pub const COMMAND: Command = Command {
    name: "rm",
    synopsis: "[-apply] [QUERY] [SNAPSHOT ...]",
    about: "remove snapshots",
    flags: &[Flag::switch(
        "apply",
        "remove them; without, only tell what would be removed",
    )],
    groups: &[&query::GROUP],
    run,
    ..Command::BLANK
};

/// One snapshot that is removed.
#[derive(Serialize)]
struct Removal {
    snapshot: String,
    time: String,
    is_removed: bool,
    #[serde(skip)]
    shown: String,
}

impl Removal {
    fn new(snapshot: &Snapshot, is_removed: bool) -> Removal {
        let time = human::time(snapshot.time_ns);
        let verb = if is_removed {
            "removed"
        } else {
            "would remove"
        };
        let base = printable(&snapshot.base());
        Removal {
            snapshot: snapshot.id.to_string(),
            shown: format!("{verb} {time} {} {base}", snapshot.id.short()),
            time,
            is_removed,
        }
    }
}

impl fmt::Display for Removal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.shown)
    }
}

/// What was done.
#[derive(Serialize)]
struct Done {
    command: &'static str,
    snapshots: u64,
    is_applied: bool,
}

impl fmt::Display for Done {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let snapshots = counted(self.snapshots, "snapshot", "snapshots");
        match self.is_applied {
            true => write!(
                f,
                "rm: {snapshots} removed; maintenance will free what only they needed"
            ),
            false => write!(f, "rm: {snapshots} would be removed; -apply does it"),
        }
    }
}

fn run(globals: &Globals, args: Args) -> Result<Status> {
    let is_applied = args.is_on("apply");
    let query = query::from_args(&args)?;
    let words = args.arguments();
    selection::refuse_everything(&args, &query, words)?;
    let kloset = opening::kloset(globals, &globals.watch())?;
    let chosen = selection::whole(&args, selection::matching(&kloset, &query, words)?)?;
    for stored in &chosen {
        globals.interrupt.check()?;
        if is_applied {
            snapshot::remove(&kloset, stored)?;
        }
        let removal = Removal::new(&stored.snapshot, is_applied);
        globals.out.result("removal", &removal)?;
    }
    let snapshots = chosen.len() as u64;
    globals.out.summary(&Done {
        command: "rm",
        snapshots,
        is_applied,
    })?;
    Ok(Status::Success)
}

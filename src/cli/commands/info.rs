//! `plakar info`: the facts of a store, or everything recorded of a snapshot.

mod store;

use std::fmt;

use serde::Serialize;

use crate::cli::escape::{JsonPath, printable};
use crate::cli::listing::{Ids, SnapshotLine, Tags};
use crate::cli::{Args, Command, Flag, Globals, Status, opening, selection};
use crate::error::Result;
use crate::kloset::snapshot::{self, Failure, Snapshot};
use crate::util::{Id, human};

/// The entry in the table.
pub const COMMAND: Command = Command {
    name: "info",
    synopsis: "[-errors] [SNAPSHOT]",
    about: "tell the facts of a store or a snapshot",
    flags: &[Flag::switch("errors", "list what could not be backed up")],
    run,
    ..Command::BLANK
};

fn run(globals: &Globals, args: Args) -> Result<Status> {
    let words = args.at_most(1)?;
    let watch = globals.watch();
    if words.is_empty() && !args.is_on("errors") {
        return store::print(globals, &watch);
    }
    let kloset = opening::kloset(globals, &watch)?;
    for choice in selection::choices_or_latest(&kloset, words)? {
        match args.is_on("errors") {
            true => print_errors(globals, &snapshot::read(&kloset, choice.stored.object)?)?,
            false => print_snapshot(globals, choice.snapshot(), choice.stored.object)?,
        }
    }
    Ok(Status::Success)
}

/// Everything recorded of one snapshot.
#[derive(Serialize)]
struct Facts {
    #[serde(flatten)]
    line: SnapshotLine,
    object: String,
    #[serde(skip)]
    shown: String,
}

impl fmt::Display for Facts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.shown)
    }
}

fn print_snapshot(globals: &Globals, snapshot: &Snapshot, object: Id) -> Result<()> {
    let facts = Facts {
        line: SnapshotLine::new(snapshot, Ids::Full, Tags::Shown),
        object: object.to_string(),
        shown: table(&rows(snapshot, object)),
    };
    globals.out.result("snapshot", &facts)
}

/// What there is to tell, each with its name.
fn rows(snapshot: &Snapshot, object: Id) -> Vec<(&'static str, String)> {
    let totals = snapshot.totals();
    let labels = &snapshot.labels;
    let mut rows = vec![
        ("snapshot", snapshot.id.to_string()),
        ("object", object.to_string()),
        ("time", human::time(snapshot.time_ns)),
        ("duration", human::duration(snapshot.duration)),
    ];
    rows.extend(snapshot.roots.iter().map(|root| ("place", printable(root))));
    let texts = [
        ("source", &snapshot.source),
        ("origin", &snapshot.origin),
        ("host", &snapshot.host),
        ("user", &snapshot.user),
        ("name", &labels.name),
        ("category", &labels.category),
        ("environment", &labels.environment),
        ("perimeter", &labels.perimeter),
        ("job", &labels.job),
        ("tags", &labels.tags.join(", ")),
        ("program", &snapshot.program),
    ];
    let told = texts.into_iter().filter(|(_, text)| !text.is_empty());
    rows.extend(told.map(|(name, text)| (name, printable(text.as_bytes()))));
    rows.extend([
        ("files", totals.files.to_string()),
        ("directories", totals.directories.to_string()),
        ("size", human::size(totals.bytes)),
        ("errors", snapshot.error_count.to_string()),
    ]);
    rows
}

/// Names, and what belongs to them in a column.
fn table(rows: &[(&str, String)]) -> String {
    let line = |(name, value): &(&str, String)| format!("{:<13} {value}", format!("{name}:"));
    rows.iter().map(line).collect::<Vec<_>>().join("\n")
}

/// Something that could not be backed up.
#[derive(Serialize)]
struct Missed {
    #[serde(flatten)]
    path: JsonPath,
    message: String,
    #[serde(skip)]
    shown: String,
}

impl Missed {
    fn new(failure: &Failure) -> Missed {
        let (path, cause) = (
            printable(&failure.path),
            printable(failure.cause.as_bytes()),
        );
        Missed {
            path: JsonPath::from(failure.path.as_slice()),
            message: failure.cause.clone(),
            shown: format!("{path}: {cause}"),
        }
    }
}

impl fmt::Display for Missed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.shown)
    }
}

fn print_errors(globals: &Globals, snapshot: &Snapshot) -> Result<()> {
    for failure in &snapshot.errors {
        globals
            .out
            .result("recorded_error", &Missed::new(failure))?;
    }
    let unlisted = snapshot
        .error_count
        .saturating_sub(snapshot.errors.len() as u64);
    if unlisted > 0 {
        globals
            .out
            .message(&format!("{unlisted} more were counted, but not recorded"));
    }
    Ok(())
}

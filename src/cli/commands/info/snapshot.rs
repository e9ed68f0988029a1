//! Shows all recorded data of a snapshot, and the files that could not be backed up.

use std::fmt;

use serde::Serialize;

use crate::cli::escape::{JsonPath, printable};
use crate::cli::facts::table;
use crate::cli::listing::{Ids, Labels, Look, SnapshotLine};
use crate::cli::{Globals, Status, date};
use crate::error::Result;
use crate::kloset::Kloset;
use crate::kloset::snapshot::{self, Failure, Stored};
use crate::store::Area;
use crate::util::human;

/// All recorded data of a snapshot.
#[derive(Serialize)]
struct Facts {
    #[serde(flatten)]
    line: SnapshotLine,
    base: JsonPath,
    object: String,
    object_bytes: u64,
    /// The number of times that labels were changed.
    revision: u64,
    published: String,
    #[serde(skip)]
    shown: String,
}

impl fmt::Display for Facts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.shown)
    }
}

/// Prints everything except the list of errors.
pub(super) fn print(globals: &Globals, kloset: &Kloset, stored: &Stored) -> Result<Status> {
    let object = kloset.store().stat(Area::Snapshots, stored.object)?;
    let look = Look {
        ids: Ids::Full,
        labels: Labels::All,
        host_columns: 0,
    };
    let facts = Facts {
        line: SnapshotLine::new(&stored.snapshot, look),
        base: JsonPath::from(stored.snapshot.base().as_slice()),
        object: stored.object.to_string(),
        object_bytes: object.size_bytes,
        revision: stored.snapshot.revision,
        published: date::precise(stored.published_ns),
        shown: table(&rows(stored)),
    };
    globals.out.result("snapshot", &facts)?;
    Ok(Status::Success)
}

/// The rows of the text output, each with its name.
fn rows(stored: &Stored) -> Vec<(&'static str, String)> {
    let snapshot = &stored.snapshot;
    let labels = &snapshot.labels;
    let mut rows = vec![
        ("snapshot", snapshot.id.to_string()),
        ("object", stored.object.to_string()),
        ("time", human::time(snapshot.time_ns)),
        ("duration", human::duration(snapshot.duration)),
        ("published", human::time(stored.published_ns)),
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
    if snapshot.revision > 0 {
        rows.push(("revision", snapshot.revision.to_string()));
    }
    let totals = snapshot.totals();
    rows.extend([
        ("files", totals.files.to_string()),
        ("directories", totals.directories.to_string()),
        ("size", bytes(totals.bytes)),
        ("errors", snapshot.error_count.to_string()),
    ]);
    rows
}

/// A size for people, followed by the exact number of bytes.
pub(super) fn bytes(bytes: u64) -> String {
    match bytes < 1024 {
        true => human::size(bytes),
        false => format!("{} ({bytes} bytes)", human::size(bytes)),
    }
}

/// A file that could not be backed up.
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

/// Prints each path that could not be backed up, with the reason.
pub(super) fn print_errors(globals: &Globals, kloset: &Kloset, stored: &Stored) -> Result<Status> {
    // The list of snapshots does not contain their errors, so read the whole object.
    let snapshot = snapshot::read(kloset, stored.object)?;
    for failure in &snapshot.errors {
        globals
            .out
            .result("recorded_error", &Missed::new(failure))?;
    }
    let listed = snapshot.errors.len() as u64;
    let unlisted = snapshot.error_count.saturating_sub(listed);
    if unlisted > 0 {
        let words = format!("{unlisted} more were counted, but not recorded");
        globals.out.message(&words);
    }
    Ok(Status::Success)
}

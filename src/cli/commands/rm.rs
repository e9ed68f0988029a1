//! `plakar rm`: removes snapshots.
//!
//! If a snapshot object is damaged, its snapshot id is unknown. It is removed by the full id of the
//! object, which every warning about it mentions.

use std::ffi::OsString;
use std::fmt;

use serde::Serialize;

use crate::cli::escape::printable;
use crate::cli::wording::counted;
use crate::cli::{Args, Command, Flag, Globals, Status, opening, query, selection};
use crate::error::Result;
use crate::kloset::Kloset;
use crate::kloset::snapshot::{self, Snapshot};
use crate::ops::query::Query;
use crate::util::{Id, human};

/// The table entry of the command.
pub const COMMAND: Command = Command {
    name: "rm",
    synopsis: "[-apply] [QUERY] [SNAPSHOT ...]",
    about: "remove snapshots",
    flags: &[Flag::switch(
        "apply",
        "remove them; by default, only show them",
    )],
    groups: &[&query::GROUP],
    run,
    ..Command::BLANK
};

/// One removed snapshot.
#[derive(Serialize)]
struct Removal {
    #[serde(skip_serializing_if = "Option::is_none")]
    snapshot: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    time: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    object: Option<String>,
    is_removed: bool,
    #[serde(skip)]
    shown: String,
}

impl Removal {
    fn new(snapshot: &Snapshot, is_removed: bool) -> Removal {
        let time = human::time(snapshot.time_ns);
        let verb = verb(is_removed);
        let base = printable(&snapshot.base());
        Removal {
            snapshot: Some(snapshot.id.to_string()),
            shown: format!("{verb} {time} {} {base}", snapshot.id.short()),
            time: Some(time),
            object: None,
            is_removed,
        }
    }

    /// The result for an object that cannot be read.
    fn of_damaged(object: Id, is_removed: bool) -> Removal {
        Removal {
            snapshot: None,
            time: None,
            object: Some(object.to_string()),
            is_removed,
            shown: format!("{} damaged snapshot object {object}", verb(is_removed)),
        }
    }
}

fn verb(is_removed: bool) -> &'static str {
    match is_removed {
        true => "removed",
        false => "would remove",
    }
}

impl fmt::Display for Removal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.shown)
    }
}

/// The summary of `plakar rm`.
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
                "rm: {snapshots} removed; maintenance now, and again a week later, frees what only \
                 they needed (at once with -grace 0s)"
            ),
            false => write!(f, "rm: {snapshots} would be removed; -apply does it"),
        }
    }
}

/// Separates `words` into objects that are unreadable snapshots, with a warning that explains why,
/// and all other words. With a query, no unreadable object is selected, because it is unknown
/// whether it matches.
fn damaged_among(
    globals: &Globals,
    kloset: &Kloset,
    query: &Query,
    words: &[OsString],
) -> Result<(Vec<Id>, Vec<OsString>)> {
    let (mut damaged, mut others) = (Vec::new(), Vec::new());
    for word in words {
        let object = word.to_str().and_then(|word| word.parse::<Id>().ok());
        let object = object.filter(|_| query.is_everything());
        if object.is_some_and(|object| damaged.contains(&object)) {
            continue;
        }
        let damage = object.map(|object| snapshot::damage(kloset, object));
        match (object, damage.transpose()?.flatten()) {
            (Some(object), Some(error)) => {
                let doing = format!(
                    "snapshot object {}: its former contents are unknown",
                    object.short()
                );
                globals.out.warning(&error.during(doing));
                damaged.push(object);
            }
            _ => others.push(word.clone()),
        }
    }
    Ok((damaged, others))
}

fn run(globals: &Globals, args: Args) -> Result<Status> {
    let is_applied = args.is_on("apply");
    let query = query::from_args(&args)?;
    let words = args.arguments();
    selection::refuse_everything(&args, &query, words)?;
    let kloset = opening::kloset(globals, &globals.watch())?;
    let (damaged, words) = damaged_among(globals, &kloset, &query, words)?;
    // An empty list would mean all snapshots.
    let chosen = match words.is_empty() && !damaged.is_empty() {
        true => Vec::new(),
        false => selection::whole(&args, selection::matching(&kloset, &query, &words)?)?,
    };
    for object in &damaged {
        globals.interrupt.check()?;
        if is_applied {
            snapshot::remove_object(&kloset, *object)?;
        }
        let removal = Removal::of_damaged(*object, is_applied);
        globals.out.result("removal", &removal)?;
    }
    for stored in &chosen {
        globals.interrupt.check()?;
        if is_applied {
            snapshot::remove(&kloset, stored)?;
        }
        let removal = Removal::new(&stored.snapshot, is_applied);
        globals.out.result("removal", &removal)?;
    }
    let snapshots = (chosen.len() + damaged.len()) as u64;
    globals.out.summary(&Done {
        command: "rm",
        snapshots,
        is_applied,
    })?;
    Ok(Status::Success)
}

//! `plakar tag`: lists and changes the tags of snapshots.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fmt;

use serde::Serialize;

use crate::cli::escape::printable;
use crate::cli::{Args, Command, Globals, Status, opening, query, selection, tags};
use crate::error::{During, Result};
use crate::kloset::Kloset;
use crate::kloset::snapshot::{self, Labels, Stored};

/// The table entry of the command.
pub const COMMAND: Command = Command {
    name: "tag",
    synopsis: "list | add | rm",
    about: "list tags, and change the tags of snapshots",
    subcommands: &[
        Command {
            name: "list",
            synonyms: &["ls"],
            about: "list all tags with the number of their snapshots",
            run: list,
            ..Command::BLANK
        },
        Command {
            name: "add",
            synopsis: "TAG,... [QUERY] [SNAPSHOT ...]",
            groups: &[&query::GROUP],
            about: "add tags to snapshots",
            run: |globals, args| change(globals, &args, Change::Add),
            ..Command::BLANK
        },
        Command {
            name: "rm",
            synopsis: "TAG,... [QUERY] [SNAPSHOT ...]",
            groups: &[&query::GROUP],
            about: "remove tags from snapshots",
            run: |globals, args| change(globals, &args, Change::Remove),
            ..Command::BLANK
        },
    ],
    ..Command::BLANK
};

/// The change to the named tags.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Change {
    Add,
    Remove,
}

impl Change {
    /// The result of applying the change to `old`.
    fn of(self, old: &[String], named: &[String]) -> Vec<String> {
        let mut tags = old.to_vec();
        match self {
            Change::Add => tags.extend_from_slice(named),
            Change::Remove => tags.retain(|tag| !named.contains(tag)),
        }
        tags.sort();
        tags.dedup();
        tags
    }
}

/// One tag, and how it is used.
#[derive(Serialize)]
struct Used {
    tag: String,
    snapshots: u64,
}

impl fmt::Display for Used {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let tag = printable(self.tag.as_bytes());
        write!(f, "{:>6} {tag}", self.snapshots)
    }
}

/// The tags of one snapshot after the change.
#[derive(Serialize)]
struct Tagged {
    snapshot: String,
    tags: Vec<String>,
    is_changed: bool,
    #[serde(skip)]
    short: String,
}

impl fmt::Display for Tagged {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let unchanged = if self.is_changed { "" } else { " (as before)" };
        match self.tags.as_slice() {
            [] => write!(f, "{} has no tags{unchanged}", self.short),
            tags => {
                let tags = printable(tags.join(",").as_bytes());
                write!(f, "{} tags={tags}{unchanged}", self.short)
            }
        }
    }
}

fn list(globals: &Globals, args: Args) -> Result<Status> {
    args.no_arguments()?;
    let kloset = opening::kloset(globals, &globals.watch())?;
    let (snapshots, damaged) = snapshot::list(&kloset, kloset.observer())?;
    let mut used = BTreeMap::new();
    for tag in snapshots
        .into_iter()
        .flat_map(|stored| stored.snapshot.labels.tags)
    {
        *used.entry(tag).or_insert(0) += 1;
    }
    for (tag, snapshots) in used {
        globals.out.result("tag", &Used { tag, snapshots })?;
    }
    Ok(Status::damaged_if(damaged > 0))
}

fn change(globals: &Globals, args: &Args, change: Change) -> Result<Status> {
    let (named, words) = named(args)?;
    let query = query::from_args(args)?;
    selection::refuse_everything(args, &query, words)?;
    let kloset = opening::kloset(globals, &globals.watch())?;
    let chosen = selection::whole(args, selection::matching(&kloset, &query, words)?)?;
    for stored in &chosen {
        globals.interrupt.check()?;
        let tagged = retag(&kloset, stored, change, &named)?;
        globals.out.result("tagged", &tagged)?;
    }
    Ok(Status::Success)
}

/// Splits the arguments into tags and snapshots.
fn named(args: &Args) -> Result<(Vec<String>, &[OsString])> {
    let words = args.at_least_one("a TAG")?;
    let (first, rest) = words.split_first().expect("there is at least one");
    let named = tags::parse([first.as_os_str()]).during(|| args.path())?;
    if named.is_empty() {
        return Err(args.usage("needs a TAG"));
    }
    Ok((named, rest))
}

/// Changes the tags of one snapshot, unless they are already as requested.
fn retag(kloset: &Kloset, stored: &Stored, change: Change, named: &[String]) -> Result<Tagged> {
    let labels = &stored.snapshot.labels;
    let tags = change.of(&labels.tags, named);
    let is_changed = tags != labels.tags;
    if is_changed {
        let labels = Labels {
            tags: tags.clone(),
            ..labels.clone()
        };
        snapshot::amend(kloset, stored, labels)?;
    }
    Ok(Tagged {
        snapshot: stored.snapshot.id.to_string(),
        short: stored.snapshot.id.short(),
        tags,
        is_changed,
    })
}

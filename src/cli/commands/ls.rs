//! `plakar ls`: lists snapshots, or the files in a snapshot.

use std::collections::BTreeSet;

use crate::cli::listing::{self, ENTRY_HEADING, EntryLine, Ids, Labels, Look, SnapshotLine};
use crate::cli::output::Format;
use crate::cli::selection::{self, Choice};
use crate::cli::{Args, Command, Flag, Globals, Status, grouping, opening, query};
use crate::error::{Error, Kind, Result};
use crate::kloset::blob::BlobReader;
use crate::kloset::snapshot::Stored;
use crate::kloset::tree::{Reach, TreeWalk};
use crate::kloset::{Kloset, snapshot};
use crate::ops::query::Query;
use crate::ops::select;

/// The table entry of the command.
pub const COMMAND: Command = Command {
    name: "ls",
    synopsis: "[-uuid] [-recursive] [-tags] [-long] [QUERY] [SNAPSHOT[:PATH]]",
    about: "list snapshots or their contents",
    flags: &[
        Flag::switch("uuid", "show ids in full"),
        Flag::switch("recursive", "list recursively"),
        Flag::switch("tags", "show tags"),
        Flag::switch("long", "show hosts, labels and tags, below a heading"),
    ],
    groups: &[&query::GROUP],
    run,
    ..Command::BLANK
};

/// The size of the cache of decoded blocks. Adjacent trees share blocks.
const CACHE_BYTES: usize = 8 << 20;

/// The maximum width of the host column. A longer name shifts the rest of its line.
const HOST_LIMIT_COLUMNS: usize = 24;

struct Opts {
    ids: Ids,
    labels: Labels,
    reach: Reach,
    is_long: bool,
}

impl Opts {
    fn from(args: &Args) -> Opts {
        Opts {
            ids: if args.is_on("uuid") {
                Ids::Full
            } else {
                Ids::Short
            },
            labels: match (args.is_on("long"), args.is_on("tags")) {
                (true, _) => Labels::All,
                (false, true) => Labels::Tags,
                (false, false) => Labels::Hidden,
            },
            reach: if args.is_on("recursive") {
                Reach::All
            } else {
                Reach::Children
            },
            is_long: args.is_on("long"),
        }
    }
}

fn run(globals: &Globals, args: Args) -> Result<Status> {
    let opts = Opts::from(&args);
    let query = query::from_args(&args)?;
    let words = args.at_most(1)?;
    let kloset = opening::kloset(globals, &globals.watch())?;
    if words.is_empty() {
        return list_snapshots(globals, &kloset, &query, &opts);
    }
    match selection::matching(&kloset, &query, words)?.first() {
        Some(choice) => list_entries(globals, &kloset, choice, &opts),
        None => Ok(Status::Success),
    }
}

/// Prints one line per snapshot, newest first, in groups if requested.
fn list_snapshots(
    globals: &Globals,
    kloset: &Kloset,
    query: &Query,
    opts: &Opts,
) -> Result<Status> {
    let (snapshots, damaged) = snapshot::list(kloset, kloset.observer())?;
    let groups = query.groups(&snapshots);
    let listed = groups.iter().flat_map(|group| &group.members);
    let hosts: BTreeSet<String> = listed
        .map(|stored| listing::host(&stored.snapshot))
        .collect();
    let look = Look {
        ids: opts.ids,
        labels: opts.labels,
        host_columns: host_columns(&hosts, opts),
    };
    if !hosts.is_empty() {
        print_heading(globals, opts, &listing::heading(look))?;
    }
    let line = |stored: &&Stored| SnapshotLine::new(&stored.snapshot, look);
    grouping::print(globals, query.group_by, &groups, "snapshot", line)?;
    Ok(Status::damaged_if(damaged > 0))
}

/// The width of the column for `hosts`. It is omitted if all snapshots have the same host, except
/// in a long listing.
fn host_columns(hosts: &BTreeSet<String>, opts: &Opts) -> usize {
    let widest = hosts.iter().map(|host| host.chars().count()).max();
    match opts.is_long || hosts.len() > 1 {
        true => widest.unwrap_or(0).clamp("HOST".len(), HOST_LIMIT_COLUMNS),
        false => 0,
    }
}

/// Prints the heading of the columns in a long listing as text.
fn print_heading(globals: &Globals, opts: &Opts, heading: &str) -> Result<()> {
    match opts.is_long && globals.out.format() != Format::Json {
        true => globals.out.bytes(format!("{heading}\n").as_bytes()),
        false => Ok(()),
    }
}

/// Prints one line per entry during the tree walk.
fn list_entries(
    globals: &Globals,
    kloset: &Kloset,
    choice: &Choice,
    opts: &Opts,
) -> Result<Status> {
    let reach = opts.reach;
    let blobs = BlobReader::new(kloset, CACHE_BYTES)?;
    let path = choice.path_or_base();
    let entry = select::entry(&blobs, choice.snapshot(), &path)?;
    print_heading(globals, opts, ENTRY_HEADING)?;
    if !entry.is_dir() {
        globals
            .out
            .result("entry", &EntryLine::new(&entry, &path, &entry.name))?;
        return Ok(Status::Success);
    }
    let mut walk = TreeWalk::new(&blobs, &path, &entry, reach);
    let mut status = Status::Success;
    loop {
        globals.interrupt.check()?;
        match walk.try_next() {
            Ok(None) => return Ok(status),
            Ok(Some(entry)) => {
                let name = if reach == Reach::All {
                    walk.path()
                } else {
                    &entry.name
                };
                let line = EntryLine::new(&entry, walk.path(), name);
                globals.out.result("entry", &line)?;
            }
            Err(error) => status = status.max(damage(globals, walk.path(), error)?),
        }
    }
}

/// Reports a partially damaged directory. Any other error ends the listing.
fn damage(globals: &Globals, path: &[u8], error: Error) -> Result<Status> {
    match error.kind() {
        Kind::Corrupt => {
            globals.out.failed(path, &error);
            Ok(Status::Damaged)
        }
        _ => Err(error),
    }
}

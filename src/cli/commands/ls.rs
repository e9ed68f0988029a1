//! `plakar ls`: which snapshots are there, and what is in one?

use crate::cli::listing::{EntryLine, Ids, SnapshotLine, Tags};
use crate::cli::selection::{self, Choice};
use crate::cli::{Args, Command, Flag, Globals, Status, grouping, opening, query};
use crate::error::{Error, Kind, Result};
use crate::kloset::blob::BlobReader;
use crate::kloset::snapshot::Stored;
use crate::kloset::tree::{Reach, TreeWalk};
use crate::kloset::{Kloset, snapshot};
use crate::ops::query::Query;
use crate::ops::select;

/// The entry in the table.
pub const COMMAND: Command = Command {
    name: "ls",
    synopsis: "[-uuid] [-recursive] [-tags] [QUERY] [SNAPSHOT[:PATH]]",
    about: "list snapshots, or what is in one",
    flags: &[
        Flag::switch("uuid", "show ids in full"),
        Flag::switch(
            "recursive",
            "show everything below, not only the directory itself",
        ),
        Flag::switch("tags", "show tags"),
    ],
    groups: &[&query::GROUP],
    run,
    ..Command::BLANK
};

/// Decoded blocks that are kept: trees that lie next to each other share them.
const CACHE_BYTES: usize = 8 << 20;

struct Opts {
    ids: Ids,
    tags: Tags,
    reach: Reach,
}

impl Opts {
    fn from(args: &Args) -> Opts {
        Opts {
            ids: if args.is_on("uuid") {
                Ids::Full
            } else {
                Ids::Short
            },
            tags: if args.is_on("tags") {
                Tags::Shown
            } else {
                Tags::Hidden
            },
            reach: if args.is_on("recursive") {
                Reach::All
            } else {
                Reach::Children
            },
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
        Some(choice) => list_entries(globals, &kloset, choice, opts.reach),
        None => Ok(Status::Success),
    }
}

/// One line a snapshot, the newest first, in groups if that was asked for.
fn list_snapshots(
    globals: &Globals,
    kloset: &Kloset,
    query: &Query,
    opts: &Opts,
) -> Result<Status> {
    let (snapshots, damaged) = snapshot::list(kloset, kloset.observer())?;
    let groups = query.groups(&snapshots);
    let line = |stored: &&Stored| SnapshotLine::new(&stored.snapshot, opts.ids, opts.tags);
    grouping::print(globals, query.group_by, &groups, "snapshot", line)?;
    Ok(Status::damaged_if(damaged > 0))
}

/// One line an entry, as the walk comes by.
fn list_entries(
    globals: &Globals,
    kloset: &Kloset,
    choice: &Choice,
    reach: Reach,
) -> Result<Status> {
    let blobs = BlobReader::new(kloset, CACHE_BYTES)?;
    let path = choice.path_or_base();
    let entry = select::entry(&blobs, choice.snapshot(), &path)?;
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

/// Tells of a directory that is damaged in part; any other error ends the listing.
fn damage(globals: &Globals, path: &[u8], error: Error) -> Result<Status> {
    match error.kind() {
        Kind::Corrupt => {
            globals.out.failed(path, &error);
            Ok(Status::Damaged)
        }
        _ => Err(error),
    }
}

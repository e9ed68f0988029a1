//! `plakar locate`: finds files by name in snapshots.

use std::fmt;

use serde::Serialize;

use crate::cli::escape::{JsonPath, printable};
use crate::cli::selection::{self, Choice};
use crate::cli::{Args, Command, Flag, Globals, Status, date, listing, opening, query};
use crate::error::{Error, Kind, Result};
use crate::kloset::Kloset;
use crate::kloset::blob::BlobReader;
use crate::kloset::snapshot::{self, Snapshot};
use crate::ops::locate::{Brief, Case, Listener, Patterns, Search};
use crate::ops::select;

/// The table entry of the command.
pub const COMMAND: Command = Command {
    name: "locate",
    synopsis: "[-i] [-snapshot SNAPSHOT[:PATH]] [QUERY] PATTERN ...",
    about: "find files by name in snapshots",
    flags: &[
        Flag::switch("i", "ignore the case of letters"),
        Flag::value("snapshot", "SNAPSHOT[:PATH]", "search only in this").repeatable(),
    ],
    groups: &[&query::GROUP],
    run,
    ..Command::BLANK
};

/// The size of the cache of decoded blocks. Adjacent trees share blocks.
const CACHE_BYTES: usize = 8 << 20;

/// One entry that was found.
#[derive(Serialize)]
struct Located {
    snapshot: String,
    #[serde(flatten)]
    path: JsonPath,
    kind: &'static str,
    size_bytes: u64,
    mtime: String,
    #[serde(skip)]
    shown: String,
}

impl fmt::Display for Located {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.shown)
    }
}

/// Prints the entries found in one snapshot.
struct Printer<'a> {
    globals: &'a Globals,
    snapshot: &'a Snapshot,
    found: u64,
    damaged: u64,
}

impl Listener for Printer<'_> {
    fn found(&mut self, path: &[u8], entry: &Brief) -> Result<()> {
        self.found += 1;
        let id = self.snapshot.id;
        let located = Located {
            snapshot: id.to_string(),
            path: JsonPath::from(path),
            kind: listing::kind(entry.kind).1,
            size_bytes: entry.size_bytes,
            mtime: date::precise(entry.mtime_ns),
            shown: format!("{}:{}", id.short(), printable(path)),
        };
        self.globals.out.result("located", &located)
    }

    fn damaged(&mut self, path: &[u8], error: &Error) {
        self.damaged += 1;
        let name = [self.snapshot.id.short().as_bytes(), b":", path].concat();
        self.globals.out.failed(&name, error);
    }
}

fn run(globals: &Globals, args: Args) -> Result<Status> {
    Status::of_answer(locate(globals, &args), &globals.out)
}

/// Searches all selected snapshots.
fn locate(globals: &Globals, args: &Args) -> Result<Status> {
    args.at_least_one("a PATTERN")?;
    let case = match args.is_on("i") {
        true => Case::Ignored,
        false => Case::Sensitive,
    };
    let patterns = Patterns::new(&args.texts()?, case)?;
    let watch = globals.watch();
    let kloset = opening::kloset(globals, &watch)?;
    let (choices, mut damaged) = choices(&kloset, args)?;
    let blobs = BlobReader::new(&kloset, CACHE_BYTES)?;
    let mut search = Search::new(&blobs, &patterns, globals.interrupt.clone());
    let mut found = 0;
    for choice in &choices {
        let mut printer = Printer {
            globals,
            snapshot: choice.snapshot(),
            found: 0,
            damaged: 0,
        };
        search_one(&blobs, &mut search, choice, &mut printer)?;
        found += printer.found;
        damaged += printer.damaged;
    }
    Ok(match (damaged, found) {
        (0, 0) => Status::No,
        (damaged, _) => Status::damaged_if(damaged > 0),
    })
}

/// The snapshots to search, and the number of unreadable ones. Without `-snapshot`, all snapshots
/// that match the query, newest first.
fn choices(kloset: &Kloset, args: &Args) -> Result<(Vec<Choice>, u64)> {
    let query = query::from_args(args)?;
    let named: Vec<_> = args.values("snapshot").map(ToOwned::to_owned).collect();
    let (snapshots, damaged) = snapshot::list(kloset, kloset.observer())?;
    let mut choices = selection::among(kloset, &snapshots, &query, &named)?;
    if named.is_empty() {
        choices.reverse();
    }
    Ok((choices, damaged))
}

/// Searches one snapshot. Damage on the path to the starting directory does not end the search of
/// other snapshots.
fn search_one(
    blobs: &BlobReader<'_>,
    search: &mut Search<'_>,
    choice: &Choice,
    printer: &mut Printer<'_>,
) -> Result<()> {
    let path = choice.path.clone().unwrap_or_else(|| b"/".to_vec());
    match select::entry(blobs, choice.snapshot(), &path) {
        Ok(entry) => search.run(&path, &entry, printer),
        Err(error) if error.kind() == Kind::Corrupt => {
            printer.damaged(&path, &error);
            Ok(())
        }
        Err(error) => Err(error),
    }
}

//! `plakar repair`: repairs a damaged store as far as possible.

use std::fmt;
use std::time::Duration;

use serde::Serialize;

use super::check::next_for_packs;
use crate::cli::escape::printable;
use crate::cli::wording::{counted, listed};
use crate::cli::{Args, Command, Flag, Globals, Status, opening, threads};
use crate::error::{During, Result};
use crate::ops::check::{self, Depth};
use crate::ops::repair::{self, Mode, Options, Repair, Summary};
use crate::util::{Id, human};

/// The maximum number of ids in a suggested command.
const IDS_LIMIT: usize = 8;

/// The table entry of the command.
pub const COMMAND: Command = Command {
    name: "repair",
    synopsis: "[-apply] [-fast]",
    about: "repair a damaged store",
    flags: &[
        Flag::switch(
            "apply",
            "apply the repair; by default, only report the damage",
        ),
        Flag::switch("fast", "only search for missing objects, read no contents"),
    ],
    run,
    ..Command::BLANK
};

fn run(globals: &Globals, args: Args) -> Result<Status> {
    args.no_arguments()?;
    let (is_applied, is_fast) = (args.is_on("apply"), args.is_on("fast"));
    let options = Options {
        mode: if is_applied {
            Mode::Apply
        } else {
            Mode::DryRun
        },
        check: check::Options {
            depth: if is_fast {
                Depth::Structure
            } else {
                Depth::Contents
            },
            workers: threads::workers(globals),
            interrupt: globals.interrupt.clone(),
        },
        program: concat!("plakar ", env!("CARGO_PKG_VERSION")).to_owned(),
    };
    let watch = globals.watch();
    let kloset = opening::kloset(globals, &watch)?;
    watch.show();
    let mut told = |repair: &Repair<'_>| globals.out.result("repair", &Line::new(repair));
    let found = repair::run(&kloset, &options, &mut told);
    watch.finish();
    let done = Done::new(&found.during(|| args.path())?, is_applied);
    globals.out.summary(&done)?;
    if let Some(next) = &done.next {
        globals.out.next_step(next);
    }
    Ok(done.status())
}

/// One snapshot that lost data.
#[derive(Serialize)]
struct Line {
    snapshot: String,
    time: String,
    repaired: Option<String>,
    #[serde(skip)]
    base: String,
}

impl Line {
    fn new(repair: &Repair<'_>) -> Line {
        Line {
            snapshot: repair.original.id.to_string(),
            time: human::time(repair.original.time_ns),
            repaired: repair.repaired.map(|id| id.to_string()),
            base: printable(&repair.original.base()),
        }
    }
}

impl fmt::Display for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (time, snapshot, base) = (&self.time, &self.snapshot[..8], &self.base);
        write!(f, "damaged {time} {snapshot} {base}")?;
        match &self.repaired {
            Some(repaired) => write!(f, " repaired as {}", &repaired[..8]),
            None => Ok(()),
        }
    }
}

/// The steps that remain after `-apply`, until a check finds no damage.
fn next(found: &Summary) -> Option<String> {
    let check = &found.check;
    if check.lossy.is_empty() {
        let is_only_packs = check.damaged_snapshots == 0
            && check.damaged_packs > 0
            && check.damaged_packs == check.damaged_objects;
        return is_only_packs.then(|| next_for_packs(check));
    }
    let ids: Vec<String> = check.lossy.iter().take(IDS_LIMIT).map(Id::short).collect();
    let more = if check.lossy.len() > IDS_LIMIT {
        " ..."
    } else {
        ""
    };
    Some(format!(
        "\"plakar rm -apply {}{more}\" removes the damaged originals; then \"plakar maintenance\" \
         now, and again a week later, deletes the damaged packs, or \"plakar maintenance -grace 0s\" \
         at once, if no other program uses the store",
        ids.join(" ")
    ))
}

/// The summary of `plakar repair`.
#[derive(Serialize)]
struct Done {
    command: &'static str,
    is_applied: bool,
    damaged_indexes: u64,
    stale_indexes: u64,
    unindexed_packs: u64,
    damaged_condemnations: u64,
    snapshots: u64,
    damaged_snapshots: u64,
    unreadable_snapshots: u64,
    repaired_snapshots: u64,
    repaired_before: u64,
    damaged_files: u64,
    damaged_directories: u64,
    damaged_objects: u64,
    read_bytes: u64,
    seconds: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    next: Option<String>,
}

impl Done {
    fn new(found: &Summary, is_applied: bool) -> Done {
        Done {
            command: "repair",
            is_applied,
            damaged_indexes: found.damaged_indexes,
            stale_indexes: found.stale_indexes,
            unindexed_packs: found.unindexed_packs,
            damaged_condemnations: found.damaged_condemnations,
            snapshots: found.check.snapshots,
            damaged_snapshots: found.lossy_snapshots,
            unreadable_snapshots: found.check.damaged_snapshots - found.lossy_snapshots,
            repaired_snapshots: found.repaired,
            repaired_before: found.repaired_before,
            damaged_files: found.check.damaged_files,
            damaged_directories: found.check.damaged_directories,
            damaged_objects: found.check.damaged_objects,
            read_bytes: found.check.read_bytes,
            seconds: found.duration.as_millis() as f64 / 1000.0,
            next: next(found).filter(|_| is_applied),
        }
    }

    /// Whether anything is lost or damaged that cannot be repaired.
    fn is_lossy(&self) -> bool {
        self.damaged_snapshots + self.unreadable_snapshots + self.damaged_objects > 0
    }

    fn is_index_bad(&self) -> bool {
        self.damaged_indexes + self.stale_indexes + self.unindexed_packs > 0
    }

    fn status(&self) -> Status {
        match (self.is_applied, self.is_lossy()) {
            (true, is_lossy) => Status::partial_if(is_lossy),
            (false, is_lossy) => {
                let is_stopped = self.damaged_condemnations > 0;
                Status::damaged_if(is_lossy || is_stopped || self.is_index_bad())
            }
        }
    }
}

impl fmt::Display for Done {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let wrong = listed(&[
            (
                self.damaged_indexes,
                "damaged index object",
                "damaged index objects",
            ),
            (
                self.stale_indexes,
                "index object of lost packs",
                "index objects of lost packs",
            ),
            (
                self.unindexed_packs,
                "pack in no index",
                "packs in no index",
            ),
            (
                self.damaged_condemnations,
                "damaged condemnation",
                "damaged condemnations",
            ),
            (
                self.damaged_snapshots,
                "damaged snapshot",
                "damaged snapshots",
            ),
            (
                self.unreadable_snapshots,
                "snapshot that cannot be read",
                "snapshots that cannot be read",
            ),
            (self.damaged_files, "damaged file", "damaged files"),
            (
                self.damaged_directories,
                "damaged directory",
                "damaged directories",
            ),
            (self.damaged_objects, "damaged object", "damaged objects"),
        ]);
        let took = human::duration(Duration::from_secs_f64(self.seconds));
        let all = counted(self.snapshots, "snapshot", "snapshots");
        match (wrong.as_str(), self.is_applied) {
            ("", _) => write!(f, "repair: nothing is wrong with {all} in {took}"),
            (wrong, false) => write!(f, "repair: {wrong} in {took}; -apply does what can be done"),
            (wrong, true) => {
                let repaired = counted(self.repaired_snapshots, "snapshot", "snapshots");
                write!(f, "repair: found {wrong}; {repaired} repaired")?;
                if self.is_index_bad() {
                    write!(f, ", index made anew")?;
                }
                write!(f, " in {took}")
            }
        }
    }
}

//! `plakar check`: checks that all data of snapshots is present and intact.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;

use crate::cli::progress::Watch;
use crate::cli::wording::counted;
use crate::cli::{Args, Command, Flag, Globals, Status, opening, query, selection, threads};
use crate::error::{During, Result};
use crate::kloset::snapshot;
use crate::ops::check::{self, Depth, Options, Summary, Target};
use crate::ops::query::Query;
use crate::util::human;

/// The table entry of the command.
pub const COMMAND: Command = Command {
    name: "check",
    synonyms: &["verify"],
    synopsis: "[-fast] [-no-key] [QUERY] [SNAPSHOT[:PATH] ...]",
    about: "verify the integrity of snapshots",
    flags: &[
        Flag::switch("fast", "check the structure only, read no contents"),
        Flag::switch(
            "no-key",
            "check each object against its name, with no passphrase",
        ),
    ],
    groups: &[&query::GROUP],
    run,
    ..Command::BLANK
};

fn run(globals: &Globals, args: Args) -> Result<Status> {
    let is_fast = args.is_on("fast");
    let options = Options {
        depth: if is_fast {
            Depth::Structure
        } else {
            Depth::Contents
        },
        workers: threads::workers(globals),
        interrupt: globals.interrupt.clone(),
    };
    let query = query::from_args(&args)?;
    let is_narrowed = !query.is_everything() || !args.arguments().is_empty();
    let watch = globals.watch();
    let found = match args.is_on("no-key") {
        true if is_fast || is_narrowed => {
            return Err(args.usage("-no-key checks every object: no -fast, QUERY or SNAPSHOT"));
        }
        true => check::names(&*opening::store(globals)?, &*watch, &options),
        false => run_with_key(globals, &args, &query, &watch, &options),
    };
    watch.finish();
    told(globals, &found.during(|| "check")?)
}

/// Checks the snapshots that the arguments name, else those that the query selects (by default
/// all).
fn run_with_key(
    globals: &Globals,
    args: &Args,
    query: &Query,
    watch: &Arc<Watch>,
    options: &Options,
) -> Result<Summary> {
    let kloset = opening::kloset(globals, watch)?;
    let words = args.arguments();
    if words.is_empty() && query.is_everything() {
        watch.show();
        return check::run(&kloset, None, options);
    }
    let (snapshots, unread) = snapshot::list(&kloset, kloset.observer())?;
    let choices = selection::among(&kloset, &snapshots, query, words)?;
    watch.show();
    let target = |choice: selection::Choice| Target {
        path: choice.path.unwrap_or_else(|| b"/".to_vec()),
        stored: choice.stored,
    };
    let targets: Vec<Target> = choices.into_iter().map(target).collect();
    let mut summary = check::run(&kloset, Some(&targets), options)?;
    if words.is_empty() {
        // Each unreadable snapshot might have matched the query, so count it as damaged.
        summary.snapshots += unread;
        summary.damaged_snapshots += unread;
    }
    Ok(summary)
}

/// Prints the result and returns the status of the command.
pub(super) fn told(globals: &Globals, found: &Summary) -> Result<Status> {
    let done = Done::new(found);
    globals.out.summary(&done)?;
    if let Some(next) = &done.next {
        globals.out.next_step(next);
    }
    Ok(Status::damaged_if(done.is_damaged()))
}

/// The command to run next, if anything is damaged.
fn next(found: &Summary) -> Option<String> {
    if !found.is_damaged() {
        return None;
    }
    if found.damaged_snapshots + found.damaged_files > 0 {
        return Some(
            "back up the same files again on this machine, if they still exist; then \
             \"plakar repair\" shows what can be saved"
                .to_owned(),
        );
    }
    match found.damaged_objects > found.damaged_packs {
        true => Some("\"plakar repair\" shows what can be repaired".to_owned()),
        false => Some(next_for_packs(found)),
    }
}

/// A hint on how to remove damaged packs that no snapshot needs.
pub(super) fn next_for_packs(found: &Summary) -> String {
    let later = match found.damaged_until_ns {
        Some(until_ns) => format!("after {} (store clock)", human::time(until_ns)),
        None => "now, and again a week later,".to_owned(),
    };
    format!(
        "nothing that was checked needs the damaged packs; \"plakar maintenance\" {later} deletes \
         them, or \"plakar maintenance -grace 0s\" at once, if no other program uses the store"
    )
}

/// The summary of `plakar check`.
#[derive(Serialize)]
struct Done {
    command: &'static str,
    snapshots: u64,
    damaged_snapshots: u64,
    objects: u64,
    damaged_objects: u64,
    files: u64,
    damaged_files: u64,
    directories: u64,
    damaged_directories: u64,
    read_bytes: u64,
    seconds: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    next: Option<String>,
}

impl Done {
    fn new(found: &Summary) -> Done {
        Done {
            command: "check",
            snapshots: found.snapshots,
            damaged_snapshots: found.damaged_snapshots,
            objects: found.objects,
            damaged_objects: found.damaged_objects,
            files: found.files,
            damaged_files: found.damaged_files,
            directories: found.directories,
            damaged_directories: found.damaged_directories,
            read_bytes: found.read_bytes,
            seconds: found.duration.as_millis() as f64 / 1000.0,
            next: next(found),
        }
    }

    fn is_damaged(&self) -> bool {
        self.damaged_snapshots + self.damaged_objects > 0
    }
}

impl fmt::Display for Done {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let part = |all: String, damaged: u64| match damaged {
            0 => all,
            damaged => format!("{all} ({damaged} damaged)"),
        };
        let snapshots = counted(self.snapshots, "snapshot", "snapshots");
        let files = counted(self.files, "file", "files");
        let directories = counted(self.directories, "directory", "directories");
        let objects = counted(self.objects, "object", "objects");
        let verdict = if self.is_damaged() {
            "damaged"
        } else {
            "intact"
        };
        write!(
            f,
            "check: {verdict}: {}, ",
            part(snapshots, self.damaged_snapshots)
        )?;
        write!(
            f,
            "{}, {}, {}",
            part(files, self.damaged_files),
            part(directories, self.damaged_directories),
            part(objects, self.damaged_objects)
        )?;
        let took = human::duration(Duration::from_secs_f64(self.seconds));
        write!(f, "; read {} in {took}", human::size(self.read_bytes))
    }
}

//! `plakar restore`: get files back.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use serde::Serialize;

use crate::cli::selection::{self, Choice};
use crate::cli::wording::{counted, listed};
use crate::cli::{
    Args, Command, Flag, Globals, Status, date, opening, places, query, ssh, threads,
};
use crate::config::Role;
use crate::connector::{Destination, LocalDestination, Lost, Permissions};
use crate::error::{During, Error, Kind, Result};
use crate::ops::restore::{self, Options, Summary};
use crate::util::human;

/// The entry in the table.
pub const COMMAND: Command = Command {
    name: "restore",
    synopsis: "[-to PLACE] [-skip-permissions] [QUERY] [SNAPSHOT[:PATH] ...]",
    about: "restore files from snapshots",
    flags: &[
        Flag::value(
            "to",
            "PLACE",
            "restore into PLACE, a directory or @destination[:path] (default: the default \
             destination, or a new plakar-TIME here)",
        ),
        Flag::switch(
            "skip-permissions",
            "put no owners, modes, attributes or flags back",
        ),
    ],
    groups: &[&query::GROUP],
    run,
    ..Command::BLANK
};

struct Opts {
    target: Box<dyn Destination>,
    /// Why what was lost could not be put back.
    why: &'static str,
    permissions: Permissions,
}

impl Opts {
    fn from(globals: &Globals, args: &Args) -> Result<Opts> {
        let (target, why) = target(globals, args).during(|| args.path())?;
        Ok(Opts {
            target,
            why,
            permissions: match args.is_on("skip-permissions") {
                true => Permissions::Skip,
                false => Permissions::Restore,
            },
        })
    }
}

/// What `-to` says, else the default destination, else a new directory here; and why something
/// could not be put back there.
fn target(globals: &Globals, args: &Args) -> Result<(Box<dyn Destination>, &'static str)> {
    let place = match args.value("to") {
        Some(word) => Some(globals.place_of(Role::Destination, word).during(|| "-to")?),
        None => globals.default_place(Role::Destination)?,
    };
    let path = match place {
        Some(place) => match ssh::destination(globals, &place) {
            Some(destination) => return Ok((Box::new(destination), NOT_BY_SFTP)),
            None => places::local(&place, Role::Destination)?.into(),
        },
        None => PathBuf::from(format!("plakar-{}", date::now_in_name())),
    };
    let why = match rustix::process::geteuid().is_root() {
        true => "the file system refuses them",
        false => "not running as root",
    };
    Ok((Box::new(LocalDestination::new(path)), why))
}

/// Why something was lost on a server.
const NOT_BY_SFTP: &str = "SFTP cannot say them, or the account there may not set them";

fn run(globals: &Globals, args: Args) -> Result<Status> {
    let opts = Opts::from(globals, &args)?;
    let query = query::from_args(&args)?;
    let watch = globals.watch();
    let kloset = opening::kloset(globals, &watch)?;
    let choices = selection::matching_or_latest(&kloset, &query, args.arguments())?;
    let destination = &*opts.target;
    let options = Options {
        permissions: opts.permissions,
        workers: threads::workers(globals),
        interrupt: globals.interrupt.clone(),
    };
    watch.show();
    let restored = |choice: &Choice| {
        let path = choice.path_or_base();
        let (id, target) = (choice.snapshot().id.short(), destination.location());
        let name = || format!("restore {id} to {target}");
        restore::run(&kloset, choice.snapshot(), &path, destination, &options).during(name)
    };
    let restored: Result<Vec<Summary>> = choices.iter().map(restored).collect();
    watch.finish();
    told(globals, &opts, &restored?)
}

/// Prints what was done and what was lost, and tells how the command ends.
fn told(globals: &Globals, opts: &Opts, summaries: &[Summary]) -> Result<Status> {
    let mut done = Done::new(opts.target.location());
    let mut lost = BTreeMap::new();
    for summary in summaries {
        done.add(summary);
        for (what, count) in &summary.lost {
            *lost.entry(*what).or_insert(0) += count;
        }
    }
    if let Some(words) = lost_words(&lost, opts.why) {
        globals.out.warning(&Error::new(Kind::Denied, words));
    }
    globals.out.summary(&done)?;
    Ok(Status::partial_if(done.errors > 0))
}

/// One line on everything that could not be put back, if there is anything.
fn lost_words(lost: &BTreeMap<Lost, u64>, why: &str) -> Option<String> {
    let count = |what| lost.get(&what).copied().unwrap_or(0);
    let words = listed(&[
        (count(Lost::Owner), "owner", "owners"),
        (count(Lost::Mode), "mode", "modes"),
        (count(Lost::Times), "time", "times"),
        (
            count(Lost::Xattr),
            "extended attribute",
            "extended attributes",
        ),
        (count(Lost::Flags), "inode flag", "inode flags"),
        (count(Lost::Holes), "hole", "holes"),
        (
            count(Lost::Link),
            "hard link (it is a copy)",
            "hard links (they are copies)",
        ),
    ]);
    (!words.is_empty()).then(|| format!("{words} could not be restored: {why}"))
}

/// What is printed.
#[derive(Serialize)]
struct Done {
    command: &'static str,
    target: String,
    files: u64,
    files_identical: u64,
    directories: u64,
    bytes: u64,
    errors: u64,
    seconds: f64,
}

impl Done {
    fn new(target: &str) -> Done {
        Done {
            command: "restore",
            target: target.to_owned(),
            files: 0,
            files_identical: 0,
            directories: 0,
            bytes: 0,
            errors: 0,
            seconds: 0.0,
        }
    }

    fn add(&mut self, summary: &Summary) {
        self.files += summary.files;
        self.files_identical += summary.identical;
        self.directories += summary.directories;
        self.bytes += summary.bytes;
        self.errors += summary.errors;
        self.seconds += summary.duration.as_millis() as f64 / 1000.0;
    }
}

impl fmt::Display for Done {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let files = counted(self.files, "file", "files");
        let directories = counted(self.directories, "directory", "directories");
        let target = crate::cli::escape::printable(self.target.as_bytes());
        write!(
            f,
            "restore: to {target}: {files}, {directories}, {}",
            human::size(self.bytes)
        )?;
        if self.files_identical > 0 {
            write!(
                f,
                ", {} there already",
                counted(self.files_identical, "file", "files")
            )?;
        }
        if self.errors > 0 {
            write!(f, ", {}", counted(self.errors, "error", "errors"))?;
        }
        write!(
            f,
            " in {}",
            human::duration(Duration::from_secs_f64(self.seconds))
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_lost_is_one_line() {
        let lost = BTreeMap::from([(Lost::Owner, 12), (Lost::Xattr, 3)]);
        let words = lost_words(&lost, "so it is").unwrap();
        let start = "12 owners, 3 extended attributes could not be restored: ";
        assert!(words.starts_with(start), "{words}");
        assert_eq!(lost_words(&BTreeMap::new(), "so it is"), None);
    }
}

//! `plakar restore`: restores files.

mod summary;

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;
use std::path::PathBuf;
use std::sync::Arc;

use crate::cli::progress::Watch;
use crate::cli::selection::{self, Choice};
use crate::cli::wording::{counted, listed};
use crate::cli::{
    Args, Command, Flag, Globals, Status, date, opening, places, query, ssh, threads,
};
use crate::config::Role;
use crate::connector::{Destination, LocalDestination, LocalSource, Lost, Permissions, Source};
use crate::error::{During, Error, Kind, Result};
use crate::kloset::Kloset;
use crate::ops::restore::{self, Existing, Mode, Options, Summary};
use crate::util::printable::printable;
use summary::Done;

/// The table entry of the command.
pub const COMMAND: Command = Command {
    name: "restore",
    synopsis: "[-to PLACE] [-in-place] [-dry-run] [-keep-existing] [-skip-permissions] [QUERY] \
               [SNAPSHOT[:PATH] ...]",
    about: "restore files from snapshots",
    flags: &[
        Flag::value(
            "to",
            "PLACE",
            "restore into PLACE, a directory or @destination[:path] (default: the default \
             destination, or a new plakar-TIME here)",
        ),
        Flag::switch(
            "in-place",
            "restore to the original location, the directory that was backed up",
        ),
        Flag::switch(
            "dry-run",
            "list what would be created, replaced and kept; write nothing",
        ),
        Flag::switch(
            "keep-existing",
            "never replace or change a file or directory that exists",
        ),
        Flag::switch(
            "skip-permissions",
            "restore no owners, modes, attributes or flags, and no devices",
        ),
    ],
    groups: &[&query::GROUP],
    run,
    ..Command::BLANK
};

struct Opts {
    /// The target, or `None` if every snapshot is restored to its original location.
    target: Option<Target>,
    permissions: Permissions,
    existing: Existing,
    mode: Mode,
}

/// The target of a restore.
struct Target {
    destination: Box<dyn Destination>,
    /// The reason why metadata could not be restored there.
    why: &'static str,
    /// Whether it is the local root directory.
    is_root_directory: bool,
}

impl Opts {
    fn from(globals: &Globals, args: &Args) -> Result<Opts> {
        let is_in_place = args.is_on("in-place");
        if is_in_place && args.value("to").is_some() {
            return Err(args.usage("-to and -in-place exclude each other"));
        }
        let target = match is_in_place {
            true => None,
            false => Some(target(globals, args).during(|| args.path())?),
        };
        Ok(Opts {
            target,
            permissions: match args.is_on("skip-permissions") {
                true => Permissions::Skip,
                false => Permissions::Restore,
            },
            existing: match args.is_on("keep-existing") {
                true => Existing::Keep,
                false => Existing::Replace,
            },
            mode: match args.is_on("dry-run") {
                true => Mode::DryRun,
                false => Mode::Write,
            },
        })
    }
}

/// The target: `-to`, else the default destination, else a new directory in the current one. It
/// includes the reason why metadata may be lost there.
fn target(globals: &Globals, args: &Args) -> Result<Target> {
    let place = match args.value("to") {
        Some(word) => Some(globals.place_of(Role::Destination, word).during(|| "-to")?),
        None => globals.default_place(Role::Destination)?,
    };
    let path = match place {
        Some(place) => match ssh::destination(globals, &place) {
            Some(destination) => {
                return Ok(Target {
                    destination: Box::new(destination),
                    why: NOT_BY_SFTP,
                    is_root_directory: false,
                });
            }
            None => places::local(&place, Role::Destination)?.into(),
        },
        None => PathBuf::from(format!("plakar-{}", date::now_in_name())),
    };
    Ok(local_target(path))
}

/// A local directory as target.
fn local_target(path: PathBuf) -> Target {
    Target {
        why: match rustix::process::geteuid().is_root() {
            true => "the file system refuses them",
            false => "not running as root",
        },
        is_root_directory: std::fs::canonicalize(&path).is_ok_and(|path| path.parent().is_none()),
        destination: Box::new(LocalDestination::new(path)),
    }
}

/// The directory that `choice` was backed up from.
///
/// # Errors
/// [`Kind::Failed`] if it is on another machine, or if the source was not a directory.
fn original(kloset: &Kloset, choice: &Choice) -> Result<Target> {
    let snapshot = choice.snapshot();
    let this = LocalSource::new()?;
    if snapshot.source != this.kind() || snapshot.origin != this.origin() {
        let kind = printable(snapshot.source.as_bytes());
        let origin = printable(snapshot.origin.as_bytes());
        let cause = format!(
            "-in-place: snapshot {} holds files of {kind} {origin}, not of this machine; \
             name the directory with -to",
            snapshot.id.short()
        );
        return Err(Error::new(Kind::Failed, cause));
    }
    let path = restore::original_place(kloset, snapshot, &choice.path_or_base())?;
    Ok(local_target(OsString::from_vec(path).into()))
}

/// The reason why metadata is lost on an SFTP server.
const NOT_BY_SFTP: &str = "SFTP cannot say them, or the account there may not set them";

fn run(globals: &Globals, args: Args) -> Result<Status> {
    let opts = Opts::from(globals, &args)?;
    let query = query::from_args(&args)?;
    let watch = match opts.mode {
        Mode::Write => globals.watch(),
        Mode::DryRun => globals.watch_result(),
    };
    let kloset = opening::kloset(globals, &watch)?;
    let choices = selection::matching_or_latest(&kloset, &query, args.arguments())?;
    let original = |choice: &Choice| match opts.target {
        Some(_) => Ok(None),
        None => original(&kloset, choice).map(Some),
    };
    let originals: Vec<Option<Target>> = choices.iter().map(original).collect::<Result<_>>()?;
    let places = originals
        .iter()
        .map(|own| own.as_ref().or(opts.target.as_ref()));
    let places: Vec<&Target> = places.flatten().collect();
    for (choice, place) in choices.iter().zip(&places) {
        warn_of_root(globals, &opts, choice, place);
    }
    let restored = restore_all(globals, &opts, &kloset, &watch, &choices, &places);
    told(globals, &opts, &places, &restored?)
}

/// Restores each of `choices` to its target.
fn restore_all(
    globals: &Globals,
    opts: &Opts,
    kloset: &Kloset,
    watch: &Arc<Watch>,
    choices: &[Choice],
    places: &[&Target],
) -> Result<Vec<Summary>> {
    let options = Options {
        permissions: opts.permissions,
        existing: opts.existing,
        mode: opts.mode,
        workers: threads::workers(globals),
        interrupt: globals.interrupt.clone(),
    };
    if opts.mode == Mode::Write {
        watch.show();
    }
    let restored = choices.iter().zip(places).map(|(choice, place)| {
        let destination = &*place.destination;
        let (id, target) = (choice.snapshot().id.short(), destination.location());
        let name = || format!("restore {id} to {target}");
        let path = choice.path_or_base();
        restore::run(kloset, choice.snapshot(), &path, destination, &options).during(name)
    });
    let restored = restored.collect();
    watch.finish();
    restored
}

/// Warns if the contents of a directory would be written to `/`, because the user may have intended
/// the full path.
fn warn_of_root(globals: &Globals, opts: &Opts, choice: &Choice, place: &Target) {
    let base = choice.path_or_base();
    let is_meant = opts.target.is_none() || choice.path.is_some() || base == b"/";
    if place.is_root_directory && !is_meant {
        let cause = format!(
            "the contents of {} will be written to /; \
             to restore them to their original location, use -in-place",
            printable(&base)
        );
        globals.out.warning(&Error::new(Kind::Failed, cause));
    }
}

/// Prints what was restored and what was lost, and returns the status of the command.
fn told(
    globals: &Globals,
    opts: &Opts,
    places: &[&Target],
    summaries: &[Summary],
) -> Result<Status> {
    let mut targets: Vec<&str> = places
        .iter()
        .map(|place| place.destination.location())
        .collect();
    targets.dedup();
    let mut done = Done::new(opts.mode, &targets.join(", "));
    let mut lost = BTreeMap::new();
    for summary in summaries {
        done.add(summary);
        for (what, count) in &summary.lost {
            *lost.entry(*what).or_insert(0) += count;
        }
    }
    if let Some(devices) = lost.remove(&Lost::Device) {
        let devices = counted(devices, "device was", "devices were");
        let cause = format!("{devices} skipped: -skip-permissions creates no devices");
        globals.out.warning(&Error::new(Kind::Denied, cause));
    }
    let why = places.first().map_or("", |place| place.why);
    if let Some(words) = lost_words(&lost, why) {
        globals.out.warning(&Error::new(Kind::Denied, words));
    }
    globals.out.summary(&done)?;
    match summaries.iter().any(|summary| summary.is_damaged) {
        true => Ok(Status::Damaged),
        false => Ok(Status::partial_if(done.errors > 0)),
    }
}

/// One line about all metadata that could not be restored, or `None`.
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

//! `plakar backup`: creates a snapshot of files.

mod opts;
mod stream;
mod summary;

use std::sync::Arc;

use crate::cli::progress::Watch;
use crate::cli::{Args, Command, Flag, Globals, Status, known, opening, threads};
use crate::connector::Source;
use crate::error::{During, Error, Kind, Result};
use crate::kloset::Kloset;
use crate::ops::check::{self, Depth, Target};
use crate::ops::{backup, select};
use crate::util::Id;

use crate::cli::commands::backup::opts::Opts;
use summary::{Done, Outcome};

/// The table entry of the command.
pub const COMMAND: Command = Command {
    name: "backup",
    synopsis: "[FLAGS] [PLACE ... | stdin:NAME | cmd:NAME -- COMMAND ...]",
    about: "create a snapshot of files",
    flags: &[
        Flag::value("tag", "TAG,...", "tag the snapshot").repeatable(),
        Flag::value("name", "NAME", "name the snapshot"),
        Flag::value("category", "NAME", "record a category"),
        Flag::value("environment", "NAME", "record an environment"),
        Flag::value("perimeter", "NAME", "record a perimeter"),
        Flag::value("job", "NAME", "record the job that made it"),
        Flag::value(
            "ignore",
            "PATTERN",
            "exclude matching paths, as in .gitignore",
        )
        .repeatable(),
        Flag::value(
            "ignore-file",
            "FILE",
            "exclude paths that match patterns in FILE",
        )
        .repeatable(),
        Flag::switch("check", "check the new snapshot afterwards"),
        Flag::switch("dry-run", "list what would be backed up, and store nothing"),
        Flag::value("force-timestamp", "TIME", "record TIME instead of now"),
        Flag::switch("no-xattr", "leave out extended attributes"),
        Flag::value("cache", "vfs|no", "no: read every file, even if unchanged"),
        Flag::value(
            "compression",
            "LEVEL",
            "zstd level, -7 to 19 (default: that of the store)",
        ),
        Flag::value("o", "KEY=VALUE", "set an option of the source").repeatable(),
    ],
    run,
    ..Command::BLANK
};

fn run(globals: &Globals, args: Args) -> Result<Status> {
    let mut opts = Opts::from(globals, &args)?;
    let source = opts.source(globals).during(|| args.path())?;
    match opts.is_dry_run {
        true => dry_run(globals, &*source, opts),
        false => back_up(globals, &*source, opts),
    }
}

/// Prints what would be backed up. The paths are the result.
fn dry_run(globals: &Globals, source: &dyn Source, opts: Opts) -> Result<Status> {
    let watch = globals.watch_result();
    let kloset = opening::kloset(globals, &watch)?;
    let options = opts.options(globals, &kloset, source, false);
    let done = backup::dry_run(&kloset, source, &options).during(|| "backup")?;
    let done = Done::new(Outcome::Foreseen, &done);
    globals.out.summary(&done)?;
    Ok(Status::partial_if(done.errors > 0))
}

/// Creates a snapshot, and checks it if requested.
fn back_up(globals: &Globals, source: &dyn Source, opts: Opts) -> Result<Status> {
    let watch = globals.watch();
    let kloset = opening::kloset(globals, &watch)?;
    if kloset.config().plaintext_master_key.is_some() {
        globals.out.warning(&not_encrypted(&kloset));
    }
    let (is_check_wanted, is_base) = (opts.is_check_wanted, opts.is_base);
    let options = opts.options(globals, &kloset, source, watch.is_shown());
    watch.show();
    let done = backup::run(&kloset, source, &options);
    watch.finish();
    let done = done.map_err(resumable).during(|| "backup")?;
    if is_base {
        known::add_created(globals, kloset.config(), &done);
    }
    globals.out.summary(&Done::new(Outcome::Stored, &done))?;
    if is_check_wanted && check(globals, &kloset, &watch, done.snapshot)? == Status::Damaged {
        return Ok(Status::Damaged);
    }
    Ok(Status::partial_if(done.errors > 0))
}

/// Every backup to a plaintext store reports this: an attacker may have replaced an encrypted
/// store.
fn not_encrypted(kloset: &Kloset) -> Error {
    let cause = "it is not encrypted: anyone who can read the store can read this backup";
    Error::new(Kind::Failed, cause).during(format!("store {}", kloset.store().location()))
}

/// An interrupted backup can be resumed: the next backup finds the data stored so far.
fn resumable(error: Error) -> Error {
    let cause = "interrupted; a rerun continues with the data stored so far";
    match error.kind() {
        Kind::Interrupted => Error::new(Kind::Interrupted, cause),
        _ => error,
    }
}

/// Reads back the complete new snapshot.
fn check(globals: &Globals, kloset: &Kloset, watch: &Arc<Watch>, snapshot: Id) -> Result<Status> {
    let stored = select::by_prefix(&select::all(kloset)?, &snapshot.to_string())?;
    let target = Target {
        stored,
        path: b"/".to_vec(),
    };
    let options = check::Options {
        depth: Depth::Contents,
        workers: threads::workers(globals),
        interrupt: globals.interrupt.clone(),
    };
    watch.show();
    let found = check::run(kloset, Some(&[target]), &options);
    watch.finish();
    super::check::told(globals, &found.during(|| "check")?)
}

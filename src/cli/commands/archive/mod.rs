//! `plakar archive`: writes a snapshot to an archive file that other programs can read.

mod summary;
mod target;

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use crate::cli::escape::printable;
use crate::cli::selection::{self, Choice};
use crate::cli::suggest::did_you_mean;
use crate::cli::{Args, Command, Flag, Globals, Status, date, opening};
use crate::error::{During, Error, Result};
use crate::kloset::Kloset;
use crate::ops::archive::{self, Format, Names, Options, Summary};

use summary::Done;
use target::Target;

/// The table entry of the command.
pub const COMMAND: Command = Command {
    name: "archive",
    synopsis: "[-format tarball|tar|zip] [-output FILE|-] [-rebase] SNAPSHOT[:PATH]",
    about: "write a snapshot, or a part of one, as a tar or zip archive",
    flags: &[
        Flag::value(
            "format",
            "tarball|tar|zip",
            "archive format (default: by the extension of FILE, else tarball)",
        ),
        Flag::value(
            "output",
            "FILE",
            "write to FILE, or to standard output if it is - (default: plakar-TIME here)",
        ),
        Flag::switch("rebase", "name members relative to PATH"),
    ],
    run,
    ..Command::BLANK
};

/// All formats with their names and file name extensions.
const FORMATS: [(&str, &str, Format); 3] = [
    ("tarball", ".tar.gz", Format::Tarball),
    ("tar", ".tar", Format::Tar),
    ("zip", ".zip", Format::Zip),
];

struct Opts {
    format: Format,
    output: PathBuf,
    names: Names,
}

impl Opts {
    fn from(args: &Args) -> Result<Opts> {
        let given = args.value("output");
        let (ending, format) = match args.text("format")? {
            Some(name) => named(&name).during(|| "-format")?,
            None => as_ends(given.unwrap_or_default()).during(|| "-output")?,
        };
        let usual = || PathBuf::from(format!("plakar-{}{ending}", date::now_in_name()));
        Ok(Opts {
            format,
            output: given.map_or_else(usual, PathBuf::from),
            names: match args.is_on("rebase") {
                true => Names::FromPath,
                false => Names::FromRoot,
            },
        })
    }
}

/// The format with the name `name`.
fn named(name: &str) -> Result<(&'static str, Format)> {
    let found = FORMATS.into_iter().find(|(known, ..)| *known == name);
    let unknown = || {
        let hint = did_you_mean(name, FORMATS.iter().map(|(known, ..)| *known), "");
        Error::usage(format!("unknown format {name:?}{hint}; {}", known()))
    };
    found
        .map(|(_, ending, format)| (ending, format))
        .ok_or_else(unknown)
}

/// The format that corresponds to the extension of the file name. Without an extension, a tarball.
///
/// # Errors
/// [`Kind::Usage`](crate::error::Kind::Usage) for any other extension.
fn as_ends(name: &OsStr) -> Result<(&'static str, Format)> {
    let lower = name.to_ascii_lowercase();
    let ends = |ending: &str| lower.as_bytes().ends_with(ending.as_bytes());
    let found = FORMATS.into_iter().find(|(_, ending, _)| ends(ending));
    match (found, Path::new(name).extension()) {
        (Some((_, ending, format)), _) => Ok((ending, format)),
        (None, None) => Ok((".tar.gz", Format::Tarball)),
        (None, Some(_)) if ends(".tgz") => Ok((".tar.gz", Format::Tarball)),
        (None, Some(extension)) => {
            let extension = printable(extension.as_bytes());
            let endings = FORMATS.map(|(_, ending, _)| ending).join(", ");
            Err(Error::usage(format!(
                "unknown extension .{extension}: end the name in {endings} or .tgz, or give -format"
            )))
        }
    }
}

/// The names of all formats, for messages.
fn known() -> String {
    format!("known are {}", FORMATS.map(|(name, ..)| name).join(", "))
}

fn run(globals: &Globals, args: Args) -> Result<Status> {
    let opts = Opts::from(&args).during(|| args.path())?;
    args.at_least_one("a SNAPSHOT")?;
    let words = args.at_most(1)?;
    let mut target = Target::open(globals, &opts.output).during(|| args.path())?;
    let watch = globals.watch();
    let kloset = opening::kloset(globals, &watch)?;
    let choices = selection::choices(&kloset, words)?;
    watch.show();
    let written = write(globals, &kloset, &choices[0], &opts, &mut target);
    let written = written.and_then(|summary| target.finish().map(|()| summary));
    watch.finish();
    let id = choices[0].snapshot().id;
    let summary = written.during(|| format!("archive {}", id.short()))?;
    let done = Done::new(id, &opts.output, opts.format, &summary);
    if let Some(error) = done.not_kept() {
        globals.out.warning(&error);
    }
    done.tell(globals, &opts.output)?;
    match summary.is_damaged {
        true => Ok(Status::Damaged),
        false => Ok(Status::partial_if(summary.errors > 0)),
    }
}

/// Writes the archive to its target.
fn write(
    globals: &Globals,
    kloset: &Kloset,
    choice: &Choice,
    opts: &Opts,
    target: &mut Target<'_>,
) -> Result<Summary> {
    let options = Options {
        format: opts.format,
        names: opts.names,
        interrupt: globals.interrupt.clone(),
    };
    let mut sink = |bytes: &[u8]| target.write(bytes);
    let path = choice.path_or_base();
    archive::run(kloset, choice.snapshot(), &path, &options, &mut sink)
}

//! `plakar cat`: prints the contents of stored files.

use crate::cli::escape::printable;
use crate::cli::selection::{self, Choice};
use crate::cli::{Args, Command, Flag, Globals, Status, opening};
use crate::error::{During, Error, Kind, Result};
use crate::kloset::blob::BlobReader;
use crate::kloset::content::push;
use crate::kloset::content::reader::Contents;
use crate::ops::{decompress, select};

/// The table entry of the command.
pub const COMMAND: Command = Command {
    name: "cat",
    synopsis: "[-decompress] SNAPSHOT:PATH ...",
    about: "print the contents of files",
    flags: &[Flag::switch(
        "decompress",
        "decompress files in gzip or zstd format",
    )],
    run,
    ..Command::BLANK
};

/// The size of the cache of decoded blocks. Adjacent files share blocks.
const CACHE_BYTES: usize = 16 << 20;

/// Whether contents are printed unchanged.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Form {
    Stored,
    Decompressed,
}

fn run(globals: &Globals, args: Args) -> Result<Status> {
    let form = match args.is_on("decompress") {
        true => Form::Decompressed,
        false => Form::Stored,
    };
    let words = args.at_least_one("a SNAPSHOT:PATH")?;
    let kloset = opening::kloset(globals, &globals.watch())?;
    let choices = selection::choices(&kloset, words)?;
    let blobs = BlobReader::new(&kloset, CACHE_BYTES)?;
    let mut status = Status::Success;
    for choice in &choices {
        globals.interrupt.check()?;
        match print(globals, &blobs, choice, form) {
            Err(error) if globals.out.reader_left() => return Err(error),
            Err(error) => status = status.max(told(globals, choices.len(), error)?),
            Ok(()) => {}
        }
    }
    Ok(status)
}

fn print(globals: &Globals, blobs: &BlobReader<'_>, choice: &Choice, form: Form) -> Result<()> {
    let snapshot = choice.snapshot();
    let path = choice.path_or_base();
    let entry = select::entry(blobs, snapshot, &path)?;
    let name = || format!("{}:{}", snapshot.id.short(), printable(&path));
    if entry.changed {
        let error = Error::new(
            Kind::Failed,
            "changed while it was backed up: its contents may be mixed",
        );
        globals.out.warning(&error.during(name()));
    }
    if entry.is_dir() {
        let cause = "is a directory: name a file in it, or use plakar ls, restore or archive";
        return Err(Error::new(Kind::Failed, cause)).during(name);
    }
    let mut sink = |bytes: &[u8]| {
        globals.interrupt.check()?;
        globals.out.bytes(bytes)
    };
    let read = match form {
        Form::Stored => push::read(blobs, &entry, &mut sink),
        Form::Decompressed => {
            Contents::new(blobs, &entry).and_then(|contents| decompress::read(contents, &mut sink))
        }
    };
    read.during(name)
}

/// Returns the error if there is only one file. Otherwise prints it, and the command continues.
fn told(globals: &Globals, count: usize, error: Error) -> Result<Status> {
    if count == 1 || !matches!(error.kind(), Kind::Corrupt | Kind::NotFound | Kind::Failed) {
        return Err(error);
    }
    globals.out.message(&error.to_string());
    match error.kind() {
        Kind::Corrupt => Ok(Status::Damaged),
        _ => Ok(Status::Partial),
    }
}

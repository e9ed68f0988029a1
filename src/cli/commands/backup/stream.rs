//! `stdin:NAME` and `cmd:NAME -- COMMAND ...`: a backup of what comes through a pipe.

use std::ffi::OsString;
use std::fs;
use std::io::{IsTerminal, stdin};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;

use rustix::fs::{FileType, fstat};

use crate::cli::Args;
use crate::connector::{Feed, StreamSource};
use crate::error::{During, Error, Result};

/// Flags that say which files are wanted, and how they are told apart: there is but one here.
const MEANINGLESS: [&str; 3] = ["ignore", "ignore-file", "o"];

/// A stream that is to be backed up.
pub(super) struct Streamed {
    /// What the file is called.
    name: Vec<u8>,
    /// Where the bytes come from; standard input if there is no command.
    command: Option<Vec<OsString>>,
}

impl Streamed {
    /// The stream as a source. Nothing is read, nor run, before the backup begins.
    ///
    /// # Errors
    /// [`crate::error::Kind::Usage`] for a name that is none, or if nothing is piped in.
    pub(super) fn source(self) -> Result<StreamSource> {
        if let Some(words) = self.command {
            return StreamSource::new(&self.name, Feed::Command(words));
        }
        let input = Feed::Input(stdin().as_fd().try_clone_to_owned()?);
        let source = StreamSource::new(&self.name, input)?;
        let is_nothing = match stdin().is_terminal() {
            true => Some("a terminal"),
            false => is_null(stdin().as_fd()).then_some("/dev/null"),
        };
        match is_nothing {
            Some(what) => Err(Error::usage(format!(
                "stdin: standard input is {what}: pipe something in"
            ))),
            None => Ok(source),
        }
    }
}

/// Whether this is `/dev/null`, which cron and systemd give what they start, and what is put
/// in the place of a standard input that was closed: nobody means an empty file by that.
fn is_null(input: BorrowedFd<'_>) -> bool {
    let null = fs::metadata("/dev/null").map(|metadata| metadata.rdev());
    let given = fstat(input).map(|stat| (stat.st_mode, stat.st_rdev));
    match (null, given) {
        (Ok(null), Ok((mode, rdev))) => {
            FileType::from_raw_mode(mode) == FileType::CharacterDevice && rdev == null
        }
        _ => false,
    }
}

/// The stream that the arguments name, if they name one.
///
/// # Errors
/// [`crate::error::Kind::Usage`] if there is anything beside it.
pub(super) fn asked_for(args: &Args) -> Result<Option<Streamed>> {
    let (places, words) = args.around_dashes().unwrap_or((args.arguments(), &[]));
    let input = name_after(b"stdin:", places).or_else(|| name_after(b"stdin:", words));
    let streamed = match (name_after(b"cmd:", places), input) {
        (None, None) => return Ok(None),
        (Some(name), _) => command(name, places, words)?,
        (None, Some(_)) if args.arguments().len() > 1 => return Err(not_alone("stdin:NAME")),
        (None, Some(name)) => Streamed {
            name,
            command: None,
        },
    };
    let flag = MEANINGLESS
        .into_iter()
        .find(|flag| args.value(flag).is_some());
    match flag {
        Some(flag) => Err(Error::usage(format!(
            "-{flag} is for files, not for a stream"
        ))),
        None => Ok(Some(streamed)),
    }
}

/// The command among the `words` after `--`, whose output is to be called `name`.
fn command(name: Vec<u8>, places: &[OsString], words: &[OsString]) -> Result<Streamed> {
    if words.is_empty() {
        let cause = "needs a command: cmd:NAME -- COMMAND ...";
        return Err(Error::usage(cause)).during(|| "cmd");
    }
    match places.len() {
        1 => Ok(Streamed {
            name,
            command: Some(words.to_vec()),
        }),
        _ => Err(not_alone("cmd:NAME")),
    }
}

fn not_alone(what: &str) -> Error {
    Error::usage(format!(
        "{what} is a snapshot of its own: name no other place"
    ))
}

/// What follows `scheme` in the first of `words` that begins with it.
fn name_after(scheme: &[u8], words: &[OsString]) -> Option<Vec<u8>> {
    let mut names = words
        .iter()
        .filter_map(|word| word.as_bytes().strip_prefix(scheme));
    names.next().map(<[u8]>::to_vec)
}

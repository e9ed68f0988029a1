//! `stdin:NAME` and `cmd:NAME -- COMMAND ...`: backup of a stream.

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

/// Flags that select files or distinguish changed ones. A stream is a single file.
const MEANINGLESS: [&str; 3] = ["ignore", "ignore-file", "o"];

/// A stream to back up.
pub(super) struct Streamed {
    /// The file name in the snapshot.
    name: Vec<u8>,
    /// The command that produces the data, or `None` for standard input.
    command: Option<Vec<OsString>>,
}

impl Streamed {
    /// Creates the source. It neither reads nor starts the command before the backup begins.
    ///
    /// # Errors
    /// [`crate::error::Kind::Usage`] for an invalid name, or if standard input provides no data.
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

/// Whether this is `/dev/null`. cron and systemd start programs with it, and it replaces a standard
/// input that was closed. A user never intends to back up an empty file that way.
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

/// The stream that the arguments name, if any.
///
/// # Errors
/// [`crate::error::Kind::Usage`] if other places are named as well.
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

/// Parses the command in the `words` after `--`. `name` is the file name for its output.
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

/// The text after `scheme` in the first of `words` that begins with it.
fn name_after(scheme: &[u8], words: &[OsString]) -> Option<Vec<u8>> {
    let mut names = words
        .iter()
        .filter_map(|word| word.as_bytes().strip_prefix(scheme));
    names.next().map(<[u8]>::to_vec)
}

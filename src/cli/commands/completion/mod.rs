//! `plakar completion`: shell completion.
//!
//! The scripts are small and contain no command names: they pass the words of the line to `plakar
//! completion candidates`, which answers from the tables. Therefore completions always match the
//! program that the shell would run.

mod known;

use std::ffi::OsString;
use std::fmt;
use std::io::sink;
use std::sync::Arc;

use serde::Serialize;

use crate::cli::complete::{Answer, Candidate, Names, Place, answer, place};
use crate::cli::escape::printable;
use crate::cli::output::{Format, Output, Verbosity};
use crate::cli::{Args, COMMANDS, Command, Globals, Options, Status};
use crate::error::Result;

/// The table entry of the command.
pub const COMMAND: Command = Command {
    name: "completion",
    synopsis: "bash | zsh | fish | candidates",
    about: "print shell completion scripts",
    subcommands: &[
        Command {
            name: "bash",
            about: "print the completion script for bash",
            run: |globals, args| print(globals, &args, include_str!("plakar.bash")),
            ..Command::BLANK
        },
        Command {
            name: "zsh",
            about: "print the completion script for zsh",
            run: |globals, args| print(globals, &args, include_str!("plakar.zsh")),
            ..Command::BLANK
        },
        Command {
            name: "fish",
            about: "print the completion script for fish",
            run: |globals, args| print(globals, &args, include_str!("plakar.fish")),
            ..Command::BLANK
        },
        Command {
            name: "candidates",
            synopsis: "INDEX -- [WORD ...]",
            about: "print completion candidates",
            run: candidates,
            ..Command::BLANK
        },
    ],
    ..Command::BLANK
};

/// A completion script.
#[derive(Serialize)]
struct Script {
    shell: &'static str,
    script: &'static str,
}

impl fmt::Display for Script {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.script.trim_end())
    }
}

fn print(globals: &Globals, args: &Args, script: &'static str) -> Result<Status> {
    args.no_arguments()?;
    let shell = args.command.name;
    globals.out.result("script", &Script { shell, script })?;
    Ok(Status::Success)
}

/// One completion.
#[derive(Serialize)]
struct CandidateLine {
    word: String,
    about: String,
}

impl From<Candidate> for CandidateLine {
    fn from(candidate: Candidate) -> CandidateLine {
        CandidateLine {
            word: candidate.word,
            about: printable(candidate.about.as_bytes()),
        }
    }
}

impl fmt::Display for CandidateLine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.about.is_empty() {
            true => f.write_str(&self.word),
            false => write!(f, "{}\t{}", self.word, self.about),
        }
    }
}

/// A request to the shell to complete file names.
#[derive(Serialize)]
struct NamesLine {
    of: &'static str,
}

impl fmt::Display for NamesLine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // No completion begins with a tab.
        write!(f, "\t{}", self.of)
    }
}

fn candidates(globals: &Globals, args: Args) -> Result<Status> {
    let Answer { candidates, names } = answered(globals, words(&args)?);
    for candidate in candidates {
        let line = CandidateLine::from(candidate);
        globals.out.result("candidate", &line)?;
    }
    let of = match names {
        None => return Ok(Status::Success),
        Some(Names::Files) => "files",
        Some(Names::Directories) => "directories",
    };
    globals.out.result("names", &NamesLine { of })?;
    Ok(Status::Success)
}

/// The words of the line up to and including the one under the cursor, which may be empty.
fn words(args: &Args) -> Result<Vec<OsString>> {
    let (index, words) = args
        .at_least_one("an INDEX")?
        .split_first()
        .expect("there is at least one");
    let index = index.to_str().and_then(|index| index.parse::<usize>().ok());
    let index = index.filter(|index| *index <= words.len());
    let index = index.ok_or_else(|| args.usage("INDEX is not that of a WORD"))?;
    let mut words = words.to_vec();
    words.push(OsString::new());
    words.truncate(index + 1);
    Ok(words)
}

/// The completions of the last of `words`. Empty if the words are invalid.
fn answered(globals: &Globals, words: Vec<OsString>) -> Answer {
    let Some(place) = place(&words, COMMANDS) else {
        return Answer::default();
    };
    match globals_of(globals, &place) {
        Ok(globals) => answer(&place, &known::Lookup::new(globals)),
        Err(_) => Answer::default(),
    }
}

/// The context that the command on the line would get, but with an output that prints nothing.
fn globals_of(globals: &Globals, place: &Place) -> Result<Globals> {
    let options = Options::from(&place.invocation.options)?;
    let nowhere = || Box::new(sink());
    let out = Output::new(Format::Human, Verbosity::Silent, nowhere(), nowhere());
    let store = place.invocation.store.clone();
    let environment = globals.environment.clone();
    let interrupt = globals.interrupt.clone();
    Ok(Globals::new(
        options,
        environment,
        Arc::new(out),
        interrupt,
        store,
    ))
}

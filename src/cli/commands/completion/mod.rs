//! `plakar completion`: let a shell complete what is typed.
//!
//! The scripts are small and know no command: they hand the words of the line to
//! `plakar completion candidates`, which answers from the tables. So what a shell completes
//! is what the program that it would run can do.

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

/// The entry in the table.
pub const COMMAND: Command = Command {
    name: "completion",
    synopsis: "bash | zsh | fish | candidates",
    about: "print shell completion scripts",
    subcommands: &[
        Command {
            name: "bash",
            about: "print the completion of bash",
            run: |globals, args| print(globals, &args, include_str!("plakar.bash")),
            ..Command::BLANK
        },
        Command {
            name: "zsh",
            about: "print the completion of zsh",
            run: |globals, args| print(globals, &args, include_str!("plakar.zsh")),
            ..Command::BLANK
        },
        Command {
            name: "fish",
            about: "print the completion of fish",
            run: |globals, args| print(globals, &args, include_str!("plakar.fish")),
            ..Command::BLANK
        },
        Command {
            name: "candidates",
            synopsis: "INDEX -- [WORD ...]",
            about: "print the words that could stand in a command line",
            run: candidates,
            ..Command::BLANK
        },
    ],
    ..Command::BLANK
};

/// A script.
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

/// One word that could stand there.
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

/// That names of files could stand there.
#[derive(Serialize)]
struct NamesLine {
    of: &'static str,
}

impl fmt::Display for NamesLine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // No word begins with a tab.
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

/// The words of the line up to the one under the cursor, which may not have begun yet.
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

/// What could stand at the end of `words`; nothing if there is anything wrong with them.
fn answered(globals: &Globals, words: Vec<OsString>) -> Answer {
    let Some(place) = place(&words, COMMANDS) else {
        return Answer::default();
    };
    match globals_of(globals, &place) {
        Ok(globals) => answer(&place, &known::Lookup::new(globals)),
        Err(_) => Answer::default(),
    }
}

/// What the command of the line would be given, but that it could not say anything.
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

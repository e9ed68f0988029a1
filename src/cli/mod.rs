//! The command line: it alone prints, prompts and reads the environment.
//!
//! From the words of the user to an exit code:
//!
//! 1. [`parse`] understands the words with the help of the [`table`]s;
//! 2. [`globals`] puts together what every command is given;
//! 3. one file in [`commands`] parses its own flags, calls one function of the
//!    core and prints what it answers through [`output`];
//! 4. [`main`] prints the error there may be, once, and tells the exit code.
//!
//! | file | what it is |
//! |---|---|
//! | [`table`], [`parse`], [`args`], [`suggest`], `peers`, [`help`], [`complete`] | flags and commands as data; words understood by them; help and completions made from them |
//! | [`globals`], `configured`, `environment`, `signals`, `limits`, [`threads`] | what comes from outside: options, names, variables, requests to stop |
//! | [`opening`], [`known`], [`selection`], [`query`], [`places`], [`tags`], [`date`], `age`, [`size`], [`cost`] | what commands are given, understood |
//! | [`manual`], `pager` | the manual pages, as text |
//! | [`output`], [`listing`], [`grouping`], [`facts`], [`escape`], [`progress`], [`wording`], [`status`] | what goes out |
//! | [`passphrase`], `terminal`, `strength` | the one thing that is asked |

mod age;
pub mod args;
pub mod commands;
pub mod complete;
mod configured;
pub mod cost;
pub mod date;
mod environment;
pub mod escape;
pub mod facts;
pub mod globals;
pub mod grouping;
pub mod help;
pub mod known;
mod limits;
pub mod listing;
pub mod manual;
pub mod opening;
pub mod output;
mod pager;
pub mod parse;
pub mod passphrase;
mod peers;
pub mod places;
pub mod progress;
pub mod query;
pub mod selection;
mod signals;
pub mod size;
pub mod ssh;
pub mod status;
mod stdout;
mod strength;
pub mod table;
pub mod tags;
mod terminal;
pub mod threads;
pub mod wording;

use std::process::ExitCode;
use std::sync::Arc;
use std::time::Instant;

pub use crate::util::suggest;
pub use args::Args;
pub use commands::COMMANDS;
pub use environment::Environment;
pub use globals::{Globals, Options};
pub use status::Status;
pub use table::{Command, Flag, GLOBAL_FLAGS};

use crate::error::{Error, Result};
use crate::util::human;
use crate::util::interrupt::Interrupt;
use args::Settings;
use output::{Format, Output, Verbosity};
use parse::{Invocation, parse};

/// Runs the command that the process was started with.
pub fn main() -> ExitCode {
    let began = Instant::now();
    limits::forbid_dumps();
    let understood = parse(environment::words(), COMMANDS)
        .and_then(|invocation| Ok((Options::from(&invocation.options)?, invocation)));
    let interrupt = Interrupt::default();
    let (options, invocation) = match understood {
        Ok(understood) => understood,
        Err(error) => {
            let out = Output::standard(Format::Human, Verbosity::Normal, &interrupt);
            return failed(&out, &error);
        }
    };
    let out = Arc::new(options.output(&interrupt));
    let is_timed = invocation.options.is_on("time");
    let ended = run(options, invocation, out.clone(), interrupt);
    let ended = ended.and_then(|status| out.flush().map(|()| status));
    if is_timed {
        out.message(&format!("time: {}", took(began)));
    }
    match ended {
        Ok(status) => ExitCode::from(status.exit_code()),
        Err(_) if out.reader_left() => ExitCode::SUCCESS,
        Err(error) => failed(&out, &error),
    }
}

/// Prints the error a command ended with and tells its exit code.
fn failed(out: &Output, error: &Error) -> ExitCode {
    // What was printed before the error comes first; a second error would only hide it.
    let _ = out.flush();
    out.fatal(error);
    ExitCode::from(error.kind().exit_code())
}

/// Puts together what the command is given, and runs it.
fn run(
    options: Options,
    invocation: Invocation,
    out: Arc<Output>,
    interrupt: Interrupt,
) -> Result<Status> {
    let Invocation {
        options: settings,
        store,
        args,
    } = invocation;
    let environment = Environment::of_process();
    let globals = Globals::new(options, environment, out, interrupt, store);
    signals::listen(&globals.interrupt)?;
    limits::raise();
    let args = match asked_for(&settings, args) {
        Asked::Help(text) => {
            globals.out.bytes(text.as_bytes())?;
            return Ok(Status::Success);
        }
        Asked::Command(args) => args,
        Asked::Nothing => usual_command(&globals),
    };
    (args.command.run)(&globals, args)
}

/// What the words come down to.
enum Asked {
    Help(String),
    Command(Args),
    Nothing,
}

/// `-help` and `-version` win over the command.
fn asked_for(settings: &Settings, args: Option<Args>) -> Asked {
    match args {
        Some(args) if settings.is_on("help") => {
            Asked::Help(help::command(&args.path(), args.command))
        }
        None if settings.is_on("help") => Asked::Help(help::program(COMMANDS)),
        _ if settings.is_on("version") => Asked::Command(Args::none(&commands::version::COMMAND)),
        Some(args) => Asked::Command(args),
        None => Asked::Nothing,
    }
}

/// What happens when no command is named: snapshots are listed, if there is a store
/// to list them of.
fn usual_command(globals: &Globals) -> Args {
    let listing = Command::find(COMMANDS, "ls").filter(|_| globals.has_store());
    Args::none(listing.unwrap_or(&commands::help::COMMAND))
}

/// How long ago `began` was, to the millisecond below a minute.
fn took(began: Instant) -> String {
    let elapsed = began.elapsed();
    match elapsed.as_secs() {
        0..60 => format!("{:.3}s", elapsed.as_secs_f64()),
        _ => human::duration(elapsed),
    }
}

//! The command line. Only this module prints, prompts and reads the environment.
//!
//! From the arguments of the process to an exit code:
//!
//! 1. [`parse`] parses the arguments according to the [`table`]s;
//! 2. [`globals`] collects the context of every command;
//! 3. one file in [`commands`] parses its own flags, calls one function of the core and prints the
//!    result through [`output`];
//! 4. [`main`] prints the error, if any, once, and returns the exit code.
//!
//! | file | contents |
//! |---|---|
//! | [`table`], [`args`] | flags and commands as data, and their values |
//! | [`parse`], [`suggest`], `peers` | the parser of the command line, and suggestions for errors |
//! | [`help`], [`complete`] | help and completions |
//! | [`globals`], `configured`, `environment` | external input: options, configuration, variables |
//! | `signals`, `limits`, [`threads`] | signals, resource limits, numbers of threads |
//! | [`opening`], [`known`], [`places`] | stores and places that arguments name |
//! | [`selection`], [`query`] | snapshots and paths in them that arguments name |
//! | [`tags`], [`date`], `age`, [`size`], [`cost`] | values of flags, parsed |
//! | [`manual`], `pager` | the manual pages, as text |
//! | [`output`], [`progress`], [`status`] | output, progress and the exit code |
//! | [`listing`], [`grouping`], [`facts`], [`escape`], [`wording`] | formatting of results |
//! | [`passphrase`], `terminal`, `strength` | passphrase prompts |

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

/// Runs the command that the arguments of the process select.
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

/// Prints the error that ended the command and returns its exit code.
fn failed(out: &Output, error: &Error) -> ExitCode {
    // Output printed before the error comes first. An error of the flush would only hide the first
    // error.
    let _ = out.flush();
    out.fatal(error);
    ExitCode::from(error.kind().exit_code())
}

/// Creates the context of the command and runs it.
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

/// The action that the command line selects.
enum Asked {
    Help(String),
    Command(Args),
    Nothing,
}

/// `-help` and `-version` take precedence over the command.
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

/// The default if no command is named: list the snapshots if a store is known, otherwise print
/// help.
fn usual_command(globals: &Globals) -> Args {
    let listing = Command::find(COMMANDS, "ls").filter(|_| globals.has_store());
    Args::none(listing.unwrap_or(&commands::help::COMMAND))
}

/// The time since `began`, in milliseconds if it is below a minute.
fn took(began: Instant) -> String {
    let elapsed = began.elapsed();
    match elapsed.as_secs() {
        0..60 => format!("{:.3}s", elapsed.as_secs_f64()),
        _ => human::duration(elapsed),
    }
}

//! Everything that is printed goes through here.
//!
//! Results go to standard output, everything else to standard error, where a
//! progress line may stand that is wiped before anything is printed and drawn
//! again by its own clock ([`super::progress`]).
//!
//! | | a person | `-json` |
//! |---|---|---|
//! | results, summary | standard output | objects on standard output |
//! | progress | one line on standard error | `progress`, each second, standard output |
//! | an item failed, a warning | `plakar: …` on standard error | `error`, `warning`, standard output |
//! | the error the command ends with | `plakar: …` on standard error | there too, and `error` on standard output |
//!
//! With `-json` each line of standard output is one object with a `type`, in a
//! pipe as on a terminal. When whoever reads standard output goes away (`| head`),
//! the command ends quietly and successfully: the reader had what it wanted.
//! Long work goes on, however, and only its progress is dropped.
//!
//! Nothing here knows what it prints. Names must come through [`printable`];
//! errors are made printable here, since names are in their phrases.

use std::fmt::Display;
use std::io::{self, IsTerminal, Write};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard};

use serde::Serialize;

use super::escape::{JsonPath, printable};
use super::stdout::{Stdout, Stopped};
use crate::error::{During, Error, Kind, Result};
use crate::util::interrupt::Interrupt;

/// For whom things are printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// A person at a terminal.
    Human,
    /// A log: no progress line, but a line for each path (`-stdio`).
    Lines,
    /// A program (`-json`).
    Json,
}

/// How much is said beside results.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Verbosity {
    /// Nothing: the exit code tells (`-silent`).
    Silent,
    /// Errors only (`-quiet`).
    Quiet,
    /// Progress, warnings and summaries too.
    Normal,
}

/// Where results and messages go. Shared by every thread of a command.
pub struct Output {
    format: Format,
    verbosity: Verbosity,
    results: Mutex<Box<dyn Write + Send>>,
    messages: Mutex<Messages>,
    reader_left: AtomicBool,
    /// Whether somebody was told that a result could not be printed: once is enough.
    has_failed: AtomicBool,
}

/// Standard error, and whether the progress line is on it.
struct Messages {
    stream: Box<dyn Write + Send>,
    line: Line,
}

#[derive(PartialEq, Eq)]
enum Line {
    Absent,
    Drawn,
}

/// Takes the cursor to the first column and wipes the line (ECMA-48, EL).
const WIPE: &[u8] = b"\r\x1b[K";

/// An object of JSON with its `type` first.
#[derive(Serialize)]
struct Tagged<'a, T> {
    #[serde(rename = "type")]
    kind: &'a str,
    #[serde(flatten)]
    value: &'a T,
}

/// An `error` or `warning` object.
#[derive(Serialize)]
struct Complaint {
    #[serde(flatten)]
    path: Option<JsonPath>,
    message: String,
    code: u8,
}

impl Output {
    /// Prints results to `results` and the rest to `messages`.
    pub fn new(
        format: Format,
        verbosity: Verbosity,
        results: Box<dyn Write + Send>,
        messages: Box<dyn Write + Send>,
    ) -> Output {
        let messages = Messages {
            stream: messages,
            line: Line::Absent,
        };
        Output {
            format,
            verbosity,
            results: Mutex::new(results),
            messages: Mutex::new(messages),
            reader_left: AtomicBool::new(false),
            has_failed: AtomicBool::new(false),
        }
    }

    /// Prints to the standard streams of the process. A reader that has stopped reading does not
    /// keep us once `interrupt` is set.
    pub fn standard(format: Format, verbosity: Verbosity, interrupt: &Interrupt) -> Output {
        // Writing at each line is right for whoever watches, slow for whoever collects.
        let is_watched = format == Format::Lines || io::stdout().is_terminal();
        let results: Box<dyn Write + Send> = match Stdout::new(interrupt) {
            Ok(stdout) if is_watched => Box::new(io::LineWriter::new(stdout)),
            Ok(stdout) => Box::new(io::BufWriter::new(stdout)),
            // It is closed; the library takes that for one who reads everything.
            Err(_) => Box::new(io::stdout()),
        };
        Output::new(format, verbosity, results, Box::new(io::stderr()))
    }

    /// For whom things are printed.
    pub fn format(&self) -> Format {
        self.format
    }

    /// How much is said beside results.
    pub fn verbosity(&self) -> Verbosity {
        self.verbosity
    }

    /// Prints a result: a line for a person, or an object of `kind` with `-json`.
    ///
    /// # Errors
    /// When standard output cannot be written. Pass it on: [`Output::reader_left`]
    /// tells `main` to end quietly where that is all there is to it.
    pub fn result<T: Serialize + Display>(&self, kind: &str, value: &T) -> Result<()> {
        match self.format {
            Format::Json => self.bytes(&json_line(kind, value)?),
            Format::Human | Format::Lines => self.bytes(format!("{value}\n").as_bytes()),
        }
    }

    /// Prints what was done at the end of long work, unless the user asked for
    /// quiet; with `-json` always. The work is done, so a reader that left is no error.
    pub fn summary<T: Serialize + Display>(&self, value: &T) -> Result<()> {
        if self.format != Format::Json && self.verbosity < Verbosity::Normal {
            return Ok(());
        }
        match self.result("summary", value).and_then(|()| self.flush()) {
            Err(_) if self.reader_left() => Ok(()),
            outcome => outcome,
        }
    }

    /// Writes bytes to standard output as they are: the contents of files.
    pub fn bytes(&self, bytes: &[u8]) -> Result<()> {
        self.messages().wipe();
        let written = self.results().write_all(bytes);
        self.check(written)
    }

    /// The same where standard output is known to be no terminal: the progress line may stay.
    pub fn stream(&self, bytes: &[u8]) -> Result<()> {
        let written = self.results().write_all(bytes);
        self.check(written)
    }

    /// Writes out what is still in memory. What could not be written before is not tried again.
    pub fn flush(&self) -> Result<()> {
        if self.has_failed.load(Ordering::Relaxed) {
            return Ok(());
        }
        let flushed = self.results().flush();
        self.check(flushed)
    }

    /// Whether a result could not be printed because nobody reads any more.
    pub fn reader_left(&self) -> bool {
        self.reader_left.load(Ordering::Relaxed)
    }

    /// Tells of an item that failed while the work goes on. `path` is raw bytes.
    pub fn failed(&self, path: &[u8], error: &Error) {
        self.complain("error", Some(path), error, Verbosity::Quiet);
    }

    /// Tells of something that does not make the work partial.
    pub fn warning(&self, error: &Error) {
        self.complain("warning", None, error, Verbosity::Normal);
    }

    /// Tells of the error that ends the command, on standard error whatever the format.
    pub fn fatal(&self, error: &Error) {
        if self.format == Format::Json {
            self.complain("error", None, error, Verbosity::Silent);
        }
        if self.verbosity > Verbosity::Silent {
            self.message(&error.to_string());
        }
    }

    /// Prints the command to run next, unless the user asked for quiet. With `-json` the summary
    /// has it.
    pub fn next_step(&self, text: &str) {
        if self.format != Format::Json && self.verbosity >= Verbosity::Normal {
            self.message(&format!("next: {text}"));
        }
    }

    /// Prints a `plakar:` line on standard error. Names in it are made printable.
    pub fn message(&self, text: &str) {
        let mut messages = self.messages();
        messages.wipe();
        // Nobody is left to tell when standard error cannot be written.
        let _ = writeln!(messages.stream, "plakar: {}", printable(text.as_bytes()));
    }

    /// Draws the progress line anew. `text` must be printable and fit the terminal.
    pub fn draw(&self, text: &str) {
        let mut messages = self.messages();
        messages.wipe();
        let _ = write!(messages.stream, "{text}");
        let _ = messages.stream.flush();
        messages.line = Line::Drawn;
    }

    /// Removes the progress line.
    pub fn wipe(&self) {
        self.messages().wipe();
    }

    /// Prints an object of `-json` that is no result: whether anyone reads it does
    /// not matter to the work.
    pub fn emit<T: Serialize>(&self, kind: &str, value: &T) {
        if let Ok(line) = json_line(kind, value) {
            let mut results = self.results();
            let _ = results.write_all(&line).and_then(|()| results.flush());
        }
    }

    /// Tells of `error` in whatever format, if at least `needed` was asked for.
    fn complain(&self, kind: &str, path: Option<&[u8]>, error: &Error, needed: Verbosity) {
        if self.verbosity < needed {
            return;
        }
        if self.format == Format::Json {
            let complaint = Complaint {
                path: path.map(JsonPath::from),
                message: printable(error.to_string().as_bytes()),
                code: error.kind().exit_code(),
            };
            return self.emit(kind, &complaint);
        }
        let path = path.map(|path| printable(path) + ": ").unwrap_or_default();
        let warning = if kind == "warning" { "warning: " } else { "" };
        self.message(&format!("{warning}{path}{error}"));
    }

    /// Notes that the reader left, and words any other failure.
    fn check(&self, outcome: io::Result<()>) -> Result<()> {
        self.has_failed
            .fetch_or(outcome.is_err(), Ordering::Relaxed);
        if let Err(cause) = &outcome
            && cause.kind() == io::ErrorKind::BrokenPipe
        {
            self.reader_left.store(true, Ordering::Relaxed);
        }
        if outcome.as_ref().is_err_and(Stopped::is_cause) {
            return Err(Error::new(Kind::Interrupted, "interrupted"));
        }
        outcome.during(|| "standard output")
    }

    fn results(&self) -> MutexGuard<'_, Box<dyn Write + Send>> {
        // A thread that panicked while printing leaves nothing half-done that matters.
        self.results
            .lock()
            .unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    fn messages(&self) -> MutexGuard<'_, Messages> {
        self.messages
            .lock()
            .unwrap_or_else(|poisoned| poisoned.into_inner())
    }
}

impl Messages {
    /// Removes the progress line if it is there.
    fn wipe(&mut self) {
        if self.line == Line::Drawn {
            let _ = self.stream.write_all(WIPE);
            let _ = self.stream.flush();
            self.line = Line::Absent;
        }
    }
}

/// `value` as one line of JSON with its type.
fn json_line<T: Serialize>(kind: &str, value: &T) -> Result<Vec<u8>> {
    let mut line = serde_json::to_vec(&Tagged { kind, value }).map_err(io::Error::from)?;
    line.push(b'\n');
    Ok(line)
}

#[cfg(test)]
pub(super) mod tests;

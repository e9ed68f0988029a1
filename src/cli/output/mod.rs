//! All output of the program.
//!
//! Results go to standard output, everything else to standard error. Standard error can also show a
//! progress line. It is erased before other output, and redrawn periodically by
//! [`super::progress`].
//!
//! | | text | `-json` |
//! |---|---|---|
//! | results, summary | standard output | objects on standard output |
//! | progress | one line on standard error | `progress` once per second, standard output |
//! | a failed item, a warning | `plakar: …` on standard error | `error`, `warning`, standard output |
//! | the error that ends the command | `plakar: …` on standard error | both, `error` on standard output |
//!
//! With `-json` each line of standard output is one object with a `type`, both in a pipe and on a
//! terminal. If the reader of standard output closes the pipe (`| head`), the command ends silently
//! and successfully, because the reader has all the output it needs. Long work continues, however,
//! and only its progress output is dropped.
//!
//! This module does not interpret the output. Callers must pass names through [`printable`]. Errors
//! are made printable here, because their phrases contain names.

use std::fmt::Display;
use std::io::{self, IsTerminal, Write};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard};

use serde::Serialize;

use super::escape::{JsonPath, printable};
use super::stdout::{Stdout, Stopped};
use crate::error::{During, Error, Kind, Result};
use crate::util::interrupt::Interrupt;

/// The format of the output.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// Text for people at a terminal.
    Human,
    /// Text for a log: no progress line, but one line for each path (`-stdio`).
    Lines,
    /// JSON for programs (`-json`).
    Json,
}

/// What is printed in addition to results.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Verbosity {
    /// Nothing: only the exit code reports the outcome (`-silent`).
    Silent,
    /// Errors only (`-quiet`).
    Quiet,
    /// Errors, warnings, progress and summaries.
    Normal,
}

/// The destination of results and messages. Shared by all threads of a command.
pub struct Output {
    format: Format,
    verbosity: Verbosity,
    results: Mutex<Box<dyn Write + Send>>,
    messages: Mutex<Messages>,
    reader_left: AtomicBool,
    /// Whether a failure to print a result was already reported. It is reported only once.
    has_failed: AtomicBool,
}

/// Standard error, and whether the progress line is currently shown.
struct Messages {
    stream: Box<dyn Write + Send>,
    line: Line,
}

#[derive(PartialEq, Eq)]
enum Line {
    Absent,
    Drawn,
}

/// Moves the cursor to the first column and erases the line (ECMA-48, EL).
const WIPE: &[u8] = b"\r\x1b[K";

/// A JSON object with its `type` as the first field.
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
    /// An output that prints results to `results` and everything else to `messages`.
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

    /// An output to the standard streams of the process. A write that blocks because the reader is
    /// stalled fails once `interrupt` is set.
    pub fn standard(format: Format, verbosity: Verbosity, interrupt: &Interrupt) -> Output {
        // Line buffering suits a person or a log, but is slow for a pipe.
        let is_watched = format == Format::Lines || io::stdout().is_terminal();
        let results: Box<dyn Write + Send> = match Stdout::new(interrupt) {
            Ok(stdout) if is_watched => Box::new(io::LineWriter::new(stdout)),
            Ok(stdout) => Box::new(io::BufWriter::new(stdout)),
            // Standard output is closed. The standard library discards writes to it.
            Err(_) => Box::new(io::stdout()),
        };
        Output::new(format, verbosity, results, Box::new(io::stderr()))
    }

    /// The format of the output.
    pub fn format(&self) -> Format {
        self.format
    }

    /// What is printed in addition to results.
    pub fn verbosity(&self) -> Verbosity {
        self.verbosity
    }

    /// Prints a result: one line of text, or an object of type `kind` with `-json`.
    ///
    /// # Errors
    /// If standard output cannot be written. Callers must return this error. If the reader closed
    /// the pipe, [`Output::reader_left`] makes `main` end silently.
    pub fn result<T: Serialize + Display>(&self, kind: &str, value: &T) -> Result<()> {
        match self.format {
            Format::Json => self.bytes(&json_line(kind, value)?),
            Format::Human | Format::Lines => self.bytes(format!("{value}\n").as_bytes()),
        }
    }

    /// Prints the summary of long work, except with `-quiet` or `-silent`; with `-json` always. A
    /// closed pipe is not an error here, because the work is done.
    pub fn summary<T: Serialize + Display>(&self, value: &T) -> Result<()> {
        if self.format != Format::Json && self.verbosity < Verbosity::Normal {
            return Ok(());
        }
        match self.result("summary", value).and_then(|()| self.flush()) {
            Err(_) if self.reader_left() => Ok(()),
            outcome => outcome,
        }
    }

    /// Writes bytes, such as file contents, to standard output unchanged.
    pub fn bytes(&self, bytes: &[u8]) -> Result<()> {
        self.messages().wipe();
        let written = self.results().write_all(bytes);
        self.check(written)
    }

    /// Like [`Output::bytes`], if standard output is known not to be a terminal: the progress line
    /// is not erased.
    pub fn stream(&self, bytes: &[u8]) -> Result<()> {
        let written = self.results().write_all(bytes);
        self.check(written)
    }

    /// Flushes the buffer of standard output. Output that failed before is not retried.
    pub fn flush(&self) -> Result<()> {
        if self.has_failed.load(Ordering::Relaxed) {
            return Ok(());
        }
        let flushed = self.results().flush();
        self.check(flushed)
    }

    /// Whether a result could not be printed because the reader closed the pipe.
    pub fn reader_left(&self) -> bool {
        self.reader_left.load(Ordering::Relaxed)
    }

    /// Reports an item that failed, when the work continues. `path` is raw bytes.
    pub fn failed(&self, path: &[u8], error: &Error) {
        self.complain("error", Some(path), error, Verbosity::Quiet);
    }

    /// Reports a problem that does not make the result partial.
    pub fn warning(&self, error: &Error) {
        self.complain("warning", None, error, Verbosity::Normal);
    }

    /// Reports the error that ends the command, on standard error in every format.
    pub fn fatal(&self, error: &Error) {
        if self.format == Format::Json {
            self.complain("error", None, error, Verbosity::Silent);
        }
        if self.verbosity > Verbosity::Silent {
            self.message(&error.to_string());
        }
    }

    /// Prints a suggested next command, except with `-quiet` or `-silent`. With `-json` the summary
    /// contains it.
    pub fn next_step(&self, text: &str) {
        if self.format != Format::Json && self.verbosity >= Verbosity::Normal {
            self.message(&format!("next: {text}"));
        }
    }

    /// Prints a `plakar:` line on standard error, with names made printable.
    pub fn message(&self, text: &str) {
        let mut messages = self.messages();
        messages.wipe();
        // If standard error cannot be written, the failure cannot be reported anywhere.
        let _ = writeln!(messages.stream, "plakar: {}", printable(text.as_bytes()));
    }

    /// Redraws the progress line. `text` must be printable and fit the terminal.
    pub fn draw(&self, text: &str) {
        let mut messages = self.messages();
        messages.wipe();
        let _ = write!(messages.stream, "{text}");
        let _ = messages.stream.flush();
        messages.line = Line::Drawn;
    }

    /// Erases the progress line.
    pub fn wipe(&self) {
        self.messages().wipe();
    }

    /// Prints a `-json` object that is not a result. A write failure is ignored: the work does not
    /// depend on this output.
    pub fn emit<T: Serialize>(&self, kind: &str, value: &T) {
        if let Ok(line) = json_line(kind, value) {
            let mut results = self.results();
            let _ = results.write_all(&line).and_then(|()| results.flush());
        }
    }

    /// Reports `error` in the selected format, if the verbosity is at least `needed`.
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

    /// Records that the reader left, and adds context to any other error.
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
        // A thread that panicked while printing leaves no inconsistent state.
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
    /// Erases the progress line if it is shown.
    fn wipe(&mut self) {
        if self.line == Line::Drawn {
            let _ = self.stream.write_all(WIPE);
            let _ = self.stream.flush();
            self.line = Line::Absent;
        }
    }
}

/// `value` as one line of JSON, with its type.
fn json_line<T: Serialize>(kind: &str, value: &T) -> Result<Vec<u8>> {
    let mut line = serde_json::to_vec(&Tagged { kind, value }).map_err(io::Error::from)?;
    line.push(b'\n');
    Ok(line)
}

#[cfg(test)]
pub(super) mod tests;

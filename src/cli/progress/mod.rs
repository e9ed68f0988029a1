//! Observation of long work: a [`Watch`] counts, forwards events, and shows progress until the work
//! is finished.
//!
//! A separate thread draws, so that workers only increment counters: five times per second on a
//! terminal, one object per second with `-json`, never if the output is not observed. It reads only
//! the counters and knows nothing about the work. Dropping a watch stops the thread and erases the
//! line, however the work ended.

use std::fmt;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use serde::Serialize;

use super::escape::{JsonPath, printable};
use super::output::{Format, Output, Verbosity};
use super::wording::counted;
use crate::kloset::progress::{Counters, Event, Observer, read};
use crate::util::human;

/// The interval between redraws: short enough to look responsive, long enough for a slow serial
/// line.
const DRAW_EVERY: Duration = Duration::from_millis(200);
/// The interval between `progress` objects with `-json`.
const TELL_EVERY: Duration = Duration::from_secs(1);
/// The time constant of the average rate: long enough that the estimated time left does not jump.
const RATE_MEMORY_SECONDS: f64 = 5.0;
/// The width of a terminal that does not report its width.
const USUAL_COLUMNS: u16 = 80;

/// A path is shown only if this many columns are available.
const PATH_COLUMNS: usize = 12;
/// Replaces the beginning of a path that does not fit.
const ELLIPSIS: &str = "...";

/// How to print the paths that are processed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Paths {
    /// Do not print them.
    Hidden,
    /// Print them as the work proceeds (`-stdio`).
    Shown,
    /// Print them as results at any verbosity, as in a dry run.
    Result,
}

/// Whether to show progress.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    /// As a line on the terminal, or as objects with `-json`.
    Shown,
    /// Not at all.
    Hidden,
}

/// Observes one long operation. Pass it to the core as its [`Observer`].
pub struct Watch {
    counters: Arc<Counters>,
    output: Arc<Output>,
    paths: Paths,
    progress: Progress,
    /// The most recently processed path, if progress is shown.
    current: Arc<Mutex<Vec<u8>>>,
    drawing: Mutex<Option<Drawing>>,
}

/// The thread that shows progress.
struct Drawing {
    /// Dropped to stop the thread.
    stop: Sender<()>,
    thread: JoinHandle<()>,
}

/// The counters at one moment, as an object of `-json`.
#[derive(Debug, Serialize)]
struct Snapshot {
    files: u64,
    directories: u64,
    objects: u64,
    bytes: u64,
    stored_bytes: u64,
    errors: u64,
    expected_files: u64,
    expected_bytes: u64,
    bytes_per_second: u64,
    seconds: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    remaining_seconds: Option<u64>,
    /// The most recently processed path.
    #[serde(flatten)]
    current: Option<JsonPath>,
    /// The same path in printable form.
    #[serde(skip)]
    shown: String,
}

/// The `-json` object of one path.
#[derive(Serialize)]
struct PathLine<'a> {
    action: &'a str,
    #[serde(flatten)]
    path: JsonPath,
    size_bytes: u64,
    #[serde(skip)]
    shown: String,
}

impl fmt::Display for PathLine<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:<9} {}", self.action, self.shown)
    }
}

impl Watch {
    /// Creates a watch. Nothing is drawn before [`Watch::show`], so a passphrase prompt can come
    /// first.
    pub fn new(output: Arc<Output>, paths: Paths, progress: Progress) -> Watch {
        Watch {
            counters: Arc::default(),
            output,
            paths,
            progress,
            current: Arc::default(),
            drawing: Mutex::new(None),
        }
    }

    /// Whether progress will be shown.
    pub fn is_shown(&self) -> bool {
        self.progress == Progress::Shown
    }

    /// Starts showing progress, if it is enabled.
    pub fn show(&self) {
        if !self.is_shown() {
            return;
        }
        let (stop, stopped) = channel();
        let (counters, output) = (self.counters.clone(), self.output.clone());
        let current = self.current.clone();
        let run = move || show_until(&stopped, &counters, &current, &output);
        // If no thread can be started, the work continues without progress output.
        let thread = thread::Builder::new().name("progress".into()).spawn(run);
        *self.drawing() = thread.ok().map(|thread| Drawing { stop, thread });
    }

    /// Stops showing progress and erases the line.
    pub fn finish(&self) {
        let Some(Drawing { stop, thread }) = self.drawing().take() else {
            return;
        };
        drop(stop);
        // The thread only prints and counts, so it has no error to report.
        let _ = thread.join();
        self.output.wipe();
    }

    fn drawing(&self) -> MutexGuard<'_, Option<Drawing>> {
        self.drawing.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Prints one path, if paths are printed.
    fn path(&self, path: &[u8], action: &str, size_bytes: u64) {
        // If the lock is contended, skip this path: the next one will be shown.
        if self.is_shown()
            && let Ok(mut current) = self.current.try_lock()
        {
            current.clear();
            current.extend_from_slice(path);
        }
        let is_wanted = match self.paths {
            Paths::Hidden => false,
            Paths::Shown => self.output.verbosity() == Verbosity::Normal,
            Paths::Result => true,
        };
        if !is_wanted {
            return;
        }
        let line = PathLine {
            action,
            path: JsonPath::from(path),
            size_bytes,
            shown: printable(path),
        };
        // A closed pipe is detected when the command prints its summary.
        let _ = self.output.result("path", &line);
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.finish();
    }
}

impl Observer for Watch {
    fn counters(&self) -> &Counters {
        &self.counters
    }

    fn event(&self, event: &Event<'_>) {
        match event {
            Event::Path {
                path,
                action,
                size_bytes,
            } => self.path(path, action, *size_bytes),
            Event::Failed { path, error } => self.output.failed(path, error),
            Event::Warning(error) => self.output.warning(error),
        }
    }
}

/// Shows progress periodically until the other end of `stopped` is dropped.
fn show_until(
    stopped: &Receiver<()>,
    counters: &Counters,
    current: &Mutex<Vec<u8>>,
    output: &Output,
) {
    let began = Instant::now();
    let every = match output.format() {
        Format::Json => TELL_EVERY,
        Format::Human | Format::Lines => DRAW_EVERY,
    };
    let mut rate = Rate::default();
    let mut last = began;
    while stopped.recv_timeout(every) == Err(RecvTimeoutError::Timeout) {
        rate.update(read(&counters.bytes), last.elapsed());
        last = Instant::now();
        let mut snapshot = Snapshot::of(counters, rate.per_second, began.elapsed());
        let current = current
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone();
        if !current.is_empty() {
            snapshot.current = Some(JsonPath::from(current.as_slice()));
            snapshot.shown = printable(&current);
        }
        match output.format() {
            Format::Json => output.emit("progress", &snapshot),
            Format::Human | Format::Lines => output.draw(&snapshot.line(columns())),
        }
    }
}

/// The width of the terminal on standard error.
fn columns() -> u16 {
    let size = rustix::termios::tcgetwinsize(std::io::stderr());
    match size {
        // A terminal on a serial line or in a script may report a width of 0.
        Ok(size) if size.ws_col > 0 => size.ws_col,
        _ => USUAL_COLUMNS,
    }
}

/// The longest suffix of `path` that fits into `columns`.
fn end_of(path: &str, columns: usize) -> String {
    // East Asian characters take two columns. Counting some narrower characters as two is harmless.
    let width = |letter: char| if letter < '\u{1100}' { 1 } else { 2 };
    if path.chars().map(width).sum::<usize>() <= columns {
        return path.to_owned();
    }
    let mut left = columns.saturating_sub(ELLIPSIS.len());
    let mut kept = path.len();
    for (at, letter) in path.char_indices().rev() {
        if width(letter) > left {
            break;
        }
        left -= width(letter);
        kept = at;
    }
    format!("{ELLIPSIS}{}", &path[kept..])
}

/// The rate in bytes per second, with exponential smoothing.
#[derive(Default)]
struct Rate {
    bytes: u64,
    per_second: f64,
}

impl Rate {
    /// Updates the rate: the total is now `bytes`, and `passed` is the time since the last update.
    fn update(&mut self, bytes: u64, passed: Duration) {
        let seconds = passed.as_secs_f64().max(0.001);
        let current = bytes.saturating_sub(self.bytes) as f64 / seconds;
        let weight = if self.bytes == 0 {
            1.0
        } else {
            1.0 - (-seconds / RATE_MEMORY_SECONDS).exp()
        };
        self.per_second += weight * (current - self.per_second);
        self.bytes = bytes;
    }
}

impl Snapshot {
    fn of(counters: &Counters, per_second: f64, elapsed: Duration) -> Snapshot {
        let bytes = read(&counters.bytes);
        let expected_bytes = read(&counters.expected_bytes);
        let left = expected_bytes.saturating_sub(bytes) as f64 / per_second;
        let is_known = expected_bytes > 0 && per_second >= 1.0;
        Snapshot {
            files: read(&counters.files),
            directories: read(&counters.directories),
            objects: read(&counters.objects),
            bytes,
            stored_bytes: read(&counters.stored_bytes),
            errors: read(&counters.errors),
            expected_files: read(&counters.expected_files),
            expected_bytes,
            bytes_per_second: per_second as u64,
            seconds: elapsed.as_secs(),
            remaining_seconds: is_known.then_some(left as u64),
            current: None,
            shown: String::new(),
        }
    }

    /// The progress line, at most one column narrower than `columns`: a line that fills the last
    /// column wraps on some terminals and is not erased completely.
    fn line(&self, columns: u16) -> String {
        let mut parts = vec![self.percent()];
        if self.objects > 0 {
            parts.push(counted(self.objects, "object", "objects"));
        }
        if self.files > 0 || self.objects == 0 {
            parts.push(counted(self.files, "file", "files"));
        }
        parts.push(human::size(self.bytes));
        parts.push(format!("{}/s", human::size(self.bytes_per_second)));
        if let Some(seconds) = self.remaining_seconds {
            parts.push(format!(
                "{} left",
                human::duration(Duration::from_secs(seconds))
            ));
        }
        if self.errors > 0 {
            parts.push(counted(self.errors, "error", "errors"));
        }
        parts.retain(|part| !part.is_empty());
        let line: String = parts.join("  ");
        let columns = usize::from(columns - 1);
        let line: String = line.chars().take(columns).collect();
        // Two blanks precede the path.
        let left = columns.saturating_sub(line.len() + 2);
        match self.shown.is_empty() || left < PATH_COLUMNS {
            true => line,
            false => format!("{line}  {}", end_of(&self.shown, left)),
        }
    }

    /// The percentage done, if the total is known.
    fn percent(&self) -> String {
        match self.expected_bytes {
            0 => String::new(),
            // The expected total was an estimate, so the actual total can be larger.
            all => format!(
                "{}%",
                (u128::from(self.bytes) * 100 / u128::from(all)).min(100)
            ),
        }
    }
}

#[cfg(test)]
mod tests;

//! Watching long work: a [`Watch`] counts, passes events on, and shows progress
//! until it is finished.
//!
//! A thread of its own draws, so that workers only ever add to counters: five
//! times a second on a terminal, an object each second with `-json`, nothing
//! where nobody looks. It draws from what the counters say and knows nothing of
//! the work. Dropping a watch stops the thread and wipes the line, whatever way
//! the work ended.

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

/// How often the line is drawn: often enough to look alive, seldom enough for a
/// slow serial line.
const DRAW_EVERY: Duration = Duration::from_millis(200);
/// How often `-json` tells of progress.
const TELL_EVERY: Duration = Duration::from_secs(1);
/// How long the rate takes to forget: long enough that the time left does not jump.
const RATE_MEMORY_SECONDS: f64 = 5.0;
/// How wide a terminal is that does not tell.
const USUAL_COLUMNS: u16 = 80;

/// A path is shown if there is room for so much of it.
const PATH_COLUMNS: usize = 12;
/// What stands for the beginning of a path that does not fit.
const ELLIPSIS: &str = "...";

/// What becomes of the paths that work passes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Paths {
    /// Nobody wants to hear of them.
    Hidden,
    /// They are told as the work goes on (`-stdio`).
    Shown,
    /// They are the result, as in a dry run: printed whatever the verbosity.
    Result,
}

/// Whether progress is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    /// As a line on the terminal, or as objects with `-json`.
    Shown,
    /// Not at all.
    Hidden,
}

/// Watches one piece of long work. Hand it to the core as its [`Observer`].
pub struct Watch {
    counters: Arc<Counters>,
    output: Arc<Output>,
    paths: Paths,
    progress: Progress,
    /// The path that work came by last, if progress is shown.
    current: Arc<Mutex<Vec<u8>>>,
    drawing: Mutex<Option<Drawing>>,
}

/// The thread that shows progress.
struct Drawing {
    /// Dropped to stop it.
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
    /// The path that work came by last.
    #[serde(flatten)]
    current: Option<JsonPath>,
    /// The same for people.
    #[serde(skip)]
    shown: String,
}

/// An object for one path.
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
    /// Begins to listen. Nothing is drawn before [`Watch::show`], so that a passphrase can
    /// be asked for in between.
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

    /// Shows progress from now on, where somebody looks.
    pub fn show(&self) {
        if !self.is_shown() {
            return;
        }
        let (stop, stopped) = channel();
        let (counters, output) = (self.counters.clone(), self.output.clone());
        let current = self.current.clone();
        let run = move || show_until(&stopped, &counters, &current, &output);
        // Progress is not worth failing for where no thread is to be had.
        let thread = thread::Builder::new().name("progress".into()).spawn(run);
        *self.drawing() = thread.ok().map(|thread| Drawing { stop, thread });
    }

    /// Stops showing progress and wipes the line.
    pub fn finish(&self) {
        let Some(Drawing { stop, thread }) = self.drawing().take() else {
            return;
        };
        drop(stop);
        // It prints and counts, and has nothing to report.
        let _ = thread.join();
        self.output.wipe();
    }

    fn drawing(&self) -> MutexGuard<'_, Option<Drawing>> {
        self.drawing.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Tells of one path where paths are wanted.
    fn path(&self, path: &[u8], action: &str, size_bytes: u64) {
        // The next path will do if this one would have to be waited for.
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
        // A reader that left is found out when the command prints its summary.
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

/// Shows progress at its pace until the other end of `stopped` is dropped.
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

/// How wide the terminal is that standard error goes to.
fn columns() -> u16 {
    let size = rustix::termios::tcgetwinsize(std::io::stderr());
    match size {
        // A terminal on a serial line, or in a script, has nobody who tells it how wide it is.
        Ok(size) if size.ws_col > 0 => size.ws_col,
        _ => USUAL_COLUMNS,
    }
}

/// As much of the end of `path` as fits into `columns`.
fn end_of(path: &str, columns: usize) -> String {
    // East Asian letters take two columns; that some others are narrower does not matter.
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

/// Bytes per second, smoothed exponentially.
#[derive(Default)]
struct Rate {
    bytes: u64,
    per_second: f64,
}

impl Rate {
    /// Takes in that the total is `bytes` now, `passed` after the last time.
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

    /// The progress line, at most one column less than `columns`: a line that
    /// fills the last column wraps on some terminals and is not wiped whole.
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
        // Two blanks in front of the path.
        let left = columns.saturating_sub(line.len() + 2);
        match self.shown.is_empty() || left < PATH_COLUMNS {
            true => line,
            false => format!("{line}  {}", end_of(&self.shown, left)),
        }
    }

    /// How much is done, if that is known.
    fn percent(&self) -> String {
        match self.expected_bytes {
            0 => String::new(),
            // What was expected was an estimate: there may turn out to be more.
            all => format!(
                "{}%",
                (u128::from(self.bytes) * 100 / u128::from(all)).min(100)
            ),
        }
    }
}

#[cfg(test)]
mod tests;

//! The summary of a backup, as one line or one object.

use std::fmt;
use std::time::Duration;

use serde::Serialize;

use crate::cli::wording::{counted, ratio};
use crate::ops::backup::Summary;
use crate::util::human;

/// Whether a snapshot was created.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Outcome {
    /// A snapshot was created.
    Stored,
    /// It was a dry run.
    Foreseen,
}

/// The summary of `plakar backup`.
#[derive(Serialize)]
pub(super) struct Done {
    command: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    snapshot: Option<String>,
    files: u64,
    files_new: u64,
    files_changed: u64,
    files_unchanged: u64,
    directories: u64,
    bytes: u64,
    read_bytes: u64,
    new_bytes: u64,
    stored_bytes: u64,
    pub(super) errors: u64,
    seconds: f64,
}

impl Done {
    pub(super) fn new(outcome: Outcome, summary: &Summary) -> Done {
        let snapshot = (outcome == Outcome::Stored).then(|| summary.snapshot.to_string());
        Done {
            command: "backup",
            snapshot,
            // A dry run computes no totals, so count the files that were visited.
            files: summary.files_new + summary.files_changed + summary.files_unchanged,
            files_new: summary.files_new,
            files_changed: summary.files_changed,
            files_unchanged: summary.files_unchanged,
            directories: summary.totals.directories,
            bytes: summary.totals.bytes,
            read_bytes: summary.read_bytes,
            new_bytes: summary.new_bytes,
            stored_bytes: summary.stored_bytes,
            errors: summary.errors,
            seconds: summary.duration.as_millis() as f64 / 1000.0,
        }
    }
}

impl fmt::Display for Done {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let files = counted(self.files, "file", "files");
        let (new, changed, same) = (self.files_new, self.files_changed, self.files_unchanged);
        let files = format!("{files} ({new} new, {changed} changed, {same} unchanged)");
        match &self.snapshot {
            None => write!(f, "backup: dry run: {files}")?,
            Some(snapshot) => {
                let directories = counted(self.directories, "directory", "directories");
                let (all, read) = (human::size(self.bytes), human::size(self.read_bytes));
                let stored = human::size(self.stored_bytes);
                write!(
                    f,
                    "backup: snapshot {}: {files}, {directories}, ",
                    &snapshot[..8]
                )?;
                write!(f, "{all}; read {read}, stored {stored}")?;
                write!(f, "{}", ratio(self.new_bytes, self.stored_bytes))?;
            }
        }
        if self.errors > 0 {
            write!(f, ", {}", counted(self.errors, "error", "errors"))?;
        }
        write!(
            f,
            " in {}",
            human::duration(Duration::from_secs_f64(self.seconds))
        )
    }
}

//! The summary of a restore, as one line or one object.

use std::fmt;
use std::time::Duration;

use serde::Serialize;

use crate::cli::wording::counted;
use crate::ops::restore::{Mode, Summary};
use crate::util::human;

/// The summary of `plakar restore`.
#[derive(Serialize)]
pub(super) struct Done {
    command: &'static str,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    dry_run: bool,
    target: String,
    files: u64,
    files_replaced: u64,
    files_identical: u64,
    files_kept: u64,
    directories: u64,
    bytes: u64,
    pub(super) errors: u64,
    seconds: f64,
}

impl Done {
    pub(super) fn new(mode: Mode, target: &str) -> Done {
        Done {
            command: "restore",
            dry_run: mode == Mode::DryRun,
            target: target.to_owned(),
            files: 0,
            files_replaced: 0,
            files_identical: 0,
            files_kept: 0,
            directories: 0,
            bytes: 0,
            errors: 0,
            seconds: 0.0,
        }
    }

    pub(super) fn add(&mut self, summary: &Summary) {
        self.files += summary.files;
        self.files_replaced += summary.replaced;
        self.files_identical += summary.identical;
        self.files_kept += summary.kept;
        self.directories += summary.directories;
        self.bytes += summary.bytes;
        self.errors += summary.errors;
        self.seconds += summary.duration.as_millis() as f64 / 1000.0;
    }
}

impl fmt::Display for Done {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let files = counted(self.files, "file", "files");
        let directories = counted(self.directories, "directory", "directories");
        let target = crate::util::printable::printable(self.target.as_bytes());
        let dry_run = if self.dry_run { "dry run: " } else { "" };
        write!(f, "restore: {dry_run}to {target}: {files}")?;
        if self.files_replaced > 0 {
            write!(f, " ({} replaced)", self.files_replaced)?;
        }
        write!(f, ", {directories}, {}", human::size(self.bytes))?;
        if self.files_identical > 0 {
            let files = counted(self.files_identical, "file", "files");
            write!(f, ", {files} there already")?;
        }
        if self.files_kept > 0 {
            let files = counted(self.files_kept, "existing file", "existing files");
            write!(f, ", {files} kept")?;
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

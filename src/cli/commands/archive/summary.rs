//! The summary of an archive, as one line or one object.

use std::fmt;
use std::path::Path;
use std::time::Duration;

use serde::Serialize;

use super::target::is_standard_output;
use crate::cli::Globals;
use crate::cli::escape::printable;
use crate::cli::output::Verbosity;
use crate::cli::wording::{counted, listed};
use crate::error::{Error, Kind, Result};
use crate::ops::archive::{Format, Missing, Summary};
use crate::util::{Id, human};

/// The summary of `plakar archive`.
#[derive(Serialize)]
pub(super) struct Done {
    command: &'static str,
    snapshot: String,
    output: String,
    format: &'static str,
    files: u64,
    directories: u64,
    bytes: u64,
    archive_bytes: u64,
    /// The number of sockets and similar files that the format cannot represent.
    left_out: u64,
    errors: u64,
    seconds: f64,
    #[serde(skip)]
    missing: Missing,
}

impl Done {
    pub(super) fn new(snapshot: Id, output: &Path, format: Format, summary: &Summary) -> Done {
        let missing = summary.missing;
        Done {
            command: "archive",
            snapshot: snapshot.to_string(),
            output: output.to_string_lossy().into_owned(),
            format: match format {
                Format::Tar => "tar",
                Format::Tarball => "tarball",
                Format::Zip => "zip",
            },
            files: summary.files,
            directories: summary.directories,
            bytes: summary.bytes,
            archive_bytes: summary.archive_bytes,
            left_out: missing.sockets + missing.fifos + missing.devices,
            errors: summary.errors,
            seconds: summary.duration.as_millis() as f64 / 1000.0,
            missing,
        }
    }

    /// A warning about metadata that the format cannot represent, if there was any.
    pub(super) fn not_kept(&self) -> Option<Error> {
        let missing = &self.missing;
        let words = listed(&[
            (missing.sockets, "socket", "sockets"),
            (missing.fifos, "FIFO", "FIFOs"),
            (missing.devices, "device", "devices"),
            (
                missing.xattrs,
                "set of extended attributes",
                "sets of extended attributes",
            ),
            (missing.flags, "set of inode flags", "sets of inode flags"),
            (
                missing.links,
                "hard link (a copy now)",
                "hard links (copies now)",
            ),
        ]);
        let format = self.format;
        let words = (!words.is_empty()).then_some(words)?;
        let cause = format!("{words} could not be kept: a {format} has no place for them");
        Some(Error::new(Kind::Unsupported, cause))
    }

    /// Prints the summary. If the archive itself is on standard output, prints it to standard
    /// error.
    pub(super) fn tell(&self, globals: &Globals, output: &Path) -> Result<()> {
        if !is_standard_output(output) {
            return globals.out.summary(self);
        }
        if globals.out.verbosity() == Verbosity::Normal {
            globals.out.message(&self.to_string());
        }
        Ok(())
    }
}

impl fmt::Display for Done {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let files = counted(self.files, "file", "files");
        let directories = counted(self.directories, "directory", "directories");
        let (all, written) = (human::size(self.bytes), human::size(self.archive_bytes));
        let output = printable(self.output.as_bytes());
        write!(
            f,
            "archive: {output}: {files}, {directories}, {all}; written {written}"
        )?;
        if self.errors > 0 {
            write!(f, ", {}", counted(self.errors, "error", "errors"))?;
        }
        let took = human::duration(Duration::from_secs_f64(self.seconds));
        write!(f, " in {took}")
    }
}

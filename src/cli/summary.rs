//! What a long command did, in one line or one object.

use std::fmt;
use std::time::Duration;

use serde::Serialize;

use super::status::Status;
use crate::kloset::progress::{Counters, read};
use crate::util::human;

/// The totals of one command. Print it with [`super::output::Output::summary`].
#[derive(Debug, Serialize)]
pub struct Summary {
    /// Which command.
    pub command: &'static str,
    /// The snapshot that was made, if any, in full.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub snapshot: Option<String>,
    /// Files dealt with.
    pub files: u64,
    /// Directories dealt with.
    pub directories: u64,
    /// Bytes of contents dealt with.
    pub bytes: u64,
    /// Bytes that went into the store.
    pub stored_bytes: u64,
    /// Items that failed.
    pub errors: u64,
    /// How long it took.
    pub seconds: f64,
}

impl Summary {
    pub(super) fn new(command: &'static str, counters: &Counters, elapsed: Duration) -> Summary {
        Summary {
            command,
            snapshot: None,
            files: read(&counters.files),
            directories: read(&counters.directories),
            bytes: read(&counters.bytes),
            stored_bytes: read(&counters.stored_bytes),
            errors: read(&counters.errors),
            seconds: elapsed.as_millis() as f64 / 1000.0,
        }
    }

    /// The same summary, of a command that made `snapshot`.
    pub fn of_snapshot(self, snapshot: impl Into<String>) -> Summary {
        Summary {
            snapshot: Some(snapshot.into()),
            ..self
        }
    }

    /// How the command ends.
    pub fn status(&self) -> Status {
        Status::partial_if(self.errors > 0)
    }
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: ", self.command)?;
        if let Some(snapshot) = &self.snapshot {
            write!(f, "snapshot {}: ", snapshot.get(..8).unwrap_or(snapshot))?;
        }
        let took = human::duration(Duration::from_secs_f64(self.seconds));
        let files = counted(self.files, "file", "files");
        let directories = counted(self.directories, "directory", "directories");
        write!(
            f,
            "{files}, {directories}, {} in {took}",
            human::size(self.bytes)
        )?;
        if self.stored_bytes > 0 {
            write!(f, ", {} stored", human::size(self.stored_bytes))?;
        }
        match self.errors {
            0 => Ok(()),
            errors => write!(f, ", {}", counted(errors, "error", "errors")),
        }
    }
}

/// `1 file`, `2 files`.
fn counted(count: u64, one: &str, many: &str) -> String {
    format!("{count} {}", if count == 1 { one } else { many })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kloset::progress::add;

    #[test]
    fn a_summary_reads_well_and_tells_of_errors() {
        let counters = Counters::default();
        add(&counters.files, 1);
        add(&counters.bytes, 2048);
        let summary = Summary::new("backup", &counters, Duration::from_millis(61_500));
        assert_eq!(
            summary.to_string(),
            "backup: 1 file, 0 directories, 2.0 KiB in 1m1s"
        );
        assert_eq!(summary.status(), Status::Success);
        add(&counters.stored_bytes, 1024);
        add(&counters.errors, 2);
        let summary = Summary::new("backup", &counters, Duration::ZERO).of_snapshot("0123456789");
        let expected = "backup: snapshot 01234567: 1 file, 0 directories, 2.0 KiB in 0s, 1.0 KiB stored, 2 errors";
        assert_eq!(summary.to_string(), expected);
        assert_eq!(summary.status(), Status::Partial);
    }
}

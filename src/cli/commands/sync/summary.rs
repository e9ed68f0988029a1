//! The output of a sync: one line for each snapshot, and a summary.

use std::fmt;
use std::time::Duration;

use serde::Serialize;

use crate::cli::escape::printable;
use crate::cli::wording::counted;
use crate::kloset::snapshot::Stored;
use crate::ops::sync::{Outcome, Summary};
use crate::util::human;

/// The direction of a sync.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Direction {
    /// From the store of the command to the other one.
    To,
    /// From the other store to the store of the command.
    From,
    /// In both directions.
    With,
}

/// One copied snapshot.
#[derive(Serialize)]
pub(super) struct Line {
    snapshot: String,
    time: String,
    outcome: &'static str,
    to: String,
    #[serde(skip)]
    base: String,
}

impl Line {
    /// The line of a snapshot. `None` if nothing was done, or if it failed and an error was
    /// printed.
    pub(super) fn new(stored: &Stored, outcome: Outcome, to: &str) -> Option<Line> {
        let outcome = match outcome {
            Outcome::Copied => "copied",
            Outcome::Revised => "relabelled",
            Outcome::Present | Outcome::Failed => return None,
        };
        Some(Line {
            snapshot: stored.snapshot.id.to_string(),
            time: human::time(stored.snapshot.time_ns),
            outcome,
            to: to.to_owned(),
            base: printable(&stored.snapshot.base()),
        })
    }
}

impl fmt::Display for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Line {
            snapshot,
            time,
            outcome,
            to,
            base,
        } = self;
        write!(f, "{outcome} {time} {} {base} to {to}", &snapshot[..8])
    }
}

/// The summary of `plakar sync`.
#[derive(Serialize)]
pub(super) struct Done {
    command: &'static str,
    direction: Direction,
    copied: u64,
    relabelled: u64,
    present: u64,
    pub(super) failed: u64,
    stored_bytes: u64,
    seconds: f64,
}

impl Done {
    /// An empty summary.
    pub(super) fn new(direction: Direction) -> Done {
        Done {
            command: "sync",
            direction,
            copied: 0,
            relabelled: 0,
            present: 0,
            failed: 0,
            stored_bytes: 0,
            seconds: 0.0,
        }
    }

    /// Adds the summary of one direction.
    pub(super) fn count(&mut self, summary: &Summary) {
        self.copied += summary.copied;
        self.relabelled += summary.revised;
        self.present += summary.present;
        self.failed += summary.failed;
        self.stored_bytes += summary.stored_bytes;
        self.seconds += summary.duration.as_millis() as f64 / 1000.0;
    }
}

impl fmt::Display for Done {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "sync: {} copied",
            counted(self.copied, "snapshot", "snapshots")
        )?;
        if self.relabelled > 0 {
            write!(f, ", {} relabelled", self.relabelled)?;
        }
        write!(f, ", {} there already", self.present)?;
        if self.failed > 0 {
            write!(f, ", {} failed", self.failed)?;
        }
        let took = human::duration(Duration::from_secs_f64(self.seconds));
        write!(f, "; stored {} in {took}", human::size(self.stored_bytes))
    }
}

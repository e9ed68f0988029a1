//! What a sync did, snapshot by snapshot and in all.

use std::fmt;
use std::time::Duration;

use serde::Serialize;

use crate::cli::escape::printable;
use crate::cli::wording::counted;
use crate::kloset::snapshot::Stored;
use crate::ops::sync::{Outcome, Summary};
use crate::util::human;

/// Which way snapshots go.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Direction {
    /// From the store that the command works at to the other.
    To,
    /// The other way.
    From,
    /// Both.
    With,
}

/// One snapshot that was copied.
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
    /// What is printed of a snapshot: nothing where nothing was done. A failure was told.
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

/// What is printed at the end.
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
    /// Nothing was done yet.
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

    /// Adds what was done one way.
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

//! What stops the copying of a snapshot, and of all of them.

use std::sync::Mutex;

use crate::error::{Error, Kind, Result};
use crate::kloset::pipeline::{Trouble, lock};
use crate::util::interrupt::Interrupt;
use crate::util::printable::printable;

/// Why a snapshot is not copied.
pub(super) enum Stop {
    /// Something that it needs is damaged or lost where it is: the others go on.
    Lost(Error),
    /// Whatever else is wrong would be so with the next one too.
    Fatal(Error),
}

impl From<Error> for Stop {
    fn from(error: Error) -> Stop {
        Stop::Fatal(error)
    }
}

impl Stop {
    /// The same, with the path it came about at.
    pub(super) fn at(self, path: &[u8]) -> Stop {
        match self {
            Stop::Lost(error) if path.is_empty() => Stop::Lost(error.during("/")),
            Stop::Lost(error) => Stop::Lost(error.during(printable(path))),
            fatal @ Stop::Fatal(_) => fatal,
        }
    }
}

/// An error of reading where the snapshot is: of one object, or of the store.
pub(super) fn lost(error: Error) -> Stop {
    match error.is_of_one_object() {
        true => Stop::Lost(error),
        false => Stop::Fatal(error),
    }
}

/// The trouble of the threads that copy one snapshot, which knows whether the others can go on.
pub(super) struct Course {
    pub(super) trouble: Trouble,
    lost: Mutex<Option<Error>>,
}

impl Course {
    /// No trouble yet.
    pub(super) fn new(interrupt: Interrupt) -> Course {
        Course {
            trouble: Trouble::new(interrupt),
            lost: Mutex::new(None),
        }
    }

    /// Takes the value of `result`, or notes why there is none.
    pub(super) fn note<T>(&self, result: Result<T, Stop>) -> Option<T> {
        match result {
            Ok(value) => Some(value),
            Err(Stop::Fatal(error)) => self.trouble.note(Err(error)),
            Err(Stop::Lost(error)) => {
                lock(&self.lost).get_or_insert(error);
                self.trouble.note(Err(Error::new(Kind::Failed, "lost")))
            }
        }
    }

    /// # Errors
    /// What was lost, if anything was; else the first error.
    pub(super) fn outcome(self) -> Result<(), Stop> {
        let lost = self.lost.into_inner();
        match lost.unwrap_or_else(std::sync::PoisonError::into_inner) {
            Some(error) => Err(Stop::Lost(error)),
            None => Ok(self.trouble.outcome()?),
        }
    }
}

//! Errors that stop the copy of one snapshot, and errors that stop the sync.

use std::sync::Mutex;

use crate::error::{Error, Kind, Result};
use crate::kloset::pipeline::{Trouble, lock};
use crate::util::interrupt::Interrupt;
use crate::util::printable::printable;

/// The reason why a snapshot is not copied.
pub(super) enum Stop {
    /// Data that it references is damaged or missing in the source; the sync continues.
    Lost(Error),
    /// An error that would affect the next snapshot too; the sync ends.
    Fatal(Error),
}

impl From<Error> for Stop {
    fn from(error: Error) -> Stop {
        Stop::Fatal(error)
    }
}

impl Stop {
    /// Adds the path at which the error occurred.
    pub(super) fn at(self, path: &[u8]) -> Stop {
        match self {
            Stop::Lost(error) if path.is_empty() => Stop::Lost(error.during("/")),
            Stop::Lost(error) => Stop::Lost(error.during(printable(path))),
            fatal @ Stop::Fatal(_) => fatal,
        }
    }
}

/// Classifies an error of reading in the source: it concerns one object, or the whole store.
pub(super) fn lost(error: Error) -> Stop {
    match error.is_of_one_object() {
        true => Stop::Lost(error),
        false => Stop::Fatal(error),
    }
}

/// The errors of the threads that copy one snapshot. Knows whether the sync can continue.
pub(super) struct Course {
    pub(super) trouble: Trouble,
    lost: Mutex<Option<Error>>,
}

impl Course {
    /// Creates a course without errors.
    pub(super) fn new(interrupt: Interrupt) -> Course {
        Course {
            trouble: Trouble::new(interrupt),
            lost: Mutex::new(None),
        }
    }

    /// Returns the value of `result`, or notes the error.
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
    /// The first [`Stop::Lost`] if there is one, otherwise the first error.
    pub(super) fn outcome(self) -> Result<(), Stop> {
        let lost = self.lost.into_inner();
        match lost.unwrap_or_else(std::sync::PoisonError::into_inner) {
            Some(error) => Err(Stop::Lost(error)),
            None => Ok(self.trouble.outcome()?),
        }
    }
}

//! How a command ended when it did not fail: it did everything, or only part, or it
//! found what it was asked to look for.
//!
//! Failing altogether is an [`crate::error::Error`], whose kind has an exit code.

use super::output::Output;
use crate::error::{Kind, Result};

/// What is left to tell about work that came to its end, the worst last.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Status {
    /// Everything was done.
    Success,
    /// Everything was done, and the answer is no: they differ, nothing was found.
    No,
    /// Some items failed and were reported; the others were done.
    Partial,
    /// What was looked at is damaged, and the damage was reported.
    Damaged,
}

impl Status {
    /// [`Status::Partial`] if `some_failed`.
    pub fn partial_if(some_failed: bool) -> Status {
        match some_failed {
            true => Status::Partial,
            false => Status::Success,
        }
    }

    /// [`Status::Damaged`] if `is_damaged`.
    pub fn damaged_if(is_damaged: bool) -> Status {
        match is_damaged {
            true => Status::Damaged,
            false => Status::Success,
        }
    }

    /// How a command ends whose answer may be [`Status::No`]: a failure without a code of its
    /// own would look like that answer, so it is told here and ends as partial.
    pub fn of_answer(outcome: Result<Status>, out: &Output) -> Result<Status> {
        let outcome = outcome.and_then(|status| out.flush().map(|()| status));
        match outcome {
            Err(error) if error.kind().exit_code() == Status::No.exit_code() => {
                if out.reader_left() {
                    return Err(error);
                }
                out.fatal(&error);
                Ok(Status::Partial)
            }
            outcome => outcome,
        }
    }

    /// The exit code. 3 is nobody else's: shells use 1, 2 and from 126 on,
    /// `sysexits.h` from 64 to 78.
    pub fn exit_code(self) -> u8 {
        match self {
            Status::Success => 0,
            Status::No => 1,
            Status::Partial => 3,
            Status::Damaged => Kind::Corrupt.exit_code(),
        }
    }
}

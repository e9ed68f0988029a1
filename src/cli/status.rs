//! The result of a command that did not fail: complete, partial, or a negative answer.
//!
//! A failed command returns a [`crate::error::Error`] instead, whose kind determines the exit code.

use super::output::Output;
use crate::error::{Kind, Result};

/// The result of completed work, in ascending order of severity.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Status {
    /// Everything was done.
    Success,
    /// Everything was done, and the answer is negative: the items differ, or nothing was found.
    No,
    /// Some items failed and were reported. The others were done.
    Partial,
    /// The checked data is damaged, and the damage was reported.
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

    /// Converts the outcome of a command whose answer can be [`Status::No`]. A failure whose exit
    /// code equals that of this answer would be mistaken for it, so it is printed here and becomes
    /// [`Status::Partial`].
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

    /// The exit code. No other convention uses 3: shells use 1, 2 and from 126 on, `sysexits.h`
    /// uses 64 to 78.
    pub fn exit_code(self) -> u8 {
        match self {
            Status::Success => 0,
            Status::No => 1,
            Status::Partial => 3,
            Status::Damaged => Kind::Corrupt.exit_code(),
        }
    }
}

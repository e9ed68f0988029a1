//! Items that failed during an operation. They are reported to the observer, counted, and recorded
//! for the snapshot.

use std::sync::Mutex;

use crate::error::Error;
use crate::kloset::pipeline::lock;
use crate::kloset::progress::{Event, Observer, add};
use crate::kloset::snapshot::{ERRORS_LIMIT, Failure};
use crate::util::human::shorten;
use crate::util::printable::printable;

/// Maximum length of a recorded path.
const PATH_LIMIT_BYTES: usize = 4096;
/// Maximum length of a recorded cause.
const CAUSE_LIMIT_BYTES: usize = 1024;

/// The failures of one backup or restore. Can be used from several threads.
pub struct Failures<'a> {
    observer: &'a dyn Observer,
    list: Mutex<(u64, Vec<Failure>)>,
}

impl<'a> Failures<'a> {
    /// Creates an empty list that reports to `observer`.
    pub fn new(observer: &'a dyn Observer) -> Failures<'a> {
        Failures {
            observer,
            list: Mutex::default(),
        }
    }

    /// Records that the item at `path` failed with `error`.
    pub fn add(&self, path: &[u8], error: &Error) {
        self.observer.event(&Event::Failed { path, error });
        add(&self.observer.counters().errors, 1);
        let (count, list) = &mut *lock(&self.list);
        *count += 1;
        if list.len() < ERRORS_LIMIT {
            let path = path[..path.len().min(PATH_LIMIT_BYTES)].to_vec();
            list.push(Failure {
                path,
                cause: shorten(&error.to_string(), CAUSE_LIMIT_BYTES).to_owned(),
            });
        }
    }

    /// Reports a warning about the item at `path`, which is not a failure.
    pub fn warn(&self, path: &[u8], error: &Error) {
        let error = error.clone().during(printable(path));
        self.observer.event(&Event::Warning(&error));
    }

    /// The number of failures, and the first [`ERRORS_LIMIT`] of them.
    pub fn into_list(self) -> (u64, Vec<Failure>) {
        self.list
            .into_inner()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

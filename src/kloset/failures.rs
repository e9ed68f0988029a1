//! Items that failed while the work went on: told to the observer, counted, and kept for a snapshot.

use std::sync::Mutex;

use crate::error::Error;
use crate::kloset::pipeline::lock;
use crate::kloset::progress::{Event, Observer, add};
use crate::kloset::snapshot::{ERRORS_LIMIT, Failure};
use crate::util::human::shorten;
use crate::util::printable::printable;

/// How much of a path is kept, in bytes.
const PATH_LIMIT_BYTES: usize = 4096;
/// How much of a cause is kept, in bytes.
const CAUSE_LIMIT_BYTES: usize = 1024;

/// The failures of one backup or restore. Any thread may add one.
pub struct Failures<'a> {
    observer: &'a dyn Observer,
    list: Mutex<(u64, Vec<Failure>)>,
}

impl<'a> Failures<'a> {
    /// None yet.
    pub fn new(observer: &'a dyn Observer) -> Failures<'a> {
        Failures {
            observer,
            list: Mutex::default(),
        }
    }

    /// The item at `path` failed.
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

    /// Something about the item at `path` is worth knowing, but no failure.
    pub fn warn(&self, path: &[u8], error: &Error) {
        let error = error.clone().during(printable(path));
        self.observer.event(&Event::Warning(&error));
    }

    /// How many there were, and the first of them.
    pub fn into_list(self) -> (u64, Vec<Failure>) {
        self.list
            .into_inner()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

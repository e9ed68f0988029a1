//! The prefetching thread, which runs many jobs at once over one connection.

use std::collections::HashMap;
use std::sync::PoisonError;

use super::job::{Asked, Asker, Done, Job, Step};
use super::state::Task;
use super::{Ahead, GLANCE};
use crate::error::{Kind, Result};
use crate::net::ssh::Endpoint;
use crate::net::ssh::bulk::Bulk;
use crate::net::ssh::message::Answer;

/// The number of concurrent jobs: up to 3,200 files per second at a round-trip time of 20 ms.
const JOBS_AT_ONCE: usize = 256;
/// The number of concurrent listings for which no caller waits.
const LISTINGS_AT_ONCE: usize = 64;

/// Runs until prefetching ends. If the connection is lost, opens a new one after a pause, when the
/// next task arrives.
pub(super) fn run(ahead: &Ahead, endpoint: &Endpoint) {
    while let Some(first) = next(ahead) {
        let outcome = Bulk::connect(endpoint);
        let outcome = outcome.and_then(|bulk| Worker::new(ahead, bulk).work(first));
        match outcome {
            // Prefetching has ended.
            Ok(()) => {}
            Err(cause) if cause.kind() == Kind::Interrupted => ahead.end(),
            // The callers do the pending work themselves, and report any error.
            Err(_) => ahead.lock().pause(),
        }
        ahead.done.notify_all();
    }
}

/// Waits for the next task. Returns `None` when prefetching has ended.
fn next(ahead: &Ahead) -> Option<Task> {
    let mut state = ahead.lock();
    loop {
        if state.is_over() {
            return None;
        }
        if let Some(task) = state.next(true) {
            return Some(task);
        }
        let waited = ahead.wanted.wait_timeout(state, GLANCE);
        state = waited.unwrap_or_else(PoisonError::into_inner).0;
    }
}

struct Worker<'a> {
    ahead: &'a Ahead,
    bulk: Bulk,
    jobs: HashMap<u64, Job>,
    /// The job and the kind of each pending request, by request number.
    asked: HashMap<u32, (u64, Asked)>,
    /// The number of the most recent job.
    job: u64,
}

impl<'a> Worker<'a> {
    fn new(ahead: &'a Ahead, bulk: Bulk) -> Worker<'a> {
        Worker {
            ahead,
            bulk,
            jobs: HashMap::new(),
            asked: HashMap::new(),
            job: 0,
        }
    }

    /// Runs tasks, beginning with `first`, until prefetching ends.
    ///
    /// # Errors
    /// The errors of the connection, which is unusable afterwards.
    fn work(&mut self, first: Task) -> Result<()> {
        self.begin(first);
        loop {
            self.begin_more();
            if self.asked.is_empty() {
                match next(self.ahead) {
                    Some(task) => self.begin(task),
                    None => return Ok(()),
                }
            }
            for (number, answer) in self.bulk.receive()? {
                self.take(number, answer);
            }
            self.ahead.done.notify_all();
        }
    }

    /// Starts jobs up to the limits.
    fn begin_more(&mut self) {
        let mut listings = self.jobs.values().filter(|job| job.is_listing()).count();
        while self.jobs.len() < JOBS_AT_ONCE {
            let task = self.ahead.lock().next(listings < LISTINGS_AT_ONCE);
            let Some(task) = task else {
                return;
            };
            listings += usize::from(matches!(task, Task::List { .. }));
            self.begin(task);
        }
    }

    fn begin(&mut self, task: Task) {
        self.job += 1;
        let mut asker = Asker {
            bulk: &mut self.bulk,
            asked: &mut self.asked,
            job: self.job,
        };
        let job = Job::begin(task, &mut asker);
        self.jobs.insert(self.job, job);
    }

    /// Passes a response to its job.
    fn take(&mut self, number: u32, answer: Answer) {
        let Some((number, asked)) = self.asked.remove(&number) else {
            return;
        };
        // The job may have failed while further requests were pending.
        let Some(job) = self.jobs.remove(&number) else {
            return;
        };
        let mut asker = Asker {
            bulk: &mut self.bulk,
            asked: &mut self.asked,
            job: number,
        };
        match job.take(asked, answer, &mut asker) {
            Step::Goes(job) => {
                self.jobs.insert(number, job);
            }
            Step::Ended(task, done) => self.note(&task, done),
        }
    }

    /// Records the result of a task.
    fn note(&self, task: &Task, done: Option<Done>) {
        let mut state = self.ahead.lock();
        match (task, done) {
            (Task::List { path, .. }, Some(Done::Listed(listed))) => {
                state.listed(path, Some(listed));
            }
            (Task::Fetch { path, .. }, Some(Done::File(file))) => state.fetched(path, Some(file)),
            (Task::List { path, .. }, _) => state.listed(path, None),
            (Task::Fetch { path, .. }, _) => state.fetched(path, None),
        }
    }
}

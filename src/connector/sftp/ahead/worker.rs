//! The thread that reads ahead: many jobs at once over one connection.

use std::collections::HashMap;
use std::sync::PoisonError;

use super::job::{Asked, Asker, Done, Job, Step};
use super::state::Task;
use super::{Ahead, GLANCE};
use crate::error::{Kind, Result};
use crate::net::ssh::Endpoint;
use crate::net::ssh::bulk::Bulk;
use crate::net::ssh::message::Answer;

/// Jobs under way at once: at 20 ms of delay, up to 3,200 files a second.
const JOBS_AT_ONCE: usize = 256;
/// How many of them list directories that nobody waits for yet.
const LISTINGS_AT_ONCE: usize = 64;

/// Reads ahead until that is over. A connection that was lost is made again after a pause, when
/// the next thing is wanted.
pub(super) fn run(ahead: &Ahead, endpoint: &Endpoint) {
    while let Some(first) = next(ahead) {
        let outcome = Bulk::connect(endpoint);
        let outcome = outcome.and_then(|bulk| Worker::new(ahead, bulk).work(first));
        match outcome {
            // It is over.
            Ok(()) => {}
            Err(cause) if cause.kind() == Kind::Interrupted => ahead.end(),
            // What was under way is done elsewhere, and tells what is the matter.
            Err(_) => ahead.lock().pause(),
        }
        ahead.done.notify_all();
    }
}

/// What is to be done next, as soon as there is something. Nothing when it is over.
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
    /// Which job asked what in the question of this number.
    asked: HashMap<u32, (u64, Asked)>,
    /// Of the job that was begun last.
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

    /// Does what is wanted, `first` before all, until that is over.
    ///
    /// # Errors
    /// Those of the connection, which is of no use after that.
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

    /// Begins as many jobs as may be under way.
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

    /// Hands an answer to the job that asked.
    fn take(&mut self, number: u32, answer: Answer) {
        let Some((number, asked)) = self.asked.remove(&number) else {
            return;
        };
        // One that failed may have asked more.
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

    /// Notes what a task came to.
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

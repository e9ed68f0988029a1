//! Common parts of thread pipelines: an error state that stops all threads, and channels with
//! several receivers.
//!
//! One rule prevents deadlocks. A stage that has failed continues to receive and discards what it
//! receives, so no sender blocks. The first stage calls [`Trouble::check`] and stops sending. So
//! every pipeline ends from its beginning, in order, no matter which stage failed.
//!
//! Work on a known list of independent items needs no pipeline; [`each_at_once`] does it.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use crate::error::{Error, Kind, Result};
use crate::util::interrupt::Interrupt;

/// How long a waiting thread sleeps before it checks again whether to stop.
const GLANCE: Duration = Duration::from_millis(100);

/// The first error of any thread. It stops all threads.
pub struct Trouble {
    interrupt: Interrupt,
    failed: AtomicBool,
    first: Mutex<Option<Error>>,
}

impl Trouble {
    /// Creates a state without an error. `interrupt` stops the threads too.
    pub fn new(interrupt: Interrupt) -> Trouble {
        Trouble {
            interrupt,
            failed: AtomicBool::new(false),
            first: Mutex::new(None),
        }
    }

    /// # Errors
    /// [`Kind::Interrupted`] if the user interrupted the work, or if another thread failed. In the
    /// latter case, [`Trouble::outcome`] returns the actual error.
    pub fn check(&self) -> Result<()> {
        match self.has_failed() {
            true => Err(Error::new(Kind::Interrupted, "stopped")),
            false => self.interrupt.check(),
        }
    }

    /// Whether a thread failed. An interrupt by the user is not a failure.
    pub fn has_failed(&self) -> bool {
        self.failed.load(Ordering::Relaxed)
    }

    /// Returns the value of `result`, or records its error.
    pub fn note<T>(&self, result: Result<T>) -> Option<T> {
        match result {
            Ok(value) => Some(value),
            Err(error) => {
                let mut first = lock(&self.first);
                if error.kind() != Kind::Interrupted {
                    self.failed.store(true, Ordering::Relaxed);
                }
                let worse = first
                    .as_ref()
                    .is_none_or(|first| first.kind() == Kind::Interrupted);
                if worse {
                    *first = Some(error);
                }
                None
            }
        }
    }

    /// # Errors
    /// The first recorded error. An interrupt by the user is returned only if there is no other
    /// error, and without the context of the interrupted work.
    pub fn outcome(&self) -> Result<()> {
        match lock(&self.first).take() {
            Some(error) if error.kind() != Kind::Interrupted => Err(error),
            stopped => {
                self.interrupt.check()?;
                stopped.map_or(Ok(()), Err)
            }
        }
    }
}

/// The receiving end of a channel, shared by several threads.
pub struct Shared<T>(Mutex<Receiver<T>>);

impl<T> Shared<T> {
    /// The next value, or `None` after all senders were dropped.
    pub fn next(&self) -> Option<T> {
        lock(&self.0).recv().ok()
    }
}

/// Creates a channel for `capacity` values with several receivers.
pub fn shared_channel<T>(capacity: usize) -> (SyncSender<T>, Shared<T>) {
    let (sender, receiver) = sync_channel(capacity);
    (sender, Shared(Mutex::new(receiver)))
}

/// # Errors
/// [`Kind::Interrupted`] if all receivers were dropped.
pub fn send<T>(sender: &SyncSender<T>, value: T) -> Result<()> {
    sender
        .send(value)
        .map_err(|_| Error::new(Kind::Interrupted, "stopped"))
}

/// Limits how far the numbering of items can run ahead of their completion: to `size` items.
pub struct Window {
    size: u64,
    completed: Mutex<u64>,
    moved: Condvar,
}

impl Window {
    /// Creates a window of `size` items, numbered from 0.
    pub fn new(size: u64) -> Window {
        Window {
            size,
            completed: Mutex::new(0),
            moved: Condvar::new(),
        }
    }

    /// Waits until `number` is within the window. Returns the error of [`Trouble::check`].
    pub fn wait_for(&self, number: u64, trouble: &Trouble) -> Result<()> {
        let mut completed = lock(&self.completed);
        while number >= *completed + self.size {
            trouble.check()?;
            completed = self
                .moved
                .wait_timeout(completed, GLANCE)
                .unwrap_or_else(PoisonError::into_inner)
                .0;
        }
        Ok(())
    }

    /// Waits until all items below `number` are complete. Returns the error of [`Trouble::check`].
    pub fn wait_for_all_below(&self, number: u64, trouble: &Trouble) -> Result<()> {
        match number {
            0 => Ok(()),
            _ => self.wait_for(number + self.size - 1, trouble),
        }
    }

    /// Records that all items below `number` are complete.
    pub fn move_to(&self, number: u64) {
        *lock(&self.completed) = number;
        self.moved.notify_all();
    }
}

/// Calls `work` with every item, in up to `threads` threads and in any order. Used to run several
/// calls to a store concurrently. With one thread, the items are handled in order on the calling
/// thread.
///
/// # Errors
/// Those of `work`. The first one stops all threads.
pub fn each_at_once<T: Sync>(
    items: &[T],
    threads: usize,
    work: impl Fn(&T) -> Result<()> + Sync,
) -> Result<()> {
    let next = AtomicUsize::new(0);
    let failed = AtomicBool::new(false);
    let worker = || -> Result<()> {
        while let Some(item) = items.get(next.fetch_add(1, Ordering::Relaxed)) {
            if failed.load(Ordering::Relaxed) {
                return Ok(());
            }
            work(item).inspect_err(|_| failed.store(true, Ordering::Relaxed))?;
        }
        Ok(())
    };
    thread::scope(|scope| {
        let others = (1..threads.min(items.len())).map(|_| scope.spawn(worker));
        let others: Vec<_> = others.collect();
        let own = worker();
        let join = |other: thread::ScopedJoinHandle<'_, Result<()>>| {
            other.join().expect("a worker does not panic")
        };
        others.into_iter().map(join).fold(own, Result::and)
    })
}

/// Locks `mutex` even if a thread panicked while it held the lock. The values guarded by these
/// locks are consistent at all times.
pub fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_error_wins_over_those_it_caused() {
        let trouble = Trouble::new(Interrupt::default());
        trouble.note::<()>(Err(Error::new(Kind::Interrupted, "stopped")));
        assert!(!trouble.has_failed());
        trouble.note::<()>(Err(Error::new(Kind::NoSpace, "full")));
        trouble.note::<()>(Err(Error::new(Kind::Failed, "later")));
        assert!(trouble.check().is_err());
        assert_eq!(trouble.outcome().unwrap_err().kind(), Kind::NoSpace);
    }

    #[test]
    fn an_interrupt_is_told_as_one_whoever_noticed_first() {
        let interrupt = Interrupt::default();
        let trouble = Trouble::new(interrupt.clone());
        interrupt.set();
        trouble.note::<()>(Err(Error::new(Kind::Interrupted, "stopped")));
        assert_eq!(trouble.outcome().unwrap_err().to_string(), "interrupted");
    }

    #[test]
    fn all_is_done_once_and_the_first_error_stops_it() {
        let items: Vec<usize> = (0..100).collect();
        for threads in [1, 3, 200] {
            let done = Mutex::new(Vec::new());
            let work = |item: &usize| {
                lock(&done).push(*item);
                Ok(())
            };
            each_at_once(&items, threads, work).unwrap();
            let mut done = done.into_inner().unwrap();
            done.sort_unstable();
            assert_eq!(done, items);
        }
        let tried = AtomicUsize::new(0);
        let failing = |_: &usize| {
            tried.fetch_add(1, Ordering::Relaxed);
            Err(Error::new(Kind::Failed, "no"))
        };
        assert!(each_at_once(&items, 2, failing).is_err());
        assert!(tried.into_inner() <= 2);
    }

    #[test]
    fn a_window_lets_no_one_run_ahead() {
        let (window, trouble) = (Window::new(2), Trouble::new(Interrupt::default()));
        window.wait_for(1, &trouble).unwrap();
        window.wait_for_all_below(0, &trouble).unwrap();
        std::thread::scope(|scope| {
            let waiting = scope.spawn(|| window.wait_for(2, &trouble));
            let for_all = scope.spawn(|| window.wait_for_all_below(1, &trouble));
            window.move_to(1);
            waiting.join().unwrap().unwrap();
            for_all.join().unwrap().unwrap();
        });
        trouble.note::<()>(Err(Error::new(Kind::Failed, "stop")));
        assert!(window.wait_for(9, &trouble).is_err());
        assert!(window.wait_for_all_below(2, &trouble).is_err());
    }
}

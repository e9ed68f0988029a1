//! Retries after a lost or refused connection, for all protocols.
//!
//! The policy and its reasons:
//!
//! - Only [`Kind::Unavailable`] is retried, and only operations that can be repeated: the operation
//!   reports this by the [`Failure`] that it returns. All other errors would occur again.
//! - Until the server has responded once, there are three attempts within about one second: a
//!   misspelled host name, or a server that is not running, is reported promptly.
//! - After that, the pause starts at half a second and doubles up to 15 seconds, for about one
//!   minute in total. By then a restarted server or router is available again, and a backup of
//!   several hours continues. A longer outage is reported, because it may require manual action.
//! - Each pause varies randomly by up to a quarter, so that threads and hosts that were
//!   disconnected together do not reconnect simultaneously.
//! - A delay requested by the server (`Retry-After`) is respected, up to one minute.
//! - An outage of less than a second is not reported. A longer one is reported once, however many
//!   threads are waiting, and again only after an operation has succeeded.
//! - A sleeping thread checks for an interrupt request every tenth of a second.
//!
//! This module does not know the operations that it retries.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use crate::error::{Error, Kind, Result};
use crate::util::interrupt::Interrupt;

/// The longest sleep between two checks of the interrupt flag.
const NAP: Duration = Duration::from_millis(100);
/// The longest pause that a server can request.
const LONGEST_WISH: Duration = Duration::from_secs(60);
/// The shortest pause that is reported.
const TOLD_FROM: Duration = Duration::from_secs(1);

/// Receives the report of a pause.
pub type Notice = Arc<dyn Fn(&Error) + Send + Sync>;

/// Why an attempt failed, and whether a retry makes sense.
#[derive(Debug)]
pub enum Failure {
    /// The error would occur again, or the operation must not be repeated.
    Final(Error),
    /// A retry may succeed.
    Again {
        /// The error of this attempt.
        error: Error,
        /// The delay that the server requested. `Some` implies that the server has responded.
        after: Option<Duration>,
    },
}

impl Failure {
    /// Returns the error, whether or not it can be retried.
    pub fn into_error(self) -> Error {
        match self {
            Failure::Final(error) | Failure::Again { error, .. } => error,
        }
    }

    /// Adds `doing` as outer context to the error.
    pub fn during(self, doing: impl Into<String>) -> Failure {
        match self {
            Failure::Final(error) => Failure::Final(error.during(doing)),
            Failure::Again { error, after } => Failure::Again {
                error: error.during(doing),
                after,
            },
        }
    }
}

/// For operations that can be repeated.
impl From<Error> for Failure {
    fn from(error: Error) -> Failure {
        match error.kind() {
            Kind::Unavailable => Failure::Again { error, after: None },
            _ => Failure::Final(error),
        }
    }
}

/// How often and for how long an operation is retried.
#[derive(Clone, Copy, Debug)]
pub struct Tries {
    /// The pause after the first attempt. Each further pause is twice as long.
    pub first_pause: Duration,
    /// The pause at which the doubling stops.
    pub longest_pause: Duration,
    /// The time after the first failure during which further attempts may start.
    pub patience: Duration,
    /// The maximum number of attempts, including the first one.
    pub most: u32,
}

/// The timeouts and retry limits for a server.
#[derive(Clone, Copy, Debug)]
pub struct Patience {
    /// The timeout for connecting to one address.
    pub connect: Duration,
    /// The timeout for the start of a response. It is long, because the disks of a small server may
    /// have to spin up and to write 16 MiB first.
    pub answer: Duration,
    /// The timeout for bytes during a transfer.
    pub stall: Duration,
    /// The retries until the server has responded once.
    pub at_first: Tries,
    /// The retries after that.
    pub later: Tries,
}

impl Default for Patience {
    fn default() -> Patience {
        Patience {
            connect: Duration::from_secs(10),
            answer: Duration::from_secs(120),
            stall: Duration::from_secs(30),
            at_first: Tries {
                first_pause: Duration::from_millis(300),
                longest_pause: Duration::from_millis(600),
                patience: Duration::from_secs(30),
                most: 3,
            },
            later: Tries {
                first_pause: Duration::from_millis(500),
                longest_pause: Duration::from_secs(15),
                patience: Duration::from_secs(75),
                most: 10,
            },
        }
    }
}

impl Tries {
    /// Returns the pause before the next attempt, or `None` if there is no further attempt.
    /// `failed` attempts have taken `elapsed` since the first failure.
    fn pause(&self, failed: u32, wish: Option<Duration>, elapsed: Duration) -> Option<Duration> {
        let doubled = self.first_pause * 2u32.saturating_pow((failed - 1).min(16));
        let pause = doubled.min(self.longest_pause);
        let pause = pause.max(wish.unwrap_or_default().min(LONGEST_WISH));
        (failed < self.most && elapsed + pause <= self.patience).then_some(pause)
    }
}

/// Retries operations according to the policy of this module. One instance per store or server,
/// shared by its threads.
pub struct Retry {
    at_first: Tries,
    later: Tries,
    interrupt: Interrupt,
    notice: Notice,
    has_answered: AtomicBool,
    /// Whether the current outage was reported.
    is_told: Mutex<bool>,
}

impl Retry {
    /// Creates an instance with the limits of `patience`. Stops when `interrupt` is set, and
    /// reports pauses to `notice`.
    pub fn new(patience: &Patience, interrupt: Interrupt, notice: Notice) -> Retry {
        Retry {
            at_first: patience.at_first,
            later: patience.later,
            interrupt,
            notice,
            has_answered: AtomicBool::new(false),
            is_told: Mutex::new(false),
        }
    }

    /// Runs `attempt` and repeats it according to the policy.
    ///
    /// # Errors
    /// The error of the last attempt; [`Kind::Interrupted`] if the user requested a stop.
    pub fn run<T>(&self, mut attempt: impl FnMut() -> Result<T, Failure>) -> Result<T> {
        let mut failed = 0;
        let mut since = None;
        loop {
            let (error, after) = match attempt() {
                Ok(done) => {
                    self.it_answered();
                    return Ok(done);
                }
                Err(Failure::Final(error)) => {
                    if error.kind() != Kind::Interrupted {
                        self.has_answered.store(true, Ordering::Relaxed);
                    }
                    return Err(error);
                }
                Err(Failure::Again { error, after }) => {
                    // After an interrupt request the attempt failed only because its waits were cut
                    // short.
                    self.interrupt.check()?;
                    (error, after)
                }
            };
            failed += 1;
            if after.is_some() {
                self.has_answered.store(true, Ordering::Relaxed);
            }
            let elapsed = since.get_or_insert_with(Instant::now).elapsed();
            match self.tries().pause(failed, after, elapsed) {
                None => return Err(error),
                Some(pause) => self.wait(&error, pause)?,
            }
        }
    }

    fn tries(&self) -> &Tries {
        match self.has_answered.load(Ordering::Relaxed) {
            true => &self.later,
            false => &self.at_first,
        }
    }

    fn it_answered(&self) {
        self.has_answered.store(true, Ordering::Relaxed);
        *self.is_told.lock().unwrap_or_else(PoisonError::into_inner) = false;
    }

    /// Sleeps for about `pause`, with checks for interrupt requests.
    fn wait(&self, error: &Error, pause: Duration) -> Result<()> {
        self.interrupt.check()?;
        self.tell(error, pause);
        let until = Instant::now() + by_chance(pause);
        loop {
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Ok(());
            }
            thread::sleep(left.min(NAP));
            self.interrupt.check()?;
        }
    }

    /// Reports the pause, unless it is short or the outage was reported already.
    fn tell(&self, error: &Error, pause: Duration) {
        if pause < TOLD_FROM {
            return;
        }
        let mut is_told = self.is_told.lock().unwrap_or_else(PoisonError::into_inner);
        if !std::mem::replace(&mut *is_told, true) {
            let seconds = pause.as_secs_f64().round();
            let words = format!("{error}; trying again in {seconds}s");
            (self.notice)(&Error::new(Kind::Unavailable, words));
        }
    }
}

/// Varies `pause` randomly by up to a quarter.
fn by_chance(pause: Duration) -> Duration {
    let mut random = [0; 2];
    // Without randomness the only consequence is simultaneous reconnects.
    let _ = getrandom::fill(&mut random);
    let part = f64::from(u16::from_le_bytes(random)) / f64::from(u16::MAX);
    pause.mul_f64(0.75 + part / 2.0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::Cell;

    const SHORT: Tries = Tries {
        first_pause: Duration::from_millis(1),
        longest_pause: Duration::from_millis(2),
        patience: Duration::from_secs(60),
        most: 5,
    };

    fn retry(later: Tries) -> (Retry, Arc<Mutex<Vec<String>>>) {
        let told = Arc::new(Mutex::new(Vec::new()));
        let heard = told.clone();
        let notice = move |error: &Error| heard.lock().unwrap().push(error.to_string());
        let at_first = Tries { most: 3, ..SHORT };
        let patience = Patience {
            at_first,
            later,
            ..Patience::default()
        };
        let retry = Retry::new(&patience, Interrupt::default(), Arc::new(notice));
        (retry, told)
    }

    fn lost() -> Failure {
        Error::new(Kind::Unavailable, "connection refused").into()
    }

    /// Counts the attempts until `retry` gives up.
    fn tries(retry: &Retry, failure: impl Fn() -> Failure) -> u32 {
        let tries = Cell::new(0);
        let attempt = || -> Result<(), Failure> {
            tries.set(tries.get() + 1);
            Err(failure())
        };
        assert!(retry.run(attempt).is_err());
        tries.get()
    }

    #[test]
    fn who_never_answered_is_given_up_soon_and_who_did_is_not() {
        let (retry, _) = retry(SHORT);
        assert_eq!(tries(&retry, lost), 3);
        retry.run(|| Ok(())).unwrap();
        assert_eq!(tries(&retry, lost), 5);
    }

    #[test]
    fn what_would_fail_again_is_not_tried_again() {
        let (retry, _) = retry(SHORT);
        for kind in [Kind::Denied, Kind::Corrupt, Kind::NotFound, Kind::Failed] {
            assert_eq!(tries(&retry, || Error::new(kind, "no").into()), 1);
        }
        let unrepeatable = || Failure::Final(Error::new(Kind::Unavailable, "lost"));
        assert_eq!(tries(&retry, unrepeatable), 1);
    }

    #[test]
    fn pauses_double_up_to_a_limit_and_end() {
        let later = Patience::default().later;
        let pauses = |wish| {
            let mut elapsed = Duration::ZERO;
            let mut pauses = Vec::new();
            while let Some(pause) = later.pause(pauses.len() as u32 + 1, wish, elapsed) {
                elapsed += pause;
                pauses.push(pause.as_secs_f64());
            }
            pauses
        };
        assert_eq!(pauses(None), [0.5, 1.0, 2.0, 4.0, 8.0, 15.0, 15.0, 15.0]);
        assert_eq!(
            pauses(Some(Duration::from_secs(30))),
            [30.0, 30.0, 15.0][..2]
        );
        assert_eq!(pauses(Some(Duration::from_secs(1_000_000))), [60.0]);
    }

    #[test]
    fn an_outage_is_told_once_and_the_next_one_again() {
        let longer = Tries {
            first_pause: TOLD_FROM,
            most: 2,
            ..SHORT
        };
        let (retry, told) = retry(longer);
        retry.run(|| Ok(())).unwrap();
        // Reports do not depend on the duration of the sleep.
        let error = lost().into_error().during("http://nas:9876");
        for outage in 1..=2 {
            for _thread in 0..3 {
                retry.tell(&error, Duration::from_secs(2));
                retry.tell(&error, Duration::from_millis(500));
            }
            let words = "http://nas:9876: connection refused; trying again in 2s";
            assert_eq!(*told.lock().unwrap(), vec![words; outage]);
            retry.run(|| Ok(())).unwrap();
        }
    }

    #[test]
    fn nobody_waits_for_an_interrupted_command() {
        let long = Tries {
            first_pause: Duration::from_secs(3600),
            longest_pause: Duration::from_secs(3600),
            patience: Duration::from_secs(7200),
            most: 5,
        };
        let (retry, _) = retry(long);
        retry.run(|| Ok(())).unwrap();
        let attempt = || -> Result<(), Failure> {
            retry.interrupt.set();
            Err(lost())
        };
        let error = retry.run(attempt).unwrap_err();
        assert_eq!(error.kind(), Kind::Interrupted);
    }
}

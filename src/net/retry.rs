//! Trying again: what is done about a connection that was lost or refused, for every protocol.
//!
//! The policy, and why:
//!
//! - Only [`Kind::Unavailable`] is tried again, and only what may be repeated: whoever makes
//!   the try says so by the [`Failure`] it returns. Everything else would fail once more.
//! - Until the other side has answered once, three tries within about a second: a host that
//!   was misspelt, or a server that is not running, is told at once.
//! - Once it has answered, pauses grow from half a second by doubling, up to a quarter of a
//!   minute, for about a minute in all: a server that is restarted, or a router, is back by
//!   then, and a backup of hours goes on. A store that stays away longer is told, since
//!   somebody may have to look after it.
//! - Each pause is longer or shorter by up to a quarter, by chance, so that threads and
//!   machines that were cut off together do not come back together.
//! - A server that says when to come (`Retry-After`) is believed, up to a minute.
//! - What is over within a second is not worth a line. Of anything longer the user hears once,
//!   however many threads wait for the same thing, and again only after it had worked.
//! - Nobody sleeps longer than a tenth of a second without looking whether the user wants to stop.
//!
//! Nothing here knows what is tried.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use crate::error::{Error, Kind, Result};
use crate::util::interrupt::Interrupt;

/// The longest sleep before the next look at the interrupt.
const NAP: Duration = Duration::from_millis(100);
/// The longest pause that a server can ask for.
const LONGEST_WISH: Duration = Duration::from_secs(60);
/// Shorter pauses are not told.
const TOLD_FROM: Duration = Duration::from_secs(1);

/// Who hears of a pause.
pub type Notice = Arc<dyn Fn(&Error) + Send + Sync>;

/// Why a try failed, and whether another makes sense.
#[derive(Debug)]
pub enum Failure {
    /// It would fail again, or must not be repeated.
    Final(Error),
    /// Another try may do better.
    Again {
        /// What went wrong in this one.
        error: Error,
        /// When the other side wants to be asked again. It did answer, then.
        after: Option<Duration>,
    },
}

impl Failure {
    /// The error, whatever is made of it.
    pub fn into_error(self) -> Error {
        match self {
            Failure::Final(error) | Failure::Again { error, .. } => error,
        }
    }

    /// The same with what was being done.
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

/// Of what may be repeated.
impl From<Error> for Failure {
    fn from(error: Error) -> Failure {
        match error.kind() {
            Kind::Unavailable => Failure::Again { error, after: None },
            _ => Failure::Final(error),
        }
    }
}

/// How often something is tried, and for how long.
#[derive(Clone, Copy, Debug)]
pub struct Tries {
    /// The pause after the first try. Each later one is twice as long.
    pub first_pause: Duration,
    /// The longest pause.
    pub longest_pause: Duration,
    /// No try begins later than this after the first failure.
    pub patience: Duration,
    /// How often at most, the first try included.
    pub most: u32,
}

/// How long the other side is waited for.
#[derive(Clone, Copy, Debug)]
pub struct Patience {
    /// For a connection to each address.
    pub connect: Duration,
    /// For the beginning of an answer. Long, since disks of small servers may have to wake up
    /// and to write 16 MiB first.
    pub answer: Duration,
    /// For bytes, while many of them are on their way.
    pub stall: Duration,
    /// Until the other side has answered once.
    pub at_first: Tries,
    /// Afterwards.
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
    /// The pause before the next try, or none if there is none: `failed` tries took `elapsed`
    /// since the first failure.
    fn pause(&self, failed: u32, wish: Option<Duration>, elapsed: Duration) -> Option<Duration> {
        let doubled = self.first_pause * 2u32.saturating_pow((failed - 1).min(16));
        let pause = doubled.min(self.longest_pause);
        let pause = pause.max(wish.unwrap_or_default().min(LONGEST_WISH));
        (failed < self.most && elapsed + pause <= self.patience).then_some(pause)
    }
}

/// Tries things again, as told above. One for each place, shared by its threads.
pub struct Retry {
    at_first: Tries,
    later: Tries,
    interrupt: Interrupt,
    notice: Notice,
    has_answered: AtomicBool,
    /// Whether the user was told of the outage that is on.
    is_told: Mutex<bool>,
}

impl Retry {
    /// Waits as `patience` says and until `interrupt` is set; tells `notice`.
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

    /// What `attempt` comes to, tried again as long as that makes sense.
    ///
    /// # Errors
    /// Those of the last try; [`Kind::Interrupted`] when the user wants to stop.
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
                    // Whoever is asked to stop fails for want of patience only.
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

    /// Sleeps for about `pause`, in naps.
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

    /// Tells of the pause, unless it is short or somebody has told already.
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

/// `pause`, longer or shorter by up to a quarter.
fn by_chance(pause: Duration) -> Duration {
    let mut random = [0; 2];
    // Without randomness nothing worse happens than that all come back at once.
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

    /// How many tries it takes to give up.
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
        // What is told does not depend on how long is slept.
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

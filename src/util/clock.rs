//! The clocks of this machine.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rustix::time::{ClockId, clock_gettime};

/// Nanoseconds since 1970, by this machine's clock; 0 if it stands before that.
pub fn now_ns() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    i64::try_from(since.unwrap_or_default().as_nanos()).unwrap_or(i64::MAX)
}

/// Tells how long ago it was started. Nobody can set it, and it goes on while the machine
/// sleeps, which [`std::time::Instant`] does not: a laptop may be closed for a week.
#[derive(Clone, Copy, Debug)]
pub struct Stopwatch(Duration);

impl Stopwatch {
    /// Starts now.
    pub fn start() -> Stopwatch {
        Stopwatch(since_boot())
    }

    /// One that was started so long ago, for tests that cannot wait.
    #[cfg(test)]
    pub(crate) fn started(ago: Duration) -> Stopwatch {
        Stopwatch(
            since_boot()
                .checked_sub(ago)
                .expect("the machine was on then"),
        )
    }

    /// How long ago that was.
    pub fn elapsed(&self) -> Duration {
        since_boot().saturating_sub(self.0)
    }
}

/// How long this machine has been on, asleep or not.
fn since_boot() -> Duration {
    let time = clock_gettime(ClockId::Boottime);
    let seconds = u64::try_from(time.tv_sec).unwrap_or(0);
    Duration::new(seconds, u32::try_from(time.tv_nsec).unwrap_or(0))
}

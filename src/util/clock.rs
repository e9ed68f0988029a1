//! The clocks of the local system.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rustix::time::{ClockId, clock_gettime};

/// The current time in nanoseconds since 1970, or 0 if the clock is set to an earlier time.
pub fn now_ns() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    i64::try_from(since.unwrap_or_default().as_nanos()).unwrap_or(i64::MAX)
}

/// Measures elapsed time. Unaffected by changes of the system time, and, unlike
/// [`std::time::Instant`], includes the time during which the system is suspended: a laptop may be
/// suspended for a week.
#[derive(Clone, Copy, Debug)]
pub struct Stopwatch(Duration);

impl Stopwatch {
    /// Starts measuring.
    pub fn start() -> Stopwatch {
        Stopwatch(since_boot())
    }

    /// Returns a stopwatch that was started `ago`, for tests that cannot wait.
    #[cfg(test)]
    pub(crate) fn started(ago: Duration) -> Stopwatch {
        Stopwatch(
            since_boot()
                .checked_sub(ago)
                .expect("the machine was on then"),
        )
    }

    /// The time since the start.
    pub fn elapsed(&self) -> Duration {
        since_boot().saturating_sub(self.0)
    }
}

/// The time since the system was booted, including suspended time.
fn since_boot() -> Duration {
    let time = clock_gettime(ClockId::Boottime);
    let seconds = u64::try_from(time.tv_sec).unwrap_or(0);
    Duration::new(seconds, u32::try_from(time.tv_nsec).unwrap_or(0))
}

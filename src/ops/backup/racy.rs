//! Files that changed just before they were read.
//!
//! The kernel sets the times of a file to the time of its last tick, so two writes within one tick
//! result in the same times. If a file is read between them, it looks unchanged from then on, and the
//! second write is in no snapshot. (Git calls this racily clean.) There are two remedies:
//!
//! Most file systems record fractions of a second, and ticks are at most 10 ms apart. Then the reader
//! waits until the last change is a little older than that. A write during the wait is read, and a
//! later write gets another time. One wait suffices for all files that exist by then, so waits are
//! rare.
//!
//! If times are whole seconds (or even seconds, on FAT), waiting would take too long. The file is
//! read, and its entry is marked as [recent](crate::format::entry::Entry::recent), so that the next
//! backup reads it again.
//!
//! Both remedies use the clock of this machine. If the file system is on another machine whose clock
//! differs by more than these margins, such a change can still be missed.

use std::thread;
use std::time::Duration;

use crate::connector::Metadata;
use crate::util::clock::now_ns;

const SECOND_NS: i64 = 1_000_000_000;
/// Twice the longest tick.
const TICK_NS: i64 = 20_000_000;
/// The resolution of times on FAT.
const COARSE_NS: i64 = 2 * SECOND_NS;

/// Must be called before a file is read, with `metadata` of the file. Waits briefly if that helps.
/// Returns whether a change during or after reading might not be visible in the times.
pub(super) fn settle(metadata: &Metadata) -> bool {
    let times = [metadata.mtime_ns, metadata.ctime_ns];
    let now_ns = now_ns();
    let wait_ns = times.into_iter().filter_map(|time| wait_ns(time, now_ns));
    if let Some(wait_ns) = wait_ns.max() {
        thread::sleep(Duration::from_nanos(wait_ns));
    }
    times
        .into_iter()
        .any(|time| is_coarse_and_recent(time, now_ns))
}

/// How long to wait until a change would be visible in a time with fractions.
fn wait_ns(time_ns: i64, now_ns: i64) -> Option<u64> {
    let is_near = time_ns.abs_diff(now_ns) < TICK_NS.unsigned_abs();
    (time_ns % SECOND_NS != 0 && is_near)
        .then(|| (time_ns.saturating_add(TICK_NS) - now_ns).unsigned_abs())
}

/// Whether a change might not be visible in a time without fractions.
fn is_coarse_and_recent(time_ns: i64, now_ns: i64) -> bool {
    time_ns % SECOND_NS == 0 && time_ns.abs_diff(now_ns) <= COARSE_NS.unsigned_abs()
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW_NS: i64 = 1_000_000_000_500_000_000;

    #[test]
    fn no_wait_is_longer_than_two_ticks_and_none_is_for_nothing() {
        for off_ns in [-TICK_NS + 1, -1, 0, 1, TICK_NS - 1] {
            let wait_ns = wait_ns(NOW_NS + off_ns, NOW_NS).unwrap();
            assert_eq!(i64::try_from(wait_ns).unwrap(), TICK_NS + off_ns);
        }
        for time_ns in [NOW_NS - TICK_NS, NOW_NS + TICK_NS, 0, 1, i64::MIN, i64::MAX] {
            assert_eq!(wait_ns(time_ns, NOW_NS), None);
        }
    }

    #[test]
    fn whole_seconds_are_recent_for_two_of_them() {
        let second_ns = NOW_NS - NOW_NS % SECOND_NS;
        for (seconds, recent) in [(-2, false), (-1, true), (0, true), (2, true), (3, false)] {
            let time_ns = second_ns + seconds * SECOND_NS;
            assert_eq!(is_coarse_and_recent(time_ns, NOW_NS), recent, "{seconds} s");
            assert!(!is_coarse_and_recent(time_ns + 1, NOW_NS));
        }
    }
}

//! Files that changed just before they were read.
//!
//! The kernel stamps a file with the time of its last tick, so two writes in one tick leave
//! the same times. A file that is read between them would look unchanged ever after, with
//! the second write in no snapshot. (Git calls this racily clean.) Two remedies:
//!
//! Most file systems keep fractions of a second, and ticks are 10 ms apart at most. Then
//! reading waits until the last change is a little older than that. Whatever is written
//! while waiting is read, whatever is written later gets another time. A wait makes all
//! files older that are there by then, so there are few of them.
//!
//! Where times are whole seconds, FAT's even ones, waiting would take too long. The file is
//! read, and its entry says that it was [recent](crate::format::entry::Entry::recent), so
//! that the next backup reads it again.
//!
//! Both go by this machine's clock. If the file system is another one's and its clock is
//! off by more than these margins, such a change can still be missed.

use std::thread;
use std::time::Duration;

use crate::connector::Metadata;
use crate::util::clock::now_ns;

const SECOND_NS: i64 = 1_000_000_000;
/// Twice the longest tick.
const TICK_NS: i64 = 20_000_000;
/// What FAT rounds times to.
const COARSE_NS: i64 = 2 * SECOND_NS;

/// To be called before a file is read that `metadata` was told of: waits a little if that
/// helps. Returns whether a change that is made while or after it is read might not show.
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

/// How long to wait until a change would show in a time that has fractions.
fn wait_ns(time_ns: i64, now_ns: i64) -> Option<u64> {
    let is_near = time_ns.abs_diff(now_ns) < TICK_NS.unsigned_abs();
    (time_ns % SECOND_NS != 0 && is_near)
        .then(|| (time_ns.saturating_add(TICK_NS) - now_ns).unsigned_abs())
}

/// Whether a change might not show in a time that has no fractions.
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

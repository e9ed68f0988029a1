//! The clock of this machine.

use std::time::{SystemTime, UNIX_EPOCH};

/// Nanoseconds since 1970, by this machine's clock; 0 if it stands before that.
pub fn now_ns() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    i64::try_from(since.unwrap_or_default().as_nanos()).unwrap_or(i64::MAX)
}

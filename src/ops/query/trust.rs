//! Whether a snapshot's time may be believed when it decides what is removed.
//!
//! A snapshot says when it was made. Whoever makes it can say what they like, and whoever can
//! only add to a store could so have the owner's own retention remove all that is honest: by
//! snapshots that are the newest of each day, week and month (restic's issue 22057). What
//! nobody but the store decides is when it took in the first object of a snapshot. So the two are compared.
//!
//! | they | and the snapshot | then it |
//! |---|---|---|
//! | agree to a day | | is judged with all others |
//! | do not | says that it came by a sync | is judged apart, among those that say so |
//! | do not | does not | is kept, told of, and makes no other go |
//!
//! A sync keeps the time of a snapshot and publishes it later, so it leaves a mark. A forger can
//! leave that too; then their snapshots compete with synced ones only, and remove none that was made
//! here. In a store that is filled by syncs alone, whoever else can write there can do more:
//! who prunes there trusts all who write there.

use crate::kloset::snapshot::Stored;

/// How far apart the two times may be: a day, which a long backup, a zone or a clock that was put right
/// explains.
pub const TOLERANCE_NS: i64 = 24 * 3600 * 1_000_000_000;

/// How far a snapshot's time is believed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Trust {
    /// The store's clock agrees.
    Confirmed,
    /// It does not, which a sync would explain.
    Synced,
    /// It does not, and nothing explains that.
    Suspicious,
}

impl Trust {
    /// How far the time of `stored` is believed.
    pub fn of(stored: &Stored) -> Trust {
        let apart_ns = stored.snapshot.time_ns.abs_diff(stored.published_ns);
        match apart_ns <= TOLERANCE_NS.unsigned_abs() {
            true => Trust::Confirmed,
            false if stored.snapshot.synced_ns.is_some() => Trust::Synced,
            false => Trust::Suspicious,
        }
    }
}

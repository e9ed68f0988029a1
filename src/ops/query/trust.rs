//! Trust: whether the time of a snapshot may decide which snapshots are removed.
//!
//! A snapshot records its own time, and the client that creates it can record any time. An attacker
//! who can only add to a store could use this to make the retention of the owner remove all honest
//! snapshots, by adding snapshots that are the newest of each day, week and month (restic issue
//! 22057). Only the store determines when it received the first object of a snapshot. So the two
//! times are compared.
//!
//! | times | snapshot | consequence |
//! |---|---|---|
//! | agree to within a day | any | it is judged with all others |
//! | differ | marked as synced | it is judged separately, among those with this mark |
//! | differ | not marked | it is kept and reported, and causes no other to be removed |
//!
//! A sync keeps the time of a snapshot and publishes it later, so it adds a mark. An attacker can add
//! the mark too. Then the forged snapshots compete with synced ones only, and remove none that was
//! created here. In a store that is filled by syncs alone, another client with write access can do
//! more: pruning such a store requires trust in every client that can write to it.

use crate::kloset::snapshot::Stored;

/// Maximum difference of the two times: one day, in nanoseconds. A long backup, a time zone or a
/// corrected clock can explain this much.
pub const TOLERANCE_NS: i64 = 24 * 3600 * 1_000_000_000;

/// How far the time of a snapshot is trusted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Trust {
    /// The store's clock agrees.
    Confirmed,
    /// The store's clock disagrees, which a sync would explain.
    Synced,
    /// The store's clock disagrees without an explanation.
    Suspicious,
}

impl Trust {
    /// Compares the time of `stored` with the time at which the store received it.
    pub fn of(stored: &Stored) -> Trust {
        let apart_ns = stored.snapshot.time_ns.abs_diff(stored.published_ns);
        match apart_ns <= TOLERANCE_NS.unsigned_abs() {
            true => Trust::Confirmed,
            false if stored.snapshot.synced_ns.is_some() => Trust::Synced,
            false => Trust::Suspicious,
        }
    }
}

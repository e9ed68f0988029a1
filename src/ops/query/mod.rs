//! Queries: select snapshots, and explain why each one is selected.
//!
//! | step | what | where |
//! |---|---|---|
//! | 1 | filters, all of which must hold, determine the snapshots in scope | [`filters`] |
//! | 2 | a field divides the snapshots in scope into groups | [`field`] |
//! | 3 | in each group, matchers decide what matches; one that holds is enough | [`matcher`] |
//! | 4 | of the matches in a group, all or only the newest are selected | here |
//!
//! Everything in this module is computed from snapshots that were read and a time passed in by the
//! caller: no store, no clock, no time zone other than UTC.

pub mod field;
pub mod filters;
pub mod matcher;
pub mod period;
pub mod trust;

#[cfg(test)]
mod model_tests;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

pub use field::{Field, Value};
pub use filters::Filters;
pub use matcher::{Matcher, Standing};
pub use period::Period;
pub use trust::Trust;

use crate::kloset::snapshot::Stored;
use crate::util::Id;

/// How many of the matches in a group are selected.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Newest {
    /// All matches.
    #[default]
    All,
    /// Only the newest match.
    Only,
}

/// The criteria of a selection. The default selects every snapshot.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Query {
    /// Conditions that a snapshot must meet to be in scope.
    pub filters: Filters,
    /// Conditions on the time of a snapshot. Without matchers, every time matches. At most one per
    /// period, the shortest period first.
    pub matchers: Vec<Matcher>,
    /// How many matches of each group are selected.
    pub newest: Newest,
    /// The field by which snapshots are grouped; `None` puts all in one group.
    pub group_by: Option<Field>,
    /// The current time, in nanoseconds since 1970, from which matchers count back.
    pub now_ns: i64,
}

/// Snapshots with the same value of a field.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Group<T> {
    /// The common value; empty unless the query names a field.
    pub value: Value,
    /// The snapshots, newest first.
    pub members: Vec<T>,
}

/// The result of the matchers for a snapshot in scope.
#[derive(Clone, Debug)]
pub struct Verdict<'a> {
    /// The snapshot that was judged.
    pub stored: &'a Stored,
    /// Whether any matcher matches the snapshot, or there are no matchers.
    pub is_match: bool,
    /// Its rank for every matcher that has a bucket for it, the shortest period first.
    pub standings: Vec<Standing>,
    /// How far its time is trusted, if that was checked.
    pub trust: Trust,
}

impl Query {
    /// A query that selects everything, with the current time `now_ns`.
    pub fn at(now_ns: i64) -> Query {
        Query {
            now_ns,
            ..Query::default()
        }
    }

    /// Whether the query selects every snapshot of any store.
    pub fn is_everything(&self) -> bool {
        self.filters == Filters::default() && self.matchers.is_empty() && self.newest == Newest::All
    }

    /// The verdict on each of `snapshots` that is in scope, by group.
    pub fn judge<'a>(&self, snapshots: &'a [Stored]) -> Vec<Group<Verdict<'a>>> {
        let groups = self.scope(snapshots).into_iter();
        let judged = groups.map(|(value, members)| Group {
            value,
            members: matcher::judge(&self.matchers, self.now_ns, members),
        });
        judged.collect()
    }

    /// Like [`Query::judge`], for a caller that removes what does not match: a snapshot whose time is
    /// not [trusted](Trust) matches, and takes the place of no other snapshot.
    pub fn judge_warily<'a>(&self, snapshots: &'a [Stored]) -> Vec<Group<Verdict<'a>>> {
        let groups = self.scope(snapshots).into_iter();
        let judged = groups.map(|(value, members)| {
            let of = |trust: Trust| {
                let members = members.iter().filter(|stored| Trust::of(stored) == trust);
                members.copied().collect::<Vec<_>>()
            };
            let mut verdicts = Vec::with_capacity(members.len());
            for trust in [Trust::Confirmed, Trust::Synced] {
                let judged = matcher::judge(&self.matchers, self.now_ns, of(trust));
                verdicts.extend(
                    judged
                        .into_iter()
                        .map(|verdict| Verdict { trust, ..verdict }),
                );
            }
            let suspicious = of(Trust::Suspicious).into_iter();
            verdicts.extend(suspicious.map(|stored| Verdict {
                stored,
                is_match: true,
                standings: Vec::new(),
                trust: Trust::Suspicious,
            }));
            verdicts.sort_by_key(|verdict| std::cmp::Reverse(age_order(verdict.stored)));
            Group {
                value,
                members: verdicts,
            }
        });
        judged.collect()
    }

    /// The selected snapshots, by group. No group is empty.
    pub fn groups<'a>(&self, snapshots: &'a [Stored]) -> Vec<Group<&'a Stored>> {
        let limit = match self.newest {
            Newest::All => usize::MAX,
            Newest::Only => 1,
        };
        let meant = |group: Group<Verdict<'a>>| {
            let matching = group.members.into_iter().filter(|verdict| verdict.is_match);
            let members: Vec<&Stored> =
                matching.map(|verdict| verdict.stored).take(limit).collect();
            (!members.is_empty()).then_some(Group {
                value: group.value,
                members,
            })
        };
        self.judge(snapshots)
            .into_iter()
            .filter_map(meant)
            .collect()
    }

    /// The selected snapshots, oldest first.
    pub fn select<'a>(&self, snapshots: &'a [Stored]) -> Vec<&'a Stored> {
        let groups = self.groups(snapshots).into_iter();
        let mut meant: Vec<&Stored> = groups.flat_map(|group| group.members).collect();
        meant.sort_by_key(|stored| age_order(stored));
        meant
    }

    /// The snapshots that pass the filters, in groups, newest first in each.
    fn scope<'a>(&self, snapshots: &'a [Stored]) -> BTreeMap<Value, Vec<&'a Stored>> {
        let mut groups: BTreeMap<Value, Vec<&Stored>> = BTreeMap::new();
        for stored in snapshots {
            if self.filters.unmet(&stored.snapshot).is_none() {
                let value = self.group_by.map(|field| field.value(&stored.snapshot));
                groups
                    .entry(value.unwrap_or_default())
                    .or_default()
                    .push(stored);
            }
        }
        for members in groups.values_mut() {
            members.sort_by_key(|stored| std::cmp::Reverse(age_order(stored)));
        }
        groups
    }
}

/// Sort key that puts the oldest snapshot first.
fn age_order(stored: &Stored) -> (i64, Id, Id) {
    (stored.snapshot.time_ns, stored.snapshot.id, stored.object)
}

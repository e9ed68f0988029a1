//! A query: which snapshots are meant, and why.
//!
//! | step | what | where |
//! |---|---|---|
//! | 1 | filters, all of which must hold, leave the snapshots in scope | [`filters`] |
//! | 2 | a field parts these into groups | [`field`] |
//! | 3 | in each group matchers, any of which may hold, tell what matches | [`matcher`] |
//! | 4 | of what matches in a group, all is meant or only the newest | here |
//!
//! Everything here is computed from snapshots that were read and a time that is handed
//! in: no store, no clock, no zone but UTC.

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

/// How many of a group that match are meant.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Newest {
    /// Every one.
    #[default]
    All,
    /// The newest one.
    Only,
}

/// What is asked for. By default: everything.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Query {
    /// What a snapshot must be like.
    pub filters: Filters,
    /// When it must have been made; no matcher matches every time. One a period, the
    /// shortest period first.
    pub matchers: Vec<Matcher>,
    /// How many are meant.
    pub newest: Newest,
    /// What snapshots have in common that are looked at together.
    pub group_by: Option<Field>,
    /// The present, nanoseconds since 1970, from which matchers count back.
    pub now_ns: i64,
}

/// Snapshots that have something in common.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Group<T> {
    /// What that is; nothing unless the query names a field.
    pub value: Value,
    /// The snapshots, the newest first.
    pub members: Vec<T>,
}

/// What the matchers say of a snapshot in scope.
#[derive(Clone, Debug)]
pub struct Verdict<'a> {
    /// The snapshot.
    pub stored: &'a Stored,
    /// Whether any of them matches it, or there are none.
    pub is_match: bool,
    /// Its place with every matcher whose buckets it is in, the shortest period first.
    pub standings: Vec<Standing>,
    /// How far its time was believed, if that was asked.
    pub trust: Trust,
}

impl Query {
    /// Everything, as seen at `now_ns`.
    pub fn at(now_ns: i64) -> Query {
        Query {
            now_ns,
            ..Query::default()
        }
    }

    /// Whether it leaves no snapshot out, whatever there is.
    pub fn is_everything(&self) -> bool {
        self.filters == Filters::default() && self.matchers.is_empty() && self.newest == Newest::All
    }

    /// What the matchers say of every one of `snapshots` that is in scope, by group.
    pub fn judge<'a>(&self, snapshots: &'a [Stored]) -> Vec<Group<Verdict<'a>>> {
        let groups = self.scope(snapshots).into_iter();
        let judged = groups.map(|(value, members)| Group {
            value,
            members: matcher::judge(&self.matchers, self.now_ns, members),
        });
        judged.collect()
    }

    /// The same for whoever means to remove what does not match: a snapshot whose time is not
    /// [believed](Trust) matches, and takes the place of no other.
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

    /// The snapshots that are meant, by group. No group is empty.
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

    /// The snapshots that are meant, the oldest first.
    pub fn select<'a>(&self, snapshots: &'a [Stored]) -> Vec<&'a Stored> {
        let groups = self.groups(snapshots).into_iter();
        let mut meant: Vec<&Stored> = groups.flat_map(|group| group.members).collect();
        meant.sort_by_key(|stored| age_order(stored));
        meant
    }

    /// The snapshots that pass the filters, in groups, the newest first in each.
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

/// What puts snapshots in the order in which they were made, the oldest first.
fn age_order(stored: &Stored) -> (i64, Id, Id) {
    (stored.snapshot.time_ns, stored.snapshot.id, stored.object)
}

//! Matchers on the time of a snapshot: in the last buckets of a period, among the newest of its
//! bucket, or both.

use std::collections::HashMap;
use std::num::NonZeroU32;

use super::period::Period;
use super::{Trust, Verdict};
use crate::kloset::snapshot::Stored;

/// The condition on one period. Without limits, every snapshot in every bucket matches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Matcher {
    /// The period whose buckets are counted.
    pub period: Period,
    /// Number of last buckets that match, including the current one. Future buckets match too.
    pub keep: Option<NonZeroU32>,
    /// Number of the newest snapshots in a bucket that match.
    pub cap: Option<NonZeroU32>,
}

/// The rank of a snapshot in its bucket of a period.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Standing {
    /// The period of the bucket.
    pub period: Period,
    /// The name of the bucket, such as `2026-W34`.
    pub bucket: String,
    /// 1 for the newest snapshot in the bucket.
    pub rank: u64,
    /// The last rank that matches, if not all do.
    pub cap: Option<u64>,
}

impl Standing {
    /// Whether the snapshot matches by this rank.
    pub fn is_match(&self) -> bool {
        self.cap.is_none_or(|cap| self.rank <= cap)
    }
}

impl Matcher {
    /// A matcher for `period` without limits.
    pub fn new(period: Period) -> Matcher {
        Matcher {
            period,
            keep: None,
            cap: None,
        }
    }

    /// The bucket of `time_ns`, if it is among those to keep at the time `now_ns`.
    fn bucket(&self, time_ns: i64, now_ns: i64) -> Option<i64> {
        let bucket = self.period.bucket(time_ns)?;
        let last = self.period.last_bucket(now_ns);
        let is_wanted = |keep: NonZeroU32| bucket > last - i64::from(keep.get());
        self.keep.is_none_or(is_wanted).then_some(bucket)
    }
}

/// Judges each of `members` with `matchers` at `now_ns`. The members are one group, newest first.
pub(super) fn judge<'a>(
    matchers: &[Matcher],
    now_ns: i64,
    members: Vec<&'a Stored>,
) -> Vec<Verdict<'a>> {
    let mut ranks: Vec<HashMap<i64, u64>> = vec![HashMap::new(); matchers.len()];
    let mut judged = Vec::with_capacity(members.len());
    for stored in members {
        let places = matchers.iter().zip(&mut ranks);
        let standings: Vec<Standing> = places
            .filter_map(|(matcher, ranks)| standing(matcher, ranks, stored, now_ns))
            .collect();
        judged.push(Verdict {
            stored,
            is_match: matchers.is_empty() || standings.iter().any(Standing::is_match),
            standings,
            trust: Trust::Confirmed,
        });
    }
    judged
}

/// The rank of `stored` for `matcher`. `ranks` counts the earlier snapshots in each bucket.
fn standing(
    matcher: &Matcher,
    ranks: &mut HashMap<i64, u64>,
    stored: &Stored,
    now_ns: i64,
) -> Option<Standing> {
    let time_ns = stored.snapshot.time_ns;
    let bucket = matcher.bucket(time_ns, now_ns)?;
    let rank = ranks.entry(bucket).or_insert(0);
    *rank += 1;
    Some(Standing {
        period: matcher.period,
        bucket: matcher.period.bucket_name(time_ns),
        rank: *rank,
        cap: matcher.cap.map(|cap| u64::from(cap.get())),
    })
}

//! When a snapshot must have been made: in the last buckets of a period, among the newest
//! of its bucket, or both.

use std::collections::HashMap;
use std::num::NonZeroU32;

use super::period::Period;
use super::{Trust, Verdict};
use crate::kloset::snapshot::Stored;

/// What is asked of one period. With neither limit every bucket is wanted whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Matcher {
    /// The period.
    pub period: Period,
    /// Only so many of its last buckets, the current one counted; the future is in too.
    pub keep: Option<NonZeroU32>,
    /// Only so many of the newest snapshots in a bucket.
    pub cap: Option<NonZeroU32>,
}

/// The place of a snapshot in its bucket of a period.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Standing {
    /// The period.
    pub period: Period,
    /// What people call the bucket.
    pub bucket: String,
    /// 1 for the newest snapshot in the bucket.
    pub rank: u64,
    /// The last rank that matches, if not all do.
    pub cap: Option<u64>,
}

impl Standing {
    /// Whether the snapshot matches by this.
    pub fn is_match(&self) -> bool {
        self.cap.is_none_or(|cap| self.rank <= cap)
    }
}

impl Matcher {
    /// No limits on `period` yet.
    pub fn new(period: Period) -> Matcher {
        Matcher {
            period,
            keep: None,
            cap: None,
        }
    }

    /// The wanted bucket that the moment `time_ns` is in, seen at `now_ns`.
    fn bucket(&self, time_ns: i64, now_ns: i64) -> Option<i64> {
        let bucket = self.period.bucket(time_ns)?;
        let last = self.period.last_bucket(now_ns);
        let is_wanted = |keep: NonZeroU32| bucket > last - i64::from(keep.get());
        self.keep.is_none_or(is_wanted).then_some(bucket)
    }
}

/// What `matchers` say at `now_ns` of each of `members`, which are one group, the newest
/// first.
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

/// The place of `stored` with `matcher`; `ranks` counts who was in each bucket before.
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

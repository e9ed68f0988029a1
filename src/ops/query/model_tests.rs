//! Compares queries with a slow model that shares no code with them: it walks back from the current
//! time, bucket by bucket, with its own calendar.

use proptest::prelude::*;

use super::tests::{at, matcher, stored};
use super::*;

const DAY_NS: i64 = 86_400_000_000_000;

/// Year, month and day of the day `days` days after 1970-01-01, by counting.
fn date(mut days: i64) -> (i64, usize, i64) {
    let is_leap = |year: i64| year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    let mut year = 1970;
    while days < 0 {
        year -= 1;
        days += if is_leap(year) { 366 } else { 365 };
    }
    while days >= if is_leap(year) { 366 } else { 365 } {
        days -= if is_leap(year) { 366 } else { 365 };
        year += 1;
    }
    let february = if is_leap(year) { 29 } else { 28 };
    let mut month = 0;
    for length in [31, february, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31] {
        if days < length {
            break;
        }
        days -= length;
        month += 1;
    }
    (year, month, days)
}

/// The start of the bucket of `period` that contains `time_ns`, if one does.
fn start(period: Period, time_ns: i64) -> Option<i64> {
    let days = time_ns.div_euclid(DAY_NS);
    let (_, _, day) = date(days);
    // 1970-01-01 was a Thursday.
    let from_monday = (days + 3).rem_euclid(7);
    let first_day = match period {
        Period::Minute => return Some(time_ns - time_ns.rem_euclid(60_000_000_000)),
        Period::Hour => return Some(time_ns - time_ns.rem_euclid(3_600_000_000_000)),
        Period::Day => days,
        Period::Week => days - from_monday,
        Period::Month => days - day,
        Period::Year => {
            let (year, _, _) = date(days);
            (0..)
                .map(|back| days - back)
                .take_while(|day| date(*day).0 == year)
                .last()?
        }
        Period::On(weekday) => {
            let wanted = i64::from(weekday.to_monday_zero_offset());
            (from_monday == wanted).then_some(days)?
        }
    };
    Some(first_day * DAY_NS)
}

/// The starts of the last `count` buckets of `period` at `now_ns`.
fn last_starts(period: Period, count: u32, now_ns: i64) -> Vec<i64> {
    let mut starts = Vec::new();
    let mut time_ns = now_ns;
    while starts.len() < count as usize {
        match start(period, time_ns) {
            Some(start) => {
                starts.push(start);
                time_ns = start - 1;
            }
            None => time_ns -= DAY_NS,
        }
    }
    starts
}

/// Whether `matcher` holds for `one` of `all`, which are one group.
fn holds(matcher: &Matcher, now_ns: i64, one: &Stored, all: &[&Stored]) -> bool {
    let time_ns = one.snapshot.time_ns;
    let Some(bucket) = start(matcher.period, time_ns) else {
        return false;
    };
    let is_recent = matcher.keep.is_none_or(|keep| {
        time_ns > now_ns || last_starts(matcher.period, keep.get(), now_ns).contains(&bucket)
    });
    let newer = all.iter().filter(|other| {
        start(matcher.period, other.snapshot.time_ns) == Some(bucket)
            && (other.snapshot.time_ns, other.snapshot.id) > (time_ns, one.snapshot.id)
    });
    is_recent
        && matcher
            .cap
            .is_none_or(|cap| newer.count() < cap.get() as usize)
}

/// The numbers of the snapshots that `query` selects, by the model.
fn expected(query: &Query, snapshots: &[Stored]) -> Vec<u8> {
    let name = |stored: &Stored| match query.group_by {
        Some(_) => stored.snapshot.labels.name.clone(),
        None => String::new(),
    };
    let is_meant = |one: &&Stored| {
        let group: Vec<&Stored> = snapshots
            .iter()
            .filter(|other| name(other) == name(one))
            .collect();
        let matches = |one: &Stored| {
            let mut matchers = query.matchers.iter();
            query.matchers.is_empty()
                || matchers.any(|matcher| holds(matcher, query.now_ns, one, &group))
        };
        let is_newest = |one: &Stored| {
            let age = |stored: &Stored| (stored.snapshot.time_ns, stored.snapshot.id);
            !group
                .iter()
                .any(|other| matches(other) && age(other) > age(one))
        };
        matches(one) && (query.newest == Newest::All || is_newest(one))
    };
    numbers(snapshots.iter().filter(is_meant))
}

fn numbers<'a>(stored: impl Iterator<Item = &'a Stored>) -> Vec<u8> {
    let mut numbers: Vec<u8> = stored.map(|stored| stored.object.0[0]).collect();
    numbers.sort_unstable();
    numbers
}

/// Times that calendars often get wrong: ends of years, leap days, weeks 53 and 1.
fn present() -> impl Strategy<Value = i64> {
    let dear = prop::sample::select(vec![
        "2024-02-29T00:00:00Z",
        "2024-03-01T00:00:00Z",
        "2023-03-31T12:00:00Z",
        "2021-01-03T23:59:59.999999999Z",
        "2021-01-04T00:00:00Z",
        "2020-12-31T23:59:59.999999999Z",
        "2026-01-01T00:00:00Z",
        "1970-01-01T00:00:00Z",
    ]);
    prop_oneof![
        dear.prop_map(at),
        at("1960-01-01T00:00:00Z")..at("2100-01-01T00:00:00Z")
    ]
}

/// Distances from the current time, small and large, on bucket boundaries and next to them.
fn distance() -> impl Strategy<Value = i64> {
    let unit = prop::sample::select(vec![
        60_000_000_000,
        3_600_000_000_000,
        DAY_NS,
        7 * DAY_NS,
        30 * DAY_NS,
        365 * DAY_NS,
    ]);
    let beside = prop::sample::select(vec![-1, 0, 1, 12_345_678_901]);
    (unit, -5i64..2, beside).prop_map(|(unit, count, beside)| unit * count + beside)
}

fn asked() -> impl Strategy<Value = (Vec<Matcher>, bool, bool)> {
    let period = prop::sample::select(Period::ALL.to_vec());
    let one = (period, 0u32..5, 0u32..4).prop_map(|(period, keep, cap)| matcher(period, keep, cap));
    (
        prop::collection::vec(one, 0..4),
        any::<bool>(),
        any::<bool>(),
    )
}

proptest! {
    #[test]
    fn a_query_selects_what_the_model_does(
        now_ns in present(),
        far in prop::collection::vec((distance(), any::<bool>(), any::<bool>()), 0..24),
        (matchers, is_latest, is_grouped) in asked(),
    ) {
        let snapshot = |(number, (distance, is_on_border, is_other)): (u8, &(i64, bool, bool))| {
            let time_ns = now_ns + distance;
            // Half of them are at the start of a day, or one nanosecond before.
            let border = time_ns - time_ns.rem_euclid(DAY_NS) - distance.rem_euclid(2);
            let mut stored = stored(number, if *is_on_border { border } else { time_ns });
            stored.snapshot.labels.name = is_other.to_string();
            stored
        };
        let snapshots: Vec<Stored> = (0..).zip(&far).map(snapshot).collect();
        let query = Query {
            matchers,
            newest: if is_latest { Newest::Only } else { Newest::All },
            group_by: is_grouped.then_some(Field::Name),
            ..Query::at(now_ns)
        };
        let selected = numbers(query.select(&snapshots).into_iter());
        prop_assert_eq!(selected, expected(&query, &snapshots));
    }
}

#[test]
fn the_calendar_of_the_model_is_right() {
    for (time, expected) in [
        ("2024-02-29T00:00:00Z", (2024, 1, 28)),
        ("2000-12-31T00:00:00Z", (2000, 11, 30)),
        ("1969-12-31T00:00:00Z", (1969, 11, 30)),
        ("1900-03-01T00:00:00Z", (1900, 2, 0)),
    ] {
        assert_eq!(date(at(time).div_euclid(DAY_NS)), expected, "{time}");
    }
}

//! Tests of bucket boundaries, individual filters, and groups.

use std::num::NonZeroU32;

use jiff::Timestamp;
use jiff::civil::Weekday;

use super::*;
use crate::kloset::snapshot::{Labels, Snapshot};

/// Parses an RFC 3339 time into nanoseconds since 1970.
pub(super) fn at(time: &str) -> i64 {
    let time: Timestamp = time.parse().expect("tests know how to write times");
    i64::try_from(time.as_nanosecond()).expect("and stay near the present")
}

/// A snapshot of the time `time_ns`, identified by `number`.
pub(super) fn stored(number: u8, time_ns: i64) -> Stored {
    Stored {
        object: Id([number; 32]),
        older: Vec::new(),
        first: Id([number; 32]),
        published_ns: time_ns,
        snapshot: Snapshot {
            id: Id([number; 32]),
            time_ns,
            ..Snapshot::default()
        },
    }
}

/// Snapshots of these times, numbered from 0.
fn of_times(times: &[&str]) -> Vec<Stored> {
    let numbered = times.iter().zip(0..);
    numbered
        .map(|(time, number)| stored(number, at(time)))
        .collect()
}

pub(super) fn matcher(period: Period, keep: u32, cap: u32) -> Matcher {
    Matcher {
        period,
        keep: NonZeroU32::new(keep),
        cap: NonZeroU32::new(cap),
    }
}

fn asking(now: &str, matchers: &[Matcher]) -> Query {
    Query {
        matchers: matchers.to_vec(),
        ..Query::at(at(now))
    }
}

/// The numbers of the snapshots that `query` selects.
fn numbers(query: &Query, snapshots: &[Stored]) -> Vec<u8> {
    let selected = query.select(snapshots).into_iter();
    selected.map(|stored| stored.object.0[0]).collect()
}

/// Whether the last `keep` buckets of `period` at `now` contain `time`.
fn is_within(period: Period, keep: u32, now: &str, time: &str) -> bool {
    let query = asking(now, &[matcher(period, keep, 0)]);
    !query.select(&of_times(&[time])).is_empty()
}

/// A period, the current time, and the start of the bucket before the current one.
const BORDERS: [(Period, &str, &str); 13] = [
    (
        Period::Minute,
        "2026-08-20T14:05:59.999999999Z",
        "2026-08-20T14:04:00Z",
    ),
    (Period::Hour, "2026-08-20T00:00:00Z", "2026-08-19T23:00:00Z"),
    (
        Period::Day,
        "2026-08-20T23:59:59.999999999Z",
        "2026-08-19T00:00:00Z",
    ),
    (Period::Day, "2026-08-20T00:00:00Z", "2026-08-19T00:00:00Z"),
    // 20 August 2026 is a Thursday; 16 August, a Sunday, ends the week before.
    (
        Period::Week,
        "2026-08-16T23:59:59.999999999Z",
        "2026-08-03T00:00:00Z",
    ),
    (Period::Week, "2026-08-17T00:00:00Z", "2026-08-10T00:00:00Z"),
    (
        Period::Month,
        "2026-01-31T12:00:00Z",
        "2025-12-01T00:00:00Z",
    ),
    (
        Period::Month,
        "2024-03-31T12:00:00Z",
        "2024-02-01T00:00:00Z",
    ),
    (Period::Year, "2026-01-01T00:00:00Z", "2025-01-01T00:00:00Z"),
    (Period::Day, "2024-03-01T00:00:00Z", "2024-02-29T00:00:00Z"),
    (Period::Day, "2023-03-01T00:00:00Z", "2023-02-28T00:00:00Z"),
    (Period::Day, "1970-01-01T00:00:00Z", "1969-12-31T00:00:00Z"),
    // UTC has no daylight saving time, unlike the zones that change on this day.
    (Period::Hour, "2026-03-29T02:30:00Z", "2026-03-29T01:00:00Z"),
];

#[test]
fn a_bucket_begins_with_its_first_nanosecond() {
    for (period, now, first) in BORDERS {
        let query = asking(now, &[matcher(period, 2, 0)]);
        let snapshots = [stored(0, at(first) - 1), stored(1, at(first))];
        assert_eq!(numbers(&query, &snapshots), [1], "{period:?} {now} {first}");
    }
}

#[test]
fn weekdays_are_the_last_ones_with_today() {
    let mondays = |keep, now, time| is_within(Period::On(Weekday::Monday), keep, now, time);
    let monday = "2026-08-17T00:00:00Z";
    // On that Monday, the current Monday is the first of three; on the Sunday before, it is in the
    // future.
    assert!(mondays(3, monday, "2026-08-17T23:59:59.999999999Z"));
    assert!(mondays(3, monday, "2026-08-03T00:00:00Z"));
    assert!(!mondays(3, monday, "2026-07-27T23:59:59.999999999Z"));
    assert!(mondays(
        3,
        "2026-08-16T23:59:59.999999999Z",
        "2026-07-27T00:00:00Z"
    ));
    assert!(mondays(1, "2026-08-23T23:59:59.999999999Z", monday));
    assert!(!mondays(1, "2026-08-24T00:00:00Z", monday));
    // A day with another name never matches.
    assert!(!mondays(100, monday, "2026-08-16T23:59:59.999999999Z"));
    assert!(!mondays(100, monday, "2026-08-18T00:00:00Z"));
    for (day, name) in (17..24).zip([
        "monday",
        "tuesday",
        "wednesday",
        "thursday",
        "friday",
        "saturday",
        "sunday",
    ]) {
        let period = Period::ALL.into_iter().find(|period| period.name() == name);
        let time = format!("2026-08-{day}T12:00:00Z");
        assert!(
            is_within(period.expect("it is one"), 1, &time, &time),
            "{name}"
        );
    }
}

#[test]
fn weeks_at_the_end_of_a_year_are_those_of_iso_8601() {
    for (time, name) in [
        ("2020-12-31T23:59:59.999999999Z", "2020-W53"),
        ("2021-01-03T23:59:59.999999999Z", "2020-W53"),
        ("2021-01-04T00:00:00Z", "2021-W01"),
        ("2024-12-30T00:00:00Z", "2025-W01"),
        ("2016-01-01T00:00:00Z", "2015-W53"),
    ] {
        assert_eq!(Period::Week.bucket_name(at(time)), name, "{time}");
    }
    let one_a_week = asking("2021-01-10T00:00:00Z", &[matcher(Period::Week, 2, 1)]);
    let snapshots = of_times(&[
        "2020-12-27T23:59:59Z",
        "2020-12-28T00:00:00Z",
        "2020-12-31T12:00:00Z",
        "2021-01-03T12:00:00Z",
        "2021-01-04T00:00:00Z",
    ]);
    assert_eq!(numbers(&one_a_week, &snapshots), [3, 4]);
}

#[test]
fn buckets_have_names() {
    let time = at("2024-02-29T07:08:09Z");
    let names = Period::ALL[..7]
        .iter()
        .map(|period| period.bucket_name(time));
    let expected = [
        "2024-02-29T07:08",
        "2024-02-29T07",
        "2024-02-29",
        "2024-W09",
        "2024-02",
        "2024",
        "2024-02-29",
    ];
    assert_eq!(names.collect::<Vec<_>>(), expected);
}

#[test]
fn a_limit_and_a_cap_of_one_period_hold_together() {
    let snapshots = of_times(&[
        "2026-08-17T01:00:00Z",
        "2026-08-19T01:00:00Z",
        "2026-08-19T02:00:00Z",
        "2026-08-20T03:00:00Z",
    ]);
    let now = "2026-08-20T12:00:00Z";
    let with = |matchers: &[Matcher]| numbers(&asking(now, matchers), &snapshots);
    assert_eq!(with(&[matcher(Period::Day, 2, 1)]), [2, 3]);
    assert_eq!(with(&[matcher(Period::Day, 2, 0)]), [1, 2, 3]);
    assert_eq!(with(&[matcher(Period::Day, 0, 1)]), [0, 2, 3]);
    // One matcher is enough: a cap on days does not limit weeks.
    assert_eq!(
        with(&[matcher(Period::Day, 1, 1), matcher(Period::Week, 1, 0)]),
        [0, 1, 2, 3]
    );
    assert_eq!(with(&[]), [0, 1, 2, 3]);
}

#[test]
fn verdicts_tell_why() {
    let snapshots = of_times(&[
        "2026-08-01T01:00:00Z",
        "2026-08-20T01:00:00Z",
        "2026-08-20T02:00:00Z",
    ]);
    let query = asking(
        "2026-08-20T12:00:00Z",
        &[matcher(Period::Day, 1, 1), matcher(Period::Year, 0, 1)],
    );
    let verdicts = query.judge(&snapshots).remove(0).members;
    let told = |place: usize| {
        let standings = verdicts[place].standings.iter();
        let standing = |one: &Standing| format!("{} {} {}", one.bucket, one.rank, one.is_match());
        (
            verdicts[place].is_match,
            standings.map(standing).collect::<Vec<_>>(),
        )
    };
    assert_eq!(
        told(0),
        (true, vec!["2026-08-20 1 true".into(), "2026 1 true".into()])
    );
    assert_eq!(
        told(1),
        (
            false,
            vec!["2026-08-20 2 false".into(), "2026 2 false".into()]
        )
    );
    assert_eq!(told(2), (false, vec!["2026 3 false".into()]));
}

#[test]
fn the_future_is_within_every_limit_and_takes_no_place_of_the_past() {
    let snapshots = of_times(&[
        "2026-08-19T01:00:00Z",
        "2026-08-20T01:00:00Z",
        "2026-08-21T01:00:00Z",
        "2199-01-01T00:00:00Z",
        "2199-01-01T00:00:01Z",
    ]);
    let query = asking("2026-08-20T12:00:00Z", &[matcher(Period::Day, 2, 1)]);
    assert_eq!(numbers(&query, &snapshots), [0, 1, 2, 4]);
}

#[test]
fn the_ends_of_time_are_moments_too() {
    let snapshots = [stored(0, i64::MIN), stored(1, i64::MAX)];
    for period in Period::ALL {
        for now_ns in [i64::MIN, 0, i64::MAX] {
            let matchers = vec![matcher(period, u32::MAX, 1)];
            let query = Query {
                matchers,
                ..Query::at(now_ns)
            };
            assert!(query.select(&snapshots).len() <= 2, "{period:?}");
        }
    }
}

#[test]
fn the_newest_is_that_of_what_matches_in_each_group() {
    let mut snapshots = of_times(&[
        "2026-08-17T01:00:00Z",
        "2026-08-18T01:00:00Z",
        "2026-08-17T03:00:00Z",
        "2026-08-20T01:00:00Z",
    ]);
    for (number, name) in [(0, "a"), (1, "a"), (2, "b")] {
        snapshots[number].snapshot.labels.name = name.to_owned();
    }
    let mut query = asking("2026-08-20T12:00:00Z", &[]);
    query.newest = Newest::Only;
    assert_eq!(numbers(&query, &snapshots), [3]);
    query.group_by = Some(Field::Name);
    assert_eq!(numbers(&query, &snapshots), [2, 1, 3], "the oldest first");
    query.matchers = vec![matcher(Period::On(Weekday::Monday), 1, 0)];
    assert_eq!(numbers(&query, &snapshots), [0, 2]);
    let values: Vec<Value> = query
        .groups(&snapshots)
        .into_iter()
        .map(|group| group.value)
        .collect();
    assert_eq!(
        values,
        [vec![b"a".to_vec()], vec![b"b".to_vec()]],
        "no group is empty"
    );
}

/// A snapshot with a value for every filter.
fn labelled() -> Snapshot {
    Snapshot {
        time_ns: 100,
        roots: vec![b"/srv/b".to_vec(), b"/srv/a".to_vec()],
        origin: "alpha".into(),
        source: "sftp".into(),
        host: "beta".into(),
        labels: Labels {
            name: "n".into(),
            category: "c".into(),
            environment: "e".into(),
            perimeter: "p".into(),
            job: "j".into(),
            tags: vec!["x".into(), "y".into()],
        },
        ..Snapshot::default()
    }
}

type Set = fn(&mut Filters, &str);

/// Every filter on a text, how to set it, and the value that [`labelled`] has.
const TEXTS: [(&str, Set, &str); 9] = [
    ("name", |set, text| set.name = Some(text.into()), "n"),
    (
        "category",
        |set, text| set.category = Some(text.into()),
        "c",
    ),
    (
        "environment",
        |set, text| set.environment = Some(text.into()),
        "e",
    ),
    (
        "perimeter",
        |set, text| set.perimeter = Some(text.into()),
        "p",
    ),
    ("job", |set, text| set.job = Some(text.into()), "j"),
    (
        "origin",
        |set, text| set.origin = Some(text.into()),
        "alpha",
    ),
    ("type", |set, text| set.source = Some(text.into()), "sftp"),
    (
        "tag",
        |set, text| set.tags = vec!["x".into(), text.into()],
        "y",
    ),
    (
        "root",
        |set, text| set.roots = vec!["/no".into(), text.into()],
        "/srv/a",
    ),
];

#[test]
fn each_filter_lets_through_what_it_names_and_nothing_else() {
    for (name, set, right) in TEXTS {
        let unmet = |text: &str| {
            let mut filters = Filters::default();
            set(&mut filters, text);
            filters.unmet(&labelled())
        };
        assert_eq!(unmet(right), None, "{name}");
        for wrong in ["", &right[1..], &right.to_uppercase(), &format!("{right}x")] {
            assert_eq!(unmet(wrong), Some(name), "{name} {wrong:?}");
        }
        let mut filters = Filters::default();
        set(&mut filters, "");
        let expected = (name == "root" || name == "tag").then_some(name);
        assert_eq!(
            filters.unmet(&Snapshot::default()),
            expected,
            "{name} of none"
        );
    }
    let absent = |tag: &str| Filters {
        absent_tags: vec![tag.into()],
        ..Filters::default()
    };
    assert_eq!(absent("z").unmet(&labelled()), None);
    assert_eq!(absent("y").unmet(&labelled()), Some("tag"));
}

#[test]
fn a_moment_is_since_itself_and_not_before_itself() {
    let since = |since_ns| Filters {
        since_ns: Some(since_ns),
        ..Filters::default()
    };
    let before = |before_ns| Filters {
        before_ns: Some(before_ns),
        ..Filters::default()
    };
    assert_eq!(since(100).unmet(&labelled()), None);
    assert_eq!(since(101).unmet(&labelled()), Some("since"));
    assert_eq!(before(101).unmet(&labelled()), None);
    assert_eq!(before(100).unmet(&labelled()), Some("before"));
}

#[test]
fn every_field_has_a_value() {
    let value = |name: &str| Field::named(name).expect("it is one").value(&labelled());
    let expected: [(&str, &[&[u8]]); 10] = [
        ("name", &[b"n"]),
        ("category", &[b"c"]),
        ("environment", &[b"e"]),
        ("perimeter", &[b"p"]),
        ("job", &[b"j"]),
        ("origin", &[b"alpha"]),
        ("type", &[b"sftp"]),
        ("host", &[b"beta"]),
        ("root", &[b"/srv/a", b"/srv/b"]),
        ("tag", &[b"x", b"y"]),
    ];
    for (name, items) in expected {
        assert_eq!(value(name), items, "{name}");
        assert_eq!(Field::named(name).map(Field::name), Some(name));
        assert!(
            Field::named(name).is_some_and(|field| field.value(&Snapshot::default()).is_empty())
        );
    }
}

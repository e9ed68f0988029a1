//! Parses ages such as `30d`, `2h30m`, `a month`, `2 weeks 3 days`.
//!
//! Months and years follow the calendar: one month before 31 March is the last day of February.

use jiff::tz::TimeZone;
use jiff::{Span, Timestamp};

/// Each unit with all its spellings.
const UNITS: [(Unit, &[&str]); 7] = [
    (Unit::Year, &["y", "yr", "yrs", "year", "years"]),
    (Unit::Month, &["mo", "month", "months"]),
    (Unit::Week, &["w", "week", "weeks"]),
    (Unit::Day, &["d", "day", "days"]),
    (Unit::Hour, &["h", "hr", "hrs", "hour", "hours"]),
    (Unit::Minute, &["m", "min", "mins", "minute", "minutes"]),
    (Unit::Second, &["s", "sec", "secs", "second", "seconds"]),
];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Unit {
    Year,
    Month,
    Week,
    Day,
    Hour,
    Minute,
    Second,
}

/// The time that is the age `text` before `now`. `None` if `text` is not an age, or if the result
/// is before the earliest date of the calendar.
pub(super) fn before(text: &str, now: Timestamp) -> Option<Timestamp> {
    let span = span(text)?;
    let civil = TimeZone::UTC.to_datetime(now).checked_sub(span).ok()?;
    let zoned = civil.to_zoned(TimeZone::UTC).ok()?;
    Some(zoned.timestamp())
}

/// Parses one or more counts. Each has a unit, and no unit may occur twice.
fn span(text: &str) -> Option<Span> {
    let mut words = words(text).into_iter();
    let mut seen = Vec::new();
    let mut span = Span::new();
    while let Some(count) = words.next() {
        let count = match count {
            "a" | "an" => 1,
            digits => digits.parse::<i64>().ok()?,
        };
        let unit = unit(words.next()?)?;
        if seen.contains(&unit) {
            return None;
        }
        seen.push(unit);
        span = match unit {
            Unit::Year => span.try_years(count),
            Unit::Month => span.try_months(count),
            Unit::Week => span.try_weeks(count),
            Unit::Day => span.try_days(count),
            Unit::Hour => span.try_hours(count),
            Unit::Minute => span.try_minutes(count),
            Unit::Second => span.try_seconds(count),
        }
        .ok()?;
    }
    (!seen.is_empty()).then_some(span)
}

fn unit(word: &str) -> Option<Unit> {
    let mut units = UNITS.iter();
    units
        .find(|(_, names)| names.contains(&word))
        .map(|(unit, _)| *unit)
}

/// Splits `text` into runs of digits and runs of other characters. Drops blanks, commas and a final
/// `ago`.
fn words(text: &str) -> Vec<&str> {
    let text = text.trim();
    let text = text.strip_suffix(" ago").unwrap_or(text);
    let parts = text.split([' ', ',']).filter(|part| !part.is_empty());
    parts.flat_map(runs).collect()
}

/// Splits `part` at each boundary between digits and other characters.
fn runs(part: &str) -> Vec<&str> {
    let is_digit = |at: usize| part.as_bytes()[at].is_ascii_digit();
    let cuts = (1..part.len()).filter(|at| is_digit(*at) != is_digit(at - 1));
    let mut found = Vec::new();
    let mut start = 0;
    // A digit is one byte and never part of a multi-byte character, so no cut splits a character.
    for end in cuts.chain([part.len()]) {
        found.push(&part[start..end]);
        start = end;
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ago(text: &str, now: &str) -> Option<String> {
        let moment = before(text, now.parse().unwrap());
        moment.map(|moment| moment.to_string())
    }

    #[test]
    fn every_way_to_write_an_age_goes_back_so_far() {
        let now = "2026-08-20T14:05:10Z";
        for (text, expected) in [
            ("30d", "2026-07-21T14:05:10Z"),
            ("2h30m", "2026-08-20T11:35:10Z"),
            ("1w", "2026-08-13T14:05:10Z"),
            ("a month", "2026-07-20T14:05:10Z"),
            ("3 months", "2026-05-20T14:05:10Z"),
            ("3mo", "2026-05-20T14:05:10Z"),
            ("an hour", "2026-08-20T13:05:10Z"),
            ("2 weeks 3 days", "2026-08-03T14:05:10Z"),
            ("1 year, 2 months", "2025-06-20T14:05:10Z"),
            ("90 s", "2026-08-20T14:03:40Z"),
            ("2 days ago", "2026-08-18T14:05:10Z"),
            ("0d", now),
        ] {
            assert_eq!(ago(text, now).as_deref(), Some(expected), "{text}");
        }
    }

    #[test]
    fn months_and_years_go_by_the_calendar() {
        for (text, now, expected) in [
            ("a month", "2025-03-31T12:00:00Z", "2025-02-28T12:00:00Z"),
            ("a month", "2024-03-31T12:00:00Z", "2024-02-29T12:00:00Z"),
            ("a month", "2024-03-29T12:00:00Z", "2024-02-29T12:00:00Z"),
            ("a month", "2025-03-29T12:00:00Z", "2025-02-28T12:00:00Z"),
            ("a year", "2024-02-29T23:59:59Z", "2023-02-28T23:59:59Z"),
            ("4 years", "2024-02-29T23:59:59Z", "2020-02-29T23:59:59Z"),
            ("a month", "2026-01-31T00:00:00Z", "2025-12-31T00:00:00Z"),
            // The month is subtracted first, then the day: the result is not 30 March minus a
            // month.
            (
                "1 month 1 day",
                "2025-03-31T00:00:00Z",
                "2025-02-27T00:00:00Z",
            ),
            // Arithmetic is in UTC: daylight saving time neither drops nor repeats an hour.
            ("1d", "2026-03-29T12:00:00Z", "2026-03-28T12:00:00Z"),
            ("24h", "2026-10-25T12:00:00Z", "2026-10-24T12:00:00Z"),
        ] {
            assert_eq!(
                ago(text, now).as_deref(),
                Some(expected),
                "{text} before {now}"
            );
        }
    }

    #[test]
    fn what_is_no_age_is_none() {
        for text in [
            "",
            " ",
            "30",
            "d",
            "d30",
            "a",
            "month",
            "1 fortnight",
            "1d2d",
            "-1d",
            "1.5h",
            "1d 2",
            "ago",
            "99999999999999999999d",
            "9223372036854775807y",
            "1é",
            "é1d",
            "30 000 years",
        ] {
            assert_eq!(ago(text, "2026-08-20T00:00:00Z"), None, "{text:?}");
        }
    }
}

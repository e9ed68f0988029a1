//! Parses dates and times, in UTC, and formats them for JSON and diffs.

use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::TimeZone;

use super::age;
use crate::error::{Error, Result};

/// Formats of a time without a time zone, in the syntax of `strptime(3)`.
const FORMS: [&str; 3] = ["%Y-%m-%d %H:%M:%S", "%Y-%m-%d %H:%M", "%Y-%m-%dT%H:%M:%S"];
/// Formats of a date. It stands for the first moment of that day.
const DAYS: [&str; 2] = ["%Y-%m-%d", "%Y/%m/%d"];

/// Parses a time in RFC 3339, `YYYY-mm-dd[ HH:MM[:SS]]` or `YYYY/mm/dd`. Returns nanoseconds since
/// 1970.
///
/// # Errors
/// [`crate::error::Kind::Usage`] for any other format, and for a time out of range.
pub fn parse(text: &str) -> Result<i64> {
    let known = "RFC 3339, YYYY-mm-dd[ HH:MM[:SS]] or YYYY/mm/dd";
    nanoseconds(moment(text), text, known)
}

/// Like [`parse`], but also accepts `now`, `today` and `yesterday` (the latter two mean midnight),
/// and an age before `now_ns`: `30d`, `2h30m`, `a month`.
///
/// # Errors
/// [`crate::error::Kind::Usage`] for any other format, and for a time out of range.
pub fn parse_from(text: &str, now_ns: i64) -> Result<i64> {
    let known = "RFC 3339, YYYY-mm-dd[ HH:MM[:SS]], YYYY/mm/dd, today, yesterday, \
                 or an age such as 30d, 2h30m or 3 months";
    let now = Timestamp::from_nanosecond(i128::from(now_ns));
    let now = now.expect("i64 nanoseconds are the years 1677 to 2262, and jiff goes further");
    let found = moment(text).or_else(|| near(text, now));
    nanoseconds(found.or_else(|| age::before(text, now)), text, known)
}

/// `moment` in nanoseconds since 1970. `known` lists the accepted formats of `text` for the error
/// message.
fn nanoseconds(moment: Option<Timestamp>, text: &str, known: &str) -> Result<i64> {
    let unknown = || Error::usage(format!("{text:?} is not a valid time: {known}"));
    let nanoseconds = moment.ok_or_else(unknown)?.as_nanosecond();
    let too_far = |_| Error::usage(format!("{text:?} is not from 1678 to 2261"));
    i64::try_from(nanoseconds).map_err(too_far)
}

/// The time of a word such as `now` or `today`.
fn near(text: &str, now: Timestamp) -> Option<Timestamp> {
    let today = TimeZone::UTC.to_datetime(now).date();
    let day = match text {
        "now" => return Some(now),
        "today" => today,
        "yesterday" => today.yesterday().ok()?,
        _ => return None,
    };
    let midnight = day.to_zoned(TimeZone::UTC);
    midnight.ok().map(|midnight| midnight.timestamp())
}

/// Parses an absolute time.
fn moment(text: &str) -> Option<Timestamp> {
    if let Ok(moment) = text.parse() {
        return Some(moment);
    }
    let time = |form: &&str| DateTime::strptime(form, text).ok();
    let day = |form: &&str| {
        let day = jiff::civil::Date::strptime(form, text);
        day.ok().map(|day| day.at(0, 0, 0, 0))
    };
    let civil = FORMS.iter().find_map(time);
    let civil = civil.or_else(|| DAYS.iter().find_map(day))?;
    let zoned = civil.to_zoned(TimeZone::UTC);
    zoned.ok().map(|zoned| zoned.timestamp())
}

/// RFC 3339 in UTC, for JSON. Trailing zeros of the fraction are omitted.
pub fn precise(nanoseconds: i64) -> String {
    let moment = Timestamp::from_nanosecond(i128::from(nanoseconds));
    moment.map_or_else(|_| nanoseconds.to_string(), |moment| moment.to_string())
}

/// The format of `diff -u`, in UTC: `2026-01-14 06:45:32.000000000 +0000`.
pub fn in_diff(nanoseconds: i64) -> String {
    let moment = Timestamp::from_nanosecond(i128::from(nanoseconds));
    let form = |moment: Timestamp| moment.strftime("%Y-%m-%d %H:%M:%S.%9f +0000").to_string();
    moment.map_or_else(|_| nanoseconds.to_string(), form)
}

/// The current time in seconds, for use in a file name: RFC 3339 without colons.
pub fn now_in_name() -> String {
    Timestamp::now().strftime("%Y-%m-%dT%H-%M-%SZ").to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_way_to_write_a_time_is_that_time() {
        for text in [
            "2026-01-14T06:45:00Z",
            "2026-01-14T07:45:00+01:00",
            "2026-01-14 06:45:00",
            "2026-01-14T06:45:00",
            "2026-01-14 06:45",
        ] {
            assert_eq!(
                precise(parse(text).unwrap()),
                "2026-01-14T06:45:00Z",
                "{text}"
            );
        }
        for text in ["2026-01-14", "2026/01/14"] {
            assert_eq!(
                precise(parse(text).unwrap()),
                "2026-01-14T00:00:00Z",
                "{text}"
            );
        }
    }

    #[test]
    fn what_is_no_time_is_refused() {
        for text in [
            "",
            "yesterday",
            "2026-13-01",
            "2026-02-30",
            "2026-01-14 25:00",
            "9999-01-01",
        ] {
            assert!(parse(text).is_err(), "{text:?}");
        }
    }

    #[test]
    fn words_and_ages_are_told_from_the_present() {
        let now_ns = parse("2026-03-01T14:05:10Z").unwrap();
        for (text, expected) in [
            ("now", "2026-03-01T14:05:10Z"),
            ("today", "2026-03-01T00:00:00Z"),
            ("yesterday", "2026-02-28T00:00:00Z"),
            ("1d", "2026-02-28T14:05:10Z"),
            ("2026/01/14", "2026-01-14T00:00:00Z"),
            ("2026-01-14T00:30:00+01:00", "2026-01-13T23:30:00Z"),
        ] {
            let found = parse_from(text, now_ns).unwrap();
            assert_eq!(precise(found), expected, "{text}");
        }
    }

    #[test]
    fn a_time_that_no_snapshot_can_have_is_told_as_such() {
        for text in [
            "2300-01-01",
            "1600/01/01",
            "9999-01-01T00:00:00Z",
            "400 years",
        ] {
            let error = parse_from(text, 0).unwrap_err().to_string();
            assert!(error.ends_with("is not from 1678 to 2261"), "{error}");
        }
        for text in ["1678-01-01", "2261-12-31 23:59:59"] {
            assert!(parse_from(text, 0).is_ok(), "{text}");
        }
    }

    #[test]
    fn a_bare_number_is_refused_with_the_forms_we_know() {
        for text in ["30", "tomorrow", "31 Feb"] {
            let error = parse_from(text, 0).unwrap_err().to_string();
            assert!(error.contains("an age such as 30d"), "{error}");
        }
    }
}

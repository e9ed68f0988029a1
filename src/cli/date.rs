//! Times as people write them, in UTC, and as JSON has them.

use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::TimeZone;

use crate::error::{Error, Result};

/// Ways to write a time without a zone, in the terms of `strptime(3)`.
const FORMS: [&str; 3] = ["%Y-%m-%d %H:%M:%S", "%Y-%m-%d %H:%M", "%Y-%m-%dT%H:%M:%S"];
/// Ways to write a day, whose first moment is meant.
const DAYS: [&str; 2] = ["%Y-%m-%d", "%Y/%m/%d"];

/// Nanoseconds since 1970 of the time that `text` tells: RFC 3339,
/// `YYYY-mm-dd[ HH:MM[:SS]]` or `YYYY/mm/dd`.
///
/// # Errors
/// [`crate::error::Kind::Usage`].
pub fn parse(text: &str) -> Result<i64> {
    let known = "RFC 3339, YYYY-mm-dd[ HH:MM[:SS]] or YYYY/mm/dd";
    let moment = moment(text).map(Timestamp::as_nanosecond);
    let nanoseconds = moment.and_then(|moment| i64::try_from(moment).ok());
    nanoseconds.ok_or_else(|| Error::usage(format!("{text:?} is no time we know: {known}")))
}

/// The moment that `text` tells.
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

/// RFC 3339 in UTC with as many digits of the second as matter, for JSON.
pub fn precise(nanoseconds: i64) -> String {
    let moment = Timestamp::from_nanosecond(i128::from(nanoseconds));
    moment.map_or_else(|_| nanoseconds.to_string(), |moment| moment.to_string())
}

/// As `diff -u` has it, in UTC: `2026-01-14 06:45:32.000000000 +0000`.
pub fn in_diff(nanoseconds: i64) -> String {
    let moment = Timestamp::from_nanosecond(i128::from(nanoseconds));
    let form = |moment: Timestamp| moment.strftime("%Y-%m-%d %H:%M:%S.%9f +0000").to_string();
    moment.map_or_else(|_| nanoseconds.to_string(), form)
}

/// The present second, as a part of a file's name: RFC 3339 without colons.
pub fn now_in_name() -> String {
    Timestamp::now().strftime("%Y-%m-%dT%H-%M-%SZ").to_string()
}

/// Nanoseconds since 1970, by this machine's clock.
pub fn now_ns() -> i64 {
    i64::try_from(Timestamp::now().as_nanosecond()).unwrap_or(i64::MAX)
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
}

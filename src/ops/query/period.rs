//! Periods of the calendar, in UTC, and the buckets that they part time into.
//!
//! The buckets of a period are numbered without gaps, so that the last N are those from
//! `current - N + 1` on. A week is one of ISO 8601: it begins on Monday. The buckets of a
//! weekday are the days of that name; a moment of any other day is in none of them.

use jiff::Timestamp;
use jiff::civil::{DateTime, Weekday};
use jiff::tz::TimeZone;

const SECOND_NS: i64 = 1_000_000_000;
const DAY_NS: i64 = 86_400 * SECOND_NS;

/// A period of the calendar.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Period {
    /// A minute.
    Minute,
    /// An hour.
    Hour,
    /// A day.
    Day,
    /// From Monday to Sunday.
    Week,
    /// A month.
    Month,
    /// A year.
    Year,
    /// A day of this name.
    On(Weekday),
}

impl Period {
    /// Every period, in the order in which verdicts tell of them.
    pub const ALL: [Period; 13] = [
        Period::Minute,
        Period::Hour,
        Period::Day,
        Period::Week,
        Period::Month,
        Period::Year,
        Period::On(Weekday::Monday),
        Period::On(Weekday::Tuesday),
        Period::On(Weekday::Wednesday),
        Period::On(Weekday::Thursday),
        Period::On(Weekday::Friday),
        Period::On(Weekday::Saturday),
        Period::On(Weekday::Sunday),
    ];

    /// What one is called: `minute`, `monday`.
    pub fn name(self) -> &'static str {
        match self {
            Period::Minute => "minute",
            Period::Hour => "hour",
            Period::Day => "day",
            Period::Week => "week",
            Period::Month => "month",
            Period::Year => "year",
            Period::On(Weekday::Monday) => "monday",
            Period::On(Weekday::Tuesday) => "tuesday",
            Period::On(Weekday::Wednesday) => "wednesday",
            Period::On(Weekday::Thursday) => "thursday",
            Period::On(Weekday::Friday) => "friday",
            Period::On(Weekday::Saturday) => "saturday",
            Period::On(Weekday::Sunday) => "sunday",
        }
    }

    /// The number of the bucket that the moment is in, if it is in one.
    pub(super) fn bucket(self, time_ns: i64) -> Option<i64> {
        match self {
            Period::On(weekday) if civil(time_ns).weekday() != weekday => None,
            period => Some(period.last_bucket(time_ns)),
        }
    }

    /// The number of the last bucket that has begun at the moment.
    pub(super) fn last_bucket(self, time_ns: i64) -> i64 {
        let day = time_ns.div_euclid(DAY_NS);
        match self {
            Period::Minute => time_ns.div_euclid(60 * SECOND_NS),
            Period::Hour => time_ns.div_euclid(3_600 * SECOND_NS),
            Period::Day => day,
            Period::Week => weeks_since(day, Weekday::Monday),
            Period::Month => {
                let date = civil(time_ns);
                12 * i64::from(date.year()) + i64::from(date.month())
            }
            Period::Year => i64::from(civil(time_ns).year()),
            Period::On(weekday) => weeks_since(day, weekday),
        }
    }

    /// What people call the bucket that the moment is in, such as `2026-08-20` or `2026-W34`.
    pub(super) fn bucket_name(self, time_ns: i64) -> String {
        let form = match self {
            Period::Minute => "%Y-%m-%dT%H:%M",
            Period::Hour => "%Y-%m-%dT%H",
            Period::Day | Period::On(_) => "%Y-%m-%d",
            // The year of the week: 2021-01-03 is in the last week of 2020.
            Period::Week => "%G-W%V",
            Period::Month => "%Y-%m",
            Period::Year => "%Y",
        };
        civil(time_ns).strftime(form).to_string()
    }
}

/// Whole weeks from the `weekday` next to 1970-01-01, which was a Thursday, to the day that
/// comes `day` days after that; negative before it.
fn weeks_since(day: i64, weekday: Weekday) -> i64 {
    let thursday = i64::from(Weekday::Thursday.to_monday_zero_offset());
    let first = i64::from(weekday.to_monday_zero_offset()) - thursday;
    (day - first).div_euclid(7)
}

/// The moment as a calendar and a clock show it in UTC.
fn civil(time_ns: i64) -> DateTime {
    let moment = Timestamp::from_nanosecond(i128::from(time_ns));
    let moment = moment.expect("i64 nanoseconds are the years 1677 to 2262, and jiff goes further");
    TimeZone::UTC.to_datetime(moment)
}

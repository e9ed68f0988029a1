//! Calendar periods in UTC, and the buckets into which they divide time.
//!
//! The buckets of a period are numbered without gaps, so the last N buckets are those from `current -
//! N + 1` on. Weeks follow ISO 8601: they begin on Monday. The buckets of a weekday are the days of
//! that name; a time on any other day is in none of them.

use jiff::Timestamp;
use jiff::civil::{DateTime, Weekday};
use jiff::tz::TimeZone;

const SECOND_NS: i64 = 1_000_000_000;
const DAY_NS: i64 = 86_400 * SECOND_NS;

/// A calendar period, or the days of one name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Period {
    /// 60 seconds.
    Minute,
    /// 60 minutes.
    Hour,
    /// A day in UTC.
    Day,
    /// Monday to Sunday.
    Week,
    /// A calendar month.
    Month,
    /// A calendar year.
    Year,
    /// The days with this name.
    On(Weekday),
}

impl Period {
    /// Every period, in the order in which verdicts list them.
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

    /// The name of the period, such as `minute` or `monday`.
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

    /// The number of the bucket that contains the time; `None` if no bucket does.
    pub(super) fn bucket(self, time_ns: i64) -> Option<i64> {
        match self {
            Period::On(weekday) if civil(time_ns).weekday() != weekday => None,
            period => Some(period.last_bucket(time_ns)),
        }
    }

    /// The number of the last bucket that has begun at this time.
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

    /// The name of the bucket that contains the time, such as `2026-08-20` or `2026-W34`.
    pub(super) fn bucket_name(self, time_ns: i64) -> String {
        let form = match self {
            Period::Minute => "%Y-%m-%dT%H:%M",
            Period::Hour => "%Y-%m-%dT%H",
            Period::Day | Period::On(_) => "%Y-%m-%d",
            // The ISO year of the week: 2021-01-03 is in the last week of 2020.
            Period::Week => "%G-W%V",
            Period::Month => "%Y-%m",
            Period::Year => "%Y",
        };
        civil(time_ns).strftime(form).to_string()
    }
}

/// Whole weeks from the `weekday` nearest to 1970-01-01, a Thursday, to the day that is `day` days
/// after 1970-01-01; negative before that weekday.
fn weeks_since(day: i64, weekday: Weekday) -> i64 {
    let thursday = i64::from(Weekday::Thursday.to_monday_zero_offset());
    let first = i64::from(weekday.to_monday_zero_offset()) - thursday;
    (day - first).div_euclid(7)
}

/// The date and time of day in UTC.
fn civil(time_ns: i64) -> DateTime {
    let moment = Timestamp::from_nanosecond(i128::from(time_ns));
    let moment = moment.expect("i64 nanoseconds are the years 1677 to 2262, and jiff goes further");
    TimeZone::UTC.to_datetime(moment)
}

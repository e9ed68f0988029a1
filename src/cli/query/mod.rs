//! Parses the flags that select snapshots: see plakar-query(7).
//!
//! They come from the command line, from a policy in a file with the same names and values, or from
//! both. In the last case the command line adds to the policy, and takes precedence where only one
//! value is possible.

pub mod policy;
use std::ffi::{OsStr, OsString};
use std::fs;
use std::num::NonZeroU32;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::Path;

use super::args::{Args, Setting};
use super::date;
use super::parse;
use super::suggest::did_you_mean;
use super::table::{Flag, Group};
use crate::error::{During, Error, Result};
use crate::ops::query::{Field, Filters, Matcher, Newest, Period, Query};
use crate::ops::select;
use crate::util::clock;

/// The flags of a query.
pub static GROUP: Group = Group {
    title: "QUERY (all up to -group-by hold, and any of the rest)",
    page: ("plakar-query", 7),
    flags: FLAGS,
};

const FLAGS: &[Flag] = &[
    Flag::value(
        "before",
        "TIME",
        "made before TIME: a date, or an age such as 30d",
    ),
    Flag::value("since", "TIME", "made at TIME or later"),
    Flag::value("name", "NAME", "with this name"),
    Flag::value("category", "NAME", "with this category"),
    Flag::value("environment", "NAME", "with this environment"),
    Flag::value("perimeter", "NAME", "with this perimeter"),
    Flag::value("job", "NAME", "made by this job"),
    Flag::value("tag", "TAG,...", "with every TAG, and without any !TAG").repeatable(),
    Flag::value("root", "PATH", "of PATH, or of any one given").repeatable(),
    Flag::value("origin", "HOST", "of files on HOST"),
    Flag::value("type", "fs|sftp|stdin|cmd", "of a source of this type"),
    Flag::switch("latest", "only the newest of what all other flags leave"),
    Flag::value(
        "group-by",
        "FIELD",
        "group by FIELD: name, category, environment, perimeter, job, origin, type, host, root, tag, source or none",
    ),
    Flag::value(
        "minutes",
        "N",
        "made in the last N minutes, this one counted",
    ),
    Flag::value("hours", "N", "made in the last N hours"),
    Flag::value("days", "N", "made in the last N days"),
    Flag::value("weeks", "N", "made in the last N weeks"),
    Flag::value("months", "N", "made in the last N months"),
    Flag::value("years", "N", "made in the last N years"),
    Flag::value("mondays", "N", "made on the last N Mondays"),
    Flag::value("tuesdays", "N", "made on the last N Tuesdays").also(&["thuesdays"]),
    Flag::value("wednesdays", "N", "made on the last N Wednesdays"),
    Flag::value("thursdays", "N", "made on the last N Thursdays"),
    Flag::value("fridays", "N", "made on the last N Fridays"),
    Flag::value("saturdays", "N", "made on the last N Saturdays"),
    Flag::value("sundays", "N", "made on the last N Sundays"),
    Flag::value("per-minute", "N", "only the newest N of each minute"),
    Flag::value("per-hour", "N", "only the newest N of each hour"),
    Flag::value("per-day", "N", "only the newest N of each day"),
    Flag::value("per-week", "N", "only the newest N of each week"),
    Flag::value("per-month", "N", "only the newest N of each month"),
    Flag::value("per-year", "N", "only the newest N of each year"),
    Flag::value("per-monday", "N", "only the newest N of each Monday"),
    Flag::value("per-tuesday", "N", "only the newest N of each Tuesday").also(&["per-thuesday"]),
    Flag::value("per-wednesday", "N", "only the newest N of each Wednesday"),
    Flag::value("per-thursday", "N", "only the newest N of each Thursday"),
    Flag::value("per-friday", "N", "only the newest N of each Friday"),
    Flag::value("per-saturday", "N", "only the newest N of each Saturday"),
    Flag::value("per-sunday", "N", "only the newest N of each Sunday"),
];

/// The types of sources.
const TYPES: [&str; 4] = ["fs", "sftp", "stdin", "cmd"];

/// The query that `args` specify, relative to the current time.
///
/// # Errors
/// [`crate::error::Kind::Usage`] for an invalid value, or a query that no snapshot can match.
pub fn from_args(args: &Args) -> Result<Query> {
    from_policy_and_args(&[], args)
}

/// The query that `policy` and `args` specify together. `policy` contains names of flags with their
/// values.
///
/// # Errors
/// [`crate::error::Kind::Usage`] for an invalid value, or a query that no snapshot can match.
pub fn from_policy_and_args(policy: &[(String, String)], args: &Args) -> Result<Query> {
    let mut query = from_policy(policy)?;
    for (flag, setting) in &args.given {
        if FLAGS.iter().any(|ours| ours.name == flag.name) {
            take_given(&mut query, flag, setting).during(|| args.path())?;
        }
    }
    checked(query).during(|| args.path())
}

/// The query that `policy` specifies, relative to the current time. `policy` contains names of
/// flags without dashes, with their values. The value of a switch is `true` or `false`.
///
/// # Errors
/// [`crate::error::Kind::Usage`] for an unknown name or an invalid value.
pub fn from_policy(policy: &[(String, String)]) -> Result<Query> {
    let mut query = Query::at(clock::now_ns());
    for (name, value) in policy {
        let value = OsString::from(value);
        let flag = named(name)?;
        let setting = match flag.value {
            Some(_) => Setting::Value(value),
            None => parse::truth(name, &value)?,
        };
        take(&mut query, flag.name, &setting)?;
    }
    checked(query)
}

/// The flag with the name `name`.
fn named(name: &str) -> Result<&'static Flag> {
    let flag = FLAGS
        .iter()
        .find(|flag| flag.names().any(|known| known == name));
    let known = || FLAGS.iter().flat_map(Flag::names);
    flag.ok_or_else(|| {
        let hint = did_you_mean(name, known(), "");
        Error::usage(format!("unknown filter or matcher {name:?}{hint}"))
    })
}

/// Applies a flag of the command line, where a path may be relative and contain symbolic links.
fn take_given(query: &mut Query, flag: &Flag, setting: &Setting) -> Result<()> {
    match (flag.name, setting) {
        ("root", Setting::Value(path)) => {
            query.filters.roots.extend(places(path).during(|| "-root")?);
            Ok(())
        }
        (name, setting) => take(query, name, setting),
    }
}

/// Applies one flag, given its main name.
fn take(query: &mut Query, name: &'static str, setting: &Setting) -> Result<()> {
    match setting {
        Setting::On => query.newest = Newest::Only,
        Setting::Off => query.newest = Newest::All,
        Setting::Value(value) => take_value(query, name, value).during(|| format!("-{name}"))?,
    }
    Ok(())
}

/// Applies one flag with a value.
fn take_value(query: &mut Query, name: &'static str, value: &OsStr) -> Result<()> {
    if name == "root" {
        query.filters.roots.push(absolute(value)?);
        return Ok(());
    }
    let text = value
        .to_str()
        .ok_or_else(|| Error::usage(format!("{value:?} is not UTF-8")))?;
    let now_ns = query.now_ns;
    let filters = &mut query.filters;
    match name {
        "before" => filters.before_ns = Some(date::parse_from(text, now_ns)?),
        "since" => filters.since_ns = Some(date::parse_from(text, now_ns)?),
        "name" => filters.name = Some(text.to_owned()),
        "category" => filters.category = Some(text.to_owned()),
        "environment" => filters.environment = Some(text.to_owned()),
        "perimeter" => filters.perimeter = Some(text.to_owned()),
        "job" => filters.job = Some(text.to_owned()),
        "origin" => filters.origin = Some(text.to_owned()),
        "type" => filters.source = Some(one_of(text, TYPES.into_iter())?.to_owned()),
        "tag" => take_tags(filters, text)?,
        "group-by" => query.group_by = Some(field(text)?),
        matcher => take_matcher(query, matcher, count(text)?),
    }
    Ok(())
}

/// Applies required tags and excluded tags.
fn take_tags(filters: &mut Filters, list: &str) -> Result<()> {
    for tag in list.split(',').map(str::trim) {
        let (tags, tag) = match tag.strip_prefix('!') {
            Some(tag) => (&mut filters.absent_tags, tag.trim()),
            None => (&mut filters.tags, tag),
        };
        if tag.is_empty() {
            return Err(Error::usage(format!("a tag in {list:?} is empty")));
        }
        tags.push(tag.to_owned());
    }
    Ok(())
}

/// Sets the number of buckets, or of snapshots per bucket, that the flag `name` specifies.
fn take_matcher(query: &mut Query, name: &str, count: NonZeroU32) {
    let (period, limit) = limit(name).expect("every other flag of the table is taken before");
    let known = query.matchers.iter().position(|one| one.period == period);
    let place = known.unwrap_or_else(|| {
        query.matchers.push(Matcher::new(period));
        query.matchers.len() - 1
    });
    let matcher = &mut query.matchers[place];
    match limit {
        Limit::Keep => matcher.keep = Some(count),
        Limit::Cap => matcher.cap = Some(count),
    }
}

/// The limit of a matcher that a flag sets.
enum Limit {
    Keep,
    Cap,
}

/// The period and limit of the flag `name`: `days` limits the number of days, `per-day` the
/// snapshots of each day.
fn limit(name: &str) -> Option<(Period, Limit)> {
    let (singular, limit) = match name.strip_prefix("per-") {
        Some(singular) => (singular, Limit::Cap),
        None => (name.strip_suffix('s')?, Limit::Keep),
    };
    let period = Period::ALL.into_iter().find(|one| one.name() == singular)?;
    Some((period, limit))
}

/// Parses a number of buckets or snapshots.
fn count(text: &str) -> Result<NonZeroU32> {
    let wrong = |_| Error::usage(format!("{text:?} is not a number from 1 to {}", u32::MAX));
    text.parse().map_err(wrong)
}

/// The field with the name `text`.
fn field(text: &str) -> Result<Field> {
    let name = one_of(text, Field::ALL.iter().map(|(name, _)| *name))?;
    Ok(Field::named(name).expect("it is one of them"))
}

/// The element of `known` that equals `text`.
fn one_of(text: &str, known: impl Iterator<Item = &'static str> + Clone) -> Result<&'static str> {
    let found = known.clone().find(|name| *name == text);
    found.ok_or_else(|| {
        let hint = did_you_mean(text, known.clone(), "");
        let known: Vec<&str> = known.collect();
        Error::usage(format!("{text:?} is none of {}{hint}", known.join(", ")))
    })
}

/// The paths that `path` on the command line can match: the path as spelled, relative to the
/// current directory, and with symbolic links resolved if it exists locally, as a backup records
/// it.
fn places(path: &OsStr) -> Result<Vec<Vec<u8>>> {
    if path.is_empty() {
        return Err(Error::usage("the path is empty"));
    }
    let spelt = std::path::absolute(Path::new(path))?;
    let mut places = vec![absolute(spelt.as_os_str())?];
    let followed = fs::canonicalize(&spelt).map(|path| path.into_os_string().into_vec());
    places.extend(followed.ok().filter(|followed| *followed != places[0]));
    Ok(places)
}

/// An absolute path without `.`, `..` and a trailing slash.
fn absolute(path: &OsStr) -> Result<Vec<u8>> {
    match path.as_bytes().first() {
        Some(b'/') => Ok(select::normal(path.as_bytes())),
        _ => Err(Error::usage(format!("{path:?} is not an absolute path"))),
    }
}

/// Validates the query.
///
/// # Errors
/// [`crate::error::Kind::Usage`] if no snapshot could match.
fn checked(mut query: Query) -> Result<Query> {
    let filters = &query.filters;
    if let (Some(since), Some(before)) = (filters.since_ns, filters.before_ns)
        && since >= before
    {
        let (since, before) = (date::precise(since), date::precise(before));
        let message = format!("nothing is both since {since} and before {before}");
        return Err(Error::usage(message));
    }
    let is_absent = |tag: &&String| filters.absent_tags.contains(tag);
    if let Some(tag) = filters.tags.iter().find(is_absent) {
        let message = format!("-tag: {tag:?} cannot be there and not be there");
        return Err(Error::usage(message));
    }
    let order = |matcher: &Matcher| Period::ALL.iter().position(|one| *one == matcher.period);
    query.matchers.sort_by_key(order);
    Ok(query)
}

#[cfg(test)]
mod tests;

//! Defines the valid contents of a section: a place has a location and the options of its
//! connector, a policy has the flags of a query.

use std::io::{BufRead, IsTerminal, stdin};

use zeroize::Zeroizing;

use crate::cli::table::Times;
use crate::cli::{Args, Flag, Globals, passphrase, query};
use crate::config::entries::{Entries, Entry, LOCATION, Pair, Value};
use crate::config::{Section, schema};
use crate::error::{During, Error, Kind, Result};
use crate::net::location::Location;
use crate::util::suggest::did_you_mean;

/// The maximum length of a line read from standard input.
const LINE_LIMIT_BYTES: u64 = 4096;

/// Checks whether `entry` can be used in `section`.
///
/// # Errors
/// [`Kind::Usage`] for options that are unknown or have an invalid value, and for a policy that
/// does not state what to keep.
pub(super) fn check(globals: &Globals, section: Section, entry: &Entry) -> Result<()> {
    match section.role() {
        Some(role) => {
            let home = globals.environment.home.as_deref();
            schema::check(entry, role, home).map(drop)
        }
        None => {
            let query = query::from_policy(&query::policy::words(entry.pairs()?))?;
            match query.matchers.is_empty() {
                true => Err(Error::usage(
                    "it keeps nothing: add what to keep, such as days=7 or per-month=1",
                )),
                false => Ok(()),
            }
        }
    }
}

/// `pairs` in the form in which they are stored in an entry of `section` with `location`.
///
/// # Errors
/// [`Kind::Usage`] for an unknown option or an invalid value.
pub(super) fn kept(section: Section, location: &str, pairs: Vec<Pair>) -> Result<Vec<Pair>> {
    let Some(role) = section.role() else {
        return Ok(pairs.into_iter().map(kept_in_policy).collect());
    };
    let at = match location.starts_with("~") {
        true => Location::Path(location.as_bytes().to_vec()),
        false => Location::parse(location.as_bytes())?,
    };
    let kept = pairs.into_iter().map(|pair| match pair.0.as_str() {
        LOCATION => Ok(pair),
        _ => schema::kept(pair, &at, role),
    });
    kept.collect()
}

/// Converts a filter or matcher to its main name, and numbers and switches to their types. Invalid
/// values are kept unchanged, to be reported later.
fn kept_in_policy((key, value): Pair) -> Pair {
    let Some(flag) = query_flag(&key) else {
        return (key, value);
    };
    let text = value.text();
    let value = match flag.value {
        None if text.as_str() == "true" => Value::Switch(true),
        None if text.as_str() == "false" => Value::Switch(false),
        Some("N") => text.parse().map_or(value, Value::Number),
        _ => value,
    };
    (flag.name.to_owned(), value)
}

fn query_flag(key: &str) -> Option<&'static Flag> {
    let mut flags = query::GROUP.flags.iter();
    flags.find(|flag| flag.names().any(|name| name == key))
}

/// Parses the keys and values in `words`. The value of a secret can be `-`; then it is read from
/// the terminal or standard input. In a policy a key can occur several times.
///
/// # Errors
/// [`Kind::Usage`] for invalid syntax.
pub(super) fn pairs(globals: &Globals, section: Section, words: &[String]) -> Result<Vec<Pair>> {
    let mut pairs: Vec<Pair> = Vec::new();
    warn_of_exposure(globals, words);
    for word in words {
        let no_pair = || Error::usage(format!("{word:?} is not KEY=VALUE"));
        let (key, text) = word.split_once('=').ok_or_else(no_pair)?;
        let value = match text {
            "-" if schema::is_secret(key) => secret(globals, key)?,
            text => Value::from(text),
        };
        match pairs.iter_mut().find(|(known, _)| known == key) {
            None => pairs.push((key.to_owned(), value)),
            Some((_, first)) if is_repeatable(section, key) => *first = both(first, &value),
            Some(_) => return Err(Error::usage(format!("{key} is given twice"))),
        }
    }
    Ok(pairs)
}

/// Warns if a secret is typed as an argument.
fn warn_of_exposure(globals: &Globals, words: &[String]) {
    let keys = words.iter().filter_map(|word| word.split_once('='));
    let mut exposed = keys.filter(|(key, text)| *text != "-" && schema::is_secret(key));
    if let Some((key, _)) = exposed.next()
        && stdin().is_terminal()
    {
        let cause = format!(
            "{key}: the shell history keeps it, and ps showed it to other users; \"{key}=-\" prompts \
             for it instead"
        );
        globals.out.warning(&Error::new(Kind::Denied, cause));
    }
}

fn is_repeatable(section: Section, key: &str) -> bool {
    let flag = query_flag(key).filter(|_| section == Section::Policies);
    flag.is_some_and(|flag| flag.times == Times::Repeatable)
}

/// Combines two values of one key.
fn both(first: &Value, second: &Value) -> Value {
    let texts = [first, second].into_iter().flat_map(|value| match value {
        Value::List(texts) => texts.clone(),
        value => vec![value.text()],
    });
    Value::List(texts.collect())
}

/// Reads the secret `key` from the terminal, or from the next line of standard input.
fn secret(globals: &Globals, key: &str) -> Result<Value> {
    let text = match stdin().is_terminal() {
        true => passphrase::typed(&format!("{key}: "), &globals.interrupt)?,
        false => {
            let mut line = Zeroizing::new(Vec::with_capacity(LINE_LIMIT_BYTES as usize));
            let mut input = std::io::Read::take(stdin().lock(), LINE_LIMIT_BYTES);
            input
                .read_until(b'\n', &mut line)
                .during(|| "standard input")?;
            while line.last().is_some_and(|byte| b"\r\n".contains(byte)) {
                line.pop();
            }
            line
        }
    };
    let text = std::str::from_utf8(&text);
    let text = text.map_err(|_| Error::usage(format!("{key}: it is not UTF-8")))?;
    Ok(Value::from(text))
}

/// The entry with the name `name`.
///
/// # Errors
/// [`Kind::NotFound`] if it does not exist.
pub(super) fn existing<'a>(
    section: Section,
    entries: &'a Entries,
    name: &str,
) -> Result<&'a Entry> {
    let missing = || {
        let hint = did_you_mean(name, entries.names(), "");
        let word = section.word();
        Error::new(Kind::NotFound, format!("no {word} named {name}{hint}"))
    };
    entries.get(name).ok_or_else(missing)
}

/// The name, which is the first argument, and the remaining arguments.
pub(super) fn name_and_rest(args: &Args) -> Result<(String, Vec<String>)> {
    args.at_least_one("a NAME")?;
    let mut words = args.texts()?;
    let rest = words.split_off(1);
    Ok((super::bare(&words[0]).to_owned(), rest))
}

//! Prints the configuration.

use std::fmt;

use serde::Serialize;
use serde_json::{Map, Value as Json};

use super::rules::existing;
use super::{HIDDEN, bare, section};
use crate::cli::escape::printable;
use crate::cli::output::Format;
use crate::cli::{Args, Globals, Status};
use crate::config::edit::Draft;
use crate::config::entries::{Entry, LOCATION, Pair, Value};
use crate::config::place::Place;
use crate::config::{Role, Section, schema};
use crate::error::{During, Result};

/// One entry in JSON.
#[derive(Serialize)]
struct Shown {
    name: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    location: Option<String>,
    is_default: bool,
    options: Map<String, Json>,
}

/// Used only with `-json`. Text output is TOML.
impl fmt::Display for Shown {
    fn fmt(&self, _: &mut fmt::Formatter<'_>) -> fmt::Result {
        Ok(())
    }
}

pub(super) fn show(globals: &Globals, args: Args) -> Result<Status> {
    let section = section(&args);
    let entries = globals.entries(section)?;
    let words = args.texts()?;
    let named = words
        .iter()
        .map(|word| existing(section, entries, bare(word)));
    let chosen: Vec<&Entry> = match words.is_empty() {
        true => entries.iter().collect(),
        false => named.collect::<Result<_>>().during(|| args.path())?,
    };
    let mut shown = Vec::new();
    for entry in &chosen {
        match entry.pairs() {
            Ok(pairs) => shown.push((*entry, masked(pairs, args.is_on("secrets")))),
            Err(error) => globals.out.failed(entry.name.as_bytes(), &error),
        }
    }
    let default = entries.default.as_deref();
    match globals.out.format() {
        Format::Json => print_json(globals, section, &shown, default)?,
        Format::Human | Format::Lines => {
            print_toml(globals, &shown, default.filter(|_| words.is_empty()))?;
        }
    }
    Ok(Status::partial_if(shown.len() < chosen.len()))
}

/// `pairs` with secrets replaced, unless they are requested.
fn masked(pairs: &[Pair], are_secrets_shown: bool) -> Vec<Pair> {
    let mask = |(key, value): &Pair| match are_secrets_shown || !schema::is_secret(key) {
        true => (key.clone(), value.clone()),
        false => (key.clone(), Value::from(HIDDEN)),
    };
    pairs.iter().map(mask).collect()
}

fn print_toml(
    globals: &Globals,
    shown: &[(&Entry, Vec<Pair>)],
    default: Option<&str>,
) -> Result<()> {
    let mut draft = Draft::empty();
    for (entry, pairs) in shown {
        draft.put(&Entry::new(entry.name.as_str(), pairs.clone()))?;
    }
    if default.is_some() {
        draft.set_default(default);
    }
    for line in draft.text()?.lines() {
        globals
            .out
            .bytes(format!("{}\n", printable(line.as_bytes())).as_bytes())?;
    }
    Ok(())
}

fn print_json(
    globals: &Globals,
    section: Section,
    shown: &[(&Entry, Vec<Pair>)],
    default: Option<&str>,
) -> Result<()> {
    for (entry, pairs) in shown {
        let options = pairs.iter().filter(|(key, _)| key != LOCATION);
        let shown = Shown {
            name: entry.name.clone(),
            location: section
                .role()
                .and_then(|_| entry.location().ok())
                .map(str::to_owned),
            is_default: default == Some(entry.name.as_str()),
            options: options
                .map(|(key, value)| (key.clone(), json(value)))
                .collect(),
        };
        globals.out.result(section.word(), &shown)?;
    }
    Ok(())
}

fn json(value: &Value) -> Json {
    match value {
        Value::Switch(is_on) => Json::from(*is_on),
        Value::Number(number) => Json::from(*number),
        Value::Text(text) => Json::from(text.as_str()),
        Value::List(texts) => texts.iter().map(|text| text.as_str()).collect(),
    }
}

/// A name and its location.
#[derive(Serialize)]
struct Listed {
    name: String,
    location: String,
    is_default: bool,
    #[serde(skip)]
    width: usize,
}

impl fmt::Display for Listed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (name, location) = (
            printable(self.name.as_bytes()),
            printable(self.location.as_bytes()),
        );
        let width = self.width;
        let default = if self.is_default { " (default)" } else { "" };
        write!(f, "{name:width$}  {location}{default}")
    }
}

/// Prints one line for each name, or for each given `NAME:PATH`, with the location.
pub(super) fn list(globals: &Globals, args: Args) -> Result<Status> {
    let section = section(&args);
    let Some(role) = section.role() else {
        return names(globals, args);
    };
    let entries = globals.entries(section)?;
    let given = args.texts()?;
    let words: Vec<&str> = match given.is_empty() {
        true => entries.names().collect(),
        false => given.iter().map(|word| bare(word)).collect(),
    };
    let width = words.iter().map(|word| word.chars().count()).max();
    let mut status = Status::Success;
    for word in words {
        match place(globals, role, word) {
            Ok(place) => {
                let listed = Listed {
                    name: word.to_owned(),
                    location: place.location.to_string(),
                    is_default: entries.default.as_deref() == Some(word),
                    width: width.unwrap_or(0),
                };
                globals.out.result(section.word(), &listed)?;
            }
            // A name given explicitly must exist. Otherwise, a damaged entry does not hide the next
            // one.
            Err(error) if !given.is_empty() => return Err(error.during(args.path())),
            Err(error) => {
                globals.out.failed(word.as_bytes(), &error);
                status = Status::Partial;
            }
        }
    }
    Ok(status)
}

/// Resolves `NAME[:PATH]`.
pub(super) fn place(globals: &Globals, role: Role, word: &str) -> Result<Place> {
    globals.place_of(role, format!("@{word}").as_ref())
}

/// A name without further data.
#[derive(Serialize)]
struct Name {
    name: String,
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&printable(self.name.as_bytes()))
    }
}

/// Prints only the names.
pub(super) fn names(globals: &Globals, args: Args) -> Result<Status> {
    args.no_arguments()?;
    let section = section(&args);
    for name in globals.entries(section)?.names() {
        let name = name.to_owned();
        globals.out.result(section.word(), &Name { name })?;
    }
    Ok(Status::Success)
}

/// Prints the default, if there is one.
pub(super) fn default(globals: &Globals, section: Section) -> Result<Status> {
    if let Some(name) = &globals.entries(section)?.default {
        let name = name.clone();
        globals.out.result(section.word(), &Name { name })?;
    }
    Ok(Status::Success)
}

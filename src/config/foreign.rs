//! Reads configurations to be imported: TOML in the format of plakar, JSON, and that of rclone.
//!
//! JSON is either one object that maps names to objects with `location` and options, as printed by
//! other versions of plakar, or a sequence of objects with `name`, `location` and `options`, as
//! printed by this version.
//!
//! An unusable entry contains its error, so it does not hide the next one.

use std::io::Read;

use serde_json::{Map, Value as Json};
use zeroize::Zeroizing;

use super::entries::{Entries, Entry, LOCATION, Pair, Value};
use super::{file, rclone};
use crate::error::{Error, Kind, Result};

/// The format of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// TOML or JSON, detected automatically.
    Ours,
    /// The configuration of rclone.
    Rclone,
}

/// The contents of an imported file.
#[derive(Debug, Default)]
pub struct Foreign {
    /// All entries, including those that cannot be imported.
    pub entries: Entries,
    /// Options that are omitted from entries that can be imported: the entry name and a warning.
    pub warnings: Vec<(String, String)>,
}

/// Reads all of `input`.
///
/// # Errors
/// [`Kind::Unsupported`] if it is not in `format`.
pub fn read(input: impl Read, format: Format) -> Result<Foreign> {
    let text = file::text(input)?;
    let entries = match format {
        Format::Rclone => return rclone::parse(&text),
        Format::Ours if text.trim_start().starts_with('{') => json(&text)?,
        Format::Ours => Entries::parse(&text, 0o600)?,
    };
    Ok(Foreign {
        entries,
        warnings: Vec::new(),
    })
}

/// The entries in one or more JSON objects.
fn json(text: &str) -> Result<Entries> {
    let mut entries = Vec::new();
    for object in serde_json::Deserializer::from_str(text).into_iter::<Map<String, Json>>() {
        let object = object.map_err(|cause| {
            let (line, column) = (cause.line(), cause.column());
            let cause = format!("line {line}, column {column}: not an object of JSON");
            Error::new(Kind::Unsupported, cause)
        })?;
        match (object.get("name"), object.get("options")) {
            (Some(Json::String(name)), Some(Json::Object(_)) | None) => {
                entries.push(named(name.clone(), object));
            }
            _ => entries.extend(object.into_iter().map(|(name, value)| match value {
                Json::Object(options) => entry(name, options.into_iter()),
                _ => Entry::broken(name, Error::new(Kind::Unsupported, "not an object")),
            })),
        }
    }
    Ok(Entries::of(entries))
}

/// The entry in an object printed by `show -json`.
fn named(name: String, mut object: Map<String, Json>) -> Entry {
    let location = object
        .remove(LOCATION)
        .map(|value| (LOCATION.to_owned(), value));
    let options = match object.remove("options") {
        Some(Json::Object(options)) => options,
        _ => Map::new(),
    };
    entry(name, location.into_iter().chain(options))
}

fn entry(name: String, options: impl Iterator<Item = (String, Json)>) -> Entry {
    let pairs: Result<Vec<Pair>> = options.map(|(key, value)| pair(key, value)).collect();
    match pairs {
        Ok(pairs) => Entry::new(name, pairs),
        Err(error) => Entry::broken(name, error),
    }
}

fn pair(key: String, value: Json) -> Result<Pair> {
    let value = match value {
        Json::String(text) => Some(Value::Text(Zeroizing::new(text))),
        Json::Bool(is_on) => Some(Value::Switch(is_on)),
        Json::Number(number) => number.as_i64().map(Value::Number),
        Json::Array(values) => {
            let text = |value| match value {
                Json::String(text) => Some(Zeroizing::new(text)),
                _ => None,
            };
            let texts: Option<Vec<Zeroizing<String>>> = values.into_iter().map(text).collect();
            texts.map(Value::List)
        }
        Json::Null | Json::Object(_) => None,
    };
    let cause = "is not a string, a whole number, true or false";
    let wrong = || Error::new(Kind::Unsupported, format!("{key} {cause}"));
    let value = value.ok_or_else(wrong)?;
    Ok((key, value))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ours(text: &str) -> Entries {
        read(text.as_bytes(), Format::Ours).unwrap().entries
    }

    #[test]
    fn json_and_toml_say_the_same() {
        let toml = ours("[a]\nlocation = '/a'\nport = 7\n[b]\nlocation = '/b'\n");
        let map = ours(r#"{"a": {"location": "/a", "port": 7}, "b": {"location": "/b"}}"#);
        let row = ours(
            "{\"type\":\"store\",\"name\":\"a\",\"location\":\"/a\",\"options\":{\"port\":7}}\n\
             {\"type\":\"store\",\"name\":\"b\",\"location\":\"/b\",\"options\":{}}\n",
        );
        for entries in [&toml, &map, &row] {
            assert_eq!(entries.names().collect::<Vec<_>>(), ["a", "b"]);
            let a = entries.get("a").unwrap();
            assert_eq!(a.location().unwrap(), "/a");
            assert_eq!(a.options().unwrap().count(), 1);
        }
    }

    #[test]
    fn one_bad_entry_does_not_hide_the_next() {
        let entries = ours(r#"{"a": {"location": null}, "b": 1, "c": {"location": "/c"}}"#);
        assert!(entries.get("a").unwrap().pairs().is_err());
        assert!(entries.get("b").unwrap().pairs().is_err());
        assert!(entries.get("c").unwrap().pairs().is_ok());
    }

    #[test]
    fn what_is_neither_is_refused() {
        for text in [
            "{",
            "{\"a\": {}} x",
            "hello",
            "{\"a\":".repeat(10_000).as_str(),
        ] {
            let error = read(text.as_bytes(), Format::Ours).unwrap_err();
            assert_eq!(error.kind(), Kind::Unsupported);
            assert!(error.to_string().starts_with("line 1, column"), "{error}");
        }
    }
}

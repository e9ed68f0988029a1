//! What a file says: names, each with a location and options.
//!
//! Values may be secrets, so they live in memory that is wiped and are never formatted by
//! accident: [`Value`] has no `Display`, only [`Value::text`], which is asked for by name.

use toml_edit::{Document, Item, Table, TomlError};
use zeroize::Zeroizing;

use super::schema;
use crate::error::{Error, Kind, Result};

/// The key of a name's location.
pub const LOCATION: &str = "location";
/// The key, beside the names, of the one that is used where none is given.
pub const DEFAULT: &str = "default";

/// The value of an option.
#[derive(Clone, PartialEq, Eq)]
pub enum Value {
    /// A string.
    Text(Zeroizing<String>),
    /// `true` or `false`.
    Switch(bool),
    /// A whole number.
    Number(i64),
    /// Several strings.
    List(Vec<Zeroizing<String>>),
}

impl Value {
    /// As it would be written on a command line; several are joined by commas.
    pub fn text(&self) -> Zeroizing<String> {
        match self {
            Value::Text(text) => text.clone(),
            Value::Switch(is_on) => Zeroizing::new(is_on.to_string()),
            Value::Number(number) => Zeroizing::new(number.to_string()),
            Value::List(texts) => {
                let texts: Vec<&str> = texts.iter().map(|text| text.as_str()).collect();
                Zeroizing::new(texts.join(","))
            }
        }
    }
}

impl From<&str> for Value {
    fn from(text: &str) -> Value {
        Value::Text(Zeroizing::new(text.to_owned()))
    }
}

/// Without what it holds.
impl std::fmt::Debug for Value {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Value")
    }
}

/// A key and its value.
pub type Pair = (String, Value);

/// One name and what is said of it.
#[derive(Clone, Debug)]
pub struct Entry {
    /// The name.
    pub name: String,
    /// Every key, in the order of the file, the location among them; or what is wrong with
    /// how they are written.
    pairs: Result<Vec<Pair>>,
}

impl Entry {
    /// `name` with `pairs`.
    pub fn new(name: impl Into<String>, pairs: Vec<Pair>) -> Entry {
        Entry {
            name: name.into(),
            pairs: Ok(pairs),
        }
    }

    /// `name`, of which nothing can be used, for the reason that `error` tells.
    pub fn broken(name: impl Into<String>, error: Error) -> Entry {
        Entry {
            name: name.into(),
            pairs: Err(error),
        }
    }

    /// Every key and value, the location among them.
    ///
    /// # Errors
    /// [`Kind::Unsupported`] if the file has something that no option can be.
    pub fn pairs(&self) -> Result<&[Pair]> {
        match &self.pairs {
            Ok(pairs) => Ok(pairs),
            Err(error) => Err(error.clone()),
        }
    }

    /// Where it is.
    ///
    /// # Errors
    /// [`Kind::Unsupported`] if the file does not say so.
    pub fn location(&self) -> Result<&str> {
        let pairs = self.pairs()?;
        let found = pairs.iter().find(|(key, _)| key == LOCATION);
        match found {
            Some((_, Value::Text(text))) => Ok(text),
            Some(_) => Err(Error::new(Kind::Unsupported, "location is not a string")),
            None => Err(Error::new(Kind::Unsupported, "it has no location")),
        }
    }

    /// Every key and value but the location.
    pub fn options(&self) -> Result<impl Iterator<Item = &Pair>> {
        Ok(self.pairs()?.iter().filter(|(key, _)| key != LOCATION))
    }
}

/// Everything in one file.
#[derive(Clone, Debug, Default)]
pub struct Entries {
    entries: Vec<Entry>,
    /// The name that is used where none is given.
    pub default: Option<String>,
    /// Whether others than the owner may read the file.
    pub is_exposed: bool,
}

impl Entries {
    /// Reads the text of a file.
    ///
    /// # Errors
    /// [`Kind::Unsupported`], with line and column, if it is not TOML, or if something
    /// stands beside the names.
    pub fn parse(text: &str, is_exposed: bool) -> Result<Entries> {
        let document = Document::parse(text).map_err(|cause| not_toml(text, &cause))?;
        let mut entries = Entries {
            is_exposed,
            ..Entries::default()
        };
        for (name, item) in document.into_table() {
            let name = name.as_str();
            match item {
                Item::Value(toml_edit::Value::String(value)) if name == DEFAULT => {
                    entries.default = Some(value.into_value());
                }
                item => match table(item) {
                    Some(table) => entries.entries.push(entry(name, table)),
                    None => return Err(stranger(name)),
                },
            }
        }
        Ok(entries)
    }

    /// `entries` that come from elsewhere.
    pub(super) fn of(entries: Vec<Entry>) -> Entries {
        Entries {
            entries,
            ..Entries::default()
        }
    }

    /// Every name, in the order of the file.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.entries.iter().map(|entry| entry.name.as_str())
    }

    /// Every entry, in the order of the file.
    pub fn iter(&self) -> impl Iterator<Item = &Entry> {
        self.entries.iter()
    }

    /// Whether others than its owner can read a secret in the file.
    pub fn exposes_secret(&self) -> bool {
        let has_secret = |entry: &Entry| {
            let mut keys = entry.pairs.iter().flatten().map(|(key, _)| key);
            keys.any(|key| schema::is_secret(key))
        };
        self.is_exposed && self.entries.iter().any(has_secret)
    }

    /// What is said of `name`.
    pub fn get(&self, name: &str) -> Option<&Entry> {
        self.entries.iter().find(|entry| entry.name == name)
    }
}

/// The table that `item` is, written in whatever way.
fn table(item: Item) -> Option<Table> {
    match item {
        Item::Table(table) => Some(table),
        Item::Value(toml_edit::Value::InlineTable(table)) => Some(table.into_table()),
        _ => None,
    }
}

/// The entry that `table` is.
fn entry(name: &str, table: Table) -> Entry {
    let pair = |(key, item): (String, Item)| {
        let value = value(item).ok_or_else(|| {
            let cause = "is not a string, a whole number, true or false";
            Error::new(Kind::Unsupported, format!("{key} {cause}"))
        })?;
        Ok((key, value))
    };
    Entry {
        name: name.to_owned(),
        pairs: table.into_iter().map(pair).collect(),
    }
}

/// The value that `item` is, if an option can be that. The parser's only copy is taken over.
fn value(item: Item) -> Option<Value> {
    match item.into_value().ok()? {
        toml_edit::Value::String(text) => Some(Value::Text(Zeroizing::new(text.into_value()))),
        toml_edit::Value::Boolean(is_on) => Some(Value::Switch(is_on.into_value())),
        toml_edit::Value::Integer(number) => Some(Value::Number(number.into_value())),
        toml_edit::Value::Array(values) => {
            let text = |value| match value {
                toml_edit::Value::String(text) => Some(Zeroizing::new(text.into_value())),
                _ => None,
            };
            let texts: Option<Vec<Zeroizing<String>>> = values.into_iter().map(text).collect();
            texts.map(Value::List)
        }
        _ => None,
    }
}

/// A key beside the names that is none.
fn stranger(key: &str) -> Error {
    let cause = match key {
        DEFAULT => "default is not a string".to_owned(),
        key => format!("{key:?} is neither a table nor default"),
    };
    Error::new(Kind::Unsupported, cause)
}

/// Where and why `text` is not TOML. The parser's words do not quote values.
pub(super) fn not_toml(text: &str, cause: &TomlError) -> Error {
    let at = cause.span().map_or(0, |span| span.start.min(text.len()));
    let before = &text.as_bytes()[..at];
    let line = 1 + before.iter().filter(|byte| **byte == b'\n').count();
    let start = before
        .iter()
        .rposition(|byte| *byte == b'\n')
        .map_or(0, |end| end + 1);
    let column = 1 + String::from_utf8_lossy(&before[start..]).chars().count();
    let words: Vec<&str> = cause.message().split_whitespace().collect();
    let words = words.join(" ");
    Error::new(
        Kind::Unsupported,
        format!("line {line}, column {column}: {words}"),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_however_a_person_writes_them() {
        let text = "default = 'b'\n[a]\nlocation = '/a'\nport = 22\n\n\
                    [\"c.d\"]\nlocation = \"/c\"\n";
        let entries = Entries::parse(text, false).unwrap();
        assert_eq!(entries.names().collect::<Vec<_>>(), ["a", "c.d"]);
        assert_eq!(entries.default.as_deref(), Some("b"));
        let inline = "a = { location = '/a', port = 22 }\nb.location = '/b'\n";
        let inline = Entries::parse(inline, false).unwrap();
        for entries in [&entries, &inline] {
            let entry = entries.get("a").unwrap();
            assert_eq!(entry.location().unwrap(), "/a");
            let options: Vec<&Pair> = entry.options().unwrap().collect();
            assert_eq!(options, [&("port".to_owned(), Value::Number(22))]);
        }
        assert_eq!(inline.get("b").unwrap().location().unwrap(), "/b");
    }

    #[test]
    fn one_bad_entry_does_not_hide_the_others() {
        let text =
            "[a]\nlocation = 1.5\n[b]\n[c]\nlocation = '/c'\n[d]\nlocation = 7\n[e.f]\nx = 1";
        let entries = Entries::parse(text, false).unwrap();
        for name in ["a", "b", "d", "e"] {
            let error = entries.get(name).unwrap().location().unwrap_err();
            assert_eq!(error.kind(), Kind::Unsupported, "{name}");
        }
        assert_eq!(entries.get("c").unwrap().location().unwrap(), "/c");
    }

    #[test]
    fn what_is_not_toml_is_told_with_its_place() {
        let error = |text| Entries::parse(text, false).unwrap_err();
        let unclosed = error("[a]\nlocation = \"/a\nport = 1\n");
        assert_eq!(unclosed.kind(), Kind::Unsupported);
        assert!(
            unclosed.to_string().starts_with("line 2, column "),
            "{unclosed}"
        );
        assert!(error("[a]\n[a]\n").to_string().contains("line 2"));
        assert!(error("x = 1\n").to_string().contains("\"x\" is neither"));
        let deep = "[".repeat(1000) + &"]".repeat(1000);
        assert!(error(&format!("a = {deep}")).to_string().contains("recurs"));
    }
}

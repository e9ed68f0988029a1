//! The contents of a file: names, each with a location and options.
//!
//! Values may be secrets. They are stored in memory that is wiped, and cannot be formatted
//! accidentally: [`Value`] does not implement `Display`. Its text is available only through
//! [`Value::text`].

use toml_edit::{Document, Item, Table, TomlError};
use zeroize::Zeroizing;

use super::schema;
use crate::error::{Error, Kind, Result};

/// The key of the location.
pub const LOCATION: &str = "location";
/// The top-level key of the default name.
pub const DEFAULT: &str = "default";

/// Permission bits that allow other users to read a file.
const READABLE_BY_OTHERS: u32 = 0o044;
/// Permission bits that allow other users to change a file.
const WRITABLE_BY_OTHERS: u32 = 0o022;

/// The value of an option.
#[derive(Clone, PartialEq, Eq)]
pub enum Value {
    /// One string.
    Text(Zeroizing<String>),
    /// `true` or `false`.
    Switch(bool),
    /// An integer.
    Number(i64),
    /// A list of strings.
    List(Vec<Zeroizing<String>>),
}

impl Value {
    /// The value in the form of the command line. List items are joined by commas.
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

/// Does not show the value.
impl std::fmt::Debug for Value {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Value")
    }
}

/// A key and its value.
pub type Pair = (String, Value);

/// A name with its options.
#[derive(Clone, Debug)]
pub struct Entry {
    /// The name of the entry.
    pub name: String,
    /// All keys in the order of the file, including the location, or an error about their syntax.
    pairs: Result<Vec<Pair>>,
}

impl Entry {
    /// An entry with the name `name` and `pairs`.
    pub fn new(name: impl Into<String>, pairs: Vec<Pair>) -> Entry {
        Entry {
            name: name.into(),
            pairs: Ok(pairs),
        }
    }

    /// An entry that cannot be used because of `error`.
    pub fn broken(name: impl Into<String>, error: Error) -> Entry {
        Entry {
            name: name.into(),
            pairs: Err(error),
        }
    }

    /// All keys and values, including the location.
    ///
    /// # Errors
    /// [`Kind::Unsupported`] if the file contains a value of an unsupported type.
    pub fn pairs(&self) -> Result<&[Pair]> {
        match &self.pairs {
            Ok(pairs) => Ok(pairs),
            Err(error) => Err(error.clone()),
        }
    }

    /// The location of the entry.
    ///
    /// # Errors
    /// [`Kind::Unsupported`] if the entry has no location.
    pub fn location(&self) -> Result<&str> {
        let pairs = self.pairs()?;
        let found = pairs.iter().find(|(key, _)| key == LOCATION);
        match found {
            Some((_, Value::Text(text))) => Ok(text),
            Some(_) => Err(Error::new(Kind::Unsupported, "location is not a string")),
            None => Err(Error::new(Kind::Unsupported, "it has no location")),
        }
    }

    /// All keys and values except the location.
    pub fn options(&self) -> Result<impl Iterator<Item = &Pair>> {
        Ok(self.pairs()?.iter().filter(|(key, _)| key != LOCATION))
    }
}

/// The contents of one file.
#[derive(Clone, Debug, Default)]
pub struct Entries {
    entries: Vec<Entry>,
    /// The default name, used if none is given.
    pub default: Option<String>,
    /// The permission bits of the file.
    mode: u32,
}

impl Entries {
    /// Parses the text of a file.
    ///
    /// # Errors
    /// [`Kind::Unsupported`], with line and column, if it is not TOML, or if it contains an unknown
    /// top-level key.
    pub fn parse(text: &str, mode: u32) -> Result<Entries> {
        let document = Document::parse(text).map_err(|cause| not_toml(text, &cause))?;
        let mut entries = Entries {
            mode,
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

    /// Entries from another source than a file of plakar.
    pub(super) fn of(entries: Vec<Entry>) -> Entries {
        Entries {
            entries,
            ..Entries::default()
        }
    }

    /// All names, in the order of the file.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.entries.iter().map(|entry| entry.name.as_str())
    }

    /// All entries, in the order of the file.
    pub fn iter(&self) -> impl Iterator<Item = &Entry> {
        self.entries.iter()
    }

    /// Whether the file contains a secret and other users can read it.
    pub fn exposes_secret(&self) -> bool {
        self.mode & READABLE_BY_OTHERS != 0 && self.any_key(schema::is_secret)
    }

    /// Whether the file contains commands and other users can change it, and thus replace the
    /// commands.
    pub fn lends_command(&self) -> bool {
        self.mode & WRITABLE_BY_OTHERS != 0 && self.any_key(|key| key.ends_with("_cmd"))
    }

    fn any_key(&self, is_meant: fn(&str) -> bool) -> bool {
        let pairs = self.entries.iter().flat_map(|entry| entry.pairs.iter());
        pairs.flatten().any(|(key, _)| is_meant(key))
    }

    /// The entry with the name `name`.
    pub fn get(&self, name: &str) -> Option<&Entry> {
        self.entries.iter().find(|entry| entry.name == name)
    }
}

/// The table in `item`, in any notation.
fn table(item: Item) -> Option<Table> {
    match item {
        Item::Table(table) => Some(table),
        Item::Value(toml_edit::Value::InlineTable(table)) => Some(table.into_table()),
        _ => None,
    }
}

/// Converts `table` to an entry.
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

/// Converts `item` to a value, if an option can have its type. Takes over the only copy of the
/// parser.
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

/// The error for an unknown top-level key.
fn stranger(key: &str) -> Error {
    let cause = match key {
        DEFAULT => "default is not a string".to_owned(),
        key => format!("{key:?} is neither a table nor default"),
    };
    Error::new(Kind::Unsupported, cause)
}

/// The error for text that is not TOML, with its position. The parser does not quote values in its
/// message.
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
        let entries = Entries::parse(text, 0o600).unwrap();
        assert_eq!(entries.names().collect::<Vec<_>>(), ["a", "c.d"]);
        assert_eq!(entries.default.as_deref(), Some("b"));
        let inline = "a = { location = '/a', port = 22 }\nb.location = '/b'\n";
        let inline = Entries::parse(inline, 0o600).unwrap();
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
        let entries = Entries::parse(text, 0o600).unwrap();
        for name in ["a", "b", "d", "e"] {
            let error = entries.get(name).unwrap().location().unwrap_err();
            assert_eq!(error.kind(), Kind::Unsupported, "{name}");
        }
        assert_eq!(entries.get("c").unwrap().location().unwrap(), "/c");
    }

    #[test]
    fn what_is_not_toml_is_told_with_its_place() {
        let error = |text| Entries::parse(text, 0o600).unwrap_err();
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

//! Edits the text of a file. Everything else in the file is preserved byte by byte.
//!
//! Comments above a name, up to the next blank line, are removed together with the name. Comments
//! above a removed option are kept, because they may describe other options too.
//!
//! A [`Draft`] lives for one edit. Copies of secrets in the editor library are not wiped: a process
//! that changes the configuration ends soon afterwards.

use toml_edit::{Array, DocumentMut, Item, RawString, Table, TableLike};

use super::entries::{self, DEFAULT, Entries, Entry, Pair, Value};
use crate::error::{Error, Kind, Result};

/// The position of a table after all others.
const LAST: isize = isize::MAX;
/// A position before all tables.
const FIRST: isize = -1;

/// The text of a file during an edit.
pub struct Draft {
    document: DocumentMut,
    /// Whether the text began with an empty line. Edits must not add one.
    begins_empty: bool,
}

impl Draft {
    /// The draft of `text`, which [`Entries::parse`] has accepted.
    pub(super) fn new(text: &str) -> Result<Draft> {
        let document = text.parse::<DocumentMut>();
        let document = document.map_err(|cause| entries::not_toml(text, &cause))?;
        let begins_empty = text.starts_with('\n');
        Ok(Draft {
            document,
            begins_empty,
        })
    }

    /// The draft of an empty file.
    pub fn empty() -> Draft {
        Draft {
            document: DocumentMut::new(),
            begins_empty: false,
        }
    }

    /// Whether the name `name` exists.
    pub fn contains(&self, name: &str) -> bool {
        self.document.contains_key(name)
    }

    /// Whether `name` has the option `key`, with any value.
    pub fn has(&self, name: &str, key: &str) -> bool {
        let table = self.document.get(name).and_then(Item::as_table_like);
        table.is_some_and(|table| table.contains_key(key))
    }

    /// The current text.
    ///
    /// # Errors
    /// [`Kind::Failed`] if the text could not be parsed again. It must not be written in that case.
    pub fn text(&self) -> Result<String> {
        let mut text = self.document.to_string();
        if !self.begins_empty {
            text.drain(..text.len() - text.trim_start_matches('\n').len());
        }
        match Entries::parse(&text, 0o600) {
            Ok(_) => Ok(text),
            Err(cause) => Err(Error::new(Kind::Failed, cause.to_string()).during("edit")),
        }
    }

    /// Adds `entry`, or replaces the entry with that name.
    pub fn put(&mut self, entry: &Entry) -> Result<()> {
        let pairs = entry.pairs()?;
        let Some(table) = self.document.get(&entry.name).and_then(Item::as_table_like) else {
            self.append(&entry.name, pairs);
            return Ok(());
        };
        let is_old = |key: &str| pairs.iter().all(|(kept, _)| kept != key);
        let keys = table.iter().map(|(key, _)| key.to_owned());
        let old: Vec<String> = keys.filter(|key| is_old(key)).collect();
        for key in old {
            self.unset(&entry.name, &key);
        }
        for (key, value) in pairs {
            self.set(&entry.name, key, value);
        }
        Ok(())
    }

    /// Removes the entry `name`.
    pub fn remove(&mut self, name: &str) {
        let Some((key, item)) = self.document.remove_entry(name) else {
            return;
        };
        let (decor, position) = match &item {
            Item::Table(table) => (table.decor(), table.position()),
            _ => (key.leaf_decor(), None),
        };
        let above = decor.prefix().and_then(RawString::as_str).unwrap_or("");
        let apart = above.rfind("\n\n").map_or("", |end| &above[..end + 2]);
        let apart = apart.to_owned();
        self.give(position.unwrap_or(0), &apart);
    }

    /// Sets `key` of `name` to a value. Does nothing if `name` does not exist.
    pub fn set(&mut self, name: &str, key: &str, value: &Value) {
        let Some(table) = self.table(name) else {
            return;
        };
        let value = written(value);
        match table.get_mut(key).and_then(Item::as_value_mut) {
            Some(old) => replace(old, value),
            None => {
                table.insert(key, Item::Value(value));
            }
        }
    }

    /// Removes `key` from `name`.
    pub fn unset(&mut self, name: &str, key: &str) {
        let Some(table) = self.document.get_mut(name).and_then(Item::as_table_mut) else {
            if let Some(table) = self.table(name) {
                table.remove(key);
            }
            return;
        };
        let position = table.position().unwrap_or(0);
        let next = table.iter().map(|(key, _)| key.to_owned());
        let next = next.skip_while(|other| other != key).nth(1);
        let Some((removed, _)) = table.remove_entry(key) else {
            return;
        };
        let above = removed.leaf_decor().prefix().and_then(RawString::as_str);
        // The part after the last line break is the indentation of the option itself.
        let above = above.unwrap_or("").trim_end_matches([' ', '\t']).to_owned();
        match next.and_then(|next| table.key_mut(&next)) {
            Some(mut next) => prepend(next.leaf_decor_mut(), &above),
            None => self.give(position, &above),
        }
    }

    /// Sets the default to `name`, or removes it.
    pub fn set_default(&mut self, name: Option<&str>) {
        let Some(name) = name else {
            let removed = self.document.remove_entry(DEFAULT);
            let above = removed
                .as_ref()
                .and_then(|(key, _)| key.leaf_decor().prefix());
            let above = above.and_then(RawString::as_str).unwrap_or("").to_owned();
            return self.give(FIRST, &above);
        };
        match self.document.get_mut(DEFAULT).and_then(Item::as_value_mut) {
            Some(old) => replace(old, name.into()),
            None => {
                self.document.insert(DEFAULT, toml_edit::value(name));
                self.give(FIRST, "\n");
            }
        }
    }

    /// The table of `name`, in any notation.
    fn table(&mut self, name: &str) -> Option<&mut dyn TableLike> {
        self.document.get_mut(name)?.as_table_like_mut()
    }

    /// Appends a new table at the end.
    fn append(&mut self, name: &str, pairs: &[Pair]) {
        let mut table = Table::new();
        for (key, value) in pairs {
            table.insert(key, Item::Value(written(value)));
        }
        let before = self.document.trailing().as_str().unwrap_or("").to_owned();
        let is_first = before.is_empty() && self.document.is_empty();
        let gap = if is_first || before.ends_with("\n\n") {
            ""
        } else {
            "\n"
        };
        table.decor_mut().set_prefix(format!("{before}{gap}"));
        table.set_position(Some(LAST));
        self.document.set_trailing("");
        self.document.insert(name, Item::Table(table));
    }

    /// Inserts `comments` before the table that follows `position`.
    fn give(&mut self, position: isize, comments: &str) {
        if comments.is_empty() {
            return;
        }
        let tables = self
            .document
            .iter_mut()
            .map(|(_, item)| item.as_table_mut());
        let after = tables
            .flatten()
            .filter(|table| table.position() > Some(position));
        match after.min_by_key(|table| table.position()) {
            Some(table) => prepend(table.decor_mut(), comments),
            None => {
                let trailing = self.document.trailing().as_str().unwrap_or("");
                let trailing = format!("{comments}{trailing}");
                self.document.set_trailing(trailing);
            }
        }
    }
}

/// Replaces `old` by `value`, and preserves adjacent comments.
fn replace(old: &mut toml_edit::Value, value: toml_edit::Value) {
    let decor = old.decor().clone();
    *old = value;
    *old.decor_mut() = decor;
}

/// Inserts `comments` at the start of the prefix of `decor`.
fn prepend(decor: &mut toml_edit::Decor, comments: &str) {
    let above = decor.prefix().and_then(RawString::as_str).unwrap_or("");
    let above = format!("{comments}{above}");
    decor.set_prefix(above);
}

/// `value` in the representation of the file.
fn written(value: &Value) -> toml_edit::Value {
    match value {
        Value::Text(text) => text.as_str().into(),
        Value::Switch(is_on) => (*is_on).into(),
        Value::Number(number) => (*number).into(),
        Value::List(texts) => {
            let texts = texts.iter().map(|text| text.as_str());
            toml_edit::Value::Array(texts.collect::<Array>())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "\
# All my stores.

default = 'nas' # for now

# The one in the cellar.
[nas]   # loud
location   =   '/srv/nas'  # a mount
# port = 23
  port = 0x16

# Abroad.

# The other.
[\"far.off\"]
location = \"sftp://h/x\"
# Commented out:
# [old]
";

    fn edited(text: &str, change: impl FnOnce(&mut Draft)) -> String {
        let mut draft = Draft::new(text).unwrap();
        change(&mut draft);
        draft.text().unwrap()
    }

    fn entry(name: &str, pairs: &[(&str, &str)]) -> Entry {
        let pairs = pairs
            .iter()
            .map(|(key, text)| ((*key).to_owned(), Value::from(*text)));
        Entry::new(name, pairs.collect())
    }

    #[test]
    fn nothing_changes_where_nothing_is_changed() {
        assert_eq!(edited(TEXT, |_| {}), TEXT);
        assert_eq!(edited("", |_| {}), "");
    }

    #[test]
    fn a_name_is_added_after_everything() {
        let added = edited(TEXT, |draft| {
            draft
                .put(&entry("usb", &[("location", "/mnt/\"u\"")]))
                .unwrap();
            draft.put(&entry("a b", &[("location", "/b")])).unwrap();
        });
        let expected =
            format!("{TEXT}\n[usb]\nlocation = '/mnt/\"u\"'\n\n[\"a b\"]\nlocation = \"/b\"\n");
        assert_eq!(added, expected);
        let first = edited("", |draft| {
            draft.put(&entry("a", &[("location", "/a")])).unwrap()
        });
        assert_eq!(first, "[a]\nlocation = \"/a\"\n");
        let comment = edited("# mine\n", |draft| {
            draft.put(&entry("a", &[("x", "y")])).unwrap()
        });
        assert_eq!(comment, "# mine\n\n[a]\nx = \"y\"\n");
    }

    #[test]
    fn a_value_is_changed_in_its_place() {
        let set = edited(TEXT, |draft| {
            draft.set("nas", "location", &Value::from("/mnt"));
            draft.set("nas", "one", &Value::Switch(true));
            draft.set("nowhere", "one", &Value::Number(1));
            draft.set_default(Some("far.off"));
        });
        let expected = TEXT
            .replace("'/srv/nas'", "\"/mnt\"")
            .replace("0x16\n", "0x16\none = true\n")
            .replace("'nas'", "\"far.off\"");
        assert_eq!(set, expected);
    }

    #[test]
    fn what_is_removed_leaves_the_comments_of_others() {
        let unset = edited(TEXT, |draft| draft.unset("nas", "port"));
        assert_eq!(unset, TEXT.replace("  port = 0x16\n", ""));
        let unset = edited(TEXT, |draft| draft.unset("nas", "location"));
        assert_eq!(
            unset,
            TEXT.replace("location   =   '/srv/nas'  # a mount\n", "")
        );
        let removed = edited(TEXT, |draft| draft.remove("far.off"));
        let gone = "\n# The other.\n[\"far.off\"]\nlocation = \"sftp://h/x\"\n";
        assert_eq!(removed, TEXT.replace(gone, "\n"));
        let removed = edited(TEXT, |draft| draft.remove("nas"));
        assert!(removed.starts_with("# All my stores.\n\ndefault = 'nas' # for now\n"));
        assert!(
            !removed.contains("cellar") && removed.contains("# Abroad."),
            "{removed}"
        );
        assert_eq!(edited(TEXT, |draft| draft.remove("absent")), TEXT);
        let none = edited(TEXT, |draft| draft.set_default(None));
        assert!(
            !none.contains("for now") && none.contains("[nas]   # loud"),
            "{none}"
        );
    }

    #[test]
    fn a_heading_survives_the_name_below_it() {
        let text = "# All my stores.\n\n# One.\n[a]\nlocation = '/a'\n\n[b]\nlocation = '/b'\n";
        let removed = edited(text, |draft| draft.remove("a"));
        assert_eq!(removed, "# All my stores.\n\n\n[b]\nlocation = '/b'\n");
        let removed = edited("# All.\n\n[a]\nx = 1\n", |draft| draft.remove("a"));
        assert_eq!(removed, "# All.\n\n");
    }

    #[test]
    fn a_new_default_stands_before_every_name() {
        let set = edited("# All.\n[a]\nx = 1\n", |draft| draft.set_default(Some("a")));
        assert_eq!(set, "default = \"a\"\n\n# All.\n[a]\nx = 1\n");
    }

    #[test]
    fn no_empty_line_is_left_at_the_beginning() {
        let text = "[a]\nx = 1\n\n[b]\nx = 2\n";
        assert_eq!(edited(text, |draft| draft.remove("a")), "[b]\nx = 2\n");
        let set = edited(text, |draft| draft.set_default(Some("a")));
        assert_eq!(edited(&set, |draft| draft.set_default(None)), text);
    }

    #[test]
    fn inline_tables_are_changed_too() {
        let text = "a = { location = '/a', port = 1 } # one\nb.location = '/b'\n";
        let set = edited(text, |draft| {
            draft.set("a", "port", &Value::Number(2));
            draft.set("b", "port", &Value::Number(3));
        });
        let expected = "a = { location = '/a', port = 2 } # one\nb.location = '/b'\nb.port = 3\n";
        assert_eq!(set, expected);
        let unset = edited(text, |draft| draft.unset("a", "location"));
        assert!(unset.starts_with("a = { port = 1 } # one\n"), "{unset}");
    }

    #[test]
    fn a_name_that_is_put_again_keeps_nothing_of_the_old() {
        let put = edited(TEXT, |draft| {
            let pairs = [("location", "/new"), ("keyfile", "/k")];
            draft.put(&entry("nas", &pairs)).unwrap();
        });
        let entries = Entries::parse(&put, 0o600).unwrap();
        let nas = entries.get("nas").unwrap().pairs().unwrap();
        let keys: Vec<&str> = nas.iter().map(|(key, _)| key.as_str()).collect();
        assert_eq!(keys, ["location", "keyfile"]);
    }
}

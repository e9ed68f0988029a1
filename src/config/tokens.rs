//! The access tokens of a server: one table for each, in a file like the other ones.
//!
//! ```toml
//! [laptop]
//! role = "append"
//! created = "2026-11-26T11:07:26Z"
//! hash = "9f2c..."
//! ```
//!
//! This module does not interpret roles. The file grants no access by itself: a token cannot be
//! derived from its hash.

use std::path::{Path, PathBuf};

use super::edit::Draft;
use super::entries::{Entries, Entry, Value};
use super::{read_at, schema, shown};
use crate::error::{During, Error, Kind, Result};
use crate::util::suggest::did_you_mean;

/// The name of the file in the configuration directory.
pub const FILE_NAME: &str = "tokens.toml";

const ROLE: &str = "role";
const CREATED: &str = "created";
const HASH: &str = "hash";

/// The stored data of one token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Token {
    /// The name of its owner.
    pub name: String,
    /// The role, which determines its permissions.
    pub role: String,
    /// The time of its creation in RFC 3339.
    pub created: String,
    /// The BLAKE3 hash of its text, in hex.
    pub hash: String,
}

/// All tokens in the file at `path`. `None` if the file does not exist.
///
/// # Errors
/// [`Kind::Unsupported`] for a file that is invalid in any part: ignoring the invalid part would
/// deny access without an explanation.
pub fn read(path: &Path) -> Result<Option<Vec<Token>>> {
    let entries = read_at(path)?;
    let tokens = |entries: Entries| entries.iter().map(token).collect::<Result<Vec<Token>>>();
    entries.map(tokens).transpose().during(|| shown(path))
}

/// Adds a token; durable on return.
///
/// # Errors
/// [`Kind::Usage`] for an invalid name; [`Kind::Exists`] if the name is in use.
pub fn add(path: &Path, token: &Token) -> Result<()> {
    schema::check_name(&token.name)?;
    edit(path, |entries, draft| {
        if entries.get(&token.name).is_some() {
            let cause = format!("there is a token named {} already", token.name);
            return Err(Error::new(Kind::Exists, cause));
        }
        let pair = |key: &str, text: &String| (key.to_owned(), Value::from(text.as_str()));
        let pairs = vec![
            pair(ROLE, &token.role),
            pair(CREATED, &token.created),
            pair(HASH, &token.hash),
        ];
        draft.put(&Entry::new(token.name.as_str(), pairs))
    })
}

/// Removes the token with the name `name`; durable on return.
///
/// # Errors
/// [`Kind::NotFound`] if it does not exist.
pub fn remove(path: &Path, name: &str) -> Result<()> {
    edit(path, |entries, draft| {
        if entries.get(name).is_none() {
            let hint = did_you_mean(name, entries.names(), "");
            let cause = format!("no token named {name:?}{hint}");
            return Err(Error::new(Kind::NotFound, cause));
        }
        draft.remove(name);
        Ok(())
    })
}

fn edit(path: &Path, change: impl FnOnce(&Entries, &mut Draft) -> Result<()>) -> Result<()> {
    let dir = match path.parent() {
        Some(dir) if dir != Path::new("") => dir.to_owned(),
        _ => PathBuf::from("."),
    };
    super::edit_at(&dir, path, change)
}

/// Converts `entry` to a token.
fn token(entry: &Entry) -> Result<Token> {
    let read = || -> Result<Token> {
        let pairs = entry.pairs()?;
        let text = |key: &str| match pairs.iter().find(|(known, _)| known == key) {
            Some((_, Value::Text(text))) => Ok(text.to_string()),
            _ => Err(Error::new(Kind::Unsupported, format!("it has no {key}"))),
        };
        Ok(Token {
            name: entry.name.clone(),
            role: text(ROLE)?,
            created: text(CREATED)?,
            hash: text(HASH)?,
        })
    };
    read().during(|| format!("[{}]", entry.name))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    fn token(name: &str) -> Token {
        Token {
            name: name.into(),
            role: "read".into(),
            created: "2026-01-01T00:00:00Z".into(),
            hash: "00".into(),
        }
    }

    #[test]
    fn tokens_come_and_go_and_comments_stay() {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("conf/tokens.toml");
        assert!(read(&path).unwrap().is_none());
        add(&path, &token("a")).unwrap();
        let text = format!("# mine\n{}", fs::read_to_string(&path).unwrap());
        fs::write(&path, text).unwrap();
        add(&path, &token("b.c")).unwrap();
        assert_eq!(read(&path).unwrap().unwrap(), [token("a"), token("b.c")]);
        assert_eq!(add(&path, &token("a")).unwrap_err().kind(), Kind::Exists);
        assert_eq!(add(&path, &token("a b")).unwrap_err().kind(), Kind::Usage);
        assert_eq!(remove(&path, "x").unwrap_err().kind(), Kind::NotFound);
        remove(&path, "b.c").unwrap();
        assert!(fs::read_to_string(&path).unwrap().starts_with("# mine\n"));
        remove(&path, "a").unwrap();
        assert_eq!(read(&path).unwrap().unwrap(), []);
        fs::write(&path, "[a]\nrole = 'read'\n").unwrap();
        let error = read(&path).unwrap_err().to_string();
        assert!(error.ends_with("[a]: it has no created"), "{error}");
    }
}

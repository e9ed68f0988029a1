//! Resolves the arguments of a command to snapshots, and to paths in them.
//!
//! An argument is `SNAPSHOT[:PATH]`. SNAPSHOT is the beginning of an id, or `latest`. PATH is
//! everything after the first colon, as bytes: absolute from the root of the snapshot, or relative
//! to the directory that was backed up.
//!
//! A query restricts the arguments: a named snapshot must match the query, and `latest` is the
//! newest match.

use std::collections::HashSet;
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;

use super::Args;
use crate::error::{Error, Kind, Result};
use crate::kloset::Kloset;
use crate::kloset::snapshot::{Snapshot, Stored};
use crate::ops::query::{Newest, Query};
use crate::ops::select;

/// The name of the newest snapshot.
pub const LATEST: &str = "latest";

/// The snapshot, and optionally the path, that one argument selects.
#[derive(Clone, Debug)]
pub struct Choice {
    /// The snapshot, and the object that contains it.
    pub stored: Stored,
    /// The path, absolute and without `.` and `..`, if one was given.
    pub path: Option<Vec<u8>>,
}

impl Choice {
    /// The selected snapshot.
    pub fn snapshot(&self) -> &Snapshot {
        &self.stored.snapshot
    }

    /// The path, or the directory that was backed up.
    pub fn path_or_base(&self) -> Vec<u8> {
        let base = || self.snapshot().base();
        self.path.clone().unwrap_or_else(base)
    }
}

/// Resolves `words`, at least one, in their order.
///
/// # Errors
/// [`Kind::NotFound`] or [`Kind::Usage`] for the first word that matches no snapshot, or several.
pub fn choices(kloset: &Kloset, words: &[OsString]) -> Result<Vec<Choice>> {
    matching(kloset, &Query::default(), words)
}

/// Like [`choices`], but without words it selects the newest snapshot.
pub fn choices_or_latest(kloset: &Kloset, words: &[OsString]) -> Result<Vec<Choice>> {
    matching_or_latest(kloset, &Query::default(), words)
}

/// The snapshots of `choices`, without duplicates.
///
/// # Errors
/// [`crate::error::Kind::Usage`] if a path is given: the command of `args` takes whole snapshots
/// only.
pub fn whole(args: &Args, choices: Vec<Choice>) -> Result<Vec<Stored>> {
    let mut chosen: Vec<Stored> = Vec::new();
    let mut seen = HashSet::new();
    for choice in choices {
        if choice.path.is_some() {
            let cause = "only whole snapshots can be named here, not a PATH in one";
            return Err(args.usage(cause));
        }
        if seen.insert(choice.stored.object) {
            chosen.push(choice.stored);
        }
    }
    Ok(chosen)
}

/// Requires that a command which changes snapshots names them explicitly.
///
/// # Errors
/// [`Kind::Usage`] if `args` contain neither snapshots nor a restricting query. Such a command does
/// not default to all snapshots.
pub fn refuse_everything(args: &Args, query: &Query, words: &[OsString]) -> Result<()> {
    match words.is_empty() && query.is_everything() {
        true => Err(args.usage("needs a SNAPSHOT, or a QUERY that does not select all of them")),
        false => Ok(()),
    }
}

/// Resolves `words` among the snapshots that `query` selects. Without words, selects all of these,
/// oldest first.
///
/// # Errors
/// [`Kind::NotFound`] if there are no words and the query selects nothing, or for the first word
/// that matches no selected snapshot; [`Kind::Usage`] for a word that matches several.
pub fn matching(kloset: &Kloset, query: &Query, words: &[OsString]) -> Result<Vec<Choice>> {
    among(kloset, &select::all(kloset)?, query, words)
}

/// Like [`matching`], but without words it selects the newest snapshot that matches `query`.
pub fn matching_or_latest(
    kloset: &Kloset,
    query: &Query,
    words: &[OsString],
) -> Result<Vec<Choice>> {
    match words {
        [] => matching(kloset, query, &[LATEST.into()]),
        words => matching(kloset, query, words),
    }
}

/// Like [`matching`], but among `snapshots`, which must be all snapshots of the store.
pub fn among(
    kloset: &Kloset,
    snapshots: &[Stored],
    query: &Query,
    words: &[OsString],
) -> Result<Vec<Choice>> {
    let selected = query.select(snapshots);
    if words.is_empty() && selected.is_empty() {
        return Err(nothing(snapshots));
    }
    let whole = |stored: &&Stored| Choice {
        stored: (*stored).clone(),
        path: None,
    };
    let named = |word: &OsString| match parts(word) {
        (prefix, path) if prefix == LATEST => {
            let newest = selected.last().ok_or_else(|| nothing(snapshots))?;
            choose(kloset, (*newest).clone(), path)
        }
        (prefix, path) => {
            let stored = select::by_prefix(snapshots, &prefix)?;
            match selected.iter().any(|other| other.object == stored.object) {
                true => choose(kloset, stored, path),
                false => Err(left_out(snapshots, query, &stored)),
            }
        }
    };
    match words {
        [] => Ok(selected.iter().map(whole).collect()),
        words => words.iter().map(named).collect(),
    }
}

/// The error if a query selects none of `snapshots`.
fn nothing(snapshots: &[Stored]) -> Error {
    let message = match snapshots {
        [] => "there are no snapshots",
        _ => "no snapshot matches",
    };
    Error::new(Kind::NotFound, message)
}

/// The error that explains why `query` does not select `stored`.
fn left_out(snapshots: &[Stored], query: &Query, stored: &Stored) -> Error {
    let every = Query {
        newest: Newest::All,
        ..query.clone()
    };
    let is_older = || {
        let mut others = every.select(snapshots).into_iter();
        others.any(|other| other.object == stored.object)
    };
    let id = stored.snapshot.id.short();
    let message = match query.filters.unmet(&stored.snapshot) {
        Some(filter) => format!("snapshot {id} does not pass -{filter}"),
        None if is_older() => format!("snapshot {id} does not pass -latest"),
        None => format!("snapshot {id} is of no period that is asked for"),
    };
    Error::new(Kind::NotFound, message)
}

/// Resolves `path` in a snapshot.
fn choose(kloset: &Kloset, stored: Stored, path: Option<&[u8]>) -> Result<Choice> {
    let path = path.map(|path| select::resolve(kloset, &stored.snapshot, path));
    let path = path.transpose()?;
    Ok(Choice { stored, path })
}

/// Splits an argument into SNAPSHOT and PATH.
fn parts(word: &OsStr) -> (String, Option<&[u8]>) {
    let mut parts = word.as_bytes().splitn(2, |byte| *byte == b':');
    let prefix = String::from_utf8_lossy(parts.next().unwrap_or_default());
    (prefix.into_owned(), parts.next())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_colon_ends_the_snapshot() {
        let of = |word| parts(OsStr::from_bytes(word));
        assert_eq!(of(b"ab12"), ("ab12".to_owned(), None));
        assert_eq!(
            of(b"ab:/x:y\xff"),
            ("ab".to_owned(), Some(&b"/x:y\xff"[..]))
        );
        assert_eq!(of(b"latest:"), ("latest".to_owned(), Some(&b""[..])));
    }
}

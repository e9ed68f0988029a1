//! Which snapshots of a store are to be copied.

use std::collections::HashSet;
use std::ffi::OsString;

use crate::cli::{Args, selection};
use crate::error::{Error, Kind, Result};
use crate::kloset::Kloset;
use crate::kloset::snapshot::{self, Stored};
use crate::ops::query::Query;

/// What becomes of a word that stands for no snapshot of a store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Missing {
    /// It is an error.
    Fails,
    /// It may stand for one of the other store.
    PassedOver,
}

/// What was chosen.
pub(super) struct Choice {
    /// The snapshots, the oldest first, each once.
    pub(super) snapshots: Vec<Stored>,
    /// Those that cannot be read, each of which may be one that was meant.
    pub(super) unread: u64,
    /// The words that stand for something here, by their numbers.
    known: HashSet<usize>,
}

/// What `words` stand for among those that `query` selects; all of these if there are no words,
/// and that may be none.
pub(super) fn choose(
    args: &Args,
    kloset: &Kloset,
    query: &Query,
    words: &[OsString],
    missing: Missing,
) -> Result<Choice> {
    let (all, unread) = snapshot::list(kloset, kloset.observer())?;
    let mut choice = Choice {
        snapshots: Vec::new(),
        unread: 0,
        known: HashSet::new(),
    };
    if words.is_empty() {
        let selected = query.select(&all);
        choice.snapshots = selected.into_iter().cloned().collect();
        choice.unread = unread;
        return Ok(choice);
    }
    let mut chosen = Vec::new();
    for (number, word) in words.iter().enumerate() {
        match selection::among(kloset, &all, query, std::slice::from_ref(word)) {
            Ok(found) => {
                choice.known.insert(number);
                chosen.extend(found);
            }
            Err(error) if error.kind() == Kind::NotFound && missing == Missing::PassedOver => {}
            Err(error) => return Err(error),
        }
    }
    choice.snapshots = selection::whole(args, chosen)?;
    let age = |stored: &Stored| (stored.snapshot.time_ns, stored.snapshot.id);
    choice.snapshots.sort_by_key(age);
    Ok(choice)
}

/// # Errors
/// [`Kind::NotFound`] for the first of `words` that stands for nothing in either store.
pub(super) fn refuse_unknown(words: &[OsString], here: &Choice, there: &Choice) -> Result<()> {
    let is_unknown = |number: &usize| !here.known.contains(number) && !there.known.contains(number);
    match (0..words.len()).find(is_unknown) {
        Some(number) => Err(Error::new(
            Kind::NotFound,
            format!("no snapshot of either store is {:?}", words[number]),
        )),
        None => Ok(()),
    }
}

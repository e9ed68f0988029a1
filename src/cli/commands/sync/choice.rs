//! Selects the snapshots of a store to copy.

use std::collections::HashSet;
use std::ffi::OsString;

use crate::cli::{Args, selection};
use crate::error::{Error, Kind, Result};
use crate::kloset::Kloset;
use crate::kloset::snapshot::{self, Stored};
use crate::ops::query::Query;

/// How to handle an argument that matches no snapshot of a store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Missing {
    /// Report an error.
    Fails,
    /// Skip it: it may match a snapshot of the other store.
    PassedOver,
}

/// The selected snapshots of one store.
pub(super) struct Choice {
    /// The snapshots, oldest first, without duplicates.
    pub(super) snapshots: Vec<Stored>,
    /// The number of unreadable snapshots, each of which might have been selected.
    pub(super) unread: u64,
    /// The indices of the arguments that match a snapshot here.
    known: HashSet<usize>,
}

/// Selects the snapshots that match `words` and `query`. Without words, all that match the query,
/// possibly none.
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

/// Rejects arguments that match nothing.
///
/// # Errors
/// [`Kind::NotFound`] for the first of `words` that matches no snapshot of either store.
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

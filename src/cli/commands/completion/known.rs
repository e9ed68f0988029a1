//! Completes names, snapshots and their contents.
//!
//! This module never prompts for a passphrase, prints nothing, and has a time limit: a store that
//! does not respond in time yields no completions.

use std::sync::Arc;
use std::sync::mpsc::channel;
use std::thread;
use std::time::Duration;

use crate::cli::complete::{Candidate, Known};
use crate::cli::escape::printable;
use crate::cli::selection::{self, LATEST};
use crate::cli::{Globals, opening};
use crate::config::{Configuration, Section};
use crate::error::Result;
use crate::format::entry::Entry;
use crate::kloset::Kloset;
use crate::kloset::blob::BlobReader;
use crate::kloset::snapshot::Stored;
use crate::kloset::tree::{Reach, TreeWalk};
use crate::net::location::Location;
use crate::ops::select;
use crate::util::human;

/// The maximum time that a user waits after pressing the completion key.
const PATIENCE: Duration = Duration::from_secs(3);
/// More candidates than a user would read.
const CANDIDATES_LIMIT: usize = 1000;
/// The size of the cache of decoded blocks.
const CACHE_BYTES: usize = 4 << 20;
/// The number of digits of a snapshot id in other output.
const SHORT_DIGITS: usize = 8;

/// Looks up completions for one command line.
pub(super) struct Lookup {
    globals: Arc<Globals>,
}

impl Lookup {
    /// A lookup. `globals` must have an output that prints nothing.
    pub(super) fn new(globals: Globals) -> Lookup {
        Lookup {
            globals: Arc::new(globals),
        }
    }

    /// The result of `look` in the store of the command line. Empty if the store cannot be opened
    /// without a prompt, fails, or exceeds the time limit. In the last case the thread ends with
    /// the process.
    fn in_store(
        &self,
        look: impl FnOnce(&Kloset) -> Result<Vec<Candidate>> + Send + 'static,
    ) -> Vec<Candidate> {
        let globals = self.globals.clone();
        let (sender, found) = channel();
        let run = move || {
            let kloset = opening::unasked(&globals, &globals.watch_result());
            if let Ok(Some(Ok(candidates))) = kloset.map(|kloset| kloset.as_ref().map(look)) {
                // The receiver may have given up already.
                let _ = sender.send(candidates);
            }
        };
        let spawned = thread::Builder::new().spawn(run);
        let found = spawned.ok().and_then(|_| found.recv_timeout(PATIENCE).ok());
        found.unwrap_or_default()
    }
}

impl Known for Lookup {
    fn names(&self, section: Section) -> Vec<Candidate> {
        let directory = self.globals.config_dir();
        let entries = directory.and_then(|dir| Configuration::new(dir).read(section));
        let Ok(entries) = entries else {
            return Vec::new();
        };
        let candidate = |entry: &crate::config::entries::Entry| {
            // A location may be invalid because it contains a password, so do not show it.
            let location = entry.location().unwrap_or_default();
            let is_sound = Location::parse(location.as_bytes()).is_ok();
            Candidate::new(&entry.name, if is_sound { location } else { "" })
        };
        entries.iter().map(candidate).collect()
    }

    fn snapshots(&self, prefix: &str) -> Vec<Candidate> {
        let prefix = prefix.to_owned();
        self.in_store(move |kloset| {
            let snapshots = select::all(kloset)?;
            let newest = snapshots
                .last()
                .map(|stored| named(stored, LATEST.to_owned()));
            let ids = snapshots.iter().rev().map(|stored| {
                let id = match prefix.len() > SHORT_DIGITS {
                    true => stored.snapshot.id.to_string(),
                    false => stored.snapshot.id.short(),
                };
                named(stored, id)
            });
            let fits = |candidate: &Candidate| candidate.word.starts_with(&prefix);
            let all = newest.into_iter().chain(ids).filter(fits);
            Ok(all.take(CANDIDATES_LIMIT).collect())
        })
    }

    fn entries(&self, word: &str) -> Vec<Candidate> {
        let word = word.to_owned();
        self.in_store(move |kloset| inside(kloset, &word))
    }
}

/// A snapshot with the given id or name.
fn named(stored: &Stored, name: String) -> Candidate {
    let snapshot = &stored.snapshot;
    let (time, size) = (
        human::time(snapshot.time_ns),
        human::size(snapshot.totals().bytes),
    );
    Candidate::new(
        name,
        format!("{time} {size} {}", printable(&snapshot.base())),
    )
}

/// The entries `SNAPSHOT:DIRECTORY/NAME` that begin with `word`.
fn inside(kloset: &Kloset, word: &str) -> Result<Vec<Candidate>> {
    // Everything up to the last slash is complete already and kept unchanged.
    let end = word.rfind(['/', ':']).map_or(0, |at| at + 1);
    let (kept, begun) = word.split_at(end);
    let choice = selection::choices(kloset, &[kept.into()])?.remove(0);
    let path = choice.path_or_base();
    let blobs = BlobReader::new(kloset, CACHE_BYTES)?;
    let directory = select::entry(&blobs, choice.snapshot(), &path)?;
    let mut walk = TreeWalk::new(&blobs, &path, &directory, Reach::Children);
    let mut found = Vec::new();
    while let Some(entry) = walk.try_next()? {
        match std::str::from_utf8(&entry.name) {
            Ok(name) if name.starts_with(begun) => found.push(child(kept, name, &entry)),
            _ => {}
        }
        if found.len() == CANDIDATES_LIMIT {
            break;
        }
    }
    Ok(found)
}

/// One entry of a directory.
fn child(kept: &str, name: &str, entry: &Entry) -> Candidate {
    match entry.is_dir() {
        true => Candidate::new(format!("{kept}{name}/"), "directory"),
        false => Candidate::new(
            format!("{kept}{name}"),
            human::size(entry.metadata.size_bytes),
        ),
    }
}

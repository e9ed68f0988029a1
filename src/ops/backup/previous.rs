//! What is known from the last snapshot of the same places: files that did not change
//! since need not be read.
//!
//! The snapshot that is compared with is the base. For every unchanged file the new snapshot
//! takes the chunks of the base, so the base decides what is recorded. Anyone with the key of the
//! store can publish a snapshot with the stat data of a machine and other chunks. So the caller
//! states which snapshots it [trusts](Base).

use std::collections::HashSet;

use super::Options;
use crate::connector::{FileKind, Metadata, Source};
use crate::error::{Error, Kind, Result};
use crate::format::entry::Entry;
use crate::kloset::Kloset;
use crate::kloset::blob::BlobReader;
use crate::kloset::progress::{Event, Observer};
use crate::kloset::snapshot::{self, Snapshot};
use crate::kloset::tree::{TreeReader, each_chunk};
use crate::util::Id;

/// Which snapshots a backup may use as its base.
#[derive(Clone, Debug)]
pub enum Base {
    /// Snapshots with these [digests](Snapshot::digest): those that this machine created.
    Created(HashSet<Id>),
    /// Every snapshot of the same places, whoever created it.
    Any,
}

impl Default for Base {
    /// No snapshot.
    fn default() -> Base {
        Base::Created(HashSet::new())
    }
}

impl Base {
    fn trusts(&self, snapshot: &Snapshot) -> bool {
        match self {
            Base::Created(digests) => digests.contains(&snapshot.digest()),
            Base::Any => true,
        }
    }
}

/// How to tell that a file did not change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Compare {
    /// Compare inode numbers; some network file systems make new ones up.
    pub inode: bool,
    /// Compare times of the inode's change; some tools touch them for nothing.
    pub ctime: bool,
}

impl Default for Compare {
    fn default() -> Compare {
        Compare {
            inode: true,
            ctime: true,
        }
    }
}

impl Compare {
    /// Whether what was recorded as `old` is as it was, judged by what `lstat` tells.
    pub(super) fn same(self, old: &Metadata, new: &Metadata) -> bool {
        old.kind == new.kind
            && old.size_bytes == new.size_bytes
            && old.mtime_ns == new.mtime_ns
            && (!self.ctime || old.ctime_ns == new.ctime_ns)
            && (!self.inode || old.inode == new.inode)
            && old.rdev == new.rdev
            && (new.kind == FileKind::Directory || (old.links > 1) == (new.links > 1))
    }
}

/// The newest trusted snapshot of the same places of the same source. A warning reports that
/// there are only others.
pub(super) fn find(
    kloset: &Kloset,
    source: &dyn Source,
    options: &Options,
) -> Result<Option<Snapshot>> {
    if options.compare.is_none() {
        return Ok(None);
    }
    let same = |snapshot: &Snapshot| {
        snapshot.origin == source.origin()
            && snapshot.source == source.kind()
            && snapshot.roots == options.places
    };
    let (snapshots, _) = snapshot::list(kloset, kloset.observer())?;
    let newest_first = snapshots.into_iter().rev().map(|stored| stored.snapshot);
    let mut candidates = newest_first.filter(same).peekable();
    let newest = candidates.peek().map(|snapshot| snapshot.id);
    let base = candidates.find(|snapshot| options.base.trusts(snapshot));
    if let (Some(newest), None) = (newest, &base) {
        kloset.observer().event(&Event::Warning(&untrusted(newest)));
    }
    Ok(base)
}

/// Why every file is read although there are snapshots of the same places.
fn untrusted(newest: Id) -> Error {
    let newest = newest.short();
    Error::new(
        Kind::Failed,
        format!(
            "there is no record that this machine created snapshot {newest} or an earlier one of \
             these places: reading every file (-o trust_base=true trusts it)"
        ),
    )
}

/// The entries of one directory as they were, looked up in the order of their names.
pub(crate) struct OldDirectory<'a> {
    entries: Option<TreeReader<'a>>,
    next: Option<Entry>,
    observer: &'a dyn Observer,
}

impl<'a> OldDirectory<'a> {
    /// A directory that was not there.
    pub(crate) fn none(observer: &'a dyn Observer) -> OldDirectory<'a> {
        OldDirectory {
            entries: None,
            next: None,
            observer,
        }
    }

    /// The directory as `directory` recorded it.
    pub(crate) fn new(
        blobs: &'a BlobReader<'a>,
        directory: &Entry,
        observer: &'a dyn Observer,
    ) -> OldDirectory<'a> {
        let mut old = OldDirectory {
            entries: Some(TreeReader::new(blobs, directory)),
            next: None,
            observer,
        };
        old.advance();
        old
    }

    /// What was called `name`. Names must be asked for in ascending order.
    pub(crate) fn take(&mut self, name: &[u8]) -> Option<Entry> {
        while self
            .next
            .as_ref()
            .is_some_and(|next| next.name.as_slice() < name)
        {
            self.advance();
        }
        match &self.next {
            Some(next) if next.name == name => self.advance(),
            _ => None,
        }
    }

    /// Goes to the next entry, and returns the one before. Damaged entries are reported; their
    /// files are read again, which stores anew whatever was lost.
    fn advance(&mut self) -> Option<Entry> {
        let mut next = None;
        while let Some(entries) = &mut self.entries {
            match entries.try_next() {
                Ok(Some(entry)) => {
                    next = Some(entry);
                    break;
                }
                Ok(None) => self.entries = None,
                Err(error) => {
                    if !error.is_of_one_object() {
                        self.entries = None;
                    }
                    let error = error.during("read the last snapshot");
                    self.observer.event(&Event::Warning(&error));
                }
            }
        }
        std::mem::replace(&mut self.next, next)
    }
}

/// What to record of a directory on the way to the places, which was recorded as `old`. What
/// else is in there is none of this backup's business. If that is all that changed it stays as
/// it was, or else nearly every backup, of what did not change, would store the trees on the
/// way anew: whoever backs up something in a home changes the home all the time.
pub(super) fn on_the_way(new: Metadata, old: &Metadata) -> Metadata {
    let lasting = |it: &Metadata| (it.kind, it.mode, it.uid, it.gid, it.inode, it.btime_ns);
    match lasting(&new) == lasting(old) {
        true => Metadata {
            mtime_ns: old.mtime_ns,
            ctime_ns: old.ctime_ns,
            ..new
        },
        false => new,
    }
}

/// Whether every chunk of the file `old` is still stored, so that a snapshot may refer to it.
pub(super) fn is_stored(kloset: &Kloset, blobs: &BlobReader<'_>, old: &Entry) -> Result<bool> {
    // Only the last chunk is smaller than the smallest; lists could be made to stand for more.
    let mut room = old.metadata.size_bytes / u64::from(kloset.config().chunk_minimum) + 1;
    let walked = each_chunk(blobs, &old.content, &mut |id| {
        let stored = room > 0 && kloset.look_up(|index| index.contains(&id))?;
        room = room.saturating_sub(1);
        if stored {
            Ok(())
        } else {
            Err(Error::new(Kind::NotFound, "a chunk is lost"))
        }
    });
    match walked {
        // A list that cannot be read is as good as lost.
        Err(error) if error.is_of_one_object() => Ok(false),
        outcome => outcome.map(|()| true),
    }
}

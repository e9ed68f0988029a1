//! The last snapshot of the same places: files that did not change since are not read.
//!
//! The snapshot that is compared with is the base. For every unchanged file the new snapshot takes
//! the chunks of the base, so the base decides what is recorded. Anyone with the key of the store can
//! publish a snapshot with the stat data of a machine and other chunks. So the caller states which
//! snapshots it [trusts](Base).

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
    /// Every snapshot of the same places, regardless of its creator.
    Any,
}

impl Default for Base {
    /// No snapshot is trusted.
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

/// How to detect that a file did not change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Compare {
    /// Compare inode numbers. Some network file systems assign new ones.
    pub inode: bool,
    /// Compare times of inode changes. Some tools change them without changing the file.
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
    /// Whether `old` and `new` are equal, as far as `lstat` shows.
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

/// The newest trusted snapshot of the same places of the same source. If there are only untrusted
/// ones, a warning reports this.
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

/// The warning that every file is read although there are snapshots of the same places.
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

/// The entries of one directory in the base, looked up in the order of their names.
pub(crate) struct OldDirectory<'a> {
    entries: Option<TreeReader<'a>>,
    next: Option<Entry>,
    observer: &'a dyn Observer,
}

impl<'a> OldDirectory<'a> {
    /// A directory that the base does not have.
    pub(crate) fn none(observer: &'a dyn Observer) -> OldDirectory<'a> {
        OldDirectory {
            entries: None,
            next: None,
            observer,
        }
    }

    /// The directory that the entry `directory` of the base describes.
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

    /// The old entry with the name `name`. Names must be requested in ascending order.
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

    /// Advances to the next entry, and returns the one before. Damaged entries are reported; their
    /// files are read again, which stores the lost data again.
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

/// The metadata to record for a directory on the path to the places, which was recorded as `old`. The
/// other contents of such a directory are not part of the backup. If only its times changed, the old
/// times are kept. Otherwise, nearly every backup would store the trees on the path again even if the
/// places did not change: other files in the parent directory of a place, such as a home directory,
/// change all the time.
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

/// Whether every chunk of the file `old` is still stored, so that a snapshot may reference it.
pub(super) fn is_stored(kloset: &Kloset, blobs: &BlobReader<'_>, old: &Entry) -> Result<bool> {
    // Only the last chunk may be smaller than the minimum. The limit is needed because a malicious
    // list could expand to more chunks.
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
        // A list that cannot be read counts as lost.
        Err(error) if error.is_of_one_object() => Ok(false),
        outcome => outcome.map(|()| true),
    }
}

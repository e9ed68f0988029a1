//! Files with several names (hard links), each of which is usually read only once.
//!
//! This module keeps the entries that the assembler has finished until the walk has found as many
//! names as the file has links. The walker uses such an entry for a further name if the metadata of
//! `lstat` is equal. A name without a suitable entry is read like any other file, whatever the
//! reason: the first name vanished, could not be read, changed, or is still in the pipeline, or there
//! was no memory left. So this only saves work: reading the file again is always correct, and its
//! data is stored already.
//!
//! Names that are close together in the walk are therefore read twice, the second time usually from
//! the page cache. For large files, the walker lets the pipeline run empty instead. If names are far
//! apart, as in the generations that rsnapshot creates, the first one is finished in time.
//!
//! Memory is bounded. When it is full, the oldest files are kept and new ones are rejected:
//! generations are walked one after the other, each in the same order, so the file that was used
//! longest ago is the one that is needed next.

use std::collections::HashMap;
use std::sync::Mutex;

use crate::connector::Metadata;
use crate::format::cbor::Reader;
use crate::format::entry::Entry;
use crate::kloset::pipeline::lock;

/// Memory for files and their slots in the table: about 250,000 files of one chunk.
const LIMIT_BYTES: usize = 64 << 20;
/// Memory per file in addition to its entry: key and slot, in a table that can be half empty.
const SLOT_BYTES: usize = 96;

/// Device and inode.
type Inode = (u64, u64);

/// Files of which one name was found, and others may follow.
#[derive(Default)]
pub(crate) struct Linked(Mutex<Files>);

#[derive(Default)]
struct Files {
    by_inode: HashMap<Inode, File>,
    bytes: usize,
}

/// One file.
struct File {
    /// Names that the walk has not found yet.
    names_left: u64,
    /// The entry of its first name, encoded to save memory; `None` until the file was read.
    entry: Option<Box<[u8]>>,
}

/// What is known about a file from its other names.
pub(super) enum Known {
    /// Nothing usable.
    Nothing,
    /// Another name is being read, or reading it failed.
    OnItsWay,
    /// The entry of another name.
    Entry(Box<Entry>),
}

impl Linked {
    /// What is known about the file with this `metadata`. Does not count this name.
    pub(super) fn look(&self, metadata: &Metadata) -> Known {
        let files = lock(&self.0);
        let Some(file) = files.by_inode.get(&inode(metadata)) else {
            return Known::Nothing;
        };
        let Some(entry) = &file.entry else {
            return Known::OnItsWay;
        };
        match Entry::decode(&mut Reader::new(entry)) {
            Ok(entry) if is_same(&entry.metadata, metadata) => Known::Entry(Box::new(entry)),
            _ => Known::Nothing,
        }
    }

    /// Counts a name that the walk found. Files whose names were all found are forgotten.
    pub(super) fn count(&self, metadata: &Metadata) {
        let files = &mut *lock(&self.0);
        let key = inode(metadata);
        if let Some(file) = files.by_inode.get_mut(&key) {
            file.names_left -= 1;
            if file.names_left == 0 {
                let entry = files.by_inode.remove(&key).and_then(|file| file.entry);
                files.bytes -= SLOT_BYTES + entry.map_or(0, |entry| entry.len());
            }
        } else if metadata.links > 1 && files.bytes + SLOT_BYTES <= LIMIT_BYTES {
            files.bytes += SLOT_BYTES;
            let file = File {
                names_left: metadata.links - 1,
                entry: None,
            };
            files.by_inode.insert(key, file);
        }
    }

    /// Keeps the entry of a file that was read, if further names may follow.
    pub(super) fn keep(&self, entry: &Entry) {
        if entry.metadata.links <= 1 || !entry.is_whole() {
            return;
        }
        let mut encoded = Vec::new();
        entry.encode(&mut encoded);
        let files = &mut *lock(&self.0);
        let Some(file) = files.by_inode.get_mut(&inode(&entry.metadata)) else {
            return;
        };
        let old_bytes = file.entry.as_ref().map_or(0, |entry| entry.len());
        if files.bytes - old_bytes + encoded.len() <= LIMIT_BYTES {
            files.bytes = files.bytes - old_bytes + encoded.len();
            file.entry = Some(encoded.into_boxed_slice());
        }
    }
}

/// The identity of a file.
fn inode(metadata: &Metadata) -> Inode {
    (metadata.device, metadata.inode)
}

/// Whether a file was neither written to nor replaced between the reads of the metadata of two names.
fn is_same(first: &Metadata, second: &Metadata) -> bool {
    first.kind == second.kind
        && first.size_bytes == second.size_bytes
        && first.mtime_ns == second.mtime_ns
        && first.ctime_ns == second.ctime_ns
        && first.btime_ns == second.btime_ns
        && first.links == second.links
}

#[cfg(test)]
mod tests {
    use super::*;

    fn metadata(inode: u64, links: u64) -> Metadata {
        Metadata {
            inode,
            links,
            device: 1,
            ..Metadata::default()
        }
    }

    #[test]
    fn a_file_is_forgotten_after_its_last_name() {
        let linked = Linked::default();
        let metadata = metadata(7, 3);
        assert!(matches!(linked.look(&metadata), Known::Nothing));
        linked.count(&metadata);
        assert!(matches!(linked.look(&metadata), Known::OnItsWay));
        linked.keep(&Entry::new(b"first".to_vec(), metadata.clone()));
        assert!(matches!(linked.look(&metadata), Known::Entry(_)));
        linked.count(&metadata);
        linked.count(&metadata);
        assert!(matches!(linked.look(&metadata), Known::Nothing));
        assert_eq!(lock(&linked.0).bytes, 0);
    }

    #[test]
    fn memory_is_bounded_and_the_first_stay() {
        let linked = Linked::default();
        let count = (LIMIT_BYTES / SLOT_BYTES) as u64;
        (1..=count + 9).for_each(|inode| linked.count(&metadata(inode, 2)));
        assert!(matches!(linked.look(&metadata(1, 2)), Known::OnItsWay));
        assert!(matches!(
            linked.look(&metadata(count + 9, 2)),
            Known::Nothing
        ));
        assert!(lock(&linked.0).bytes <= LIMIT_BYTES);
    }
}

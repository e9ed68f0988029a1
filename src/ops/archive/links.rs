//! Files with several names: the first name becomes a member with contents, further names refer to
//! it.
//!
//! Memory is bounded. If there is no space for another file, each of its names becomes a member with
//! contents: the archive is larger, but correct.

use std::collections::HashMap;

use crate::format::entry::Entry;

/// Memory for names: enough for about 200,000 files.
const LIMIT_BYTES: usize = 32 << 20;
/// Memory per file in addition to its name: key and slot, in a table that can be half empty.
const SLOT_BYTES: usize = 128;

/// Files with several names that are members.
#[derive(Default)]
pub(super) struct Firsts {
    /// Keyed by device and inode.
    by_inode: HashMap<(u64, u64), First>,
    bytes: usize,
}

/// The member of a file.
struct First {
    name: Box<[u8]>,
    size_bytes: u64,
    mtime_ns: i64,
    /// Names that are still expected, if all of them are archived.
    to_come: u64,
}

impl Firsts {
    /// The name of the member that has the contents of the file `entry`. `None` if the file was
    /// written to between the backups of two of its names.
    pub(super) fn of(&mut self, entry: &Entry) -> Option<Box<[u8]>> {
        let metadata = &entry.metadata;
        let key = (metadata.device, metadata.inode);
        let first = self.by_inode.get_mut(&key)?;
        if (first.size_bytes, first.mtime_ns) != (metadata.size_bytes, metadata.mtime_ns) {
            return None;
        }
        let name = first.name.clone();
        first.to_come -= 1;
        if first.to_come == 0 {
            self.by_inode.remove(&key);
            self.bytes -= SLOT_BYTES + name.len();
        }
        Some(name)
    }

    /// Notes that the contents of the file `entry` are in the member `name`.
    pub(super) fn keep(&mut self, name: &[u8], entry: &Entry) {
        let metadata = &entry.metadata;
        let key = (metadata.device, metadata.inode);
        let needed = SLOT_BYTES + name.len();
        let is_known =
            metadata.links > 1 && metadata.inode != 0 && !self.by_inode.contains_key(&key);
        if !is_known || self.bytes + needed > LIMIT_BYTES {
            return;
        }
        self.bytes += needed;
        let first = First {
            name: name.into(),
            size_bytes: metadata.size_bytes,
            mtime_ns: metadata.mtime_ns,
            to_come: metadata.links - 1,
        };
        self.by_inode.insert(key, first);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::connector::Metadata;

    fn entry(inode: u64, links: u64, size_bytes: u64) -> Entry {
        let metadata = Metadata {
            inode,
            links,
            size_bytes,
            ..Metadata::default()
        };
        Entry::new(b"x".to_vec(), metadata)
    }

    #[test]
    fn a_file_is_forgotten_after_its_last_name() {
        let mut firsts = Firsts::default();
        assert_eq!(firsts.of(&entry(7, 3, 1)), None);
        firsts.keep(b"a", &entry(7, 3, 1));
        assert_eq!(firsts.of(&entry(7, 3, 1)).as_deref(), Some(&b"a"[..]));
        assert_eq!(firsts.of(&entry(7, 3, 2)), None, "it changed");
        assert_eq!(firsts.of(&entry(7, 3, 1)).as_deref(), Some(&b"a"[..]));
        assert_eq!((firsts.of(&entry(7, 3, 1)), firsts.bytes), (None, 0));
        firsts.keep(b"alone", &entry(8, 1, 1));
        assert_eq!(firsts.of(&entry(8, 1, 1)), None);
    }

    #[test]
    fn memory_is_bounded() {
        let mut firsts = Firsts::default();
        let count = (LIMIT_BYTES / (SLOT_BYTES + 1)) as u64;
        (1..=count + 9).for_each(|inode| firsts.keep(b"x", &entry(inode, 2, 1)));
        assert!(firsts.of(&entry(1, 2, 1)).is_some());
        assert!(firsts.of(&entry(count + 9, 2, 1)).is_none());
        assert!(firsts.bytes <= LIMIT_BYTES);
    }
}

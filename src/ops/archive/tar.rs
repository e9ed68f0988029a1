//! Tar as specified by POSIX since 2001, with extensions of GNU tar and libarchive: extended
//! attributes, and files with holes (GNU sparse format 1.0).

use std::fmt::Write;
use std::ops::Range;

use ::tar::EntryType;

use super::out::Out;
use super::pax::{BLOCK_BYTES, Header};
use super::{Holes, Members, Missing};
use crate::connector::FileKind;
use crate::error::Result;
use crate::format::entry::Entry;
use crate::format::holes::content_bytes;

/// Files with fewer bytes of holes are archived with zeros: programs that do not support holes
/// extract a sparse member with wrong contents.
const HOLES_BYTES: u64 = 1 << 20;
/// The end of an archive.
const END: [u8; 2 * BLOCK_BYTES] = [0; 2 * BLOCK_BYTES];

/// A tar archive that is being written.
pub(super) struct Tar<'a> {
    out: Out<'a>,
}

impl<'a> Tar<'a> {
    /// Creates an empty archive.
    pub(super) fn new(out: Out<'a>) -> Tar<'a> {
        Tar { out }
    }

    /// Pads the last block.
    fn fill(&mut self) -> Result<()> {
        let used = (self.out.position() % BLOCK_BYTES as u64) as usize;
        match used {
            0 => Ok(()),
            used => self.out.write(&END[..BLOCK_BYTES - used]),
        }
    }
}

impl Members for Tar<'_> {
    fn takes(&self, kind: FileKind) -> bool {
        kind != FileKind::Socket
    }

    fn miss(&self, entry: &Entry, missing: &mut Missing) {
        let xattrs = &entry.details.xattrs;
        missing.xattrs += u64::from(xattrs.iter().any(|(name, _)| text(name).is_none()));
        missing.flags += u64::from(entry.details.flags != 0);
    }

    fn has_links(&self) -> bool {
        true
    }

    fn node(&mut self, name: &[u8], entry: &Entry) -> Result<()> {
        let mut header = described(type_of(entry.metadata.kind), entry);
        match entry.metadata.kind {
            FileKind::Directory => header.name(&[name, b"/"].concat()),
            _ => header.name(name),
        }
        match entry.metadata.kind {
            FileKind::Symlink => header.target(&entry.details.target),
            FileKind::CharDevice | FileKind::BlockDevice => {
                let device = entry.metadata.rdev;
                header.device(rustix::fs::major(device), rustix::fs::minor(device));
            }
            _ => {}
        }
        self.out.write(&header.finish())
    }

    fn link(&mut self, name: &[u8], entry: &Entry, first: &[u8]) -> Result<()> {
        let mut header = described(EntryType::Link, entry);
        header.name(name);
        header.target(first);
        self.out.write(&header.finish())
    }

    fn file(&mut self, name: &[u8], entry: &Entry) -> Result<Holes> {
        let size_bytes = entry.metadata.size_bytes;
        let content = content_bytes(&entry.holes, size_bytes);
        let mut header = described(EntryType::Regular, entry);
        if size_bytes - content < HOLES_BYTES {
            header.name(name);
            header.size(size_bytes);
            self.out.write(&header.finish())?;
            return Ok(Holes::Zeros);
        }
        let map = map(&entry.holes, size_bytes);
        header.record("GNU.sparse.major", b"1");
        header.record("GNU.sparse.minor", b"0");
        header.text("GNU.sparse.name", name);
        header.record("GNU.sparse.realsize", size_bytes.to_string().as_bytes());
        header.stand_in_name(&[b"GNUSparseFile.0/", entry.name.as_slice()].concat());
        header.size(map.len() as u64 + content);
        self.out.write(&header.finish())?;
        self.out.write(&map)?;
        Ok(Holes::Told)
    }

    fn data(&mut self, bytes: &[u8]) -> Result<()> {
        self.out.write(bytes)
    }

    fn end(&mut self) -> Result<()> {
        self.fill()
    }

    fn finish(&mut self) -> Result<u64> {
        self.out.write(&END)?;
        self.out.finish()
    }
}

/// The type of a member that is not a file.
fn type_of(kind: FileKind) -> EntryType {
    match kind {
        FileKind::Directory => EntryType::Directory,
        FileKind::Symlink => EntryType::Symlink,
        FileKind::Fifo => EntryType::Fifo,
        FileKind::CharDevice => EntryType::Char,
        FileKind::BlockDevice => EntryType::Block,
        FileKind::File | FileKind::Socket => EntryType::Regular,
    }
}

/// A header with the metadata that every entry has.
fn described(kind: EntryType, entry: &Entry) -> Header {
    let metadata = &entry.metadata;
    let mut header = Header::new(kind);
    header.mode(metadata.mode);
    header.owner(
        (metadata.uid, metadata.gid),
        (entry.user.as_deref(), entry.group.as_deref()),
    );
    header.mtime(metadata.mtime_ns);
    // The attributes are recorded with the first name of a file.
    if kind != EntryType::Link {
        for (name, value) in &entry.details.xattrs {
            if let Some(name) = text(name) {
                header.xattr(name, value);
            }
        }
    }
    header
}

/// The name of an extended attribute; `None` unless it is text, because keys of records must be text.
fn text(name: &[u8]) -> Option<&str> {
    std::str::from_utf8(name).ok()
}

/// The sparse map that precedes the contents of a file of `size_bytes`: the number of data runs, then
/// the offset and length of each, in decimal, one per line, padded to a full block.
fn map(holes: &[Range<u64>], size_bytes: u64) -> Vec<u8> {
    let mut runs = Vec::new();
    let mut at = 0;
    for hole in holes {
        if hole.start > at {
            runs.push((at, hole.start - at));
        }
        at = hole.end;
    }
    // An empty run marks the end of a file that ends with a hole.
    runs.push((at, size_bytes - at));
    let mut map = format!("{}\n", runs.len());
    for (start, length) in runs {
        writeln!(map, "{start}\n{length}").expect("memory takes what is written to it");
    }
    let mut map = map.into_bytes();
    map.resize(map.len().next_multiple_of(BLOCK_BYTES), 0);
    map
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_map_tells_of_data_and_of_the_end() {
        let told = |holes: &[Range<u64>], size_bytes| {
            let map = map(holes, size_bytes);
            assert_eq!(map.len(), BLOCK_BYTES);
            let text = String::from_utf8(map).unwrap();
            text.trim_end_matches('\0').replace('\n', " ")
        };
        assert_eq!(told(&[0..10, 20..30], 35), "2 10 10 30 5 ");
        assert_eq!(told(&[5..9, 10..35], 35), "3 0 5 9 1 35 0 ");
        let everything = 0..35;
        assert_eq!(told(std::slice::from_ref(&everything), 35), "1 35 0 ");
    }
}

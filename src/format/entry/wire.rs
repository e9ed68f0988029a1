//! Encodes and decodes entries as the CBOR map that kloset(5) shows.

use std::ops::Range;

use super::{Content, Entry, Totals, check_name};
use crate::error::{Error, Result};
use crate::format::cbor::{Keys, Reader, Writer};
use crate::util::file::FileKind;

/// Maximum depth of lists of chunks. Three levels are enough for every possible file.
const LIST_DEPTH_LIMIT: u32 = 8;

/// The bits of a mode: permissions, setuid, setgid and sticky.
const MODE_BITS: u32 = 0o7777;

/// CBOR keys of the map. They are part of the format: never renumber them.
mod key {
    pub(crate) const NAME: u64 = 0;
    pub(crate) const KIND: u64 = 1;
    pub(crate) const MODE: u64 = 2;
    pub(crate) const UID: u64 = 3;
    pub(crate) const GID: u64 = 4;
    pub(crate) const USER: u64 = 5;
    pub(crate) const GROUP: u64 = 6;
    pub(crate) const SIZE: u64 = 7;
    pub(crate) const MTIME: u64 = 8;
    pub(crate) const CTIME: u64 = 9;
    pub(crate) const BTIME: u64 = 10;
    pub(crate) const INODE: u64 = 11;
    pub(crate) const DEVICE: u64 = 12;
    pub(crate) const LINKS: u64 = 13;
    pub(crate) const TARGET: u64 = 14;
    pub(crate) const RDEV: u64 = 15;
    pub(crate) const XATTRS: u64 = 16;
    pub(crate) const FLAGS: u64 = 17;
    pub(crate) const HOLES: u64 = 18;
    pub(crate) const CHUNKS: u64 = 19;
    pub(crate) const CHUNK_LISTS: u64 = 20;
    pub(crate) const TREE: u64 = 21;
    pub(crate) const BELOW: u64 = 22;
    pub(crate) const CHANGED: u64 = 23;
    pub(crate) const PROBLEM: u64 = 24;
    pub(crate) const TREE_LISTS: u64 = 25;
    pub(crate) const DETAILS_MISSING: u64 = 26;
    pub(crate) const RECENT: u64 = 27;
}

/// Writes the pairs of a map whose number is known only at the end.
struct Pairs<'a> {
    out: &'a mut Vec<u8>,
    count_at: usize,
}

impl<'a> Pairs<'a> {
    /// Starts a map: major type 5, with its length in one byte that is filled in later.
    fn new(out: &'a mut Vec<u8>) -> Pairs<'a> {
        out.extend_from_slice(&[0xb8, 0]);
        let count_at = out.len() - 1;
        Pairs { out, count_at }
    }

    /// Appends a key. The caller must append the value.
    fn key(&mut self, key: u64) -> Writer<'_> {
        self.out[self.count_at] += 1;
        let mut writer = Writer::new(self.out);
        writer.u64(key);
        writer
    }

    /// Appends a pair, unless the value is the default `usual`.
    fn u64(&mut self, key: u64, value: u64, usual: u64) {
        if value != usual {
            self.key(key).u64(value);
        }
    }

    /// Appends a pair, unless the value is empty. The key depends on whether there are lists.
    fn content(&mut self, direct: u64, lists: u64, content: &Content) {
        match content {
            Content { ids, .. } if ids.is_empty() => {}
            Content { ids, depth: 0 } => drop(self.key(direct).ids(ids)),
            Content { ids, depth } => drop(self.key(lists).array(2).u64((*depth).into()).ids(ids)),
        }
    }

    /// Appends a pair, unless there is no value.
    fn text(&mut self, key: u64, text: Option<&str>) {
        if let Some(text) = text {
            self.key(key).text(text);
        }
    }
}

impl Entry {
    /// Appends the encoded entry to `out`.
    pub fn encode(&self, out: &mut Vec<u8>) {
        let mut pairs = Pairs::new(out);
        pairs.key(key::NAME).bytes(&self.name);
        self.encode_metadata(&mut pairs);
        self.encode_details(&mut pairs);
        self.encode_contents(&mut pairs);
        pairs.u64(key::CHANGED, self.changed.into(), 0);
        pairs.text(key::PROBLEM, self.problem.as_deref());
        pairs.u64(key::DETAILS_MISSING, self.details_missing.into(), 0);
        pairs.u64(key::RECENT, self.recent.into(), 0);
    }

    /// Appends the result of `lstat`, and the names of owner and group.
    fn encode_metadata(&self, pairs: &mut Pairs<'_>) {
        let metadata = &self.metadata;
        pairs.key(key::KIND).u64(kind_code(metadata.kind));
        pairs.key(key::MODE).u64(metadata.mode.into());
        pairs.u64(key::UID, metadata.uid.into(), 0);
        pairs.u64(key::GID, metadata.gid.into(), 0);
        pairs.text(key::USER, self.user.as_deref());
        pairs.text(key::GROUP, self.group.as_deref());
        pairs.u64(key::SIZE, metadata.size_bytes, 0);
        pairs.key(key::MTIME).i64(metadata.mtime_ns);
        pairs.key(key::CTIME).i64(metadata.ctime_ns);
        if let Some(btime_ns) = metadata.btime_ns {
            pairs.key(key::BTIME).i64(btime_ns);
        }
        pairs.u64(key::INODE, metadata.inode, 0);
        if metadata.links > 1 && !self.is_dir() {
            pairs.u64(key::DEVICE, metadata.device, 0);
            pairs.u64(key::LINKS, metadata.links, 1);
        }
        pairs.u64(key::RDEV, metadata.rdev, 0);
    }

    /// Appends the metadata that `lstat` does not provide.
    fn encode_details(&self, pairs: &mut Pairs<'_>) {
        if !self.details.target.is_empty() {
            pairs.key(key::TARGET).bytes(&self.details.target);
        }
        if !self.details.xattrs.is_empty() {
            let mut writer = pairs.key(key::XATTRS);
            writer.array(2 * self.details.xattrs.len());
            self.details.xattrs.iter().for_each(|(name, value)| {
                writer.bytes(name).bytes(value);
            });
        }
        pairs.u64(key::FLAGS, self.details.flags.into(), 0);
    }

    /// Appends the location of the contents or of the tree.
    fn encode_contents(&self, pairs: &mut Pairs<'_>) {
        if !self.holes.is_empty() {
            let mut writer = pairs.key(key::HOLES);
            writer.array(2 * self.holes.len());
            self.holes.iter().for_each(|hole| {
                writer.u64(hole.start).u64(hole.end - hole.start);
            });
        }
        pairs.content(key::CHUNKS, key::CHUNK_LISTS, &self.content);
        pairs.content(key::TREE, key::TREE_LISTS, &self.tree);
        if self.below != Totals::default() {
            let Totals {
                files,
                directories,
                bytes,
            } = self.below;
            pairs
                .key(key::BELOW)
                .array(3)
                .u64(files)
                .u64(directories)
                .u64(bytes);
        }
    }

    /// Decodes an entry from untrusted bytes: the inverse of [`Entry::encode`].
    ///
    /// # Errors
    /// [`Kind::Corrupt`](crate::error::Kind::Corrupt) for anything that cannot be an entry of a
    /// directory.
    pub fn decode(reader: &mut Reader<'_>) -> Result<Entry> {
        let mut entry = Entry::default();
        entry.metadata.links = 1;
        let mut kind = None;
        let keys = reader.each_pair(|key, reader| {
            match key {
                key::KIND => kind = Some(reader.u64()?),
                known => entry.decode_pair(known, reader)?,
            }
            Ok(())
        })?;
        let kind = kind.ok_or_else(|| Error::corrupt("an entry of no kind"))?;
        match kind_of(kind) {
            Some(kind) => entry.metadata.kind = kind,
            // A later version added this kind. The entry must not make its neighbors unreadable.
            None => entry.set_problem(&format!(
                "of a kind, {kind}, that this program does not know"
            )),
        }
        check_name(&entry.name)?;
        check_lists(keys)?;
        entry.check_mode()?;
        entry.check_target()?;
        entry.check_holes()?;
        Ok(entry)
    }

    /// The name of the entry at the start of `bytes`, if it can be found. It is used to report an
    /// entry that is damaged elsewhere.
    pub(crate) fn name_in(bytes: &[u8]) -> Option<Vec<u8>> {
        let mut name = None;
        let read = Reader::new(bytes).each_pair(|key, reader| {
            match key {
                key::NAME => name = Some(reader.bytes()?.to_vec()),
                _ => reader.skip()?,
            }
            Ok(())
        });
        // The name may be before or after the malformed part.
        drop(read);
        name
    }

    /// Reads the value of `key`.
    fn decode_pair(&mut self, key: u64, reader: &mut Reader<'_>) -> Result<()> {
        let metadata = &mut self.metadata;
        match key {
            key::NAME => self.name = reader.bytes()?.to_vec(),
            key::MODE => metadata.mode = reader.u32()?,
            key::UID => metadata.uid = reader.u32()?,
            key::GID => metadata.gid = reader.u32()?,
            key::USER => self.user = Some(reader.text()?.into()),
            key::GROUP => self.group = Some(reader.text()?.into()),
            key::SIZE => metadata.size_bytes = reader.u64()?,
            key::MTIME => metadata.mtime_ns = reader.i64()?,
            key::CTIME => metadata.ctime_ns = reader.i64()?,
            key::BTIME => metadata.btime_ns = Some(reader.i64()?),
            key::INODE => metadata.inode = reader.u64()?,
            key::DEVICE => metadata.device = reader.u64()?,
            key::LINKS => metadata.links = reader.u64()?,
            key::RDEV => metadata.rdev = reader.u64()?,
            key::TARGET => self.details.target = reader.bytes()?.to_vec(),
            key::XATTRS => self.details.xattrs = xattrs(reader)?,
            key::FLAGS => self.details.flags = reader.u32()?,
            key::HOLES => self.holes = holes(reader)?,
            key::CHUNKS => {
                self.content = Content {
                    ids: reader.ids()?,
                    depth: 0,
                }
            }
            key::CHUNK_LISTS => self.content = lists(reader)?,
            key::TREE => {
                self.tree = Content {
                    ids: reader.ids()?,
                    depth: 0,
                }
            }
            key::TREE_LISTS => self.tree = lists(reader)?,
            key::BELOW => self.below = totals(reader)?,
            key::CHANGED => self.changed = reader.u64()? != 0,
            key::PROBLEM => self.problem = Some(reader.text()?.to_owned()),
            key::DETAILS_MISSING => self.details_missing = reader.u64()? != 0,
            key::RECENT => self.recent = reader.u64()? != 0,
            _ => reader.skip()?,
        }
        Ok(())
    }

    /// # Errors
    /// [`Kind::Corrupt`](crate::error::Kind::Corrupt) for a mode of more than 12 bits.
    fn check_mode(&self) -> Result<()> {
        match self.metadata.mode {
            ..=MODE_BITS => Ok(()),
            mode => Err(Error::corrupt(format!("a mode of {mode:o}"))),
        }
    }

    /// # Errors
    /// [`Kind::Corrupt`](crate::error::Kind::Corrupt) for a symbolic link with an empty target or a
    /// NUL byte in its target. A link that could not be read has no target.
    fn check_target(&self) -> Result<()> {
        let (target, is_link) = (
            &self.details.target,
            self.metadata.kind == FileKind::Symlink,
        );
        if is_link && self.problem.is_none() && (target.is_empty() || target.contains(&0)) {
            return Err(Error::corrupt("a link with an impossible target"));
        }
        Ok(())
    }

    /// # Errors
    /// [`Kind::Corrupt`](crate::error::Kind::Corrupt) unless the holes are sorted, disjoint and
    /// inside the file.
    fn check_holes(&self) -> Result<()> {
        let mut last_end = 0;
        for hole in &self.holes {
            if hole.start < last_end || hole.end > self.metadata.size_bytes {
                return Err(Error::corrupt("holes that cannot be"));
            }
            last_end = hole.end;
        }
        Ok(())
    }
}

/// # Errors
/// [`Kind::Corrupt`](crate::error::Kind::Corrupt) if the contents or the tree are given twice,
/// because it is then ambiguous which one is valid.
fn check_lists(keys: Keys) -> Result<()> {
    for (direct, lists) in [
        (key::CHUNKS, key::CHUNK_LISTS),
        (key::TREE, key::TREE_LISTS),
    ] {
        if keys.has(direct) && keys.has(lists) {
            return Err(Error::corrupt(format!("both keys {direct} and {lists}")));
        }
    }
    Ok(())
}

/// Reads alternating names and values.
fn xattrs(reader: &mut Reader<'_>) -> Result<Vec<(Vec<u8>, Vec<u8>)>> {
    (0..reader.pairs()?)
        .map(|_| Ok((reader.bytes()?.to_vec(), reader.bytes()?.to_vec())))
        .collect()
}

/// Reads alternating offsets and lengths.
fn holes(reader: &mut Reader<'_>) -> Result<Vec<Range<u64>>> {
    let hole = |start: u64, length: u64| {
        let end = start
            .checked_add(length)
            .ok_or_else(|| Error::corrupt("a hole that ends nowhere"))?;
        Ok(start..end)
    };
    (0..reader.pairs()?)
        .map(|_| hole(reader.u64()?, reader.u64()?))
        .collect()
}

/// Reads a depth and a list of ids.
fn lists(reader: &mut Reader<'_>) -> Result<Content> {
    let additions = reader.record(2)?;
    let (depth, ids) = (reader.u32()?, reader.ids()?);
    reader.skip_many(additions)?;
    match (1..=LIST_DEPTH_LIMIT).contains(&depth) {
        true => Ok(Content { ids, depth }),
        false => Err(Error::corrupt(format!("lists of chunks {depth} deep"))),
    }
}

/// Reads the totals: files, directories and bytes.
fn totals(reader: &mut Reader<'_>) -> Result<Totals> {
    let additions = reader.record(3)?;
    let totals = Totals {
        files: reader.u64()?,
        directories: reader.u64()?,
        bytes: reader.u64()?,
    };
    reader.skip_many(additions)?;
    Ok(totals)
}

/// The code of a kind.
fn kind_code(kind: FileKind) -> u64 {
    match kind {
        FileKind::File => 0,
        FileKind::Directory => 1,
        FileKind::Symlink => 2,
        FileKind::Fifo => 3,
        FileKind::Socket => 4,
        FileKind::CharDevice => 5,
        FileKind::BlockDevice => 6,
    }
}

/// The inverse of [`kind_code`].
fn kind_of(code: u64) -> Option<FileKind> {
    use FileKind::{BlockDevice, CharDevice, Directory, Fifo, File, Socket, Symlink};
    const KINDS: [FileKind; 7] = [
        File,
        Directory,
        Symlink,
        Fifo,
        Socket,
        CharDevice,
        BlockDevice,
    ];
    usize::try_from(code)
        .ok()
        .and_then(|code| KINDS.get(code))
        .copied()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::util::Id;
    use crate::util::file::{Details, Metadata};

    fn entry() -> Entry {
        let metadata = Metadata {
            size_bytes: 100,
            mtime_ns: -5,
            btime_ns: Some(i64::MAX),
            links: 2,
            device: 9,
            ..Metadata::default()
        };
        Entry {
            user: Some("root".into()),
            details: Details {
                xattrs: vec![(b"user.a".to_vec(), vec![0, 255])],
                flags: 8,
                target: Vec::new(),
            },
            holes: vec![10..20, 90..100],
            content: Content {
                ids: vec![Id([1; 32]); 3],
                depth: 2,
            },
            problem: Some("changed while it was read".into()),
            details_missing: true,
            recent: true,
            ..Entry::new(b"\xff\n".to_vec(), metadata)
        }
    }

    #[test]
    fn an_entry_round_trips() {
        let mut bytes = Vec::new();
        entry().encode(&mut bytes);
        assert_eq!(Entry::decode(&mut Reader::new(&bytes)).unwrap(), entry());
    }

    #[test]
    fn no_truncation_decodes() {
        let mut bytes = Vec::new();
        entry().encode(&mut bytes);
        for length in 0..bytes.len() {
            assert!(
                Entry::decode(&mut Reader::new(&bytes[..length])).is_err(),
                "length {length}"
            );
        }
    }
}

//! Shows all recorded data of one entry of a snapshot.

use std::fmt;
use std::ops::Range;

use serde::Serialize;

use super::snapshot::bytes;
use crate::cli::date::precise;
use crate::cli::escape::{JsonPath, printable};
use crate::cli::facts::table;
use crate::cli::listing::EntryLine;
use crate::cli::selection::Choice;
use crate::cli::{Globals, Status};
use crate::connector::FileKind;
use crate::error::{Error, Result};
use crate::format::entry::{Content, Entry};
use crate::format::holes::content_bytes;
use crate::kloset::Kloset;
use crate::kloset::blob::BlobReader;
use crate::kloset::tree::{chunk_ids, each_chunk};
use crate::ops::select;
use crate::util::Id;

/// The size of the cache of decoded blocks, used to count chunks in lists.
const CACHE_BYTES: usize = 8 << 20;
/// The number of chunks that a file may have regardless of its size, because it may have grown
/// while it was read.
const CHUNKS_LIMIT: u64 = 1 << 20;
/// The number of holes listed in text output. `-json` lists all of them.
const HOLES_SHOWN: usize = 8;
/// The letters that `lsattr` uses for inode flags (`FS_IOC_GETFLAGS`), and their bits.
const FLAG_LETTERS: [(char, u32); 14] = [
    ('s', 0x1),
    ('u', 0x2),
    ('c', 0x4),
    ('S', 0x8),
    ('i', 0x10),
    ('a', 0x20),
    ('d', 0x40),
    ('A', 0x80),
    ('j', 0x4000),
    ('t', 0x8000),
    ('D', 0x1_0000),
    ('T', 0x2_0000),
    ('C', 0x80_0000),
    ('P', 0x2000_0000),
];

/// All recorded data. Missing fields are omitted.
#[derive(Serialize)]
struct Facts {
    snapshot: String,
    #[serde(flatten)]
    line: EntryLine,
    ctime: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    btime: Option<String>,
    inode: u64,
    device: u64,
    links: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    rdev: Option<[u32; 2]>,
    flags: u32,
    xattrs: Vec<Xattr>,
    /// Offset and length of each hole, in bytes.
    holes: Vec<[u64; 2]>,
    #[serde(skip_serializing_if = "Option::is_none")]
    content_bytes: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    chunks: Option<u64>,
    chunk_lists: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    below: Option<Below>,
    is_changed: bool,
    is_recent: bool,
    lacks_details: bool,
    #[serde(skip)]
    shown: String,
}

/// An extended attribute, without its value.
#[derive(Serialize)]
struct Xattr {
    name: JsonPath,
    size_bytes: usize,
}

/// The totals of everything below a directory.
#[derive(Serialize)]
struct Below {
    files: u64,
    directories: u64,
    bytes: u64,
}

impl fmt::Display for Facts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.shown)
    }
}

/// Prints all recorded data of the entry that `choice` selects.
pub(super) fn print(globals: &Globals, kloset: &Kloset, choice: &Choice) -> Result<Status> {
    let blobs = BlobReader::new(kloset, CACHE_BYTES)?;
    let path = choice.path_or_base();
    let entry = select::entry(&blobs, choice.snapshot(), &path)?;
    let (chunks, status) = match count(globals, &blobs, &entry) {
        Ok(chunks) => (Some(chunks), Status::Success),
        Err(error) if error.is_of_one_object() => {
            globals.out.failed(&path, &error);
            (None, Status::Damaged)
        }
        Err(error) => return Err(error),
    };
    let facts = Facts::new(choice.snapshot().id, &path, &entry, chunks);
    globals.out.result("entry", &facts)?;
    Ok(status)
}

/// The content of a file, or the list of entries of a directory.
fn content_of(entry: &Entry) -> &Content {
    match entry.is_dir() {
        true => &entry.tree,
        false => &entry.content,
    }
}

/// Counts the chunks. If the list of chunks is itself stored in chunks, reads it.
///
/// # Errors
/// [`Kind::Corrupt`](crate::error::Kind::Corrupt) if there are more chunks than possible: crafted
/// lists can represent more chunks than can be counted in practice.
fn count(globals: &Globals, blobs: &BlobReader<'_>, entry: &Entry) -> Result<u64> {
    if entry.is_dir() {
        return Ok(chunk_ids(blobs, &entry.tree)?.len() as u64);
    }
    let limit = entry.metadata.size_bytes.max(CHUNKS_LIMIT);
    let mut count = 0;
    each_chunk(blobs, &entry.content, &mut |_| {
        globals.interrupt.check()?;
        count += 1;
        match count <= limit {
            true => Ok(()),
            false => Err(Error::corrupt("more chunks than bytes")),
        }
    })?;
    Ok(count)
}

impl Facts {
    fn new(snapshot: Id, path: &[u8], entry: &Entry, chunks: Option<u64>) -> Facts {
        let metadata = &entry.metadata;
        let xattr = |(name, value): &(Vec<u8>, Vec<u8>)| Xattr {
            name: JsonPath::from(name.as_slice()),
            size_bytes: value.len(),
        };
        let hole = |hole: &Range<u64>| [hole.start, hole.end - hole.start];
        let below = entry.below;
        Facts {
            snapshot: snapshot.to_string(),
            line: EntryLine::new(entry, path, &entry.name),
            ctime: precise(metadata.ctime_ns),
            btime: metadata.btime_ns.map(precise),
            inode: metadata.inode,
            device: metadata.device,
            links: metadata.links,
            rdev: is_device(entry).then(|| numbers(metadata.rdev)),
            flags: entry.details.flags,
            xattrs: entry.details.xattrs.iter().map(xattr).collect(),
            holes: entry.holes.iter().map(hole).collect(),
            content_bytes: entry.is_file().then(|| content(entry)),
            chunks,
            chunk_lists: content_of(entry).depth,
            below: entry.is_dir().then_some(Below {
                files: below.files,
                directories: below.directories,
                bytes: below.bytes,
            }),
            is_changed: entry.changed,
            is_recent: entry.recent,
            lacks_details: entry.details_missing,
            shown: table(&rows(snapshot, path, entry, chunks)),
        }
    }
}

/// Whether the entry is a device.
fn is_device(entry: &Entry) -> bool {
    let kind = entry.metadata.kind;
    matches!(kind, FileKind::CharDevice | FileKind::BlockDevice)
}

/// The major and minor number of a device.
fn numbers(rdev: u64) -> [u32; 2] {
    [rustix::fs::major(rdev), rustix::fs::minor(rdev)]
}

/// The number of bytes of a file that are not in holes.
fn content(entry: &Entry) -> u64 {
    content_bytes(&entry.holes, entry.metadata.size_bytes)
}

/// The rows of the text output, each with its name.
fn rows(
    snapshot: Id,
    path: &[u8],
    entry: &Entry,
    chunks: Option<u64>,
) -> Vec<(&'static str, String)> {
    let mut rows = vec![
        ("snapshot", snapshot.to_string()),
        ("path", printable(path)),
    ];
    rows.extend(identity(entry));
    rows.extend(times(entry));
    rows.extend(inode(entry));
    rows.extend(attributes(entry));
    rows.extend(contents(entry, chunks));
    rows.extend(oddities(entry));
    rows
}

/// Type, permissions and owner.
fn identity(entry: &Entry) -> Vec<(&'static str, String)> {
    let metadata = &entry.metadata;
    let owner = |id: u32, name: &Option<std::sync::Arc<str>>| match name {
        Some(name) => format!("{id} ({})", printable(name.as_bytes())),
        None => id.to_string(),
    };
    let mode = crate::cli::listing::mode(metadata.kind, metadata.mode);
    let mut rows = vec![
        (
            "kind",
            crate::cli::listing::kind(metadata.kind).1.to_owned(),
        ),
        ("mode", format!("{:04o} ({mode})", metadata.mode)),
        ("user", owner(metadata.uid, &entry.user)),
        ("group", owner(metadata.gid, &entry.group)),
    ];
    if metadata.kind == FileKind::Symlink {
        rows.push(("target", printable(&entry.details.target)));
    }
    rows
}

/// All times, in nanoseconds.
fn times(entry: &Entry) -> Vec<(&'static str, String)> {
    let metadata = &entry.metadata;
    let mut rows = vec![
        ("modified", precise(metadata.mtime_ns)),
        ("changed", precise(metadata.ctime_ns)),
    ];
    rows.extend(metadata.btime_ns.map(|time| ("created", precise(time))));
    rows
}

/// Device, inode number and number of links in the original file system.
fn inode(entry: &Entry) -> Vec<(&'static str, String)> {
    let metadata = &entry.metadata;
    let mut rows = vec![
        ("inode", metadata.inode.to_string()),
        ("links", metadata.links.to_string()),
    ];
    if metadata.device != 0 {
        let [major, minor] = numbers(metadata.device);
        rows.push(("on device", format!("{major}:{minor}")));
    }
    if is_device(entry) {
        let [major, minor] = numbers(metadata.rdev);
        rows.push(("device", format!("{major}:{minor}")));
    }
    rows
}

/// Inode flags and extended attributes.
fn attributes(entry: &Entry) -> Vec<(&'static str, String)> {
    let mut rows = Vec::new();
    let flags = entry.details.flags;
    if flags != 0 {
        let set = FLAG_LETTERS.iter().filter(|(_, bit)| flags & bit != 0);
        let letters: String = set.map(|(letter, _)| letter).collect();
        rows.push(("flags", format!("{letters} ({flags:#x})")));
    }
    let xattrs = entry.details.xattrs.iter();
    rows.extend(xattrs.map(|(name, value)| {
        let name = printable(name);
        ("xattr", format!("{name}, {}", bytes(value.len() as u64)))
    }));
    rows
}

/// Sizes, holes and chunks.
fn contents(entry: &Entry, chunks: Option<u64>) -> Vec<(&'static str, String)> {
    let mut rows = Vec::new();
    if entry.is_dir() {
        rows.push(("files", entry.below.files.to_string()));
        rows.push(("directories", entry.below.directories.to_string()));
        rows.push(("size", bytes(entry.below.bytes)));
    } else if entry.is_file() {
        rows.push(("size", bytes(entry.metadata.size_bytes)));
        rows.push(("content", bytes(content(entry))));
    }
    let shown = entry.holes.iter().take(HOLES_SHOWN);
    rows.extend(shown.map(|hole| {
        let length = bytes(hole.end - hole.start);
        ("hole", format!("at {}, {length}", hole.start))
    }));
    let more = entry.holes.len().saturating_sub(HOLES_SHOWN);
    if more > 0 {
        rows.push(("holes", format!("{more} more")));
    }
    if entry.is_file() || entry.is_dir() {
        rows.push(("chunks", counted(chunks, content_of(entry).depth)));
    }
    rows
}

/// The number of chunks, and the depth of their lists.
fn counted(chunks: Option<u64>, depth: u32) -> String {
    let chunks = chunks.map_or("unknown: their list is damaged".to_owned(), |chunks| {
        chunks.to_string()
    });
    match depth {
        0 => chunks,
        depth => format!("{chunks}, in lists {depth} deep"),
    }
}

/// Problems that occurred during the backup.
fn oddities(entry: &Entry) -> Vec<(&'static str, String)> {
    let mut rows = Vec::new();
    if let Some(problem) = &entry.problem {
        rows.push(("problem", printable(problem.as_bytes())));
    }
    let told = [
        (
            entry.changed,
            "changed while it was read: contents may be mixed",
        ),
        (
            entry.recent,
            "changed just before it was read: will be read again",
        ),
        (
            entry.details_missing,
            "has attributes or flags that were not recorded",
        ),
    ];
    let odd = told.into_iter().filter(|(is_so, _)| *is_so);
    rows.extend(odd.map(|(_, words)| ("note", words.to_owned())));
    rows
}

//! Finding entries by name or path in many snapshots.
//!
//! Snapshots of one place share most of their trees. What was found below a directory is
//! remembered by its tree and its path, so that a tree which the next snapshot has at the
//! same path is not read again: mostly that is "nothing". Memory is bounded: when it is
//! full, what is not remembered is read again.
//!
//! Directories are walked in the order of names, parents first, without recursion.

use std::collections::HashMap;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::rc::Rc;

use globset::{Candidate, GlobBuilder, GlobSet, GlobSetBuilder};

use crate::connector::FileKind;
use crate::error::{Error, Kind, Result};
use crate::format::entry::Entry;
use crate::kloset::blob::BlobReader;
use crate::kloset::tree::{DEPTH_LIMIT, TreeReader};
use crate::util::Id;
use crate::util::interrupt::Interrupt;

/// What may be remembered, in bytes.
const MEMORY_BYTES: usize = 32 << 20;
/// What remembering a directory costs, and each entry that was found in it, beside its name.
const ITEM_BYTES: usize = 96;

/// Whether letters of the other case match.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Case {
    /// No.
    Sensitive,
    /// Yes.
    Ignored,
}

/// What to look for: patterns of names, and patterns of whole paths.
pub struct Patterns {
    names: GlobSet,
    paths: GlobSet,
}

impl Patterns {
    /// A pattern without `/` is for names; with one it is for paths, at any depth unless it
    /// begins with `/`. `*`, `?` and classes match within a name, `**` over several.
    ///
    /// # Errors
    /// [`Kind::Usage`] for what is no pattern.
    pub fn new(patterns: &[String], case: Case) -> Result<Patterns> {
        if patterns.iter().any(String::is_empty) {
            return Err(Error::usage("an empty pattern matches nothing"));
        }
        let (mut names, mut paths) = (GlobSetBuilder::new(), GlobSetBuilder::new());
        for pattern in patterns {
            let (set, pattern) = match pattern.find('/') {
                None => (&mut names, pattern.clone()),
                Some(0) => (&mut paths, pattern.clone()),
                Some(_) => (&mut paths, format!("**/{pattern}")),
            };
            let glob = GlobBuilder::new(&pattern)
                .literal_separator(true)
                .backslash_escape(true)
                .case_insensitive(case == Case::Ignored)
                .build();
            set.add(glob.map_err(not_a_pattern)?);
        }
        Ok(Patterns {
            names: names.build().map_err(not_a_pattern)?,
            paths: paths.build().map_err(not_a_pattern)?,
        })
    }

    /// Whether the entry called `name` at `path` is looked for.
    fn match_entry(&self, name: &[u8], path: &[u8]) -> bool {
        let candidate = |bytes| Candidate::new(Path::new(OsStr::from_bytes(bytes)));
        (!self.names.is_empty() && self.names.is_match_candidate(&candidate(name)))
            || (!self.paths.is_empty() && self.paths.is_match_candidate(&candidate(path)))
    }
}

fn not_a_pattern(cause: globset::Error) -> Error {
    Error::usage(cause.to_string())
}

/// What is told of an entry that was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Brief {
    /// What it is.
    pub kind: FileKind,
    /// Length of a file, or of everything below a directory.
    pub size_bytes: u64,
    /// Last change, nanoseconds since 1970.
    pub mtime_ns: i64,
}

impl Brief {
    fn of(entry: &Entry) -> Brief {
        Brief {
            kind: entry.metadata.kind,
            size_bytes: match entry.is_dir() {
                true => entry.below.bytes,
                false => entry.metadata.size_bytes,
            },
            mtime_ns: entry.metadata.mtime_ns,
        }
    }
}

/// Who hears of what is found, and of what cannot be searched.
pub trait Listener {
    /// An entry matches.
    fn found(&mut self, path: &[u8], entry: &Brief) -> Result<()>;

    /// A part of the directory at `path` is damaged; what is left of it is searched.
    fn damaged(&mut self, path: &[u8], error: &Error);
}

/// A tree at a path, as a key: half of a hash.
type Key = [u8; 16];

fn key(path: &[u8], directory: &Entry) -> Key {
    let Entry { tree, below, .. } = directory;
    let mut hasher = blake3::Hasher::new();
    hasher.update(&(path.len() as u64).to_le_bytes());
    hasher.update(path).update(&tree.depth.to_le_bytes());
    for Id(id) in &tree.ids {
        hasher.update(id);
    }
    // With other totals the same tree may be damaged, which only reading it shows.
    for total in [below.files, below.directories, below.bytes] {
        hasher.update(&total.to_le_bytes());
    }
    let (key, _) = hasher
        .finalize()
        .as_bytes()
        .split_first_chunk()
        .map(|(key, rest)| (*key, rest.len()))
        .expect("a hash is longer than a key");
    key
}

/// A name in a directory that matches, or has something below it that does.
#[derive(Clone)]
struct Hit {
    name: Vec<u8>,
    /// Nothing if only something below it matches.
    brief: Option<Brief>,
    /// The directory it is, if something below it matches.
    below: Option<Key>,
}

/// Nothing for a directory in which nothing was found.
type Hits = Option<Rc<[Hit]>>;

/// What was found in directories that were searched.
struct Memory {
    known: HashMap<Key, Hits>,
    room_bytes: usize,
}

impl Memory {
    /// Takes room for a directory, or for an entry called `name`, if there is any.
    fn take(&mut self, name: &[u8]) -> bool {
        let left = self.room_bytes.checked_sub(name.len() + ITEM_BYTES);
        self.room_bytes = left.unwrap_or(self.room_bytes);
        left.is_some()
    }

    /// Remembers `hits`, for which room was taken, if there is room for the directory too.
    fn keep(&mut self, key: Key, hits: Vec<Hit>) -> bool {
        let has_room = self.take(b"");
        match has_room {
            true => {
                let hits = (!hits.is_empty()).then(|| Rc::from(hits));
                self.known.insert(key, hits);
            }
            false => self.forget(&hits),
        }
        has_room
    }

    /// Gives the room back that was taken for `hits`.
    fn forget(&mut self, hits: &[Hit]) {
        let taken: usize = hits.iter().map(|hit| hit.name.len() + ITEM_BYTES).sum();
        self.room_bytes += taken;
    }
}

/// Where the entries of a directory come from.
enum From<'a> {
    /// Its tree.
    Tree(Box<TreeReader<'a>>),
    /// Memory: what matches, and how much of it came by.
    Memory(Rc<[Hit]>, usize),
}

/// A directory we are in.
struct Frame<'a> {
    from: From<'a>,
    key: Key,
    path_bytes: usize,
    /// Of the directory itself, for its parent.
    brief: Option<Brief>,
    /// What is to be remembered; nothing once that is not complete.
    hits: Option<Vec<Hit>>,
    /// Whether anything was found at or below it.
    has_found: bool,
}

/// A search through many snapshots.
pub struct Search<'a> {
    blobs: &'a BlobReader<'a>,
    patterns: &'a Patterns,
    interrupt: Interrupt,
    memory: Memory,
    path: Vec<u8>,
    frames: Vec<Frame<'a>>,
}

impl<'a> Search<'a> {
    /// A search that has seen nothing yet.
    pub fn new(
        blobs: &'a BlobReader<'a>,
        patterns: &'a Patterns,
        interrupt: Interrupt,
    ) -> Search<'a> {
        Search {
            blobs,
            patterns,
            interrupt,
            memory: Memory {
                known: HashMap::new(),
                room_bytes: MEMORY_BYTES,
            },
            path: Vec::new(),
            frames: Vec::new(),
        }
    }

    /// Tells `listener` of everything at and below `entry`, which is at the absolute `path`,
    /// that matches. The root itself has no name that could.
    ///
    /// # Errors
    /// Those of the listener, and what is not of one tree alone.
    pub fn run(&mut self, path: &[u8], entry: &Entry, listener: &mut dyn Listener) -> Result<()> {
        self.frames.clear();
        self.path = path.strip_suffix(b"/").unwrap_or(path).to_vec();
        let is_match = !entry.name.is_empty() && self.patterns.match_entry(&entry.name, &self.path);
        if is_match {
            listener.found(&self.path, &Brief::of(entry))?;
        }
        if entry.is_dir() {
            self.enter(entry, None);
        }
        while !self.frames.is_empty() {
            self.interrupt.check()?;
            self.step(listener)?;
        }
        Ok(())
    }

    /// Goes on by one entry.
    fn step(&mut self, listener: &mut dyn Listener) -> Result<()> {
        let frame = self.frames.last_mut().expect("we are in a directory");
        self.path.truncate(frame.path_bytes);
        match &mut frame.from {
            From::Memory(hits, at) => {
                let hit = hits.get(*at).cloned();
                *at += 1;
                self.remembered(hit, listener)
            }
            From::Tree(reader) => match reader.try_next() {
                Ok(Some(entry)) => self.entry(&entry, listener),
                Ok(None) => {
                    self.leave();
                    Ok(())
                }
                Err(error) if error.is_of_one_object() => {
                    let error = Error::new(Kind::Corrupt, error.to_string());
                    listener.damaged(&self.path, &error);
                    Ok(())
                }
                Err(error) => Err(error),
            },
        }
    }

    /// Deals with an entry of a tree.
    fn entry(&mut self, entry: &Entry, listener: &mut dyn Listener) -> Result<()> {
        self.arrive(&entry.name);
        let is_match = self.patterns.match_entry(&entry.name, &self.path);
        let brief = is_match.then(|| Brief::of(entry));
        if let Some(brief) = &brief {
            listener.found(&self.path, brief)?;
        }
        if entry.is_dir() && self.frames.len() >= DEPTH_LIMIT {
            let error = format!("more than {DEPTH_LIMIT} directories deep");
            listener.damaged(&self.path, &Error::corrupt(error));
        } else if entry.is_dir() {
            self.enter(entry, brief);
            return Ok(());
        }
        if is_match {
            self.note(&entry.name, brief, None);
        }
        Ok(())
    }

    /// Deals with what memory has instead of an entry.
    fn remembered(&mut self, hit: Option<Hit>, listener: &mut dyn Listener) -> Result<()> {
        let Some(hit) = hit else {
            self.frames.pop();
            return Ok(());
        };
        self.arrive(&hit.name);
        if let Some(brief) = &hit.brief {
            listener.found(&self.path, brief)?;
        }
        if let Some(key) = hit.below {
            let known = self.memory.known.get(&key).cloned().flatten();
            let hits = known.expect("nothing is ever forgotten");
            self.recall(key, hits);
        }
        Ok(())
    }

    /// Goes into a directory, unless it is known that nothing is to be found there.
    fn enter(&mut self, directory: &Entry, brief: Option<Brief>) {
        let key = key(&self.path, directory);
        match self.memory.known.get(&key).cloned() {
            Some(known) => {
                let name = self.name();
                self.note(&name, brief, known.is_some().then_some(key));
                if let Some(hits) = known {
                    self.recall(key, hits);
                }
            }
            None => self.frames.push(Frame {
                from: From::Tree(Box::new(TreeReader::new(self.blobs, directory))),
                key,
                path_bytes: self.path.len(),
                brief,
                hits: Some(Vec::new()),
                has_found: false,
            }),
        }
    }

    /// Goes into a directory that was searched before.
    fn recall(&mut self, key: Key, hits: Rc<[Hit]>) {
        self.frames.push(Frame {
            from: From::Memory(hits, 0),
            key,
            path_bytes: self.path.len(),
            brief: None,
            hits: None,
            has_found: true,
        });
    }

    /// Leaves a directory that was read, and remembers what was found there.
    fn leave(&mut self) {
        let left = self.frames.pop().expect("we are in a directory");
        let name = self.name();
        let is_kept = left
            .hits
            .is_some_and(|hits| self.memory.keep(left.key, hits));
        match is_kept {
            true => self.note(&name, left.brief, left.has_found.then_some(left.key)),
            false => self.forget(),
        }
        if let Some(parent) = self.frames.last_mut() {
            parent.has_found |= left.has_found;
        }
    }

    /// Notes for the directory we are in what was found at `name`.
    fn note(&mut self, name: &[u8], brief: Option<Brief>, below: Option<Key>) {
        let Some(frame) = self.frames.last_mut() else {
            return;
        };
        if brief.is_none() && below.is_none() {
            return;
        }
        frame.has_found = true;
        let Some(hits) = &mut frame.hits else {
            return;
        };
        match self.memory.take(name) {
            true => hits.push(Hit {
                name: name.to_vec(),
                brief,
                below,
            }),
            false => self.forget(),
        }
    }

    /// Notes that what was found in the directory we are in is not known completely.
    fn forget(&mut self) {
        let hits = self.frames.last_mut().and_then(|frame| frame.hits.take());
        self.memory.forget(&hits.unwrap_or_default());
    }

    fn arrive(&mut self, name: &[u8]) {
        self.path.push(b'/');
        self.path.extend_from_slice(name);
    }

    /// The last name of the path.
    fn name(&self) -> Vec<u8> {
        let name = self.path.rsplit(|byte| *byte == b'/').next();
        name.unwrap_or_default().to_vec()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn matches(pattern: &str, case: Case, path: &[u8]) -> bool {
        let patterns = Patterns::new(&[pattern.to_owned()], case).unwrap();
        let name = path.rsplit(|byte| *byte == b'/').next().unwrap();
        patterns.match_entry(name, path)
    }

    #[test]
    fn names_and_paths_match_as_a_shell_would() {
        for (pattern, path, expected) in [
            ("passwd", &b"/etc/passwd"[..], true),
            ("passwd", b"/etc/passwd-", false),
            ("*.txt", b"/a/b/c.txt", true),
            ("/etc/*", b"/etc/passwd", true),
            ("/etc/*", b"/etc/ssh/config", false),
            ("/etc/**", b"/etc/ssh/config", true),
            ("ssh/*", b"/etc/ssh/config", true),
            ("etc/*", b"/etc/passwd", true),
            ("sh/*", b"/etc/ssh/config", false),
            ("?", b"/a/\xff", true),
            ("*\n*", b"/a/b\nc", true),
            ("caf*", b"/caf\xe9", true),
            ("[ab]*", b"/apple", true),
            (".*", b"/home/.profile", true),
        ] {
            assert_eq!(
                matches(pattern, Case::Sensitive, path),
                expected,
                "{pattern} {}",
                path.escape_ascii()
            );
        }
    }

    #[test]
    fn case_counts_unless_it_is_ignored() {
        assert!(!matches("*.JPG", Case::Sensitive, b"/a/b.jpg"));
        assert!(matches("*.JPG", Case::Ignored, b"/a/b.jpg"));
        assert!(matches("/A/*.jpg", Case::Ignored, b"/a/b.JPG"));
    }

    #[test]
    fn what_is_no_pattern_is_refused() {
        let error = Patterns::new(&["[a".to_owned()], Case::Sensitive);
        assert_eq!(error.err().unwrap().kind(), Kind::Usage);
    }
}

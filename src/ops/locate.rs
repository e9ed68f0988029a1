//! Finds entries by name or path in many snapshots.
//!
//! Snapshots of the same place share most of their trees. The matches below a directory are cached by
//! its tree and its path, so a tree that the next snapshot has at the same path is not read again.
//! Most cached results are empty. Memory is bounded: when the cache is full, directories that are not
//! cached are read again.
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

/// Size of the cache.
const MEMORY_BYTES: usize = 32 << 20;
/// Cache memory per directory, and per match in it, in addition to the name of the match.
const ITEM_BYTES: usize = 96;

/// Whether matching ignores case.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Case {
    /// Case is significant.
    Sensitive,
    /// Case is ignored.
    Ignored,
}

/// Patterns of names and of whole paths.
pub struct Patterns {
    names: GlobSet,
    paths: GlobSet,
}

impl Patterns {
    /// Parses patterns. A pattern without `/` applies to names. One with `/` applies to paths, at any
    /// depth unless it begins with `/`. `*`, `?` and classes match within a name, `**` across several
    /// names.
    ///
    /// # Errors
    /// [`Kind::Usage`] for an invalid pattern.
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

    /// Whether a pattern matches the entry with the name `name` at `path`.
    fn match_entry(&self, name: &[u8], path: &[u8]) -> bool {
        let candidate = |bytes| Candidate::new(Path::new(OsStr::from_bytes(bytes)));
        (!self.names.is_empty() && self.names.is_match_candidate(&candidate(name)))
            || (!self.paths.is_empty() && self.paths.is_match_candidate(&candidate(path)))
    }
}

fn not_a_pattern(cause: globset::Error) -> Error {
    Error::usage(cause.to_string())
}

/// A summary of a matching entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Brief {
    /// The kind of the entry.
    pub kind: FileKind,
    /// Size of a file, or of everything below a directory.
    pub size_bytes: u64,
    /// Modification time, in nanoseconds since 1970.
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

/// Receives matches, and errors of damaged directories.
pub trait Listener {
    /// Called for each matching entry.
    fn found(&mut self, path: &[u8], entry: &Brief) -> Result<()>;

    /// Called if a part of the directory at `path` is damaged. The rest of it is searched.
    fn damaged(&mut self, path: &[u8], error: &Error);
}

/// Cache key of a tree at a path: half of a hash.
type Key = [u8; 16];

fn key(path: &[u8], directory: &Entry) -> Key {
    let Entry { tree, below, .. } = directory;
    let mut hasher = blake3::Hasher::new();
    hasher.update(&(path.len() as u64).to_le_bytes());
    hasher.update(path).update(&tree.depth.to_le_bytes());
    for Id(id) in &tree.ids {
        hasher.update(id);
    }
    // The same tree with other totals may be damaged, which is detected only by reading it.
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

/// A name in a directory that matches, or has matches below it.
#[derive(Clone)]
struct Hit {
    name: Vec<u8>,
    /// `None` if only entries below it match.
    brief: Option<Brief>,
    /// The key of the directory, if there are matches below it.
    below: Option<Key>,
}

/// `None` for a directory without matches.
type Hits = Option<Rc<[Hit]>>;

/// The matches in directories that were searched.
struct Memory {
    known: HashMap<Key, Hits>,
    room_bytes: usize,
}

impl Memory {
    /// Reserves memory for a directory, or for a match with the name `name`. Returns `false` if there
    /// is none left.
    fn take(&mut self, name: &[u8]) -> bool {
        let left = self.room_bytes.checked_sub(name.len() + ITEM_BYTES);
        self.room_bytes = left.unwrap_or(self.room_bytes);
        left.is_some()
    }

    /// Caches `hits`, for which memory was reserved, if there is memory for the directory too.
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

    /// Releases the memory that was reserved for `hits`.
    fn forget(&mut self, hits: &[Hit]) {
        let taken: usize = hits.iter().map(|hit| hit.name.len() + ITEM_BYTES).sum();
        self.room_bytes += taken;
    }
}

/// The origin of the entries of a directory.
enum From<'a> {
    /// The tree of the directory.
    Tree(Box<TreeReader<'a>>),
    /// The cache: the matches, and the number of those already processed.
    Memory(Rc<[Hit]>, usize),
}

/// An open directory.
struct Frame<'a> {
    from: From<'a>,
    key: Key,
    path_bytes: usize,
    /// The match of the directory itself, for its parent.
    brief: Option<Brief>,
    /// The matches to cache; `None` once they are incomplete.
    hits: Option<Vec<Hit>>,
    /// Whether the directory matches or has matches below it.
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
    /// A search with an empty cache.
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

    /// Reports every match in and below `entry`, which is at the absolute `path`, to `listener`. The
    /// root has no name that could match.
    ///
    /// # Errors
    /// Errors of the listener, and errors that concern more than one tree.
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

    /// Processes the next entry.
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

    /// Processes an entry of a tree.
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

    /// Processes a cached match instead of an entry.
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

    /// Enters a directory, unless the cache shows that it has no matches.
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

    /// Enters a directory that was searched before.
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

    /// Leaves a directory that was read, and caches its matches.
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

    /// Adds the match at `name` to the current directory.
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

    /// Marks the matches of the current directory as incomplete.
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

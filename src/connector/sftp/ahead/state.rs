//! The pending work and the prefetched results, within limits.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use super::{Fetched, Listed};
use crate::connector::wanted::Wanted;
use crate::connector::{FileKind, Item};

/// The maximum number of names kept, about 250 bytes each, before listing stops.
const NAMES_READY: usize = 20_000;
/// The maximum number of known directories not yet listed. Beyond it, those that the walk reaches
/// last are dropped.
const DIRECTORIES_WAITING: usize = 20_000;
/// The maximum size of files that are prefetched or announced: one batch for each of four readers.
const CONTENTS_BYTES: u64 = 16 << 20;
/// The cost of a file in addition to its contents.
const FILE_COST_BYTES: u64 = 512;
/// Older listings are repeated. A walk that reaches a directory an hour after its listing would
/// miss more changes than one that lists the directory itself.
const LISTING_AGE: Duration = Duration::from_secs(60);
/// The time without prefetching after a connection was lost, refused or silent. It doubles with
/// each failure, at most [`DOUBLED_LIMIT`] times.
const PAUSE: Duration = Duration::from_secs(10);
const DOUBLED_LIMIT: u32 = 6;

/// The state of a requested result.
pub(super) enum Slot<T> {
    /// Not yet started.
    Waiting,
    UnderWay,
    Done(T),
}

/// A directory listing and its time.
struct Listing {
    listed: Listed,
    made: Instant,
}

impl Listed {
    /// The number of names that count toward the limit.
    fn names(&self) -> usize {
        self.items.len() + self.targets.len()
    }
}

/// A unit of work.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Task {
    /// List a directory. The limit on names does not apply if a caller waits for the listing.
    List { path: PathBuf, is_waited_for: bool },
    /// Read a file of at most `limit_bytes`.
    Fetch { path: PathBuf, limit_bytes: u64 },
}

impl Task {
    pub(super) fn path(&self) -> &Path {
        match self {
            Task::List { path, .. } | Task::Fetch { path, .. } => path,
        }
    }
}

pub(super) struct State {
    wanted: Wanted,
    is_over: bool,
    paused_until: Option<Instant>,
    pauses: u32,
    /// Directories that a caller waits for.
    urgent: Vec<PathBuf>,
    /// Directories that the walk will reach, in its order.
    directories: BTreeSet<PathBuf>,
    listings: BTreeMap<PathBuf, Slot<Listing>>,
    names_ready: usize,
    files: VecDeque<PathBuf>,
    /// The files, with the expected size of each.
    contents: HashMap<PathBuf, (u64, Slot<Fetched>)>,
    contents_bytes: u64,
}

impl State {
    pub(super) fn new(wanted: Wanted) -> State {
        State {
            wanted,
            is_over: false,
            paused_until: None,
            pauses: 0,
            urgent: Vec::new(),
            directories: BTreeSet::new(),
            listings: BTreeMap::new(),
            names_ready: 0,
            files: VecDeque::new(),
            contents: HashMap::new(),
            contents_bytes: 0,
        }
    }

    pub(super) fn is_over(&self) -> bool {
        self.is_over
    }

    /// Ends prefetching: waiting callers do the work themselves.
    pub(super) fn end(&mut self) {
        self.is_over = true;
        self.forget();
    }

    /// Suspends prefetching, because the connection failed or does not respond.
    pub(super) fn pause(&mut self) {
        let pause = PAUSE * 2u32.pow(self.pauses.min(DOUBLED_LIMIT));
        self.pauses += 1;
        self.paused_until = Some(Instant::now() + pause);
        self.forget();
    }

    /// Drops everything that is not finished.
    fn forget(&mut self) {
        self.urgent.clear();
        self.files.clear();
        self.listings
            .retain(|_, slot| matches!(slot, Slot::Done(_)));
        let is_done =
            |_: &PathBuf, (_, slot): &mut (u64, Slot<Fetched>)| matches!(slot, Slot::Done(_));
        self.contents.retain(is_done);
        let cost = |(size_bytes, _): &(u64, Slot<Fetched>)| size_bytes + FILE_COST_BYTES;
        self.contents_bytes = self.contents.values().map(cost).sum();
    }

    /// Whether prefetching is neither ended nor suspended.
    fn is_working(&mut self) -> bool {
        if self
            .paused_until
            .is_some_and(|until| until <= Instant::now())
        {
            self.paused_until = None;
        }
        !self.is_over && self.paused_until.is_none()
    }

    /// Records that the walk has reached `path`, and drops everything before it.
    pub(super) fn pass(&mut self, path: &Path) {
        self.directories = self.directories.split_off(path);
        let rest = self.listings.split_off(path);
        let passed = std::mem::replace(&mut self.listings, rest);
        for slot in passed.into_values() {
            if let Slot::Done(listing) = slot {
                self.names_ready -= listing.listed.names();
            }
        }
    }

    /// Requests a listing of the directory at `path`, unless it is too late for that. Returns
    /// whether the listing is available or will be.
    pub(super) fn ask_for_listing(&mut self, path: &Path) -> bool {
        if let Some(Slot::Done(listing)) = self.listings.get(path)
            && listing.made.elapsed() > LISTING_AGE
        {
            let _ = self.take_listing(path);
        }
        if self.listings.contains_key(path) {
            return true;
        }
        if !self.is_working() {
            return false;
        }
        self.directories.remove(path);
        self.listings.insert(path.to_owned(), Slot::UnderWay);
        self.urgent.push(path.to_owned());
        true
    }

    /// Takes the listing of `path` if it is finished. Returns `None` if it was not requested.
    pub(super) fn take_listing(&mut self, path: &Path) -> Option<Slot<Listed>> {
        match self.listings.get(path)? {
            Slot::Done(_) => {}
            Slot::Waiting | Slot::UnderWay => return Some(Slot::UnderWay),
        }
        let Some(Slot::Done(listing)) = self.listings.remove(path) else {
            return None;
        };
        self.names_ready -= listing.listed.names();
        Some(Slot::Done(listing.listed))
    }

    /// Announces a file. Returns whether it will be prefetched.
    pub(super) fn expect_file(&mut self, path: &Path, size_bytes: u64) -> bool {
        let cost = size_bytes + FILE_COST_BYTES;
        let fits = self.contents_bytes + cost <= CONTENTS_BYTES;
        if !fits || !self.is_working() || self.contents.contains_key(path) {
            return false;
        }
        self.contents_bytes += cost;
        let slot = (size_bytes, Slot::Waiting);
        self.contents.insert(path.to_owned(), slot);
        self.files.push_back(path.to_owned());
        true
    }

    /// Takes the file at `path` if it is finished. Returns `None` if it was not announced.
    pub(super) fn take_file(&mut self, path: &Path) -> Option<Slot<Fetched>> {
        match self.contents.get(path)? {
            (_, Slot::Done(_)) => self.drop_file(path),
            _ => Some(Slot::UnderWay),
        }
    }

    fn drop_file(&mut self, path: &Path) -> Option<Slot<Fetched>> {
        let (size_bytes, slot) = self.contents.remove(path)?;
        self.contents_bytes -= size_bytes + FILE_COST_BYTES;
        Some(slot)
    }

    /// Returns the next task. `may_list` is false at the limit on concurrent listings.
    pub(super) fn next(&mut self, may_list: bool) -> Option<Task> {
        if !self.is_working() {
            return None;
        }
        if let Some(path) = self.urgent.pop() {
            return Some(Task::List {
                path,
                is_waited_for: true,
            });
        }
        if may_list
            && self.names_ready < NAMES_READY
            && let Some(path) = self.directories.pop_first()
        {
            self.listings.insert(path.clone(), Slot::UnderWay);
            return Some(Task::List {
                path,
                is_waited_for: false,
            });
        }
        while let Some(path) = self.files.pop_front() {
            if let Some((limit_bytes, slot)) = self.contents.get_mut(&path) {
                *slot = Slot::UnderWay;
                let limit_bytes = *limit_bytes;
                return Some(Task::Fetch { path, limit_bytes });
            }
        }
        None
    }

    /// Records the contents of the directory at `path`, or that it could not be listed. Its
    /// subdirectories are listed next.
    pub(super) fn listed(&mut self, path: &Path, listed: Option<Listed>) {
        let Some(slot) = self.listings.get_mut(path) else {
            // The walk has passed it.
            return;
        };
        let Some(listed) = listed else {
            self.listings.remove(path);
            return;
        };
        self.names_ready += listed.names();
        let is_directory = |item: &&Item| {
            (item.metadata.as_ref()).is_ok_and(|metadata| metadata.kind == FileKind::Directory)
        };
        let below = listed.items.iter().filter(is_directory);
        let below = below.map(|item| path.join(OsStr::from_bytes(&item.name)));
        let wanted = &self.wanted;
        self.directories
            .extend(below.filter(|path| wanted.is_walked(path.as_os_str().as_bytes())));
        while self.directories.len() > DIRECTORIES_WAITING {
            self.directories.pop_last();
        }
        *slot = Slot::Done(Listing {
            listed,
            made: Instant::now(),
        });
    }

    /// Records a file that was read, or that it could not be read.
    pub(super) fn fetched(&mut self, path: &Path, fetched: Option<Fetched>) {
        match (self.contents.get_mut(path), fetched) {
            (Some((_, slot)), Some(fetched)) => *slot = Slot::Done(fetched),
            (Some(_), None) => {
                let _ = self.drop_file(path);
            }
            (None, _) => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::connector::Metadata;

    fn state() -> State {
        State::new(Wanted {
            places: vec![b"/".to_vec()],
            skip: vec![b"/none".to_vec()],
            ..Wanted::default()
        })
    }

    fn directory(name: &str) -> Item {
        Item {
            name: name.as_bytes().to_vec(),
            metadata: Ok(Metadata {
                kind: FileKind::Directory,
                ..Metadata::default()
            }),
        }
    }

    fn listed(items: impl IntoIterator<Item = super::Item>) -> Option<Listed> {
        Some(Listed {
            items: items.into_iter().collect(),
            ..Listed::default()
        })
    }

    fn list(path: &str, is_waited_for: bool) -> Option<Task> {
        let path = PathBuf::from(path);
        Some(Task::List {
            path,
            is_waited_for,
        })
    }

    #[test]
    fn directories_come_in_the_order_of_the_walk() {
        let mut state = state();
        assert!(state.ask_for_listing(Path::new("/")));
        assert_eq!(state.next(false), list("/", true));
        let names = ["b", "a", "none", "a-"].map(directory);
        state.listed(Path::new("/"), listed(names));
        assert!(matches!(
            state.take_listing(Path::new("/")),
            Some(Slot::Done(listed)) if listed.items.len() == 4
        ));
        assert_eq!(state.next(false), None);
        assert_eq!(state.next(true), list("/a", false));
        assert_eq!(state.next(true), list("/a-", false));
        // The contents of /a precede /b, in whatever order the directories were listed.
        state.listed(Path::new("/a"), listed([directory("z")]));
        assert_eq!(state.next(true), list("/a/z", false));
        state.pass(Path::new("/b"));
        assert_eq!((state.names_ready, state.listings.len()), (0, 0));
        state.listed(Path::new("/a/z"), listed([directory("late")]));
        assert_eq!(state.names_ready, 0);
        assert_eq!(state.next(true), list("/b", false));
        assert_eq!(state.next(true), None);
    }

    #[test]
    fn no_more_lies_ready_than_there_is_room_for() {
        let mut state = state();
        let size_bytes = CONTENTS_BYTES / 4;
        let paths: Vec<PathBuf> = (0..4).map(|n| PathBuf::from(format!("/{n}"))).collect();
        let mut expected = paths.iter();
        assert_eq!(
            expected
                .by_ref()
                .take_while(|path| state.expect_file(path, size_bytes))
                .count(),
            3
        );
        assert!(state.take_file(&paths[3]).is_none());
        state.fetched(&paths[0], None);
        assert!(state.take_file(&paths[0]).is_none());
        assert!(state.expect_file(&paths[3], size_bytes));
        state.forget();
        assert_eq!((state.contents_bytes, state.next(true)), (0, None));
        assert!(state.take_file(&paths[3]).is_none());

        state.listings.insert("/d".into(), Slot::UnderWay);
        let many = (0..NAMES_READY).map(|n| directory(&n.to_string()));
        state.listed(Path::new("/d"), listed(many));
        assert_eq!(state.next(true), None);
    }

    #[test]
    fn without_a_connection_nothing_is_promised() {
        let mut state = state();
        assert!(state.ask_for_listing(Path::new("/a")));
        state.directories.insert("/c".into());
        state.pause();
        assert_eq!(state.next(true), None);
        assert!(state.take_listing(Path::new("/a")).is_none());
        assert!(!state.ask_for_listing(Path::new("/b")));
        assert!(!state.expect_file(Path::new("/b/f"), 1));
        state.paused_until = Some(Instant::now());
        assert!(state.ask_for_listing(Path::new("/b")));
        assert_eq!(state.next(true), list("/b", true));
        assert_eq!(state.next(true), list("/c", false));
        state.end();
        assert!(!state.expect_file(Path::new("/b/f"), 1));
    }
}

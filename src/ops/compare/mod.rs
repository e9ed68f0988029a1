//! Compares two trees, each of a snapshot or of a source.
//!
//! Both are walked in parallel in the order of names, like the merge of two sorted lists. The open
//! directories are on a stack. Of each, only one chunk is in memory (of a live directory, its list of
//! names). Directories of two snapshots with the same tree are equal and are not read. Of two
//! versions of a long directory, only the chunks that differ are read. So the cost of a comparison
//! depends on the number of changes.
//!
//! | | two snapshots | a snapshot and a source |
//! |---|---|---|
//! | same directory | same tree, not read | is walked |
//! | same file | same chunks, not read | size and mtime, or bytes where these do not decide |
//!
//! Where part of a tree is lost, the names in it are unknown: names on the other side that would be
//! in the gap are not reported.
//!
//! Each difference is reported once. A node that exists on one side only, or is of another kind, is
//! reported without further differences. The time of a file whose contents differ, and of a directory
//! in which something differs, is not reported.

mod bytes;
mod metadata;
mod side;
pub mod text;

use std::cmp::Ordering;
use std::collections::VecDeque;

pub use metadata::{Became, Change, Owner};
pub use side::{Bytes, Node};

use crate::connector::FileKind;
use crate::error::{Error, Kind, Result};
use crate::kloset::progress::{Counters, add};
use crate::kloset::tree::{DEPTH_LIMIT, Reach};
use crate::util::interrupt::Interrupt;
use side::{Child, Children};

/// When the contents of a file of a source are read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rule {
    /// If its size is equal and its time differs.
    Quick,
    /// If its size is equal.
    Contents,
}

/// Options of a [`Comparison`].
pub struct Options<'a> {
    /// Whether everything below a directory is reported, or only its direct children.
    pub reach: Reach,
    /// When contents are read.
    pub rule: Rule,
    /// Set when the user requests a stop.
    pub interrupt: Interrupt,
    /// Counts the compared files.
    pub counters: &'a Counters,
}

/// One of the two sides.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Which {
    /// The first side.
    A,
    /// The second side.
    B,
}

/// A difference between the two sides.
pub enum Difference<'a> {
    /// Only one side has the node.
    Only(Which, Box<Node<'a>>),
    /// The nodes are of different kinds.
    Kind(FileKind, FileKind),
    /// Two files with different bytes.
    Contents(Box<(Node<'a>, Node<'a>)>),
    /// Something differs below two directories; not reported with [`Reach::All`].
    Below,
    /// Differences other than contents.
    Metadata(Vec<Change>),
}

/// One result of a comparison.
pub struct Found<'a> {
    /// Path relative to the compared nodes, beginning with `/`; empty for the nodes themselves.
    pub path: Vec<u8>,
    /// A difference, or the error that prevents the comparison.
    pub outcome: Result<Difference<'a>>,
}

/// Two open directories.
struct Frame<'a> {
    a: Children<'a>,
    b: Children<'a>,
    path_bytes: usize,
    /// Differences of the directories themselves, reported when the walk leaves them.
    changes: Vec<Change>,
    /// Whether anything in the directories differs.
    differs: bool,
}

/// A comparison in progress.
pub struct Comparison<'a> {
    options: &'a Options<'a>,
    reach: Reach,
    /// The path of the current nodes.
    path: Vec<u8>,
    frames: Vec<Frame<'a>>,
    ready: VecDeque<Found<'a>>,
}

impl<'a> Comparison<'a> {
    /// Compares `a` with `b`, and their children if both are directories.
    pub fn new(a: Node<'a>, b: Node<'a>, options: &'a Options<'a>) -> Result<Comparison<'a>> {
        let mut comparison = Comparison::nothing(options, options.reach);
        comparison.pair(a, b)?;
        Ok(comparison)
    }

    fn nothing(options: &'a Options<'a>, reach: Reach) -> Comparison<'a> {
        Comparison {
            options,
            reach,
            path: Vec::new(),
            frames: Vec::new(),
            ready: VecDeque::new(),
        }
    }

    /// The next result in the order of names.
    ///
    /// # Errors
    /// Errors that end the comparison. An error that concerns only one pair of nodes is [returned as
    /// a result](Found::outcome), like a difference.
    pub fn try_next(&mut self) -> Result<Option<Found<'a>>> {
        loop {
            if let Some(found) = self.ready.pop_front() {
                return Ok(Some(found));
            }
            self.options.interrupt.check()?;
            if self.frames.is_empty() {
                return Ok(None);
            }
            self.step()?;
        }
    }

    /// Processes the next name.
    fn step(&mut self) -> Result<()> {
        let frame = self.frames.last_mut().expect("we are in a directory");
        self.path.truncate(frame.path_bytes);
        frame.a.skip_common(&mut frame.b);
        let filled = frame.a.fill().and_then(|()| frame.b.fill());
        if let Err(error) = filled {
            return self.failed(error);
        }
        let frame = self.frames.last_mut().expect("we are in a directory");
        let order = match (frame.a.name(), frame.b.name()) {
            (None, None) => return self.leave(),
            (Some(_), None) => Ordering::Less,
            (None, Some(_)) => Ordering::Greater,
            (Some(one), Some(two)) => one.cmp(two),
        };
        match order {
            Ordering::Less => {
                let is_lost = frame.b.has_gap();
                let child = frame.a.take();
                self.only(Which::A, child, is_lost)
            }
            Ordering::Greater => {
                let is_lost = frame.a.has_gap();
                let child = frame.b.take();
                self.only(Which::B, child, is_lost)
            }
            Ordering::Equal => {
                let (a, b) = (frame.a.take(), frame.b.take());
                self.both(a.zip(b))
            }
        }
    }

    /// Leaves the innermost open directories.
    fn leave(&mut self) -> Result<()> {
        let left = self.frames.pop().expect("we are in a directory");
        let changes = match left.differs {
            true => metadata::without_mtime(left.changes),
            false => left.changes,
        };
        self.changed(changes);
        Ok(())
    }

    /// Processes a name that only one side has, unless the other side may have lost it.
    fn only(&mut self, which: Which, child: Option<Child<'a>>, is_lost: bool) -> Result<()> {
        let Some(child) = child.filter(|_| !is_lost) else {
            return Ok(());
        };
        self.arrive(&child.name);
        match child.node {
            Ok(node) => self.differs(Difference::Only(which, Box::new(node))),
            Err(error) => return self.failed(error),
        }
        Ok(())
    }

    /// Processes a name that both sides have.
    fn both(&mut self, children: Option<(Child<'a>, Child<'a>)>) -> Result<()> {
        let Some((a, b)) = children else {
            return Ok(());
        };
        self.arrive(&a.name);
        match (a.node, b.node) {
            (Ok(a), Ok(b)) => self.pair(a, b),
            (Err(error), _) | (_, Err(error)) => self.failed(error),
        }
    }

    fn arrive(&mut self, name: &[u8]) {
        self.path.push(b'/');
        self.path.extend_from_slice(name);
    }

    /// Compares two nodes with the same path.
    fn pair(&mut self, a: Node<'a>, b: Node<'a>) -> Result<()> {
        add(&self.options.counters.files, 1);
        let (one, two) = (a.entry.metadata.kind, b.entry.metadata.kind);
        if one != two {
            self.differs(Difference::Kind(one, two));
            return Ok(());
        }
        let is_untouched = is_untouched(&a, &b);
        let changes = match is_untouched {
            true => Vec::new(),
            false => self.changes(&a, &b)?,
        };
        match one {
            FileKind::Directory => self.directories(a, b, changes),
            FileKind::File => self.files(a, b, changes, is_untouched),
            _ => {
                self.changed(changes);
                Ok(())
            }
        }
    }

    /// The differences other than contents.
    fn changes(&mut self, a: &Node<'_>, b: &Node<'_>) -> Result<Vec<Change>> {
        let mut changes = metadata::of_metadata(&a.entry, &b.entry);
        match metadata::of_details(a, b) {
            Ok(details) => {
                let is_other_link = matches!(details.first(), Some(Change::Target(..)));
                if is_other_link {
                    changes = metadata::without_mtime(changes);
                }
                changes.extend(details);
            }
            Err(error) => self.failed(error)?,
        }
        Ok(changes)
    }

    /// Compares two files.
    fn files(
        &mut self,
        a: Node<'a>,
        b: Node<'a>,
        changes: Vec<Change>,
        is_untouched: bool,
    ) -> Result<()> {
        let settled = match is_untouched && self.options.rule == Rule::Quick {
            true => Some(true),
            false => settled(&a, &b, self.options.rule),
        };
        let compared = match settled {
            Some(are_same) => Ok(are_same),
            None => {
                add(&self.options.counters.bytes, a.entry.metadata.size_bytes);
                bytes::are_same(&a, &b, &self.options.interrupt)
            }
        };
        match compared {
            Ok(true) => self.changed(changes),
            Ok(false) => {
                self.changed(metadata::without_mtime(changes));
                self.differs(Difference::Contents(Box::new((a, b))));
            }
            Err(error) => {
                self.changed(changes);
                self.failed(error)?;
            }
        }
        Ok(())
    }

    /// Compares two directories.
    fn directories(&mut self, a: Node<'a>, b: Node<'a>, changes: Vec<Change>) -> Result<()> {
        if !a.is_live() && !b.is_live() && a.entry.tree == b.entry.tree {
            self.changed(changes);
            return Ok(());
        }
        if self.reach == Reach::Children && !self.frames.is_empty() {
            return self.anything_below(a, b, changes);
        }
        self.enter(&a, &b, changes)
    }

    /// Enters two directories.
    fn enter(&mut self, a: &Node<'a>, b: &Node<'a>, changes: Vec<Change>) -> Result<()> {
        if self.frames.len() >= DEPTH_LIMIT {
            let error = format!("more than {DEPTH_LIMIT} directories deep");
            return self.failed(Error::new(Kind::Failed, error));
        }
        let opened = a.children().and_then(|one| Ok((one, b.children()?)));
        let (mut a, mut b) = match opened {
            Ok(opened) => opened,
            Err(error) => {
                self.changed(changes);
                return self.failed(error);
            }
        };
        for begun in [a.begin(), b.begin()] {
            if let Err(error) = begun {
                self.failed(error)?;
            }
        }
        self.frames.push(Frame {
            a,
            b,
            path_bytes: self.path.len(),
            changes,
            differs: false,
        });
        Ok(())
    }

    /// Reports whether anything differs below two directories that are not entered. A separate walk
    /// that ends at the first difference finds out.
    fn anything_below(&mut self, a: Node<'a>, b: Node<'a>, changes: Vec<Change>) -> Result<()> {
        let mut below = Comparison::nothing(self.options, Reach::All);
        below.enter(&a, &b, Vec::new())?;
        while let Some(found) = below.try_next()? {
            let Err(error) = found.outcome else {
                self.changed(metadata::without_mtime(changes));
                self.differs(Difference::Below);
                return Ok(());
            };
            let path = [self.path.as_slice(), &found.path].concat();
            self.ready.push_back(Found {
                path,
                outcome: Err(error),
            });
        }
        self.changed(changes);
        Ok(())
    }

    /// Reports `changes`, if there are any.
    fn changed(&mut self, changes: Vec<Change>) {
        if !changes.is_empty() {
            self.differs(Difference::Metadata(changes));
        }
    }

    fn differs(&mut self, difference: Difference<'a>) {
        if let Some(frame) = self.frames.last_mut() {
            frame.differs = true;
        }
        self.ready.push_back(Found {
            path: self.path.clone(),
            outcome: Ok(difference),
        });
    }

    /// Reports nodes that could not be compared.
    ///
    /// # Errors
    /// The error itself if it concerns more than these nodes.
    fn failed(&mut self, error: Error) -> Result<()> {
        if !error.is_of_one_object() {
            return Err(error);
        }
        self.ready.push_back(Found {
            path: self.path.clone(),
            outcome: Err(error),
        });
        Ok(())
    }
}

/// Whether a backup would consider the live node unchanged since it was stored, with contents and
/// metadata: the kernel updates the ctime on every change.
fn is_untouched(a: &Node<'_>, b: &Node<'_>) -> bool {
    let (one, two) = (&a.entry.metadata, &b.entry.metadata);
    let stored = if a.is_live() { &b.entry } else { &a.entry };
    a.is_live() != b.is_live()
        && stored.is_whole()
        && !stored.recent
        && one.ctime_ns == two.ctime_ns
        && one.mtime_ns == two.mtime_ns
        && one.inode == two.inode
        && one.size_bytes == two.size_bytes
        && one.mode == two.mode
}

/// Whether two files have the same bytes, if this can be decided without reading them.
fn settled(a: &Node<'_>, b: &Node<'_>, rule: Rule) -> Option<bool> {
    let (one, two) = (&a.entry, &b.entry);
    let same_time = one.metadata.mtime_ns == two.metadata.mtime_ns;
    if one.metadata.size_bytes != two.metadata.size_bytes {
        return Some(false);
    }
    if one.metadata.size_bytes == 0 && one.is_whole() && two.is_whole() {
        return Some(true);
    }
    match a.is_live() || b.is_live() {
        true if !one.is_whole() || !two.is_whole() => None,
        true if one.recent || two.recent => None,
        true => (same_time && rule == Rule::Quick).then_some(true),
        false if one.problem.is_some() || two.problem.is_some() => None,
        false => (one.content == two.content && one.holes == two.holes).then_some(true),
    }
}

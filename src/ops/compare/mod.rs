//! What is not the same in two trees, each of a snapshot or of a source.
//!
//! Both are walked together in the order of names, as two sorted lists are merged; the
//! directories we are in are a stack, and of each only a chunk is in memory (of a live one
//! its list of names). Directories of two snapshots that lie in the same tree are equal
//! and are not read; of two versions of a long directory only the chunks are read that are
//! not the same. So what a comparison costs depends on what changed.
//!
//! | | a snapshot | a source |
//! |---|---|---|
//! | same directory | same tree, not read | is walked |
//! | same file | same chunks, not read | size and mtime, or bytes where these do not settle it |
//!
//! Where a part of a tree is lost nobody can tell which names it had: nothing is said of
//! those on the other side that would lie in the gap.
//!
//! A difference is told once: of what is there on one side only, or is of another kind,
//! nothing more is said; a file with other contents has another time, which goes without
//! saying, and so has a directory in which something differs.

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
    /// Where its size is the same and its time is not.
    Quick,
    /// Where its size is the same.
    Contents,
}

/// How to compare.
pub struct Options<'a> {
    /// Whether everything below a directory is told of, or only what is in it.
    pub reach: Reach,
    /// When to read.
    pub rule: Rule,
    /// Set when the user wants to stop.
    pub interrupt: Interrupt,
    /// Where files that were compared are counted.
    pub counters: &'a Counters,
}

/// One of the two that are compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Which {
    /// The first.
    A,
    /// The second.
    B,
}

/// What is not the same.
pub enum Difference<'a> {
    /// Only one side has it.
    Only(Which, Box<Node<'a>>),
    /// It is of two kinds.
    Kind(FileKind, FileKind),
    /// Two files with other bytes.
    Contents(Box<(Node<'a>, Node<'a>)>),
    /// Something differs below two directories; not told with [`Reach::All`].
    Below,
    /// Everything but contents.
    Metadata(Vec<Change>),
}

/// What a comparison came upon.
pub struct Found<'a> {
    /// Below what is compared, beginning with `/`; empty for that itself.
    pub path: Vec<u8>,
    /// A difference, or why there is no telling whether there is one.
    pub outcome: Result<Difference<'a>>,
}

/// Two directories we are in.
struct Frame<'a> {
    a: Children<'a>,
    b: Children<'a>,
    path_bytes: usize,
    /// What changed of the directory itself, told when we leave it.
    changes: Vec<Change>,
    /// Whether anything in it differs.
    differs: bool,
}

/// A comparison under way.
pub struct Comparison<'a> {
    options: &'a Options<'a>,
    reach: Reach,
    /// Of what we are at.
    path: Vec<u8>,
    frames: Vec<Frame<'a>>,
    ready: VecDeque<Found<'a>>,
}

impl<'a> Comparison<'a> {
    /// Compares `a` with `b`, and if both are directories what is in them.
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

    /// What comes next in the order of names.
    ///
    /// # Errors
    /// What ends the comparison. What keeps two files from being compared is
    /// [found](Found::outcome) like a difference.
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

    /// Goes on by one name.
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

    /// Leaves the directories we are in.
    fn leave(&mut self) -> Result<()> {
        let left = self.frames.pop().expect("we are in a directory");
        let changes = match left.differs {
            true => metadata::without_mtime(left.changes),
            false => left.changes,
        };
        self.changed(changes);
        Ok(())
    }

    /// Deals with a name that only one side has, as far as can be told.
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

    /// Deals with a name that both sides have.
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

    /// Compares two that have the same place.
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

    /// What changed beside contents.
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

    /// Goes into two directories.
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

    /// Tells whether anything differs below two directories that we do not go into, which a
    /// walk tells that ends at the first difference.
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

    /// Tells of changes, if there are any.
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

    /// Tells what could not be compared.
    ///
    /// # Errors
    /// The error itself if it is not of that alone.
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

/// Whether a backup would take what is live for what is stored, contents and everything else:
/// the kernel changes the ctime with whatever is changed.
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

/// Whether two files have the same bytes, if that can be told without reading them.
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

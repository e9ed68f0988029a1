//! From snapshots down to chunks: is everything there that is referred to?

use std::collections::HashSet;

use super::{Context, Target, is_damage};
use crate::error::{Error, Result};
use crate::kloset::Kloset;
use crate::kloset::blob::BlobReader;
use crate::kloset::index::Index;
use crate::kloset::progress::add;
use crate::kloset::tree::{self, Content, Entry, chunk_ids, each_chunk};
use crate::kloset::{select, snapshot};
use crate::util::Id;

/// Decoded blocks of trees that are kept.
const CACHE_BYTES: usize = 8 << 20;

/// One bit per record of an index.
struct Marks(Vec<u64>);

impl Marks {
    /// No mark on any of `records`.
    fn new(records: u64) -> Marks {
        Marks(vec![0; records.div_ceil(64) as usize])
    }

    /// Marks `ordinal`, and tells whether it was marked before.
    fn mark(&mut self, ordinal: u64) -> bool {
        let bit = 1 << (ordinal % 64);
        let word = &mut self.0[(ordinal / 64) as usize];
        let was = *word & bit != 0;
        *word |= bit;
        was
    }
}

/// Follows references from snapshots down.
struct Follower<'a> {
    context: &'a Context<'a>,
    blobs: &'a BlobReader<'a>,
    good: &'a Index,
    /// Chunks of trees that were followed.
    followed: Marks,
    /// Those of them with damage at or below them.
    damaged: HashSet<Id>,
    /// The snapshot we are in, for messages.
    name: String,
    /// Damaged items in the snapshot we are in.
    damaged_items: u64,
}

/// Follows everything that `targets` refer to, and counts what is not among the good chunks.
pub(super) fn follow(
    context: &Context<'_>,
    kloset: &Kloset,
    good: &Index,
    targets: &[Target],
) -> Result<()> {
    let blobs = BlobReader::new(kloset, CACHE_BYTES)?;
    let mut follower = Follower {
        context,
        blobs: &blobs,
        good,
        followed: Marks::new(good.records()),
        damaged: HashSet::new(),
        name: String::new(),
        damaged_items: 0,
    };
    for target in targets {
        context.trouble.check()?;
        follower.snapshot(target)?;
    }
    Ok(())
}

impl Follower<'_> {
    /// Follows one snapshot.
    fn snapshot(&mut self, target: &Target) -> Result<()> {
        self.name = target.stored.snapshot.id.short();
        self.damaged_items = 0;
        match select::entry(self.blobs, &target.stored.snapshot, &target.path) {
            Ok(entry) => {
                let mut path = if target.path == b"/" {
                    Vec::new()
                } else {
                    target.path.clone()
                };
                self.entry(&entry, &mut path)?;
            }
            Err(error) => self.damage(&target.path, &error)?,
        }
        let damaged_items = self.damaged_items;
        self.context.count(|summary| {
            summary.snapshots += 1;
            summary.damaged_files += damaged_items;
            summary.damaged_snapshots += u64::from(damaged_items > 0);
        });
        Ok(())
    }

    /// Follows what `entry`, which is at `path`, refers to. Returns whether there is damage at or below it.
    ///
    /// Recursion is as deep as directories are; threads that follow have a stack for the limit.
    fn entry(&mut self, entry: &Entry, path: &mut Vec<u8>) -> Result<bool> {
        if !entry.is_dir() {
            return self.file(entry, path);
        }
        let chunks = match chunk_ids(self.blobs, &entry.tree) {
            Ok(chunks) => chunks,
            Err(error) => return self.damage(path, &error).map(|()| true),
        };
        let mut any_damage = false;
        for chunk in chunks {
            self.context.trouble.check()?;
            any_damage |= self.tree_chunk(chunk, path)?;
        }
        Ok(any_damage)
    }

    /// Follows the entries in one chunk of a tree.
    fn tree_chunk(&mut self, chunk: Id, path: &mut Vec<u8>) -> Result<bool> {
        let Some(found) = self.good.lookup(&chunk)? else {
            self.damage(path, &lost("tree", &chunk))?;
            return Ok(true);
        };
        if self.followed.mark(found.ordinal) && !self.damaged.contains(&chunk) {
            return Ok(false);
        }
        let entries = match self.blobs.with(&chunk, tree::decode) {
            Ok(entries) => entries,
            Err(error) => {
                self.damage(path, &error)?;
                self.damaged.insert(chunk);
                return Ok(true);
            }
        };
        let mut any_damage = false;
        let length = path.len();
        for entry in &entries {
            path.push(b'/');
            path.extend_from_slice(&entry.name);
            any_damage |= self.entry(entry, path)?;
            path.truncate(length);
        }
        if any_damage {
            self.damaged.insert(chunk);
        }
        Ok(any_damage)
    }

    /// Looks up every chunk of a file.
    fn file(&mut self, entry: &Entry, path: &[u8]) -> Result<bool> {
        add(&self.context.observer.counters().files, 1);
        self.context.count(|summary| summary.files += 1);
        let good = self.good;
        let outcome = each_chunk(self.blobs, &entry.content, &mut |chunk| match good
            .contains(&chunk)?
        {
            true => Ok(()),
            false => Err(lost("chunk", &chunk)),
        });
        match outcome {
            Ok(()) => Ok(false),
            Err(error) => {
                self.damage(path, &error)?;
                Ok(true)
            }
        }
    }

    /// Tells of damage to the item at `path`, and counts it.
    fn damage(&mut self, path: &[u8], error: &Error) -> Result<()> {
        if !is_damage(error) {
            return Err(error.clone());
        }
        let path = if path.is_empty() { b"/" } else { path };
        self.context
            .failures
            .add(&[self.name.as_bytes(), b":", path].concat(), error);
        self.damaged_items += 1;
        Ok(())
    }
}

/// The error of a reference to what is not among the good chunks.
fn lost(what: &str, chunk: &Id) -> Error {
    Error::corrupt(format!("{what} {} is damaged or missing", chunk.short()))
}

/// The packs that `targets` need. What cannot be read is left to [`follow`] to tell of.
pub(super) fn packs_of(
    context: &Context<'_>,
    kloset: &Kloset,
    targets: &[Target],
) -> Result<HashSet<Id>> {
    let blobs = BlobReader::new(kloset, CACHE_BYTES)?;
    let mut collector = Collector {
        context,
        blobs: &blobs,
        packs: HashSet::new(),
        seen: HashSet::new(),
    };
    for target in targets {
        snapshot::read(kloset, target.stored.object)?;
        context.count(|summary| summary.objects += 1);
        if let Ok(entry) = select::entry(&blobs, &target.stored.snapshot, &target.path) {
            collector.note_way(&target.stored.snapshot.root, &target.path)?;
            collector.entry(&entry)?;
        }
    }
    Ok(collector.packs)
}

/// Notes packs.
struct Collector<'a> {
    context: &'a Context<'a>,
    blobs: &'a BlobReader<'a>,
    packs: HashSet<Id>,
    seen: HashSet<Id>,
}

impl Collector<'_> {
    /// Notes the packs of the trees on the way from `root` to `path`.
    fn note_way(&mut self, root: &Entry, path: &[u8]) -> Result<()> {
        let mut entry = root.clone();
        for name in path
            .split(|byte| *byte == b'/')
            .filter(|name| !name.is_empty())
        {
            self.content(&entry.tree)?;
            let children = tree::TreeReader::new(self.blobs, entry.tree.clone()).entries();
            match children.flatten().find(|child| child.name == name) {
                Some(child) => entry = child,
                None => break,
            }
        }
        Ok(())
    }

    /// Notes the packs of all that `entry` refers to.
    fn entry(&mut self, entry: &Entry) -> Result<()> {
        self.content(&entry.content)?;
        for chunk in self.content(&entry.tree)? {
            self.context.trouble.check()?;
            if self.seen.insert(chunk) {
                for entry in self.blobs.with(&chunk, tree::decode).unwrap_or_default() {
                    self.entry(&entry)?;
                }
            }
        }
        Ok(())
    }

    /// Notes the packs of the chunks that `content` stands for, and returns these. Lists that
    /// cannot be read are told of when references are followed.
    fn content(&mut self, content: &Content) -> Result<Vec<Id>> {
        let chunks = chunk_ids(self.blobs, content).unwrap_or_default();
        for chunk in content.ids.iter().chain(&chunks) {
            self.chunk(chunk)?;
        }
        Ok(chunks)
    }

    /// Notes the packs that hold `chunk`.
    fn chunk(&mut self, chunk: &Id) -> Result<()> {
        self.packs.extend(
            self.blobs
                .places(chunk)?
                .into_iter()
                .map(|place| place.pack),
        );
        Ok(())
    }
}

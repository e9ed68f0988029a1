//! Shows index objects and snapshot objects.

use std::fmt;

use serde::Serialize;

use super::{damaged, open, prefix};
use crate::cli::facts::table;
use crate::cli::selection::LATEST;
use crate::cli::{Args, Globals, Status};
use crate::error::Result;
use crate::format::entry::Content;
use crate::kloset::Kloset;
use crate::kloset::snapshot::Snapshot;
use crate::ops::inspect::index::{Cached, Gap, IndexFacts, each_index};
use crate::ops::inspect::{Prefix, snapshots as inspect};
use crate::ops::select;
use crate::store::{Area, Object};
use crate::util::human;

#[derive(Serialize)]
struct IndexLine {
    object: String,
    size_bytes: u64,
    published: String,
    packs: usize,
    chunks: usize,
    /// Whether the cache contains it: `yes`, `no` or `differs`.
    cached: &'static str,
}

impl IndexLine {
    fn new(object: &Object, facts: &IndexFacts) -> IndexLine {
        IndexLine {
            object: object.id.to_string(),
            size_bytes: object.size_bytes,
            published: human::time(object.modified_ns),
            packs: facts.packs,
            chunks: facts.chunks,
            cached: match facts.cached {
                Cached::Yes => "yes",
                Cached::No => "no",
                Cached::Differs => "differs",
            },
        }
    }
}

impl fmt::Display for IndexLine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let IndexLine {
            object,
            packs,
            chunks,
            cached,
            ..
        } = self;
        let size = human::size(self.size_bytes);
        write!(
            f,
            "{object} {size:>10} {packs:>5} packs {chunks:>7} chunks, cached: {cached}"
        )
    }
}

/// An inconsistency between index objects, packs and cache.
#[derive(Serialize)]
struct GapLine {
    /// The type: `pack_in_no_index`, `pack_missing` or `index_object_gone`.
    gap: &'static str,
    object: String,
    #[serde(skip)]
    shown: String,
}

impl GapLine {
    fn new(gap: Gap) -> GapLine {
        let (gap, id, words) = match gap {
            Gap::Uncovered(id) => ("pack_in_no_index", id, "pack in no index object"),
            Gap::Missing(id) => ("pack_missing", id, "pack not in the store"),
            Gap::Stale(id) => ("index_object_gone", id, "only in the cache"),
        };
        GapLine {
            gap,
            object: id.to_string(),
            shown: format!("{id} {words}"),
        }
    }
}

impl fmt::Display for GapLine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.shown)
    }
}

/// `plakar diag index`: lists the index objects and inconsistencies.
pub(super) fn index(globals: &Globals, args: Args) -> Result<Status> {
    args.no_arguments()?;
    let kloset = open(globals)?;
    let status = std::cell::Cell::new(Status::Success);
    let mut each = |object: Object, facts: Result<IndexFacts>| {
        match facts {
            Ok(facts) => globals
                .out
                .result("index", &IndexLine::new(&object, &facts))?,
            Err(error) => status.set(damaged(globals, &name(Area::Index, &object), &error)),
        }
        Ok(())
    };
    let mut gap = |gap: Gap| {
        if let Gap::Missing(_) = gap {
            status.set(Status::Damaged);
        }
        globals.out.result("gap", &GapLine::new(gap))
    };
    each_index(&kloset, &globals.interrupt, &mut each, &mut gap)?;
    Ok(status.get())
}

/// The name of an object in messages.
fn name(area: Area, object: &Object) -> String {
    format!("{}/{}", area.name(), object.id)
}

/// One snapshot object.
#[derive(Serialize)]
struct SnapshotLine {
    object: String,
    snapshot: String,
    revision: u64,
    size_bytes: u64,
    published: String,
    time: String,
    tree: Vec<String>,
    tree_lists: u32,
}

impl SnapshotLine {
    fn new(object: &Object, snapshot: &Snapshot) -> SnapshotLine {
        let Content { ids, depth } = &snapshot.root.tree;
        SnapshotLine {
            object: object.id.to_string(),
            snapshot: snapshot.id.to_string(),
            revision: snapshot.revision,
            size_bytes: object.size_bytes,
            published: human::time(object.modified_ns),
            time: human::time(snapshot.time_ns),
            tree: ids.iter().map(ToString::to_string).collect(),
            tree_lists: *depth,
        }
    }
}

impl fmt::Display for SnapshotLine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let SnapshotLine {
            object, snapshot, ..
        } = self;
        let (size, short) = (human::size(self.size_bytes), &snapshot[..8]);
        let published = &self.published;
        let revision = self.revision;
        write!(
            f,
            "{object} {size:>10} {published} snapshot {short} revision {revision}"
        )
    }
}

/// `plakar diag snapshots`: lists the snapshot objects.
pub(super) fn snapshots(globals: &Globals, args: Args) -> Result<Status> {
    args.no_arguments()?;
    let kloset = open(globals)?;
    let mut status = Status::Success;
    inspect::each_snapshot(&kloset, &globals.interrupt, &mut |object, snapshot| {
        match snapshot {
            Ok(snapshot) => globals
                .out
                .result("snapshot_object", &SnapshotLine::new(&object, &snapshot))?,
            Err(error) => status = damaged(globals, &name(Area::Snapshots, &object), &error),
        }
        Ok(())
    })?;
    Ok(status)
}

/// All fields of one snapshot object, as a table.
#[derive(Serialize)]
struct SnapshotTable {
    #[serde(flatten)]
    line: SnapshotLine,
}

impl fmt::Display for SnapshotTable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let line = &self.line;
        let mut rows = vec![
            ("snapshot", line.snapshot.clone()),
            ("object", line.object.clone()),
            ("revision", line.revision.to_string()),
            ("size", format!("{} bytes", line.size_bytes)),
            ("published", line.published.clone()),
            ("time", line.time.clone()),
        ];
        let kind = match line.tree_lists {
            0 => "tree chunk",
            _ => "tree list",
        };
        rows.extend(line.tree.iter().map(|id| (kind, id.clone())));
        f.write_str(&table(&rows))
    }
}

/// `plakar diag snapshot`: shows one snapshot object.
pub(super) fn snapshot(globals: &Globals, args: Args) -> Result<Status> {
    args.at_least_one("a SNAPSHOT")?;
    let is_latest = args.at_most(1)?[0] == LATEST;
    let wanted = match is_latest {
        true => None,
        false => Some(prefix(&args, "a SNAPSHOT")?),
    };
    let kloset = open(globals)?;
    let wanted = wanted.map_or_else(|| latest(&kloset), Ok)?;
    let mut status = Status::Success;
    for (object, snapshot) in inspect::of_one(&kloset, &wanted, &globals.interrupt)? {
        match snapshot {
            Ok(snapshot) => {
                let line = SnapshotLine::new(&object, &snapshot);
                globals
                    .out
                    .result("snapshot_object", &SnapshotTable { line })?;
            }
            Err(error) => status = damaged(globals, &name(Area::Snapshots, &object), &error),
        }
    }
    Ok(status)
}

fn latest(kloset: &Kloset) -> Result<Prefix> {
    let newest = select::by_prefix(&select::all(kloset)?, LATEST)?;
    Prefix::parse(&newest.snapshot.id.to_string())
}

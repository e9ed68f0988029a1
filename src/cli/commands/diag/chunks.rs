//! Shows the chunks of a file or a directory, or one single chunk.

use std::fmt;

use serde::Serialize;

use super::{PlaceFacts, damaged, kind, open, prefix, shown};
use crate::cli::escape::{JsonPath, printable};
use crate::cli::facts::table;
use crate::cli::selection::{self, Choice};
use crate::cli::{Args, Globals, Status};
use crate::error::{Error, Kind, Result};
use crate::format::entry::Entry;
use crate::kloset::Kloset;
use crate::kloset::blob::BlobReader;
use crate::ops::inspect::chunks::{self, ChunkFacts, Holds, Look};
use crate::ops::inspect::search::{self, Copy};
use crate::ops::select;
use crate::util::{Id, human};

/// The size of the cache of decoded blocks. Chunks of one file share blocks.
const CACHE_BYTES: usize = 16 << 20;

/// One chunk of a file or a directory.
#[derive(Default, Serialize)]
struct ChunkLine {
    chunk: String,
    /// The type of contents: `data`, `list` or `entries`.
    holds: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    offset: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    length: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    depth: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    count: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    first: Option<JsonPath>,
    #[serde(skip_serializing_if = "Option::is_none")]
    last: Option<JsonPath>,
    places: Vec<PlaceFacts>,
    is_damaged: bool,
    #[serde(skip)]
    shown: String,
}

impl ChunkLine {
    fn new(facts: &ChunkFacts) -> ChunkLine {
        let places: Vec<PlaceFacts> = facts.places.iter().map(PlaceFacts::from).collect();
        let length = places.first().map(|place| place.length);
        let id = facts.id;
        let bytes = length.map_or("?".to_owned(), |length| length.to_string());
        let at = shown(&places);
        let line = ChunkLine {
            chunk: id.to_string(),
            length,
            places,
            is_damaged: facts.damage.is_some(),
            ..ChunkLine::default()
        };
        match &facts.holds {
            Holds::Bytes(offset) => ChunkLine {
                holds: "data",
                offset: *offset,
                shown: format!("{:>13} {bytes:>7} {id} {at}", known(*offset)),
                ..line
            },
            Holds::List(depth, count) => ChunkLine {
                holds: "list",
                depth: Some(*depth),
                count: Some(*count),
                shown: format!("{:>13} {bytes:>7} {id} {at}", format!("list of {count}")),
                ..line
            },
            Holds::Entries(count, names) => line.entries(*count, names, id, &at),
            Holds::Unknown => ChunkLine {
                holds: "entries",
                shown: format!("{:>6} entries {id} {at}", "?"),
                ..line
            },
        }
    }

    fn entries(
        self,
        count: usize,
        names: &Option<(Vec<u8>, Vec<u8>)>,
        id: Id,
        at: &str,
    ) -> ChunkLine {
        let range = names.as_ref().map_or(String::new(), |(first, last)| {
            format!(" from {} to {}", printable(first), printable(last))
        });
        let names = names.as_ref();
        ChunkLine {
            holds: "entries",
            count: Some(count),
            first: names.map(|(first, _)| JsonPath::from(first.as_slice())),
            last: names.map(|(_, last)| JsonPath::from(last.as_slice())),
            shown: format!("{count:>6} entries {id} {at}{range}"),
            ..self
        }
    }
}

impl fmt::Display for ChunkLine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.shown)
    }
}

/// An offset, or `?` if it is unknown.
fn known(offset: Option<u64>) -> String {
    offset.map_or("?".to_owned(), |offset| offset.to_string())
}

/// The snapshot, path and entry that one argument selects.
struct Chosen {
    choice: Choice,
    path: Vec<u8>,
    entry: Entry,
}

impl Chosen {
    fn new(args: &Args, kloset: &Kloset, blobs: &BlobReader<'_>) -> Result<Chosen> {
        args.at_least_one("a SNAPSHOT:PATH")?;
        let choice = selection::choices(kloset, args.at_most(1)?)?.remove(0);
        let path = choice.path_or_base();
        let entry = select::entry(blobs, choice.snapshot(), &path)?;
        Ok(Chosen {
            choice,
            path,
            entry,
        })
    }

    /// An error in the context of the entry.
    fn error(&self, cause: &str) -> Error {
        let snapshot = self.choice.snapshot().id.short();
        Error::new(Kind::Failed, cause).during(format!("{snapshot}:{}", printable(&self.path)))
    }
}

/// `plakar diag chunks`: lists the chunks of a file.
pub(super) fn of_file(globals: &Globals, args: Args) -> Result<Status> {
    let kloset = open(globals)?;
    let blobs = BlobReader::new(&kloset, CACHE_BYTES)?;
    let chosen = Chosen::new(&args, &kloset, &blobs)?;
    if !chosen.entry.is_file() {
        return Err(chosen.error("not a file, so it has no chunks: use diag tree for directories"));
    }
    let look = match args.is_on("read") {
        true => Look::Bytes,
        false => Look::Places,
    };
    let mut status = Status::Success;
    let mut each = |facts: ChunkFacts| print(globals, &facts, &mut status);
    let interrupt = &globals.interrupt;
    chunks::of_file(&kloset, &blobs, &chosen.entry, look, interrupt, &mut each)?;
    Ok(status)
}

/// `plakar diag tree`: lists the chunks of a directory.
pub(super) fn of_directory(globals: &Globals, args: Args) -> Result<Status> {
    let kloset = open(globals)?;
    let blobs = BlobReader::new(&kloset, CACHE_BYTES)?;
    let chosen = Chosen::new(&args, &kloset, &blobs)?;
    if !chosen.entry.is_dir() {
        return Err(chosen.error("not a directory: use diag chunks for files"));
    }
    let mut status = Status::Success;
    let mut each = |facts: ChunkFacts| print(globals, &facts, &mut status);
    let interrupt = &globals.interrupt;
    chunks::of_directory(&kloset, &blobs, &chosen.entry, interrupt, &mut each)?;
    Ok(status)
}

/// Prints one chunk, and reports its damage.
fn print(globals: &Globals, facts: &ChunkFacts, status: &mut Status) -> Result<()> {
    globals.out.result("chunk", &ChunkLine::new(facts))?;
    if let Some(error) = &facts.damage {
        *status = damaged(globals, &format!("chunk {}", facts.id.short()), error);
    }
    Ok(())
}

/// One copy of a chunk.
#[derive(Serialize)]
struct CopyLine {
    chunk: String,
    #[serde(flatten)]
    place: PlaceFacts,
    #[serde(skip_serializing_if = "Option::is_none")]
    kind: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    codec: Option<&'static str>,
    is_damaged: bool,
}

impl CopyLine {
    fn new(id: Id, copy: &Copy) -> CopyLine {
        CopyLine {
            chunk: id.to_string(),
            place: PlaceFacts::from(&copy.place),
            kind: copy.kind.map(kind),
            codec: copy.codec.as_ref().ok().copied(),
            is_damaged: copy.codec.is_err(),
        }
    }
}

impl fmt::Display for CopyLine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let PlaceFacts { length, pack, .. } = &self.place;
        let rows = [
            ("chunk", self.chunk.clone()),
            ("kind", self.kind.unwrap_or("unknown").to_owned()),
            (
                "length",
                format!("{length} bytes ({})", human::size((*length).into())),
            ),
            ("pack", pack.clone()),
            (
                "block",
                format!(
                    "at {}, {} bytes sealed, codec {}",
                    self.place.block_offset,
                    self.place.sealed_bytes,
                    self.codec.unwrap_or("unknown")
                ),
            ),
            ("start", format!("{} in the block", self.place.start)),
            (
                "state",
                if self.is_damaged { "damaged" } else { "good" }.to_owned(),
            ),
        ];
        f.write_str(&table(&rows))
    }
}

/// `plakar diag chunk`: lists all copies of one chunk.
pub(super) fn one(globals: &Globals, args: Args) -> Result<Status> {
    let prefix = prefix(&args, "the beginning of a chunk's id")?;
    let kloset = open(globals)?;
    let (id, copies) = search::chunk(&kloset, &prefix, &globals.interrupt)?;
    let mut status = Status::Success;
    for copy in &copies {
        globals.out.result("copy", &CopyLine::new(id, copy))?;
        if let Err(error) = &copy.codec {
            let name = format!("packs/{}", copy.place.pack);
            status = damaged(globals, &name, error);
        }
    }
    Ok(status)
}

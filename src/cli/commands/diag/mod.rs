//! `plakar diag`: shows the internal structure of a store, for the diagnosis of damage.
//!
//! It changes nothing. Damage is reported and counted, and the command continues.

mod chunks;
mod objects;
mod packs;

use std::fmt;

use serde::Serialize;

use crate::cli::{Args, Command, Flag, Globals, Status, opening};
use crate::error::{Error, Result};
use crate::format::pack_table::PackKind;
use crate::kloset::Kloset;
use crate::kloset::index::Place;
use crate::ops::inspect::Prefix;

/// The table entry of the command.
pub const COMMAND: Command = Command {
    name: "diag",
    synopsis: "packs | pack | chunks | tree | chunk | index | snapshots | snapshot",
    about: "show the internal structure of a store",
    subcommands: &[
        Command {
            name: "packs",
            about: "list the packs of a store",
            run: packs::list,
            ..Command::BLANK
        },
        Command {
            name: "pack",
            synopsis: "[-chunks] PACK",
            about: "read every block of a pack",
            flags: &[Flag::switch("chunks", "also show the chunks of each block")],
            run: packs::blocks,
            ..Command::BLANK
        },
        Command {
            name: "chunks",
            synopsis: "[-read] SNAPSHOT:PATH",
            about: "show the place of each chunk of a file",
            flags: &[Flag::switch("read", "also read each chunk")],
            run: chunks::of_file,
            ..Command::BLANK
        },
        Command {
            name: "tree",
            synopsis: "SNAPSHOT[:PATH]",
            about: "show the place of each chunk of a directory",
            run: chunks::of_directory,
            ..Command::BLANK
        },
        Command {
            name: "chunk",
            synopsis: "ID",
            about: "find a chunk, and read it at every place",
            run: chunks::one,
            ..Command::BLANK
        },
        Command {
            name: "index",
            about: "list the index objects, and packs without one",
            run: objects::index,
            ..Command::BLANK
        },
        Command {
            name: "snapshots",
            about: "list the snapshot objects",
            run: objects::snapshots,
            ..Command::BLANK
        },
        Command {
            name: "snapshot",
            synopsis: "SNAPSHOT",
            about: "show the objects of a snapshot",
            run: objects::snapshot,
            ..Command::BLANK
        },
    ],
    ..Command::BLANK
};

/// Opens the kloset. Results are printed continuously, so no progress is drawn.
fn open(globals: &Globals) -> Result<Kloset> {
    opening::kloset(globals, &globals.watch_result())
}

/// Parses the only argument, the beginning of an id. `what` describes it in errors.
fn prefix(args: &Args, what: &str) -> Result<Prefix> {
    args.at_least_one(what)?;
    args.at_most(1)?;
    let text = args.texts()?.remove(0);
    Prefix::parse(&text).map_err(|error| error.during(args.path()))
}

/// Reports damage of the object `name`, and returns the corresponding status.
fn damaged(globals: &Globals, name: &str, error: &Error) -> Status {
    globals.out.failed(name.as_bytes(), error);
    Status::Damaged
}

/// The content type of a pack.
fn kind(kind: PackKind) -> &'static str {
    match kind {
        PackKind::Data => "data",
        PackKind::Tree => "tree",
    }
}

/// The location of a chunk.
#[derive(Serialize)]
struct PlaceFacts {
    pack: String,
    block_offset: u32,
    sealed_bytes: u32,
    start: u32,
    length: u32,
    #[serde(skip)]
    shown: String,
}

impl From<&Place> for PlaceFacts {
    fn from(place: &Place) -> PlaceFacts {
        let (pack, block, start) = (place.pack.short(), place.block_offset, place.start);
        PlaceFacts {
            pack: place.pack.to_string(),
            block_offset: block,
            sealed_bytes: place.sealed_bytes,
            start,
            length: place.length,
            shown: format!("pack {pack} block {block:>8} start {start:>7}"),
        }
    }
}

impl fmt::Display for PlaceFacts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.shown)
    }
}

/// Formats all locations, or `nowhere` if there are none.
fn shown(places: &[PlaceFacts]) -> String {
    match places {
        [] => "nowhere".to_owned(),
        places => {
            let words: Vec<String> = places.iter().map(ToString::to_string).collect();
            words.join(" and ")
        }
    }
}

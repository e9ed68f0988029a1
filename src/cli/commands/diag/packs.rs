//! Shows all packs, or the blocks of one pack.

use std::fmt;

use serde::Serialize;

use super::{damaged, kind, open, prefix};
use crate::cli::{Args, Globals, Status};
use crate::error::Result;
use crate::format::pack_table::{ChunkEntry, PackTable};
use crate::ops::inspect;
use crate::ops::inspect::packs::{BlockFacts, each_block, each_pack};
use crate::store::{Area, Object};
use crate::util::{Id, human};

#[derive(Serialize)]
struct PackLine {
    pack: String,
    kind: &'static str,
    size_bytes: u64,
    published: String,
    blocks: usize,
    chunks: usize,
    plain_bytes: u64,
}

impl PackLine {
    fn new(object: &Object, table: &PackTable) -> PackLine {
        let plain = table.blocks.iter().map(|block| block.plain_bytes());
        PackLine {
            pack: object.id.to_string(),
            kind: kind(table.kind),
            size_bytes: object.size_bytes,
            published: human::time(object.modified_ns),
            blocks: table.blocks.len(),
            chunks: table.chunk_count(),
            plain_bytes: plain.sum(),
        }
    }
}

impl fmt::Display for PackLine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let PackLine {
            pack,
            kind,
            size_bytes,
            blocks,
            chunks,
            plain_bytes,
            ..
        } = self;
        let (size, plain) = (human::size(*size_bytes), human::size(*plain_bytes));
        write!(
            f,
            "{pack} {kind} {size:>10} {blocks:>3} blocks {chunks:>6} chunks of {plain}"
        )
    }
}

/// `plakar diag packs`: lists all packs.
pub(super) fn list(globals: &Globals, args: Args) -> Result<Status> {
    args.no_arguments()?;
    let kloset = open(globals)?;
    let mut status = Status::Success;
    each_pack(&kloset, &globals.interrupt, &mut |object, table| {
        match table {
            Ok(table) => globals
                .out
                .result("pack", &PackLine::new(&object, &table))?,
            Err(error) => status = damaged(globals, &name(object.id), &error),
        }
        Ok(())
    })?;
    Ok(status)
}

/// The name of a pack in messages.
fn name(pack: Id) -> String {
    format!("{}/{pack}", Area::Packs.name())
}

#[derive(Serialize)]
struct BlockLine {
    pack: String,
    block: usize,
    offset: u64,
    sealed_bytes: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    codec: Option<&'static str>,
    plain_bytes: u64,
    chunks: usize,
    is_damaged: bool,
}

impl BlockLine {
    fn new(pack: Id, facts: &BlockFacts<'_>) -> BlockLine {
        BlockLine {
            pack: pack.to_string(),
            block: facts.number,
            offset: facts.offset,
            sealed_bytes: facts.table.sealed_bytes,
            codec: facts.codec.as_ref().ok().copied(),
            plain_bytes: facts.table.plain_bytes(),
            chunks: facts.table.chunks.len(),
            is_damaged: facts.codec.is_err(),
        }
    }
}

impl fmt::Display for BlockLine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let BlockLine {
            block,
            offset,
            sealed_bytes,
            plain_bytes,
            chunks,
            ..
        } = self;
        let codec = self.codec.unwrap_or("damaged");
        write!(
            f,
            "block {block:>4} at {offset:>9} {sealed_bytes:>8} bytes, {codec:<4} {plain_bytes:>8} \
             bytes plain, {chunks:>5} chunks"
        )
    }
}

/// One chunk of a block.
#[derive(Serialize)]
struct ChunkLine {
    pack: String,
    block: usize,
    chunk: String,
    start: u64,
    length: u32,
}

impl fmt::Display for ChunkLine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ChunkLine {
            chunk,
            start,
            length,
            ..
        } = self;
        write!(f, "  chunk {chunk} start {start:>7} {length:>7} bytes")
    }
}

/// `plakar diag pack`: lists the blocks of one pack.
pub(super) fn blocks(globals: &Globals, args: Args) -> Result<Status> {
    let prefix = prefix(&args, "the beginning of a pack's id")?;
    let kloset = open(globals)?;
    let pack = inspect::object(kloset.store(), Area::Packs, &prefix)?.id;
    let mut status = Status::Success;
    each_block(&kloset, pack, &globals.interrupt, &mut |facts| {
        globals.out.result("block", &BlockLine::new(pack, &facts))?;
        if args.is_on("chunks") {
            print_chunks(globals, pack, facts.number, &facts.table.chunks)?;
        }
        if let Err(error) = &facts.codec {
            let error = error.clone().during(format!("block at {}", facts.offset));
            status = damaged(globals, &name(pack), &error);
        }
        Ok(())
    })?;
    Ok(status)
}

fn print_chunks(globals: &Globals, pack: Id, block: usize, chunks: &[ChunkEntry]) -> Result<()> {
    let mut start = 0;
    for chunk in chunks {
        let line = ChunkLine {
            pack: pack.to_string(),
            block,
            chunk: chunk.id.to_string(),
            start,
            length: chunk.length,
        };
        globals.out.result("chunk_in_block", &line)?;
        start += u64::from(chunk.length);
    }
    Ok(())
}

//! Packs: the contents of their footers, and whether their blocks match these.

use super::{answered, listed};
use crate::error::{During, Error, Result};
use crate::format::codec::{self, Decoder};
use crate::format::pack_table::{BlockTable, PackTable};
use crate::format::seal::Part;
use crate::kloset::Kloset;
use crate::kloset::pack::read_table;
use crate::store::{Area, Object};
use crate::util::Id;
use crate::util::interrupt::Interrupt;

/// Callback for each pack.
pub type EachPack<'a> = &'a mut dyn FnMut(Object, Result<PackTable>) -> Result<()>;

/// Calls `each` with every pack and its table, by name, or with the error of a pack whose footer
/// cannot be read. Reads footers only.
pub fn each_pack(kloset: &Kloset, interrupt: &Interrupt, each: EachPack<'_>) -> Result<()> {
    for pack in listed(kloset.store(), Area::Packs)? {
        interrupt.check()?;
        if let Some(table) = answered(read_table(kloset.store(), kloset.sealer(), pack.id))? {
            each(pack, table)?;
        }
    }
    Ok(())
}

/// The facts about one block of a pack.
pub struct BlockFacts<'a> {
    /// Position in the pack, counted from 0.
    pub number: usize,
    /// Offset of the block in the pack, in bytes.
    pub offset: u64,
    /// The description of the block in the footer.
    pub table: &'a BlockTable,
    /// The codec of the block, if all its chunks are intact; otherwise the damage.
    pub codec: Result<&'static str>,
}

/// Callback for each block.
pub type EachBlock<'a> = &'a mut dyn FnMut(BlockFacts<'_>) -> Result<()>;

/// Reads every block of `pack` and passes it to `each`, in order.
///
/// # Errors
/// Fails also if the footer cannot be read: without it, the offsets of blocks are unknown.
pub fn each_block(
    kloset: &Kloset,
    pack: Id,
    interrupt: &Interrupt,
    each: EachBlock<'_>,
) -> Result<()> {
    let table = read_table(kloset.store(), kloset.sealer(), pack)?;
    let mut reader = BlockReader::new(kloset)?;
    for (number, (offset, block)) in table.offsets().enumerate() {
        interrupt.check()?;
        let codec = match reader.check(pack, offset, block) {
            Err(error) if !error.is_of_one_object() => return Err(error),
            codec => codec,
        };
        each(BlockFacts {
            number,
            offset,
            table: block,
            codec,
        })?;
    }
    Ok(())
}

/// Reads single blocks, with one set of buffers.
pub(super) struct BlockReader<'a> {
    kloset: &'a Kloset,
    decoder: Decoder,
    sealed: Vec<u8>,
    opened: Vec<u8>,
    plain: Vec<u8>,
}

impl<'a> BlockReader<'a> {
    /// A reader with empty buffers.
    pub(super) fn new(kloset: &'a Kloset) -> Result<BlockReader<'a>> {
        Ok(BlockReader {
            kloset,
            decoder: Decoder::new()?,
            sealed: Vec::new(),
            opened: Vec::new(),
            plain: Vec::new(),
        })
    }

    /// The uncompressed bytes of the block at `offset` of `pack`, and the name of its codec.
    pub(super) fn read(
        &mut self,
        pack: Id,
        offset: u64,
        sealed_bytes: u32,
    ) -> Result<(&[u8], &'static str)> {
        let sealer = self.kloset.sealer();
        self.sealed.resize(sealed_bytes as usize, 0);
        let store = self.kloset.store();
        store.read_at(Area::Packs, pack, offset, &mut self.sealed)?;
        // Opening consumes its input, and the codec is recorded in the opened bytes.
        self.opened.clone_from(&self.sealed);
        let codec = codec::name_of(sealer.open(Part::Block, &mut self.opened)?);
        let decoded = self
            .decoder
            .decode(sealer, Part::Block, &mut self.sealed, &mut self.plain);
        decoded.map(|()| (self.plain.as_slice(), codec))
    }

    /// Reads a block and compares every chunk in it with its id.
    fn check(&mut self, pack: Id, offset: u64, block: &BlockTable) -> Result<&'static str> {
        let kloset = self.kloset;
        let (mut rest, codec) = self.read(pack, offset, block.sealed_bytes)?;
        for chunk in &block.chunks {
            let (plain, after) = rest
                .split_at_checked(chunk.length as usize)
                .ok_or_else(|| Error::corrupt("shorter than its chunks"))?;
            if kloset.chunk_id(plain) != chunk.id {
                return Err(Error::corrupt("is not what was stored"))
                    .during(|| format!("chunk {}", chunk.id.short()));
            }
            rest = after;
        }
        match rest {
            [] => Ok(codec),
            _ => Err(Error::corrupt("longer than its chunks")),
        }
    }
}

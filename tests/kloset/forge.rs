//! Creates malicious objects, as an attacker with the key could.

use std::cell::RefCell;
use std::collections::HashMap;
use std::sync::Arc;

use plakar::connector::{FileKind, Metadata};
use plakar::format::cbor::Writer;
use plakar::format::codec::Encoder;
use plakar::format::entry::{Content, Entry, Totals};
use plakar::format::object;
use plakar::format::pack_table::{self, BlockTable, ChunkEntry, Ids, PackKind, PackTable};
use plakar::format::seal::{NONCE_BYTES, Part};
use plakar::kloset::pipeline::Trouble;
use plakar::kloset::snapshot::{self, Snapshot};
use plakar::kloset::write_session::write_session;
use plakar::kloset::{Kloset, tree};
use plakar::store::{Area, Store};
use plakar::util::Id;
use plakar::util::interrupt::Interrupt;

use crate::harness::*;

thread_local! {
    /// The totals of forged tree chunks, so that directories have correct totals.
    static TOTALS: RefCell<HashMap<Id, Totals>> = RefCell::default();
}

/// The totals of the forged entries in these chunks.
pub(crate) fn totals(ids: &[Id]) -> Totals {
    let mut sum = Totals::default();
    TOTALS.with_borrow(|known| {
        for totals in ids.iter().filter_map(|id| known.get(id)) {
            sum.add(*totals);
        }
    });
    sum
}

pub(crate) struct Forge {
    pub(crate) kloset: Kloset,
}

impl Forge {
    pub(crate) fn new(store: &Arc<dyn Store>) -> Forge {
        Forge {
            kloset: open(store).0,
        }
    }

    /// Stores arbitrary chunks and returns their ids.
    pub(crate) fn chunks(&self, chunks: &[Vec<u8>]) -> Vec<Id> {
        let trouble = Trouble::new(Interrupt::default());
        let ids = write_session(&self.kloset, 1, 1, &trouble, |session| {
            let mut packer = session.packer(PackKind::Tree).unwrap();
            let put = |chunk: &Vec<u8>| {
                let id = packer.put(chunk).unwrap().0;
                let mut sum = Totals::default();
                let entries = tree::decode(chunk).into_iter().flatten();
                entries.for_each(|entry| sum.add(entry.totals()));
                TOTALS.with_borrow_mut(|known| known.insert(id, sum));
                id
            };
            let ids = chunks.iter().map(put).collect();
            packer.flush().unwrap();
            ids
        });
        trouble.outcome().unwrap();
        ids.unwrap()
    }

    pub(crate) fn chunk(&self, chunk: &[u8]) -> Id {
        self.chunks(&[chunk.to_vec()])[0]
    }

    /// A content that consists of these chunks.
    pub(crate) fn content(&self, chunks: &[&[u8]]) -> Content {
        let chunks: Vec<Vec<u8>> = chunks.iter().map(|chunk| chunk.to_vec()).collect();
        Content {
            ids: self.chunks(&chunks),
            depth: 0,
        }
    }

    /// A tree of these entries, in this order, in one chunk.
    pub(crate) fn tree(&self, entries: &[Entry]) -> Content {
        let mut bytes = Vec::new();
        entries.iter().for_each(|entry| entry.encode(&mut bytes));
        self.content(&[&bytes])
    }

    /// Nested lists of `width` equal ids, `depth` levels deep, that end with `last`.
    pub(crate) fn list_bomb(&self, last: Id, width: usize, depth: u32) -> Content {
        let mut id = last;
        for _ in 0..depth {
            id = self.chunk(&id.0.repeat(width));
        }
        Content {
            ids: vec![id; 60],
            depth,
        }
    }

    /// Publishes a snapshot whose root has the tree `tree`.
    pub(crate) fn publish(&self, tree: Content) -> Snapshot {
        self.publish_root(directory("root", tree))
    }

    pub(crate) fn publish_root(&self, root: Entry) -> Snapshot {
        let id = Id(*blake3::hash(format!("{root:?}").as_bytes()).as_bytes());
        let forged = Snapshot {
            id,
            roots: vec![b"/".to_vec()],
            root,
            time_ns: i64::MAX,
            ..Snapshot::default()
        };
        snapshot::publish(&self.kloset, &forged).unwrap();
        forged
    }

    /// Stores an object with this sealed body in `area`.
    pub(crate) fn body(&self, area: Area, part: Part, body: &[u8]) -> Id {
        let bytes = object::encode(self.kloset.sealer(), part, body).unwrap();
        self.put(area, &bytes)
    }

    pub(crate) fn put(&self, area: Area, bytes: &[u8]) -> Id {
        let id = Id::of(bytes);
        self.kloset.store().put(area, id, bytes).unwrap();
        id
    }

    /// A sealed block that claims the given codec and length for these bytes.
    pub(crate) fn block(&self, codec: u8, claimed_bytes: u32, payload: &[u8]) -> Vec<u8> {
        let mut sealed = vec![0; NONCE_BYTES];
        sealed.push(codec);
        sealed.extend_from_slice(&claimed_bytes.to_le_bytes());
        sealed.extend_from_slice(payload);
        self.kloset
            .sealer()
            .seal(Part::Block, &mut sealed, &mut Vec::new())
            .unwrap();
        sealed
    }

    /// A pack of these sealed blocks that claims the table `claimed`. No index object covers it.
    pub(crate) fn pack(&self, sealed: &[Vec<u8>], claimed: &[BlockTable]) -> Id {
        let mut body = Vec::new();
        pack_table::encode(PackKind::Tree, claimed, Ids::Whole, &mut body);
        self.pack_with_footer(sealed, &body)
    }

    pub(crate) fn pack_with_footer(&self, sealed: &[Vec<u8>], footer: &[u8]) -> Id {
        let mut bytes = b"KLOSETP\x01".to_vec();
        bytes.extend(sealed.concat());
        let mut part = Vec::new();
        Encoder::new(3)
            .unwrap()
            .encode(self.kloset.sealer(), Part::Footer, footer, &mut part)
            .unwrap();
        bytes.extend_from_slice(&part);
        bytes.extend_from_slice(&(part.len() as u32).to_le_bytes());
        bytes.extend_from_slice(b"KLOSETE\x01");
        self.put(Area::Packs, &bytes)
    }

    /// The tables of all packs of the store.
    pub(crate) fn tables(&self) -> Vec<PackTable> {
        let packs = objects(self.kloset.store(), Area::Packs);
        let read = |pack: &Id| {
            plakar::kloset::pack::read_table(self.kloset.store(), self.kloset.sealer(), *pack)
        };
        packs.iter().map(|pack| read(pack).unwrap()).collect()
    }
}

/// The table of a block with one chunk.
pub(crate) fn block_table(sealed: &[u8], id: Id, length: u32) -> BlockTable {
    BlockTable {
        sealed_bytes: sealed.len() as u32,
        chunks: vec![ChunkEntry { id, length }],
    }
}

pub(crate) fn entry(name: &str, kind: FileKind, size_bytes: u64) -> Entry {
    let metadata = Metadata {
        kind,
        size_bytes,
        mode: 0o755,
        links: 1,
        ..Metadata::default()
    };
    Entry::new(name.as_bytes().to_vec(), metadata)
}

pub(crate) fn file(name: &str, size_bytes: u64, content: Content) -> Entry {
    Entry {
        content,
        ..entry(name, FileKind::File, size_bytes)
    }
}

/// A directory with the totals of the entries in `tree`.
pub(crate) fn directory(name: &str, tree: Content) -> Entry {
    Entry {
        below: totals(&tree.ids),
        tree,
        ..entry(name, FileKind::Directory, 0)
    }
}

pub(crate) fn link(name: &str, target: &str) -> Entry {
    let mut link = entry(name, FileKind::Symlink, target.len() as u64);
    link.details.target = target.as_bytes().to_vec();
    link
}

/// A map with one pair, whose value claims to be an array of `count` items, none of which follow.
pub(crate) fn endless_array(key: u64, count: usize) -> Vec<u8> {
    let mut body = Vec::new();
    Writer::new(&mut body).map(1).u64(key).array(count);
    body
}

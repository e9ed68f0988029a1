//! Parsers of stored bytes against bytes that nobody stored: whatever comes, the answer is a
//! value or an error, never a panic, and never more memory than the bytes can justify.
//!
//! Inputs are random, and valid ones with a few bytes changed, which get further in.

use plakar::connector::{Details, FileKind, Metadata};
use plakar::kloset::cbor::Reader;
use plakar::kloset::config::Config;
use plakar::kloset::master::Key;
use plakar::kloset::table::{self, BlockTable, ChunkEntry, Ids, PackKind};
use plakar::kloset::tree::{self, Content, Entry};
use plakar::kloset::{pack, slot};
use plakar::util::Id;
use proptest::collection::vec;
use proptest::prelude::*;

/// An entry with a bit of everything.
fn entry() -> Entry {
    let metadata = Metadata {
        kind: FileKind::File,
        size_bytes: 100,
        mtime_ns: -1,
        links: 2,
        device: 7,
        inode: 8,
        ..Metadata::default()
    };
    Entry {
        user: Some("user".into()),
        details: Details {
            xattrs: vec![(b"user.a".to_vec(), b"value".to_vec())],
            flags: 1,
            target: b"target".to_vec(),
        },
        holes: Vec::from([5..10, 20..30]),
        content: Content {
            ids: vec![Id([1; 32]), Id([2; 32])],
            depth: 1,
        },
        ..Entry::new(b"name".to_vec(), metadata)
    }
}

/// `bytes` with some of them replaced, and cut short.
fn mutated(bytes: Vec<u8>) -> impl Strategy<Value = Vec<u8>> {
    let length = bytes.len();
    (vec((0..length, any::<u8>()), 0..4), 0..=length).prop_map(move |(changes, cut)| {
        let mut bytes = bytes.clone();
        for (at, value) in changes {
            bytes[at] = value;
        }
        bytes.truncate(cut.max(length / 2));
        bytes
    })
}

/// The bytes of a table with two blocks.
fn encoded_table(ids: Ids) -> Vec<u8> {
    let chunk = |at: u8| ChunkEntry {
        id: Id([at; 32]),
        length: 1000,
    };
    let block = |at| BlockTable {
        sealed_bytes: 5000,
        chunks: vec![chunk(at), chunk(at + 1)],
    };
    let mut bytes = Vec::new();
    table::encode(PackKind::Data, &[block(1), block(3)], ids, &mut bytes);
    bytes
}

/// The bytes of a tree with two entries.
fn encoded_tree() -> Vec<u8> {
    let mut bytes = Vec::new();
    entry().encode(&mut bytes);
    Entry {
        name: b"other".to_vec(),
        ..entry()
    }
    .encode(&mut bytes);
    bytes
}

/// An entry that was read must be one that can be written, and read again.
fn check_tree(bytes: &[u8]) {
    for entry in tree::decode(bytes).unwrap_or_default() {
        assert!(tree::check_name(&entry.name).is_ok());
        let mut again = Vec::new();
        entry.encode(&mut again);
        let again = Entry::decode(&mut Reader::new(&again)).expect("what was written can be read");
        assert_eq!((again.name, again.holes), (entry.name, entry.holes));
        assert_eq!(again.metadata.size_bytes, entry.metadata.size_bytes);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn trees_survive_anything(bytes in vec(any::<u8>(), 0..300)) {
        check_tree(&bytes);
    }

    #[test]
    fn trees_survive_changes(bytes in mutated(encoded_tree())) {
        check_tree(&bytes);
    }

    #[test]
    fn tables_survive_changes(bytes in mutated(encoded_table(Ids::Whole))) {
        if let Ok((_, blocks)) = table::decode(&mut Reader::new(&bytes), Ids::Whole) {
            prop_assert!(blocks.len() <= bytes.len());
        }
    }

    #[test]
    fn short_tables_survive_changes(bytes in mutated(encoded_table(Ids::Prefix))) {
        drop(table::decode(&mut Reader::new(&bytes), Ids::Prefix));
    }

    #[test]
    fn trailers_survive_anything(bytes in vec(any::<u8>(), 0..40), size_bytes in any::<u64>()) {
        if let Ok(length) = pack::footer_bytes(&bytes, size_bytes) {
            prop_assert!(length as u64 <= size_bytes);
        }
    }

    #[test]
    fn slots_survive_anything(bytes in vec(any::<u8>(), 0..400)) {
        drop(slot::inspect(&bytes));
        let mut marked = b"KLOSETK\x01".to_vec();
        marked.extend_from_slice(&bytes);
        drop(slot::inspect(&marked));
    }

    #[test]
    fn configs_survive_changes(bytes in mutated(config())) {
        drop(Config::decode(&bytes));
        drop(Config::authenticate(&bytes, &Key::new([1; 32])));
    }
}

/// The bytes of a CONFIG.
fn config() -> Vec<u8> {
    let config = Config::new(3).expect("there is a random generator");
    config
        .encode(&Key::new([1; 32]))
        .expect("a new CONFIG can be written")
}

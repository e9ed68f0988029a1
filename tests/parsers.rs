//! Tests parsers of stored bytes with arbitrary bytes: for any input, the result is a value or an
//! error, never a panic, and the memory use is proportional to the input.
//!
//! Inputs are random bytes, and valid data with a few changed bytes, which is parsed further.

use std::io::{self, Read, Write};

use plakar::connector::{Details, FileKind, Metadata};
use plakar::format::cbor::Reader;
use plakar::format::config::Config;
use plakar::format::entry::{Content, Entry};
use plakar::format::master::Key;
use plakar::format::pack_table::{self, BlockTable, ChunkEntry, Ids, PackKind};
use plakar::format::slot;
use plakar::kloset::{pack, tree};
use plakar::net::http1::{Body, Connection, Framing, HEAD_LIMIT_BYTES, Wrong};
use plakar::util::Id;
use proptest::collection::vec;
use proptest::prelude::*;

/// An entry with all types of fields.
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

/// `bytes` with some of them replaced, and truncated.
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
    pack_table::encode(PackKind::Data, &[block(1), block(3)], ids, &mut bytes);
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

/// Asserts that a parsed entry can be written, and read again.
fn check_tree(bytes: &[u8]) {
    for entry in tree::decode(bytes).into_iter().flatten() {
        assert!(tree::check_name(&entry.name).is_ok());
        let mut again = Vec::new();
        entry.encode(&mut again);
        let again = Entry::decode(&mut Reader::new(&again)).expect("what was written can be read");
        assert_eq!((again.name, again.holes), (entry.name, entry.holes));
        assert_eq!(again.metadata.size_bytes, entry.metadata.size_bytes);
    }
}

/// Bytes that arrive in pieces of a given length.
struct Pieces<'a> {
    bytes: &'a [u8],
    length: usize,
}

impl Read for Pieces<'_> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let length = into.len().min(self.length);
        self.bytes.read(&mut into[..length])
    }
}

impl Write for Pieces<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// The targets and bodies of the requests in `bytes`, and whether nothing else follows.
fn requests(bytes: &[u8], length: usize) -> (Vec<(String, Vec<u8>)>, bool) {
    let mut connection = Connection::new(Pieces { bytes, length });
    let (mut requests, mut buffer) = (Vec::new(), [0; 64]);
    loop {
        let request = match connection.read_request() {
            Ok(request) => request,
            Err(wrong) => return (requests, matches!(wrong, Wrong::Closed)),
        };
        let mut text = Vec::new();
        let framing = match Framing::of_request(&request) {
            Ok(framing) => framing,
            Err(_) => return (requests, false),
        };
        let mut body = Body::new(framing);
        loop {
            match body.read(&mut connection, &mut buffer) {
                Ok(0) => break,
                Ok(read) => text.extend_from_slice(&buffer[..read]),
                Err(_) => return (requests, false),
            }
        }
        assert!(request.target.len() < HEAD_LIMIT_BYTES && body.is_ended());
        requests.push((request.target, text));
    }
}

/// Valid requests with all types of bodies.
fn pipelined() -> Vec<u8> {
    b"PUT /a HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n\
      3\r\nabc\r\n0a;x=y\r\n0123456789\r\n0\r\nTrailer: x\r\n\r\n\
      PUT /b HTTP/1.1\r\nhost: h\r\ncontent-length: 12\r\nExpect: 100-continue\r\n\r\nhello, world\
      HEAD http://h/c HTTP/1.0\r\n\r\nGET /d?e=f HTTP/1.1\r\nHost: h\r\nRange: bytes=0-1\r\n\r\n"
        .to_vec()
}

/// Asserts that the same requests are found however the bytes are split: one parser must not treat
/// as a body what another one treats as a request (request smuggling).
fn check_requests(bytes: &[u8]) {
    let whole = requests(bytes, usize::MAX);
    assert_eq!(requests(bytes, 1), whole);
    assert_eq!(requests(bytes, 7), whole);
    let total: usize = whole
        .0
        .iter()
        .map(|(target, body)| target.len() + body.len())
        .sum();
    assert!(total <= bytes.len());
}

#[test]
fn requests_are_those_that_were_sent() {
    let (found, is_all) = requests(&pipelined(), 3);
    let found: Vec<(&str, usize)> = found
        .iter()
        .map(|(target, body)| (target.as_str(), body.len()))
        .collect();
    let expected = [("/a", 13), ("/b", 12), ("http://h/c", 0), ("/d?e=f", 0)];
    assert_eq!((found.as_slice(), is_all), (expected.as_slice(), true));
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
        if let Ok((_, blocks)) = pack_table::decode(&mut Reader::new(&bytes), Ids::Whole) {
            prop_assert!(blocks.len() <= bytes.len());
        }
    }

    #[test]
    fn short_tables_survive_changes(bytes in mutated(encoded_table(Ids::Prefix))) {
        drop(pack_table::decode(&mut Reader::new(&bytes), Ids::Prefix));
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
    fn requests_survive_anything(bytes in vec(any::<u8>(), 0..300)) {
        check_requests(&bytes);
    }

    #[test]
    fn requests_survive_changes(bytes in mutated(pipelined())) {
        check_requests(&bytes);
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

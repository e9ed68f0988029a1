//! The test vectors of kloset(5), computed with the code that reads and writes stores.
//!
//! Each value must be on the manual page. A failing test prints the missing values in the format of
//! the page. tests/reader/vectors.py computes most of them from the page alone, without this
//! program.

use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use plakar::connector::{Details, FileKind, Metadata};
use plakar::format::cbor::{Reader, Writer};
use plakar::format::chunker::{Chunker, Gear};
use plakar::format::codec::Decoder;
use plakar::format::config::Config;
use plakar::format::entry::{Content, Entry, Totals};
use plakar::format::master::{Key, Purpose};
use plakar::format::pack_table::{self, BlockTable, ChunkEntry, Ids, PackKind, PackTable};
use plakar::format::seal::{NONCE_BYTES, Part};
use plakar::format::slot;
use plakar::kloset::blob::{BlobReader, Packer};
use plakar::kloset::condemned::Condemned;
use plakar::kloset::pipeline::Trouble;
use plakar::kloset::progress::{Counters, Event, Observer};
use plakar::kloset::snapshot::{self, Labels, Snapshot};
use plakar::kloset::tree::{ListWriter, TreeWriter};
use plakar::kloset::write_session::write_session;
use plakar::kloset::{Kloset, Locked, index_object};
use plakar::store::memory::MemoryStore;
use plakar::store::{Area, Store};
use plakar::util::Id;
use plakar::util::interrupt::Interrupt;

/// One zstd frame of a hundred letters `a`. A different version of zstd may produce a different
/// frame.
const FRAME: &str = "28b52ffd206445000010616101003f012c";

/// An observer that ignores events.
#[derive(Default)]
struct Blind(Counters);

impl Observer for Blind {
    fn counters(&self) -> &Counters {
        &self.0
    }

    fn event(&self, _: &Event<'_>) {}
}

fn zero() -> Key {
    Key::new([0; 32])
}

/// The page, starting with its test vectors.
fn page() -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("man/kloset.5");
    let page = fs::read_to_string(path).expect("there is a page");
    let (_, vectors) = page.split_once(".Sh TEST VECTORS").expect("it has vectors");
    vectors.to_owned()
}

fn dense(text: &str) -> String {
    text.split_whitespace().collect()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn unhex(digits: &str) -> Vec<u8> {
    let byte = |at| u8::from_str_radix(&digits[at..at + 2], 16).expect("two digits");
    (0..digits.len()).step_by(2).map(byte).collect()
}

/// The bytes below the line `label` in the section `part` of the page.
fn bytes_of(part: &str, label: &str) -> Vec<u8> {
    let page = page();
    let (_, part) = page
        .split_once(&format!(".Ss {part}\n"))
        .expect("the part is there");
    let (_, value) = part
        .split_once(&format!("\n{label}\n"))
        .expect("the label is there");
    let is_value =
        |line: &&str| line.bytes().all(|byte| byte.is_ascii_hexdigit()) && !line.is_empty();
    unhex(&value.lines().take_while(is_value).collect::<String>())
}

/// Asserts that each of `vectors`, a label and its value, is on the page.
fn assert_in_page(vectors: &[(&str, String)]) {
    let page = dense(&page());
    let is_missing =
        |(label, value): &&(&str, String)| !page.contains(&dense(&format!("{label}{value}")));
    let missing: Vec<String> = vectors
        .iter()
        .filter(is_missing)
        .map(|(label, value)| {
            let lines: Vec<&[u8]> = value.as_bytes().chunks(64).collect();
            let lines = lines
                .into_iter()
                .map(|line| String::from_utf8_lossy(line).into_owned());
            format!("{label}\n{}", lines.collect::<Vec<_>>().join("\n"))
        })
        .collect();
    assert!(
        missing.is_empty(),
        "not in kloset(5):\n\n{}",
        missing.join("\n\n")
    );
}

/// A store whose keys are zero.
fn kloset() -> (Arc<dyn Store>, Kloset) {
    let store: Arc<dyn Store> = Arc::new(MemoryStore::new());
    store.prepare().expect("memory can be prepared");
    let config = Config {
        key_id: Id::default().to_string(),
        ..Config::new(3).expect("there is a random generator")
    };
    let bytes = config.encode(&zero()).expect("it can be written");
    store.put_config(&bytes).expect("it is the first");
    let locked = Locked::new(store.clone()).expect("there is a CONFIG");
    let kloset = locked.open(zero(), None, Arc::new(Blind::default()));
    (store, kloset.expect("the key is right"))
}

/// The object with a single part, which contains `body` in a stored envelope.
fn object(kloset: &Kloset, part: Part, magic: &[u8; 8], body: &[u8]) -> Vec<u8> {
    [magic.as_slice(), &sealed(kloset, part, 0, body.len(), body)].concat()
}

fn sealed(kloset: &Kloset, part: Part, codec: u8, length: usize, payload: &[u8]) -> Vec<u8> {
    let mut sealed = vec![0; NONCE_BYTES];
    sealed.push(codec);
    sealed.extend_from_slice(&(length as u32).to_le_bytes());
    sealed.extend_from_slice(payload);
    let outcome = kloset.sealer().seal(part, &mut sealed, &mut Vec::new());
    outcome.expect("it is short");
    sealed
}

/// The first `bytes` bytes of the extended output of the hash of the empty string.
fn output(bytes: usize) -> Vec<u8> {
    let mut output = vec![0; bytes];
    blake3::Hasher::new().finalize_xof().fill(&mut output);
    output
}

/// The entry on the page.
fn entry(kloset: &Kloset) -> Entry {
    let metadata = Metadata {
        kind: FileKind::File,
        mode: 0o4755,
        uid: 1000,
        gid: 100,
        size_bytes: 4101,
        mtime_ns: 1_700_000_000_000_000_000,
        ctime_ns: -1,
        btime_ns: Some(0),
        inode: 42,
        device: 2049,
        links: 2,
        ..Metadata::default()
    };
    Entry {
        user: Some("ann".into()),
        group: Some("users".into()),
        details: Details {
            xattrs: vec![(b"user.a".to_vec(), b"b".to_vec())],
            flags: 16,
            target: Vec::new(),
        },
        holes: std::iter::once(0..4096).collect(),
        content: Content {
            ids: vec![kloset.chunk_id(b"hello")],
            depth: 0,
        },
        ..Entry::new(b"caf\xe9".to_vec(), metadata)
    }
}

#[test]
fn keys_and_chunk_ids() {
    let (_, kloset) = kloset();
    let keys = [
        ("chunk id", Purpose::ChunkId),
        ("nonce", Purpose::Nonce),
        ("gear", Purpose::Gear),
        ("CONFIG", Purpose::ConfigMac),
        ("slot", Purpose::SlotMac),
        ("packs", Purpose::SealPacks),
        ("index", Purpose::SealIndex),
        ("snapshots", Purpose::SealSnapshots),
        ("condemned", Purpose::SealCondemned),
    ];
    let derived = keys.map(|(label, purpose)| (label, hex(zero().derive(purpose).bytes())));
    assert_in_page(&derived);
    assert_in_page(&[
        ("no bytes", kloset.chunk_id(b"").to_string()),
        ("\"hello\"", kloset.chunk_id(b"hello").to_string()),
    ]);
}

#[test]
fn cuts() {
    let config = Config::new(3).expect("there is a random generator");
    let data = output(2 << 20);
    let gear = Gear::new(zero().derive(Purpose::Gear).bytes());
    let lengths = |parameters| {
        let chunker = Chunker::new(gear.clone(), parameters).expect("usual ones");
        let (mut at, mut lengths) = (0, Vec::new());
        while at < data.len() && lengths.len() < 8 {
            lengths.push(chunker.cut(&data[at..]).to_string());
            at += chunker.cut(&data[at..]);
        }
        lengths.join(" ")
    };
    assert_in_page(&[
        ("file", lengths(config.chunking())),
        ("tree", lengths(config.tree_chunking())),
    ]);
}

#[test]
fn sealed_parts() {
    let (_, kloset) = kloset();
    let frame = unhex(FRAME);
    let mut block = sealed(&kloset, Part::Block, 1, 100, &frame);
    assert_in_page(&[
        ("block", hex(&sealed(&kloset, Part::Block, 0, 5, b"hello"))),
        (
            "snapshot",
            hex(&sealed(&kloset, Part::Snapshot, 0, 5, b"hello")),
        ),
        ("zstd frame", FRAME.to_owned()),
        ("zstd block", hex(&block)),
    ]);
    let mut plain = Vec::new();
    let mut decoder = Decoder::new().expect("there is memory");
    let outcome = decoder.decode(kloset.sealer(), Part::Block, &mut block, &mut plain);
    outcome.expect("it is a frame");
    assert_eq!(plain, [b'a'; 100]);
}

#[test]
fn packs_and_index_objects() {
    let (_, kloset) = kloset();
    let block = sealed(&kloset, Part::Block, 0, 5, b"hello");
    let chunk = ChunkEntry {
        id: kloset.chunk_id(b"hello"),
        length: 5,
    };
    let blocks = vec![BlockTable {
        sealed_bytes: block.len() as u32,
        chunks: vec![chunk],
    }];
    let mut footer = Vec::new();
    pack_table::encode(PackKind::Data, &blocks, Ids::Whole, &mut footer);
    let end = sealed(&kloset, Part::Footer, 0, footer.len(), &footer);
    let length = (end.len() as u32).to_le_bytes();
    let pack = [b"KLOSETP\x01", &block[..], &end, &length, b"KLOSETE\x01"].concat();
    let tables = [PackTable {
        pack: Id::of(&pack),
        size_bytes: pack.len() as u64,
        kind: PackKind::Data,
        blocks,
    }];
    let (index, _) = index_object::publish(&kloset, &tables).expect("memory takes it");
    assert_in_page(&[
        ("footer", hex(&footer)),
        ("name", Id::of(&pack).to_string()),
        ("name", index.to_string()),
    ]);
}

#[test]
fn entries_and_snapshots() {
    let (store, kloset) = kloset();
    let mut bytes = Vec::new();
    entry(&kloset).encode(&mut bytes);
    assert_eq!(
        Entry::decode(&mut Reader::new(&bytes)).ok(),
        Some(entry(&kloset))
    );
    let root = Entry {
        tree: Content {
            ids: vec![kloset.chunk_id(&bytes)],
            depth: 0,
        },
        below: Totals {
            files: 1,
            directories: 0,
            bytes: 4101,
        },
        ..Entry::new(
            Vec::new(),
            Metadata {
                kind: FileKind::Directory,
                mode: 0o755,
                links: 1,
                ..Metadata::default()
            },
        )
    };
    let made = Snapshot {
        id: Id([1; 32]),
        time_ns: 1_700_000_000_000_000_000,
        duration: Duration::from_secs(1),
        roots: vec![b"/".to_vec()],
        root,
        origin: "host".to_owned(),
        source: "fs".to_owned(),
        labels: Labels {
            tags: vec!["a".to_owned(), "b".to_owned()],
            ..Labels::default()
        },
        revision: 1,
        synced_ns: Some(-1),
        ..Snapshot::default()
    };
    snapshot::publish(&kloset, &made).expect("memory takes it");
    let name = names(&*store, Area::Snapshots)[0];
    let mut stored = store.get(Area::Snapshots, name).expect("it is there");
    let mut body = Vec::new();
    let mut decoder = Decoder::new().expect("there is memory");
    let outcome = decoder.decode(kloset.sealer(), Part::Snapshot, &mut stored[8..], &mut body);
    outcome.expect("it was just sealed");
    let object = object(&kloset, Part::Snapshot, b"KLOSETS\x01", &body);
    let read = snapshot::parse(&kloset, Id::of(&object), object.clone());
    assert_eq!(read.ok(), Some(made));
    assert_in_page(&[
        ("entry", hex(&bytes)),
        ("id of the chunk", kloset.chunk_id(&bytes).to_string()),
        ("body", hex(&body)),
        ("name", Id::of(&object).to_string()),
    ]);
}

fn names(store: &dyn Store, area: Area) -> Vec<Id> {
    let mut names = Vec::new();
    let listed = store.list(area, &mut |object| {
        names.push(object.id);
        Ok(())
    });
    listed.expect("memory can be listed");
    names
}

#[test]
fn condemnations() {
    let (store, kloset) = kloset();
    let mut body = Vec::new();
    let mut writer = Writer::new(&mut body);
    writer
        .map(2)
        .u64(0)
        .ids(&[Id([2; 32])])
        .u64(1)
        .bytes(&[0; 16]);
    let object = object(&kloset, Part::Condemned, b"KLOSETC\x01", &body);
    let name = Id::of(&object);
    store
        .put(Area::Condemned, name, &object)
        .expect("memory takes it");
    let condemned = Condemned::hide(&kloset).expect("it is whole");
    assert!(condemned.packs().contains(&Id([2; 32])));
    assert_in_page(&[("body", hex(&body)), ("name", name.to_string())]);
}

/// The lengths of the first eight chunks with these ids.
fn lengths(kloset: &Kloset, ids: &[Id]) -> String {
    let blobs = BlobReader::new(kloset, 1 << 20).expect("there is memory");
    let length = |id| {
        blobs
            .length(id)
            .expect("it is stored")
            .expect("it is known")
    };
    let lengths: Vec<String> = ids
        .iter()
        .take(8)
        .map(|id| length(id).to_string())
        .collect();
    lengths.join(" ")
}

/// The content that `write` produces, after it was stored.
fn written(kloset: &Kloset, write: impl FnOnce(&mut Packer<'_>) -> Content) -> Content {
    let trouble = Trouble::new(Interrupt::default());
    let content = write_session(kloset, 1, 1, &trouble, |session| {
        let mut packer = session.packer(PackKind::Tree).expect("it can start");
        let content = write(&mut packer);
        packer.flush().expect("memory takes it");
        content
    });
    trouble.outcome().expect("memory takes it");
    content.expect("memory can be written")
}

/// The list of the ids in `bytes`.
fn list(kloset: &Kloset, bytes: &[u8]) -> Content {
    written(kloset, |packer| {
        let mut list = ListWriter::default();
        for id in bytes.as_chunks::<32>().0 {
            list.push(Id(*id), packer, kloset).expect("memory takes it");
        }
        list.finish(packer, kloset).expect("memory takes it")
    })
}

#[test]
fn lists_and_moved_cuts() {
    let (_, kloset) = kloset();
    let short = list(&kloset, &output(3200));
    assert_eq!((short.depth, short.ids.len()), (1, 1));
    let mut bytes = Vec::new();
    let file = Entry {
        content: short,
        ..Entry::new(b"f".to_vec(), Metadata::default())
    };
    file.encode(&mut bytes);
    let long = list(&kloset, &output(2 << 20));
    assert_eq!(long.depth, 2);
    let tree = written(&kloset, |packer| {
        let mut tree = TreeWriter::default();
        for number in 0..5000 {
            let metadata = Metadata {
                mode: 0o644,
                links: 1,
                ..Metadata::default()
            };
            let entry = Entry::new(format!("{number:04}").into_bytes(), metadata);
            tree.push(&entry, packer, &kloset).expect("memory takes it");
        }
        tree.finish(packer, &kloset).expect("memory takes it")
    });
    let lists = BlobReader::new(&kloset, 1 << 20).expect("there is memory");
    let mut ids = Vec::new();
    for id in &long.ids {
        let read = lists.with(id, plakar::kloset::tree::decode_list);
        ids.extend(read.expect("it is stored"));
    }
    let joined: String = long.ids.iter().map(Id::to_string).collect();
    assert_in_page(&[
        ("entry", hex(&bytes)),
        ("depth 2", joined),
        ("moved list", lengths(&kloset, &ids)),
        ("moved tree", lengths(&kloset, &tree.ids)),
    ]);
}

#[test]
fn the_slot_and_the_config_of_the_page_open() {
    let [commitment, wrapped, mac] =
        ["commitment", "wrapped, tag", "MAC"].map(|label| bytes_of("Slot", label));
    let mut slot = b"KLOSETK\x01".to_vec();
    for number in [19456_u32, 2, 1] {
        slot.extend_from_slice(&number.to_le_bytes());
    }
    slot.extend_from_slice(&[0; 24]);
    slot.extend_from_slice(b"\x04\x00test");
    slot = [slot, commitment, vec![0; 24], wrapped, mac].concat();
    let key = slot::unwrap(&slot, b"correct horse", &Interrupt::default()).expect("it is whole");
    assert!(key.is_some_and(|key| key.is(&zero())) && slot::belongs_to(&slot, &zero()));
    assert_eq!(Id::of(&slot).0.to_vec(), bytes_of("Slot", "name"));
    let page = page();
    let (_, config) = page.split_once(".Ss CONFIG\n").expect("it is there");
    let start = config.find("# A Kloset store").expect("it has a heading");
    let (text, rest) = config[start..].split_once(".Ed").expect("it ends");
    let mac = rest
        .lines()
        .find(|line| line.len() == 64)
        .expect("it has a MAC");
    let whole = format!("{text}mac = \"{mac}\"\n");
    Config::decode(whole.as_bytes()).expect("it is a CONFIG");
    Config::authenticate(whole.as_bytes(), &zero()).expect("it is authentic");
}

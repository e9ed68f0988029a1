//! Tests broken connections: at every byte of a small exchange and at many points of a large one,
//! every operation succeeds in the end, and no partial object is ever stored.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use plakar::error::{Kind, Result};
use plakar::net::Trust;
use plakar::net::location::Location;
use plakar::net::retry::Patience;
use plakar::store::{Area, Settings, Store, open};
use plakar::util::Id;
use tempfile::TempDir;

use super::between::{Line, Mishap, Way};
use super::serving::{Served, failure, settings, store};

/// The number of bytes on the connection in a small exchange is below this limit.
const SMALL_LIMIT_BYTES: u64 = 4 << 10;

/// A served store with a small pack in it.
struct Place {
    directory: TempDir,
    server: Served,
    pack: Id,
}

const PACK: &[u8] = b"what is there already";

fn place() -> Place {
    let directory = TempDir::new().unwrap();
    let server = Served::new(&directory.path().join("st"), 0, &["-allow-delete"]);
    let store = store(&server.url, Trust::default());
    store.prepare().unwrap();
    store.put_config(b"version = 1").unwrap();
    let pack = Id::of(PACK);
    store.put(Area::Packs, pack, PACK).unwrap();
    Place {
        directory,
        server,
        pack,
    }
}

/// The store, reached through `line`. It has responded once, so the patient retry policy applies.
fn through(line: &Line, patience: Patience) -> Arc<dyn Store> {
    let url = format!("http://127.0.0.1:{}", line.port);
    let settings = Settings {
        patience: Patience {
            at_first: patience.later,
            ..patience
        },
        ..settings()
    };
    open(&Location::parse(url.as_bytes()).unwrap(), &settings).unwrap()
}

/// An operation, given an existing pack and a new number.
type Call = fn(&dyn Store, Id, u64) -> Result<()>;

/// All operations that send a request.
fn calls() -> Vec<(&'static str, Call)> {
    vec![
        ("get_config", |store, _, _| {
            assert_eq!(store.get_config()?, b"version = 1");
            Ok(())
        }),
        ("put", |store, _, n| {
            let bytes = n.to_le_bytes();
            store.put(Area::Index, Id::of(&bytes), &bytes)?;
            assert_eq!(store.get(Area::Index, Id::of(&bytes))?, bytes);
            Ok(())
        }),
        ("get", |store, pack, _| {
            assert_eq!(store.get(Area::Packs, pack)?, PACK);
            Ok(())
        }),
        ("read_at", |store, pack, _| {
            let mut buffer = [0; 5];
            store.read_at(Area::Packs, pack, 5, &mut buffer)?;
            assert_eq!(buffer, PACK[5..10]);
            Ok(())
        }),
        ("stat", |store, pack, _| {
            assert_eq!(store.stat(Area::Packs, pack)?.size_bytes, PACK.len() as u64);
            Ok(())
        }),
        ("list", |store, pack, _| {
            let mut found = Vec::new();
            store.list(Area::Packs, &mut |object| {
                found.push(object.id);
                Ok(())
            })?;
            assert_eq!(found, [pack]);
            Ok(())
        }),
        ("delete", |store, _, n| {
            store.delete(Area::Condemned, Id::of(&n.to_le_bytes()))
        }),
    ]
}

/// Asserts that there are no partial objects, not even in `tmp`.
fn assert_all_whole(root: &Path) {
    for area in Area::ALL {
        let mut directories = vec![root.join(area.name())];
        while let Some(directory) = directories.pop() {
            for entry in std::fs::read_dir(directory).unwrap() {
                let path = entry.unwrap().path();
                if path.is_dir() {
                    directories.push(path);
                    continue;
                }
                let name = path.file_name().unwrap().to_str().unwrap();
                assert_eq!(Id::of(&std::fs::read(&path).unwrap()).to_string(), name);
            }
        }
    }
}

#[test]
fn a_line_may_be_cut_at_any_byte() {
    let place = place();
    for way in [Way::Up, Way::Down] {
        for (name, call) in calls() {
            let mut after_bytes = 0;
            loop {
                let line = Line::new(place.server.port, Mishap::Cut, way, after_bytes);
                let store = through(&line, settings().patience);
                let outcome = call(&*store, place.pack, after_bytes);
                outcome.unwrap_or_else(|error| panic!("{name}, {way:?} {after_bytes}: {error}"));
                if !line.has_happened() {
                    break;
                }
                // A step that is coprime to the structure of heads.
                after_bytes += 3;
                assert!(after_bytes < SMALL_LIMIT_BYTES, "{name} is long");
            }
            assert!(after_bytes > 60, "{name} was never cut");
        }
    }
    assert_all_whole(&place.directory.path().join("st"));
}

#[test]
fn a_line_may_go_dead() {
    let place = place();
    let short = Patience {
        answer: Duration::from_millis(200),
        stall: Duration::from_millis(200),
        ..settings().patience
    };
    for way in [Way::Up, Way::Down] {
        for (name, call) in calls() {
            for after_bytes in [0, 1, 30, 60] {
                let line = Line::new(place.server.port, Mishap::Dead, way, after_bytes);
                let store = through(&line, short);
                let outcome = call(&*store, place.pack, after_bytes);
                outcome.unwrap_or_else(|error| panic!("{name}, {way:?} {after_bytes}: {error}"));
                assert!(line.has_happened());
            }
        }
    }
    assert_all_whole(&place.directory.path().join("st"));
}

#[test]
fn a_large_object_is_sent_and_read_again() {
    let place = place();
    let large: Vec<u8> = (0..3_000_000u32)
        .flat_map(|n| n.wrapping_mul(n).to_le_bytes())
        .collect();
    for step in 0..12u64 {
        let after_bytes = step * 1_100_000;
        let mut bytes = large.clone();
        bytes.extend_from_slice(&step.to_le_bytes());
        let id = Id::of(&bytes);
        let line = Line::new(place.server.port, Mishap::Cut, Way::Up, after_bytes);
        let store = through(&line, settings().patience);
        let mut upload = store.upload(Area::Packs).unwrap();
        upload.write(&bytes).unwrap();
        upload.commit(id).unwrap();
        assert_eq!(line.has_happened(), step < 11, "{step}");
        let line = Line::new(place.server.port, Mishap::Cut, Way::Down, after_bytes);
        let store = through(&line, settings().patience);
        assert!(store.get(Area::Packs, id).unwrap() == bytes);
        assert_eq!(line.has_happened(), step < 11, "{step}");
    }
    assert_all_whole(&place.directory.path().join("st"));
}

#[test]
fn who_is_not_there_is_told_at_once_and_who_was_is_waited_for() {
    let mut place = place();
    let store = store(&place.server.url, Trust::default());
    store.get_config().unwrap();
    place.server.kill();
    let (kind, words) = failure(store.get_config());
    assert_eq!(kind, Kind::Unavailable);
    let expected = format!("read CONFIG: {}: connection refused", place.server.url);
    assert_eq!(words, expected);
    let root = place.directory.path().join("st");
    let again = Served::new(&root, place.server.port, &[]);
    assert_eq!(store.get_config().unwrap(), b"version = 1");
    drop(again);
}

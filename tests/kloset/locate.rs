//! Tests the results of searches in snapshots, and the amount of data read.

use std::collections::BTreeSet;
use std::sync::Arc;

use plakar::connector::FileKind;
use plakar::error::{Error, Result};
use plakar::format::entry::Entry;
use plakar::kloset::blob::BlobReader;
use plakar::ops::locate::{Brief, Case, Listener, Patterns, Search};
use plakar::store::Store;
use plakar::store::fault::{Call, FaultStore};
use plakar::util::interrupt::Interrupt;

use crate::forge::{self, Forge};
use crate::harness::*;

/// Records the results.
#[derive(Default)]
struct Kept {
    found: Vec<String>,
    damaged: Vec<String>,
}

impl Listener for Kept {
    fn found(&mut self, path: &[u8], _: &Brief) -> Result<()> {
        self.found.push(path.escape_ascii().to_string());
        Ok(())
    }

    fn damaged(&mut self, path: &[u8], error: &Error) {
        self.damaged
            .push(format!("{}: {error}", path.escape_ascii()));
    }
}

fn patterns(patterns: &[&str]) -> Patterns {
    let patterns: Vec<String> = patterns.iter().map(|text| (*text).to_owned()).collect();
    Patterns::new(&patterns, Case::Sensitive).unwrap()
}

/// The roots of three snapshots with thirty directories each, two of which differ each time.
fn roots(forge: &Forge) -> Vec<Entry> {
    let file = |name: &str, size| forge::entry(name, FileKind::Socket, size);
    let root = |version: u64| {
        let dirs: Vec<Entry> = (0..30)
            .map(|n| {
                let own = if n % 15 == 3 { version } else { 0 };
                let deep = [file("core", own), file(&format!("log{n}"), 0)];
                let inner = forge::directory("inner", forge.tree(&deep));
                forge::directory(
                    &format!("dir{n:02}"),
                    forge.tree(&[inner, file("readme", 0)]),
                )
            })
            .collect();
        forge::directory("", forge.tree(&dirs))
    };
    (1..=3).map(root).collect()
}

#[test]
fn trees_that_snapshots_share_are_read_once() {
    let store = shared(&new_store());
    let roots = roots(&Forge::new(&store));
    let counting = Arc::new(FaultStore::counting(&store));
    let seen: Arc<dyn Store> = counting.clone();
    let (kloset, _) = open(&seen);
    let blobs = BlobReader::new(&kloset, 0).unwrap();
    for words in [&["core"][..], &["nothing"], &["*"], &["/dir0?/inner/log*"]] {
        let patterns = patterns(words);
        let mut search = Search::new(&blobs, &patterns, Interrupt::default());
        let mut costs = Vec::new();
        for root in &roots {
            let before = counting.calls(Call::ReadAt);
            let mut kept = Kept::default();
            search.run(b"/", root, &mut kept).unwrap();
            costs.push(counting.calls(Call::ReadAt) - before);
            let mut alone = Kept::default();
            let mut fresh = Search::new(&blobs, &patterns, Interrupt::default());
            fresh.run(b"/", root, &mut alone).unwrap();
            assert_eq!(kept.found, alone.found, "{words:?}: memory tells the same");
        }
        // At first the root, 30 directories and their contents are read; later the root and two of
        // these directories.
        assert_eq!(costs, [61, 5, 5], "{words:?}");
    }
}

#[test]
fn everything_that_matches_is_found_in_order_and_nothing_else() {
    let store = shared(&new_store());
    let roots = roots(&Forge::new(&store));
    let (kloset, _) = open(&store);
    let blobs = BlobReader::new(&kloset, 1 << 20).unwrap();
    let found = |path: &[u8], entry: &Entry, words: &[&str]| {
        let patterns = patterns(words);
        let mut kept = Kept::default();
        let mut search = Search::new(&blobs, &patterns, Interrupt::default());
        search.run(path, entry, &mut kept).unwrap();
        kept.found
    };
    let all = found(b"/", &roots[0], &["*"]);
    assert_eq!(all.len(), 30 * 5);
    let unique: BTreeSet<&String> = all.iter().collect();
    assert_eq!(unique.len(), all.len());
    assert_eq!(
        all[..5],
        [
            "/dir00",
            "/dir00/inner",
            "/dir00/inner/core",
            "/dir00/inner/log0",
            "/dir00/readme"
        ]
    );
    assert_eq!(
        found(b"/", &roots[0], &["log7", "/dir2*/readme", "inner/log8"]),
        [
            "/dir07/inner/log7",
            "/dir08/inner/log8",
            "/dir20/readme",
            "/dir21/readme",
            "/dir22/readme",
            "/dir23/readme",
            "/dir24/readme",
            "/dir25/readme",
            "/dir26/readme",
            "/dir27/readme",
            "/dir28/readme",
            "/dir29/readme",
        ]
    );
}

#[test]
fn a_damaged_tree_is_told_and_the_rest_is_searched() {
    let store = shared(&new_store());
    let forge = Forge::new(&store);
    let good = forge.tree(&[forge::entry("core", FileKind::Fifo, 0)]);
    let lost = plakar::format::entry::Content {
        ids: vec![plakar::util::Id([3; 32])],
        depth: 0,
    };
    let root = forge::directory(
        "",
        forge.tree(&[
            forge::directory("a", good.clone()),
            forge::directory("b", lost),
            forge::directory("c", good),
        ]),
    );
    let blobs = BlobReader::new(&forge.kloset, 0).unwrap();
    let patterns = patterns(&["core"]);
    let mut search = Search::new(&blobs, &patterns, Interrupt::default());
    let mut kept = Kept::default();
    search.run(b"/", &root, &mut kept).unwrap();
    assert_eq!(kept.found, ["/a/core", "/c/core"]);
    assert!(
        kept.damaged.len() == 1 && kept.damaged[0].starts_with("/b: tree 03030303"),
        "{:?}",
        kept.damaged
    );
}

/// A search that exceeds the memory limit still finds everything, repeatedly.
#[test]
fn what_memory_has_no_room_for_is_found_again() {
    let store = shared(&new_store());
    let forge = Forge::new(&store);
    let name = |n: u32| format!("{n:0200}");
    let many: Vec<Entry> = (0..120_000)
        .map(|n| forge::entry(&name(n), FileKind::Socket, 0))
        .collect();
    let chunks: Vec<Vec<u8>> = many
        .chunks(10_000)
        .map(|entries| {
            let mut bytes = Vec::new();
            entries.iter().for_each(|entry| entry.encode(&mut bytes));
            bytes
        })
        .collect();
    let tree = plakar::format::entry::Content {
        ids: forge.chunks(&chunks),
        depth: 0,
    };
    let few = forge.tree(&[forge::entry("core", FileKind::Fifo, 0)]);
    let root = forge::directory(
        "",
        forge.tree(&[
            forge::directory("a", few.clone()),
            forge::directory("b", tree),
            forge::directory("c", few),
        ]),
    );
    let blobs = BlobReader::new(&forge.kloset, 64 << 20).unwrap();
    let patterns = patterns(&["*"]);
    let mut search = Search::new(&blobs, &patterns, Interrupt::default());
    for _ in 0..2 {
        let mut kept = Kept::default();
        search.run(b"/", &root, &mut kept).unwrap();
        assert_eq!(kept.found.len(), 120_005);
        let unique: BTreeSet<&String> = kept.found.iter().collect();
        assert_eq!(unique.len(), kept.found.len());
    }
}

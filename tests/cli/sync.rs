//! Tests copying snapshots between stores.

use std::fs;

use crate::harness::{PASSPHRASE, Run, Sandbox, noise};
use crate::process::weight;

const OTHER: &str = "a heron on the roof";
/// The number of kills, distributed over one run.
const KILLS: u64 = 8;

/// A sandbox with a store `st` that contains a snapshot of `d`, and the id of the snapshot.
fn with_snapshot(name: &str) -> (Sandbox, String) {
    let sandbox = Sandbox::new(name);
    sandbox.run(&["at", "st", "create"]).ended(0);
    sandbox.write("d/a", b"hello");
    sandbox.write("d/sub/b", &noise(300_000));
    let run = ["at", "st", "backup", "-json", "-tag", "daily", "d"];
    let summary = sandbox.run(&run).ended(0).object("summary");
    let id = summary["snapshot"].as_str().unwrap_or_default().to_owned();
    (sandbox, id)
}

/// Asserts that `store` contains the complete snapshot.
fn has(sandbox: &Sandbox, store: &str, id: &str) {
    sandbox
        .run(&["at", store, "cat", &format!("{id}:a")])
        .ended(0)
        .prints_just("hello");
    sandbox
        .run(&["at", store, "check"])
        .ended(0)
        .prints("check: intact: ");
    let listed = sandbox.run(&["at", store, "ls", "-uuid", "-tags"]).ended(0);
    listed.prints(id).prints("tags=daily");
}

fn packs(sandbox: &Sandbox, store: &str) -> Vec<String> {
    let run = sandbox
        .run(&["at", store, "diag", "packs", "-json"])
        .ended(0);
    let id = |object: serde_json::Value| object["pack"].as_str().map(str::to_owned);
    let mut packs: Vec<String> = run.objects().into_iter().filter_map(id).collect();
    packs.sort();
    packs
}

#[test]
fn a_sibling_gets_the_objects_as_they_are() {
    let (sandbox, id) = with_snapshot("sync_sibling");
    sandbox
        .run(&["at", "copy", "create", "-from", "st"])
        .ended(0)
        .prints_nothing();
    sandbox
        .run(&["at", "st", "sync", "to", "copy"])
        .ended(0)
        .says_nothing()
        .prints(&format!(" {} ", &id[..8]))
        .prints("sync: 1 snapshot copied, 0 there already; stored ");
    has(&sandbox, "copy", &id);
    let packs = packs(&sandbox, "copy");
    assert!(!packs.is_empty());
    assert_eq!(packs, self::packs(&sandbox, "st"));
    let again = sandbox
        .run(&["at", "st", "sync", "-json", "to", "copy"])
        .ended(0);
    let summary = again.object("summary");
    assert_eq!(again.objects().len(), 1, "and nothing else");
    assert_eq!(
        (&summary["present"], &summary["stored_bytes"]),
        (&1.into(), &0.into())
    );
}

#[test]
fn a_sibling_has_another_passphrase_if_that_is_wanted() {
    let (sandbox, id) = with_snapshot("sync_passphrases");
    let sandbox = sandbox.with("PLAKAR_NEW_PASSPHRASE", OTHER);
    sandbox
        .run(&["at", "copy", "create", "-from", "st"])
        .ended(0);
    // The passphrase of the first store does not open the second one, and there is no terminal for
    // a prompt.
    sandbox
        .run(&["at", "st", "sync", "to", "copy"])
        .ended(77)
        .says(
            "no passphrase for copy: there is no terminal to prompt on; give PLAKAR_PEER_PASSPHRASE",
        );
    let asked = [("passphrase for copy: ", OTHER)];
    sandbox
        .converse(&["at", "st", "sync", "to", "copy"], &asked)
        .ended(0)
        .prints("1 snapshot copied");
    let sandbox = sandbox.with("PLAKAR_PEER_PASSPHRASE", OTHER);
    sandbox
        .run(&["at", "st", "sync", "to", "copy"])
        .ended(0)
        .prints("1 there already");
    let sandbox = sandbox.without("PLAKAR_PEER_PASSPHRASE");
    let config = format!(
        "[second]\nlocation = '{}'\n",
        sandbox.path("copy").display()
    );
    let with = |passphrase: &str| format!("{config}passphrase = '{passphrase}'\n");
    sandbox.write("home/.config/plakar/stores.toml", with(OTHER).as_bytes());
    for words in [["to", "@second"], ["with", "@second"]] {
        let run = [&["at", "st", "sync"][..], &words].concat();
        sandbox.run(&run).ended(0).prints(" there already");
    }
    sandbox.write("home/.config/plakar/stores.toml", with("wrong").as_bytes());
    sandbox
        .run(&["at", "st", "sync", "to", "@second"])
        .ended(77);
    let sandbox = sandbox.with("PLAKAR_PASSPHRASE", OTHER);
    has(&sandbox, "copy", &id);
}

#[test]
fn between_strangers_everything_is_sealed_anew_both_ways() {
    let (sandbox, id) = with_snapshot("sync_strangers");
    sandbox.run(&["at", "other", "create"]).ended(0);
    sandbox.write("theirs/a", b"hello");
    let theirs = ["at", "other", "backup", "-json", "-tag", "daily", "theirs"];
    let summary = sandbox.run(&theirs).ended(0).object("summary");
    let theirs = summary["snapshot"].as_str().unwrap_or_default().to_owned();
    let run = sandbox
        .run(&["at", "st", "sync", "-json", "with", "other"])
        .ended(0);
    let copied: Vec<serde_json::Value> = run.objects();
    let copied: Vec<&str> = copied
        .iter()
        .filter(|object| object["type"] == "sync" && object["outcome"] == "copied")
        .filter_map(|object| object["snapshot"].as_str())
        .collect();
    assert_eq!(copied, [&id, &theirs]);
    for store in ["st", "other"] {
        has(&sandbox, store, &id);
        has(&sandbox, store, &theirs);
    }
    let (here, there) = (packs(&sandbox, "st"), packs(&sandbox, "other"));
    assert!(here.iter().all(|pack| !there.contains(pack)));
    sandbox
        .run(&["at", "other", "sync", "from", "st"])
        .ended(0)
        .prints("0 snapshots copied, 2 there already");
}

#[test]
fn only_what_is_meant_is_copied() {
    let (sandbox, first) = with_snapshot("sync_query");
    sandbox.write("d/a", b"hello again");
    let second = sandbox.backup("st", "d");
    sandbox
        .run(&["at", "copy", "create", "-from", "st"])
        .ended(0);
    let sync = |words: &[&str]| -> Run {
        sandbox.run(&[&["at", "st", "sync"][..], words, &["to", "copy"]].concat())
    };
    sync(&["-tag", "nobody"])
        .ended(0)
        .prints("0 snapshots copied");
    sync(&["ffffffffffff"]).ended(66);
    sync(&[&format!("{first}:a")]).ended(64);
    sync(&[&second[..12]]).ended(0).prints("1 snapshot copied");
    sync(&["-tag", "daily"])
        .ended(0)
        .prints("1 snapshot copied");
    sync(&[]).ended(0).prints("2 there already");
    has(&sandbox, "copy", &first);
    sandbox
        .run(&["at", "st", "tag", "add", "kept", &first])
        .ended(0);
    sync(&[])
        .ended(0)
        .prints("relabelled ")
        .prints("1 relabelled, 1 there already");
    sandbox
        .run(&["at", "copy", "ls", "-tag", "kept", "-uuid"])
        .ended(0)
        .prints(&first);
    sandbox
        .run(&["at", "st", "sync", "ffffffffffff", "with", "copy"])
        .ended(66)
        .says("no snapshot of either store");
    for words in [&["to"][..], &["copy"], &["onto", "copy"], &[]] {
        sandbox
            .run(&[&["at", "st", "sync"][..], words].concat())
            .ended(64);
    }
    sandbox
        .run(&["at", "st", "sync", "to", "st"])
        .ended(64)
        .says("the same store");
    sandbox
        .run(&["at", "st", "sync", "to", "nowhere"])
        .ended(66);
}

#[test]
fn secrets_are_not_copied_to_where_there_are_none_by_mistake() {
    let (sandbox, id) = with_snapshot("sync_plaintext");
    sandbox
        .run(&["at", "open", "create", "-plaintext"])
        .ended(0);
    sandbox
        .run(&["at", "st", "sync", "to", "open"])
        .ended(77)
        .says("-plaintext permits the copy");
    sandbox
        .run(&["at", "st", "sync", "-plaintext", "to", "open"])
        .ended(0);
    let peer = sandbox.with("PLAKAR_PEER_PASSPHRASE", PASSPHRASE);
    peer.run(&["at", "st", "sync", "-plaintext", "to", "open"])
        .ended(77)
        .says("but a passphrase was given");
    let open = peer.without("PLAKAR_PASSPHRASE");
    has(&open, "open", &id);
    open.run(&["at", "second", "create", "-from", "open"])
        .ended(64)
        .says("add -plaintext");
    open.run(&["at", "second", "create", "-from", "open", "-plaintext"])
        .ended(0)
        .says("this store is not encrypted");
    let sandbox = open.with("PLAKAR_PASSPHRASE", PASSPHRASE);
    sandbox
        .run(&["at", "third", "create", "-from", "st", "-plaintext"])
        .ended(64)
        .says("its key is secret");
    sandbox
        .run(&["at", "third", "create", "-from", "st", "-compression", "5"])
        .ended(64);
    assert!(!sandbox.path("third/CONFIG").exists());
}

#[test]
fn a_damaged_snapshot_is_named_and_the_others_are_copied() {
    let (sandbox, first) = with_snapshot("sync_damage");
    let old = fs::read_dir(sandbox.path("st/packs"))
        .expect("there are packs")
        .count();
    sandbox.write("d/later", &noise(700_000));
    let second = sandbox.backup("st", "d");
    sandbox.damage_one_bit("st/packs");
    assert!(old > 0);
    sandbox
        .run(&["at", "copy", "create", "-from", "st"])
        .ended(0);
    sandbox.run(&["at", "other", "create"]).ended(0);
    for store in ["copy", "other"] {
        sandbox
            .run(&["at", "st", "sync", "to", store])
            .ended(3)
            .says(&second[..8])
            .prints("sync: 1 snapshot copied, 0 there already, 1 failed");
        has(&sandbox, store, &first);
    }
}

#[test]
fn a_killed_sync_goes_on_where_it_was() {
    let (sandbox, id) = with_snapshot("sync_kill");
    let mut large = noise(24 << 20);
    sandbox.write("d/large", &large);
    sandbox.backup("st", "d");
    large.rotate_left(1 << 20);
    sandbox.write("d/more", &large[..12 << 20]);
    let last = sandbox.backup("st", "d");
    sandbox
        .run(&["at", "copy", "create", "-from", "st"])
        .ended(0);
    sandbox.run(&["at", "other", "create"]).ended(0);
    let whole = weight(&sandbox.path("st/packs"));
    for store in ["copy", "other"] {
        let there = sandbox.path(store);
        for round in 0..KILLS {
            let until = whole * round / KILLS;
            let mut running = sandbox.start(&["at", "st", "sync", "to", store]);
            running.until(|_| weight(&there) > until);
            running.kill();
            sandbox.run(&["at", store, "ls"]).ended(0).says_nothing();
        }
        sandbox.run(&["at", "st", "sync", "to", store]).ended(0);
        has(&sandbox, store, &id);
        let out = format!("out-{store}");
        sandbox
            .run(&["at", store, "restore", "-to", &out, &last])
            .ended(0);
        assert!(sandbox.read(&format!("{out}/more")) == large[..12 << 20]);
        let all = weight(&sandbox.path(&format!("{store}/packs")));
        assert!(
            all < whole + whole / 4,
            "{all} bytes for {whole}: moved twice"
        );
    }
    sandbox.discard();
}

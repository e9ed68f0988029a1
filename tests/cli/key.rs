//! Tests several passphrases for one store.

use std::fs;

use crate::harness::{PASSPHRASE, Sandbox, store};

const OTHER: &str = "a heron on the roof";
const THIRD: &str = "moths about the lamp";

/// The ids of the slots in the order of the list.
fn ids(sandbox: &Sandbox, at: &str) -> Vec<String> {
    let objects = sandbox
        .run(&["at", at, "-json", "key", "list"])
        .ended(0)
        .objects();
    let id = |object: &serde_json::Value| object["id"].as_str().unwrap_or_default().to_owned();
    objects.iter().map(id).collect()
}

#[test]
fn a_second_passphrase_opens_the_store_until_it_is_removed() {
    let sandbox = Sandbox::with_store("key").with("PLAKAR_NEW_PASSPHRASE", OTHER);
    let at = store("key");
    let added = sandbox
        .run(&["at", &at, "key", "add", "-label", "phone", "-json"])
        .ended(0);
    let id = added.object("key")["id"]
        .as_str()
        .unwrap_or_default()
        .to_owned();
    sandbox
        .run(&["at", &at, "key", "list"])
        .ended(0)
        .prints("  phone\n");
    let sandbox = sandbox.with("PLAKAR_PASSPHRASE", OTHER);
    sandbox.run(&["at", &at, "ls"]).ended(0);
    let sandbox = sandbox.with("PLAKAR_PASSPHRASE", PASSPHRASE);
    sandbox
        .run(&["at", &at, "key", "rm", &id[..8]])
        .ended(0)
        .silent();
    let sandbox = sandbox.with("PLAKAR_PASSPHRASE", OTHER);
    sandbox
        .run(&["at", &at, "ls"])
        .ended(77)
        .says("wrong passphrase");
}

#[test]
fn the_last_passphrase_stays() {
    let sandbox = Sandbox::with_store("key_last");
    let at = store("key_last");
    let id = ids(&sandbox, &at).remove(0);
    sandbox
        .run(&["at", &at, "key", "rm", &id])
        .ended(1)
        .says("the only passphrase");
    sandbox
        .run(&["at", &at, "key", "rm", "zz"])
        .ended(66)
        .says("no key slot begins with");
    sandbox
        .run(&["at", &at, "key", "rm"])
        .ended(64)
        .says("needs the ID");
    assert_eq!(ids(&sandbox, &at), [id]);
}

#[test]
fn a_changed_passphrase_replaces_the_one_that_opened_the_store() {
    let sandbox = Sandbox::with_store("key_passwd");
    let at = store("key_passwd");
    sandbox.write("new", THIRD.as_bytes());
    let before = ids(&sandbox, &at);
    sandbox
        .run(&["at", &at, "key", "passwd", "-new-keyfile", "new"])
        .ended(0);
    let after = ids(&sandbox, &at);
    assert!(after.len() == 1 && after != before, "{after:?}");
    sandbox.run(&["at", &at, "ls"]).ended(77);
    sandbox.run(&["at", &at, "-keyfile", "new", "ls"]).ended(0);
}

#[test]
fn a_store_without_passphrases_has_none_to_change() {
    let sandbox = Sandbox::new("key_plaintext").without("PLAKAR_PASSPHRASE");
    sandbox.run(&["at", "st", "create", "-plaintext"]).ended(0);
    for words in [
        ["key", "list"].as_slice(),
        &["key", "add"],
        &["key", "passwd"],
        &["key", "rm", "0"],
    ] {
        let words = [&["at", "st"], words].concat();
        sandbox.run(&words).ended(78).says("it has no passphrases");
    }
    sandbox
        .run(&["at", "st", "key"])
        .ended(64)
        .says("key: needs one of: list, add, rm, passwd, export, import");
}

#[test]
fn a_slot_of_another_store_is_marked_and_does_not_count() {
    let sandbox = Sandbox::with_store("key_foreign");
    let own = ids(&sandbox, "st").remove(0);
    let listed = sandbox.run(&["at", "st", "key", "list"]).ended(0).stdout();
    sandbox.run(&["at", "other", "create"]).ended(0);
    let other = ids(&sandbox, "other").remove(0);
    let slot = sandbox.read(&format!("other/keys/{other}"));
    sandbox.write(&format!("st/keys/{other}"), &slot);
    sandbox
        .run(&["at", "st", "key", "list"])
        .ended(0)
        .prints("(not of this store)");
    sandbox
        .run(&["at", "st", "key", "rm", &own])
        .ended(1)
        .says("the only passphrase");
    sandbox.run(&["at", "st", "key", "rm", &other]).ended(0);
    sandbox
        .run(&["at", "st", "key", "list"])
        .ended(0)
        .prints_just(&listed);
}

#[test]
fn a_slot_that_was_kept_on_paper_opens_the_store_again() {
    let sandbox = Sandbox::with_store("key_paper").without("PLAKAR_PASSPHRASE");
    let id = ids(&sandbox, "st").remove(0);
    let slot = sandbox.read(&format!("st/keys/{id}"));
    let paper = sandbox
        .run(&["at", "st", "key", "export", &id[..6]])
        .ended(0);
    let paper = paper.prints("location  st\n").says_nothing().stdout();
    let config = String::from_utf8(sandbox.read("st/CONFIG")).expect("it is text");
    let stored = |line: &&str| line.starts_with("store_id");
    let store_id = config.lines().find(stored).expect("it has an id");
    let store_id = store_id.split('"').nth(1).expect("it is quoted");
    assert!(paper.contains(&format!("store     {store_id}\nslot      {id}\n")));
    assert_eq!(sandbox.run(&["at", "st", "key", "export"]).stdout(), paper);
    let object = sandbox.run(&["at", "st", "-json", "key", "export"]);
    assert_eq!(object.object("key_slot")["id"], id.as_str());
    sandbox
        .run(&["at", "st", "key", "export", "zz"])
        .ended(66)
        .says("no key slot begins with");

    fs::remove_dir_all(sandbox.path("st/keys")).expect("it is there");
    let with = sandbox.with("PLAKAR_PASSPHRASE", PASSPHRASE);
    with.run(&["at", "st", "ls"])
        .ended(65)
        .says("it has no key slot: \"plakar key import\" restores an exported one");
    let wrong = paper.replacen("4b4c", "4b4d", 1);
    with.write("wrong", wrong.as_bytes());
    with.run(&["at", "st", "key", "import", "wrong"])
        .ended(65)
        .prints_nothing()
        .says("wrong: line 1: it differs from its checksum");
    with.run(&["at", "other", "create"]).ended(0);
    with.write("paper", paper.as_bytes());
    with.run(&["at", "other", "key", "import", "paper"])
        .ended(64)
        .says(&format!(
            "the slot is of store {store_id}, and this is store "
        ));
    with.run(&["at", "st", "key", "import", "paper"])
        .ended(0)
        .prints(&id[..8]);
    assert_eq!(with.read(&format!("st/keys/{id}")), slot);
    with.run(&["at", "st", "ls"]).ended(0).silent();
    with.run(&["at", "st", "key", "import", "missing"])
        .ended(66)
        .says("missing: no such file or directory");
}

#[test]
fn a_label_has_a_limit_and_a_long_one_is_cut_off() {
    let sandbox = Sandbox::new("key_label");
    let long = "x".repeat(65);
    sandbox
        .run(&["at", "st", "create", "-label", &long])
        .ended(64)
        .says("-label: it is longer than 64 characters");
    sandbox
        .run(&["at", "st", "create", "-label", &long[1..]])
        .ended(0);
    sandbox
        .run(&["at", "st", "key", "list"])
        .ended(0)
        .prints(&format!("  {}\n", &long[1..]));
}

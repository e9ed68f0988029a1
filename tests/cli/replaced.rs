//! Tests that a replaced store is detected before a passphrase is requested.

use std::fs;

use crate::harness::Sandbox;

/// The beginning of the error message.
const REPLACED: &str = ": the store was replaced: expected store ";
const BY_PLAINTEXT: &str = "with no encryption; ";

/// A sandbox with an encrypted store at `st` that was used before, and one file to back up.
fn with_store(name: &str) -> Sandbox {
    let sandbox = Sandbox::new(name);
    sandbox.run(&["at", "st", "create"]).ended(0);
    sandbox.write("d/a", b"a secret");
    sandbox.run(&["at", "st", "backup", "d"]).ended(0);
    sandbox
}

/// Creates a store as a different machine would, and replaces `st` by it.
fn replace_by(sandbox: &Sandbox, flags: &[&str]) {
    let create = ["-datadir", "thief", "at", "other", "create"];
    sandbox.run(&[&create, flags].concat()).ended(0);
    fs::rename(sandbox.path("st"), sandbox.path("away")).expect("the store can be moved");
    fs::rename(sandbox.path("other"), sandbox.path("st")).expect("the store can be moved");
}

fn value(sandbox: &Sandbox, store: &str, key: &str) -> String {
    let config = String::from_utf8(sandbox.read(&format!("{store}/CONFIG"))).expect("it is text");
    let line = config.lines().find(|line| line.starts_with(key));
    let line = line.expect("CONFIG has it");
    line.split('"').nth(1).expect("it is text").to_owned()
}

fn packs(sandbox: &Sandbox) -> usize {
    fs::read_dir(sandbox.path("st/packs")).map_or(0, Iterator::count)
}

#[test]
fn a_plaintext_store_in_its_place_gets_nothing() {
    let sandbox = with_store("replaced_plaintext").without("PLAKAR_PASSPHRASE");
    replace_by(&sandbox, &["-plaintext"]);
    // On a terminal, where plakar would otherwise ask for the passphrase.
    let run = sandbox
        .run_on_terminal(&["at", "st", "backup", "d"])
        .ended(77);
    run.prints(REPLACED)
        .prints(&value(&sandbox, "away", "store_id"))
        .prints(&value(&sandbox, "away", "key_id"))
        .prints(&value(&sandbox, "st", "store_id"))
        .prints(BY_PLAINTEXT);
    for words in [
        &["backup", "d"][..],
        &["backup", "-dry-run", "d"],
        &["maintenance"],
        &["key", "add"],
        &["restore", "-to", "out"],
    ] {
        let run = sandbox.run(&[&["at", "st"], words].concat()).ended(77);
        run.says(REPLACED).says(BY_PLAINTEXT);
    }
    assert_eq!(packs(&sandbox), 0, "nothing was sent");
    let path = sandbox.path("st").display().to_string();
    let run = sandbox.run(&["at", "st", "ls"]).ended(77);
    run.says(&format!("accept it with: plakar store forget {path}\n"));
    sandbox.run(&["store", "forget", &path]).ended(0).silent();
    for _ in 0..2 {
        let run = sandbox.run(&["at", "st", "backup", "d"]).ended(0);
        let said = run.stderr();
        assert_eq!(said.lines().count(), 1, "{said}");
        run.says(": it is not encrypted: ");
    }
}

#[test]
fn a_store_of_another_key_is_refused_before_the_passphrase_is_asked_for() {
    let sandbox = with_store("replaced_key");
    replace_by(&sandbox, &["-kdf-memory", "19"]);
    let sandbox = sandbox.without("PLAKAR_PASSPHRASE");
    let run = sandbox
        .run_on_terminal(&["at", "st", "backup", "d"])
        .ended(77);
    let said = run.stdout();
    assert!(!said.contains("passphrase for"), "{said}");
    run.prints(REPLACED)
        .prints(&value(&sandbox, "away", "key_id"))
        .prints(&value(&sandbox, "st", "key_id"));
}

#[test]
fn the_other_store_of_a_sync_is_compared_too() {
    let sandbox = with_store("replaced_peer");
    sandbox.run(&["at", "mine", "create"]).ended(0);
    replace_by(&sandbox, &["-plaintext"]);
    let words = ["at", "mine", "sync", "-plaintext", "to", "st"];
    sandbox.run(&words).ended(77).says(REPLACED);
}

#[test]
fn every_spelling_of_a_location_is_the_same() {
    let sandbox = with_store("replaced_spelling");
    let full = sandbox.path("st").display().to_string();
    sandbox.run(&["store", "add", "mine", &full]).ended(0);
    sandbox.link("st", "link");
    replace_by(&sandbox, &["-plaintext"]);
    let file = format!("file://{full}");
    for at in ["st", "./st/", &full, &file, "@mine", "d/../st", "link"] {
        sandbox.run(&["at", at, "ls"]).ended(77).says(REPLACED);
    }
    sandbox.run(&["store", "forget", "@mine"]).ended(0);
    let again = sandbox.run(&["store", "forget", "st"]).ended(66);
    again.says("no store is known at st");
    let usable = sandbox.without("PLAKAR_PASSPHRASE");
    usable.run(&["at", "link", "ls"]).ended(0);
}

#[test]
fn a_link_to_another_store_is_noticed() {
    let sandbox = with_store("replaced_link");
    sandbox.link("st", "link");
    sandbox.run(&["at", "link", "ls"]).ended(0);
    let create = ["-datadir", "thief", "at", "other", "create", "-plaintext"];
    sandbox.run(&create).ended(0);
    fs::remove_file(sandbox.path("link")).expect("it can be removed");
    sandbox.link("other", "link");
    let sandbox = sandbox.without("PLAKAR_PASSPHRASE");
    sandbox.run(&["at", "link", "ls"]).ended(77).says(REPLACED);
}

#[test]
fn a_sibling_and_a_store_created_anew_are_accepted() {
    let sandbox = with_store("replaced_sibling");
    let create = ["-datadir", "thief", "at", "other", "create", "-from", "st"];
    sandbox.run(&create).ended(0);
    fs::rename(sandbox.path("st"), sandbox.path("away")).expect("the store can be moved");
    fs::rename(sandbox.path("other"), sandbox.path("st")).expect("the store can be moved");
    sandbox.run(&["at", "st", "backup", "d"]).ended(0);
    fs::remove_dir_all(sandbox.path("st")).expect("the store can be removed");
    sandbox.run(&["at", "st", "create"]).ended(0);
    let run = sandbox.run(&["at", "st", "backup", "d"]).ended(0);
    run.says_nothing();
}

#[test]
fn facts_of_a_replaced_store_are_printed_without_the_key() {
    let sandbox = with_store("replaced_info");
    replace_by(&sandbox, &["-kdf-memory", "19"]);
    let run = sandbox.run(&["at", "st", "info"]).ended(0);
    run.says(REPLACED)
        .prints(&value(&sandbox, "st", "store_id"));
}

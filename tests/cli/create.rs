//! Tests creating stores.

use crate::harness::{PASSPHRASE, Sandbox, store};

#[test]
fn a_store_is_made_once() {
    let sandbox = Sandbox::with_store("create");
    let again = sandbox.run(&["at", &store("create"), "create"]).ended(1);
    again.prints_nothing().says("there is a store already");
    sandbox
        .run(&["at", &store("create"), "ls"])
        .ended(0)
        .silent();
}

#[test]
fn a_place_with_something_in_it_is_left_alone() {
    let sandbox = Sandbox::new("create_not_empty");
    sandbox.write("full/file", b"mine");
    sandbox
        .run(&["at", "full", "create"])
        .ended(1)
        .says("is there already");
    assert_eq!(sandbox.read("full/file"), b"mine");
    assert!(!sandbox.path("full/CONFIG").exists());
}

#[test]
fn a_plaintext_store_says_so_and_asks_for_nothing() {
    let sandbox = Sandbox::new("create_plaintext").without("PLAKAR_PASSPHRASE");
    let created = sandbox.run(&["at", "st", "create", "-plaintext"]).ended(0);
    created
        .prints_nothing()
        .says("this store is not encrypted")
        .says(" at st, not encrypted");
    sandbox.write("d/a", b"x");
    sandbox
        .run(&["at", "st", "backup", "d"])
        .ended(0)
        .says("store st: it is not encrypted");
    sandbox
        .run(&["at", "st", "cat", "latest:a"])
        .ended(0)
        .prints_just("x");
    let confused = sandbox.run(&["at", "st2", "create", "-plaintext", "-label", "x"]);
    confused.ended(64).says("-label is about a passphrase");
}

#[test]
fn settings_out_of_bounds_make_no_store() {
    let sandbox = Sandbox::new("create_bounds");
    for words in [
        ["-compression", "20"],
        ["-compression", "-8"],
        ["-kdf-memory", "18"],
        ["-kdf-memory", "9999999999"],
        ["-kdf-passes", "1"],
        ["-compression", "much"],
    ] {
        let words = [&["at", "st", "create"], words.as_slice()].concat();
        sandbox.run(&words).ended(64).says(words[3]);
        assert!(!sandbox.path("st").exists());
    }
    let words = [
        "at",
        "st",
        "create",
        "-compression",
        "-1",
        "-kdf-memory",
        "19",
        "-kdf-passes",
        "2",
    ];
    sandbox.run(&words).ended(0).prints_nothing();
    let info = sandbox.run(&["at", "st", "info"]).ended(0);
    info.prints("zstd, level -1").prints("m=19456 KiB t=2");
}

#[test]
fn a_passphrase_is_typed_twice_and_must_not_be_weak() {
    let sandbox = Sandbox::new("create_typed").without("PLAKAR_PASSPHRASE");
    let dialogue = [
        ("new passphrase: ", "12345678"),
        ("new passphrase: ", PASSPHRASE),
        ("the same again: ", PASSPHRASE),
    ];
    let created = sandbox
        .converse(&["at", "st", "create"], &dialogue)
        .ended(0);
    created.prints("the passphrase is weak");
    let asked = [
        ("passphrase for st: ", "wrong"),
        ("passphrase for st: ", PASSPHRASE),
    ];
    let listed = sandbox.converse(&["at", "st", "ls"], &asked).ended(0);
    listed.prints("wrong passphrase: try again");
}

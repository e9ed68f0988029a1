//! Printing the contents of stored files.

use std::fs::File;
use std::os::unix::fs::FileExt;

use crate::harness::{Run, Sandbox, noise, store};

#[test]
fn files_are_printed_byte_for_byte_one_after_the_other() {
    let sandbox = Sandbox::with_store("cat");
    let at = store("cat");
    sandbox.write("d/large", &noise(5 << 20));
    sandbox.write("d/small", b"\x1b[2J\0");
    sandbox.write("d/empty", b"");
    sandbox.backup(&at, "d");
    let printed = File::create(sandbox.path("out")).expect("a file can be made");
    let words = [
        "at",
        &at,
        "-json",
        "cat",
        "latest:small",
        "latest:empty",
        "latest:large",
        "latest:small",
    ];
    Run::of(sandbox.command(&words).stdout(printed))
        .ended(0)
        .says_nothing();
    let expected = [b"\x1b[2J\0".as_slice(), &noise(5 << 20), b"\x1b[2J\0"].concat();
    assert!(sandbox.read("out") == expected);
}

#[test]
fn holes_are_zeros() {
    let sandbox = Sandbox::with_store("cat_holes");
    let at = store("cat_holes");
    sandbox.mkdir("d");
    let file = File::create(sandbox.path("d/sparse")).expect("a file can be made");
    file.set_len(3 << 20).expect("a file can be long");
    file.write_all_at(b"middle", 1 << 20)
        .expect("a file can be written");
    sandbox.backup(&at, "d");
    let printed = File::create(sandbox.path("out")).expect("a file can be made");
    Run::of(
        sandbox
            .command(&["at", &at, "cat", "latest:sparse"])
            .stdout(printed),
    )
    .ended(0);
    assert!(sandbox.read("out") == sandbox.read("d/sparse"));
}

#[test]
fn a_damaged_file_gives_no_wrong_bytes() {
    let sandbox = Sandbox::with_store("cat_damaged");
    sandbox.write("d/a", &noise(100_000));
    sandbox.backup("st", "d");
    sandbox.damage_one_bit("st/packs");
    let run = sandbox.run(&["at", "st", "cat", "latest:a"]).ended(65);
    run.prints_nothing().says("does not authenticate");
}

#[test]
fn what_is_no_file_is_told_and_the_others_are_printed() {
    let sandbox = Sandbox::with_store("cat_not");
    let at = store("cat_not");
    sandbox.write("d/a", b"hello");
    sandbox.link("a", "d/l");
    sandbox.backup(&at, "d");
    sandbox
        .run(&["at", &at, "cat", "latest"])
        .ended(1)
        .says("is a directory");
    sandbox
        .run(&["at", &at, "cat", "latest:l"])
        .ended(1)
        .says("is a symbolic link to a");
    sandbox
        .run(&["at", &at, "cat", "latest:b"])
        .ended(66)
        .says("no such file");
    let several = sandbox
        .run(&["at", &at, "cat", "latest:b", "latest:a"])
        .ended(3);
    several.prints_just("hello").says("no such file");
    sandbox
        .run(&["at", &at, "cat"])
        .ended(64)
        .says("needs a SNAPSHOT:PATH");
}

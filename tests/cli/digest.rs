//! Tests digests of stored files.

use std::fs::{self, File};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::FileExt;
use std::process::Command;

use crate::harness::{Sandbox, binary, noise, store};

#[test]
fn digests_are_those_of_other_programs() {
    let sandbox = Sandbox::with_store("digest");
    let at = store("digest");
    sandbox.write("d/abc", b"abc");
    sandbox.write("d/empty", b"");
    sandbox.link("abc", "d/link");
    sandbox.backup(&at, "d");
    let d = sandbox.path("d").display().to_string();
    // From FIPS 180-4, and from the test vectors of BLAKE3.
    sandbox
        .run(&["at", &at, "digest", "latest"])
        .ended(0)
        .prints_just(&format!(
            "SHA256 ({d}/abc) = ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad\n\
         SHA256 ({d}/empty) = e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855\n"
        ));
    sandbox
        .run(&["at", &at, "digest", "-hashing", "blake3", "latest:empty"])
        .ended(0)
        .prints_just(&format!(
            "BLAKE3 ({d}/empty) = af1349b9f5f9a1a6a0404dea36dcc9499bcb25c9adc112b7cc9a93cae41f3262\n"
        ));
    let object = sandbox
        .run(&["at", &at, "-json", "digest", "latest:abc"])
        .ended(0)
        .object("digest");
    assert_eq!(object["hashing"], "SHA256");
    assert_eq!(object["size_bytes"], 3);
    assert!(
        object["digest"]
            .as_str()
            .is_some_and(|hex| hex.starts_with("ba7816bf"))
    );
    assert_eq!(object["path"], format!("{d}/abc"));
}

/// For arbitrary names and contents, `sha256sum` verifies the live files against the output.
#[test]
fn sha256sum_verifies_what_is_printed() {
    let sandbox = Sandbox::with_store("digest_verify");
    let at = store("digest_verify");
    sandbox.write("d/large", &noise(3 << 20));
    sandbox.write("d/new\nline", b"1");
    sandbox.write("d/back\\slash (x) = y", b"2");
    sandbox.write("d/tab\tand\x1bescape\r", b"3");
    let raw = std::ffi::OsStr::from_bytes(b"caf\xe9");
    fs::write(sandbox.path("d").join(raw), "4").expect("any name will do");
    fs::hard_link(sandbox.path("d/large"), sandbox.path("d/linked")).expect("links can be made");
    let sparse = File::create(sandbox.path("d/sparse")).expect("a file can be made");
    sparse.set_len(5 << 20).expect("it can be grown");
    sparse
        .write_all_at(b"in the middle", 2 << 20)
        .expect("it can be written");
    sandbox.backup(&at, "d");
    let verify = |sums: &str| {
        let mut check = Command::new("sha256sum");
        check.args(["--check", "--strict", "--quiet", sums]);
        check.current_dir(sandbox.path(".")).output()
    };
    let line = format!("'{}' at '{at}' digest latest > sums", binary());
    sandbox.run_shell(&line).ended(0).silent();
    assert_eq!(sandbox.read("sums").split(|byte| *byte == b'\n').count(), 8);
    let checked = verify("sums").expect("sha256sum can be run");
    assert!(checked.status.success(), "{checked:?}");
    sandbox.write("d/new\nline", b"changed");
    let checked = verify("sums").expect("sha256sum can be run");
    assert!(!checked.status.success(), "{checked:?}");
}

#[test]
fn a_terminal_is_not_told_what_to_do() {
    let sandbox = Sandbox::with_store("digest_terminal");
    let at = store("digest_terminal");
    sandbox.write("d/a\x1b[2J", b"1");
    sandbox.backup(&at, "d");
    let run = sandbox.run_on_terminal(&["at", &at, "digest", "latest"]);
    assert!(
        run.stdout().contains("/d/a\\u{1b}[2J) = "),
        "{}",
        run.stdout()
    );
}

#[test]
fn what_has_no_digest_is_told() {
    let sandbox = Sandbox::with_store("digest_none");
    let at = store("digest_none");
    sandbox.link("nowhere", "d");
    sandbox.write("e/x", b"x");
    sandbox.link("x", "e/link");
    sandbox.backup(&at, "e");
    let digest = |words: &[&str]| sandbox.run(&[&["at", &at, "digest"], words].concat());
    digest(&["latest:link"])
        .ended(1)
        .prints_nothing()
        .says("is a symbolic link to x");
    digest(&["latest:nowhere"]).ended(66).says("no such file");
    let run = digest(&["latest:nowhere", "latest:x"]).ended(3);
    run.says("no such file").prints("/x) = ");
    digest(&["-hashing", "MD5", "latest"])
        .ended(64)
        .says("neither SHA256 nor BLAKE3");
    digest(&[]).ended(64).says("needs a SNAPSHOT");
}

#[test]
fn a_damaged_file_has_no_line_and_hides_no_other() {
    let sandbox = Sandbox::with_store("digest_damaged");
    let at = store("digest_damaged");
    // Larger than a pack, so that a different pack remains intact.
    sandbox.write("d/a", &noise(30 << 20));
    sandbox.write("d/b", b"whole");
    sandbox.backup(&at, "d");
    sandbox.damage_one_bit("st/packs");
    let run = sandbox.run(&["at", &at, "digest", "latest"]).ended(65);
    assert_eq!(run.stdout().lines().count(), 1, "{}", run.stdout());
    run.prints("/d/b) = ").says("/d/a: ");
    sandbox.discard();
}

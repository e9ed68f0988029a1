//! Tests release archives: the same sources result in the same archive, bit for bit.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

use crate::harness::{Run, Sandbox, binary};
use crate::top;

/// The time of the last source change in these archives.
const DATE_SECONDS: &str = "1500000000";
/// The same time in the format of tar.
const DATE: &str = "2017-07-14 02:40";

/// The target of the archives.
const TARGET: &str = "x86_64-unknown-linux-musl";

/// The name of the archive and of the directory in it.
fn name() -> String {
    format!("plakar-{}-{TARGET}", env!("CARGO_PKG_VERSION"))
}

/// Packs `program` in a process with the given umask.
fn packed(out: &Path, program: &Path, umask: &str) -> Vec<u8> {
    let line = format!("umask {umask}; exec src/packaging/dist.sh {TARGET}");
    let mut command = Command::new("/bin/sh");
    command.args(["-c", &line]).current_dir(top());
    command.env("SOURCE_DATE_EPOCH", DATE_SECONDS);
    command.env("BINARY", program).env("DIST", out);
    command.env_remove("MAKEFLAGS").env_remove("MAKELEVEL");
    Run::of(&mut command).ended(0);
    fs::read(out.join(name() + ".tar.gz")).expect("there is an archive")
}

#[test]
fn an_archive_is_the_same_whenever_and_by_whomever_it_is_made() {
    let sandbox = Sandbox::new("dist");
    // A small script replaces the static binary, so that packing is fast.
    let program = sandbox.path("program");
    fs::write(&program, format!("#!/bin/sh\nexec '{}' \"$@\"\n", binary())).expect("written");
    fs::set_permissions(&program, fs::Permissions::from_mode(0o700)).expect("it can be run");
    let first = packed(&sandbox.path("first"), &program, "022");
    let second = packed(&sandbox.path("second"), &program, "077");
    assert!(
        first == second,
        "{} and {} bytes",
        first.len(),
        second.len()
    );
    check_archive(&sandbox.path("first"));
}

/// Checks the checksum file of the archive, and its contents.
fn check_archive(dir: &Path) {
    let name = name();
    let sum = ["-c", "--strict", &format!("{name}.tar.gz.sha256")].map(str::to_owned);
    Run::of(Command::new("sha256sum").args(sum).current_dir(dir)).ended(0);
    let mut list = Command::new("tar");
    list.args(["--utc", "--numeric-owner", "-tvzf"])
        .arg(format!("{name}.tar.gz"));
    let listed = Run::of(list.current_dir(dir).env("LC_ALL", "C"))
        .ended(0)
        .stdout();
    let mut names = Vec::new();
    for line in listed.lines() {
        let words: Vec<&str> = line.split_whitespace().collect();
        assert_eq!(words[1], "0/0", "{line}");
        assert!(line.contains(DATE), "{line}");
        let is_program = line.ends_with("/bin/plakar") || line.ends_with(".init");
        let mode = match line.ends_with('/') {
            true => "drwxr-xr-x",
            false if is_program => "-rwxr-xr-x",
            false => "-rw-r--r--",
        };
        assert_eq!(words[0], mode, "{line}");
        names.push(words[words.len() - 1].to_owned());
    }
    assert!(names.is_sorted(), "{names:?}");
    for wanted in [
        "bin/plakar",
        "share/man/man1/plakar.1",
        "share/doc/plakar/LICENSE",
    ] {
        assert!(names.contains(&format!("{name}/{wanted}")), "{names:?}");
    }
    assert!(
        names.iter().all(|found| found.starts_with(&name)),
        "{names:?}"
    );
}

//! Prerequisites of tests: root privileges, programs, and what the file system can do.
//!
//! A test without a prerequisite calls [`skip`] and returns. The skip is reported on standard error
//! with its cause. If `PLAKAR_TEST_SKIP=deny` is set, as in `.ci/run`, a skip fails the test. If a
//! program is missing, the report names its Debian package, which `.ci/setup` installs.

// Every test program includes this file and uses a part of it.
#![allow(dead_code)]

use std::fmt::Display;
use std::io::Write;
use std::panic::Location;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The programs that tests call, with their Debian packages. Essential packages are omitted.
pub(crate) const PACKAGES: &[(&str, &str)] = &[
    ("chattr", "e2fsprogs"),
    ("curl", "curl"),
    ("fish", "fish"),
    ("git", "git"),
    ("make", "make"),
    ("mandoc", "mandoc"),
    ("mount", "mount"),
    ("openssl", "openssl"),
    ("patch", "patch"),
    ("prlimit", "util-linux"),
    ("python3", "python3"),
    ("script", "bsdutils"),
    ("setcap", "libcap2-bin"),
    ("setfacl", "acl"),
    ("setfattr", "attr"),
    ("setpriv", "util-linux"),
    ("ssh-add", "openssh-client"),
    ("ssh-agent", "openssh-client"),
    ("ssh-keygen", "openssh-client"),
    ("sshd", "openssh-server"),
    ("systemd-analyze", "systemd"),
    ("unzip", "unzip"),
    ("zsh", "zsh"),
];

/// Reports on standard error that the running test is skipped, and the `cause`.
///
/// # Panics
/// If `PLAKAR_TEST_SKIP` is `deny`.
#[track_caller]
pub(crate) fn skip(cause: impl Display) {
    let place = Location::caller();
    let test = std::thread::current();
    let test = test.name().unwrap_or("a test");
    let report = format!("skipped: {test} ({place}): {cause}");
    let denied = std::env::var_os("PLAKAR_TEST_SKIP").is_some_and(|value| value == "deny");
    assert!(!denied, "{report}");
    // The print macros are captured in tests that pass.
    let _ = writeln!(std::io::stderr(), "{report}");
}

/// Whether this process runs as root. If not, the test is skipped.
#[track_caller]
pub(crate) fn has_root() -> bool {
    let is_root = rustix::process::geteuid().is_root();
    if !is_root {
        skip("only root can run it; .ci/run as root runs every test");
    }
    is_root
}

/// Whether `program` is installed. If not, the test is skipped.
#[track_caller]
pub(crate) fn has_program(program: &str) -> bool {
    let is_there = find(program).is_some();
    if !is_there {
        skip(missing(program));
    }
    is_there
}

/// A command that runs `program`.
///
/// # Panics
/// If it is not installed.
#[track_caller]
pub(crate) fn program(program: &str) -> Command {
    match find(program) {
        Some(path) => Command::new(path),
        None => panic!("{}", missing(program)),
    }
}

/// Whether a memory file system with `options` could be mounted at `path`. If not, the test is
/// skipped.
#[track_caller]
pub(crate) fn has_mounted(path: &Path, options: &str) -> bool {
    let mut mount = Command::new("mount");
    mount
        .args(["-t", "tmpfs", "-o", options, "tmpfs"])
        .arg(path);
    let cause = match mount.output() {
        Ok(output) if output.status.success() => return true,
        Ok(output) => String::from_utf8_lossy(&output.stderr).trim().to_owned(),
        Err(_) => missing("mount"),
    };
    skip(format!("no file system can be mounted: {cause}"));
    false
}

/// The cause to report if `program` is not installed.
pub(crate) fn missing(program: &str) -> String {
    let package = PACKAGES.iter().find(|(name, _)| *name == program);
    let remedy = package.map_or_else(
        || ".ci/setup installs the programs that tests need".to_owned(),
        |(_, package)| format!("it is in the Debian package {package}, which .ci/setup installs"),
    );
    format!("{program} is not installed: {remedy}")
}

/// The path of `program`: in `PATH`, or in a directory for system administration programs.
fn find(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let mut places: Vec<PathBuf> = std::env::split_paths(&path).collect();
    places.extend(["/usr/sbin", "/sbin"].map(PathBuf::from));
    let candidates = places.iter().map(|place| place.join(Path::new(program)));
    candidates.into_iter().find(|path| path.is_file())
}

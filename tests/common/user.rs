//! An ordinary user for tests that run as root: user 65534, which Debian calls `nobody`.
//!
//! The user cannot enter the home directory of root, where the work tree may be. A test gives the
//! user a [`directory`] below `/tmp` and [`copy`]s the program there.

use std::fs::{self, Permissions};
use std::os::unix::fs::{PermissionsExt, lchown};
use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;

use super::prerequisite::program;

/// The user and the group.
pub(crate) const USER: u32 = 65534;

/// A directory that belongs to the user, and that the user can reach.
pub(crate) fn directory() -> TempDir {
    let directory = TempDir::new_in("/tmp").expect("a directory can be made below /tmp");
    lchown(directory.path(), Some(USER), Some(USER)).expect("root may give away");
    let mode = Permissions::from_mode(0o755);
    fs::set_permissions(directory.path(), mode).expect("root may change modes");
    directory
}

/// Copies `executable` to `directory` and returns the path of the copy, which the user can run.
///
/// `cp` copies it: a process that another test starts while this one writes would inherit the open
/// file, and a program that is open for writing cannot be run.
pub(crate) fn copy(executable: &Path, directory: &Path) -> PathBuf {
    let copy = directory.join("program");
    let copied = Command::new("cp").arg(executable).arg(&copy).status();
    assert!(copied.is_ok_and(|status| status.success()), "cp");
    fs::set_permissions(&copy, Permissions::from_mode(0o755)).expect("root may change modes");
    copy
}

/// A command that runs `executable` as the user.
pub(crate) fn command(executable: &Path) -> Command {
    let mut command = program("setpriv");
    let ids = [
        format!("--reuid={USER}"),
        format!("--regid={USER}"),
        "--clear-groups".to_owned(),
    ];
    command.args(ids).arg("--").arg(executable);
    command
}

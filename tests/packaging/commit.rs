//! Tests how the build determines the current commit without git.

use std::fs;
use std::path::{Path, PathBuf};

use crate::common::prerequisite::program;
use crate::harness::{Run, Sandbox};

#[path = "../../src/packaging/commit.rs"]
#[allow(dead_code)]
mod commit_of_build;

use commit_of_build::Checkout;

/// Runs git in `dir` without user configuration, and returns its output.
fn git(dir: &Path, words: &[&str]) -> String {
    let mut command = program("git");
    command.args(["-c", "user.name=x", "-c", "user.email=x@example"]);
    command.args(words).current_dir(dir);
    command
        .env("GIT_CONFIG_GLOBAL", "/dev/null")
        .env_remove("GIT_DIR");
    let run = Run::of(&mut command).ended(0);
    run.stdout().trim().to_owned()
}

/// A repository with one commit.
fn repository(sandbox: &Sandbox) -> PathBuf {
    let dir = sandbox.path("repository");
    fs::create_dir(&dir).expect("a directory can be made");
    git(&dir, &["init", "-q", "-b", "main"]);
    commit(&dir);
    dir
}

fn commit(dir: &Path) -> String {
    git(dir, &["commit", "-q", "--allow-empty", "-m", "something"]);
    git(dir, &["rev-parse", "HEAD"])
}

/// Asserts that the commit of `dir` is found, and that the files that determine it are listed.
#[track_caller]
fn check(dir: &Path) {
    let found = Checkout::at(dir);
    assert_eq!(found.commit, Some(git(dir, &["rev-parse", "HEAD"])));
    assert!(!found.files.is_empty());
    assert!(found.files.iter().all(|file| file.is_file()), "{found:?}");
}

#[test]
fn it_is_found_on_a_branch_packed_detached_and_in_a_further_work_tree() {
    let sandbox = Sandbox::new("commit");
    let dir = repository(&sandbox);
    check(&dir);
    git(&dir, &["pack-refs", "--all"]);
    assert!(!dir.join(".git/refs/heads/main").exists());
    check(&dir);
    let older = git(&dir, &["rev-parse", "HEAD"]);
    commit(&dir);
    check(&dir);
    git(&dir, &["worktree", "add", "-q", "-b", "side", "../further"]);
    let further = sandbox.path("further");
    commit(&further);
    check(&further);
    git(&dir, &["checkout", "-q", &older]);
    check(&dir);
}

#[test]
fn a_commit_changes_one_of_the_files_that_tell_of_it() {
    let sandbox = Sandbox::new("commit_watched");
    let dir = repository(&sandbox);
    for pack in [false, true] {
        if pack {
            git(&dir, &["pack-refs", "--all"]);
        }
        let watched = Checkout::at(&dir).files;
        let read = || -> Vec<Vec<u8>> {
            watched
                .iter()
                .map(|file| fs::read(file).unwrap_or_default())
                .collect()
        };
        let before = read();
        commit(&dir);
        assert_ne!(before, read(), "packed: {pack}");
    }
}

#[test]
fn there_is_none_where_the_history_is_not() {
    let sandbox = Sandbox::new("commit_none");
    assert_eq!(Checkout::at(&sandbox.path("home")).commit, None);
    for (file, text) in [
        ("a/.git", "gitdir: /nowhere/at/all\n"),
        ("b/.git/HEAD", "ref: refs/heads/unborn\n"),
        ("c/.git/HEAD", "ref: HEAD\n"),
        ("d/.git/HEAD", "0123\n"),
        ("e/.git", "what?\n"),
    ] {
        sandbox.write(file, text.as_bytes());
        let dir = sandbox.path(&file[..1]);
        assert_eq!(Checkout::at(&dir).commit, None, "{file}");
    }
}

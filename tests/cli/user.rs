//! Tests what a user other than root can and cannot do.

use std::fs;
use std::os::unix::fs::{MetadataExt, lchown};
use std::path::{Path, PathBuf};

use crate::common::prerequisite::{has_root, program};
use crate::common::user::{self, USER};
use crate::harness::{Run, Sandbox, binary, noise};
use crate::prepared::set_mode;

/// The number of files whose owner an ordinary user cannot restore: too many to print a warning for
/// each.
const STRANGERS: usize = 300;

/// A sandbox that belongs to the ordinary user, and a copy of the binary in it.
struct Account {
    sandbox: Sandbox,
    binary: PathBuf,
}

impl std::ops::Deref for Account {
    type Target = Sandbox;

    fn deref(&self) -> &Sandbox {
        &self.sandbox
    }
}

/// Runs the binary as the ordinary user.
fn run_as_nobody(account: &Account, words: &[&str]) -> Run {
    let plain = account.command(words);
    let mut command = user::command(&account.binary);
    command.args(plain.get_args()).env_clear();
    for (name, value) in plain.get_envs() {
        command.env(name, value.unwrap_or_default());
    }
    command.env("PATH", "/usr/bin:/bin");
    if let Some(dir) = plain.get_current_dir() {
        command.current_dir(dir);
    }
    Run::of(&mut command)
}

/// An account with a store and a directory `d`. `None` if this user is not root.
#[track_caller]
fn account() -> Option<Account> {
    if !has_root() {
        return None;
    }
    let directory = user::directory();
    let binary = user::copy(Path::new(binary()), directory.path());
    let sandbox = Sandbox::within(directory);
    sandbox.mkdir("d");
    for path in ["home", "d"] {
        give_away(&sandbox.path(path));
    }
    let account = Account { sandbox, binary };
    run_as_nobody(&account, &["at", "st", "create"]).ended(0);
    Some(account)
}

fn give_away(path: &Path) {
    lchown(path, Some(USER), Some(USER)).expect("root may give away");
}

#[test]
fn what_cannot_be_read_is_told_and_the_rest_is_backed_up() {
    let Some(sandbox) = account() else {
        return;
    };
    sandbox.write("d/fine", b"fine");
    sandbox.write("d/secret", b"not for everybody");
    set_mode(&sandbox.path("d/secret"), 0o000);
    sandbox.write("d/closed/inside", b"nor this");
    set_mode(&sandbox.path("d/closed"), 0o700);
    let run = run_as_nobody(&sandbox, &["at", "st", "backup", "d"]).ended(3);
    run.says("d/secret: open: permission denied\n")
        .says("d/closed: list: open: permission denied\n")
        .prints("2 errors");
    run_as_nobody(&sandbox, &["at", "st", "info", "-errors"])
        .ended(0)
        .prints("d/secret: open: permission denied\n")
        .prints("d/closed: list: open: permission denied\n");
    let listed = run_as_nobody(&sandbox, &["at", "st", "ls", "-json", "latest"]).ended(0);
    let problems = listed.objects();
    let problem = problems.iter().find(|entry| {
        entry["path"]
            .as_str()
            .is_some_and(|path| path.ends_with("secret"))
    });
    assert_eq!(
        problem.expect("it is listed")["problem"],
        "open: permission denied"
    );
    run_as_nobody(&sandbox, &["at", "st", "check"]).ended(0);
    let run = run_as_nobody(&sandbox, &["at", "st", "restore", "-to", "out"]).ended(3);
    run.says("secret: could not be backed up at the time: open: permission denied");
    assert_eq!(sandbox.read("out/fine"), b"fine");
    assert!(
        !sandbox.path("out/secret").exists(),
        "no empty file in its place"
    );
    // Once the files are readable, they are backed up.
    set_mode(&sandbox.path("d/secret"), 0o644);
    set_mode(&sandbox.path("d/closed"), 0o755);
    run_as_nobody(&sandbox, &["at", "st", "backup", "d"]).ended(0);
    run_as_nobody(&sandbox, &["at", "st", "cat", "latest:closed/inside"])
        .ended(0)
        .prints_just("nor this");
}

#[test]
fn what_only_root_may_restore_is_one_warning() {
    let Some(sandbox) = account() else {
        return;
    };
    for number in 0..STRANGERS {
        sandbox.write(&format!("d/{number}"), b"x");
        let path = sandbox.path(&format!("d/{number}"));
        lchown(&path, Some(1000), Some(1000)).expect("root may give away");
        set_mode(&path, 0o6755);
    }
    sandbox.write("d/mine", b"mine");
    give_away(&sandbox.path("d/mine"));
    let value = rustix::fs::XattrFlags::empty();
    rustix::fs::lsetxattr(sandbox.path("d/mine"), "trusted.x", b"y", value).expect("root may");
    run_as_root_for_nobody(&sandbox);
    let run = run_as_nobody(&sandbox, &["at", "st", "restore", "-to", "out"]).ended(0);
    let said = run.stderr();
    assert_eq!(said.lines().count(), 1, "{said}");
    run.says("plakar: warning: 300 owners, ")
        .says("300 modes")
        .says("could not be restored: not running as root")
        .prints("301 files");
    let stranger = fs::metadata(sandbox.path("out/7")).expect("it is there");
    assert_eq!(stranger.uid(), USER);
    // The setuid bit is not restored for a file with a different owner.
    assert_eq!(stranger.mode() & 0o7777, 0o755);
    let words = ["at", "st", "restore", "-skip-permissions", "-to", "plain"];
    run_as_nobody(&sandbox, &words).ended(0).says_nothing();
}

/// A backup by root to the store of an ordinary user, who must still be able to read it afterwards.
fn run_as_root_for_nobody(sandbox: &Account) {
    sandbox.run(&["at", "st", "backup", "d"]).ended(0);
    give_tree(&sandbox.path("home"), "65534:65534");
}

/// Gives away everything at and below `path`.
fn give_tree(path: &Path, owner: &str) {
    let mut command = program("chown");
    Run::of(command.args(["-R", owner]).arg(path)).ended(0);
}

/// Everything at and below `path` whose owner or group is not the ordinary user.
fn foreign(path: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let there = fs::symlink_metadata(path).expect("it is there");
    if (there.uid(), there.gid()) != (USER, USER) {
        found.push(path.to_owned());
    }
    if there.is_dir() {
        for entry in fs::read_dir(path).expect("root may list") {
            found.extend(foreign(&entry.expect("root may list").path()));
        }
    }
    found
}

#[test]
fn objects_of_root_belong_to_the_owner_of_the_store() {
    let Some(sandbox) = account() else {
        return;
    };
    let bytes = noise(3 << 16);
    for (number, part) in bytes.chunks(1 << 16).enumerate() {
        sandbox.write(&format!("d/{number}"), part);
        sandbox
            .run(&["at", "st", "backup", "d"])
            .ended(0)
            .says_nothing();
    }
    sandbox
        .run(&["at", "st", "tag", "add", "x", "latest"])
        .ended(0);
    sandbox
        .run(&["at", "st", "rm", "-apply", "latest"])
        .ended(0);
    let words = ["at", "st", "maintenance", "-grace", "0s"];
    sandbox.run(&words).ended(0);
    assert_eq!(foreign(&sandbox.path("st")), Vec::<PathBuf>::new());

    give_tree(&sandbox.path("home"), "65534:65534");
    run_as_nobody(&sandbox, &["at", "st", "check"])
        .ended(0)
        .says_nothing();
    run_as_nobody(&sandbox, &["at", "st", "ls", "latest"])
        .ended(0)
        .prints("1");
}

#[test]
fn a_store_that_root_creates_in_a_directory_of_a_user_belongs_to_the_user() {
    let Some(sandbox) = account() else {
        return;
    };
    sandbox.mkdir("new");
    give_away(&sandbox.path("new"));
    sandbox.write("d/a", b"a");
    sandbox.run(&["at", "new", "create"]).ended(0);
    let run = sandbox.run(&["at", "new", "backup", "d"]).ended(0);
    run.says_nothing();
    assert_eq!(foreign(&sandbox.path("new")), Vec::<PathBuf>::new());
}

#[test]
fn root_that_cannot_change_owners_is_warned_once() {
    let Some(sandbox) = account() else {
        return;
    };
    sandbox.write("d/a", b"a");
    let plain = sandbox.command(&["at", "st", "backup", "d"]);
    let mut command = program("setpriv");
    command
        .args(["--bounding-set=-chown", "--inh-caps=-chown", "--"])
        .arg(plain.get_program())
        .args(plain.get_args())
        .current_dir(sandbox.path("."));
    for (name, value) in plain.get_envs() {
        command.env(name, value.unwrap_or_default());
    }
    let run = Run::of(&mut command).ended(0);
    assert_eq!(
        run.stderr(),
        "plakar: warning: st: change the owner of new files to uid 65534: operation not permitted; \
         the owner of the store cannot read what root stores; to avoid this, run the command as \
         that user\n"
    );
}

#[test]
fn a_directory_of_root_in_the_store_of_a_user_is_reported_and_kept() {
    let Some(sandbox) = account() else {
        return;
    };
    give_tree(&sandbox.path("st/packs"), "0:0");
    sandbox.write("d/a", b"a");
    let run = sandbox.run(&["at", "st", "backup", "d"]).ended(0);
    assert_eq!(
        run.stderr(),
        "plakar: warning: st: packs belongs to uid 0; the owner of the store, uid 65534, cannot \
         read what root stores there; to change the owner: chown -R 65534:65534 st\n"
    );
    assert_eq!(foreign(&sandbox.path("st")), [sandbox.path("st/packs")]);
}

#[test]
fn devices_are_roots_and_told_one_by_one() {
    let Some(sandbox) = account() else {
        return;
    };
    let node = |name: &str, kind, device| {
        let mode = rustix::fs::Mode::from_raw_mode(0o644);
        let path = sandbox.path("d").join(name);
        rustix::fs::mknodat(rustix::fs::CWD, &path, kind, mode, device).expect("root may");
        give_away(&path);
    };
    node(
        "null",
        rustix::fs::FileType::CharacterDevice,
        rustix::fs::makedev(1, 3),
    );
    node("fifo", rustix::fs::FileType::Fifo, 0);
    sandbox.write("d/fine", b"fine");
    give_away(&sandbox.path("d/fine"));
    run_as_nobody(&sandbox, &["at", "st", "backup", "d"]).ended(0);
    let run = run_as_nobody(&sandbox, &["at", "st", "restore", "-to", "out"]).ended(3);
    run.says("null: only root may make device nodes")
        .prints("1 error");
    assert_eq!(sandbox.read("out/fine"), b"fine");
    assert!(!sandbox.path("out/null").exists());
}

#[test]
fn closed_directories_of_ones_own_come_back_and_are_filled() {
    let Some(sandbox) = account() else {
        return;
    };
    for (name, mode) in [("read-only", 0o555), ("closed", 0o000), ("blind", 0o300)] {
        let path = sandbox.path("d").join(name);
        sandbox.write(&format!("d/{name}/in"), name.as_bytes());
        give_away(&path.join("in"));
        give_away(&path);
        set_mode(&path, mode);
    }
    run_as_root_for_nobody(&sandbox);
    for _ in 0..2 {
        run_as_nobody(&sandbox, &["at", "st", "restore", "-to", "out"])
            .ended(0)
            .says_nothing();
        for (name, mode) in [("read-only", 0o555), ("closed", 0o000), ("blind", 0o300)] {
            let path = sandbox.path("out").join(name);
            let there = fs::metadata(&path).expect("it is there");
            assert_eq!(there.mode() & 0o7777, mode, "{name}");
            assert_eq!(sandbox.read(&format!("out/{name}/in")), name.as_bytes());
        }
    }
}

#[test]
fn a_store_or_target_that_is_closed_to_us_is_told() {
    let Some(sandbox) = account() else {
        return;
    };
    sandbox.write("d/a", b"a");
    run_as_nobody(&sandbox, &["at", "st", "backup", "d"]).ended(0);
    sandbox.mkdir("roots");
    set_mode(&sandbox.path("roots"), 0o755);
    let words = ["at", "st", "restore", "-to", "roots/out"];
    let run = run_as_nobody(&sandbox, &words).ended(77);
    run.says("roots/out").says("permission denied");
    run_as_nobody(&sandbox, &["at", "roots/st", "create"])
        .ended(77)
        .says("roots/st: permission denied");
    set_mode(&sandbox.path("st/packs"), 0o500);
    sandbox.write("d/b", b"b");
    give_tree(&sandbox.path("st"), "0:0");
    let run = run_as_nobody(&sandbox, &["at", "st", "backup", "d"]).ended(77);
    run.says("st").says("permission denied");
}

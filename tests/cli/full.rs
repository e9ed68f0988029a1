//! Tests full disks: with the store, the cache or the target of a restore on them.

use crate::harness::{Run, Sandbox, noise};
use crate::mounted::Mounted;
use crate::process::weight;

const MIB: u64 = 1 << 20;

/// Asserts that the command ended with one line that reports a full disk and its location.
#[track_caller]
fn ended_for_lack_of_space(run: Run, place: &str) {
    let run = run
        .ended(1)
        .prints_nothing()
        .says("no space left on device")
        .says(place);
    let said = run.stderr();
    assert!(
        said.starts_with("plakar: ") && said.lines().count() == 1,
        "{said}"
    );
}

#[test]
fn a_full_store_takes_no_snapshot_and_loses_none() {
    let sandbox = Sandbox::new("full_store");
    let Some(_disk) = Mounted::tmpfs(&sandbox, "disk", 12 * MIB) else {
        return;
    };
    sandbox.run(&["at", "disk/st", "create"]).ended(0);
    sandbox.write("d/a", &noise(2 << 20));
    let old = sandbox.backup("disk/st", "d");
    sandbox.write("d/b", &noise(20 << 20));
    for _ in 0..2 {
        let run = sandbox.run(&["at", "disk/st", "backup", "d"]);
        ended_for_lack_of_space(run, "disk/st");
        assert_eq!(weight(&sandbox.path("disk/st/tmp")), 0);
    }
    let listed = sandbox.run(&["at", "disk/st", "ls"]).ended(0).stdout();
    assert_eq!(listed.lines().count(), 1, "{listed}");
    sandbox.run(&["at", "disk/st", "check"]).ended(0);
    sandbox
        .run(&["at", "disk/st", "restore", "-to", "out", &old])
        .ended(0);
    assert!(sandbox.read("out/a") == noise(2 << 20));
    sandbox.write("d/b", b"small enough");
    sandbox.run(&["at", "disk/st", "backup", "d"]).ended(0);
    sandbox.run(&["at", "disk/st", "check"]).ended(0);
}

#[test]
fn a_disk_without_a_free_byte_is_told_and_works_again_with_some() {
    let sandbox = Sandbox::new("full_to_the_brim");
    let Some(disk) = Mounted::tmpfs(&sandbox, "disk", 4 * MIB) else {
        return;
    };
    sandbox.run(&["at", "disk/st", "create"]).ended(0);
    sandbox.write("d/a", b"hello");
    let old = sandbox.backup("disk/st", "d");
    disk_is_filled(&sandbox, &disk);
    sandbox.write("d/b", &noise(100_000));
    let run = sandbox.run(&["at", "disk/st", "backup", "d"]);
    ended_for_lack_of_space(run, "disk/st");
    for words in [["ls", "-uuid"].as_slice(), &["cat", "latest:a"], &["check"]] {
        let words = [&["at", "disk/st"], words].concat();
        sandbox.run(&words).ended(0).says_nothing();
    }
    // Removing snapshots must not require space.
    sandbox
        .run(&["at", "disk/st", "rm", "-apply", &old])
        .ended(0);
    disk.empty();
    sandbox.backup("disk/st", "d");
    sandbox.run(&["at", "disk/st", "check"]).ended(0);
}

/// Fills the disk, and asserts that the store is on it.
fn disk_is_filled(sandbox: &Sandbox, disk: &Mounted) {
    disk.fill();
    assert!(weight(&sandbox.path("disk/st")) > 0);
}

/// A store on a full disk with 8 MiB of unreferenced packs, and the id of the remaining snapshot.
fn full_of_dead_packs(name: &str) -> Option<(Sandbox, Mounted, String)> {
    let sandbox = Sandbox::new(name);
    let disk = Mounted::tmpfs(&sandbox, "disk", 16 * MIB)?;
    let home = sandbox.path("disk/home").display().to_string();
    let sandbox = sandbox
        .with("XDG_CACHE_HOME", &format!("{home}/cache"))
        .with("XDG_DATA_HOME", &format!("{home}/data"));
    sandbox.run(&["at", "disk/st", "create"]).ended(0);
    sandbox.write("d/a", &noise(8 << 20));
    let doomed = sandbox.backup("disk/st", "d");
    sandbox.write("d/a", b"small");
    let kept = sandbox.backup("disk/st", "d");
    let words = ["at", "disk/st", "rm", "-apply", &doomed];
    sandbox.run(&words).ended(0);
    Some((sandbox, disk, kept))
}

/// Asserts that exactly the unreferenced packs were deleted.
fn is_freed(sandbox: &Sandbox, kept: &str) {
    let left = weight(&sandbox.path("disk/st"));
    assert!(left < MIB, "{left} bytes are left");
    let check = sandbox.run(&["at", "disk/st", "check"]).ended(0);
    check.prints("check: intact: ");
    sandbox
        .run(&["at", "disk/st", "cat", &format!("{kept}:a")])
        .ended(0)
        .prints_just("small");
}

#[test]
fn dead_packs_on_a_full_disk_are_freed_without_writing_first() {
    let Some((sandbox, disk, kept)) = full_of_dead_packs("full_exclusive") else {
        return;
    };
    disk.fill();
    let before = weight(&sandbox.path("disk/st"));
    sandbox
        .run(&["at", "disk/st", "maintenance", "-grace", "0s"])
        .ended(1)
        .says("no space left on device")
        .says("maintenance -exclusive");
    assert_eq!(weight(&sandbox.path("disk/st")), before);
    sandbox
        .run(&["at", "disk/st", "maintenance", "-exclusive", "-grace", "1d"])
        .ended(64);
    let run = sandbox.run(&["at", "disk/st", "maintenance", "-exclusive"]);
    run.ended(0).prints(" freed");
    is_freed(&sandbox, &kept);
    disk.empty();
    let check = sandbox.run(&["at", "disk/st", "check"]);
    check.ended(0).says_nothing();
}

#[test]
fn condemned_packs_on_a_full_disk_are_freed_without_writing_first() {
    let Some((sandbox, disk, kept)) = full_of_dead_packs("full_condemned") else {
        return;
    };
    sandbox.make_older("disk/st", 8);
    let run = sandbox.run(&["at", "disk/st", "maintenance"]).ended(0);
    run.prints("0 B freed").prints(" wait until ");
    disk.fill();
    let words = ["at", "disk/st", "maintenance", "-grace", "0s"];
    sandbox.run(&words).ended(0).prints(" freed");
    is_freed(&sandbox, &kept);
}

#[test]
fn a_full_disk_with_all_temporary_directories_on_it_is_freed() {
    let Some((sandbox, disk, kept)) = full_of_dead_packs("full_temporary") else {
        return;
    };
    if sandbox.path("").starts_with("/tmp") || sandbox.path("").starts_with("/var/tmp") {
        return;
    }
    sandbox.mkdir("disk/tmp");
    disk.fill();
    let mut command = sandbox.command::<&str>(&[]);
    let plakar = command.get_program().to_owned();
    let script = r#"mount --bind "$1" /tmp && mount --bind "$1" /var/tmp && shift && exec "$@""#;
    let environment: Vec<_> = command
        .get_envs()
        .filter_map(|(name, value)| Some((name.to_owned(), value?.to_owned())))
        .collect();
    command = std::process::Command::new("unshare");
    command.args(["--mount", "sh", "-c", script, "sh"]);
    command.arg(sandbox.path("disk/tmp")).arg(plakar);
    command.args(["at", "disk/st", "maintenance", "-exclusive"]);
    command.current_dir(sandbox.path("")).env_clear();
    command
        .envs(environment)
        .env("PATH", "/usr/bin:/bin:/usr/sbin:/sbin");
    Run::of(&mut command).ended(0).prints(" freed");
    is_freed(&sandbox, &kept);
}

#[test]
fn a_full_cache_only_makes_backups_slower() {
    let sandbox = Sandbox::with_store("full_cache");
    let Some(disk) = Mounted::tmpfs(&sandbox, "cache", MIB) else {
        return;
    };
    disk.fill();
    sandbox.write("d/a", &noise(3 << 20));
    let words = ["at", "st", "-cachedir", "cache", "backup", "d"];
    sandbox
        .run(&words)
        .ended(0)
        .says("plakar: warning: ")
        .says("index cache: its directory is full")
        .prints("1 file (1 new");
    sandbox
        .run(&words)
        .ended(0)
        .prints("1 unchanged")
        .prints("stored ");
    let check = ["at", "st", "-cachedir", "cache", "check"];
    sandbox.run(&check).ended(0).prints("check: intact: ");
    disk.empty();
    sandbox.run(&words).ended(0).says_nothing();
}

#[test]
fn a_full_target_stops_a_restore() {
    let sandbox = Sandbox::with_store("full_target");
    sandbox.write("d/a", b"hello");
    for number in 0..8 {
        sandbox.write(&format!("d/b{number}"), &noise(1 << 20));
    }
    sandbox.write("d/large", &noise(20 << 20));
    sandbox.backup("st", "d");
    let Some(_disk) = Mounted::tmpfs(&sandbox, "disk", 4 * MIB) else {
        return;
    };
    for path in ["latest", "latest:large"] {
        let run = sandbox.run(&["at", "st", "restore", "-to", "disk/out", path]);
        ended_for_lack_of_space(run, "disk/out");
    }
    let is_left_over = |name: &std::ffi::OsStr| name.as_encoded_bytes().starts_with(b".plakar-");
    let there = std::fs::read_dir(sandbox.path("disk/out")).expect("it can be listed");
    for entry in there.flatten() {
        assert!(!is_left_over(&entry.file_name()), "{entry:?} is left over");
    }
}

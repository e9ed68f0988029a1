//! Tests which files a backup visits and which it skips.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::harness::{Sandbox, store};
use crate::mounted::Mounted;

/// The paths of all non-directories in the latest snapshot, from its root.
fn listed(sandbox: &Sandbox, at: &str) -> BTreeSet<String> {
    let words = ["at", at, "ls", "-json", "-recursive", "latest:/"];
    let entries = sandbox.run(&words).ended(0).objects();
    let files = entries
        .iter()
        .filter(|entry| entry["type"] == "entry" && entry["kind"] != "directory");
    let path = |entry: &serde_json::Value| entry["path"].as_str().unwrap_or_default().to_owned();
    files.map(path).collect()
}

/// The same paths, relative to `dir`.
fn below(sandbox: &Sandbox, at: &str, dir: &str) -> BTreeSet<String> {
    let prefix = format!("{}/", sandbox.path(dir).display());
    let paths = listed(sandbox, at);
    let strip = |path: &String| path.strip_prefix(&prefix).map(str::to_owned);
    paths.iter().filter_map(strip).collect()
}

#[track_caller]
fn names(found: &BTreeSet<String>, expected: &[&str]) {
    let expected = expected.iter().map(|name| (*name).to_owned()).collect();
    assert_eq!(*found, expected);
}

#[test]
fn other_file_systems_are_left_out_on_request() {
    let sandbox = Sandbox::with_store("walk_mounts");
    let at = store("walk_mounts");
    sandbox.write("d/here", b"here");
    let Some(_disk) = Mounted::tmpfs(&sandbox, "d/mounted", 1 << 20) else {
        return;
    };
    sandbox.write("d/mounted/there", b"there");
    sandbox.backup(&at, "d");
    names(&below(&sandbox, &at, "d"), &["here", "mounted/there"]);
    for option in ["one_file_system=true", "dont_traverse_fs=true"] {
        let words = ["at", &at, "backup", "-o", option, "d"];
        sandbox.run(&words).ended(0).says_nothing();
        names(&below(&sandbox, &at, "d"), &["here"]);
        let entries = sandbox.run(&["at", &at, "ls", "latest:"]).ended(0);
        entries.prints(" mounted\n");
    }
    // A place that is itself a mount point is backed up, because it was named explicitly.
    let words = [
        "at",
        &at,
        "backup",
        "-o",
        "one_file_system",
        "d",
        "d/mounted",
    ];
    sandbox.run(&words).ended(0).says_nothing();
    let words = ["at", &at, "backup", "-o", "one_file_system", "d/mounted"];
    sandbox.run(&words).ended(0).says_nothing();
    names(&below(&sandbox, &at, "d"), &["mounted/there"]);
}

#[test]
fn only_caches_with_the_right_signature_are_left_out() {
    let sandbox = Sandbox::with_store("walk_caches");
    let at = store("walk_caches");
    let signature = b"Signature: 8a477f597d28d172789f06886806bc55\n# more";
    sandbox.write("d/cache/CACHEDIR.TAG", signature);
    sandbox.write("d/cache/sub/x", b"x");
    sandbox.write("d/liar/CACHEDIR.TAG", b"Signature: none of these");
    sandbox.write("d/liar/x", b"x");
    sandbox.mkdir("d/linked");
    sandbox.link("../cache/CACHEDIR.TAG", "d/linked/CACHEDIR.TAG");
    sandbox.write("d/linked/x", b"x");
    sandbox.backup(&at, "d");
    assert!(below(&sandbox, &at, "d").contains("cache/sub/x"));
    let words = ["at", &at, "backup", "-o", "exclude_caches=true", "d"];
    sandbox.run(&words).ended(0).says_nothing();
    let kept = [
        "cache/CACHEDIR.TAG",
        "liar/CACHEDIR.TAG",
        "liar/x",
        "linked/CACHEDIR.TAG",
        "linked/x",
    ];
    names(&below(&sandbox, &at, "d"), &kept);
}

#[test]
fn the_store_and_the_cache_are_left_out_wherever_they_are() {
    let sandbox = Sandbox::new("walk_itself");
    sandbox.write("d/a", b"a");
    sandbox.write("d/sub/b", b"b");
    sandbox.link("sub", "d/link");
    let words = ["at", "d/link/st", "-cachedir", "d/link/cache"];
    sandbox.run(&[&words[..], &["create"]].concat()).ended(0);
    for _ in 0..2 {
        sandbox
            .run(&[&words[..], &["backup", "d"]].concat())
            .ended(0)
            .says_nothing();
        names(&below(&sandbox, "d/sub/st", "d"), &["a", "link", "sub/b"]);
    }
}

#[test]
fn several_places_have_their_common_parent_as_root() {
    let sandbox = Sandbox::with_store("walk_places");
    let at = store("walk_places");
    sandbox.write("d/one/two/a", b"a");
    sandbox.write("d/one/three/b", b"b");
    sandbox.write("d/one/four/not-asked-for", b"c");
    sandbox.write("d/one/file", b"file");
    let words = [
        "at",
        &at,
        "backup",
        "d/one/two",
        "d/one/three/",
        "./d/one/file",
    ];
    sandbox.run(&words).ended(0).says_nothing();
    names(
        &below(&sandbox, &at, "d"),
        &["one/file", "one/three/b", "one/two/a"],
    );
    let cat = |path: &str| sandbox.run(&["at", &at, "cat", &format!("latest:{path}")]);
    cat("two/a").ended(0).prints_just("a");
    cat("three/b").ended(0).prints_just("b");
    cat("file").ended(0).prints_just("file");
    cat(&sandbox.path("d/one/file").display().to_string())
        .ended(0)
        .prints_just("file");
    cat("one/two/a").ended(66);
    sandbox.run(&["at", &at, "restore", "-to", "out"]).ended(0);
    assert_eq!(sandbox.read("out/two/a"), b"a");
    assert_eq!(sandbox.read("out/three/b"), b"b");
    assert_eq!(sandbox.read("out/file"), b"file");
    // Nested and repeated places are backed up once.
    let words = [
        "at",
        &at,
        "backup",
        "d/one/two",
        "d/one",
        "d/one/",
        "d/one/two/a",
    ];
    let run = sandbox.run(&words).ended(0).says_nothing();
    run.prints("4 files (");
    cat("two/a").ended(0).prints_just("a");
}

#[test]
fn a_place_may_be_a_file_or_lie_behind_a_link() {
    let sandbox = Sandbox::with_store("walk_file");
    let at = store("walk_file");
    sandbox.write("d/sub/file", b"contents");
    sandbox.write("d/sub/beside", b"not asked for");
    sandbox.link("sub", "d/link");
    sandbox.link("sub/file", "d/to-file");
    for (number, place) in ["d/sub/file", "d/link/file", "d/to-file"]
        .iter()
        .enumerate()
    {
        let run = sandbox.run(&["at", &at, "backup", place]).ended(0);
        run.says_nothing().prints("1 file (");
        names(&below(&sandbox, &at, "d"), &["sub/file"]);
        let target = format!("out{number}");
        sandbox
            .run(&["at", &at, "restore", "-to", &target])
            .ended(0);
        assert_eq!(sandbox.read(&format!("{target}/file")), b"contents");
        let whole = sandbox.path("d/sub/file").display().to_string();
        let words = ["at", &at, "cat", &format!("latest:{whole}")];
        sandbox.run(&words).ended(0).prints_just("contents");
    }
}

#[test]
fn the_root_of_all_is_a_place_too() {
    let sandbox = Sandbox::with_store("walk_root");
    let at = store("walk_root");
    let patterns = ["/*", "!/etc", "/etc/*", "!/etc/passwd"];
    let flags = patterns.iter().flat_map(|pattern| ["-ignore", pattern]);
    let words: Vec<&str> = ["at", &at, "backup", "/"]
        .into_iter()
        .chain(flags)
        .collect();
    sandbox.run(&words).ended(0).says_nothing();
    names(&listed(&sandbox, &at), &["/etc/passwd"]);
    let passwd = fs::read_to_string("/etc/passwd").expect("there are users");
    for path in ["latest:/etc/passwd", "latest:etc/passwd"] {
        sandbox
            .run(&["at", &at, "cat", path])
            .ended(0)
            .prints_just(&passwd);
    }
    sandbox.run(&["at", &at, "ls"]).ended(0).prints(" /\n");
}

#[test]
fn patterns_take_back_what_patterns_took() {
    let sandbox = Sandbox::with_store("walk_patterns");
    let at = store("walk_patterns");
    for name in [
        "a.pdf",
        "a.txt",
        "sub/b.pdf",
        "sub/deep/c.pdf",
        "sub/deep/c.o",
        "x.pdf/in",
    ] {
        sandbox.write(&format!("d/{name}"), name.as_bytes());
    }
    let expect = |patterns: &[&str], expected: &[&str]| {
        let flags = patterns.iter().flat_map(|pattern| ["-ignore", pattern]);
        let words: Vec<&str> = ["at", &at, "backup", "d"]
            .into_iter()
            .chain(flags)
            .collect();
        sandbox.run(&words).ended(0).says_nothing();
        names(&below(&sandbox, &at, "d"), expected);
    };
    expect(
        &["*", "!**/", "!**/*.pdf"],
        &["a.pdf", "sub/b.pdf", "sub/deep/c.pdf"],
    );
    expect(&["/sub", "!/sub/b.pdf"], &["a.pdf", "a.txt", "x.pdf/in"]);
    expect(&["*.pdf", "!/a.pdf"], &["a.pdf", "a.txt", "sub/deep/c.o"]);
    expect(&["sub/", "*.txt"], &["a.pdf", "x.pdf/in"]);
    expect(&["/*", "!/sub", "deep"], &["sub/b.pdf"]);
}

#[test]
fn a_dry_run_lists_just_what_is_stored_then() {
    let sandbox = Sandbox::with_store("walk_dry_run");
    let at = store("walk_dry_run");
    for name in ["a", "b.o", "sub/c", "sub/deep/d", "cache/x"] {
        sandbox.write(&format!("d/{name}"), name.as_bytes());
    }
    let signature = b"Signature: 8a477f597d28d172789f06886806bc55";
    sandbox.write("d/cache/CACHEDIR.TAG", signature);
    sandbox.link("a", "d/link");
    fs::hard_link(sandbox.path("d/a"), sandbox.path("d/z")).expect("a link can be made");
    let flags = ["-ignore", "*.o", "-o", "exclude_caches", "d"];
    for state in ["new", "unchanged"] {
        let dry = [&["at", &at, "backup", "-json", "-dry-run"], &flags[..]].concat();
        let told = sandbox.run(&dry).ended(0).says_nothing().objects();
        let files = told.iter().filter(|object| {
            let path = object["path"].as_str().unwrap_or_default();
            let there = fs::symlink_metadata(path);
            object["type"] == "path" && !there.is_ok_and(|there| there.is_dir())
        });
        let mut foreseen = BTreeSet::new();
        for object in files {
            assert_eq!(object["action"], state, "{object}");
            let path = object["path"].as_str().unwrap_or_default();
            assert!(foreseen.insert(path.to_owned()), "{path} is told twice");
        }
        let real = [&["at", &at, "backup"], &flags[..]].concat();
        sandbox.run(&real).ended(0).says_nothing();
        assert_eq!(foreseen, listed(&sandbox, &at));
        assert!(foreseen.len() == 6, "{foreseen:?}");
    }
}

#[test]
fn what_did_not_change_is_not_read_by_whatever_name() {
    let sandbox = Sandbox::with_store("walk_unchanged");
    let at = store("walk_unchanged");
    sandbox.write("d/a", b"hello");
    sandbox.write("d/sub/own", b"own");
    sandbox.link("a", "d/link");
    for name in ["d/b", "d/sub/c"] {
        fs::hard_link(sandbox.path("d/a"), sandbox.path(name)).expect("a link can be made");
    }
    sandbox.backup(&at, "d");
    let again = sandbox.run(&["at", &at, "backup", "-json", "d"]).ended(0);
    let summary = again.object("summary");
    assert_eq!(summary["files_unchanged"], 5, "{summary}");
    assert_eq!(summary["read_bytes"], 0, "{summary}");
    assert_eq!(summary["new_bytes"], 0, "{summary}");
    sandbox.run(&["at", &at, "restore", "-to", "out"]).ended(0);
    for name in ["a", "b", "sub/c"] {
        assert_eq!(sandbox.read(&format!("out/{name}")), b"hello");
    }
}

#[test]
fn files_that_come_and_go_do_not_spoil_a_backup() {
    let sandbox = Sandbox::with_store("walk_vanishing");
    let at = store("walk_vanishing");
    sandbox.write("outside/secret", b"secret");
    sandbox.write("d/steady", b"steady");
    sandbox.mkdir("d/churn");
    let is_over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !is_over.load(Ordering::Relaxed) {
                churn(&sandbox.path("d/churn"));
            }
        });
        for _ in 0..6 {
            let run = sandbox.run(&["at", &at, "backup", "-cache", "no", "d"]);
            // If a link or a directory has replaced a file, the item fails.
            let run = if run.has_ended(3) { run } else { run.ended(0) };
            let secret = run.stdout() + &run.stderr();
            assert!(!secret.contains("panicked"), "{secret}");
        }
        is_over.store(true, Ordering::Relaxed);
    });
    sandbox.run(&["at", &at, "check"]).ended(0).says_nothing();
    let words = ["at", &at, "cat", "latest:steady"];
    sandbox.run(&words).ended(0).prints_just("steady");
    let restored = sandbox.run(&["at", &at, "restore", "-to", "out"]);
    assert!(restored.has_ended(0) || restored.has_ended(3));
    for number in 0..40 {
        let there = fs::symlink_metadata(sandbox.path(&format!("out/churn/{number}")));
        if there.is_ok_and(|there| there.is_file()) {
            let bytes = sandbox.read(&format!("out/churn/{number}"));
            assert!(bytes.iter().all(|byte| *byte == 7), "a link was followed");
        }
    }
}

/// Creates files, extends them, and replaces them by links and directories.
fn churn(dir: &Path) {
    // Any of these calls may fail, depending on the previous state.
    for number in 0..40 {
        let path = dir.join(number.to_string());
        let _ = fs::remove_file(&path);
        let _ = fs::remove_dir(&path);
        let _ = match number % 4 {
            0 => std::os::unix::fs::symlink("../../outside/secret", &path),
            1 => fs::create_dir(&path),
            _ => fs::write(&path, vec![7; 1000 * number]),
        };
    }
    for number in 0..40 {
        let _ = fs::rename(
            dir.join(number.to_string()),
            dir.join(((number + 1) % 40).to_string()),
        );
    }
}

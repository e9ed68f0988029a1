//! Tests comparing snapshots and files.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use crate::common::prerequisite::program;
use crate::harness::{Run, Sandbox, binary, noise, store};

/// A sandbox with two snapshots of `d`, with various changes between them.
struct Scene {
    sandbox: Sandbox,
    at: String,
    ids: [String; 2],
}

fn scene(name: &str) -> Scene {
    let sandbox = Sandbox::with_store(name);
    let at = store(name);
    sandbox.write("d/a.txt", b"one\ntwo\nthree\n");
    sandbox.write("d/bin", &noise(500));
    sandbox.write("d/gone/x", b"x");
    sandbox.write("d/kind", b"a file");
    sandbox.write("d/run.sh", b"exit");
    sandbox.write("d/same/deep/file", b"same");
    sandbox.write("d/sub/deep/file", b"before\n");
    sandbox.link("a.txt", "d/to");
    let first = sandbox.backup(&at, "d");
    sandbox.write("d/a.txt", b"one\n2\nthree\nfour");
    sandbox.write("d/bin", &noise(501));
    fs::remove_dir_all(sandbox.path("d/gone")).expect("it is there");
    fs::remove_file(sandbox.path("d/kind")).expect("it is there");
    sandbox.mkdir("d/kind");
    sandbox.write("d/new", b"new");
    let executable = fs::Permissions::from_mode(0o755);
    fs::set_permissions(sandbox.path("d/run.sh"), executable).expect("it is ours");
    sandbox.write("d/sub/deep/file", b"after\n");
    fs::remove_file(sandbox.path("d/to")).expect("it is there");
    sandbox.link("bin", "d/to");
    let second = sandbox.backup(&at, "d");
    Scene {
        sandbox,
        at,
        ids: [first, second],
    }
}

impl Scene {
    fn run(&self, words: &[&str]) -> Run {
        self.sandbox.run(&[&["at", &self.at], words].concat())
    }

    /// The absolute path of `path`.
    fn absolute(&self, path: &str) -> String {
        let path = self.sandbox.path(path);
        path.to_str()
            .expect("sandboxes have plain names")
            .to_owned()
    }

    fn short(&self) -> [&str; 2] {
        [&self.ids[0][..8], &self.ids[1][..8]]
    }
}

#[test]
fn two_directories_are_compared_name_by_name() {
    let scene = scene("diff_names");
    let ([a, b], d) = (scene.short(), scene.absolute("d"));
    let expected = format!(
        "Files {a}:{d}/a.txt and {b}:{d}/a.txt differ\n\
         Files {a}:{d}/bin and {b}:{d}/bin differ\n\
         Only in {a}: {d}/gone\n\
         {d}/kind: kind file -> directory\n\
         Only in {b}: {d}/new\n\
         {d}/run.sh: mode 0644 -> 0755\n\
         Directories {a}:{d}/sub and {b}:{d}/sub differ\n\
         {d}/to: target a.txt -> bin\n"
    );
    scene
        .run(&["diff", a, b])
        .ended(1)
        .prints_just(&expected)
        .says_nothing();
    let live = expected.replace(&format!("Only in {b}:"), "Only in live files:");
    let live = live.replace(&format!("{b}:"), "");
    scene
        .run(&["diff", a])
        .ended(1)
        .prints_just(&live)
        .says_nothing();
    let below = scene.run(&["diff", "-recursive", "-brief", a, b]).ended(1);
    let deep = format!("Files {a}:{d}/sub/deep/file and {b}:{d}/sub/deep/file differ\n");
    below
        .prints(&deep)
        .prints(&format!("{d}/to: target a.txt -> bin\n"));
}

#[test]
fn nothing_is_said_of_what_is_the_same() {
    let scene = scene("diff_same");
    let [a, b] = scene.short();
    scene.run(&["diff", a, a]).ended(0).silent();
    scene
        .run(&["diff", &format!("{a}:same"), b])
        .ended(0)
        .silent();
    // Without arguments, shows the changes since the last backup.
    scene.run(&["diff"]).ended(0).silent();
    scene
        .run(&["diff", "-recursive", "-content", "-latest"])
        .ended(0)
        .silent();
    scene.sandbox.write("d/same/deep/file", b"else");
    let run = scene.run(&["diff"]).ended(1);
    let [_, b] = scene.short();
    let same = scene.absolute("d/same");
    run.prints_just(&format!("Directories {b}:{same} and {same} differ\n"));
    scene.run(&["diff", "-name", "nobody"]).ended(66);
}

#[test]
fn only_contents_are_read_that_size_and_time_leave_open() {
    let scene = scene("diff_content");
    let path = scene.sandbox.path("d/a.txt");
    let time = fs::metadata(&path).and_then(|metadata| metadata.modified());
    scene.sandbox.write("d/a.txt", b"one\n2\nthree\nFOUR");
    let file = fs::File::options()
        .append(true)
        .open(&path)
        .expect("it is ours");
    file.set_modified(time.expect("it has a time"))
        .expect("it is ours");
    scene.run(&["diff", "latest"]).ended(0).silent();
    scene
        .run(&["diff", "-content", "latest:a.txt"])
        .ended(1)
        .prints("-four\n")
        .prints("+FOUR\n");
    file.set_modified(std::time::UNIX_EPOCH)
        .expect("it is ours");
    scene
        .run(&["diff", "latest"])
        .ended(1)
        .prints("a.txt differ\n");
    scene.sandbox.write("d/a.txt", b"one\n2\nthree\nfour");
    let touched = scene.run(&["diff", "latest"]).ended(1).stdout();
    assert!(
        touched.lines().count() == 1 && touched.contains("a.txt: mtime "),
        "{touched}"
    );
}

#[test]
fn lines_are_told_as_patch_takes_them() {
    let scene = scene("diff_patch");
    let [a, b] = scene.short();
    let d = scene.absolute("d");
    let run = scene.run(&["diff", &format!("{a}:a.txt"), b]).ended(1);
    let text = run.stdout();
    let lines: Vec<&str> = text.lines().collect();
    assert!(
        lines[0].starts_with(&format!("--- {a}{d}/a.txt\t20")),
        "{text}"
    );
    assert!(lines[0].ends_with(" +0000"), "{text}");
    assert!(
        lines[1].starts_with(&format!("+++ {b}{d}/a.txt\t20")),
        "{text}"
    );
    assert_eq!(
        lines[2..],
        [
            "@@ -1,3 +1,4 @@",
            " one",
            "-two",
            "+2",
            " three",
            "+four",
            "\\ No newline at end of file"
        ]
    );
    let coloured = scene
        .run(&["diff", "-highlight", &format!("{a}:a.txt"), b])
        .ended(1);
    coloured
        .prints("\x1b[31m-two\x1b[m\n")
        .prints("\x1b[32m+2\x1b[m\n");
    scene
        .run(&["diff", &format!("{a}:bin"), b])
        .ended(1)
        .prints_just(&format!(
            "Binary files {a}:{d}/bin and {b}:{d}/bin differ\n"
        ));
}

/// Converts the first snapshot to the second one with `patch`, if that is installed.
#[test]
fn what_is_printed_for_a_tree_is_a_patch() {
    let sandbox = Sandbox::with_store("diff_apply");
    let at = store("diff_apply");
    let numbers = |changed: &str| -> Vec<u8> {
        let lines = (0..300).map(|n| match n % 97 {
            5 => format!("{changed}{n}\n"),
            _ => format!("{n}\n"),
        });
        lines.collect::<String>().into_bytes()
    };
    let files: [(&str, Vec<u8>, Vec<u8>); 5] = [
        ("d/plain", numbers(""), numbers("x")),
        ("d/sub dir/with space", b"a\nb\n".to_vec(), b"b\nc".to_vec()),
        (
            "d/caf\u{e9} \"q\" \\",
            b"1\r\n2\n".to_vec(),
            b"1\n2\n3\n".to_vec(),
        ),
        ("d/line\nbreak", b"old".to_vec(), b"new".to_vec()),
        ("d/grown", b"".to_vec(), b"now\n".to_vec()),
    ];
    files
        .iter()
        .for_each(|(path, old, _)| sandbox.write(path, old));
    let first = sandbox.backup(&at, "d");
    files
        .iter()
        .for_each(|(path, _, new)| sandbox.write(path, new));
    let second = sandbox.backup(&at, "d");
    let words = ["at", &at, "diff", "-recursive", &first, &second];
    let diff = sandbox.run(&words).ended(1).stdout();
    let place = format!("{first}:");
    sandbox
        .run(&["at", &at, "restore", "-quiet", "-to", "out", &place])
        .ended(0);
    sandbox.write("changes.diff", diff.as_bytes());
    let depth = sandbox.path("d").components().count();
    let patched = program("patch")
        .args([&format!("-p{depth}"), "-d", "out", "-i", "../changes.diff"])
        .current_dir(sandbox.path("."))
        .output()
        .expect("patch can be run");
    assert!(patched.status.success(), "{diff}\n{patched:?}");
    for (path, _, new) in &files {
        let path = path.replacen("d/", "out/", 1);
        assert!(sandbox.read(&path) == *new, "{path}: {diff}");
    }
}

#[test]
fn differences_are_objects_for_programs() {
    let scene = scene("diff_json");
    let [a, b] = &scene.ids;
    let run = scene.run(&["-json", "diff", "-recursive", a, b]).ended(1);
    let objects = run.objects();
    let (summary, differences) = objects.split_last().expect("there are differences");
    let of = |kind: &str| {
        let kinds = differences.iter().filter(|object| object["what"] == kind);
        kinds.cloned().collect::<Vec<_>>()
    };
    assert_eq!(of("contents").len(), 3);
    assert_eq!(of("only_in_a")[0]["a"]["snapshot"], a.as_str());
    assert_eq!(of("only_in_b")[0]["b"]["kind"], "file");
    assert_eq!(of("only_in_b")[0]["b"]["size_bytes"], 3);
    assert_eq!(of("kind")[0]["changes"][0]["b"], "directory");
    assert_eq!(of("metadata")[0]["changes"][0]["a"], "0644");
    assert_eq!(
        (
            &summary["type"],
            &summary["is_same"],
            &summary["differences"]
        ),
        (&"summary".into(), &false.into(), &8.into())
    );
    let same = scene.run(&["-json", "diff", a, a]).ended(0).objects();
    assert_eq!((same.len(), &same[0]["is_same"]), (1, &true.into()));
}

#[test]
fn live_files_that_are_gone_or_closed_are_told() {
    let scene = scene("diff_gone");
    let ([_, b], d) = (scene.short(), scene.absolute("d"));
    fs::remove_dir_all(scene.sandbox.path("d/sub")).expect("it is there");
    scene
        .run(&["diff", &format!("{b}:sub/deep")])
        .ended(1)
        .prints_just(&format!("Only in {b}: {d}/sub/deep\n"));
    scene
        .run(&["diff", &format!("{b}:nowhere")])
        .ended(66)
        .says("no such file");
    fs::rename(scene.sandbox.path("d"), scene.sandbox.path("e")).expect("it is ours");
    let gone = format!("Only in {b}: {d}\n");
    scene.run(&["diff"]).ended(1).prints_just(&gone);
    scene.sandbox.link("e", "d");
    let link = scene.run(&["diff"]).ended(1);
    link.prints_just(&format!("{d}: kind directory -> symlink\n"));
}

#[test]
fn only_what_was_backed_up_is_compared_with_live_files() {
    let sandbox = Sandbox::with_store("diff_roots");
    let at = store("diff_roots");
    sandbox.write("top/a/file", b"1");
    sandbox.write("top/b/file", b"2");
    sandbox.write("top/c/file", b"3");
    sandbox
        .run(&["at", &at, "backup", "-quiet", "top/a", "top/c/file"])
        .ended(0);
    sandbox.run(&["at", &at, "diff"]).ended(0).silent();
    sandbox
        .run(&["at", &at, "diff", "latest:/"])
        .ended(0)
        .silent();
    sandbox.write("top/c/file", b"4");
    sandbox.write("top/b/file", b"changed");
    let run = sandbox
        .run(&["at", &at, "diff", "-brief", "latest:"])
        .ended(1);
    assert_eq!(run.stdout().lines().count(), 1, "{}", run.stdout());
    run.prints("/top/c/file differ\n");
}

#[test]
fn a_place_that_cannot_be_reached_does_not_hide_the_next() {
    let sandbox = Sandbox::with_store("diff_reach");
    let at = store("diff_reach");
    sandbox.write("top/a/file", b"1");
    sandbox.write("top/b/file", b"2");
    let places = ["top/a/file", "top/b"];
    sandbox
        .run(&["at", &at, "backup", "-quiet", places[0], places[1]])
        .ended(0);
    fs::remove_dir_all(sandbox.path("top/a")).expect("it is there");
    sandbox.write("top/a", b"a file on the way");
    sandbox.write("top/b/file", b"changed");
    let run = sandbox.run(&["at", &at, "diff"]).ended(3);
    run.prints("/top/b/file differ\n").says("/top/a/file: ");
}

#[test]
fn wrong_words_are_refused_and_do_not_look_like_an_answer() {
    let scene = scene("diff_usage");
    scene.run(&["diff", "latest", "latest", "latest"]).ended(64);
    scene
        .run(&["diff", "0123456789"])
        .ended(66)
        .prints_nothing();
    scene
        .run(&["diff", "-recursiv"])
        .ended(64)
        .says("-recursive");
    // A failure to write the output is a general failure, and not an answer.
    let full = format!(
        "exec '{}' at '{}' diff {} > /dev/full",
        binary(),
        scene.at,
        scene.ids[0]
    );
    scene
        .sandbox
        .run_shell(&full)
        .ended(3)
        .says("standard output");
}

#[test]
fn damage_is_told_and_hides_no_other_difference() {
    let sandbox = Sandbox::with_store("diff_damage");
    // Larger than a pack, so that the small file is in a different pack.
    let large = noise(30 << 20);
    sandbox.write("d/large", &large);
    sandbox.write("d/small", b"before");
    let first = sandbox.backup("st", "d");
    sandbox.damage_one_bit("st/packs");
    // A different time and the same size: the stored contents have to be read.
    sandbox.write("d/large", &large);
    sandbox.write("d/small", b"after!");
    let run = sandbox
        .run(&["at", "st", "diff", "-content", &first])
        .ended(65);
    assert!(!run.stdout().contains("large differ"), "{}", run.stdout());
    run.prints("/d/small differ\n")
        .says("/d/large: ")
        .says("does not authenticate");
    sandbox.discard();
}

#[test]
fn strange_names_are_harmless_lines() {
    let sandbox = Sandbox::with_store("diff_strange");
    let at = store("diff_strange");
    sandbox.write("d/a\n\x1b[2J", b"\0one");
    let raw = <std::ffi::OsStr as std::os::unix::ffi::OsStrExt>::from_bytes(b"caf\xe9");
    fs::write(sandbox.path("d").join(raw), "latin").expect("any name will do");
    sandbox.backup(&at, "d");
    sandbox.write("d/a\n\x1b[2J", b"\0two");
    fs::remove_file(sandbox.path("d").join(raw)).expect("it is there");
    let told = sandbox
        .run(&["at", &at, "diff", "-recursive"])
        .ended(1)
        .stdout();
    let lines: Vec<&str> = told.lines().collect();
    assert_eq!(lines.len(), 2, "{told}");
    assert!(lines[0].ends_with("/d/a\\n\\u{1b}[2J differ"), "{told}");
    assert!(lines[1].ends_with("/d/caf\\xe9"), "{told}");
}

/// The example of the README: a directory was backed up alone, and later together with another one.
#[test]
fn snapshots_of_different_directories_are_compared_by_absolute_path() {
    let sandbox = Sandbox::with_store("diff_ancestor");
    let at = store("diff_ancestor");
    sandbox.write("home/docs/same", b"same");
    sandbox.write("home/docs/notes.txt", b"one\n");
    sandbox.write("home/pictures/cat.png", b"\x89PNG");
    let one = sandbox.backup(&at, "home/docs");
    sandbox.write("home/docs/notes.txt", b"two\n");
    sandbox
        .run(&["at", &at, "backup", "-quiet", "home/docs", "home/pictures"])
        .ended(0);
    let three = sandbox.backup(&at, "home/docs/notes.txt");
    let home = sandbox.path("home").display().to_string();
    let id = &one[..8];
    let run = sandbox
        .run(&["at", &at, "diff", "-recursive", "-brief", id, "latest:/"])
        .ended(1);
    run.prints(&format!("{home}/docs/same\n"));
    let run = sandbox.run(&["at", &at, "ls"]).ended(0).stdout();
    let two = &run.lines().nth(1).expect("there are three snapshots")[23..31];
    let expected = format!(
        "Files {id}:{home}/docs/notes.txt and {two}:{home}/docs/notes.txt differ\n\
         Only in {two}: {home}/pictures\n"
    );
    sandbox
        .run(&["at", &at, "diff", "-recursive", "-brief", id, two])
        .ended(1)
        .prints_just(&expected);
    // A path belongs to one snapshot, and the choice of the user is kept.
    let (a, b) = (format!("{id}:{home}/docs"), format!("{two}:{home}/docs"));
    let run = sandbox.run(&["at", &at, "diff", "-brief", &a, &b]).ended(1);
    assert_eq!(run.stdout().lines().count(), 1, "{}", run.stdout());
    // A single file is compared with the file at the same path.
    sandbox
        .run(&["at", &at, "diff", "-recursive", "-brief", &three, id])
        .ended(1)
        .prints_just(&format!(
            "Files {}:{home}/docs/notes.txt and {id}:{home}/docs/notes.txt differ\n\
             Only in {id}: {home}/docs/same\n",
            &three[..8]
        ));
}

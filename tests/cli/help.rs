//! Tests `version` and `help` in all forms.

use crate::harness::{Sandbox, binary};

/// Asserts that `line` is the version line.
#[track_caller]
fn check_version(line: &str) {
    let start = format!("plakar {} (", env!("CARGO_PKG_VERSION"));
    let rest = line
        .strip_prefix(&start)
        .unwrap_or_else(|| panic!("{line}"));
    let (commit, rest) = rest.split_once(") ").unwrap_or_else(|| panic!("{line}"));
    assert_eq!(rest.lines().count(), 1, "{line}");
    assert!(rest.starts_with(std::env::consts::OS), "{line}");
    let is_commit = commit.len() == 12 && commit.bytes().all(|byte| byte.is_ascii_hexdigit());
    assert!(is_commit || commit == "unknown", "{line}");
}

#[test]
fn the_version_is_one_line() {
    let sandbox = Sandbox::new("version");
    for words in [
        ["version"].as_slice(),
        &["-version"],
        &["--version"],
        &["help", "-version"],
    ] {
        check_version(&sandbox.run(words).ended(0).says_nothing().stdout());
    }
    sandbox
        .run(&["version", "extra"])
        .ended(64)
        .says("plakar: version: unexpected argument \"extra\"");
}

#[test]
fn the_version_is_an_object_too_on_either_side() {
    let sandbox = Sandbox::new("version_json");
    for words in [["-json", "version"], ["version", "-json"]] {
        let run = sandbox.run(&words).ended(0).says_nothing();
        let objects = run.objects();
        assert_eq!(objects.len(), 1, "{objects:?}");
        assert_eq!(objects[0]["type"], "version");
        assert_eq!(objects[0]["version"], env!("CARGO_PKG_VERSION"));
        let commit = objects[0]["commit"].as_str().expect("it is text");
        assert!(commit.len() == 40 || commit == "unknown", "{commit}");
    }
}

#[test]
fn help_lists_the_commands() {
    let sandbox = Sandbox::new("help");
    for words in [["help"].as_slice(), &["-h"], &["--help"], &[]] {
        let run = sandbox.run(words).ended(0).says_nothing();
        run.prints("usage: plakar [OPTIONS] [at STORE] COMMAND")
            .prints("  version ")
            .prints("  -keyfile FILE");
    }
}

#[test]
fn a_command_explains_itself_briefly() {
    let sandbox = Sandbox::new("help_command");
    for words in [["version", "-h"].as_slice(), &["-help", "version"]] {
        let run = sandbox.run(words).ended(0).says_nothing();
        run.prints("usage: plakar [OPTIONS] [at STORE] version\n")
            .prints("Print the version.")
            .prints("plakar-version(1)");
    }
    sandbox
        .run(&["help", "key", "add"])
        .ended(0)
        .prints("usage: plakar [OPTIONS] [at STORE] key add ");
    sandbox
        .run(&["help", "verison"])
        .ended(64)
        .says("help: unknown command \"verison\" (did you mean version?)");
}

#[test]
fn help_shows_the_manual_where_none_is_installed() {
    let sandbox = Sandbox::new("help_manual");
    for word in ["verify", "check", "plakar-check.1"] {
        let run = sandbox.run(&["help", word]).ended(0).says_nothing();
        run.prints("PLAKAR-CHECK(1)\n\nNAME\n     plakar-check - verify")
            .prints("\nEXIT STATUS\n")
            .prints("\n     -fast   ");
    }
    for (word, title) in [
        ("kloset", "KLOSET(7)"),
        ("kloset.5", "KLOSET(5)"),
        ("plakar.conf", "PLAKAR.CONF(5)"),
        ("plakar", "PLAKAR(1)"),
    ] {
        let run = sandbox.run(&["help", word]).ended(0).says_nothing();
        assert!(run.stdout().starts_with(title), "{word}");
    }
}

#[test]
fn help_is_shown_by_a_pager_on_a_terminal() {
    let sandbox = Sandbox::new("help_pager").with("LANG", "C");
    let sandbox = sandbox.with("PAGER", "sed 's/^/pager: /'");
    let page = sandbox.run_on_terminal(&["help", "check"]).ended(0);
    page.prints("pager: N\u{8}NA\u{8}AM\u{8}ME\u{8}E\r\n")
        .prints("pager:      p\u{8}pl\u{8}l");
    let sandbox = sandbox.with("MANPAGER", "tail -n 1");
    let page = sandbox.run_on_terminal(&["help", "check"]).ended(0);
    assert_eq!(page.stdout().lines().count(), 1, "{:?}", page.stdout());
    let run = sandbox.run(&["help", "check"]).ended(0);
    run.prints("PLAKAR-CHECK(1)\n\nNAME\n");
}

#[test]
fn a_command_may_be_timed() {
    let sandbox = Sandbox::new("time");
    let run = sandbox.run(&["version", "-time"]).ended(0);
    check_version(&run.says("plakar: time: ").stdout());
}

/// Runs the commands of the page, except those that mount a disk and install the program, on a
/// machine that has only the store.
#[test]
fn the_lines_for_a_disaster_restore_the_files() {
    let sandbox = Sandbox::new("help_disaster");
    let page = sandbox.run(&["help", "disaster"]).ended(0).stdout();
    let lines: Vec<&str> = page
        .lines()
        .map(str::trim)
        .skip_while(|line| !line.starts_with("mount /dev"))
        .take(6)
        .collect();
    assert!(lines[5].starts_with("plakar restore "), "{lines:?}");
    sandbox.write("d/notes.txt", b"precious");
    let at = sandbox.path("backup").display().to_string();
    sandbox.run(&["at", &at, "create"]).ended(0);
    sandbox.backup(&at, "d");
    let original = sandbox.path("d/notes.txt").display().to_string();
    std::fs::remove_dir_all(sandbox.path("d")).expect("it is there");
    std::fs::remove_dir_all(sandbox.path("home")).expect("it is there");
    let script = lines[2..].join("\n");
    let script = script.replace("/mnt/disk/backup", &at);
    let script = script.replace("/mnt/new", &sandbox.path("new").display().to_string());
    let script = script.replace("plakar ", &format!("'{}' ", binary()));
    let run = sandbox.run_shell(&format!("set -e\n{script}"));
    run.ended(0).prints("check: intact: ");
    assert_eq!(sandbox.read(&format!("new{original}")), b"precious");
}

//! Tests completion: the answers of the program, and the behavior of shells.

use std::process::{Command, Stdio};

use crate::common::prerequisite::has_program;
use crate::harness::{Run, Sandbox};

/// A store without a passphrase in `st`, with one snapshot of `d`, and the configured name `nas`.
fn with_snapshot(name: &str) -> Sandbox {
    let sandbox = Sandbox::new(name).without("PLAKAR_PASSPHRASE");
    sandbox.run(&["at", "st", "create", "-plaintext"]).ended(0);
    sandbox.write("d/etc/passwd", b"root");
    sandbox.write("d/my file", b"mine");
    let stores = b"[nas]\nlocation = \"/srv/nas\"\n";
    sandbox.write("home/.config/plakar/stores.toml", stores);
    sandbox.backup("st", "d");
    sandbox.with("PLAKAR_REPOSITORY", "st")
}

/// The completions at the end of `words`, one per line.
fn answers(sandbox: &Sandbox, words: &[&str]) -> Vec<String> {
    let index = (words.len() - 1).to_string();
    let words = [&["completion", "candidates", &index, "--"], words].concat();
    let run = sandbox.run(&words).ended(0).says_nothing();
    run.stdout().lines().map(str::to_owned).collect()
}

/// The words among these completions.
fn words(answers: &[String]) -> Vec<&str> {
    let word = |line: &String| line.find('\t').unwrap_or(line.len());
    answers.iter().map(|line| &line[..word(line)]).collect()
}

#[test]
fn names_snapshots_and_paths_are_completed() {
    let sandbox = with_snapshot("completion");
    let snapshots = answers(&sandbox, &["ls", ""]);
    assert_eq!(words(&snapshots)[0], "latest");
    let id = words(&snapshots)[1].to_owned();
    assert!(
        id.len() == 8 && snapshots[1].ends_with("/d"),
        "{snapshots:?}"
    );
    assert_eq!(
        words(&answers(&sandbox, &["cat", &id[..3]])),
        [format!("{id}:")]
    );
    assert_eq!(
        words(&answers(&sandbox, &["cat", "latest:"])),
        ["latest:etc/", "latest:my file"]
    );
    assert_eq!(
        words(&answers(&sandbox, &["ls", "latest:etc/p"])),
        ["latest:etc/passwd"]
    );
    let root = sandbox.path("d").display().to_string();
    let absolute = format!("latest:{root}/e");
    assert_eq!(
        words(&answers(&sandbox, &["ls", &absolute])),
        [format!("latest:{root}/etc/")]
    );
    assert_eq!(
        answers(&sandbox, &["at", ""]),
        ["@nas\t/srv/nas", "\tdirectories"]
    );
    assert_eq!(answers(&sandbox, &["at", "@n"]), ["@nas\t/srv/nas"]);
    for line in [
        ["store", "rm", ""],
        ["store", "ping", "n"],
        ["store", "default", ""],
    ] {
        assert_eq!(answers(&sandbox, &line), ["nas\t/srv/nas"]);
    }
    assert_eq!(answers(&sandbox, &["backup", "/"]), ["\tfiles"]);
    assert_eq!(
        words(&answers(&sandbox, &["backup", "-cache", ""])),
        ["vfs", "no"]
    );
}

#[test]
fn the_store_and_the_options_of_the_line_count() {
    let sandbox = with_snapshot("completion_line").with("PLAKAR_REPOSITORY", "nowhere");
    assert!(answers(&sandbox, &["ls", ""]).is_empty());
    assert_eq!(
        words(&answers(&sandbox, &["at", "st", "ls", "l"])),
        ["latest"]
    );
    let elsewhere = answers(&sandbox, &["-configdir", "elsewhere", "at", ""]);
    assert_eq!(elsewhere, ["\tdirectories"]);
}

#[test]
fn nobody_is_asked_for_a_passphrase() {
    let sandbox = Sandbox::with_store("completion_locked");
    sandbox.write("d/a", b"a");
    sandbox.backup("st", "d");
    assert_eq!(answers(&sandbox, &["at", "st", "ls", ""]).len(), 2);
    let sandbox = sandbox.without("PLAKAR_PASSPHRASE");
    assert!(answers(&sandbox, &["at", "st", "ls", ""]).is_empty());
    sandbox.write("key", b"an owl in the attic\n");
    assert_eq!(
        answers(&sandbox, &["-keyfile", "key", "at", "st", "ls", ""]).len(),
        2
    );
    // On a terminal a prompt would be possible, but must not appear.
    let line = ["completion", "candidates", "3", "--", "at", "st", "ls"];
    sandbox.run_on_terminal(&line).ended(0).silent();
    let location = sandbox.path("st").display().to_string();
    let stores = format!("[mine]\nlocation = {location:?}\npassphrase_cmd = \"cat key\"\n");
    sandbox.write("home/.config/plakar/stores.toml", stores.as_bytes());
    assert_eq!(answers(&sandbox, &["at", "@mine", "ls", ""]).len(), 2);
    let sandbox = sandbox.with("PLAKAR_PASSPHRASE", "wrong");
    assert!(answers(&sandbox, &["at", "st", "ls", ""]).is_empty());
}

#[test]
fn lines_that_make_no_sense_complete_to_nothing() {
    let sandbox = with_snapshot("completion_nonsense");
    for line in [
        ["frobnicate", ""].as_slice(),
        &["ls", "-frobnicate", ""],
        &["ls", "latest", "latest", ""],
        &["ls", "nothing:"],
        &["ls", "latest:nowhere/"],
        &["-concurrency", "many", "ls", ""],
    ] {
        let told = answers(&sandbox, line);
        assert!(told.is_empty(), "{line:?}: {told:?}");
    }
    let index = sandbox.run(&["completion", "candidates", "2", "--", "ls"]);
    index.ended(64).says("INDEX is not that of a WORD");
    let object = sandbox
        .run(&["-json", "completion", "candidates", "0", "--", "che"])
        .ended(0)
        .object("candidate");
    assert_eq!(object["word"], "check");
}

/// Runs `shell` with `words`; `plakar` is the binary. Returns `None` if the shell is not installed:
/// the test is skipped.
#[track_caller]
fn run_in(sandbox: &Sandbox, shell: &str, words: &[&str]) -> Option<Run> {
    let path = sandbox.command::<&str>(&[]).get_program().to_owned();
    let bin = std::path::Path::new(&path)
        .parent()
        .expect("it is in a directory");
    let path = format!("{}:/usr/bin:/bin", bin.display());
    let mut command = Command::new(shell);
    command.args(words).current_dir(sandbox.path("."));
    command.env_clear().env("PATH", path).stdin(Stdio::null());
    command
        .env("HOME", sandbox.path("home"))
        .env("PLAKAR_REPOSITORY", "st");
    has_program(shell).then(|| Run::of(&mut command))
}

#[test]
fn shells_understand_their_scripts() {
    let sandbox = Sandbox::new("completion_scripts");
    for shell in ["bash", "zsh", "fish"] {
        let run = sandbox.run(&["completion", shell]).ended(0).says_nothing();
        sandbox.write("script", run.stdout().as_bytes());
        if let Some(run) = run_in(&sandbox, shell, &["-n", "script"]) {
            run.ended(0).silent();
        }
        let object = sandbox.run(&["-json", "completion", shell]).ended(0);
        assert_eq!(object.object("script")["shell"], shell);
    }
    sandbox
        .run(&["completion", "csh"])
        .ended(64)
        .says("unknown subcommand");
}

/// Completes as bash does when Tab is pressed at the end of `line`, which bash splits as given.
const IN_BASH: &str = r#"
source <(plakar completion bash)
COMP_LINE=$1 COMP_POINT=${#1} COMP_TYPE=$2
shift 2
COMP_WORDS=("$@") COMP_CWORD=$(($# - 1))
_plakar plakar
[[ ${#COMPREPLY[@]} -eq 0 ]] || printf '%s\n' "${COMPREPLY[@]}"
"#;

#[test]
fn bash_completes_words_that_it_parts_at_colons() {
    let sandbox = with_snapshot("completion_bash");
    let complete = |words: &[&str], kind: &str, line: &str| {
        let words = [&["--norc", "-c", IN_BASH, "bash", line, kind], words].concat();
        let run = run_in(&sandbox, "bash", &words)?.ended(0).says_nothing();
        Some(run.stdout())
    };
    let tab = |words: &[&str], expected: &str| {
        if let Some(found) = complete(
            words,
            "9",
            &words.join(" ").replace(" : ", ":").replace(" = ", "="),
        ) {
            assert_eq!(found, expected, "{words:?}");
        }
    };
    tab(&["plakar", "chec"], "check\n");
    tab(&["plakar", "cat", "lat"], "latest:\n");
    tab(&["plakar", "cat", "latest", ":", "e"], "etc/\n");
    tab(&["plakar", "cat", "latest", ":", "etc/p"], "etc/passwd\n");
    tab(&["plakar", "cat", "latest", ":", "my"], "my\\ file\n");
    tab(&["plakar", "cat", "\"latest:my"], "latest:my file\n");
    tab(&["plakar", "backup", "-cache", "=", "n"], "no\n");
    tab(&["plakar", "at", "@n"], "@nas\n");
    tab(&["plakar", "backup", "d/e"], "d/etc\n");
    tab(&["plakar", "at", "d"], "d\n");
    tab(&["plakar", "frobnicate", ""], "");
    // A second Tab lists all completions with their descriptions.
    if let Some(listed) = complete(&["plakar", "ver"], "63", "plakar ver") {
        let lines: Vec<&str> = listed.lines().collect();
        assert_eq!(lines.len(), 2, "{listed}");
        assert!(
            lines[0].starts_with("verify  ")
                && lines[0].ends_with("(verify the integrity of snapshots)"),
            "{listed}"
        );
    }
    // Text after the cursor is ignored.
    if let Some(found) = complete(
        &["plakar", "cat", "latest", ":", "etc/passwd"],
        "9",
        "plakar cat latest:e",
    ) {
        assert_eq!(found, "etc/\n");
    }
}

/// Completes as zsh does. The functions that display candidates are replaced by ones that print
/// them.
const IN_ZSH: &str = r#"
source <(plakar completion zsh)
_describe() { local name=$3; print -rl -- "${(P@)name}" }
_files() { print -r -- "files $*" }
compset() { true }
words=("$@") CURRENT=$# PREFIX=$words[-1]
_plakar || true
"#;

#[test]
fn zsh_is_given_words_and_what_they_are() {
    let sandbox = with_snapshot("completion_zsh");
    let tab = |words: &[&str], expected: &str| {
        let all = [&["-f", "-c", IN_ZSH, "zsh"], words].concat();
        if let Some(run) = run_in(&sandbox, "zsh", &all) {
            let run = run.ended(0).says_nothing();
            assert_eq!(run.stdout(), expected, "{words:?}");
        }
    };
    tab(
        &["plakar", "chec"],
        "check:verify the integrity of snapshots\n",
    );
    tab(&["plakar", "cat", "latest:e"], "latest\\:etc/:directory\n");
    tab(
        &["plakar", "cat", "latest:my\\ f"],
        "latest\\:my file:4 B\n",
    );
    tab(&["plakar", "at", ""], "@nas:/srv/nas\nfiles -/\n");
    tab(&["plakar", "backup", "/"], "files \n");
}

#[test]
fn fish_is_given_words_and_what_they_are() {
    let sandbox = with_snapshot("completion_fish");
    let tab = |line: &str, expected: &str| {
        let script = "source (plakar completion fish | psub); complete -C $argv[1]";
        let words = ["--no-config", "-c", script, line];
        if let Some(run) = run_in(&sandbox, "fish", &words) {
            assert_eq!(run.ended(0).stdout(), expected, "{line}");
        }
    };
    tab("plakar chec", "check\tverify the integrity of snapshots\n");
    tab("plakar cat latest:e", "latest:etc/\tdirectory\n");
    tab("plakar cat latest:my\\ f", "latest:my file\t4 B\n");
    tab("plakar at @n", "@nas\t/srv/nas\n");
    tab("plakar backup d/e", "d/etc/\n");
    tab("plakar backup -cache=n", "-cache=no\n");
}

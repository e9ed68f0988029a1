//! Tests output to terminals, pipes, programs, and closed streams.

use std::ffi::OsString;
use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::os::unix::ffi::OsStringExt;
use std::process::Stdio;

use crate::harness::{Sandbox, noise, store};
use crate::interrupt::source;

/// A sandbox with files whose names contain terminal control sequences.
fn with_hostile_names(name: &str) -> Sandbox {
    let sandbox = Sandbox::with_store(name);
    sandbox.mkdir("d");
    for hostile in HOSTILE {
        let path = sandbox.path("d").join(OsString::from_vec(hostile.to_vec()));
        fs::write(path, noise(1000)).expect("any name is a name");
    }
    sandbox
}

/// Colors, a window title, clearing the screen, C1 bytes, and a forged line of output.
const HOSTILE: [&[u8]; 5] = [
    b"\x1b[31mred",
    b"\x1b]0;title\x07",
    b"\x1bc",
    b"\x9b2J",
    b"one\rplakar: all is well\n",
];

/// Asserts that the text contains no control bytes that only a file name could introduce.
#[track_caller]
fn harmless(text: &str) {
    for hostile in [
        "\x1b[31m",
        "\x1b]",
        "\x1bc",
        "\u{9b}",
        "\rplakar: all",
        "\x07",
    ] {
        assert!(!text.contains(hostile), "{hostile:?} in {text:?}");
    }
}

#[test]
fn names_of_files_never_reach_a_terminal_raw() {
    let sandbox = with_hostile_names("output_hostile");
    let at = store("output_hostile");
    for words in [
        ["backup", "-dry-run", "d"].as_slice(),
        &["backup", "-stdio", "d"],
        &["ls", "latest"],
        &["ls", "-recursive", "latest"],
        &["restore", "-stdio", "-to", "out"],
        &["check", "latest"],
        &["info", "latest"],
        &["cat", "latest:\x1b[31mnot there"],
        &["ls", "\x1b[31m"],
    ] {
        let words = [&["at", &at], words].concat();
        harmless(&sandbox.run_on_terminal(&words).stdout());
        let run = sandbox.run(&words);
        let said = run.stdout() + &run.stderr();
        harmless(&said);
        let escapes = said.contains('\x1b') || said.contains('\r');
        assert!(!escapes, "no terminal, no control characters: {said:?}");
    }
    let json = sandbox.run(&["at", &at, "ls", "-json", "latest"]).ended(0);
    let red = json.objects().iter().any(|entry| {
        let path = entry["path"].as_str().unwrap_or_default();
        path.ends_with("\x1b[31mred")
    });
    assert!(red, "programs get names as they are");
    harmless(&json.stdout());
}

#[test]
fn names_in_messages_are_printed_as_in_listings() {
    let sandbox = Sandbox::with_store("output_names");
    let at = store("output_names");
    sandbox.write("d/caf\u{e9} \u{65e5}\u{200b}\x1b", b"hello");
    sandbox.link("caf\u{e9}", "d/to");
    sandbox.backup(&at, "d");
    let shown = "caf\u{e9} \u{65e5}\\u{200b}\\u{1b}";
    sandbox
        .run(&["at", &at, "ls", "latest"])
        .ended(0)
        .prints(shown);
    for words in [
        [
            "at",
            &at,
            "cat",
            "latest:nowhere/caf\u{e9} \u{65e5}\u{200b}\x1b",
        ],
        [
            "at",
            &at,
            "digest",
            "latest:nowhere/caf\u{e9} \u{65e5}\u{200b}\x1b",
        ],
    ] {
        sandbox.run(&words).ended(66).says(shown);
        let run = sandbox.run(&[&["-json"], &words[..]].concat()).ended(66);
        let message = run.object("error")["message"].to_string();
        let message = message.replace("\\\\", "\\");
        assert!(message.contains(shown), "{message}");
    }
    sandbox
        .run(&["at", &at, "cat", "latest:to"])
        .ended(1)
        .says("is a symbolic link to caf\u{e9}\n");
}

#[test]
fn damage_to_hostile_names_is_told_harmlessly() {
    let sandbox = with_hostile_names("output_hostile_damage");
    sandbox.backup("st", "d");
    sandbox.damage_one_bit("st/packs");
    for words in [["check"].as_slice(), &["restore", "-to", "out"]] {
        let words = [&["at", "st"], words].concat();
        let run = sandbox.run(&words);
        harmless(&(run.stdout() + &run.stderr()));
        assert!(!run.has_ended(0), "damage is told");
        harmless(&sandbox.run_on_terminal(&words).stdout());
    }
}

#[test]
fn a_terminal_sees_progress_on_one_line_that_goes_away() {
    let source = source();
    let sandbox = Sandbox::with_store("output_progress");
    let at = store("output_progress");
    let words = ["at", &at, "backup", &source];
    let screen = sandbox.run_on_terminal(&words).ended(0).stdout();
    assert!(screen.contains(" files  "), "{screen:?}");
    assert!(screen.contains("/s"), "{screen:?}");
    let before_result = screen
        .find("backup: snapshot")
        .expect("it tells the result");
    assert!(
        screen[..before_result].ends_with("\r\x1b[K"),
        "the line is wiped: {screen:?}"
    );
    assert!(!screen[..before_result].contains('\n'), "{screen:?}");
    let words = ["at", &at, "backup", "-no-progress", "-cache", "no", &source];
    let screen = sandbox.run_on_terminal(&words).ended(0).stdout();
    assert!(!screen.contains('\x1b'), "{screen:?}");
    sandbox.discard();
}

#[test]
fn programs_get_objects_and_the_summary_last() {
    let sandbox = Sandbox::with_store("output_json");
    let at = store("output_json");
    sandbox.write("d/a", b"a");
    sandbox.write("d/sub/b", b"b");
    for words in [
        ["backup", "d"].as_slice(),
        &["backup", "-stdio", "-cache", "no", "d"],
        &["backup", "-dry-run", "d"],
        &["restore", "-to", "out"],
        &["check"],
        &["rm", "latest"],
    ] {
        let words = [&["at", &at, "-json"], words].concat();
        let run = sandbox.run(&words).ended(0).says_nothing();
        let objects = run.objects();
        let last = objects.last().expect("it prints something");
        assert_eq!(last["type"], "summary");
        assert_eq!(last["command"], words[3]);
        assert!(objects.iter().all(|object| object["type"].is_string()));
    }
}

#[test]
fn logs_get_a_line_for_each_path() {
    let sandbox = Sandbox::with_store("output_lines");
    let at = store("output_lines");
    for name in ["a", "sub/b", "sub/c"] {
        sandbox.write(&format!("d/{name}"), name.as_bytes());
    }
    let lines = |words: &[&str], action: &str| {
        let run = sandbox.run(&[&["at", &at, "-stdio"], words].concat());
        let printed = run.ended(0).says_nothing().stdout();
        printed
            .lines()
            .filter(|line| line.starts_with(action))
            .count()
    };
    assert_eq!(lines(&["backup", "d"], "new "), 3);
    assert_eq!(lines(&["backup", "d"], "unchanged "), 3);
    assert_eq!(lines(&["restore", "-to", "out"], "restored "), 3);
    assert_eq!(lines(&["restore", "-to", "out"], "identical "), 3);
}

#[test]
fn quiet_commands_say_nothing_but_errors() {
    let sandbox = Sandbox::with_store("output_quiet");
    let at = store("output_quiet");
    sandbox.write("d/a", &noise(100_000));
    for words in [
        ["backup", "d"].as_slice(),
        &["backup", "-check", "d"],
        &["check"],
        &["restore", "-to", "out"],
    ] {
        for flag in ["-quiet", "-silent"] {
            let words = [&["at", &at, flag], words].concat();
            sandbox.run(&words).ended(0).silent();
        }
    }
    sandbox
        .run(&["at", &at, "-quiet", "backup", "nowhere"])
        .ended(66)
        .says("nowhere: no such file");
    sandbox
        .run(&["at", &at, "-silent", "backup", "nowhere"])
        .ended(66)
        .silent();
    sandbox
        .run(&["at", &at, "-quiet", "ls"])
        .ended(0)
        .prints("d\n");
}

#[test]
fn a_reader_that_leaves_does_not_stop_a_backup() {
    let sandbox = Sandbox::with_store("output_head");
    let at = store("output_head");
    for number in 0..3000 {
        sandbox.write(
            &format!("d/{number:04}-a-name-that-fills-a-pipe-sooner"),
            b"x",
        );
    }
    let first_line = |words: &[&str]| {
        let mut command = sandbox.command(words);
        let child = command
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn();
        let mut child = child.expect("the binary can be started");
        let mut line = String::new();
        let mut reader = BufReader::new(child.stdout.take().expect("it is a pipe"));
        reader.read_line(&mut line).expect("it is a pipe");
        drop(reader);
        let mut said = String::new();
        let mut stderr = child.stderr.take().expect("it is a pipe");
        stderr.read_to_string(&mut said).expect("it is text");
        assert_eq!(
            child.wait().expect("it is our child").code(),
            Some(0),
            "{said}"
        );
        assert_eq!(said, "");
        line
    };
    let line = first_line(&["at", &at, "backup", "-stdio", "d"]);
    assert!(line.starts_with("new "), "{line}");
    let listed = sandbox.run(&["at", &at, "ls"]).ended(0).stdout();
    assert_eq!(listed.lines().count(), 1, "the snapshot is made: {listed}");
    sandbox.run(&["at", &at, "check"]).ended(0);
    first_line(&["at", &at, "ls", "-recursive", "latest"]);
    first_line(&["at", &at, "ls", "-json", "-recursive", "latest"]);
    first_line(&["at", &at, "restore", "-stdio", "-to", "out"]);
    assert_eq!(
        fs::read_dir(sandbox.path("out")).map_or(0, Iterator::count),
        3000
    );
}

#[test]
fn stores_that_cannot_be_opened_have_codes_of_their_own() {
    let sandbox = Sandbox::with_store("output_codes");
    sandbox.write("d/a", b"a");
    sandbox.backup("st", "d");
    sandbox
        .run(&["at", "nothing", "ls"])
        .ended(66)
        .says("there is no store here");
    let config = String::from_utf8(sandbox.read("st/CONFIG")).expect("it is text");
    let damaged = [
        (config.replace("compression = 3", "compression = 4"), 65),
        (config.replace("mac = \"", "mac = \"0"), 65),
        (config[..config.len() / 2].to_owned(), 65),
        (String::new(), 65),
        ("\0\u{1b}[31m".repeat(100), 65),
        (config.replace("format = 1", "format = 2"), 78),
    ];
    for (text, code) in damaged {
        fs::remove_file(sandbox.path("st/CONFIG")).expect("it can be removed");
        sandbox.write("st/CONFIG", text.as_bytes());
        for command in ["ls", "check"] {
            let run = sandbox.run(&["at", "st", command]).ended(code);
            let said = run.prints_nothing().stderr();
            harmless(&said);
            let is_short = said.lines().count() <= 2 && said.len() < 300;
            assert!(is_short && said.contains("CONFIG"), "{said}");
        }
        sandbox.run(&["at", "st", "backup", "d"]).ended(code);
    }
    sandbox.write("st/CONFIG", config.as_bytes());
    let sandbox = sandbox.with("PLAKAR_PASSPHRASE", "a crow in the cellar");
    sandbox
        .run(&["at", "st", "ls"])
        .ended(77)
        .says("st: wrong passphrase");
    let sandbox = sandbox.without("PLAKAR_PASSPHRASE");
    sandbox
        .run(&["at", "st", "ls"])
        .ended(77)
        .says("passphrase");
}

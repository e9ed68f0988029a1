//! Tests backups of streams: standard input, or the output of a command.

use std::fs::{self, File};
use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant};

use rustix::process::Signal;

use crate::harness::{Run, Sandbox, binary, noise, store};

/// The number of snapshots.
fn snapshots(sandbox: &Sandbox, at: &str) -> usize {
    let listed = sandbox.run(&["at", at, "ls"]).ended(0).stdout();
    listed.lines().count()
}

/// Runs the binary with the file `path` as its standard input.
fn fed(sandbox: &Sandbox, path: &str, words: &[&str]) -> Run {
    let input = File::open(sandbox.path(path)).expect("it was written");
    Run::of(sandbox.command(words).stdin(input))
}

#[test]
fn what_is_piped_in_becomes_one_file() {
    let sandbox = Sandbox::with_store("stream_stdin");
    let at = store("stream_stdin");
    let bytes = noise(100_000_000);
    sandbox.write("dump", &bytes);
    let binary = binary();
    let piped = |flags: &str| {
        let line =
            format!("/bin/cat dump | '{binary}' at {at} backup -json {flags} stdin:/dumps/db");
        sandbox
            .run_shell(&line)
            .ended(0)
            .says_nothing()
            .object("summary")
    };
    let first = piped("-tag nightly -check");
    assert_eq!(
        (&first["files"], &first["bytes"]),
        (&1.into(), &bytes.len().into()),
        "{first}"
    );
    let second = piped("");
    assert_eq!(
        (&second["read_bytes"], &second["new_bytes"]),
        (&bytes.len().into(), &0.into())
    );
    assert!(second["stored_bytes"].as_u64() < Some(10_000), "{second}");
    let printed = File::create(sandbox.path("out")).expect("a file can be made");
    Run::of(
        sandbox
            .command(&["at", &at, "cat", "latest"])
            .stdout(printed),
    )
    .ended(0);
    assert!(sandbox.read("out") == bytes);
    sandbox
        .run(&["at", &at, "restore", "-to", "back"])
        .ended(0)
        .says_nothing();
    assert!(sandbox.read("back/db") == bytes);
    sandbox
        .run(&["at", &at, "check"])
        .ended(0)
        .prints("check: intact");
    let listed = sandbox
        .run(&["at", &at, "-json", "ls", "-tags"])
        .ended(0)
        .objects();
    assert_eq!(
        (&listed[1]["source"], &listed[1]["tags"][0]),
        (&"stdin".into(), &"nightly".into())
    );
    assert_eq!(listed[0]["roots"][0]["path"], "/dumps/db", "{}", listed[0]);
    sandbox.discard();
}

#[test]
fn nothing_at_all_is_an_empty_file() {
    let sandbox = Sandbox::with_store("stream_empty");
    let at = store("stream_empty");
    sandbox.write("none", b"");
    fed(&sandbox, "none", &["at", &at, "backup", "stdin:nothing"])
        .ended(0)
        .says_nothing();
    sandbox
        .run(&["at", &at, "cat", "latest:/nothing"])
        .ended(0)
        .silent();
    let entry = sandbox
        .run(&["at", &at, "-json", "ls", "latest"])
        .ended(0)
        .objects();
    assert_eq!(
        (&entry[0]["size_bytes"], &entry[0]["mode"]),
        (&0.into(), &"0600".into())
    );
}

#[test]
fn what_a_command_prints_becomes_one_file() {
    let sandbox = Sandbox::with_store("stream_cmd");
    let at = store("stream_cmd");
    let script = "echo to the user >&2; /bin/cat; echo \"$@\"";
    let words = [
        "at",
        &at,
        "backup",
        "-quiet",
        "cmd:db.sql",
        "--",
        "/bin/sh",
        "-c",
        script,
        "sh",
    ];
    let words = [&words[..], &["-json", "x", "--", "-tag"]].concat();
    sandbox.write("typed", b"for nobody");
    fed(&sandbox, "typed", &words)
        .ended(0)
        .prints_nothing()
        .says("to the user\n");
    let printed = sandbox.run(&["at", &at, "cat", "latest"]).ended(0);
    printed.prints_just("-json x -- -tag\n");
    let listed = sandbox.run(&["at", &at, "-json", "ls"]).ended(0).objects();
    assert_eq!(listed[0]["source"], "cmd");
}

#[test]
fn a_dump_that_fails_is_no_snapshot() {
    let sandbox = Sandbox::with_store("stream_failed");
    let at = store("stream_failed");
    let dump = |script: &str| {
        let words = ["at", &at, "backup", "cmd:db", "--", "/bin/sh", "-c", script];
        sandbox.run(&words).ended(1).prints_nothing()
    };
    dump("echo half; exit 3").says("command /bin/sh ended with status 3, so there is no snapshot");
    dump("echo half; kill -9 $$").says("command /bin/sh was killed by signal 9");
    dump("echo all; exec >&-; exit 1").says("ended with status 1");
    let words = ["at", &at, "backup", "cmd:db", "--", "/no/such/pg_dump"];
    let run = sandbox.run(&words).ended(1);
    run.says("command /no/such/pg_dump cannot be started: no such file or directory");
    let input = File::open(sandbox.path(".")).expect("a directory can be opened");
    let words = ["at", &at, "backup", "stdin:db"];
    let unreadable = Run::of(sandbox.command(&words).stdin(input)).ended(1);
    unreadable.says("backup: standard input: is a directory");
    assert_eq!(snapshots(&sandbox, &at), 0);
}

/// A command that writes its process id to the file `pid`, prints some output, and then sleeps for
/// a long time.
const SLEEPER: &str = "echo some; echo $$ >pid.new; /bin/mv pid.new pid; exec /bin/sleep 1000";

/// Whether the process that wrote the file `pid` exists.
fn is_there(sandbox: &Sandbox) -> bool {
    let number = String::from_utf8(sandbox.read("pid")).expect("it is a number");
    Path::new("/proc").join(number.trim()).exists()
}

#[test]
fn an_interrupt_ends_the_command() {
    for (signal, name) in [(Signal::INT, "stream_int"), (Signal::TERM, "stream_term")] {
        let sandbox = Sandbox::with_store(name);
        let at = store(name);
        let words = [
            "at", &at, "backup", "cmd:db", "--", "/bin/sh", "-c", SLEEPER,
        ];
        let mut running = sandbox.start(&words);
        let pid = sandbox.path("pid");
        assert!(running.until(|_| pid.exists()), "the command runs");
        assert!(is_there(&sandbox));
        running.signal(signal);
        running
            .end()
            .ended(130)
            .prints_nothing()
            .says("interrupted");
        assert!(!is_there(&sandbox), "the command goes on");
        assert_eq!(snapshots(&sandbox, &at), 0);
    }
}

#[test]
fn an_interrupt_ends_the_wait_for_input() {
    let sandbox = Sandbox::with_store("stream_waiting");
    let at = store("stream_waiting");
    let (reader, _writer) = std::io::pipe().expect("a pipe can be made");
    let mut command = sandbox.command(&["at", &at, "backup", "-stdio", "stdin:db"]);
    let mut running = sandbox.start_command(command.stdin(Stdio::from(reader)));
    let begun = sandbox.path("stdout");
    running.until(|_| fs::metadata(&begun).is_ok_and(|file| file.len() > 0));
    running.signal(Signal::INT);
    running.end().ended(130).says("interrupted");
    assert_eq!(snapshots(&sandbox, &at), 0);
}

#[test]
fn a_backup_that_fails_ends_the_command() {
    let sandbox = Sandbox::with_store("stream_store_gone");
    let script = format!("/bin/rm -r st; /usr/bin/head -c 50000000 /dev/urandom; {SLEEPER}");
    let words = [
        "at", "st", "backup", "cmd:db", "--", "/bin/sh", "-c", &script,
    ];
    let run = sandbox.run(&words);
    assert!(!run.has_ended(0), "{}", run.stderr());
    // It may have been killed before it wrote the file.
    assert!(!sandbox.path("pid").exists() || !is_there(&sandbox));
}

#[test]
fn no_standard_input_at_all_is_a_mistake() {
    let sandbox = Sandbox::with_store("stream_null");
    let at = store("stream_null");
    let words = ["at", &at, "backup", "stdin:nothing"];
    sandbox.run(&words).ended(64).says("/dev/null");
    let binary = binary();
    let line = format!("exec '{binary}' at {at} backup stdin:nothing <&-");
    sandbox.run_shell(&line).ended(64).says("/dev/null");
    assert_eq!(snapshots(&sandbox, &at), 0);
}

#[test]
fn a_failure_is_told_while_somebody_else_holds_the_pipe() {
    let sandbox = Sandbox::with_store("stream_held");
    let at = store("stream_held");
    let line = "/bin/sleep 60 & echo half; exit 4";
    let words = ["at", &at, "backup", "cmd:db", "--", "/bin/sh", "-c", line];
    let began = Instant::now();
    // The sleeping process inherits standard error, so the test must not wait for its end.
    let mut command = sandbox.command(&words);
    let status = command.stderr(Stdio::null()).stdout(Stdio::null()).status();
    assert_eq!(status.expect("it can be run").code(), Some(1));
    assert!(
        began.elapsed() < Duration::from_secs(30),
        "it was waited for"
    );
    assert_eq!(snapshots(&sandbox, &at), 0);
}

#[test]
fn a_dry_run_takes_nothing() {
    let sandbox = Sandbox::with_store("stream_dry");
    let at = store("stream_dry");
    sandbox.write("dump", b"all of it");
    let binary = binary();
    let line = format!("('{binary}' at {at} backup -dry-run stdin:db; /bin/cat) <dump");
    let run = sandbox.run_shell(&line).ended(0).says_nothing();
    assert!(run.stdout().starts_with("new       /db\n") && run.stdout().ends_with("all of it"));
    let words = [
        "at", &at, "backup", "-dry-run", "cmd:db", "--", "/bin/sh", "-c", SLEEPER,
    ];
    sandbox.run(&words).ended(0).prints("new       /db\n");
    assert!(!sandbox.path("pid").exists(), "the command was run");
    assert_eq!(snapshots(&sandbox, &at), 0);
}

#[test]
fn a_stream_is_alone_and_has_a_name() {
    let sandbox = Sandbox::with_store("stream_usage");
    let at = store("stream_usage");
    let refused = |words: &[&str]| {
        let words = [&["at", &at, "backup"][..], words].concat();
        sandbox.run(&words).ended(64).prints_nothing()
    };
    sandbox.mkdir("d");
    refused(&["stdin:"]).says("needs a name");
    refused(&["stdin:a/"]).says("needs a name");
    refused(&["stdin:../a"]).says("must not have . or ..");
    refused(&["stdin:a", "d"]).says("name no other place");
    refused(&["stdin:a", "stdin:b"]).says("name no other place");
    refused(&["stdin:a", "--", "x"]).says("name no other place");
    refused(&["d", "cmd:a", "--", "x"]).says("name no other place");
    refused(&["cmd:a"]).says("needs a command: cmd:NAME -- COMMAND");
    refused(&["cmd:a", "--"]).says("needs a command");
    // Its flags would be parsed as flags of plakar.
    refused(&["cmd:a", "pg_dump"]).says("needs a command");
    refused(&["-ignore", "*.o", "stdin:a"]).says("-ignore is for files");
    refused(&["-o", "one_file_system", "stdin:a"]).says("-o is for files");
    assert_eq!(snapshots(&sandbox, &at), 0);
    sandbox.write("stdin:file", b"a file all the same");
    sandbox.run(&["at", &at, "backup", "./stdin:file"]).ended(0);
    let typed = sandbox
        .run_on_terminal(&["at", &at, "backup", "stdin:a"])
        .ended(64);
    typed.prints("standard input is a terminal");
}

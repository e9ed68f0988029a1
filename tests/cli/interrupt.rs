//! Tests interruption by SIGINT, by SIGTERM and by both.

use std::fs;
use std::path::PathBuf;
use std::process::Stdio;
use std::sync::OnceLock;
use std::thread::sleep;
use std::time::{Duration, Instant};

use rustix::io::ioctl_fionread;
use rustix::process::{Pid, Signal, kill_process};

use crate::harness::{Run, Sandbox, noise, store};
use crate::process::{Running, weight};

/// The deadline for an interrupted command. It takes a fraction of a second; the rest is a margin
/// for machines under load.
const SOON: Duration = Duration::from_secs(5);
/// The amount of work of every command here, large enough to be interrupted midway.
const FILES: usize = 48;
const FILE_BYTES: usize = 4 << 20;
const SOURCE_BYTES: u64 = (FILES * FILE_BYTES) as u64;

/// Distinct files of random data, shared by all tests with long work.
pub(crate) fn source() -> String {
    static SOURCE: OnceLock<PathBuf> = OnceLock::new();
    let make = || {
        let sandbox = Sandbox::new("interrupt_source");
        let mut bytes = noise(FILE_BYTES);
        for file in 0..FILES {
            // Each block gets a different number, so that no two chunks are equal.
            for (at, byte) in bytes.iter_mut().step_by(4096).enumerate() {
                *byte = (file * 7 + at) as u8;
            }
            bytes.rotate_left(1021);
            sandbox.write(&format!("d/{file:02}"), &bytes);
        }
        sandbox.path("d")
    };
    let path = SOURCE.get_or_init(make).display();
    path.to_string()
}

/// A sandbox with a store and a snapshot of one small file in it.
fn with_snapshot(name: &str) -> Sandbox {
    let sandbox = Sandbox::with_store(name);
    sandbox.write("old/a", b"older than all of this");
    sandbox.backup("st", "old");
    sandbox
}

/// Sends `signal` once `begun` returns true, and checks how the command ends.
#[track_caller]
fn interrupted(mut running: Running, signal: Signal, begun: impl Fn(&Running) -> bool) -> Run {
    let met = running.until(begun);
    running.signal(signal);
    let asked = Instant::now();
    let run = running.end();
    if !met {
        run.fail("is still at work when the signal comes");
    }
    let took = asked.elapsed();
    assert!(took < SOON, "it took {took:?} to end");
    let run = run.ended(130).says("interrupted");
    let said = run.stderr();
    assert!(
        said.starts_with("plakar: ") && said.lines().count() == 1,
        "{said}"
    );
    run
}

/// Asserts that a stopped backup left no snapshot and no partially written object.
fn nothing_is_left_behind(sandbox: &Sandbox) {
    let listed = sandbox.run(&["at", "st", "ls"]).ended(0).stdout();
    assert_eq!(listed.lines().count(), 1, "{listed}");
    assert_eq!(weight(&sandbox.path("st/tmp")), 0);
    let mut left = fs::read_dir(sandbox.path("st/tmp")).expect("it can be listed");
    assert!(left.next().is_none(), "a temporary file is left");
    sandbox
        .run(&["at", "st", "check"])
        .ended(0)
        .prints("check: intact: ");
}

fn an_interrupted_backup_is_continued(name: &str, signal: Signal) {
    let source = source();
    let sandbox = with_snapshot(name);
    let packs = sandbox.path("st/packs");
    let running = sandbox.start(&["at", "st", "backup", &source]);
    let begun = |_: &Running| weight(&packs) > SOURCE_BYTES / 4;
    interrupted(running, signal, begun)
        .prints_nothing()
        .says("plakar: backup: interrupted; a rerun continues with the data stored so far\n");
    nothing_is_left_behind(&sandbox);
    let again = sandbox
        .run(&["at", "st", "backup", "-json", &source])
        .ended(0);
    let summary = again.object("summary");
    let new_bytes = summary["new_bytes"].as_u64().unwrap_or(u64::MAX);
    assert!(new_bytes < SOURCE_BYTES * 7 / 8, "{summary}");
    assert_eq!(summary["bytes"], SOURCE_BYTES, "{summary}");
    sandbox.discard();
}

#[test]
fn a_backup_ended_by_sigint_is_continued_by_the_next() {
    an_interrupted_backup_is_continued("interrupt_backup_int", Signal::INT);
}

#[test]
fn a_backup_ended_by_sigterm_is_continued_by_the_next() {
    an_interrupted_backup_is_continued("interrupt_backup_term", Signal::TERM);
}

#[test]
fn restore_and_check_end_when_asked_to() {
    let source = source();
    let sandbox = Sandbox::with_store("interrupt_reading");
    let at = store("interrupt_reading");
    sandbox.backup(&at, &source);
    for (number, signal) in [Signal::INT, Signal::TERM].into_iter().enumerate() {
        let target = format!("out{number}");
        let there = sandbox.path(&target);
        let running = sandbox.start(&["at", &at, "restore", "-to", &target]);
        let begun = |_: &Running| weight(&there) > SOURCE_BYTES / 8;
        interrupted(running, signal, begun);
        only_whole_files(&sandbox, &target, &source);
        let running = sandbox.start(&["at", &at, "check"]);
        let begun = |running: &Running| running.read_bytes() > SOURCE_BYTES / 8;
        interrupted(running, signal, begun).prints_nothing();
    }
    let again = sandbox
        .run(&["at", &at, "restore", "-to", "out0"])
        .ended(0)
        .says_nothing();
    again.prints("there already");
    assert_eq!(weight(&sandbox.path("out0")), SOURCE_BYTES);
    sandbox.discard();
}

/// Asserts that each file in the target equals the source, and that some are missing.
fn only_whole_files(sandbox: &Sandbox, target: &str, source: &str) {
    let entries: Vec<_> = fs::read_dir(sandbox.path(target))
        .expect("it can be listed")
        .map(|entry| entry.expect("it can be listed").file_name())
        .collect();
    assert!(entries.len() < FILES, "nothing was left to be done");
    for name in entries {
        let restored = fs::read(sandbox.path(target).join(&name)).expect("it can be read");
        let original = fs::read(PathBuf::from(source).join(&name));
        let original = original.unwrap_or_else(|_| panic!("{} is left over", name.display()));
        assert!(restored == original, "{} is half-written", name.display());
    }
}

#[test]
fn a_second_signal_ends_it_at_once() {
    let source = source();
    let sandbox = with_snapshot("interrupt_twice");
    let tmp = sandbox.path("st/tmp");
    let mut running = sandbox.start(&["at", "st", "backup", &source]);
    // The process is stopped first, so that it sees both signals when it continues. This avoids a
    // race.
    running.until(|_| weight(&tmp) > 0);
    running.signal(Signal::STOP);
    running.signal(Signal::INT);
    running.signal(Signal::TERM);
    running.signal(Signal::CONT);
    running.end().ended(130).silent();
    sandbox.run(&["at", "st", "check"]).ended(0);
    let listed = sandbox.run(&["at", "st", "ls"]).ended(0).stdout();
    assert_eq!(listed.lines().count(), 1, "{listed}");
    sandbox.run(&["at", "st", "backup", &source]).ended(0);
    sandbox.discard();
}

#[test]
fn a_reader_that_has_stopped_reading_does_not_keep_us() {
    let sandbox = Sandbox::with_store("interrupt_reader");
    sandbox.write("d/a", &noise(1 << 20));
    sandbox.backup("st", "d");
    let outputs: [&[&str]; 2] = [
        &["at", "st", "cat", "latest:a"],
        &[
            "at", "st", "archive", "-format", "tar", "-output", "-", "latest",
        ],
    ];
    for words in outputs {
        let mut command = sandbox.command(words);
        let mut child = command.stdout(Stdio::piped()).spawn().expect("it starts");
        let pipe = child.stdout.take().expect("it is a pipe");
        let began = Instant::now();
        let is_full = || ioctl_fionread(&pipe).is_ok_and(|bytes| bytes >= 60 << 10);
        while !is_full() && began.elapsed() < Duration::from_secs(60) {
            sleep(Duration::from_millis(5));
        }
        assert!(is_full(), "{words:?}");
        kill_process(Pid::from_child(&child), Signal::INT).expect("it is there");
        let asked = Instant::now();
        let status = loop {
            match child.try_wait().expect("it is ours") {
                Some(status) => break status,
                None if asked.elapsed() > SOON => {
                    child.kill().expect("it is there");
                    panic!("{words:?} goes on");
                }
                None => sleep(Duration::from_millis(5)),
            }
        };
        assert_eq!(status.code(), Some(130), "{words:?}");
    }
}

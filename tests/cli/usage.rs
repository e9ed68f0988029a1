//! Tests invalid command lines, and streams that cannot be written.

use std::ffi::OsString;
use std::fs::File;
use std::os::unix::ffi::OsStringExt;

use crate::harness::{Run, Sandbox};

#[test]
fn slips_are_answered_on_standard_error_with_exit_code_64() {
    let sandbox = Sandbox::new("slips");
    sandbox
        .run(&["verzion"])
        .ended(64)
        .prints_nothing()
        .says("plakar: unknown command \"verzion\" (did you mean version?)\n");
    sandbox
        .run(&["-jsn", "version"])
        .ended(64)
        .prints_nothing()
        .says("plakar: unknown flag -jsn (did you mean -json?)\n");
    sandbox
        .run(&["version", "-qiuet"])
        .ended(64)
        .says("plakar: version: unknown flag -qiuet (did you mean -quiet?)\n");
    sandbox
        .run(&["-keyfile"])
        .ended(64)
        .says("flag -keyfile needs a value: FILE");
    sandbox
        .run(&["-concurrency", "0", "version"])
        .ended(64)
        .says("-concurrency: must be at least 1");
    sandbox.run(&["at"]).ended(64).says("at: needs a STORE");
}

#[test]
fn command_names_of_other_programs_lead_to_those_of_plakar() {
    let sandbox = Sandbox::new("peers");
    for (word, hint) in [
        ("init", "unknown command \"init\" (use plakar create)\n"),
        (
            "forget",
            "(use plakar prune by a policy, plakar rm for one snapshot)\n",
        ),
        ("copy", "(use plakar sync)\n"),
        ("unlock", "\"unlock\": plakar has no locks"),
    ] {
        sandbox.run(&[word]).ended(64).prints_nothing().says(hint);
        sandbox.run(&["help", word]).ended(64).says(hint);
    }
    // No subcommand has a similar name either, so there is no suggestion.
    sandbox
        .run(&["key", "init"])
        .ended(64)
        .says("key: unknown subcommand \"init\"; known are list, ");
    sandbox
        .run(&["lisp"])
        .ended(64)
        .says("unknown command \"lisp\"\n");
}

#[test]
fn flags_do_not_cluster() {
    let sandbox = Sandbox::new("no_clusters");
    sandbox.run(&["-hv"]).ended(64).says("unknown flag -hv");
}

#[test]
fn hostile_words_come_back_printable() {
    let sandbox = Sandbox::new("hostile_words");
    let word = OsString::from_vec(b"\x1b[31mcaf\xe9".to_vec());
    let run = sandbox.run(&[word]).ended(64);
    run.says("unknown command \"\\u{1b}[31mcaf");
    let flag = OsString::from_vec(b"-\x1b[31m".to_vec());
    sandbox
        .run(&[flag])
        .ended(64)
        .says("unknown flag -\\u{1b}[31m\n");
}

#[test]
fn silent_means_that_only_the_exit_code_tells() {
    let sandbox = Sandbox::new("silent");
    sandbox
        .run(&["-silent", "help", "frobnicate"])
        .ended(64)
        .silent();
    sandbox
        .run(&["-quiet", "help", "frobnicate"])
        .ended(64)
        .says("plakar: help: unknown command");
}

#[test]
fn an_error_is_an_object_too() {
    let sandbox = Sandbox::new("error_json");
    let run = sandbox
        .run(&["-json", "help", "frobnicate"])
        .ended(64)
        .says("plakar: help: unknown command");
    let objects = run.objects();
    assert_eq!(objects[0]["type"], "error");
    assert_eq!(objects[0]["code"], 64);
}

#[test]
fn a_reader_that_leaves_ends_the_command_quietly() {
    let sandbox = Sandbox::new("reader_left");
    let (reader, writer) = std::io::pipe().expect("a pipe can be made");
    drop(reader);
    let run = Run::of(sandbox.command(&["help"]).stdout(writer));
    run.ended(0).says_nothing();
}

#[test]
fn a_full_disk_is_not_mistaken_for_success() {
    let sandbox = Sandbox::new("full_disk");
    let full = File::options()
        .write(true)
        .open("/dev/full")
        .expect("/dev/full is there");
    let run = Run::of(sandbox.command(&["version"]).stdout(full));
    run.ended(1)
        .says("plakar: standard output: no space left on device\n");
}

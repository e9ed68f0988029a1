//! `version` and `help`, in all the ways people ask for them.

use crate::harness::Sandbox;

fn version_line() -> String {
    format!(
        "plakar {} {}/{}\n",
        env!("CARGO_PKG_VERSION"),
        std::env::consts::OS,
        std::env::consts::ARCH
    )
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
        sandbox
            .run(words)
            .ended(0)
            .prints_just(&version_line())
            .says_nothing();
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
fn help_explains_a_command() {
    let sandbox = Sandbox::new("help_command");
    for words in [
        ["help", "version"].as_slice(),
        &["version", "-h"],
        &["-help", "version"],
    ] {
        let run = sandbox.run(words).ended(0).says_nothing();
        run.prints("usage: plakar [OPTIONS] [at STORE] version\n")
            .prints("Print the version.")
            .prints("plakar-version(1)");
    }
    sandbox
        .run(&["help", "verison"])
        .ended(64)
        .says("help: unknown command \"verison\" (did you mean version?)");
}

#[test]
fn a_command_may_be_timed() {
    let sandbox = Sandbox::new("time");
    sandbox
        .run(&["version", "-time"])
        .ended(0)
        .prints_just(&version_line())
        .says("plakar: time: ");
}

//! Tests the prerequisites of tests: `.ci/setup` installs them, and a skip is always reported.

use std::collections::BTreeSet;
use std::fs;
use std::process::Command;

use crate::common::prerequisite::{PACKAGES, skip};
use crate::top;

#[test]
fn the_setup_installs_every_program_that_tests_need() {
    let setup = fs::read_to_string(top().join(".ci/setup")).expect("it is there");
    let list = setup.split_once("packages=(").expect("it lists packages").1;
    let (list, _) = list.split_once(')').expect("the list has an end");
    let installed: BTreeSet<&str> = list.split_whitespace().collect();
    for (program, package) in PACKAGES {
        assert!(installed.contains(package), "{program} is in {package}");
    }
}

#[test]
#[ignore = "run by a_skip_is_reported_and_fails_if_denied"]
fn a_skip() {
    skip("this is on purpose");
}

#[test]
fn a_skip_is_reported_and_fails_if_denied() {
    let program = std::env::current_exe().expect("this process has a program");
    for (value, is_fine) in [("allow", true), ("deny", false)] {
        let mut command = Command::new(&program);
        command.args(["--exact", "prerequisites::a_skip", "--ignored"]);
        let output = command.env("PLAKAR_TEST_SKIP", value).output();
        let output = output.expect("it can be run");
        assert_eq!(output.status.success(), is_fine, "{value}: {output:?}");
        let shown = [output.stdout, output.stderr].concat();
        let shown = String::from_utf8_lossy(&shown);
        let report = "skipped: prerequisites::a_skip (tests/packaging/prerequisites.rs:";
        assert!(shown.contains(report), "{value}: {shown}");
        assert!(shown.contains("): this is on purpose"), "{value}: {shown}");
    }
}

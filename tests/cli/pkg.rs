//! Tests built-in connectors, and the commands for a service that does not exist.

use plakar::config::connectors::CONNECTORS;

use crate::harness::Sandbox;

#[test]
fn connectors_are_listed_with_what_they_can_open() {
    let sandbox = Sandbox::new("pkg");
    let run = sandbox.run(&["pkg", "list"]).ended(0).says_nothing();
    let run = run.prints(env!("CARGO_PKG_VERSION"));
    assert!(
        run.stdout().lines().any(|line| line.starts_with("fs ")),
        "{}",
        run.stdout()
    );
    let packages = sandbox.run(&["-json", "pkg", "list"]).ended(0).objects();
    let named = |name: &str| {
        let mut packages = packages.iter();
        packages
            .find(|package| package["name"] == name)
            .expect("it is listed")
    };
    assert_eq!(named("fs")["roles"].as_array().map(Vec::len), Some(3));
    // Exactly the connectors listed as built in can be added.
    for package in &packages {
        let name = package["name"].as_str().expect("it has a name");
        let has_roles = package["roles"]
            .as_array()
            .is_some_and(|roles| !roles.is_empty());
        let run = sandbox.run(&["pkg", "add", name]);
        match has_roles {
            true => drop(run.ended(0).prints_just(&format!("{name}: built in\n"))),
            false => drop(
                run.ended(66)
                    .prints_nothing()
                    .says(&format!("{name} is not in this version")),
            ),
        }
    }
}

#[test]
fn a_connector_tells_its_options() {
    let sandbox = Sandbox::new("pkg_show");
    let run = sandbox.run(&["pkg", "show", "fs", "https"]).ended(0);
    run.prints("locations:    fs:, file:\n")
        .prints("one_file_system (source)")
        .prints("name:         http\n");
}

#[test]
fn what_is_not_there_and_what_cannot_go_is_told() {
    let sandbox = Sandbox::new("pkg_unknown");
    let names: Vec<&str> = CONNECTORS.iter().map(|connector| connector.name).collect();
    let there = format!("there are {}", names.join(", "));
    for verb in ["add", "show", "rm"] {
        let run = sandbox
            .run(&["pkg", verb, "nosuch"])
            .ended(66)
            .prints_nothing();
        run.says("no connector named \"nosuch\"").says(&there);
        sandbox.run(&["pkg", verb]).ended(64);
    }
    sandbox
        .run(&["pkg", "rm", "fs"])
        .ended(1)
        .says("fs: built in, and cannot be removed");
}

#[test]
fn scripts_that_log_in_first_go_on() {
    let sandbox = Sandbox::new("login");
    for words in [
        ["login"].as_slice(),
        &["login", "-email", "x@y"],
        &["login", "-github", "-no-spawn"],
        &["login", "-env"],
        &["login", "-status"],
        &["logout"],
    ] {
        let run = sandbox.run(words).ended(0).says_nothing();
        let run = run.prints("there is no service to log in to");
        assert_eq!(run.stdout().lines().count(), 1);
    }
    let object = sandbox.run(&["login", "-json"]).ended(0).object("login");
    assert_eq!(object["is_needed"], false);
    sandbox.run(&["login", "me"]).ended(64);
}

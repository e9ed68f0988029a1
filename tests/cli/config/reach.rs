//! Tests whether configured places are reported as reachable.

use super::*;

#[test]
fn check_and_ping_tell_what_is_there() {
    let sandbox = Sandbox::with_store("config_check");
    sandbox.run(&["store", "add", "st", "st"]).ended(0);
    let at = sandbox.path("st").display().to_string();
    let checked = sandbox.run(&["store", "check", "st"]).ended(0);
    checked.prints_just(&format!(
        "st: {at} is a store, and the passphrase opens it\n"
    ));
    sandbox
        .run(&["store", "set", "st", "passphrase=wrong"])
        .ended(0);
    // The environment would override it.
    let sandbox = sandbox.without("PLAKAR_PASSPHRASE");
    sandbox
        .run(&["store", "check", "st"])
        .ended(77)
        .says(&at)
        .says("wrong passphrase");
    sandbox
        .run(&["store", "ping", "st"])
        .ended(0)
        .prints("is a store");
    sandbox
        .run(&["store", "ping", "st:keys"])
        .ended(0)
        .prints("is no store yet");
    sandbox
        .run(&["store", "ping", "st:nothing"])
        .ended(66)
        .says("st/nothing");
    sandbox
        .run(&["store", "check", "st:keys"])
        .ended(66)
        .says("st/keys");
    sandbox.write("d/f", b"x");
    sandbox.run(&["source", "add", "d", "d"]).ended(0);
    sandbox
        .run(&["source", "check", "d:f"])
        .ended(0)
        .prints("can be read");
    sandbox
        .run(&["source", "check", "d:g"])
        .ended(66)
        .says("d/g: no such file");
    sandbox.run(&["destination", "add", "d", "d"]).ended(0);
    sandbox
        .run(&["destination", "check", "d:new/er"])
        .ended(0)
        .prints("can be made");
    sandbox
        .run(&["destination", "check", "d:f/x"])
        .ended(1)
        .says("d/f: it is not a directory");
    let found = sandbox
        .run(&["-json", "destination", "check", "d"])
        .ended(0)
        .object("check");
    assert_eq!(found["name"], "d");
    for word in ["store", "source", "destination"] {
        // No program listens on this port.
        let add = [word, "add", "far", "sftp://127.0.0.1:1/tmp"];
        sandbox.run(&add).ended(0);
        for how in ["check", "ping"] {
            let run = sandbox.run(&[word, how, "far:etc"]).ended(69);
            run.says("connect to 127.0.0.1: connection refused");
        }
    }
}

#[test]
fn nothing_is_needed_of_the_environment_but_for_names() {
    let sandbox = Sandbox::with_store("config_homeless")
        .without("HOME")
        .without("XDG_CONFIG_HOME");
    sandbox.write("d/a", b"x");
    sandbox.run(&["at", "st", "backup", "d"]).ended(0);
    sandbox.run(&["at", "st", "restore", "-to", "out"]).ended(0);
    sandbox
        .run(&["store", "list"])
        .ended(78)
        .says("HOME is not set");
    sandbox
        .run(&["-configdir", "conf", "store", "list"])
        .ended(0)
        .silent();
}

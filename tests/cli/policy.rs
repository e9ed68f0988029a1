//! Tests policies: named flags of a query.

use crate::harness::Sandbox;

#[test]
fn a_policy_is_kept_with_the_flags_of_a_query() {
    let sandbox = Sandbox::new("policy_life");
    let add = [
        "policy",
        "add",
        "usual",
        "days=7",
        "per-day=1",
        "tag=a",
        "tag=!b",
        "latest=true",
    ];
    sandbox.run(&add).ended(0).silent();
    let shown = "[usual]\ndays = 7\nper-day = 1\ntag = [\"a\", \"!b\"]\nlatest = true\n";
    sandbox.run(&["policy", "show"]).ended(0).prints_just(shown);
    let object = sandbox
        .run(&["policy", "show", "-json"])
        .ended(0)
        .object("policy");
    assert_eq!(object["options"]["days"], 7);
    assert_eq!(object["options"]["tag"], serde_json::json!(["a", "!b"]));
    sandbox
        .run(&["policy", "set", "usual", "days=30", "tag=c"])
        .ended(0)
        .silent();
    sandbox
        .run(&["policy", "unset", "usual", "latest"])
        .ended(0)
        .silent();
    let shown = "[usual]\ndays = 30\nper-day = 1\ntag = \"c\"\n";
    sandbox
        .run(&["policy", "show", "usual"])
        .ended(0)
        .prints_just(shown);
    sandbox
        .run(&["policy", "list"])
        .ended(0)
        .prints_just("usual\n");
    sandbox.run(&["policy", "rm", "usual"]).ended(0).silent();
    sandbox.run(&["policy", "list"]).ended(0).silent();
}

#[test]
fn what_the_flags_refuse_is_refused() {
    let sandbox = Sandbox::new("policy_refused");
    for (option, says) in [
        ("dayz=7", "\"dayz\" (did you mean days?)"),
        ("days=x", "days"),
        ("days=0", "days"),
        ("before=soon", "before"),
        ("latest=perhaps", "latest"),
        ("days", "\"days\" is not KEY=VALUE"),
        (
            "tag=home",
            "it keeps nothing: add what to keep, such as days=7",
        ),
        ("latest=true", "it keeps nothing"),
    ] {
        sandbox
            .run(&["policy", "add", "p", option])
            .ended(64)
            .says(says);
    }
    let empty = sandbox.run(&["policy", "add", "p"]);
    empty.ended(64).says("it keeps nothing");
    sandbox.run(&["policy", "list"]).ended(0).silent();
    sandbox.write(
        "home/.config/plakar/policies.toml",
        b"[old]\ntag = \"home\"\n",
    );
    let set = sandbox.run(&["policy", "set", "old", "name=x"]);
    set.ended(64).says("it keeps nothing");
    let set = sandbox.run(&["policy", "set", "old", "days=7"]);
    set.ended(0).silent();
    sandbox.run(&["policy", "rm", "old"]).ended(0).silent();
    sandbox.run(&["policy", "add", "p", "days=7"]).ended(0);
    sandbox
        .run(&["policy", "set", "p", "weeks=none"])
        .ended(64)
        .says("weeks");
    sandbox.run(&["policy", "add", "p", "days=8"]).ended(1);
    sandbox
        .run(&["policy", "show"])
        .ended(0)
        .prints_just("[p]\ndays = 7\n");
    sandbox
        .run(&["policy", "check", "p"])
        .ended(64)
        .says("unknown subcommand");
}

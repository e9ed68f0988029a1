//! Tests `plakar server token`: its output, and the stored data.

use std::os::unix::fs::PermissionsExt;

use crate::harness::Sandbox;

#[test]
fn a_token_is_printed_once_and_only_its_hash_is_kept() {
    let sandbox = Sandbox::new("server_token_add");
    let add = ["server", "token", "add", "laptop", "-role", "append"];
    let printed = sandbox.run(&add).ended(0).says_nothing().stdout();
    let token = printed.trim_end();
    assert!(
        token.len() == 64 && token.bytes().all(|byte| byte.is_ascii_hexdigit()),
        "{token}"
    );
    let path = "home/.config/plakar/tokens.toml";
    let kept = String::from_utf8(sandbox.read(path)).expect("it is text");
    assert!(!kept.contains(token) && kept.contains("[laptop]"), "{kept}");
    let mode = sandbox
        .path(path)
        .metadata()
        .expect("it is there")
        .permissions()
        .mode();
    assert_eq!(mode & 0o777, 0o600);
    sandbox
        .run(&add)
        .ended(1)
        .prints_nothing()
        .says("server token add: ");
    let other = sandbox
        .run(&["-json", "server", "token", "add", "b", "-role", "full"])
        .ended(0);
    let object = other.object("token");
    assert_eq!(
        (&object["name"], &object["role"]),
        (&"b".into(), &"full".into())
    );
    assert!(
        object["token"]
            .as_str()
            .is_some_and(|other| other.len() == 64 && other != token)
    );
    let list = sandbox
        .run(&["server", "token", "list"])
        .ended(0)
        .says_nothing()
        .stdout();
    let lines: Vec<Vec<&str>> = list
        .lines()
        .map(|line| line.split_whitespace().collect())
        .collect();
    assert_eq!(&lines[0][1..], ["append", "laptop"]);
    assert_eq!(&lines[1][1..], ["full", "b"]);
    let listed = sandbox
        .run(&["-json", "server", "token", "ls"])
        .ended(0)
        .objects();
    assert_eq!((listed.len(), &listed[0]["name"]), (2, &"laptop".into()));
    assert!(listed[0].get("hash").is_none());
    sandbox
        .run(&["server", "token", "rm", "laptop"])
        .ended(0)
        .silent();
    sandbox
        .run(&["server", "token", "rm", "laptop"])
        .ended(66)
        .says("no token named \"laptop\"");
    let list = sandbox.run(&["server", "token", "list"]).ended(0).stdout();
    assert_eq!(list.lines().count(), 1);
}

#[test]
fn words_that_make_no_sense_are_refused() {
    let sandbox = Sandbox::new("server_token_words");
    for (words, says) in [
        (
            ["server", "token"].as_slice(),
            "server token: needs one of: list, add, rm",
        ),
        (
            &["server", "token", "lst"],
            "server token: unknown subcommand \"lst\" (did you mean list?)",
        ),
        (
            &["server", "token", "add", "a"],
            "server token add: needs -role read|append|full",
        ),
        (
            &["server", "token", "add", "a", "-role", "king"],
            "-role: \"king\" is not read",
        ),
        (
            &["server", "token", "add", "-role", "read"],
            "needs the NAME of a token",
        ),
        (
            &["server", "token", "add", "a", "b", "-role", "read"],
            "unexpected argument \"b\"",
        ),
        (
            &["server", "token", "add", "a b", "-role", "read"],
            "is not a valid name",
        ),
        (
            &["server", "-allow-delete", "token", "list"],
            "unexpected flag -allow-delete of server",
        ),
    ] {
        sandbox.run(words).ended(64).prints_nothing().says(says);
    }
    sandbox.run(&["server", "token", "list"]).ended(0).silent();
    let list = ["server", "token", "list", "-tokens", "none"];
    sandbox
        .run(&list)
        .ended(66)
        .says("none: the file does not exist");
}

#[test]
fn help_and_completion_know_what_is_below() {
    let sandbox = Sandbox::new("server_token_help");
    let help = sandbox.run(&["help", "server", "token", "add"]).ended(0);
    help.prints("token add -role read|append|full")
        .prints("plakar-server(1)");
    sandbox
        .run(&["server", "token", "rm", "-h"])
        .ended(0)
        .prints("Remove a token.");
    let help = sandbox.run(&["help", "server"]).ended(0);
    help.prints("PLAKAR-SERVER(1)")
        .prints("-max-connections N")
        .prints("plakar server token manages the tokens");
    let candidates = |words: &[&str]| {
        let index = (words.len() - 1).to_string();
        let all = [&["completion", "candidates", &index, "--"], words].concat();
        sandbox.run(&all).ended(0).stdout()
    };
    for (words, expected) in [
        (["server", "t"].as_slice(), "token"),
        (&["server", "token", "a"], "add"),
        (&["server", "-max"], "-max-connections"),
        (&["server", "token", "add", "-role", "ap"], "append"),
        (&["help", "server", "token", "l"], "list"),
    ] {
        let found = candidates(words);
        assert!(found.contains(expected), "{words:?}: {found}");
    }
}

//! Tests `@name[:path]`, and the options and passphrase of a name.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use crate::harness::{PASSPHRASE, Sandbox};

const STORES: &str = "home/.config/plakar/stores.toml";

/// A passphrase that no store of these tests has.
const WRONG: &str = "moths about the lamp";

fn listed(sandbox: &Sandbox, section: &str, word: &str) -> String {
    let object = sandbox
        .run(&["-json", section, "list", word])
        .ended(0)
        .object(section);
    object["location"].as_str().unwrap_or_default().to_owned()
}

#[test]
fn the_documents_examples_hold() {
    let sandbox = Sandbox::new("names_documents");
    sandbox
        .run(&["store", "add", "foobar", "sftp://localhost/tmp"])
        .ended(0);
    sandbox
        .run(&["source", "add", "foobar", "sftp://localhost/etc"])
        .ended(0);
    sandbox
        .run(&["destination", "add", "foobar", "sftp://localhost"])
        .ended(0);
    let cases = [
        ("store", "foobar", "sftp://localhost/tmp"),
        ("store", "foobar:etc", "sftp://localhost/tmp/etc"),
        ("store", "foobar:/etc", "sftp://localhost/etc"),
        ("source", "foobar:uucp", "sftp://localhost/etc/uucp"),
        ("source", "foobar:/etc/uucp", "sftp://localhost/etc/uucp"),
        ("destination", "foobar", "sftp://localhost"),
        ("destination", "foobar:x", "sftp://localhost/~/x"),
        ("destination", "foobar:/x", "sftp://localhost/x"),
    ];
    for (section, word, location) in cases {
        assert_eq!(
            listed(&sandbox, section, word),
            location,
            "{section} {word}"
        );
    }
    // The path that each command receives.
    let used = [
        (["at", "@foobar:etc", "ls"].as_slice(), "/tmp/etc"),
        (&["at", "@foobar:/etc", "ls"], "/etc"),
        (&["backup", "@foobar:uucp"], "/etc/uucp"),
        (&["backup", "@foobar:/etc/uucp"], "/etc/uucp"),
        (&["destination", "ping", "foobar:x"], "/~/x"),
    ];
    // No program listens on this port.
    for section in ["store", "source", "destination"] {
        sandbox.run(&[section, "set", "foobar", "port=1"]).ended(0);
    }
    for (words, path) in used {
        let says = format!("sftp://localhost{path}: ");
        sandbox
            .run(words)
            .ended(69)
            .says(&says)
            .says("connect to localhost: ");
    }
}

#[test]
fn stores_sources_and_destinations_go_by_their_names() {
    let sandbox = Sandbox::new("names_use");
    sandbox.write("d/sub/a", b"hello");
    sandbox.write("d/b", b"world");
    sandbox.run(&["store", "add", "disk", "disk"]).ended(0);
    sandbox.run(&["source", "add", "d", "d"]).ended(0);
    sandbox.run(&["destination", "add", "out", "out"]).ended(0);
    sandbox
        .run(&["at", "@disk:st", "create"])
        .ended(0)
        .prints_nothing();
    assert!(sandbox.path("disk/st/CONFIG").exists());
    sandbox
        .run(&["at", "@disk:st", "backup", "@d:sub"])
        .ended(0);
    sandbox
        .run(&["at", "@disk:st", "restore", "-to", "@out:one"])
        .ended(0);
    assert_eq!(sandbox.read("out/one/a"), b"hello");
    let absolute = sandbox.path("else").display().to_string();
    sandbox
        .run(&[
            "at",
            "disk/st",
            "restore",
            "-to",
            &format!("@out:{absolute}"),
        ])
        .ended(0);
    assert_eq!(sandbox.read("else/a"), b"hello");
    sandbox
        .run(&[
            "at",
            "disk/st",
            "restore",
            "-to",
            &format!("file://{absolute}2"),
        ])
        .ended(0);
    assert_eq!(sandbox.read("else2/a"), b"hello");
    // Without a command, snapshots are listed.
    let bare = sandbox.run(&["at", "@disk:st"]).ended(0);
    assert_eq!(bare.stdout().lines().count(), 1);
    let sandbox = sandbox.with("PLAKAR_REPOSITORY", "@disk:st");
    assert_eq!(sandbox.run::<&str>(&[]).ended(0).stdout(), bare.stdout());
}

#[test]
fn unknown_names_say_where_they_were_looked_for() {
    let sandbox = Sandbox::with_store("names_unknown");
    sandbox.run(&["store", "add", "cellar", "/x"]).ended(0);
    let unknown = sandbox.run(&["at", "@cellra", "ls"]).ended(66);
    unknown
        .says(STORES)
        .says("no store named cellra (did you mean @cellar?)");
    sandbox
        .run(&["at", "st", "backup", "@x"])
        .ended(66)
        .says("sources.toml: no source named x");
    sandbox
        .run(&["at", "st", "restore", "-to", "@x"])
        .ended(66)
        .says("destinations.toml: no destination named x");
    sandbox.run(&["at", "@", "ls"]).ended(66);
    sandbox.write(STORES, b"default = 'gone'\n");
    sandbox.run(&["ls"]).ended(66).says("no store named gone");
    sandbox
        .run::<&str>(&[])
        .ended(66)
        .says("no store named gone");
}

#[test]
fn a_default_is_used_where_none_is_given() {
    let sandbox = Sandbox::new("names_default");
    sandbox.write("d/a", b"hello");
    for (section, place) in [("store", "st"), ("source", "d"), ("destination", "out")] {
        sandbox.run(&[section, "add", "x", place]).ended(0);
        sandbox.run(&[section, "default", "x"]).ended(0);
    }
    sandbox.run(&["create"]).ended(0).prints_nothing();
    sandbox.run(&["backup"]).ended(0);
    sandbox.run(&["restore"]).ended(0);
    assert_eq!(sandbox.read("out/a"), b"hello");
    let sandbox = sandbox.with("PLAKAR_REPOSITORY", "elsewhere");
    sandbox.run(&["ls"]).ended(66).says("elsewhere");
}

#[test]
fn create_with_nothing_else_makes_a_store_at_home() {
    let sandbox = Sandbox::new("names_home");
    sandbox.run(&["create"]).ended(0).prints_nothing();
    assert!(sandbox.path("home/.plakar/CONFIG").exists());
    sandbox.run(&["create"]).ended(1);
    sandbox.run::<&str>(&[]).ended(0).silent();
    sandbox.run(&["ls"]).ended(0).silent();
}

/// A store with the name `nas`, and no passphrase in the environment.
fn with_nas(name: &str) -> Sandbox {
    let sandbox = Sandbox::with_store(name).without("PLAKAR_PASSPHRASE");
    sandbox.write("key", PASSPHRASE.as_bytes());
    sandbox.write("wrong", WRONG.as_bytes());
    for name in ["key", "wrong"] {
        let private = fs::Permissions::from_mode(0o600);
        fs::set_permissions(sandbox.path(name), private).expect("it is ours");
    }
    sandbox.run(&["store", "add", "nas", "st"]).ended(0);
    sandbox
}

#[test]
fn a_configured_passphrase_opens_the_store_that_is_named_and_no_other() {
    let sandbox = with_nas("names_passphrase");
    let given = [
        format!("passphrase={PASSPHRASE}"),
        format!("passphrase_cmd=echo '{PASSPHRASE}'; echo more"),
        format!("keyfile={}", sandbox.path("key").display()),
    ];
    for option in given {
        let key = option.split('=').next().unwrap_or_default().to_owned();
        sandbox.run(&["store", "set", "nas", &option]).ended(0);
        sandbox.run(&["at", "@nas", "ls"]).ended(0).silent();
        sandbox
            .run(&["at", "st", "ls"])
            .ended(77)
            .says("no passphrase");
        sandbox.run(&["store", "unset", "nas", &key]).ended(0);
    }
    sandbox
        .run(&["at", "@nas", "ls"])
        .ended(77)
        .says("no passphrase");
}

#[test]
fn passphrases_count_in_their_order() {
    let sandbox = with_nas("names_order");
    let set = |sandbox: &Sandbox, option: &str| {
        sandbox.run(&["store", "set", "nas", option]).ended(0);
    };
    let ls = |sandbox: &Sandbox| sandbox.run(&["at", "@nas", "ls"]);
    set(&sandbox, "keyfile=key");
    ls(&sandbox).ended(0);
    set(&sandbox, &format!("passphrase_cmd=echo '{WRONG}'"));
    ls(&sandbox).ended(77);
    set(&sandbox, &format!("passphrase={PASSPHRASE}"));
    ls(&sandbox).ended(0);
    let sandbox = sandbox.with("PLAKAR_PASSPHRASE", WRONG);
    ls(&sandbox).ended(77);
    sandbox
        .run(&["-keyfile", "key", "at", "@nas", "ls"])
        .ended(0);
    let sandbox = sandbox.with("PLAKAR_PASSPHRASE", PASSPHRASE);
    set(&sandbox, &format!("passphrase={WRONG}"));
    ls(&sandbox).ended(0);
    sandbox
        .run(&["-keyfile", "wrong", "at", "@nas", "ls"])
        .ended(77);
}

#[test]
fn a_trace_does_not_repeat_the_command_for_the_passphrase() {
    let sandbox = with_nas("names_trace");
    let command = format!("passphrase_cmd=echo '{PASSPHRASE}'");
    sandbox.run(&["store", "set", "nas", &command]).ended(0);
    sandbox
        .run(&["-trace", "config", "at", "@nas", "ls"])
        .ended(0)
        .says("config: run a command for a passphrase\n");
}

#[test]
fn a_command_for_the_passphrase_is_run_once() {
    let sandbox = with_nas("names_command");
    let command = format!("passphrase_cmd=echo run >> ran; echo hint >&2; echo '{PASSPHRASE}'");
    sandbox.run(&["store", "set", "nas", &command]).ended(0);
    sandbox.write("d/a", b"x");
    sandbox
        .run(&["at", "@nas", "backup", "-check", "d"])
        .ended(0)
        .says("hint\n");
    assert_eq!(sandbox.read("ran"), b"run\n");
    sandbox.run(&["at", "@nas", "key", "list"]).ended(0);
    assert_eq!(sandbox.read("ran"), b"run\nrun\n");
    sandbox
        .run(&[
            "store",
            "set",
            "nas",
            "passphrase_cmd=echo lost >&2; exit 3",
        ])
        .ended(0);
    let failed = sandbox.run(&["at", "@nas", "ls"]).ended(77).says("lost\n");
    failed.says("passphrase_cmd of @nas: it failed: exit status: 3");
    sandbox
        .run(&["store", "set", "nas", "passphrase_cmd=true"])
        .ended(0);
    sandbox
        .run(&["at", "@nas", "ls"])
        .ended(77)
        .says("the first line that it prints is empty");
}

#[test]
fn configuration_and_store_are_changed_apart() {
    let sandbox = with_nas("names_passwd");
    let set = sandbox
        .run(&["store", "set", "nas", &format!("passphrase={PASSPHRASE}")])
        .ended(0);
    set.says("only the configuration has changed")
        .says("plakar at @nas key passwd");
    sandbox.run(&["at", "@nas", "ls"]).ended(0);
    let changed = sandbox
        .run(&["at", "@nas", "key", "passwd", "-new-keyfile", "wrong"])
        .ended(0);
    changed.says("the configuration of @nas still gives the old passphrase");
    sandbox.run(&["at", "@nas", "ls"]).ended(77);
    sandbox
        .run(&["store", "set", "nas", &format!("passphrase={WRONG}")])
        .ended(0);
    sandbox.run(&["at", "@nas", "ls"]).ended(0);
    let unnamed = sandbox.run(&[
        "-keyfile",
        "wrong",
        "at",
        "st",
        "key",
        "passwd",
        "-new-keyfile",
        "key",
    ]);
    unnamed.ended(0).says_nothing();
}

#[test]
fn options_of_a_source_hold_unless_the_command_says_otherwise() {
    let sandbox = Sandbox::with_store("names_options");
    sandbox.write(
        "d/cache/CACHEDIR.TAG",
        b"Signature: 8a477f597d28d172789f06886806bc55",
    );
    sandbox.write("d/cache/big", b"x");
    sandbox.write("e/a", b"x");
    sandbox
        .run(&["source", "add", "d", "d", "exclude_caches=true"])
        .ended(0);
    let stored = |words: &[&str]| {
        let words = [&["at", "st", "backup", "-dry-run"], words].concat();
        sandbox.run(&words).ended(0).stdout().contains("cache/big")
    };
    assert!(!stored(&["@d"]));
    assert!(stored(&["d"]));
    assert!(stored(&["-o", "exclude_caches=false", "@d"]));
    let both = sandbox.run(&["at", "st", "backup", "@d", "e"]).ended(64);
    both.says("the sources have different options");
    assert!(!stored(&["-o", "exclude_caches=true", "@d", "e"]));
    let wrong = sandbox
        .run(&["at", "st", "backup", "-o", "exclude_cache=true", "d"])
        .ended(64);
    wrong.says("-o: unknown option \"exclude_cache\" (did you mean exclude_caches?)");
}

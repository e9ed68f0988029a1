//! Tests adding, changing, showing, removing and importing names, and their files.

mod import;
mod reach;

use std::fs;
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::process::{Child, Stdio};

use crate::harness::{Run, Sandbox};

const STORES: &str = "home/.config/plakar/stores.toml";

fn text(sandbox: &Sandbox, path: &str) -> String {
    String::from_utf8(sandbox.read(path)).expect("configuration is text")
}

fn mode(sandbox: &Sandbox, path: &str) -> u32 {
    let metadata = fs::metadata(sandbox.path(path)).expect("it is there");
    metadata.permissions().mode() & 0o777
}

/// Runs the binary with `input` on standard input.
fn piped(sandbox: &Sandbox, words: &[&str], input: &[u8]) -> Run {
    let mut command = sandbox.command(words);
    command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let mut child = command.spawn().expect("the binary runs");
    let mut pipe = child.stdin.take().expect("it is a pipe");
    // If the arguments are invalid, the program does not read its input.
    let _ = pipe.write_all(input);
    drop(pipe);
    let output = child.wait_with_output().expect("the binary ends");
    Run::after(words.join(" "), output)
}

#[test]
fn a_name_is_added_changed_shown_and_removed() {
    let sandbox = Sandbox::new("config_life");
    sandbox
        .run(&["store", "add", "nas", "/mnt/nas", "keyfile=/etc/key"])
        .ended(0)
        .silent();
    sandbox
        .run(&["store", "add", "far", "sftp://bob@h/x"])
        .ended(0)
        .silent();
    let again = sandbox.run(&["store", "add", "nas", "/other"]);
    again.ended(1).says("there is a store named nas already");
    sandbox
        .run(&["store", "set", "far", "port=2222", "connections=4"])
        .ended(0)
        .silent();
    sandbox
        .run(&["store", "set", "@far", "location=sftp://h/y"])
        .ended(0)
        .silent();
    sandbox
        .run(&["store", "unset", "far", "connections"])
        .ended(0)
        .silent();
    let shown = "[nas]\nlocation = \"/mnt/nas\"\nkeyfile = \"/etc/key\"\n\n\
                 [far]\nlocation = \"sftp://h/y\"\nport = 2222\n";
    sandbox.run(&["store", "show"]).ended(0).prints_just(shown);
    assert_eq!(text(&sandbox, STORES), shown);
    let listed = sandbox.run(&["store", "list"]).ended(0);
    listed.prints_just("nas  /mnt/nas\nfar  sftp://h/y\n");
    sandbox
        .run(&["store", "rm", "nas", "nobody"])
        .ended(66)
        .says("no store named nobody");
    assert_eq!(text(&sandbox, STORES), shown);
    sandbox
        .run(&["store", "rm", "nas", "far"])
        .ended(0)
        .silent();
    sandbox.run(&["store", "show"]).ended(0).silent();
}

#[test]
fn what_its_connector_does_not_know_is_refused_and_nothing_written() {
    let sandbox = Sandbox::new("config_refused");
    let refused = |words: &[&str], says: &str| {
        sandbox.run(words).ended(64).prints_nothing().says(says);
    };
    refused(
        &["source", "add", "home", "/home", "exclude_cache=true"],
        "unknown option \"exclude_cache\" (did you mean exclude_caches?); a source of fs knows \
         one_file_system, exclude_caches, ignore_inode, ignore_ctime, trust_base",
    );
    refused(
        &["source", "add", "home", "/home", "one_file_system=maybe"],
        "it is true or false",
    );
    refused(
        &["store", "add", "far", "sftp://h", "port=70000"],
        "port: it is a number from 1 to 65535",
    );
    refused(
        &["store", "add", "far", "sfpt://h"],
        "no store speaks sfpt:// (did you mean sftp?)",
    );
    refused(&["source", "add", "web", "http://h"], "cannot be a source");
    refused(
        &["source", "add", "dump", "stdin:all.sql"],
        "give stdin:NAME to plakar backup itself",
    );
    refused(&["store", "add", "a:b", "/x"], "is not a valid name");
    refused(&["store", "add", "default", "/x"], "is not a valid name");
    refused(&["store", "add", "a"], "needs a LOCATION");
    refused(
        &["store", "add", "a", "/x", "keyfile"],
        "\"keyfile\" is not KEY=VALUE",
    );
    refused(
        &["store", "add", "a", "/x", "keyfile=/a", "keyfile=/b"],
        "keyfile is given twice",
    );
    refused(
        &["store", "add", "a", "/x", "passphrase="],
        "passphrase: it is not empty",
    );
    refused(&["store", "add", "a", "@b"], "not @b");
    let leak = sandbox
        .run(&["store", "add", "a", "sftp://bob:hunter2@h/x"])
        .ended(64);
    assert!(!leak.stderr().contains("hunter2"), "{}", leak.stderr());
    assert!(!sandbox.path(STORES).exists());
    sandbox.run(&["store", "add", "far", "sftp://h"]).ended(0);
    refused(&["store", "set", "far", "prot=1"], "(did you mean port?)");
    refused(
        &["store", "set", "far", "location=/x", "port=1"],
        "unknown option \"port\"",
    );
    refused(&["store", "set", "far"], "needs a KEY=VALUE");
    refused(&["store", "unset", "far", "location"], "removed with rm");
    sandbox
        .run(&["store", "unset", "far", "port"])
        .ended(66)
        .says("port is not set");
    assert_eq!(text(&sandbox, STORES), "[far]\nlocation = \"sftp://h\"\n");
}

#[test]
fn secrets_are_shown_only_when_asked_for() {
    let sandbox = Sandbox::new("config_secrets");
    sandbox
        .run(&[
            "store",
            "add",
            "nas",
            "/n",
            "passphrase=hunter2",
            "passphrase_cmd=pass nas",
        ])
        .ended(0);
    for words in [
        ["store", "show"].as_slice(),
        &["store", "show", "-json"],
        &["store", "list"],
        &["store", "show", "nas"],
    ] {
        let run = sandbox.run(words).ended(0);
        assert!(
            !run.stdout().contains("hunter2"),
            "{words:?}: {}",
            run.stdout()
        );
    }
    let object = sandbox
        .run(&["store", "show", "-json"])
        .ended(0)
        .object("store");
    assert_eq!(object["options"]["passphrase"], "********");
    assert_eq!(object["options"]["passphrase_cmd"], "pass nas");
    assert_eq!(
        (&object["name"], &object["location"]),
        (&"nas".into(), &"/n".into())
    );
    sandbox
        .run(&["store", "show", "-secrets", "nas"])
        .ended(0)
        .prints("passphrase = \"hunter2\"");
    let object = sandbox
        .run(&["store", "show", "-secrets", "-json"])
        .ended(0)
        .object("store");
    assert_eq!(object["options"]["passphrase"], "hunter2");
}

#[test]
fn a_secret_can_be_piped_or_typed() {
    let sandbox = Sandbox::new("config_typed");
    piped(
        &sandbox,
        &["store", "add", "nas", "/n", "passphrase=-"],
        b"an owl\nmore\n",
    )
    .ended(0)
    .silent();
    sandbox
        .run(&["store", "show", "-secrets"])
        .ended(0)
        .prints("passphrase = \"an owl\"");
    let typed = sandbox.converse(
        &["store", "set", "nas", "passphrase=-"],
        &[("passphrase: ", "a heron")],
    );
    let screen = typed
        .ended(0)
        .prints("only the configuration has changed")
        .stdout();
    assert!(!screen.contains("heron"), "{screen}");
    sandbox
        .run(&["store", "show", "-secrets"])
        .ended(0)
        .prints("passphrase = \"a heron\"");
    piped(&sandbox, &["store", "set", "nas", "passphrase=-"], b"\n")
        .ended(64)
        .says("it is not empty");
}

#[test]
fn files_are_private_and_a_link_stays_a_link() {
    let sandbox = Sandbox::new("config_modes");
    sandbox.run(&["store", "add", "a", "/a"]).ended(0);
    assert_eq!(
        (
            mode(&sandbox, STORES),
            mode(&sandbox, "home/.config/plakar")
        ),
        (0o600, 0o700)
    );
    fs::rename(sandbox.path(STORES), sandbox.path("dotfile")).expect("it can be moved");
    fs::set_permissions(sandbox.path("dotfile"), fs::Permissions::from_mode(0o644))
        .expect("it is ours");
    sandbox.link("../../../dotfile", STORES);
    sandbox.run(&["store", "show"]).ended(0).says_nothing();
    sandbox
        .run(&["store", "add", "b", "/b", "passphrase=x"])
        .ended(0)
        .silent();
    let metadata = fs::symlink_metadata(sandbox.path(STORES)).expect("it is there");
    assert!(metadata.is_symlink());
    assert!(text(&sandbox, "dotfile").contains("[b]") && mode(&sandbox, "dotfile") == 0o600);
    fs::set_permissions(sandbox.path("dotfile"), fs::Permissions::from_mode(0o640))
        .expect("it is ours");
    let warned = sandbox.run(&["store", "list"]).ended(0);
    warned.says("stores.toml holds a secret and can be read by other users");
}

#[test]
fn what_a_person_wrote_survives_every_edit() {
    let sandbox = Sandbox::new("config_comments");
    let written = "\
# My stores, by hand.

default = 'nas'   # for now

# In the cellar.
[nas]   # loud
location   =   '/mnt/nas'  # a mount
# passphrase_cmd = 'pass nas'

# Abroad.
[far]
port = 0x16
location = \"sftp://h/x\"
# [old]
# location = \"/old\"
";
    sandbox.write(STORES, written.as_bytes());
    let now = || text(&sandbox, STORES);
    sandbox.run(&["store", "add", "usb", "/usb"]).ended(0);
    assert_eq!(now(), format!("{written}\n[usb]\nlocation = \"/usb\"\n"));
    sandbox
        .run(&["store", "set", "nas", "keyfile=/k", "location=/n"])
        .ended(0);
    sandbox.run(&["store", "set", "far", "port=23"]).ended(0);
    sandbox.run(&["store", "unset", "nas", "keyfile"]).ended(0);
    sandbox.run(&["store", "default", "far"]).ended(0);
    sandbox.run(&["store", "rm", "usb"]).ended(0);
    let expected = written
        .replace("'/mnt/nas'", "\"/n\"")
        .replace("0x16", "23")
        .replace("default = 'nas'", "default = \"far\"");
    assert_eq!(now().trim_end(), expected.trim_end());
    sandbox
        .run(&["store", "rm", "far"])
        .ended(0)
        .says("there is no default store any more");
    let left = now();
    assert!(left.starts_with("# My stores, by hand.\n"), "{left}");
    assert!(
        left.contains("# In the cellar.\n[nas]   # loud\n"),
        "{left}"
    );
    assert!(
        left.contains("# location = \"/old\"") && !left.contains("Abroad"),
        "{left}"
    );
}

#[test]
fn two_who_add_at_the_same_time_lose_nothing() {
    let sandbox = Sandbox::new("config_concurrent");
    let mut children: Vec<Child> = Vec::new();
    let add = |name: String| {
        let location = format!("/{name}");
        let mut command = sandbox.command(&["store", "add", &name, &location]);
        command.spawn().expect("the binary runs")
    };
    for count in 0..20 {
        children.push(add(format!("a{count}")));
        children.push(add(format!("b{count}")));
    }
    for child in &mut children {
        assert!(child.wait().expect("it ends").success());
    }
    let listed = sandbox.run(&["store", "list"]).ended(0).stdout();
    assert_eq!(listed.lines().count(), 40, "{listed}");
    let left = fs::read_dir(sandbox.path("home/.config/plakar")).expect("it is there");
    assert_eq!(left.count(), 2, "nothing but .lock and stores.toml");
}

#[test]
fn a_kill_leaves_the_old_file_or_the_new_one() {
    let sandbox = Sandbox::new("config_kill");
    let before: String = (0..2000)
        .map(|count| format!("[n{count}]\nlocation = '/{count}'\n"))
        .collect();
    for step in 0..30 {
        sandbox.write(STORES, before.as_bytes());
        let mut child = sandbox
            .command(&["store", "add", "new", "/new"])
            .spawn()
            .expect("it runs");
        std::thread::sleep(std::time::Duration::from_millis(step));
        let _ = child.kill();
        let _ = child.wait();
        let after = text(&sandbox, STORES);
        let new = format!("{before}\n[new]\nlocation = \"/new\"\n");
        assert!(
            after == before || after == new,
            "step {step}: {} bytes",
            after.len()
        );
        // A leftover of an interrupted run must not prevent the next one.
        sandbox
            .run(&["store", "set", "n7", "location=/seven"])
            .ended(0)
            .silent();
    }
}

#[test]
fn hostile_files_are_told_of_and_never_overwritten() {
    let sandbox = Sandbox::new("config_hostile");
    let deep = [b"a = ".as_slice(), &b"[".repeat(100_000)].concat();
    let hostile: [(&[u8], &str); 8] = [
        (b"[a]\nlocation = \"/a\n", "line 2, column"),
        (b"\x00\x01\x02", "stores.toml: line 1"),
        (b"[a]\n\xff\xfe", "line 2: not text in UTF-8"),
        (&deep, "line 1, column"),
        (b"[a]\n[a]\n", "line 2"),
        (b"x = 1\n", "\"x\" is neither a table nor default"),
        (b"default = 7\n", "default is not a string"),
        (&[b'#'; (1 << 20) + 1], "longer than 1048576 bytes"),
    ];
    for (bytes, says) in hostile {
        sandbox.write(STORES, bytes);
        for words in [
            ["store", "list"].as_slice(),
            &["store", "show"],
            &["store", "add", "b", "/b"],
            &["at", "@a", "ls"],
            &["store", "rm", "a"],
        ] {
            sandbox.run(words).ended(78).says(says).prints_nothing();
        }
        assert_eq!(sandbox.read(STORES), bytes, "{says}");
    }
}

#[test]
fn one_wrong_name_does_not_hide_the_others() {
    let sandbox = Sandbox::new("config_one_wrong");
    sandbox.write(
        STORES,
        b"[a]\nlocation = '/a'\nport = 1\n[b]\nlocation = '/b'\n[c]\n[d]\nlocation = 'rel'\n[e]\nlocation = [1]\n",
    );
    let listed = sandbox
        .run(&["store", "list"])
        .ended(3)
        .prints_just("b  /b\n");
    listed
        .says("a: ")
        .says("[a]: unknown option \"port\"")
        .says("[c]: it has no location")
        .says("[d]: location rel is relative")
        .says("location is not a string");
    sandbox
        .run(&["at", "@a", "ls"])
        .ended(78)
        .says("[a]: unknown option \"port\"");
    sandbox
        .run(&["store", "show"])
        .ended(3)
        .prints("[a]")
        .prints("port = 1")
        .says("e: ");
    sandbox.run(&["store", "unset", "a", "port"]).ended(0);
    sandbox
        .run(&["store", "list", "a"])
        .ended(0)
        .prints_just("a  /a\n");
}

#[test]
fn an_option_has_one_value_whatever_it_is_called() {
    let sandbox = Sandbox::new("config_synonyms");
    let sources = "home/.config/plakar/sources.toml";
    sandbox.write(sources, b"[d]\nlocation = '/d'\ndont_traverse_fs = true\n");
    sandbox
        .run(&["source", "set", "d", "one_file_system=false"])
        .ended(0)
        .silent();
    let expected = "[d]\nlocation = '/d'\none_file_system = false\n";
    assert_eq!(text(&sandbox, sources), expected);
    sandbox
        .run(&["source", "unset", "d", "dont_traverse_fs"])
        .ended(0)
        .silent();
    assert_eq!(text(&sandbox, sources), "[d]\nlocation = '/d'\n");
}

#[test]
fn commands_that_others_could_write_are_worth_a_warning() {
    let sandbox = Sandbox::new("config_lent");
    sandbox
        .run(&["store", "add", "nas", "/n", "passphrase_cmd=pass nas"])
        .ended(0)
        .silent();
    let everyone = fs::Permissions::from_mode(0o622);
    fs::set_permissions(sandbox.path(STORES), everyone).expect("it is ours");
    let warned = sandbox.run(&["store", "list"]).ended(0);
    warned.says("stores.toml holds a command and can be changed by other users");
}

#[test]
fn a_default_is_told_and_set() {
    let sandbox = Sandbox::new("config_default");
    sandbox.run(&["store", "default"]).ended(0).silent();
    sandbox.run(&["store", "default", "nas"]).ended(66);
    sandbox.run(&["store", "add", "nas", "/nas"]).ended(0);
    sandbox.run(&["store", "default", "nas"]).ended(0).silent();
    sandbox
        .run(&["store", "default"])
        .ended(0)
        .prints_just("nas\n");
    sandbox
        .run(&["store", "list"])
        .ended(0)
        .prints_just("nas  /nas (default)\n");
    sandbox.run(&["store", "default", "-none", "nas"]).ended(64);
    sandbox
        .run(&["store", "default", "-none"])
        .ended(0)
        .silent();
    sandbox.run(&["store", "default"]).ended(0).silent();
}

#[test]
fn relative_places_are_kept_absolute() {
    let sandbox = Sandbox::new("config_relative");
    sandbox
        .run(&["store", "add", "nas", "st", "keyfile=key"])
        .ended(0);
    let shown = sandbox
        .run(&["-json", "store", "show"])
        .ended(0)
        .object("store");
    assert_eq!(shown["location"], sandbox.path("st").display().to_string());
    assert_eq!(
        shown["options"]["keyfile"],
        sandbox.path("key").display().to_string()
    );
    sandbox.run(&["store", "add", "home", "~/st"]).ended(0);
    let expected = format!("home  {}\n", sandbox.path("home/st").display());
    sandbox
        .run(&["store", "list", "home"])
        .ended(0)
        .prints_just(&expected);
}

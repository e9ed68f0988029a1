//! Tests the binary, with a home directory that contains a configuration of ssh.

use std::fs;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use crate::harness::{Run, Sandbox, noise};
use crate::proxy::Proxy;
use crate::server::{Server, files_below};

/// A sandbox whose home directory is that of the server's user.
pub(crate) fn sandbox(name: &str, server: &Server) -> Sandbox {
    let home = server.path("home").display().to_string();
    Sandbox::new(name).with("HOME", &home)
}

/// Runs the binary without any terminal, not even that of the user who runs the tests.
fn run_in_cron(sandbox: &Sandbox, words: &[&str]) -> Run {
    let command = sandbox.command(words);
    let mut apart = Command::new("/usr/bin/setsid");
    apart
        .arg("-w")
        .arg(command.get_program())
        .args(command.get_args());
    apart.env_clear().stdin(Stdio::null());
    for (name, value) in command.get_envs() {
        apart.env(name, value.expect("nothing is unset"));
    }
    apart.current_dir(command.get_current_dir().expect("it has one"));
    Run::of(&mut apart)
}

#[test]
fn a_backup_by_sftp_comes_back() {
    let server = Server::new();
    let sandbox = sandbox("sftp_comes_back", &server);
    let store = server.location("st");
    sandbox
        .run(&["at", &store, "create"])
        .ended(0)
        .prints_nothing();
    sandbox.write("d/a", &noise(3 << 20));
    sandbox.write("d/sub/b", b"small");
    sandbox.backup(&store, "d");
    sandbox.run(&["at", &store, "ls"]).ended(0).prints("/d");
    sandbox.run(&["at", &store, "check"]).ended(0);
    sandbox
        .run(&["at", &store, "restore", "-to", "back", "latest"])
        .ended(0);
    assert_eq!(sandbox.read("back/a"), noise(3 << 20));
    assert_eq!(sandbox.read("back/sub/b"), b"small");
    // A store written through SFTP is also valid as a local directory.
    let mounted = server.path("srv/st").display().to_string();
    sandbox.run(&["at", &mounted, "check"]).ended(0);
    sandbox
        .run(&["at", &store, "create"])
        .ended(1)
        .says("there is a store already");
    let other = server.location("other");
    sandbox
        .run(&["at", &other, "ls"])
        .ended(66)
        .says("there is no store here");
}

#[test]
fn creating_a_store_takes_few_round_trips() {
    let server = Server::new();
    let proxy = Proxy::new(server.port(), u64::MAX);
    server.configure(&format!(
        "Host nas\n  Port {}\n  HostKeyAlias [127.0.0.1]:{}\n",
        proxy.port(),
        server.port()
    ));
    let sandbox = sandbox("sftp_round_trips", &server);
    sandbox
        .run(&["at", &server.location("a/st"), "create"])
        .ended(0);
    let round_trips = proxy.round_trips();
    assert!((10..40).contains(&round_trips), "{round_trips}");
    assert_eq!(proxy.connections(), 1);
}

#[test]
fn a_server_that_is_restarted_in_mid_backup_is_waited_for() {
    let mut server = Server::new();
    let sandbox = sandbox("sftp_restarted", &server);
    let store = server.location("st");
    sandbox.run(&["at", &store, "create"]).ended(0);
    sandbox.write("d/a", &noise(150 << 20));
    let mut command = sandbox.command(&["at", &store, "backup", "d"]);
    let child = command
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let until = Instant::now() + Duration::from_secs(60);
    while files_below(&server.path("srv/st/packs")).is_empty() {
        assert!(Instant::now() < until, "no pack comes");
        std::thread::sleep(Duration::from_millis(5));
    }
    server.kill();
    let packs = files_below(&server.path("srv/st/packs")).len();
    server.start();
    let run = Run::after("backup".to_owned(), child.wait_with_output().unwrap()).ended(0);
    assert!(
        packs < files_below(&server.path("srv/st/packs")).len(),
        "{}",
        run.stderr()
    );
    sandbox.run(&["at", &store, "check"]).ended(0);
    sandbox.discard();
}

#[test]
fn nobody_is_asked_in_cron() {
    let server = Server::new();
    let sandbox = sandbox("sftp_cron", &server);
    let store = server.location("st");
    server.know(&[]);
    run_in_cron(&sandbox, &["at", &store, "create"])
        .ended(77)
        .says("the key of [127.0.0.1]:")
        .says("to check and record it: ssh ");
    server.know(&["host_ed25519"]);
    server.make_key("home/.ssh/id_ecdsa", &["-t", "ecdsa", "-N", "secret"]);
    server.authorize("home/.ssh/id_ecdsa");
    run_in_cron(&sandbox, &["at", &store, "create"])
        .ended(77)
        .says("ssh-add ");
    let nowhere = "sftp://127.0.0.1:1/x";
    run_in_cron(&sandbox, &["at", nowhere, "ls"])
        .ended(69)
        .says("connection refused");
}

#[test]
fn who_sits_at_a_terminal_is_asked_as_ssh_asks() {
    let server = Server::new();
    let sandbox = sandbox("sftp_terminal", &server);
    server.know(&[]);
    server.make_key("home/.ssh/id_ecdsa", &["-t", "ecdsa", "-N", "secret"]);
    server.authorize("home/.ssh/id_ecdsa");
    let words = ["at", &server.location("st"), "create"];
    let run = sandbox.converse(&words, &[("(yes/no/[fingerprint])? ", "no")]);
    run.ended(77).prints("is not known");
    let dialogue = [
        ("(yes/no/[fingerprint])? ", "what?"),
        ("Please type 'yes', 'no' or the fingerprint: ", "yes"),
        ("id_ecdsa': ", "wrong"),
        ("Wrong. Enter passphrase for key ", "secret"),
    ];
    sandbox.converse(&words, &dialogue).ended(0);
    assert!(server.path("srv/st/CONFIG").exists());
    let known = fs::read_to_string(server.path("home/.ssh/known_hosts")).unwrap();
    assert!(
        known.contains(&server.public_key("host_ed25519")),
        "{known}"
    );
}

#[test]
fn a_configured_store_brings_its_options() {
    let server = Server::new();
    let sandbox = sandbox("sftp_configured", &server);
    server.know(&[]);
    server.make_key("other", &["-t", "ed25519", "-N", ""]);
    server.authorize("other");
    let location = server
        .location("st")
        .replace("sftp://nas", "sftp://127.0.0.1");
    let options = [
        format!("port={}", server.port()),
        format!("username={}", crate::server::user()),
        format!("identity={}", server.path("other").display()),
        "insecure_ignore_host_key=true".to_owned(),
        "connections=1".to_owned(),
    ];
    let mut words = vec!["store", "add", "nas", &location];
    words.extend(options.iter().map(String::as_str));
    sandbox.run(&words).ended(0);
    for _ in 0..2 {
        let run = sandbox.run(&["store", "ping", "nas"]);
        run.says("host key verification is disabled");
    }
    sandbox
        .run(&["at", "@nas", "create"])
        .ended(0)
        .says("verification is disabled");
    assert!(server.path("srv/st/CONFIG").exists());
}

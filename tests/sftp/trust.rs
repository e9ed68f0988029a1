//! Tests which servers are trusted.

use std::fs;
use std::process::{Command, Stdio};
use std::sync::Arc;

use plakar::error::Kind;
use plakar::net::ssh::{Options, Question};
use zeroize::Zeroizing;

use crate::common::prerequisite::program;
use crate::login::{is_denied, is_let_in, outcome};
use crate::server::{Server, Told};

/// The fingerprint of a key, in the format of ssh-keygen.
fn fingerprint(server: &Server, name: &str) -> String {
    let mut command = program("ssh-keygen");
    let shown = command
        .arg("-lf")
        .arg(server.path(&format!("{name}.pub")))
        .output()
        .unwrap();
    let shown = String::from_utf8(shown.stdout).unwrap();
    shown.split(' ').nth(1).unwrap().to_owned()
}

#[test]
fn the_type_of_key_that_is_known_is_asked_for() {
    let mut server = Server::new();
    server.make_key("host_rsa", &["-t", "rsa", "-b", "2048", "-N", ""]);
    server.make_key("host_ecdsa", &["-t", "ecdsa", "-N", ""]);
    server.kill();
    server.start();
    for name in ["host_rsa", "host_ecdsa", "host_ed25519"] {
        server.know(&[name]);
        is_let_in(&server, |_| {});
    }
}

#[test]
fn a_name_may_be_hashed() {
    let server = Server::new();
    let mut command = program("ssh-keygen");
    command
        .args(["-q", "-H", "-f"])
        .arg(server.path("home/.ssh/known_hosts"));
    let output = command.stderr(Stdio::null()).status().unwrap();
    assert!(output.success());
    let text = fs::read_to_string(server.path("home/.ssh/known_hosts")).unwrap();
    assert!(text.starts_with("|1|"), "{text}");
    is_let_in(&server, |_| {});
}

#[test]
fn a_changed_key_is_refused_and_shown() {
    let mut server = Server::new();
    let old = fingerprint(&server, "host_ed25519");
    for name in ["host_ed25519", "host_ed25519.pub"] {
        fs::remove_file(server.path(name)).unwrap();
    }
    server.make_key("host_ed25519", &["-t", "ed25519", "-N", ""]);
    server.kill();
    server.start();
    let new = fingerprint(&server, "host_ed25519");
    let line = format!("{}:1", server.path("home/.ssh/known_hosts").display());
    // No configuration, except one that trusts any server, accepts a wrong key.
    for lines in [
        "",
        "StrictHostKeyChecking no",
        "StrictHostKeyChecking accept-new",
    ] {
        server.configure(lines);
        is_denied(&server, &["has changed", &old, &new, &line], |options| {
            options.ask = Arc::new(|_| panic!("nobody is asked about a changed key"));
        });
    }
    is_let_in(&server, |options| options.insecure_ignore_host_key = true);
}

#[test]
fn an_unknown_key_is_refused_with_the_command_that_records_it() {
    let server = Server::new();
    server.know(&[]);
    let shown = fingerprint(&server, "host_ed25519");
    let error = outcome(&server, |_| {});
    let said = error.to_string();
    assert_eq!(error.kind(), Kind::Denied);
    assert!(said.contains(&format!("ED25519 {shown}")), "{said}");
    let (_, command) = said.split_once("record it: ").unwrap();
    // Runs the suggested command as a user would, with the answer yes; ssh uses the same files.
    let mut words = command.split(' ').map(str::to_owned).collect::<Vec<_>>();
    let known = format!(
        "UserKnownHostsFile={}",
        server.path("home/.ssh/known_hosts").display()
    );
    let key = server.path("home/.ssh/id_ed25519").display().to_string();
    for (at, word) in [
        "-o",
        "StrictHostKeyChecking=accept-new",
        "-o",
        &known,
        "-i",
        &key,
    ]
    .iter()
    .enumerate()
    {
        words.insert(at + 1, (*word).to_owned());
    }
    let mut ssh = Command::new(&words[0]);
    ssh.args(&words[1..])
        .arg("true")
        .env_remove("SSH_AUTH_SOCK");
    assert!(
        ssh.stdin(Stdio::null()).status().unwrap().success(),
        "{words:?}"
    );
    is_let_in(&server, |_| {});
}

/// Options with which the user answers `answer` to each question.
fn answering(answer: &str) -> impl FnOnce(&mut Options) + use<> {
    let answer = answer.to_owned();
    move |options: &mut Options| {
        options.ask = Arc::new(move |question| {
            let Question::HostKey { host, kind, .. } = question else {
                panic!("no passphrase is asked for");
            };
            assert!(host.starts_with("[127.0.0.1]:") && kind == "ED25519");
            Ok(Some(Zeroizing::new(answer.clone())))
        });
    }
}

#[test]
fn a_person_may_say_that_an_unknown_key_is_right() {
    let server = Server::new();
    let shown = fingerprint(&server, "host_ed25519");
    for answer in ["no", "perhaps", "SHA256:x"] {
        server.know(&[]);
        is_denied(&server, &["is not known"], answering(answer));
    }
    for answer in ["yes", &shown] {
        server.know(&[]);
        is_let_in(&server, answering(answer));
        // The key was recorded.
        is_let_in(&server, |_| {});
    }
    server.know(&[]);
    server.configure("StrictHostKeyChecking yes");
    is_denied(&server, &["is not known"], |options| {
        options.ask = Arc::new(|_| panic!("nobody is to be asked"));
    });
    server.configure("StrictHostKeyChecking accept-new\nHashKnownHosts yes");
    is_let_in(&server, |_| {});
    server.configure("StrictHostKeyChecking yes");
    is_let_in(&server, |_| {});
    let recorded = fs::read_to_string(server.path("home/.ssh/known_hosts")).unwrap();
    assert!(recorded.starts_with("|1|"), "{recorded}");
}

#[test]
fn trusting_anybody_is_told_each_time() {
    let server = Server::new();
    server.know(&[]);
    for _ in 0..2 {
        let told = Told::default();
        let store = server.store_with("none", |settings| {
            settings.ssh.insecure_ignore_host_key = true;
            settings.notice = told.notice();
        });
        for _ in 0..2 {
            assert_eq!(store.get_config().unwrap_err().kind(), Kind::NotFound);
        }
        let told = told.all();
        assert!(
            told.len() == 1 && told[0].contains("host key verification is disabled"),
            "{told:?}"
        );
    }
}

#[test]
fn a_revoked_key_and_one_for_another_host_are_refused() {
    let server = Server::new();
    let key = server.public_key("host_ed25519");
    let file = server.path("home/.ssh/known_hosts");
    let known = fs::read_to_string(&file).unwrap();
    fs::write(&file, format!("{known}@revoked * {key}\n")).unwrap();
    is_denied(&server, &["was revoked", ":2"], |_| {});
    fs::write(&file, format!("127.0.0.1 {key}\n")).unwrap();
    is_denied(&server, &["is not known"], |_| {});
    server.configure("HostKeyAlias 127.0.0.1");
    is_let_in(&server, |_| {});
    server.configure("");
    fs::write(server.path("others"), format!("[127.*]:* {key}\n")).unwrap();
    is_let_in(&server, |options| {
        options.known_hosts = Some(server.path("others"))
    });
    server.configure(&format!(
        "UserKnownHostsFile {}",
        server.path("others").display()
    ));
    is_let_in(&server, |_| {});
    server.configure(&format!(
        "GlobalKnownHostsFile {}",
        server.path("others").display()
    ));
    is_let_in(&server, |_| {});
}

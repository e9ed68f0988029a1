//! Tests logins: with keys of every type, in files and in agents, and without prompts.

use std::path::PathBuf;
use std::process::{Child, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use plakar::error::{Error, Kind};
use plakar::net::ssh::{Options, Question};
use zeroize::Zeroizing;

use crate::common::prerequisite::program;
use crate::server::Server;

/// The result of opening a store that does not exist: [`Kind::NotFound`] after a successful login.
pub(crate) fn outcome(server: &Server, change: impl FnOnce(&mut Options)) -> Error {
    let store = server.store_with("none", |settings| change(&mut settings.ssh));
    store.get_config().unwrap_err()
}

#[track_caller]
pub(crate) fn is_let_in(server: &Server, change: impl FnOnce(&mut Options)) {
    let error = outcome(server, change);
    assert_eq!(error.kind(), Kind::NotFound, "{error}");
}

#[track_caller]
pub(crate) fn is_denied(server: &Server, words: &[&str], change: impl FnOnce(&mut Options)) {
    let error = outcome(server, change);
    let said = error.to_string();
    assert_eq!(error.kind(), Kind::Denied, "{said}");
    assert!(!said.contains('\n'), "{said}");
    for words in words {
        assert!(said.contains(words), "{words:?} is missing in: {said}");
    }
}

/// An agent that is stopped on drop.
struct Agent {
    socket: PathBuf,
    running: Child,
}

impl Agent {
    fn with(server: &Server, keys: &[&str]) -> Agent {
        let socket = server.path("agent");
        let mut command = program("ssh-agent");
        command
            .arg("-D")
            .arg("-a")
            .arg(&socket)
            .stdout(Stdio::null());
        let running = command.spawn().expect("ssh-agent can be run");
        let until = Instant::now() + Duration::from_secs(30);
        while !socket.exists() {
            assert!(Instant::now() < until, "ssh-agent does not begin");
            std::thread::sleep(Duration::from_millis(5));
        }
        for key in keys {
            let mut command = program("ssh-add");
            command
                .arg("-q")
                .arg(server.path(key))
                .env("SSH_AUTH_SOCK", &socket);
            assert!(command.status().unwrap().success());
        }
        Agent { socket, running }
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        let _ = self.running.kill();
        let _ = self.running.wait();
    }
}

const KINDS: [&[&str]; 6] = [
    &["-t", "ed25519"],
    &["-t", "ecdsa", "-b", "256"],
    &["-t", "ecdsa", "-b", "521"],
    &["-t", "rsa", "-b", "2048"],
    &["-t", "rsa", "-b", "3072", "-m", "PEM"],
    &["-t", "ecdsa", "-b", "384", "-m", "PEM"],
];

#[test]
fn keys_of_every_type_let_us_in() {
    let server = Server::new();
    for (number, kind) in KINDS.into_iter().enumerate() {
        let name = format!("key{number}");
        server.make_key(&name, &[kind, &["-N", ""]].concat());
        server.authorize(&name);
        is_let_in(&server, |options| {
            options.identity = Some(server.path(&name))
        });
    }
    let refused = [
        "not let in as ",
        "id_ed25519 was refused",
        "the server takes publickey; to have a key let in: ssh-copy-id",
    ];
    is_denied(&server, &refused, |_| {});
    let keyless = ["no SSH key found", "to make a key: ssh-keygen"];
    is_denied(&server, &keyless, |options| {
        options.home = None;
        options.known_hosts = Some(server.path("home/.ssh/known_hosts"));
    });
    let missing = ["/no/such/key is missing"];
    is_denied(&server, &missing, |options| {
        options.identity = Some("/no/such/key".into())
    });
}

#[test]
fn keys_of_an_agent_let_us_in() {
    let server = Server::new();
    let names = ["key0", "key1", "key2", "key3"];
    for (name, kind) in names.iter().zip(KINDS) {
        server.make_key(name, &[kind, &["-N", ""]].concat());
    }
    let agent = Agent::with(&server, &names);
    let in_agent = |options: &mut Options| options.agent = Some(agent.socket.clone());
    for name in names {
        server.authorize(name);
        is_let_in(&server, in_agent);
    }
    // The file selects one of them, which is available only through the agent.
    server.configure("IdentityFile %d/../key3.pub\nIdentitiesOnly yes");
    is_let_in(&server, in_agent);
    is_denied(&server, &["key3.pub: no agent has the key"], |_| {});
    server.configure("IdentityFile %d/../key2.pub\nIdentitiesOnly yes");
    is_denied(&server, &["of the agent was refused"], in_agent);
    server.configure(&format!("IdentityAgent {}", agent.socket.display()));
    is_let_in(&server, |_| {});
    server.configure("IdentityAgent none");
    is_denied(&server, &["id_ed25519 was refused"], in_agent);
    server.configure("");
    let nobody = |options: &mut Options| options.agent = Some("/no/such/agent".into());
    is_denied(&server, &["no agent answers at /no/such/agent"], nobody);
}

#[test]
fn a_server_that_gives_up_says_to_name_a_key() {
    let server = Server::with("Subsystem sftp internal-sftp\nMaxAuthTries 2\n");
    let names = ["key0", "key1", "key2", "key3"];
    for name in names {
        server.make_key(name, &["-t", "ed25519", "-N", ""]);
    }
    let agent = Agent::with(&server, &names);
    let in_agent = |options: &mut Options| options.agent = Some(agent.socket.clone());
    let said = outcome(&server, in_agent).to_string();
    let words = ["of the agent was refused", "hung up", "IdentitiesOnly"];
    assert!(words.iter().all(|word| said.contains(word)), "{said}");
    is_let_in(&server, |options| {
        in_agent(options);
        options.identity = Some(server.path("home/.ssh/id_ed25519"));
    });
}

#[test]
fn a_key_with_a_passphrase_takes_somebody_to_type_it() {
    let server = Server::new();
    for (number, kind) in KINDS.into_iter().enumerate() {
        let name = format!("key{number}");
        server.make_key(&name, &[kind, &["-N", "secret"]].concat());
        server.authorize(&name);
        let path = server.path(&name);
        let words = format!(
            "is protected by a passphrase, and there is no terminal to prompt on: ssh-add {}",
            path.display()
        );
        is_denied(&server, &[&words], |options| {
            options.identity = Some(path.clone())
        });

        let asked = Arc::new(Mutex::new(Vec::new()));
        let answers = asked.clone();
        is_let_in(&server, |options| {
            options.identity = Some(path.clone());
            options.ask = Arc::new(move |question| {
                let mut asked = answers.lock().unwrap();
                asked.push(question.clone());
                let answer = if asked.len() == 1 { "wrong" } else { "secret" };
                Ok(Some(Zeroizing::new(answer.to_owned())))
            });
        });
        let question = |is_repeated| Question::Passphrase {
            key: path.clone(),
            is_repeated,
        };
        assert_eq!(*asked.lock().unwrap(), [question(false), question(true)]);
        let hopeless = |options: &mut Options| {
            options.identity = Some(path.clone());
            options.ask = Arc::new(|_| Ok(Some(Zeroizing::new("wrong".to_owned()))));
        };
        is_denied(&server, &["wrong passphrase"], hopeless);
    }
}

#[test]
fn a_passphrase_is_asked_for_once() {
    let mut server = Server::new();
    server.make_key("key", &["-t", "ed25519", "-N", "secret"]);
    server.authorize("key");
    let asked = Arc::new(Mutex::new(0));
    let count = asked.clone();
    let store = server.store_with("none", |settings| {
        settings.ssh.identity = Some(server.path("key"));
        settings.ssh.ask = Arc::new(move |_| {
            *count.lock().unwrap() += 1;
            Ok(Some(Zeroizing::new("secret".to_owned())))
        });
    });
    for _ in 0..2 {
        assert_eq!(store.get_config().unwrap_err().kind(), Kind::NotFound);
        server.kill();
        server.start();
    }
    assert_eq!(*asked.lock().unwrap(), 1);
}

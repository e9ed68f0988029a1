//! Tests indirect connections to a server: aliases, jump hosts, proxy commands.

use plakar::error::Kind;
use plakar::net::location::Location;
use plakar::store::{Settings, open};

use crate::login::{is_let_in, outcome};
use crate::server::{Server, user};

/// Configuration lines by which `nas` is reached through `gate`.
fn through(gate: &Server, how: &str) -> String {
    format!(
        "Host gate\n  HostName 127.0.0.1\n  Port {}\n  User {}\n  IdentityFile {}\n  \
         UserKnownHostsFile {}\nHost nas\n  {how}\n",
        gate.port(),
        user(),
        gate.path("home/.ssh/id_ed25519").display(),
        gate.path("home/.ssh/known_hosts").display(),
    )
}

#[test]
fn a_server_is_reached_through_another() {
    let (server, gate) = (Server::new(), Server::new());
    server.configure(&through(&gate, "ProxyJump gate"));
    let store = server.store("st");
    store.prepare().unwrap();
    let bytes = vec![7; 9 << 20];
    let id = plakar::util::Id::of(&bytes);
    store.put(plakar::store::Area::Packs, id, &bytes).unwrap();
    assert!(store.get(plakar::store::Area::Packs, id).unwrap() == bytes);

    // The server is reachable only through the gate: without the gate it is not.
    let mut gate = gate;
    gate.kill();
    let error = outcome(&server, |_| {});
    assert_eq!(error.kind(), Kind::Unavailable, "{error}");
    assert!(error.to_string().contains("connect to gate"), "{error}");
    gate.start();
    is_let_in(&server, |_| {});
}

#[test]
fn a_gate_that_is_not_known_is_refused() {
    let (server, gate) = (Server::new(), Server::new());
    gate.know(&[]);
    server.configure(&through(&gate, "ProxyJump gate"));
    let error = outcome(&server, |_| {});
    assert_eq!(error.kind(), Kind::Denied);
    assert!(
        error
            .to_string()
            .contains("connect to gate: the key of [127.0.0.1]:"),
        "{error}"
    );
}

#[test]
fn several_gates_are_passed_in_turn() {
    let (server, gate) = (Server::new(), Server::new());
    let again = format!("ProxyJump gate,{}@gate", user());
    server.configure(&through(&gate, &again));
    is_let_in(&server, |_| {});
    // If every host is configured to be reached through the gate, the gate itself is reached
    // directly.
    server.configure(&(through(&gate, "") + "Host *\n  ProxyJump gate\n"));
    is_let_in(&server, |_| {});
}

#[test]
fn a_command_may_be_the_way() {
    let (server, gate) = (Server::new(), Server::new());
    let config = server.path("home/.ssh/config");
    let how = format!("ProxyCommand ssh -F {} -W %h:%p gate", config.display());
    server.configure(&through(&gate, &how));
    is_let_in(&server, |_| {});
    server.configure("ProxyCommand exit 3");
    let error = outcome(&server, |_| {});
    assert_eq!(error.kind(), Kind::Unavailable, "{error}");
    assert!(error.to_string().contains("the proxy command"), "{error}");
}

#[test]
fn the_location_may_say_it_all() {
    let server = Server::new();
    server.configure("Host none");
    let at = |text: &str| {
        let location = Location::parse(text.as_bytes()).unwrap();
        let settings = Settings {
            ssh: server.options(),
            ..Settings::default()
        };
        open(&location, &settings)
            .unwrap()
            .get_config()
            .unwrap_err()
    };
    let error = at(&format!(
        "sftp://{}@127.0.0.1:{}/none",
        user(),
        server.port()
    ));
    assert_eq!(error.kind(), Kind::NotFound, "{error}");
    let error = at(&format!("sftp://127.0.0.1:{}", server.port()));
    assert_eq!(error.kind(), Kind::NotFound, "{error}");
    let error = at("sftp://no-such-host.invalid/none");
    assert_eq!(error.kind(), Kind::Unavailable, "{error}");
    assert!(
        error.to_string().contains("cannot find the host: "),
        "{error}"
    );
}

#[test]
fn paths_may_begin_at_home() {
    // The default directory of the server, which only its configuration determines.
    let server = Server::with("Subsystem sftp internal-sftp -d /tmp\n");
    let srv = server.path("srv").display().to_string();
    let relative = srv
        .strip_prefix("/tmp/")
        .expect("temporary directories are in /tmp");
    let settings = Settings {
        ssh: server.options(),
        ..Settings::default()
    };
    let location = Location::parse(format!("sftp://nas/~/{relative}/a/st").as_bytes()).unwrap();
    let store = open(&location, &settings).unwrap();
    store.prepare().unwrap();
    store.put_config(b"version = 1").unwrap();
    assert_eq!(server.store("a/st").get_config().unwrap(), b"version = 1");
}

#[test]
fn an_old_server_is_told_from_one_that_is_gone() {
    let old = [
        "KexAlgorithms diffie-hellman-group14-sha1\n",
        "HostKeyAlgorithms ssh-rsa\n",
        "Ciphers 3des-cbc\n",
    ];
    for line in old {
        let server = Server::with(&format!("Subsystem sftp internal-sftp\n{line}"));
        let error = outcome(&server, |_| {});
        assert_eq!(error.kind(), Kind::Unavailable, "{error}");
        assert!(error.to_string().contains("update"), "{line}: {error}");
    }
}

//! Tests every role with every method and many spellings of a path: forbidden operations have no
//! effect, and every spelling except the canonical one is unknown.

use plakar::util::Id;

use crate::served::{Served, bytes, object, sandbox};

const ROLES: [&str; 4] = ["none", "read", "append", "full"];
const VERBS: [&str; 4] = ["GET", "HEAD", "PUT", "DELETE"];

/// The header fields with a token of the role.
fn token(sandbox: &crate::harness::Sandbox, role: &str) -> String {
    let words = ["server", "token", "add", role, "-role", role];
    let token = sandbox.run(&words).ended(0).says_nothing().stdout();
    format!("Authorization: Bearer {}\r\n", token.trim_end())
}

/// Spellings that a server which decodes or normalizes paths would interpret as `id` of an area, as
/// another object of the store, or as a file outside of it.
fn tricks(id: &str) -> Vec<String> {
    let upper = id.to_uppercase();
    let mut tricks: Vec<String> = [
        "/resources/keys/../snapshots/ID",
        "/resources/keys/%2e%2e/snapshots/ID",
        "/resources//snapshots/ID",
        "//resources/snapshots/ID",
        "/./resources/snapshots/ID",
        "/resources/snapshots/ID/",
        "/resources/snapshots/ID//",
        "/resources/snapshots/ID%00",
        "/resources/snapshots/ID?x",
        "/resources/snapshots/ID#x",
        "/resources/snapshots/UPPER",
        "/Resources/snapshots/ID",
        "/resources/Snapshots/ID",
        "/resources/snapshots%2fID",
        "/resources/snapshots\\ID",
        "/resources/snapshots/%ID",
        "/resources/tmp/ID",
        "/resources/snapshots/..",
        "/resources/snapshots/.",
        "/resources/snapshots/../../CONFIG",
        "/../CONFIG",
        "/CONFIG",
        "/%2e%2e/etc/passwd",
        "/resources/../../../../etc/passwd",
        "/snapshots/ID",
        "/st/snapshots/ID",
        "/resources/snapshots/ID;x",
        "/resources/snapshots/ ID",
        "http://localhost/../snapshots/ID",
        "file:///etc/passwd",
        "http:///resources/snapshots/ID",
        "*",
        "ID",
        "/resources/snapshots/\u{ff0e}\u{ff0e}/ID",
        "/resources/sn\u{e4}pshots/ID",
    ]
    .iter()
    .map(|trick| trick.replace("ID", id).replace("UPPER", &upper))
    .collect();
    tricks.push(format!("/resources/snapshots/{}", &id[1..]));
    tricks.push(format!("/resources/snapshots/{id}0"));
    tricks
}

#[test]
fn roles_allow_what_they_say_and_paths_have_one_spelling() {
    let sandbox = sandbox("matrix");
    let fields: Vec<String> = ROLES[1..]
        .iter()
        .map(|role| token(&sandbox, role))
        .collect();
    let fields = [[String::new()].as_slice(), &fields].concat();
    let served = Served::of(sandbox, &["-allow-delete"]);
    let kept = bytes(0, 100);
    let id = Id::of(&kept).to_string();
    let snapshot = object("snapshots", &kept);
    let put = |fields: &str, target: &str, bytes: &[u8]| {
        let mut wire = served.connect();
        let fields = format!("{fields}Content-Length: {}\r\n", bytes.len());
        wire.send(format!(
            "PUT {target} HTTP/1.1\r\nHost: localhost\r\n{fields}\r\n"
        ));
        let _ = wire.try_send(bytes);
        wire.answer("PUT").status
    };
    assert_eq!(put(&fields[3], &snapshot, &kept), 201);
    for (rank, (role, fields)) in ROLES.iter().zip(&fields).enumerate() {
        for (needed, verb) in [1, 1, 2, 3].into_iter().zip(VERBS) {
            let doing = format!("{role} {verb}");
            let ask = |target: &str| match verb {
                "PUT" => put(fields, target, &kept),
                verb => served.connect().ask(verb, target, fields).status,
            };
            let verdict = |allowed: u16| match rank {
                0 => 401,
                rank if rank < needed => 403,
                _ => allowed,
            };
            for trick in tricks(&id) {
                let status = ask(&trick);
                // A blank ends the target, so the rest is parsed as the version.
                let expected = [if rank == 0 { 401 } else { 404 }, 400, 505];
                assert!(expected.contains(&status), "{doing} {trick}: {status}");
            }
            let expected = match verb {
                "DELETE" => 204,
                _ => 200,
            };
            assert_eq!(ask(&snapshot), verdict(expected), "{doing}");
            let whole = format!("http://localhost:1{snapshot}");
            assert_eq!(ask(&whole), verdict(expected), "{doing}");
            if verdict(expected) == 204 {
                assert_eq!(put(fields, &snapshot, &kept), 201);
            }
            let listing = served.connect().ask(verb, "/resources/keys", fields).status;
            let is_read = ["GET", "HEAD"].contains(&verb);
            let expected = if is_read { 200 } else { 405 };
            assert_eq!(listing, if rank == 0 { 401 } else { expected }, "{doing}");
            if is_read {
                for target in ["/", "/metrics", "/resources/condemned?limit=1"] {
                    assert_eq!(ask(target), verdict(200), "{doing} {target}");
                }
                assert_eq!(ask("/healthz"), 200, "{doing}");
            }
        }
    }
    assert_eq!(served.sandbox.read(&format!("st/snapshots/{id}")), kept);
    assert!(served.files("tmp").is_empty() && served.files("keys").is_empty());
}

#[test]
fn tokens_come_in_two_ways_and_no_other() {
    let sandbox = sandbox("credentials");
    let bearer = token(&sandbox, "read");
    let token = bearer
        .trim_start_matches("Authorization: Bearer ")
        .trim_end()
        .to_owned();
    let served = Served::of(sandbox, &[]);
    let mut wire = served.connect();
    let mut ask = |fields: &str| wire.ask("GET", "/", fields);
    let refused = ask("");
    let challenges: Vec<&str> = refused.all("www-authenticate").collect();
    assert!(
        challenges[0].starts_with("Bearer") && challenges[1].starts_with("Basic realm=\"plakar\"")
    );
    assert_eq!(refused.field("kloset-error"), Some("denied"));
    assert_eq!(ask(&bearer).status, 200);
    assert_eq!(ask(&bearer.replace("Bearer", "bearer")).status, 200);
    for wrong in [
        format!("Authorization: {token}\r\n"),
        format!("Authorization: Bearer {}\r\n", &token[1..]),
        format!("Authorization: Bearer {}\r\n", token.to_uppercase()),
        format!("Authorization: Bearer {token}0\r\n"),
        "Authorization: Bearer \r\n".to_owned(),
        "Authorization: Basic !!!\r\n".to_owned(),
        format!("{bearer}{bearer}"),
    ] {
        assert_eq!(ask(&wrong).status, 401, "{wrong}");
    }
    // The stored data does not contain the token.
    let kept = served.sandbox.read("home/.config/plakar/tokens.toml");
    let kept = String::from_utf8(kept).expect("it is text");
    assert!(!kept.contains(&token));
    let hash = Id::of(token.as_bytes()).to_string();
    assert!(kept.contains(&hash));
    assert_eq!(
        ask(&format!("Authorization: Bearer {hash}\r\n")).status,
        401
    );
}

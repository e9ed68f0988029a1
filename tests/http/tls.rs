//! Tests certificates created by openssl: which servers are trusted, and the messages about others.

use std::fs;
use std::path::Path;
use std::sync::{Arc, Mutex};

use plakar::error::{Error, Kind};
use plakar::net::Trust;
use plakar::net::location::Location;
use plakar::store::{Settings, open};
use tempfile::TempDir;

use super::common::prerequisite::program;
use super::conforms;
use super::harness::Sandbox;
use super::serving::{Served, failure, settings, store};

/// A key on a curve that all clients support.
const NEW_KEY: [&str; 5] = [
    "-newkey",
    "ec",
    "-pkeyopt",
    "ec_paramgen_curve:P-256",
    "-nodes",
];

/// Runs openssl in `at` and returns its output.
fn openssl(at: &Path, words: &[&str]) -> Vec<u8> {
    let output = program("openssl").args(words).current_dir(at).output();
    let output = output.expect("openssl is installed");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "openssl {words:?}: {said}");
    output.stdout
}

/// Creates `NAME.pem` and `NAME.key`: a certificate authority, or a self-signed server certificate.
fn own(at: &Path, name: &str) {
    let (key, pem) = (format!("{name}.key"), format!("{name}.pem"));
    let subject = format!("/CN={name}");
    let words = [
        "req", "-x509", "-days", "2", "-subj", &subject, "-keyout", &key, "-out", &pem,
    ];
    let names = ["-addext", "subjectAltName=IP:127.0.0.1"];
    openssl(at, &[words.as_slice(), &NEW_KEY, &names].concat());
}

/// Creates `NAME.pem` and `NAME.key`, signed by `ca`, for the given `names`.
fn signed(at: &Path, name: &str, names: &str, days: &str) {
    let file = |extension| format!("{name}.{extension}");
    let (key, request, pem, extensions) = (file("key"), file("csr"), file("pem"), file("ext"));
    let subject = format!("/CN={name}");
    let words = ["req", "-subj", &subject, "-keyout", &key, "-out", &request];
    openssl(at, &[words.as_slice(), &NEW_KEY].concat());
    fs::write(at.join(&extensions), format!("subjectAltName={names}")).unwrap();
    let mut words = vec![
        "x509", "-req", "-in", &request, "-CA", "ca.pem", "-CAkey", "ca.key",
    ];
    words.extend([
        "-set_serial",
        "7",
        "-days",
        days,
        "-extfile",
        &extensions,
        "-out",
        &pem,
    ]);
    openssl(at, &words);
}

/// The pin of the key in `NAME.pem`, computed as described in the manual.
fn pin(at: &Path, name: &str) -> String {
    let pem = format!("{name}.pem");
    let key = openssl(at, &["x509", "-in", &pem, "-noout", "-pubkey"]);
    fs::write(at.join("public"), key).unwrap();
    let der = openssl(at, &["pkey", "-pubin", "-in", "public", "-outform", "der"]);
    fs::write(at.join("der"), der).unwrap();
    let line = openssl(at, &["dgst", "-sha256", "-r", "der"]);
    let line = String::from_utf8(line).unwrap();
    line.split(' ').next().unwrap().to_owned()
}

/// A server with the certificate `NAME.pem`.
fn served(at: &Path, name: &str) -> Served {
    let file = |extension| at.join(format!("{name}.{extension}")).display().to_string();
    Served::new(
        &at.join("st"),
        0,
        &["-cert", &file("pem"), "-key", &file("key")],
    )
}

fn trust(at: &Path, ca: Option<&str>, pin: Option<String>) -> Trust {
    Trust {
        ca: ca.map(|name| at.join(name)),
        pin,
        no_verify: false,
    }
}

#[test]
fn a_store_over_https_keeps_the_promises() {
    let directory = TempDir::new().unwrap();
    let at = directory.path();
    own(at, "ca");
    signed(at, "server", "IP:127.0.0.1", "2");
    let path = |name| at.join(name).display().to_string();
    let flags = ["-cert", &path("server.pem"), "-key", &path("server.key")];
    let trust = trust(at, Some("ca.pem"), None);
    conforms(&flags, &trust, &|server| server.url.clone());
}

#[test]
fn servers_are_believed_for_a_reason() {
    let directory = TempDir::new().unwrap();
    let at = directory.path();
    own(at, "ca");
    own(at, "alone");
    signed(at, "good", "IP:127.0.0.1", "2");
    signed(at, "late", "IP:127.0.0.1", "-1");
    signed(at, "other", "DNS:other.lan", "2");
    let unknown = "is signed by an unknown authority: set tls_ca to its authority";
    for (name, ca, refused) in [
        ("good", None, Some(unknown)),
        ("good", Some("ca.pem"), None),
        (
            "good",
            Some("alone.pem"),
            Some("is not signed by an authority in tls_ca"),
        ),
        ("alone", None, Some("the server's certificate ")),
        ("alone", Some("alone.pem"), None),
        ("alone", Some("ca.pem"), Some("the server's certificate ")),
        ("late", Some("ca.pem"), Some("has expired")),
        ("other", Some("ca.pem"), Some("is for another name, ")),
    ] {
        let server = served(at, name);
        let outcome = store(&server.url, trust(at, ca, None)).prepare();
        let Some(expected) = refused else {
            outcome.unwrap_or_else(|error| panic!("{name}, {ca:?}: {error}"));
            continue;
        };
        let (kind, words) = failure(outcome);
        assert_eq!(kind, Kind::Denied, "{words}");
        assert!(words.contains(expected), "{name}, {ca:?}: {words}");
        let hint = format!("set tls_pin={} if that is its key", pin(at, name));
        assert!(words.ends_with(&hint), "{words}");
    }
}

#[test]
fn a_pin_is_believed_whatever_else_the_certificate_says() {
    let directory = TempDir::new().unwrap();
    let at = directory.path();
    own(at, "ca");
    signed(at, "late", "DNS:other.lan", "-1");
    for name in ["ca", "late"] {
        let server = served(at, name);
        let right = pin(at, name);
        let trusted = trust(at, None, Some(right.clone()));
        store(&server.url, trusted).prepare().unwrap();
        let wrong = trust(at, Some("ca.pem"), Some("0".repeat(64)));
        let (kind, words) = failure(store(&server.url, wrong).prepare());
        assert_eq!(kind, Kind::Denied);
        let expected = format!("has another key than tls_pin says: its pin is {right}");
        assert!(words.contains(&expected), "{words}");
        let nonsense = trust(at, None, Some("abc".into()));
        let (kind, words) = failure(store(&server.url, nonsense).prepare());
        assert_eq!(kind, Kind::Usage, "{words}");
    }
}

#[test]
fn who_believes_anyone_is_warned_once() {
    let directory = TempDir::new().unwrap();
    let at = directory.path();
    own(at, "own");
    let server = served(at, "own");
    let told = Arc::new(Mutex::new(Vec::new()));
    let heard = told.clone();
    let settings = Settings {
        trust: Trust {
            no_verify: true,
            ..Trust::default()
        },
        notice: Arc::new(move |error: &Error| heard.lock().unwrap().push(error.to_string())),
        ..settings()
    };
    let store = open(&Location::parse(server.url.as_bytes()).unwrap(), &settings).unwrap();
    for _ in 0..3 {
        store.prepare().unwrap();
    }
    let words = "tls_no_verify: the identity of the server is not verified";
    assert_eq!(*told.lock().unwrap(), [format!("{}: {words}", server.url)]);
}

#[test]
fn authorities_that_cannot_be_read_are_named() {
    let directory = TempDir::new().unwrap();
    let at = directory.path();
    own(at, "own");
    fs::write(at.join("empty.pem"), "").unwrap();
    fs::write(
        at.join("bad.pem"),
        "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
    )
    .unwrap();
    let server = served(at, "own");
    for (name, kind, expected) in [
        ("none.pem", Kind::NotFound, "no such file"),
        ("empty.pem", Kind::Unsupported, "it contains no certificate"),
        ("own.key", Kind::Unsupported, "it contains no certificate"),
        (
            "bad.pem",
            Kind::Unsupported,
            "a certificate in it cannot be understood",
        ),
    ] {
        let (found, words) = failure(store(&server.url, trust(at, Some(name), None)).prepare());
        let expected = format!("tls_ca: {}: {expected}", at.join(name).display());
        assert!(found == kind && words.contains(&expected), "{words}");
    }
}

#[test]
fn the_program_says_what_to_do_about_a_certificate() {
    let sandbox = Sandbox::new("http_tls");
    let at = sandbox.path(".");
    own(&at, "own");
    let server = served(&at, "own");
    let pin = pin(&at, "own");
    let run = sandbox.run(&["at", &server.url, "create"]).ended(77);
    let run = run.says(&format!("set tls_pin={pin} if that is its key\n"));
    assert_eq!(run.stderr().lines().count(), 1, "{}", run.stderr());
    let coloned: Vec<_> = pin
        .as_bytes()
        .chunks(2)
        .map(|pair| str::from_utf8(pair).unwrap())
        .collect();
    for option in [
        format!("tls_pin={pin}"),
        format!("tls_pin=sha256:{}", coloned.join(":").to_uppercase()),
        "tls_ca=own.pem".to_owned(),
    ] {
        let words = ["store", "add", "nas", &server.url, &option];
        sandbox.run(&words).ended(0);
        sandbox
            .run(&["store", "ping", "nas"])
            .ended(0)
            .says_nothing();
        sandbox.run(&["store", "rm", "nas"]).ended(0);
    }
    let words = ["store", "add", "nas", &server.url, "tls_no_verify=true"];
    sandbox.run(&words).ended(0);
    let run = sandbox.run(&["store", "ping", "nas"]).ended(0);
    run.says("warning: ")
        .says("the identity of the server is not verified");
    let plain = server.url.replace("https:", "http:");
    let run = sandbox.run(&["at", &plain, "ls"]).says("https://");
    assert_eq!(run.stderr().lines().count(), 1, "{}", run.stderr());
}

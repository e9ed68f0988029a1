//! Tests TLS with openssl and curl.

use std::io::Write;
use std::process::Stdio;

use rustix::process::Signal;

use crate::common::prerequisite::program;
use crate::harness::Sandbox;
use crate::served::{Served, sandbox, until};

const FLAGS: [&str; 4] = ["-cert", "cert.pem", "-key", "key.pem"];

/// The default names in a certificate.
pub(crate) const NAMES: &str = "DNS:localhost,IP:127.0.0.1";

/// Creates a self-signed certificate with the subject `name`, for `names`.
pub(crate) fn certify(sandbox: &Sandbox, name: &str, names: &str) {
    let subject = format!("/CN={name}");
    let output = program("openssl")
        .args([
            "req",
            "-x509",
            "-newkey",
            "ec",
            "-pkeyopt",
            "ec_paramgen_curve:P-256",
            "-nodes",
        ])
        .args([
            "-keyout", "key.pem", "-out", "cert.pem", "-days", "2", "-subj", &subject,
        ])
        .args(["-addext", &format!("subjectAltName={names}")])
        .current_dir(sandbox.path("."))
        .output()
        .expect("openssl is installed");
    assert!(output.status.success(), "{output:?}");
}

/// The output of `openssl s_client` for a connection that requests CONFIG.
fn s_client(served: &Served, flags: &[&str]) -> String {
    let mut child = program("openssl")
        .args(["s_client", "-ign_eof", "-CAfile", "cert.pem", "-connect"])
        .arg(served.address.to_string())
        .args(flags)
        .current_dir(served.sandbox.path("."))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("openssl is installed");
    let mut stdin = child.stdin.take().expect("it is a pipe");
    let _ = stdin.write_all(b"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
    let output = child.wait_with_output().expect("it ends");
    drop(stdin);
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}

/// The response to curl, if it trusts the certificate.
fn curl(served: &Served, words: &[&str]) -> (bool, String) {
    let output = program("curl")
        .args(["--silent", "--cacert", "cert.pem", "--max-time", "100"])
        .args(words)
        .current_dir(served.sandbox.path("."))
        .output()
        .expect("curl is installed");
    (
        output.status.success(),
        String::from_utf8_lossy(&output.stdout).into_owned(),
    )
}

#[test]
fn both_versions_of_tls_are_spoken_and_no_older_one() {
    let sandbox = sandbox("tls");
    certify(&sandbox, "localhost", NAMES);
    let served = Served::of(sandbox, &FLAGS);
    assert!(
        served.url.starts_with("https://127.0.0.1:"),
        "{}",
        served.url
    );
    for (flag, version) in [("-tls1_2", "TLSv1.2"), ("-tls1_3", "TLSv1.3")] {
        let shown = s_client(&served, &[flag, "-alpn", "h2,http/1.1"]);
        for text in [
            version,
            "ALPN protocol: http/1.1",
            "Verify return code: 0 (ok)",
            "200 OK",
        ] {
            assert!(shown.contains(text), "{flag}: no {text:?} in {shown}");
        }
        assert!(shown.contains("format = 1"), "{shown}");
    }
    assert!(!s_client(&served, &["-tls1_1"]).contains("200 OK"));
    let url = format!("{}/healthz", served.url);
    let reused = [url.as_str(), &url, "-w", "%{num_connects}"];
    assert_eq!(curl(&served, &reused), (true, "ok\n1ok\n0".to_owned()));
    let sent = crate::served::bytes(1, 3 << 20);
    served.sandbox.write("file", &sent);
    let target = format!("{}{}", served.url, crate::served::object("packs", &sent));
    let put = ["-T", "file", "-o", "put", "-w", "%{http_code}", &target];
    assert_eq!(curl(&served, &put), (true, "201".to_owned()));
    assert!(curl(&served, &["-o", "back", &target]).0);
    assert!(served.sandbox.read("back") == sent);
}

#[test]
fn who_speaks_no_tls_is_told() {
    let sandbox = sandbox("tls_clear");
    certify(&sandbox, "localhost", NAMES);
    let served = Served::of(sandbox, &FLAGS);
    let answer = served.ask("GET", "/");
    assert_eq!(answer.status, 400);
    assert!(answer.text().contains("https://"), "{}", answer.text());
    let mut wire = served.connect();
    wire.send([22, 3, 1, 0, 5, 1, 0, 0, 1, 9, 9, 9]);
    wire.end();
    wire.rest();
    assert!(curl(&served, &[&served.url]).0);
}

#[test]
fn another_certificate_is_taken_on_without_dropping_anybody() {
    let sandbox = sandbox("tls_renew");
    certify(&sandbox, "first", NAMES);
    let mut served = Served::of(sandbox, &FLAGS);
    assert!(s_client(&served, &[]).contains("CN = first"));
    certify(&served.sandbox, "second", NAMES);
    served.signal(Signal::HUP);
    until("the second is in use", || {
        s_client(&served, &[]).contains("CN = second")
    });
    let good = served.sandbox.read("cert.pem");
    // An invalid file is reported and not used.
    served.sandbox.write("cert.pem", b"nonsense");
    served.signal(Signal::HUP);
    let warning = served.line();
    assert!(
        warning.contains("the certificate in use stays: cert.pem: "),
        "{warning}"
    );
    served.sandbox.write("cert.pem", &good);
    assert!(s_client(&served, &[]).contains("CN = second"));
}

//! Tests the server with curl, for users without plakar.

use std::process::Output;

use crate::common::prerequisite::program;
use crate::served::{Served, bytes, object, sandbox};

/// Runs curl with `words`, the last of which is a target.
fn curl(served: &Served, words: &[&str]) -> Output {
    let (target, flags) = words.split_last().expect("there is a target");
    let output = program("curl")
        .args(["--silent", "--show-error", "--max-time", "100"])
        .args(flags)
        .arg(format!("{}{target}", served.url))
        .current_dir(served.sandbox.path("."))
        .output();
    output.expect("curl is installed")
}

/// The status of the response to curl.
fn status(served: &Served, words: &[&str]) -> String {
    let words = [
        &["-o", "/dev/null", "-w", "%{http_code} %{num_connects}"],
        words,
    ]
    .concat();
    let output = curl(served, &words);
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).expect("it is text")
}

#[test]
fn curl_gets_puts_and_looks() {
    let served = Served::new("curl", &[]);
    let sent = bytes(1, 3 << 20);
    let target = object("packs", &sent);
    served.sandbox.write("file", &sent);
    // For a body of this size, curl sends `Expect: 100-continue`.
    assert_eq!(status(&served, &["-T", "file", &target]), "201 1");
    assert_eq!(status(&served, &["-T", "file", &target]), "200 1");
    assert_eq!(
        status(&served, &["-T", "file", "-H", "Expect:", &target]),
        "200 1"
    );
    let chunked = [
        "-T",
        "file",
        "-H",
        "Transfer-Encoding: chunked",
        "-H",
        "Expect:",
    ];
    assert_eq!(
        status(&served, &[chunked.as_slice(), &[&target]].concat()),
        "200 1"
    );
    let other = object("packs", &sent[1..]);
    assert_eq!(status(&served, &["-T", "file", &other]), "422 1");
    assert!(curl(&served, &[&target]).stdout == sent);
    let part = curl(&served, &["--range", "1000-2000000", &target]);
    assert!(part.stdout == sent[1000..=2_000_000]);
    let head = curl(&served, &["--head", &target]).stdout;
    let head = String::from_utf8(head).expect("it is text");
    assert!(head.contains("Content-Length: 3145728\r\n"), "{head}");
    assert_eq!(status(&served, &["-0", "/healthz"]), "200 1");
    assert_eq!(
        status(&served, &["--path-as-is", "/resources/../CONFIG"]),
        "404 1"
    );
    assert_eq!(status(&served, &["-X", "DELETE", &target]), "403 1");
    let etag = target.rsplit('/').next().expect("there is an id");
    let unless = format!("If-None-Match: \"{etag}\"");
    assert_eq!(status(&served, &["-H", &unless, &target]), "304 1");
    // A request as sent to a proxy.
    let proxied = program("curl")
        .args([
            "--silent",
            "--proxy",
            &served.url,
            "http://localhost/healthz",
        ])
        .output();
    assert_eq!(proxied.expect("curl is installed").stdout, b"ok\n");
}

#[test]
fn curl_gives_tokens_as_a_password_or_in_a_field() {
    let sandbox = sandbox("curl_tokens");
    let add = [
        "server", "token", "add", "me", "-role", "append", "-tokens", "mine",
    ];
    let token = sandbox.run(&add).ended(0).stdout();
    let token = token.trim_end();
    let served = Served::of(sandbox, &["-tokens", "mine"]);
    assert_eq!(status(&served, &["/"]), "401 1");
    assert_eq!(
        status(&served, &["-u", &format!("anybody:{token}"), "/"]),
        "200 1"
    );
    assert_eq!(status(&served, &["-u", &format!("{token}:"), "/"]), "401 1");
    assert_eq!(status(&served, &["--oauth2-bearer", token, "/"]), "200 1");
    assert_eq!(status(&served, &["/healthz"]), "200 1");
    // A response sent before the end of the request body arrives at the client.
    served.sandbox.write("file", &bytes(1, 3 << 20));
    let words = ["-T", "file", "-H", "Expect:", &object("packs", b"x")];
    assert_eq!(status(&served, &words), "401 1");
}

//! Tests commands on a store over HTTP from the view of a user.

use std::io::Write;
use std::net::TcpListener;
use std::process::Stdio;
use std::time::{Duration, Instant};
use std::{fs, thread};

use super::common::prerequisite::program;
use super::harness::{Run, Sandbox, describe, noise};
use super::serving::Served;

/// The time limit for any event in a test.
const PATIENCE: Duration = Duration::from_secs(120);

/// A sandbox and a server for its directory `st`, where a store is created through the server.
fn served(name: &str, flags: &[&str]) -> (Sandbox, Served) {
    let sandbox = Sandbox::new(name);
    let server = Served::new(&sandbox.path("st"), 0, flags);
    sandbox
        .run(&["at", &server.url, "create"])
        .ended(0)
        .prints_nothing();
    (sandbox, server)
}

#[test]
fn a_store_lives_its_whole_life_over_http() {
    let (sandbox, server) = served("http_life", &["-allow-delete"]);
    let at = server.url.as_str();
    sandbox
        .run(&["at", at, "create"])
        .ended(1)
        .says("there is a store already");
    sandbox.write("d/a", b"hello");
    sandbox.write("d/b", &noise(3_000_000));
    let first = sandbox.backup(at, "d");
    let second = sandbox.backup(at, "d");
    sandbox
        .run(&["at", at, "tag", "add", "kept", &second])
        .ended(0);
    sandbox.run(&["at", at, "check"]).ended(0).says_nothing();
    sandbox
        .run(&["at", at, "restore", "-to", "out", "latest"])
        .ended(0);
    assert!(sandbox.read("out/b") == sandbox.read("d/b"));
    sandbox.run(&["at", at, "rm", "-apply", &first]).ended(0);
    let listed = sandbox.run(&["at", at, "ls", "-uuid"]).ended(0).stdout();
    assert!(
        listed.contains(&second) && !listed.contains(&first),
        "{listed}"
    );
    let info = sandbox
        .run(&["at", at, "info", "-json"])
        .ended(0)
        .object("store");
    assert_eq!(info["location"], at);
    let bytes = info["bytes"].as_u64().unwrap();
    assert!((3_000_000..4_000_000).contains(&bytes), "{info}");
    // A store created through the server is a normal store.
    sandbox.run(&["at", "st", "check"]).ended(0);
    sandbox.run(&["store", "add", "nas", at]).ended(0);
    sandbox
        .run(&["store", "check", "nas"])
        .ended(0)
        .prints("the passphrase opens it");
    sandbox
        .run(&["store", "ping", "nas"])
        .ended(0)
        .prints("is a store");
    sandbox
        .run(&["at", "@nas", "cat", "latest:a"])
        .ended(0)
        .prints_just("hello");
}

#[test]
fn a_server_that_deletes_nothing_says_so_in_one_line() {
    let (sandbox, server) = served("http_keeps", &[]);
    let at = server.url.as_str();
    sandbox.write("d/a", b"hello");
    let id = sandbox.backup(at, "d");
    let refused = |words: &[&str], doing: &str| {
        let run = sandbox.run(&[&["at", at], words].concat()).ended(77);
        let cause = "the server deletes nothing: it runs without -allow-delete";
        let run = run.says(doing).says(&format!(": {at}: {cause}\n"));
        assert_eq!(run.stderr().lines().count(), 1, "{}", run.stderr());
    };
    refused(&["rm", "-apply", &id], "delete snapshot ");
    sandbox.write("new", b"another passphrase\n");
    sandbox
        .run(&["at", at, "key", "add", "-new-keyfile", "new"])
        .ended(0);
    let keys = sandbox
        .run(&["at", at, "-json", "key", "list"])
        .ended(0)
        .objects();
    refused(
        &["key", "rm", keys[0]["id"].as_str().unwrap()],
        "delete key ",
    );
    // Commands that delete nothing work, and so do commands that can omit deletions.
    sandbox.run(&["at", at, "rm", &id]).ended(0);
    sandbox.run(&["at", at, "tag", "add", "x", &id]).ended(0);
    sandbox
        .run(&["at", at, "ls", "-tag", "x", "-uuid"])
        .ended(0)
        .prints(&id);
    sandbox.run(&["at", at, "prune", "-days", "1"]).ended(0);
    sandbox.run(&["at", at, "check"]).ended(0);
    sandbox.backup(at, "d");
}

#[test]
fn a_backup_survives_a_server_that_is_killed_and_started_again() {
    let (sandbox, mut server) = served("http_killed", &[]);
    let bytes = noise(80 << 20);
    let words = ["at", &server.url, "backup", "-stdio", "stdin:dump"];
    let mut command = sandbox.command(&words);
    command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let described = describe(&command);
    let mut child = command.spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    // More than the amount buffered before the first pack is sent, and much less than the whole.
    let (first, rest) = bytes.split_at(60 << 20);
    thread::scope(|scope| {
        let feeding = scope.spawn(|| {
            stdin.write_all(first).unwrap();
            stdin
        });
        wait_until("a pack is stored", || {
            fs::read_dir(sandbox.path("st/packs")).is_ok_and(|packs| packs.count() > 0)
        });
        server.kill();
        let mut stdin = feeding.join().unwrap();
        let restarting = scope.spawn(|| Served::new(&sandbox.path("st"), server.port, &[]));
        let _again = restarting.join().unwrap();
        stdin.write_all(rest).unwrap();
        drop(stdin);
        let output = child.wait_with_output().unwrap();
        Run::after(described, output).ended(0);
    });
    sandbox.run(&["at", "st", "check"]).ended(0);
    let out = fs::File::create(sandbox.path("out")).unwrap();
    Run::of(sandbox.command(&["at", "st", "cat", "latest"]).stdout(out)).ended(0);
    assert!(sandbox.read("out") == bytes);
    sandbox.discard();
}

fn wait_until(what: &str, mut is_so: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !is_so() {
        assert!(
            begun.elapsed() < PATIENCE,
            "{what}: not within {PATIENCE:?}"
        );
        thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn who_cannot_be_reached_or_is_no_server_is_told_in_one_line() {
    let sandbox = Sandbox::new("http_nobody");
    let told = |at: &str, code: i32, words: &str| {
        let run = sandbox
            .run(&["at", at, "ls"])
            .ended(code)
            .says(words)
            .prints_nothing();
        assert_eq!(run.stderr().lines().count(), 1, "{}", run.stderr());
    };
    // A port that was free a moment ago.
    let port = TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
        .port();
    let nobody = format!("http://127.0.0.1:{port}");
    told(
        &nobody,
        69,
        &format!("open store {nobody}: read CONFIG: connection refused"),
    );
    told(
        "http://no.such.host.invalid",
        69,
        "open store http://no.such.host.invalid: read CONFIG: ",
    );
    told("http://bob@127.0.0.1", 64, "configure auth_token");
    let server = Served::new(&sandbox.path("st"), 0, &[]);
    told(&server.url, 66, "no store");
    let tls = server.url.replace("http:", "https:");
    told(&tls, 78, "is it at an http:// location?");
    sandbox.run(&["store", "add", "s", &server.url]).ended(0);
    sandbox
        .run(&["store", "ping", "s"])
        .ended(0)
        .prints("is no store yet");
    told(&format!("{}/x", server.url), 66, "");
    let other = program("python3")
        .args(["-u", "-m", "http.server", "--bind", "127.0.0.1", "0"])
        .current_dir(sandbox.path("home"))
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn();
    let mut other = other.unwrap();
    let mut line = String::new();
    let mut stdout = std::io::BufReader::new(other.stdout.take().unwrap());
    std::io::BufRead::read_line(&mut stdout, &mut line).unwrap();
    let port = line
        .split(" port ")
        .nth(1)
        .unwrap()
        .split(' ')
        .next()
        .unwrap();
    told(
        &format!("http://127.0.0.1:{port}"),
        78,
        "no plakar server is here: SimpleHTTP",
    );
    other.kill().unwrap();
    other.wait().unwrap();
}

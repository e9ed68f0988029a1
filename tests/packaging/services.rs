//! Tests the examples that start the program: systemd units, and a script for systems without
//! systemd.
//!
//! The tests run the commands of these examples, and change only the paths in them.

use std::collections::BTreeSet;
use std::fs;
use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Command, Stdio};

use plakar::cli::{COMMANDS, Flag, GLOBAL_FLAGS};
use rustix::process::{Pid, Signal, kill_process};

use crate::common::prerequisite::program;
use crate::harness::{PASSPHRASE, Run, Sandbox, binary};
use crate::install::installed;
use crate::top;

/// The maximum exposure level of a unit in `systemd-analyze security`, in tenths: "OK" is below 50.
const SERVER_EXPOSURE: &str = "15";
/// The same for the unit that reads all files.
const BACKUP_EXPOSURE: &str = "32";
/// The configuration directory in the examples.
const ETC: &str = "/etc/plakar";

fn units() -> PathBuf {
    top().join("src/packaging/units")
}

/// The text of a unit, with each command on one line.
fn unit(name: &str) -> String {
    let text = fs::read_to_string(units().join(name)).expect("the unit is there");
    text.replace("\\\n#", "").replace("\\\n", "")
}

/// The commands in a unit, including those in comments, as words.
fn commands(unit: &str) -> Vec<Vec<String>> {
    let lines = unit.lines().map(|line| line.trim_start_matches(['#', ' ']));
    let starts = lines.filter_map(|line| line.strip_prefix("ExecStart=/usr/local/bin/plakar "));
    starts
        .map(|line| line.split_whitespace().map(str::to_owned).collect())
        .collect()
}

/// The names of all flags of the command in `words`.
fn known(words: &[String]) -> BTreeSet<&'static str> {
    let is_called = |name: &str| words.iter().any(|word| word == name);
    let called = COMMANDS.iter().filter(|command| is_called(command.name));
    let tables = called
        .flat_map(|command| command.tables())
        .chain([GLOBAL_FLAGS]);
    tables.flatten().flat_map(Flag::names).collect()
}

#[test]
fn units_use_flags_that_there_are() {
    for (name, count) in [("plakar-server.service", 2), ("plakar-backup@.service", 1)] {
        let commands = commands(&unit(name));
        assert_eq!(commands.len(), count, "{commands:?}");
        for words in commands {
            let flags = words.iter().filter_map(|word| word.strip_prefix('-'));
            let unknown: Vec<&str> = flags.filter(|flag| !known(&words).contains(flag)).collect();
            assert!(unknown.is_empty(), "{name}: {unknown:?}");
        }
    }
}

#[test]
fn systemd_is_content_with_the_units() {
    let sandbox = Sandbox::new("services_verify");
    let prefix = sandbox.path("image").display().to_string();
    // Moved out of DESTDIR, so that the program is at the path that the units contain.
    let image = installed(&sandbox, &prefix).join(prefix.trim_start_matches('/'));
    fs::rename(&image, sandbox.path("moved")).expect("it can be moved");
    fs::remove_dir_all(sandbox.path("image")).expect("it can be removed");
    fs::rename(sandbox.path("moved"), sandbox.path("image")).expect("it can be moved");
    let units = sandbox.path("image/lib/systemd/system");
    let analyze = |words: &[&str]| {
        let mut command = program("systemd-analyze");
        Run::of(command.args(words).current_dir(&units)).ended(0)
    };
    for (template, name) in [
        ("plakar-backup@.service", "plakar-backup@home.service"),
        ("plakar-backup@.timer", "plakar-backup@home.timer"),
    ] {
        fs::copy(units.join(template), units.join(name)).expect("it can be copied");
    }
    for name in [
        "plakar-server.service",
        "plakar-backup@home.service",
        "plakar-backup@home.timer",
    ] {
        analyze(&["verify", "--man=no", &format!("./{name}")]).silent();
    }
    for (name, exposure) in [
        ("plakar-server.service", SERVER_EXPOSURE),
        ("plakar-backup@home.service", BACKUP_EXPOSURE),
    ] {
        analyze(&[
            "security",
            "--offline=yes",
            "--threshold",
            exposure,
            &format!("./{name}"),
        ]);
    }
    sandbox.discard();
}

#[test]
fn the_server_of_the_unit_serves() {
    let sandbox = Sandbox::new("services_server");
    add_token(&sandbox, "credentials/tokens");
    let words = commands(&unit("plakar-server.service"));
    let credentials = sandbox.path("credentials").display().to_string();
    let words = words
        .last()
        .expect("it calls the program")
        .iter()
        .map(|word| {
            word.replace("${STORE}", &sandbox.path("store").display().to_string())
                .replace("${LISTEN}", "127.0.0.1:0")
                .replace("${CREDENTIALS_DIRECTORY}", &credentials)
        });
    let mut command = Command::new(binary());
    command.args(words).env_clear().current_dir("/");
    let mut child = command
        .stderr(Stdio::piped())
        .spawn()
        .expect("it can be started");
    let stderr = BufReader::new(child.stderr.take().expect("it is a pipe"));
    let mut lines = stderr.lines().map(|line| line.expect("it is text"));
    let said = lines.find(|line| line.contains(" at http://127.0.0.1:"));
    assert!(said.is_some(), "it tells where it serves");
    kill_process(Pid::from_child(&child), Signal::TERM).expect("it runs");
    let rest: Vec<String> = lines.collect();
    let status = child.wait().expect("it ends");
    assert_eq!(status.code(), Some(0), "{rest:?}");
}

fn add_token(sandbox: &Sandbox, file: &str) {
    sandbox.write(file, b"");
    let words = [
        "server", "token", "add", "laptop", "-role", "append", "-tokens", file,
    ];
    sandbox.run(&words).ended(0);
}

#[test]
fn the_backup_of_the_unit_backs_up() {
    let sandbox = Sandbox::new("services_backup");
    let etc = sandbox.path("etc").display().to_string();
    let store = sandbox.path("store").display().to_string();
    let home = sandbox.path("documents").display().to_string();
    sandbox.write("documents/letter", b"Dear reader");
    let configure = |words: &[&str]| {
        sandbox
            .run(&[&["-configdir", &etc], words].concat())
            .ended(0)
    };
    let passphrase = format!("passphrase={PASSPHRASE}");
    configure(&["store", "add", "nas", &store, &passphrase]);
    configure(&["store", "default", "nas"]);
    configure(&["source", "add", "home", &home]);
    configure(&["create"]);
    let words = commands(&unit("plakar-backup@.service")).remove(0);
    let words: Vec<String> = words
        .iter()
        .map(|word| word.replace(ETC, &etc).replace("%i", "home"))
        .collect();
    let mut command = sandbox.command(&words);
    command.env_remove("PLAKAR_PASSPHRASE").env("HOME", "/root");
    command.env("XDG_CACHE_HOME", sandbox.path("cache"));
    Run::of(&mut command).ended(0).says_nothing();
    assert!(sandbox.path("cache/plakar").is_dir());
    configure(&["ls"]).prints(&home);
}

/// The script for systems without systemd, with a configuration in a sandbox.
struct Script<'a> {
    sandbox: &'a Sandbox,
}

impl<'a> Script<'a> {
    fn new(sandbox: &'a Sandbox, tokens: &str) -> Script<'a> {
        let at = |name: &str| sandbox.path(name).display().to_string();
        let lines = [
            format!("PLAKAR='{}'", binary()),
            format!("STORE='{}'", at("store")),
            format!("TOKENS='{}'", at(tokens)),
            format!("PIDFILE='{}'", at("pid")),
            format!("LOG='{}'", at("log")),
            "LISTEN=127.0.0.1:0".to_owned(),
            "FLAGS='-max-connections 16'".to_owned(),
        ];
        sandbox.write("server.conf", lines.join("\n").as_bytes());
        Script { sandbox }
    }

    fn run(&self, word: &str) -> Run {
        let mut command = Command::new(units().join("plakar-server.init"));
        command.arg(word).env_clear().env("PATH", "/usr/bin:/bin");
        command.env("CONFIG", self.sandbox.path("server.conf"));
        Run::of(&mut command)
    }

    fn log(&self) -> String {
        String::from_utf8(self.sandbox.read("log")).expect("it is text")
    }
}

#[test]
fn the_script_starts_tells_reloads_and_stops() {
    let sandbox = Sandbox::new("services_script");
    add_token(&sandbox, "tokens");
    let script = Script::new(&sandbox, "tokens");
    script.run("status").ended(3).prints("stopped");
    script.run("start").ended(0).silent();
    assert!(script.log().contains("serving "), "{}", script.log());
    let pid = String::from_utf8(sandbox.read("pid")).expect("it is text");
    script
        .run("status")
        .ended(0)
        .prints(&format!("process {pid}"));
    script.run("start").ended(0).prints("runs already");
    script.run("reload").ended(0).silent();
    script.run("restart").ended(0).silent();
    assert_ne!(String::from_utf8(sandbox.read("pid")).expect("text"), pid);
    script.run("stop").ended(0).silent();
    script.run("status").ended(3);
    script.run("stop").ended(0).silent();
    // A zombie process, which init has not waited for yet, has no command line.
    let line = std::fs::read(format!("/proc/{}/cmdline", pid.trim()));
    assert!(line.unwrap_or_default().is_empty(), "{pid} runs");
    script.run("sing").ended(64).says("usage");
}

#[test]
fn the_script_tells_why_a_server_does_not_start_and_stops_no_stranger() {
    let sandbox = Sandbox::new("services_script_bad");
    let script = Script::new(&sandbox, "no-tokens");
    script.run("start").ended(1).says("the file does not exist");
    // A pid file left by a crash, whose number belongs to a different process now.
    let mut stranger = Command::new("sleep")
        .arg("600")
        .spawn()
        .expect("it can be started");
    sandbox.write("pid", stranger.id().to_string().as_bytes());
    script.run("status").ended(3);
    script.run("stop").ended(0);
    assert!(
        stranger.try_wait().expect("it is ours").is_none(),
        "it still runs"
    );
    stranger.kill().expect("it runs");
    stranger.wait().expect("it is ours");
}

//! A [`Served`] store: a running server, stopped on drop.

use std::fs::{self, File};
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{Child, ChildStdout, Command, ExitStatus, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use plakar::util::Id;
use rustix::process::{Pid, Signal, kill_process};

use crate::harness::{Sandbox, noise};
use crate::wire::{Answer, Wire};

/// Longer than any operation takes, on the slowest machine.
pub(crate) const PATIENCE: Duration = Duration::from_secs(120);

/// A server, and the sandbox that contains its store `st`.
pub(crate) struct Served {
    pub(crate) sandbox: Sandbox,
    pub(crate) url: String,
    pub(crate) address: SocketAddr,
    child: Child,
    stdout: BufReader<ChildStdout>,
}

/// A sandbox with a plaintext store, because it is created quickly.
pub(crate) fn sandbox(name: &str) -> Sandbox {
    let sandbox = Sandbox::new(&format!("server_{name}")).without("PLAKAR_PASSPHRASE");
    sandbox.run(&["at", "st", "create", "-plaintext"]).ended(0);
    sandbox
}

impl Served {
    /// Starts a server with `flags` for a new store.
    pub(crate) fn new(name: &str, flags: &[&str]) -> Served {
        Served::of(sandbox(name), flags)
    }

    /// Starts a server with `flags` for the store in `sandbox`.
    pub(crate) fn of(sandbox: Sandbox, flags: &[&str]) -> Served {
        let words = ["at", "st", "-json", "server", "-listen", "127.0.0.1:0"];
        let command = sandbox.command(&[words.as_slice(), flags].concat());
        Served::started(sandbox, command)
    }

    /// Starts a server with `command`.
    pub(crate) fn started(sandbox: Sandbox, mut command: Command) -> Served {
        let stderr = File::create(sandbox.path("stderr")).expect("a file can be made");
        command.stdout(Stdio::piped()).stderr(stderr);
        let mut child = command.spawn().expect("the binary can be started");
        let mut stdout = BufReader::new(child.stdout.take().expect("it is a pipe"));
        let listening = loop {
            let mut line = String::new();
            stdout.read_line(&mut line).expect("it is a pipe");
            let told = fs::read_to_string(sandbox.path("stderr")).unwrap_or_default();
            assert!(!line.is_empty(), "the server did not start: {told}");
            let object: serde_json::Value = serde_json::from_str(&line).expect("it is JSON");
            if object["type"] == "listening" {
                break object;
            }
        };
        let text = |value: &serde_json::Value| value.as_str().expect("it is text").to_owned();
        Served {
            sandbox,
            url: text(&listening["url"]),
            address: text(&listening["addresses"][0])
                .parse()
                .expect("it is an address"),
            child,
            stdout,
        }
    }

    /// Opens a connection.
    pub(crate) fn connect(&self) -> Wire {
        Wire::connect(self.address)
    }

    /// The response to a request without a body.
    pub(crate) fn ask(&self, verb: &str, target: &str) -> Answer {
        self.connect().ask(verb, target, "")
    }

    /// The response to an upload of an object.
    pub(crate) fn put(&self, area: &str, bytes: &[u8]) -> Answer {
        self.connect().put(&object(area, bytes), bytes)
    }

    /// Asserts that the server still works: a new client is served.
    #[track_caller]
    pub(crate) fn lives(&self) {
        assert_eq!(self.ask("GET", "/").status, 200);
    }

    /// Reads a line of its output.
    pub(crate) fn line(&mut self) -> String {
        let mut line = String::new();
        self.stdout.read_line(&mut line).expect("it is a pipe");
        line
    }

    /// The text on its standard error.
    pub(crate) fn said(&self) -> String {
        fs::read_to_string(self.sandbox.path("stderr")).expect("it can be read")
    }

    /// Sends `signal`.
    pub(crate) fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).expect("it runs");
    }

    /// Waits for its end.
    pub(crate) fn end(&mut self) -> ExitStatus {
        let begun = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait().expect("it is our child") {
                return status;
            }
            assert!(begun.elapsed() < PATIENCE, "the server does not end");
            sleep(Duration::from_millis(5));
        }
    }

    /// Kills the server, as a power failure would.
    pub(crate) fn kill(&mut self) {
        self.child.kill().expect("it is our child");
        self.child.wait().expect("it is our child");
    }

    /// A number in the status of the process, in the unit used there, such as KiB.
    pub(crate) fn figure(&self, name: &str) -> u64 {
        let path = format!("/proc/{}/status", self.child.id());
        let status = fs::read_to_string(path).expect("it runs");
        let mut lines = status.lines();
        let line = lines.find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
        let word = line.and_then(|line| line.split_whitespace().next());
        word.and_then(|word| word.parse().ok())
            .expect("there is such a figure")
    }

    /// The files in a directory of the store.
    pub(crate) fn files(&self, directory: &str) -> Vec<PathBuf> {
        let path = self.sandbox.path("st").join(directory);
        let entries = fs::read_dir(path).into_iter().flatten();
        entries
            .map(|entry| entry.expect("it can be listed").path())
            .collect()
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        // Both calls fail if the process has ended, which is intended.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The target of the object that consists of `bytes`.
pub(crate) fn object(area: &str, bytes: &[u8]) -> String {
    format!("/resources/{area}/{}", Id::of(bytes))
}

/// Waits until `happened` returns true.
#[track_caller]
pub(crate) fn until(what: &str, happened: impl Fn() -> bool) {
    let begun = Instant::now();
    while !happened() {
        assert!(begun.elapsed() < PATIENCE, "never: {what}");
        sleep(Duration::from_millis(2));
    }
}

/// Bytes that differ for each `number`.
pub(crate) fn bytes(number: u64, length: usize) -> Vec<u8> {
    let mut bytes = noise(length);
    for (to, from) in bytes.iter_mut().zip(number.to_le_bytes()) {
        *to = from;
    }
    bytes
}

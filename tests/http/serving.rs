//! The real server, started for a test and stopped with it.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use plakar::error::{Error, Kind};
use plakar::net::Trust;
use plakar::net::location::Location;
use plakar::net::retry::{Patience, Tries};
use plakar::store::{Settings, Store, open};
use rustix::process::{Pid, Signal, kill_process};

/// `plakar server`, killed on drop.
pub(crate) struct Served {
    child: Child,
    pub(crate) port: u16,
    /// The URL of the server.
    pub(crate) url: String,
}

impl Served {
    /// Serves the store at `root` on `port`, or on any port for 0, and waits until it accepts
    /// connections.
    pub(crate) fn new(root: &Path, port: u16, flags: &[&str]) -> Served {
        let listen = format!("127.0.0.1:{port}");
        let mut command = Command::new(crate::harness::binary());
        command.arg("at").arg(root);
        command.args(["server", "-listen", &listen]).args(flags);
        command.env_clear().env("HOME", root.parent().unwrap());
        command.stdin(Stdio::null()).stdout(Stdio::null());
        let mut child = command.stderr(Stdio::piped()).spawn().unwrap();
        let mut stderr = BufReader::new(child.stderr.take().unwrap());
        let (mut said, mut line) = (String::new(), String::new());
        let url = loop {
            line.clear();
            let read = stderr.read_line(&mut line).unwrap();
            assert!(read > 0, "the server ended, and said: {said}");
            if let Some((_, url)) = line.trim().rsplit_once(" at http") {
                break format!("http{url}");
            }
            said.push_str(&line);
        };
        // Further output must be read, so that the pipe does not fill up.
        thread::spawn(move || stderr.lines().for_each(drop));
        let port = url.rsplit(':').next().unwrap().parse().unwrap();
        Served { child, port, url }
    }

    /// Sends `signal` to the server.
    pub(crate) fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).unwrap();
    }

    /// Kills the server, as a power failure would.
    pub(crate) fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Settings with few retries, and a recorder for messages to the user.
pub(crate) fn settings() -> Settings {
    let tries = |most| Tries {
        first_pause: Duration::from_millis(5),
        longest_pause: Duration::from_millis(50),
        patience: Duration::from_secs(20),
        most,
    };
    Settings {
        patience: Patience {
            connect: Duration::from_secs(5),
            answer: Duration::from_secs(5),
            stall: Duration::from_secs(5),
            at_first: tries(3),
            later: tries(8),
        },
        ..Settings::default()
    }
}

/// The store at `url`, with `trust`.
pub(crate) fn store(url: &str, trust: Trust) -> Arc<dyn Store> {
    let settings = Settings {
        trust,
        ..settings()
    };
    open(&Location::parse(url.as_bytes()).unwrap(), &settings).unwrap()
}

/// The kind and the text of an error.
#[track_caller]
pub(crate) fn failure<T>(outcome: Result<T, Error>) -> (Kind, String) {
    let error = outcome.err().expect("it fails");
    (error.kind(), error.to_string())
}

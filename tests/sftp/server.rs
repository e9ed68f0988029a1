//! An OpenSSH server for one test, with its own port, keys, configuration and files, on 127.0.0.1.
//! It is started on creation, and stopped by its process id on drop.

use std::fs;
use std::io::Read;
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use plakar::error::Error;
use plakar::net::location::Location;
use plakar::net::ssh;
use plakar::store::{Settings, Store, open};
use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

use crate::common::prerequisite::{has_root, program};

/// The maximum time for a server to start or to stop.
const PATIENCE: Duration = Duration::from_secs(30);

/// A server, and the home directory of a user who can log in to it.
pub(crate) struct Server {
    directory: TempDir,
    port: u16,
    lines: String,
    running: Option<Child>,
}

impl Server {
    /// A server with an ed25519 key, which is in the user's `known_hosts`, and on which the user's
    /// `id_ed25519` is authorized.
    pub(crate) fn new() -> Server {
        Server::with("Subsystem sftp internal-sftp\n")
    }

    /// The same with different lines in its configuration.
    pub(crate) fn with(lines: &str) -> Server {
        Server::within(TempDir::new().unwrap(), lines)
    }

    /// A server whose users see only its files, with `/` as the root (chroot). Requires root.
    pub(crate) fn jail() -> Option<Server> {
        if !has_root() {
            return None;
        }
        // All directories above a chroot must belong to root and be writable only by root, unlike
        // /tmp.
        let directory = TempDir::new_in("/run").unwrap();
        let root = directory.path().join("srv");
        let lines = format!(
            "Subsystem sftp internal-sftp\nChrootDirectory {}\n",
            root.display()
        );
        Some(Server::within(directory, &lines))
    }

    /// A server whose files are in `directory`.
    fn within(directory: TempDir, lines: &str) -> Server {
        fs::create_dir_all(directory.path().join("home/.ssh")).unwrap();
        fs::create_dir(directory.path().join("srv")).unwrap();
        let mut server = Server {
            directory,
            port: free_port(),
            lines: lines.to_owned(),
            running: None,
        };
        server.make_key("host_ed25519", &["-t", "ed25519", "-N", ""]);
        server.make_key("home/.ssh/id_ed25519", &["-t", "ed25519", "-N", ""]);
        server.authorize("home/.ssh/id_ed25519");
        server.know(&["host_ed25519"]);
        server.configure("");
        server.start();
        server
    }

    /// The path of `name`.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    /// Creates a key pair.
    pub(crate) fn make_key(&self, name: &str, arguments: &[&str]) {
        let mut command = program("ssh-keygen");
        command
            .args(["-q", "-f"])
            .arg(self.path(name))
            .args(arguments);
        assert!(
            command.status().unwrap().success(),
            "ssh-keygen {arguments:?}"
        );
    }

    /// Authorizes the key `name`.
    pub(crate) fn authorize(&self, name: &str) {
        let key = fs::read(self.path(&format!("{name}.pub"))).unwrap();
        fs::write(self.path("authorized_keys"), key).unwrap();
    }

    /// The first two words of a public key: its type and its data.
    pub(crate) fn public_key(&self, name: &str) -> String {
        let text = fs::read_to_string(self.path(&format!("{name}.pub"))).unwrap();
        text.split(' ').take(2).collect::<Vec<_>>().join(" ")
    }

    /// Replaces the entries of this server in the user's `known_hosts` by these keys.
    pub(crate) fn know(&self, names: &[&str]) {
        let lines = names
            .iter()
            .map(|name| format!("[127.0.0.1]:{} {}\n", self.port, self.public_key(name)));
        fs::write(
            self.path("home/.ssh/known_hosts"),
            lines.collect::<String>(),
        )
        .unwrap();
    }

    /// Writes the user's configuration: `lines`, followed by the host `nas`.
    pub(crate) fn configure(&self, lines: &str) {
        let text = format!(
            "{lines}\nHost nas\n  HostName 127.0.0.1\n  Port {}\n  User {}\n",
            self.port,
            user()
        );
        fs::write(self.path("home/.ssh/config"), text).unwrap();
    }

    /// Starts the server, and waits until it responds.
    pub(crate) fn start(&mut self) {
        let mut text = format!(
            "ListenAddress 127.0.0.1:{}\nAuthorizedKeysFile {}\nStrictModes no\nUsePAM no\n\
             PidFile none\nPasswordAuthentication no\nKbdInteractiveAuthentication no\n\
             LogLevel ERROR\nMaxStartups 100\n",
            self.port,
            self.path("authorized_keys").display()
        );
        for entry in fs::read_dir(self.directory.path()).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            if name.starts_with("host_") && !name.ends_with(".pub") {
                text += &format!("HostKey {}\n", path.display());
            }
        }
        text += &self.lines;
        fs::write(self.path("sshd_config"), text).unwrap();
        if rustix::process::getuid().is_root() {
            // The directory that it uses for privilege separation before authentication.
            fs::create_dir_all("/run/sshd").unwrap();
        }
        let mut command = program("sshd");
        command
            .args(["-D", "-e", "-f"])
            .arg(self.path("sshd_config"));
        command.stdin(Stdio::null()).stdout(Stdio::null());
        let log = fs::File::create(self.path("log")).unwrap();
        self.running = Some(command.stderr(log).spawn().expect("sshd can be run"));
        let until = Instant::now() + PATIENCE;
        while !has_banner(self.port) {
            let log = fs::read_to_string(self.path("log")).unwrap_or_default();
            assert!(Instant::now() < until, "sshd does not answer: {log}");
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// All processes of the server: the listener, and one for each connection.
    fn processes(&self) -> Vec<Pid> {
        let mut found = Vec::new();
        let first = self.running.iter().map(|child| child.id() as i32);
        let mut pids: Vec<i32> = first.collect();
        while let Some(pid) = pids.pop() {
            let children = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children"));
            let children = children.unwrap_or_default();
            pids.extend(
                children
                    .split(' ')
                    .filter_map(|word| word.parse::<i32>().ok()),
            );
            found.extend(Pid::from_raw(pid));
        }
        found
    }

    /// Sends `signal` to all of them.
    pub(crate) fn signal(&self, signal: Signal) {
        for pid in self.processes() {
            // A process may have ended in the meantime.
            let _ = kill_process(pid, signal);
        }
    }

    /// Kills the server and all connections.
    pub(crate) fn kill(&mut self) {
        self.signal(Signal::KILL);
        if let Some(mut child) = self.running.take() {
            child.wait().unwrap();
        }
    }

    /// The options that the user's ssh would use.
    pub(crate) fn options(&self) -> ssh::Options {
        ssh::Options {
            home: Some(self.path("home")),
            config: Some(self.path("home/.ssh/config")),
            ..ssh::Options::default()
        }
    }

    /// Lines that define this server as `other` in the configuration of another server's user.
    pub(crate) fn as_other(&self) -> String {
        format!(
            "Host other\n  HostName 127.0.0.1\n  Port {}\n  User {}\n  IdentityFile {}\n  \
             UserKnownHostsFile {}\n",
            self.port,
            user(),
            self.path("home/.ssh/id_ed25519").display(),
            self.path("home/.ssh/known_hosts").display(),
        )
    }

    /// The location of `path`, relative to the files of the server.
    pub(crate) fn location(&self, path: &str) -> String {
        format!("sftp://nas{}", self.path("srv").join(path).display())
    }

    /// A store at `srv/path`.
    pub(crate) fn store(&self, path: &str) -> Arc<dyn Store> {
        self.store_with(path, |_| {})
    }

    /// The same with different settings.
    pub(crate) fn store_with(
        &self,
        path: &str,
        change: impl FnOnce(&mut Settings),
    ) -> Arc<dyn Store> {
        let mut settings = Settings {
            ssh: self.options(),
            ..Settings::default()
        };
        change(&mut settings);
        let location = Location::parse(self.location(path).as_bytes()).unwrap();
        open(&location, &settings).unwrap()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.signal(Signal::CONT);
        self.kill();
    }
}

/// Records messages during an operation.
#[derive(Clone, Default)]
pub(crate) struct Told(Arc<Mutex<Vec<String>>>);

impl Told {
    pub(crate) fn notice(&self) -> plakar::store::Notice {
        let told = self.0.clone();
        Arc::new(move |error: &Error| told.lock().unwrap().push(error.to_string()))
    }

    pub(crate) fn all(&self) -> Vec<String> {
        self.0.lock().unwrap().clone()
    }
}

/// The name of the current user.
pub(crate) fn user() -> String {
    let id = Command::new("id").arg("-un").output().unwrap();
    String::from_utf8(id.stdout).unwrap().trim().to_owned()
}

/// A port on which no program listens.
fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap().port()
}

fn has_banner(port: u16) -> bool {
    let Ok(mut stream) = TcpStream::connect(("127.0.0.1", port)) else {
        return false;
    };
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let mut banner = [0; 4];
    stream.read_exact(&mut banner).is_ok() && &banner == b"SSH-"
}

/// All files below `directory`, as relative paths.
pub(crate) fn files_below(directory: &Path) -> Vec<String> {
    let output = Command::new("find")
        .arg(".")
        .args(["-type", "f"])
        .current_dir(directory)
        .output();
    let text = String::from_utf8(output.unwrap().stdout).unwrap();
    let mut files: Vec<String> = text.lines().map(str::to_owned).collect();
    files.sort();
    files
}

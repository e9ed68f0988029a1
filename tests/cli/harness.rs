//! A [`Sandbox`] to run the binary in, and a [`Run`] with assertions about the result.
//!
//! A sandbox is a named directory under the target directory. It is emptied when a test begins and
//! kept when the test ends, so that a failure can be investigated. Paths given to a sandbox are
//! relative to it. The store that tests call `st` can be elsewhere: the value of
//! `PLAKAR_TEST_STORE` is put before its name, as in
//! `PLAKAR_TEST_STORE=sftp://localhost/tmp/plakar-test-`. A server serves a single store; therefore
//! with `PLAKAR_TEST_STORE=http://` alone, each store has its own server. To test a different
//! binary, set `PLAKAR_TEST_BINARY` to its path, or to that of a script that runs it, for example
//! in an emulator.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::sync::{LazyLock, Mutex, PoisonError};

use tempfile::TempDir;

use crate::common::prerequisite::program;

/// The default passphrase of stores in these tests.
pub(crate) const PASSPHRASE: &str = "an owl in the attic";

/// The absolute path of the tested binary.
pub(crate) fn binary() -> &'static str {
    static BINARY: LazyLock<String> = LazyLock::new(|| {
        std::env::var("PLAKAR_TEST_BINARY").unwrap_or(env!("CARGO_BIN_EXE_plakar").to_owned())
    });
    &BINARY
}

/// A working directory, and the environment of the binary.
pub(crate) struct Sandbox {
    root: PathBuf,
    environment: Vec<(String, String)>,
    /// Deletes the sandbox on drop, if it is not under the target directory.
    _temporary: Option<TempDir>,
}

impl Sandbox {
    /// An empty directory with the name `name`, which no other test may use.
    pub(crate) fn new(name: &str) -> Sandbox {
        let root = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
        if root.exists() {
            fs::remove_dir_all(&root).expect("the sandbox of an earlier run can be removed");
        }
        Sandbox::at(root, None)
    }

    /// A sandbox in `directory`, for users without access to the target directory.
    pub(crate) fn within(directory: TempDir) -> Sandbox {
        Sandbox::at(directory.path().to_owned(), Some(directory))
    }

    fn at(root: PathBuf, temporary: Option<TempDir>) -> Sandbox {
        fs::create_dir_all(root.join("home")).expect("a sandbox can be made");
        let home = root.join("home").display().to_string();
        let environment = [
            ("HOME", home.clone()),
            ("XDG_CONFIG_HOME", format!("{home}/.config")),
            ("XDG_CACHE_HOME", format!("{home}/.cache")),
            ("XDG_DATA_HOME", format!("{home}/.local/share")),
            ("PLAKAR_PASSPHRASE", PASSPHRASE.to_owned()),
        ];
        let environment = environment.map(|(name, value)| (name.to_owned(), value));
        Sandbox {
            root,
            environment: environment.to_vec(),
            _temporary: temporary,
        }
    }

    /// Sets the environment variable `name` to `value` for the binary.
    pub(crate) fn with(mut self, name: &str, value: &str) -> Sandbox {
        self.environment.retain(|(known, _)| known != name);
        self.environment.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Removes the sandbox, for successful tests that would leave hundreds of megabytes behind.
    pub(crate) fn discard(self) {
        fs::remove_dir_all(&self.root).expect("a sandbox can be removed");
    }

    /// The absolute path of `path`.
    pub(crate) fn path(&self, path: &str) -> PathBuf {
        self.root.join(path)
    }

    /// The command with `words`, to be modified and passed to [`Run::of`].
    pub(crate) fn command<S: AsRef<OsStr>>(&self, words: &[S]) -> Command {
        let mut command = Command::new(binary());
        command.args(words).current_dir(&self.root);
        self.equip(&mut command);
        command
    }

    /// Runs the binary with `words`, without a terminal and with empty standard input.
    pub(crate) fn run<S: AsRef<OsStr>>(&self, words: &[S]) -> Run {
        Run::of(&mut self.command(words))
    }

    /// Runs `line` in a shell without PATH.
    pub(crate) fn run_shell(&self, line: &str) -> Run {
        let mut command = Command::new("/bin/sh");
        command.args(["-c", line]).current_dir(&self.root);
        self.equip(&mut command);
        Run::of(&mut command)
    }

    /// Runs the binary with `words` on its own terminal, where both output streams are the same and
    /// lines end in CR LF.
    pub(crate) fn run_on_terminal(&self, words: &[&str]) -> Run {
        Run::of(&mut self.terminal(words))
    }

    /// The command with `words` on a terminal. Standard input provides the keystrokes.
    fn terminal(&self, words: &[&str]) -> Command {
        let quoted = words
            .iter()
            .map(|word| format!(" '{}'", word.replace('\'', r"'\''")));
        let line = format!("'{}'{}", binary(), quoted.collect::<String>());
        let mut command = program("script");
        command.args(["-qec", &line, "/dev/null"]);
        command.current_dir(&self.root);
        self.equip(&mut command);
        command.envs([
            ("PATH", "/usr/bin:/bin"),
            ("TERM", "xterm"),
            ("SHELL", "/bin/sh"),
        ]);
        command
    }

    /// Replaces the environment of `command` by that of the sandbox.
    fn equip(&self, command: &mut Command) {
        command.env_clear().stdin(Stdio::null());
        command.envs(self.environment.iter().map(|(name, value)| (name, value)));
    }
}

/// For the commands that work on a store.
impl Sandbox {
    /// A sandbox with an empty store, whose location is [`store`].
    pub(crate) fn with_store(name: &str) -> Sandbox {
        let sandbox = Sandbox::new(name);
        sandbox
            .run(&["at", &store(name), "create"])
            .ended(0)
            .prints_nothing()
            .says("created encrypted store ");
        sandbox
    }

    /// Writes a file, and creates its parent directories.
    pub(crate) fn write(&self, path: &str, bytes: &[u8]) {
        let path = self.path(path);
        let parent = path.parent().expect("a file in a sandbox has a parent");
        fs::create_dir_all(parent).expect("parents can be made");
        fs::write(&path, bytes).unwrap_or_else(|cause| panic!("write {}: {cause}", path.display()));
    }

    /// Unsets the environment variable `name` for the binary.
    pub(crate) fn without(mut self, name: &str) -> Sandbox {
        self.environment.retain(|(known, _)| known != name);
        self
    }

    /// Runs the binary with `words` on a terminal. Types each answer, and Enter, when its prompt
    /// appears, because earlier input is discarded.
    pub(crate) fn converse(&self, words: &[&str], dialogue: &[(&str, &str)]) -> Run {
        let mut command = self.terminal(words);
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let described = describe(&command);
        let mut child = command.spawn().expect("script can be run");
        let mut keyboard = child.stdin.take().expect("it is a pipe");
        let mut screen = child.stdout.take().expect("it is a pipe");
        let mut shown = Vec::new();
        for (prompt, answer) in dialogue {
            let begun = shown.len();
            let mut byte = [0];
            // The loop ends when the command ends. Missing output fails the later assertions.
            while !lossy(&shown[begun..]).contains(prompt)
                && screen.read(&mut byte).is_ok_and(|count| count == 1)
            {
                shown.push(byte[0]);
            }
            let _ = keyboard.write_all(format!("{answer}\r").as_bytes());
        }
        // An error here means the same as an early end.
        let _ = screen.read_to_end(&mut shown);
        let status = child.wait().expect("script ends");
        Run::after(
            described,
            Output {
                status,
                stdout: shown,
                stderr: Vec::new(),
            },
        )
    }

    /// Subtracts `days` from the times of everything below `path`.
    pub(crate) fn make_older(&self, path: &str, days: u32) {
        let mut waiting = vec![self.path(path)];
        while let Some(path) = waiting.pop() {
            for entry in fs::read_dir(path).expect("it can be listed").flatten() {
                let kind = entry.file_type().expect("it has a kind");
                if kind.is_dir() {
                    waiting.push(entry.path());
                    continue;
                }
                let file = fs::File::options().write(true).open(entry.path());
                let file = file.expect("it is ours");
                let modified = file.metadata().and_then(|metadata| metadata.modified());
                let age = days * std::time::Duration::from_secs(86_400);
                let modified = modified.expect("it has a time") - age;
                file.set_modified(modified).expect("it is ours");
            }
        }
    }

    /// Creates a symbolic link at `path` to `target`.
    pub(crate) fn link(&self, target: &str, path: &str) {
        std::os::unix::fs::symlink(target, self.path(path)).expect("a link can be made");
    }

    /// Creates a directory and its parents.
    pub(crate) fn mkdir(&self, path: &str) {
        fs::create_dir_all(self.path(path)).expect("a directory can be made");
    }

    /// Reads a file.
    pub(crate) fn read(&self, path: &str) -> Vec<u8> {
        fs::read(self.path(path)).unwrap_or_else(|cause| panic!("read {path}: {cause}"))
    }

    /// Backs up `path` to `store` and returns the id of the snapshot.
    pub(crate) fn backup(&self, store: &str, path: &str) -> String {
        let run = self.run(&["at", store, "backup", "-json", path]).ended(0);
        let summary = run
            .objects()
            .into_iter()
            .find(|object| object["type"] == "summary");
        let snapshot = summary.and_then(|summary| Some(summary["snapshot"].as_str()?.to_owned()));
        snapshot.unwrap_or_else(|| run.fail("names the snapshot in its summary"))
    }

    /// Flips the lowest bit in the middle of the largest file under `path`.
    pub(crate) fn damage_one_bit(&self, path: &str) {
        let mut files = Vec::new();
        collect_files(&self.path(path), &mut files);
        files.sort_by_key(|file| fs::metadata(file).map_or(0, |metadata| metadata.len()));
        let victim = files
            .last()
            .unwrap_or_else(|| panic!("no file under {path}"));
        let mut bytes = fs::read(victim).expect("an object can be read");
        let middle = bytes.len() / 2;
        bytes[middle] ^= 1;
        // Objects may be read-only, and are never changed in place.
        fs::remove_file(victim).expect("an object can be removed");
        fs::write(victim, bytes).expect("an object can be written");
    }
}

/// The location of the store of the sandbox `name`.
pub(crate) fn store(name: &str) -> String {
    match std::env::var("PLAKAR_TEST_STORE").as_deref() {
        Ok("http://") => served(name),
        Ok(prefix) => format!("{prefix}{name}"),
        Err(_) => "st".to_owned(),
    }
}

/// For each sandbox name, the URL of its server and the shell that stops it.
type Servers = BTreeMap<String, (String, Child)>;

/// The URL of the server for the sandbox `name`. It is started on first use and ends with the
/// tests: a shell waits for the end of a pipe that only this process holds open.
pub(crate) fn served(name: &str) -> String {
    static SERVERS: Mutex<Servers> = Mutex::new(BTreeMap::new());
    let mut servers = SERVERS.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some((url, _)) = servers.get(name) {
        return url.clone();
    }
    let root = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("served-{name}"));
    if root.exists() {
        fs::remove_dir_all(&root).expect("the store of an earlier run can be removed");
    }
    let line = r#""$@" >/dev/null & read -r _; kill $!"#;
    let mut child = Command::new("/bin/sh")
        .args(["-c", line, "sh", binary(), "at"])
        .arg(&root)
        .args(["server", "-allow-delete", "-listen", "127.0.0.1:0"])
        .env_clear()
        .env("HOME", env!("CARGO_TARGET_TMPDIR"))
        .stdin(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("a server can be started");
    let mut stderr = BufReader::new(child.stderr.take().expect("it is a pipe"));
    let mut said = String::new();
    while stderr.read_line(&mut said).expect("it is text") > 0 && !said.contains(" at http://") {}
    let url = said
        .trim()
        .rsplit(' ')
        .next()
        .unwrap_or_default()
        .to_owned();
    std::thread::spawn(move || stderr.lines().for_each(drop));
    servers.insert(name.to_owned(), (url.clone(), child));
    url
}

/// Incompressible bytes. No two chunks of them are equal.
pub(crate) fn noise(bytes: usize) -> Vec<u8> {
    let mut state = 1u64;
    let next = |_| {
        // xorshift64 (Marsaglia 2003).
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()[0]
    };
    (0..bytes).map(next).collect()
}

/// Adds all files under `dir` to `files`.
fn collect_files(dir: &Path, files: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(dir).expect("a directory can be listed") {
        let path = entry.expect("a directory can be listed").path();
        match path.is_dir() {
            true => collect_files(&path, files),
            false => files.push(path),
        }
    }
}

/// The result of running the binary. Every assertion returns the run, for chaining.
pub(crate) struct Run {
    command: String,
    status: ExitStatus,
    stdout: Vec<u8>,
    stderr: Vec<u8>,
}

impl Run {
    /// Runs `command` until it ends.
    pub(crate) fn of(command: &mut Command) -> Run {
        let described = describe(command);
        let output = command.output();
        let output = output.unwrap_or_else(|cause| panic!("cannot run {described}: {cause}"));
        Run::after(described, output)
    }

    /// The result of a command that has ended with `output`.
    pub(crate) fn after(command: String, output: Output) -> Run {
        Run {
            command,
            status: output.status,
            stdout: output.stdout,
            stderr: output.stderr,
        }
    }

    /// Asserts that the exit code is `code`.
    #[track_caller]
    pub(crate) fn ended(self, code: i32) -> Run {
        let holds = self.status.code() == Some(code);
        self.check(holds, &format!("ends with {code}"))
    }

    /// Whether the exit code is `code`, for tests that accept several codes.
    pub(crate) fn has_ended(&self, code: i32) -> bool {
        self.status.code() == Some(code)
    }

    /// Asserts that standard error contains `text`.
    #[track_caller]
    pub(crate) fn says(self, text: &str) -> Run {
        let holds = lossy(&self.stderr).contains(text);
        self.check(holds, &format!("says {text:?}"))
    }

    /// Asserts that standard output contains `text`.
    #[track_caller]
    pub(crate) fn prints(self, text: &str) -> Run {
        let holds = lossy(&self.stdout).contains(text);
        self.check(holds, &format!("prints {text:?}"))
    }

    /// Asserts that standard output is exactly `text`.
    #[track_caller]
    pub(crate) fn prints_just(self, text: &str) -> Run {
        let holds = self.stdout == text.as_bytes();
        self.check(holds, &format!("prints just {text:?}"))
    }

    /// Asserts that standard error is empty.
    #[track_caller]
    pub(crate) fn says_nothing(self) -> Run {
        let holds = self.stderr.is_empty();
        self.check(holds, "says nothing")
    }

    /// Asserts that standard output is empty.
    #[track_caller]
    pub(crate) fn prints_nothing(self) -> Run {
        let holds = self.stdout.is_empty();
        self.check(holds, "prints nothing")
    }

    /// Asserts that both output streams are empty.
    #[track_caller]
    pub(crate) fn silent(self) -> Run {
        self.prints_nothing().says_nothing()
    }

    /// The lines of standard output, each of which must be a JSON object.
    #[track_caller]
    pub(crate) fn objects(&self) -> Vec<serde_json::Value> {
        let parse = |line| {
            serde_json::from_str(line).unwrap_or_else(|_| self.fail("prints JSON in every line"))
        };
        lossy(&self.stdout).lines().map(parse).collect()
    }

    /// The first object of type `kind`.
    #[track_caller]
    pub(crate) fn object(&self, kind: &str) -> serde_json::Value {
        let found = self
            .objects()
            .into_iter()
            .find(|object| object["type"] == kind);
        found.unwrap_or_else(|| self.fail(&format!("prints an object of type {kind}")))
    }

    /// The text on standard output.
    pub(crate) fn stdout(&self) -> String {
        lossy(&self.stdout)
    }

    /// The text on standard error.
    pub(crate) fn stderr(&self) -> String {
        lossy(&self.stderr)
    }

    #[track_caller]
    fn check(self, holds: bool, expected: &str) -> Run {
        match holds {
            true => self,
            false => self.fail(expected),
        }
    }

    /// Fails the test with all information about the run.
    #[track_caller]
    pub(crate) fn fail(&self, expected: &str) -> ! {
        panic!(
            "expected that it {expected}\n  command: {}\n  status:  {} (signal {:?})\n  stdout:\n{}\n  stderr:\n{}",
            self.command,
            self.status,
            self.status.signal(),
            lossy(&self.stdout),
            lossy(&self.stderr),
        )
    }
}

/// The approximate command line of a command.
pub(crate) fn describe(command: &Command) -> String {
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    let words: Vec<String> = words
        .map(|word| word.to_string_lossy().into_owned())
        .collect();
    words.join(" ")
}

fn lossy(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

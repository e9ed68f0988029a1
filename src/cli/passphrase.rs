//! Sources of a passphrase: a key file, the environment, the configuration, a command, or the
//! terminal.
//!
//! A passphrase consists of bytes in memory that is wiped when dropped. An empty passphrase is
//! never accepted: it would protect against no one. A passphrase from a file or a variable is used
//! unchanged and unchecked, because a program may have generated it. A passphrase typed for a new
//! store must not be weak ([`super::strength`]).
//!
//! This module does not depend on the use of the passphrase.

use std::fs::{File, Metadata};
use std::io::Read;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Stdio;

use zeroize::Zeroizing;

use super::output::Output;
use super::terminal::Terminal;
use super::{environment, strength};
use crate::error::{During, Error, Kind, Result};
use crate::util::child;
use crate::util::interrupt::Interrupt;

/// The bytes of a passphrase, wiped when dropped.
pub type Passphrase = Zeroizing<Vec<u8>>;

/// A passphrase that was not typed.
#[derive(Clone)]
pub struct Given {
    /// The bytes of the passphrase.
    pub passphrase: Passphrase,
    /// The source, for messages: `PLAKAR_PASSPHRASE`, `key file /etc/key`.
    pub origin: String,
}

impl Given {
    /// `passphrase` from the source `origin`.
    pub(super) fn new(passphrase: Passphrase, origin: impl Into<String>) -> Given {
        let origin = origin.into();
        Given { passphrase, origin }
    }
}

/// How to provide the passphrase of the first, or only, store without a terminal.
pub(super) const FIRST_REMEDY: &str = "give -keyfile FILE or PLAKAR_PASSPHRASE";
/// How to provide the passphrase of the second store.
pub(super) const PEER_REMEDY: &str = "give PLAKAR_PEER_PASSPHRASE";

/// The maximum length of a passphrase. A longer one is a mistake, such as an image used as a key
/// file.
const LIMIT_BYTES: usize = 4096;

/// The maximum output of a command. It may print more than the passphrase, such as further fields
/// of a password manager.
const OUTPUT_LIMIT_BYTES: usize = 64 << 10;

/// The maximum number of attempts to type a passphrase.
const TRIES: u32 = 3;

/// Permission bits that allow other users to read a file.
const READABLE_BY_OTHERS: u32 = 0o044;

/// How to handle a weak passphrase that is typed for a new store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Weak {
    /// Reject it, with the reason.
    Refused,
    /// Accept it (`-weak-passphrase`).
    Accepted,
}

impl Weak {
    /// [`Weak::Accepted`] if the flag is on.
    pub fn accepted_if(is_on: bool) -> Weak {
        match is_on {
            true => Weak::Accepted,
            false => Weak::Refused,
        }
    }
}

/// The passphrase in the first line of the file at `path`.
pub(super) fn of_keyfile(path: &Path, out: &Output) -> Result<Passphrase> {
    read_keyfile(path, out).during(|| format!("key file {}", path.display()))
}

/// The passphrase in the environment variable, if it is set.
pub(super) fn of_variable(variable: &str) -> Option<Passphrase> {
    environment::passphrase(variable)
}

/// Converts `text` to a passphrase.
pub(super) fn of_text(text: &str) -> Result<Passphrase> {
    checked(Zeroizing::new(text.as_bytes().to_vec()), "it")
}

/// Runs `line` in a shell and returns the first line of its output. Its standard error is shown,
/// because it may contain a prompt. It does not inherit standard input.
///
/// # Errors
/// [`Kind::Denied`] if the command fails or prints no passphrase.
pub(super) fn of_command(line: &str) -> Result<Passphrase> {
    let mut command = child::command("/bin/sh");
    command.args(["-c", line]);
    command.stdin(Stdio::null()).stdout(Stdio::piped());
    let mut child = command.spawn().during(|| "/bin/sh")?;
    let read = child
        .stdout
        .take()
        .map(|output| read_all(output, OUTPUT_LIMIT_BYTES));
    // The reading end of the pipe is closed now, so a command with endless output ends too.
    let status = child.wait()?;
    let mut bytes = read.transpose()?.unwrap_or_default();
    if bytes.len() > OUTPUT_LIMIT_BYTES {
        let cause = format!("it prints more than {OUTPUT_LIMIT_BYTES} bytes");
        return Err(Error::new(Kind::Denied, cause));
    }
    if !status.success() {
        return Err(Error::new(Kind::Denied, format!("it failed: {status}")));
    }
    keep_first_line(&mut bytes);
    checked(bytes, "the first line that it prints")
}

/// Reads a line from the terminal without echo.
pub(super) fn typed(prompt: &str, interrupt: &Interrupt) -> Result<Passphrase> {
    terminal("secret", "pipe it to standard input")?.ask(prompt, interrupt)
}

/// Prompts for `what` and passes the answer to `open`, up to [`TRIES`] times while that fails with
/// [`Kind::Denied`]. `remedy` names other ways to provide it.
pub(super) fn ask<T>(
    what: &str,
    remedy: &str,
    out: &Output,
    interrupt: &Interrupt,
    mut open: impl FnMut(&Passphrase) -> Result<T>,
) -> Result<T> {
    let mut terminal = terminal(what, remedy)?;
    let prompt = format!("{what}: ");
    for _ in 1..TRIES {
        match open(&terminal.ask(&prompt, interrupt)?) {
            Err(error) if error.kind() == Kind::Denied => {
                out.message(&format!("{error}: try again"))
            }
            outcome => return outcome,
        }
    }
    open(&terminal.ask(&prompt, interrupt)?)
}

/// Prompts twice for a new passphrase. `what` and `remedy` are the same as in [`ask`].
pub(super) fn choose(
    what: &str,
    remedy: &str,
    weak: Weak,
    out: &Output,
    interrupt: &Interrupt,
) -> Result<Passphrase> {
    let mut terminal = terminal(what, remedy)?;
    for _ in 1..TRIES {
        match choose_once(&mut terminal, weak, interrupt) {
            Err(error) if error.kind() == Kind::Denied => {
                out.message(&format!("{error}: try again"))
            }
            outcome => return outcome,
        }
    }
    choose_once(&mut terminal, weak, interrupt)
}

/// Prompts twice for a new passphrase and checks its strength.
fn choose_once(terminal: &mut Terminal, weak: Weak, interrupt: &Interrupt) -> Result<Passphrase> {
    let first = terminal.ask("new passphrase: ", interrupt)?;
    if first.is_empty() {
        return Err(Error::new(Kind::Denied, "the passphrase is empty"));
    }
    if weak == Weak::Refused
        && let Some(reason) = strength::weakness(&first)
    {
        let hint = "-weak-passphrase accepts it";
        return Err(Error::new(
            Kind::Denied,
            format!("the passphrase is weak, {reason} ({hint})"),
        ));
    }
    match terminal.ask("the same again: ", interrupt)? == first {
        true => Ok(first),
        false => Err(Error::new(Kind::Denied, "the two passphrases differ")),
    }
}

/// Opens the terminal.
///
/// # Errors
/// [`Kind::Denied`] without a terminal, because `what` cannot be requested; the cause contains
/// `remedy`.
fn terminal(what: &str, remedy: &str) -> Result<Terminal> {
    let none = format!("no {what}: there is no terminal to prompt on; {remedy}");
    Terminal::open().map_err(|_| Error::new(Kind::Denied, none))
}

/// The first line of the file at `path`.
fn read_keyfile(path: &Path, out: &Output) -> Result<Passphrase> {
    let file = File::open(path)?;
    if is_readable_by_others(&file.metadata()?) {
        // This is only a warning, because containers often mount secrets with such permissions.
        let words = format!("key file {} can be read by other users", path.display());
        out.warning(&Error::new(Kind::Denied, words));
    }
    let mut bytes = read_all(file, LIMIT_BYTES)?;
    keep_first_line(&mut bytes);
    checked(bytes, "the first line")
}

/// Reads `input`, up to one byte more than `limit_bytes`.
fn read_all(input: impl Read, limit_bytes: usize) -> Result<Passphrase> {
    // The capacity is allocated up front, with additional space to detect the end, because a
    // growing buffer leaves copies of the secret in memory.
    let mut bytes = Zeroizing::new(Vec::with_capacity(limit_bytes + 64));
    input.take(limit_bytes as u64 + 1).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// Removes the end of the first line and everything after it.
fn keep_first_line(bytes: &mut Passphrase) {
    if let Some(end) = bytes.iter().position(|byte| *byte == b'\n') {
        bytes.truncate(end);
    }
    if bytes.last() == Some(&b'\r') {
        bytes.pop();
    }
}

/// Checks the length of a passphrase.
///
/// # Errors
/// [`Kind::Denied`] if it is empty or too long; `what` is its source.
fn checked(bytes: Passphrase, what: &str) -> Result<Passphrase> {
    match bytes.len() {
        0 => Err(Error::new(Kind::Denied, format!("{what} is empty"))),
        1..=LIMIT_BYTES => Ok(bytes),
        _ => Err(Error::new(
            Kind::Denied,
            format!("{what} is longer than {LIMIT_BYTES} bytes"),
        )),
    }
}

/// Whether a regular file is readable by its group or everyone. A pipe is private.
fn is_readable_by_others(metadata: &Metadata) -> bool {
    metadata.is_file() && metadata.permissions().mode() & READABLE_BY_OTHERS != 0
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::cli::output::tests::recorded;
    use crate::cli::output::{Format, Verbosity};

    /// The result of a key file with `bytes` and `mode`, and the warnings about it.
    fn keyfile(bytes: &[u8], mode: u32) -> (Result<Passphrase>, String) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("key");
        fs::write(&path, bytes).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        let (out, _, messages) = recorded(Format::Human, Verbosity::Normal);
        (read_keyfile(&path, &out), messages.text())
    }

    #[test]
    fn a_key_file_gives_its_first_line() {
        for bytes in [
            b"secret".as_slice(),
            b"secret\n",
            b"secret\r\n",
            b"secret\nmore\n",
        ] {
            let (passphrase, said) = keyfile(bytes, 0o600);
            assert_eq!(passphrase.unwrap().as_slice(), b"secret");
            assert_eq!(said, "");
        }
        assert_eq!(keyfile(b"\xff \n", 0o600).0.unwrap().as_slice(), b"\xff ");
    }

    #[test]
    fn a_key_file_that_gives_nothing_is_refused() {
        for bytes in [b"".as_slice(), b"\nsecret\n", &[b'a'; LIMIT_BYTES + 1]] {
            assert_eq!(keyfile(bytes, 0o600).0.unwrap_err().kind(), Kind::Denied);
        }
        assert!(keyfile(&[b'a'; LIMIT_BYTES], 0o600).0.is_ok());
    }

    #[test]
    fn a_command_gives_the_first_line_that_it_prints() {
        for line in [
            "echo secret",
            "printf secret",
            "printf 'secret\\r\\nurl: x\\n'",
            "cat; echo secret",
        ] {
            assert_eq!(of_command(line).unwrap().as_slice(), b"secret", "{line}");
        }
        let refused = |line| {
            let error = of_command(line).unwrap_err();
            assert_eq!(error.kind(), Kind::Denied);
            error.to_string()
        };
        assert_eq!(refused("echo secret; exit 3"), "it failed: exit status: 3");
        assert_eq!(refused("true"), "the first line that it prints is empty");
        assert!(refused("yes").contains("prints more than"));
        assert!(refused("kill $$").contains("signal"));
    }

    #[test]
    fn a_key_file_that_others_can_read_is_worth_a_warning() {
        for mode in [0o640, 0o604] {
            let (passphrase, said) = keyfile(b"secret", mode);
            assert!(passphrase.is_ok());
            assert!(said.contains("can be read by other users"), "{said}");
        }
    }
}

//! Prompts at the terminal without echo.
//!
//! The terminal is `/dev/tty`, so standard input and output may be pipes. During a prompt, the
//! terminal does not echo, edit lines or generate signals: this module implements the little
//! editing that a passphrase needs, and handles Ctrl-C as a key. A signal from another process is
//! noticed within 0.2 seconds. In both cases the terminal settings are restored. A signal handler
//! that ends the process could not restore them.

use std::fs::File;
use std::io::{Read, Write};

use rustix::termios::{
    LocalModes, OptionalActions, SpecialCodeIndex, Termios, tcgetattr, tcsetattr,
};
use zeroize::Zeroizing;

use super::passphrase::Passphrase;
use crate::error::{During, Error, Kind, Result};
use crate::util::interrupt::Interrupt;

/// Longer than any typed line. The rest of pasted text is discarded.
const LINE_LIMIT_BYTES: usize = 1024;
/// The timeout of one read, in tenths of a second.
const WAIT_DECISECONDS: u8 = 2;

const END_OF_INPUT: u8 = 0x04;
const INTERRUPT: u8 = 0x03;
const BACKSPACE: u8 = 0x08;
const ERASE_LINE: u8 = 0x15;
const DELETE: u8 = 0x7f;
/// Erases the character before the cursor.
const ERASED: &[u8] = b"\x08 \x08";

/// The controlling terminal of the process.
pub(super) struct Terminal {
    file: File,
}

/// Whether typed characters are shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Echo {
    /// For secrets.
    Hidden,
    /// For other answers.
    Shown,
}

/// Restores the settings of a terminal when dropped.
struct Restore<'a> {
    file: &'a File,
    before: Termios,
}

impl Drop for Restore<'_> {
    fn drop(&mut self) {
        // If the terminal is gone, there is nothing to restore.
        let _ = tcsetattr(self.file, OptionalActions::Flush, &self.before);
    }
}

impl Terminal {
    /// Opens the controlling terminal.
    ///
    /// # Errors
    /// If the process has no terminal.
    pub(super) fn open() -> Result<Terminal> {
        let file = File::options().read(true).write(true).open("/dev/tty")?;
        Ok(Terminal { file })
    }

    /// Shows `prompt` and reads a line without echo.
    ///
    /// # Errors
    /// [`Kind::Interrupted`] on Ctrl-C, or when `interrupt` is set.
    pub(super) fn ask(&mut self, prompt: &str, interrupt: &Interrupt) -> Result<Passphrase> {
        self.ask_with(prompt, Echo::Hidden, interrupt)
    }

    /// Like [`Terminal::ask`], with the given `echo`.
    pub(super) fn ask_with(
        &mut self,
        prompt: &str,
        echo: Echo,
        interrupt: &Interrupt,
    ) -> Result<Passphrase> {
        let quiet = self.quiet().during(|| "terminal")?;
        let mut file = quiet.file;
        file.write_all(prompt.as_bytes()).during(|| "terminal")?;
        let line = read_line(quiet.file, echo, interrupt);
        let _ = file.write_all(b"\n");
        line
    }

    /// Disables echo, line editing and signals until the return value is dropped.
    fn quiet(&self) -> Result<Restore<'_>> {
        let before = tcgetattr(&self.file)?;
        let mut quiet = before.clone();
        quiet.local_modes -= LocalModes::ECHO | LocalModes::ICANON | LocalModes::ISIG;
        quiet.special_codes[SpecialCodeIndex::VMIN] = 0;
        quiet.special_codes[SpecialCodeIndex::VTIME] = WAIT_DECISECONDS;
        let restore = Restore {
            file: &self.file,
            before,
        };
        tcsetattr(&self.file, OptionalActions::Flush, &quiet)?;
        Ok(restore)
    }
}

/// Reads keys up to the end of the line.
fn read_line(mut file: &File, echo: Echo, interrupt: &Interrupt) -> Result<Passphrase> {
    let show = |mut file: &File, bytes: &[u8]| {
        if echo == Echo::Shown {
            // If the terminal cannot be written, reading it fails too and reports the error.
            let _ = file.write_all(bytes);
        }
    };
    // The capacity is allocated up front, because a growing buffer leaves copies of the secret in
    // memory.
    let mut line = Zeroizing::new(Vec::with_capacity(LINE_LIMIT_BYTES));
    let mut key = Zeroizing::new([0]);
    loop {
        interrupt.check()?;
        if file.read(key.as_mut()).during(|| "terminal")? == 0 {
            // Either no key was pressed yet, or the terminal is gone: only in the latter case this
            // call fails.
            tcgetattr(file).during(|| "terminal")?;
            continue;
        }
        match key[0] {
            b'\n' | b'\r' | END_OF_INPUT => return Ok(line),
            INTERRUPT => return Err(Error::new(Kind::Interrupted, "interrupted")),
            BACKSPACE | DELETE => {
                if !line.is_empty() {
                    show(file, ERASED);
                }
                erase_letter(&mut line);
            }
            ERASE_LINE => {
                let letters = String::from_utf8_lossy(&line).chars().count();
                show(file, &ERASED.repeat(letters));
                line.clear();
            }
            byte if line.len() < LINE_LIMIT_BYTES => {
                show(file, &[byte]);
                line.push(byte);
            }
            _ => {}
        }
    }
}

/// Removes the last character, which can be several bytes in UTF-8.
fn erase_letter(line: &mut Vec<u8>) {
    const CONTINUATION: std::ops::RangeInclusive<u8> = 0x80..=0xbf;
    while line.pop().is_some_and(|byte| CONTINUATION.contains(&byte)) {}
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};

    use super::*;

    /// A terminal, and the other side of it, where the test acts as the user.
    fn pair() -> (Terminal, File) {
        let person = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
        grantpt(&person).unwrap();
        unlockpt(&person).unwrap();
        let name = ptsname(&person, Vec::new()).unwrap();
        let flags = rustix::fs::OFlags::RDWR | rustix::fs::OFlags::NOCTTY;
        let file = rustix::fs::open(name, flags, rustix::fs::Mode::empty()).unwrap();
        (Terminal { file: file.into() }, person.into())
    }

    /// The result of typing `keys`, and the output on the terminal.
    fn typed(keys: &'static [u8], echo: Echo) -> (Result<Passphrase>, String) {
        let (mut terminal, mut person) = pair();
        let before = tcgetattr(&terminal.file).unwrap().local_modes;
        let typist = std::thread::spawn(move || {
            let mut seen = read_until(&mut person, "? ");
            person.write_all(keys).unwrap();
            seen.push_str(&read_until(&mut person, "\n"));
            (person, seen)
        });
        let answer = terminal.ask_with("? ", echo, &Interrupt::default());
        let (_person, seen) = typist.join().unwrap();
        assert_eq!(tcgetattr(&terminal.file).unwrap().local_modes, before);
        (answer, seen)
    }

    fn read_until(person: &mut File, end: &str) -> String {
        let mut seen = Vec::new();
        let mut byte = [0];
        while !seen.ends_with(end.as_bytes()) {
            person.read_exact(&mut byte).unwrap();
            seen.push(byte[0]);
        }
        String::from_utf8(seen).unwrap()
    }

    #[test]
    fn what_is_typed_is_read_and_not_shown() {
        let keys = b"wrong\x15sacr\xc3\xa9\x7fet\x7f\x7f\x7f\x7f\x7fecret\r";
        let (answer, seen) = typed(keys, Echo::Hidden);
        assert_eq!(answer.unwrap().as_slice(), b"secret");
        assert_eq!(seen, "? \r\n");
    }

    #[test]
    fn what_is_no_secret_is_shown() {
        let (answer, seen) = typed(b"yex\x7fs\r", Echo::Shown);
        assert_eq!(answer.unwrap().as_slice(), b"yes");
        assert_eq!(seen, "? yex\x08 \x08s\r\n");
    }

    #[test]
    fn control_c_interrupts_and_restores() {
        let (answer, _) = typed(b"half\x03", Echo::Hidden);
        assert_eq!(answer.unwrap_err().kind(), Kind::Interrupted);
    }

    #[test]
    fn a_signal_is_noticed_while_nobody_types() {
        let (mut terminal, _person) = pair();
        let interrupt = Interrupt::default();
        let signal = interrupt.clone();
        let sender = std::thread::spawn(move || {
            std::thread::sleep(Duration::from_millis(10));
            signal.set();
        });
        let error = terminal.ask("? ", &interrupt).unwrap_err();
        sender.join().unwrap();
        assert_eq!(error.kind(), Kind::Interrupted);
    }

    #[test]
    fn a_terminal_that_hangs_up_is_an_error() {
        let (mut terminal, mut person) = pair();
        let leaver = std::thread::spawn(move || {
            read_until(&mut person, "? ");
        });
        assert!(terminal.ask("? ", &Interrupt::default()).is_err());
        leaver.join().unwrap();
    }
}

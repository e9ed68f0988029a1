//! Asking at the terminal without showing what is typed.
//!
//! The terminal is `/dev/tty`, so standard input and output may be pipes. While
//! it is asked, it neither echoes nor edits nor turns keys into signals: this
//! file does the little editing a passphrase needs, and Ctrl-C is a key like any
//! other. A signal from elsewhere is noticed within a fifth of a second. Either
//! way the terminal is given back as it was, which a handler that ends the
//! process could not do.

use std::fs::File;
use std::io::{Read, Write};

use rustix::termios::{
    LocalModes, OptionalActions, SpecialCodeIndex, Termios, tcgetattr, tcsetattr,
};
use zeroize::Zeroizing;

use super::passphrase::Passphrase;
use crate::error::{During, Error, Kind, Result};
use crate::util::interrupt::Interrupt;

/// Longer than anyone types; the rest of what is pasted is dropped.
const LINE_LIMIT_BYTES: usize = 1024;
/// How long one read waits for a key, in tenths of a second.
const WAIT_DECISECONDS: u8 = 2;

const END_OF_INPUT: u8 = 0x04;
const INTERRUPT: u8 = 0x03;
const BACKSPACE: u8 = 0x08;
const ERASE_LINE: u8 = 0x15;
const DELETE: u8 = 0x7f;
/// Wipes the letter before the cursor.
const ERASED: &[u8] = b"\x08 \x08";

/// The terminal the process belongs to.
pub(super) struct Terminal {
    file: File,
}

/// Whether what is typed is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Echo {
    /// It is a secret.
    Hidden,
    /// It is not.
    Shown,
}

/// Puts a terminal back as it was.
struct Restore<'a> {
    file: &'a File,
    before: Termios,
}

impl Drop for Restore<'_> {
    fn drop(&mut self) {
        // A terminal that is gone needs no restoring.
        let _ = tcsetattr(self.file, OptionalActions::Flush, &self.before);
    }
}

impl Terminal {
    /// # Errors
    /// When the process has no terminal.
    pub(super) fn open() -> Result<Terminal> {
        let file = File::options().read(true).write(true).open("/dev/tty")?;
        Ok(Terminal { file })
    }

    /// Shows `prompt` and reads a line that is not shown.
    ///
    /// # Errors
    /// [`Kind::Interrupted`] by Ctrl-C or by `interrupt`.
    pub(super) fn ask(&mut self, prompt: &str, interrupt: &Interrupt) -> Result<Passphrase> {
        self.ask_with(prompt, Echo::Hidden, interrupt)
    }

    /// Shows `prompt` and reads a line, as [`Terminal::ask`] does.
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

    /// Stops echo, editing and signals until the answer is dropped.
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
            // A terminal that takes nothing gives nothing either.
            let _ = file.write_all(bytes);
        }
    };
    // With its capacity from the start, since a buffer that grows leaves copies behind.
    let mut line = Zeroizing::new(Vec::with_capacity(LINE_LIMIT_BYTES));
    let mut key = Zeroizing::new([0]);
    loop {
        interrupt.check()?;
        if file.read(key.as_mut()).during(|| "terminal")? == 0 {
            // Nothing typed yet, or hung up: only the latter fails here.
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

/// Takes the last letter away, which in UTF-8 may be several bytes.
fn erase_letter(line: &mut Vec<u8>) {
    const CONTINUATION: std::ops::RangeInclusive<u8> = 0x80..=0xbf;
    while line.pop().is_some_and(|byte| CONTINUATION.contains(&byte)) {}
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};

    use super::*;

    /// A terminal, and the side where a person sits.
    fn pair() -> (Terminal, File) {
        let person = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
        grantpt(&person).unwrap();
        unlockpt(&person).unwrap();
        let name = ptsname(&person, Vec::new()).unwrap();
        let flags = rustix::fs::OFlags::RDWR | rustix::fs::OFlags::NOCTTY;
        let file = rustix::fs::open(name, flags, rustix::fs::Mode::empty()).unwrap();
        (Terminal { file: file.into() }, person.into())
    }

    /// What is made of `keys`, and what the person saw.
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

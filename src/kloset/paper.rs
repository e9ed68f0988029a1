//! A key slot as text, to be printed on paper and typed or scanned again.
//!
//! ```text
//! location  /srv/backup
//! store     0f3c7a52-9a1e-4c7b-8d55-6f1f2f0a9b3e
//! slot      60e698e3...
//! label     phone
//!  1  4b4c 4f53 4554 4b01 0080 0000 0600 0000  1f3a
//! ...
//! 12  91c2 77d0 ab41  c0de
//! ```
//!
//! Each numbered line contains up to 16 bytes of the slot in hexadecimal. It ends with a checksum
//! of the number and these bytes, so that a typing error is reported with its line. The name of the
//! slot is the hash of its bytes, and verifies the whole slot.
//!
//! The text contains no secret, only what anyone who can read the store sees. Opening the store
//! also needs the passphrase.

use crate::error::{During, Error, Kind, Result};
use crate::util::Id;

/// Number of bytes of the slot in one line: few enough to read without losing the line.
const LINE_BYTES: usize = 16;
/// Length of the checksum of a line.
const CHECK_BYTES: usize = 2;
/// Maximum number of lines: those of a slot with the longest label, and some more.
const LINES_LIMIT: usize = 64;
/// Maximum length of a text: enough for many slots with comments.
pub const TEXT_LIMIT_BYTES: u64 = 256 << 10;

/// An exported slot.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Paper {
    /// The id of its store, if the text contains it.
    pub store_id: Option<String>,
    /// The bytes of the slot.
    pub slot: Vec<u8>,
}

/// Formats the numbered lines of `slot`.
pub fn lines(slot: &[u8]) -> Vec<String> {
    let line = |(place, bytes): (usize, &[u8])| {
        let number = place + 1;
        let groups: Vec<String> = bytes.chunks(2).map(hex).collect();
        let check = hex(&check(number, bytes));
        format!("{number:2}  {:39}  {check}", groups.join(" "))
    };
    slot.chunks(LINE_BYTES).enumerate().map(line).collect()
}

/// Parses the slots in `text`. Case, and spaces between digits, are ignored. So are empty lines and
/// lines that begin with `#`. The letters `o`, `l` and `i` are read as the digits that they
/// resemble.
///
/// # Errors
/// [`Kind::Corrupt`] names the line that is missing or does not match its checksum.
pub fn parse(text: &str) -> Result<Vec<Paper>> {
    let mut reader = Reader::default();
    for line in text.lines() {
        let line = line.trim();
        if !line.is_empty() && !line.starts_with('#') {
            reader.line(line)?;
        }
    }
    reader.finish()?;
    match reader.papers.is_empty() {
        true => Err(Error::corrupt("it contains no key slot")),
        false => Ok(reader.papers),
    }
}

/// The state of parsing.
#[derive(Default)]
struct Reader {
    papers: Vec<Paper>,
    /// The store and the name of the slot whose lines follow.
    store_id: Option<String>,
    name: Option<Id>,
    /// The bytes of that slot so far, and the number of its lines.
    slot: Vec<u8>,
    taken: usize,
}

impl Reader {
    fn line(&mut self, line: &str) -> Result<()> {
        let (word, rest) = line.split_once(char::is_whitespace).unwrap_or((line, ""));
        let rest = rest.trim();
        match word {
            // The first line of each slot.
            "location" => self.finish(),
            "store" => {
                self.finish()?;
                self.store_id = Some(rest.to_ascii_lowercase());
                Ok(())
            }
            "slot" => {
                self.finish_slot()?;
                let name = joined(rest).parse();
                let wrong = || Error::corrupt("the name after \"slot\" is not 64 hex digits");
                self.name = Some(name.map_err(|_| wrong())?);
                Ok(())
            }
            "label" => Ok(()),
            _ => self.numbered(word, rest),
        }
    }

    /// Parses a numbered line.
    fn numbered(&mut self, word: &str, rest: &str) -> Result<()> {
        let number = self.taken + 1;
        let shown: String = word.chars().take(16).collect();
        match joined(word).parse::<usize>() {
            Ok(found) if found == number && number <= LINES_LIMIT => {}
            // The first line of the next slot.
            Ok(1) => {
                self.finish_slot()?;
                return self.numbered(word, rest);
            }
            Ok(_) => return Err(Error::corrupt(format!("line {number} is missing"))),
            Err(_) => {
                let cause = format!("a line begins with {shown:?}, and not with a number");
                return Err(Error::corrupt(cause));
            }
        }
        let at = || format!("line {number}");
        let mut bytes = bytes(&joined(rest)).during(at)?;
        let whole = bytes.len().saturating_sub(CHECK_BYTES);
        if !(1..=LINE_BYTES).contains(&whole) || bytes[whole..] != check(number, &bytes[..whole]) {
            let cause = "it differs from its checksum: compare it with the paper";
            return Err(Error::corrupt(cause).during(at()));
        }
        bytes.truncate(whole);
        self.slot.append(&mut bytes);
        self.taken = number;
        Ok(())
    }

    /// Completes a slot, and forgets its store.
    fn finish(&mut self) -> Result<()> {
        self.finish_slot()?;
        self.store_id = None;
        Ok(())
    }

    /// Completes a slot.
    fn finish_slot(&mut self) -> Result<()> {
        let (slot, name) = (std::mem::take(&mut self.slot), self.name.take());
        if std::mem::take(&mut self.taken) == 0 {
            return match name {
                Some(name) => Err(Error::corrupt("its lines are missing").during(of(name))),
                None => Ok(()),
            };
        }
        if let Some(name) = name.filter(|name| *name != Id::of(&slot)) {
            let cause = "its lines do not hash to its name: one is missing at the end, or the name \
                         after \"slot\" is wrong";
            return Err(Error::corrupt(cause).during(of(name)));
        }
        self.papers.push(Paper {
            store_id: self.store_id.clone(),
            slot,
        });
        Ok(())
    }
}

fn of(name: Id) -> String {
    format!("key slot {}", name.short())
}

/// The checksum of a line.
fn check(number: usize, bytes: &[u8]) -> [u8; CHECK_BYTES] {
    let mut input = number.to_string().into_bytes();
    input.push(b':');
    input.extend_from_slice(bytes);
    let hash = blake3::hash(&input);
    [hash.as_bytes()[0], hash.as_bytes()[1]]
}

/// `digits` without spaces, in lower case, with letters that are mistaken for digits replaced.
fn joined(digits: &str) -> String {
    let letters = digits.chars().filter(|letter| !letter.is_whitespace());
    let digit = |letter: char| match letter.to_ascii_lowercase() {
        'o' => '0',
        'l' | 'i' => '1',
        other => other,
    };
    letters.map(digit).collect()
}

/// Decodes hexadecimal digits.
fn bytes(digits: &str) -> Result<Vec<u8>> {
    let wrong = |what: &str| Error::new(Kind::Corrupt, what);
    let digits: Option<Vec<u8>> = digits
        .chars()
        .map(|letter| letter.to_digit(16).map(|digit| digit as u8))
        .collect();
    let digits = digits.ok_or_else(|| wrong("it contains something that is not a hex digit"))?;
    if digits.len() % 2 != 0 {
        return Err(wrong("a digit is missing, or there is one too many"));
    }
    let byte = |pair: &[u8]| pair[0] << 4 | pair[1];
    Ok(digits.chunks(2).map(byte).collect())
}

/// `bytes` in hexadecimal.
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn slot() -> Vec<u8> {
        (0..187u8).map(|byte| byte.wrapping_mul(91)).collect()
    }

    fn text() -> String {
        let head = format!("store  0f3c\nslot {}\n", Id::of(&slot()));
        head + &lines(&slot()).join("\n")
    }

    #[test]
    fn what_is_typed_from_paper_is_the_slot() {
        let paper = Paper {
            store_id: Some("0f3c".into()),
            slot: slot(),
        };
        assert_eq!(parse(&text()).unwrap(), std::slice::from_ref(&paper));
        let sloppy = text().to_uppercase().replace("STORE", "store");
        let sloppy = sloppy.replace("SLOT", "\n# slot\r\nslot").replace('0', "O");
        assert_eq!(parse(&sloppy).unwrap()[0].slot, slot());
        let bare = lines(&slot()).join("\n").replace(' ', "  ");
        let both = format!("{bare}\n{bare}");
        assert_eq!(parse(&both).unwrap().len(), 2);
        assert_eq!(
            parse(&format!("{}\n{}", text(), text())).unwrap(),
            [paper.clone(), paper]
        );
    }

    #[test]
    fn every_wrong_digit_is_found_in_its_line() {
        let lines = lines(&slot());
        for (place, line) in lines.iter().enumerate() {
            for at in (4..line.len()).filter(|at| !line[*at..].starts_with(' ')) {
                let mut typed = lines.clone();
                let digit = if line[at..].starts_with('3') {
                    "4"
                } else {
                    "3"
                };
                typed[place].replace_range(at..at + 1, digit);
                let error = parse(&typed.join("\n")).unwrap_err().to_string();
                assert!(
                    error.starts_with(&format!("line {}: ", place + 1)),
                    "{error}"
                );
            }
        }
    }

    #[test]
    fn missing_lines_and_other_text_are_errors() {
        let whole = text();
        let without = |number: usize| {
            let is_it = |line: &&str| !line.trim().starts_with(&format!("{number}  "));
            whole.lines().filter(is_it).collect::<Vec<_>>().join("\n")
        };
        for (text, cause) in [
            (without(3), "line 3 is missing"),
            (without(12), "do not hash to its name"),
            (String::new(), "no key slot"),
            ("slot 12".into(), "not 64 hex digits"),
            (format!("slot {}", Id::of(b"")), "its lines are missing"),
            ("dear reader".into(), "begins with \"dear\""),
            ("1 4b4".into(), "line 1: a digit is missing"),
            ("1 4b4x".into(), "line 1: it contains"),
            (format!("1 {}", "4b".repeat(4000)), "line 1: it differs"),
        ] {
            let error = parse(&text).unwrap_err();
            assert_eq!(error.kind(), Kind::Corrupt);
            assert!(error.to_string().contains(cause), "{error}");
        }
    }
}

//! `plakar digest`: computes digests of stored files, to compare them with other copies.

use std::fmt;
use std::io::{IsTerminal, stdout};

use serde::Serialize;

use crate::cli::escape::{JsonPath, printable};
use crate::cli::output::Format;
use crate::cli::selection::{self, Choice};
use crate::cli::{Args, Command, Flag, Globals, Status, opening};
use crate::error::{During, Error, Kind, Result};
use crate::format::entry::Entry;
use crate::kloset::blob::BlobReader;
use crate::kloset::progress::add;
use crate::kloset::tree::{Reach, TreeWalk};
use crate::ops::digest::{self, Hashing};
use crate::ops::select;

/// The table entry of the command.
pub const COMMAND: Command = Command {
    name: "digest",
    synopsis: "[-hashing SHA256|BLAKE3] SNAPSHOT[:PATH] ...",
    about: "print digests of files",
    flags: &[Flag::value(
        "hashing",
        "SHA256|BLAKE3",
        "which digest (default: SHA256)",
    )],
    run,
    ..Command::BLANK
};

/// The size of each of two caches of decoded blocks, for trees and for files. Adjacent entries
/// share blocks.
const CACHE_BYTES: usize = 8 << 20;

/// The state shared by all files.
struct Digesting<'a> {
    globals: &'a Globals,
    hashing: Hashing,
    trees: BlobReader<'a>,
    files: BlobReader<'a>,
}

/// The digest of one file.
#[derive(Serialize)]
struct Digest {
    snapshot: String,
    #[serde(flatten)]
    path: JsonPath,
    hashing: &'static str,
    digest: String,
    size_bytes: u64,
}

/// Used only with `-json`. Text output uses [`line`].
impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.digest)
    }
}

fn run(globals: &Globals, args: Args) -> Result<Status> {
    let hashing = hashing(&args)?;
    let words = args.at_least_one("a SNAPSHOT[:PATH]")?;
    let watch = globals.watch();
    let kloset = opening::kloset(globals, &watch)?;
    let choices = selection::choices(&kloset, words)?;
    let digesting = Digesting {
        globals,
        hashing,
        trees: BlobReader::new(&kloset, CACHE_BYTES)?,
        files: BlobReader::new(&kloset, CACHE_BYTES)?,
    };
    watch.show();
    let mut status = Status::Success;
    for choice in &choices {
        let counters = kloset.observer().counters();
        let done = |entry: &Entry| {
            add(&counters.files, 1);
            add(&counters.bytes, entry.metadata.size_bytes);
        };
        match digesting.choice(choice, &done) {
            Ok(became) => status = status.max(became),
            Err(error) if choices.len() > 1 && error.kind() == Kind::NotFound => {
                globals.out.message(&error.to_string());
                status = status.max(Status::Partial);
            }
            Err(error) => return Err(error),
        }
    }
    watch.finish();
    Ok(status)
}

/// The selected hash function.
fn hashing(args: &Args) -> Result<Hashing> {
    let name = args.text("hashing")?.unwrap_or_else(|| "SHA256".to_owned());
    match name.to_ascii_uppercase().as_str() {
        "SHA256" => Ok(Hashing::Sha256),
        "BLAKE3" => Ok(Hashing::Blake3),
        _ => Err(Error::usage(format!("{name:?} is neither SHA256 nor BLAKE3")).during("-hashing")),
    }
}

impl Digesting<'_> {
    /// Prints the digest of a file, or of all files below a directory.
    fn choice(&self, choice: &Choice, done: &dyn Fn(&Entry)) -> Result<Status> {
        let path = choice.path_or_base();
        let top = select::entry(&self.trees, choice.snapshot(), &path)?;
        if !top.is_dir() {
            let name = || format!("{}:{}", choice.snapshot().id.short(), printable(&path));
            let digest = self.digest(&top).during(name)?;
            return self
                .print(choice, &path, &top, digest)
                .map(|()| Status::Success);
        }
        let mut walk = TreeWalk::new(&self.trees, &path, &top, Reach::All);
        let mut status = Status::Success;
        loop {
            self.globals.interrupt.check()?;
            let digest = match walk.try_next() {
                Ok(None) => return Ok(status),
                Ok(Some(entry)) if !entry.is_file() => continue,
                Ok(Some(entry)) => {
                    done(&entry);
                    self.digest(&entry).map(|digest| (entry, digest))
                }
                Err(error) => Err(error),
            };
            match digest {
                Ok((entry, digest)) => self.print(choice, walk.path(), &entry, digest)?,
                Err(error) => status = status.max(self.told(walk.path(), error)?),
            }
        }
    }

    /// Computes the digest of one file.
    fn digest(&self, entry: &Entry) -> Result<String> {
        let digest = digest::of_file(&self.files, entry, self.hashing, &self.globals.interrupt)?;
        Ok(digest.iter().map(|byte| format!("{byte:02x}")).collect())
    }

    /// Reports a file without a digest, or a partially damaged directory. Any other error ends the
    /// command.
    fn told(&self, path: &[u8], error: Error) -> Result<Status> {
        if !error.is_of_one_object() {
            return Err(error);
        }
        self.globals.out.failed(path, &error);
        match error.kind() {
            Kind::Corrupt => Ok(Status::Damaged),
            _ => Ok(Status::Partial),
        }
    }

    /// Prints the digest of one file.
    fn print(&self, choice: &Choice, path: &[u8], entry: &Entry, digest: String) -> Result<()> {
        let out = &self.globals.out;
        if entry.changed {
            let words = "changed while it was backed up: its contents may be mixed";
            let error = Error::new(Kind::Failed, words).during(printable(path));
            out.warning(&error);
        }
        let hashing = match self.hashing {
            Hashing::Sha256 => "SHA256",
            Hashing::Blake3 => "BLAKE3",
        };
        if out.format() != Format::Json {
            let line = line(hashing, path, &digest);
            // A program needs the exact bytes, but a terminal must not interpret control
            // characters.
            return match stdout().is_terminal() {
                true => out.bytes(format!("{}\n", printable(&line)).as_bytes()),
                false => out.bytes(&[&line[..], b"\n"].concat()),
            };
        }
        let digest = Digest {
            snapshot: choice.snapshot().id.to_string(),
            path: JsonPath::from(path),
            hashing,
            digest,
            size_bytes: entry.metadata.size_bytes,
        };
        out.result("digest", &digest)
    }
}

/// `SHA256 (/path) = hex`, the format of `sha256sum --tag`. Line feeds, carriage returns and
/// backslashes in the name are escaped; in that case the line begins with a backslash.
fn line(hashing: &str, path: &[u8], digest: &str) -> Vec<u8> {
    let mut name = Vec::with_capacity(path.len());
    for byte in path {
        match byte {
            b'\\' => name.extend_from_slice(b"\\\\"),
            b'\n' => name.extend_from_slice(b"\\n"),
            b'\r' => name.extend_from_slice(b"\\r"),
            byte => name.push(*byte),
        }
    }
    let mark: &[u8] = if name == path { b"" } else { b"\\" };
    let (begin, end) = (format!("{hashing} ("), format!(") = {digest}"));
    [mark, begin.as_bytes(), &name, end.as_bytes()].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_escaped_as_coreutils_do() {
        assert_eq!(line("SHA256", b"/a b", "00"), b"SHA256 (/a b) = 00");
        assert_eq!(line("SHA256", b"/a\nb\\", "00"), br"\SHA256 (/a\nb\\) = 00");
        assert_eq!(line("SHA256", b"/a\r", "00"), br"\SHA256 (/a\r) = 00");
        assert_eq!(line("BLAKE3", b"/\xe9", "00"), b"BLAKE3 (/\xe9) = 00");
    }
}

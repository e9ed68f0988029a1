//! The `known_hosts` files of ssh, which list the keys of servers, in the format of sshd(8).
//!
//! ```text
//! nas,10.0.0.7 ssh-ed25519 AAAA...       by name
//! [nas]:2222 ssh-rsa AAAA...             by name and port
//! *.lan,!old.lan ssh-ed25519 AAAA...     by pattern
//! |1|salt|hash ssh-ed25519 AAAA...       by the HMAC-SHA1 of the name
//! @revoked * ssh-rsa AAAA...             revoked
//! ```
//!
//! Certificates (`@cert-authority`) are skipped: libssh2 does not support them. This module has its
//! own parser because the parser of libssh2 supports neither patterns nor markers, and reports
//! neither the matching line nor the types of the known keys.

use std::fs::{self, DirBuilder, OpenOptions};
use std::io::{ErrorKind, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use aws_lc_rs::{digest, hmac};

use super::pattern;
use crate::error::{During, Error, Kind, Result};
use crate::util::base64;

/// The maximum file size.
const FILE_LIMIT_BYTES: u64 = 32 << 20;
/// The length of the salt of a hashed name, equal to the output length of HMAC-SHA1.
const SALT_BYTES: usize = 20;

/// A public key in the wire format, which starts with the key type.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct PublicKey(pub(super) Vec<u8>);

impl PublicKey {
    /// The key type, such as `ssh-ed25519`. Empty if the key is malformed.
    pub(super) fn kind(&self) -> &str {
        let kind = self.0.get(..4).and_then(|length| {
            let length = u32::from_be_bytes(length.try_into().ok()?);
            self.0.get(4..)?.get(..usize::try_from(length).ok()?)
        });
        kind.and_then(|kind| std::str::from_utf8(kind).ok())
            .unwrap_or_default()
    }

    /// The fingerprint as ssh displays it: `SHA256:` and the hash in base64.
    pub(super) fn fingerprint(&self) -> String {
        let hash = digest::digest(&digest::SHA256, &self.0);
        format!("SHA256:{}", base64::encode_unpadded(hash.as_ref()))
    }

    /// The key type as ssh displays it, such as `ED25519`.
    pub(super) fn noun(&self) -> &str {
        match self.kind() {
            "ssh-ed25519" => "ED25519",
            "ssh-rsa" => "RSA",
            kind if kind.starts_with("ecdsa-") => "ECDSA",
            kind => kind,
        }
    }
}

/// A line that matches the requested host.
#[derive(Clone, Debug)]
struct Entry {
    key: PublicKey,
    is_revoked: bool,
    origin: String,
}

/// All lines that match one host.
#[derive(Debug, Default)]
pub(super) struct Known(Vec<Entry>);

/// The result of comparing the key of a server with the known ones.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Verdict<'a> {
    /// The key is known.
    Known,
    /// No key of this host is known.
    Unknown,
    /// A different key is known, at `file:line`.
    Changed(&'a PublicKey, &'a str),
    /// The key is revoked, at `file:line`.
    Revoked(&'a str),
}

impl Known {
    /// Reads the entries for `name`, which has the form returned by [`name`]. Missing files are
    /// skipped.
    pub(super) fn read(files: &[PathBuf], name: &str) -> Result<Known> {
        let mut known = Known::default();
        for file in files {
            known
                .add(file, name)
                .during(|| file.display().to_string())?;
        }
        Ok(known)
    }

    fn add(&mut self, file: &Path, name: &str) -> Result<()> {
        let metadata = match fs::metadata(file) {
            Err(cause) if cause.kind() == ErrorKind::NotFound => return Ok(()),
            found => found?,
        };
        // A special file such as /dev/null has no entries.
        if !metadata.is_file() {
            return Ok(());
        }
        if metadata.len() > FILE_LIMIT_BYTES {
            let cause = format!("larger than {FILE_LIMIT_BYTES} bytes");
            return Err(Error::new(Kind::Unsupported, cause));
        }
        let text = fs::read(file)?;
        for (number, line) in (1..).zip(String::from_utf8_lossy(&text).lines()) {
            let origin = format!("{}:{number}", file.display());
            self.0.extend(entry(line, name, origin));
        }
        Ok(())
    }

    /// Compares `key` with the known keys. A key of another type than the known ones counts as
    /// changed: an attacker in the middle could otherwise present a key of a type that is not
    /// known.
    pub(super) fn judge(&self, key: &PublicKey) -> Verdict<'_> {
        let revoked = self
            .0
            .iter()
            .find(|entry| entry.is_revoked && entry.key == *key);
        if let Some(entry) = revoked {
            return Verdict::Revoked(&entry.origin);
        }
        let mut trusted = self.0.iter().filter(|entry| !entry.is_revoked);
        if trusted.clone().any(|entry| entry.key == *key) {
            return Verdict::Known;
        }
        let same_kind = trusted.clone().find(|entry| entry.key.kind() == key.kind());
        match same_kind.or_else(|| trusted.next()) {
            Some(entry) => Verdict::Changed(&entry.key, &entry.origin),
            None => Verdict::Unknown,
        }
    }

    /// The types of the known keys, without duplicates.
    pub(super) fn kinds(&self) -> Vec<&str> {
        let mut kinds: Vec<&str> = Vec::new();
        for entry in self.0.iter().filter(|entry| !entry.is_revoked) {
            if !kinds.contains(&entry.key.kind()) {
                kinds.push(entry.key.kind());
            }
        }
        kinds
    }
}

/// The form of a host name in `known_hosts`: without the port if it is the default one.
pub(super) fn name(host: &str, port: u16) -> String {
    let host = host.to_ascii_lowercase();
    match port {
        super::PORT => host,
        port => format!("[{host}]:{port}"),
    }
}

/// Parses `line`. Returns `None` if it does not match `name`. Malformed lines are skipped, as in
/// ssh.
fn entry(line: &str, name: &str, origin: String) -> Option<Entry> {
    let line = line.trim();
    if line.starts_with('#') {
        return None;
    }
    let mut words = line.split_ascii_whitespace();
    let mut hosts = words.next()?;
    let is_revoked = hosts == "@revoked";
    match hosts {
        "@revoked" => hosts = words.next()?,
        hosts if hosts.starts_with('@') => return None,
        _ => {}
    }
    if !is_about(hosts, name) {
        return None;
    }
    let kind = words.next()?;
    let key = PublicKey(base64::decode(words.next()?)?);
    (key.kind() == kind).then_some(Entry {
        key,
        is_revoked,
        origin,
    })
}

/// Whether `hosts`, the first field of a line, matches `name`.
fn is_about(hosts: &str, name: &str) -> bool {
    match hosts.strip_prefix("|1|") {
        None => pattern::list_matches(hosts.split(','), name),
        Some(hashed) => is_hash_of(hashed, name).unwrap_or(false),
    }
}

fn is_hash_of(hashed: &str, name: &str) -> Option<bool> {
    let (salt, hash) = hashed.split_once('|')?;
    let hash = base64::decode(hash)?;
    Some(hash_of(&base64::decode(salt)?, name).as_ref() == hash)
}

/// The hash that ssh uses. It only hides the host names from readers of the file, so the weakness
/// of SHA-1 does not matter.
fn hash_of(salt: &[u8], name: &str) -> hmac::Tag {
    let key = hmac::Key::new(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, salt);
    hmac::sign(&key, name.as_bytes())
}

/// How host names are written to `known_hosts`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Names {
    /// In clear text.
    Plain,
    /// Hashed, as with the option `HashKnownHosts`.
    Hashed,
}

/// Appends a line to `file`, and creates the file if it is missing.
pub(super) fn record(file: &Path, name: &str, key: &PublicKey, names: Names) -> Result<()> {
    let host = match names {
        Names::Plain => name.to_owned(),
        Names::Hashed => {
            let mut salt = [0; SALT_BYTES];
            getrandom::fill(&mut salt).map_err(std::io::Error::other)?;
            let hash = hash_of(&salt, name);
            format!(
                "|1|{}|{}",
                base64::encode(&salt),
                base64::encode(hash.as_ref())
            )
        }
    };
    if let Some(parent) = file.parent() {
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(parent)?;
    }
    let before = fs::read(file).unwrap_or_default();
    let is_open_ended = before.last().is_some_and(|byte| *byte != b'\n');
    let mut options = OpenOptions::new();
    let mut opened = options.append(true).create(true).mode(0o600).open(file)?;
    let start = if is_open_ended { "\n" } else { "" };
    let line = format!("{start}{host} {} {}\n", key.kind(), base64::encode(&key.0));
    Ok(opened.write_all(line.as_bytes())?)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A key of the type `kind` with arbitrary contents.
    fn key(kind: &str, rest: &[u8]) -> PublicKey {
        let length = u32::try_from(kind.len()).unwrap().to_be_bytes();
        PublicKey([&length, kind.as_bytes(), rest].concat())
    }

    fn line(hosts: &str, key: &PublicKey) -> String {
        format!(
            "{hosts} {} {} comment\n",
            key.kind(),
            base64::encode(&key.0)
        )
    }

    fn known(text: &str, name: &str) -> Known {
        let file = tempfile::NamedTempFile::new().unwrap();
        fs::write(file.path(), text).unwrap();
        let files = [
            file.path().to_owned(),
            "/no/such/file".into(),
            "/dev/null".into(),
        ];
        Known::read(&files, name).unwrap()
    }

    #[test]
    fn a_host_is_found_however_it_is_written() {
        let key = key("ssh-ed25519", b"x");
        for (hosts, port) in [
            ("nas,10.0.0.7", 22),
            ("[nas]:2222", 2222),
            ("n*,!nat", 22),
            ("NAS", 22),
            ("@revoked x\nnas", 22),
        ] {
            let found = known(&line(hosts, &key), &name("Nas", port));
            assert_eq!(found.judge(&key), Verdict::Known, "{hosts}");
        }
        for hosts in [
            "nas2",
            "[nas]:22",
            "n*,!nas",
            "@cert-authority nas",
            "# nas",
            "|1|x|y",
        ] {
            let found = known(&line(hosts, &key), "nas");
            assert_eq!(found.judge(&key), Verdict::Unknown, "{hosts}");
        }
    }

    #[test]
    fn what_is_recorded_is_known() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join(".ssh/known_hosts");
        let key = key("ssh-ed25519", b"x");
        record(&file, "nas", &key, Names::Plain).unwrap();
        fs::write(&file, fs::read_to_string(&file).unwrap().trim_end()).unwrap();
        record(&file, "[nas]:2222", &key, Names::Hashed).unwrap();
        let text = fs::read_to_string(&file).unwrap();
        assert!(
            text.starts_with("nas ssh-ed25519 ") && text.lines().count() == 2,
            "{text}"
        );
        assert!(!text.contains("2222"), "{text}");
        for name in ["nas", "[nas]:2222"] {
            let found = Known::read(std::slice::from_ref(&file), name).unwrap();
            assert_eq!(found.judge(&key), Verdict::Known, "{name}");
        }
    }

    /// The output of `ssh-keygen -H` for the host `example.org`.
    #[test]
    fn a_name_that_ssh_hashed_is_found() {
        let hashed = "DCZy0fEEuZ2lfjYPvbUxmtdbGVw=|55F7fv4l81PzijfGyu1CDID+4uU=";
        assert_eq!(is_hash_of(hashed, "example.org"), Some(true));
        assert_eq!(is_hash_of(hashed, "example.com"), Some(false));
    }

    #[test]
    fn a_changed_key_is_told_with_its_line() {
        let (old, new) = (key("ssh-ed25519", b"old"), key("ssh-ed25519", b"new"));
        let rsa = key("ssh-rsa", b"old");
        let text = line("nas", &rsa) + &line("nas", &old);
        let found = known(&text, "nas");
        assert_eq!(found.kinds(), ["ssh-rsa", "ssh-ed25519"]);
        let Verdict::Changed(known_key, origin) = found.judge(&new) else {
            panic!("it has changed");
        };
        assert!(known_key == &old && origin.ends_with(":2"), "{origin}");
        let other = key("ecdsa-sha2-nistp256", b"new");
        assert!(matches!(found.judge(&other), Verdict::Changed(key, _) if *key == rsa));
    }

    #[test]
    fn a_revoked_key_is_worse_than_an_unknown_one() {
        let key = key("ssh-rsa", b"x");
        let found = known(&(line("nas", &key) + &line("@revoked *", &key)), "nas");
        assert!(matches!(found.judge(&key), Verdict::Revoked(origin) if origin.ends_with(":2")));
        assert_eq!(found.kinds(), ["ssh-rsa"]);
    }

    #[test]
    fn garbage_says_nothing() {
        let found = known(
            "nas\nnas ssh-rsa\nnas ssh-rsa !!\nnas ssh-rsa AAAA\n|1|a nas\n\n",
            "nas",
        );
        assert_eq!(found.judge(&key("ssh-rsa", b"x")), Verdict::Unknown);
        assert_eq!(PublicKey(vec![0xff; 4]).kind(), "");
        assert_eq!(PublicKey(Vec::new()).kind(), "");
    }
}

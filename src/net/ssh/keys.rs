//! Private key files in the formats of `ssh-keygen`.
//!
//! libssh2 parses the keys. This module determines only what must be known before: whether the key
//! is encrypted, and which public key belongs to it, so that an agent that holds the key can be
//! used instead.

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use zeroize::Zeroizing;

use super::known_hosts::PublicKey;
use crate::error::{During, Error, Kind, Result};
use crate::util::base64;

/// The maximum size of a key file.
const FILE_LIMIT_BYTES: u64 = 256 << 10;
/// The magic bytes of the OpenSSH key format (PROTOCOL.key).
const MAGIC: &[u8] = b"openssh-key-v1\0";

/// A configured key file.
pub(super) struct KeyFile {
    pub(super) path: PathBuf,
    /// The private key, unless the file contains only the public key.
    pub(super) private: Option<Zeroizing<String>>,
    /// Whether the private key is encrypted.
    pub(super) is_encrypted: bool,
    /// The public key, if it can be determined without a passphrase.
    pub(super) public: Option<PublicKey>,
}

impl KeyFile {
    /// Reads `path`. Returns `None` if the file is missing.
    pub(super) fn read(path: &Path) -> Result<Option<KeyFile>> {
        let Some(text) = text_of(path).during(|| path.display().to_string())? else {
            return Ok(None);
        };
        let mut beside = path.as_os_str().to_owned();
        beside.push(".pub");
        let is_private = text.contains("PRIVATE KEY");
        let sealed = Sealed::parse(&text);
        let public = match (is_private, &sealed) {
            (false, _) => public_of(&text),
            (true, Some(sealed)) => Some(sealed.public.clone()),
            (true, None) => text_of(Path::new(&beside))
                .unwrap_or(None)
                .and_then(|text| public_of(&text)),
        };
        let is_encrypted = match &sealed {
            Some(sealed) => sealed.is_encrypted,
            None => text.contains("ENCRYPTED"),
        };
        Ok(Some(KeyFile {
            path: path.to_owned(),
            private: is_private.then_some(text),
            is_encrypted,
            public,
        }))
    }
}

/// Parses a public key line such as `ssh-ed25519 AAAA... comment`.
fn public_of(text: &str) -> Option<PublicKey> {
    let mut words = text.split_ascii_whitespace();
    let kind = words.next()?;
    let key = PublicKey(base64::decode(words.next()?)?);
    (key.kind() == kind).then_some(key)
}

/// The unencrypted fields of a key in the OpenSSH format.
struct Sealed {
    is_encrypted: bool,
    public: PublicKey,
}

impl Sealed {
    fn parse(text: &str) -> Option<Sealed> {
        let lines = text
            .lines()
            .map(str::trim)
            .filter(|line| !line.starts_with("-----"));
        let bytes = Zeroizing::new(base64::decode(&Zeroizing::new(lines.collect::<String>()))?);
        let mut rest = bytes.strip_prefix(MAGIC)?;
        let cipher = string(&mut rest)?;
        let (_kdf, _parameters) = (string(&mut rest)?, string(&mut rest)?);
        let _count = rest.split_off(..4)?;
        Some(Sealed {
            is_encrypted: cipher != b"none",
            public: PublicKey(string(&mut rest)?.to_vec()),
        })
    }
}

/// Takes a length-prefixed string from the start of `bytes` (RFC 4251, section 5).
fn string<'a>(bytes: &mut &'a [u8]) -> Option<&'a [u8]> {
    let length = bytes.split_off(..4)?;
    let length = u32::from_be_bytes(length.try_into().ok()?);
    bytes.split_off(..usize::try_from(length).ok()?)
}

/// Reads a text file. Returns `None` if the file is missing.
fn text_of(path: &Path) -> Result<Option<Zeroizing<String>>> {
    let metadata = match fs::metadata(path) {
        Err(cause) if cause.kind() == ErrorKind::NotFound => return Ok(None),
        found => found?,
    };
    if !metadata.is_file() || metadata.len() > FILE_LIMIT_BYTES {
        return Err(Error::new(Kind::Unsupported, "not a key"));
    }
    Ok(Some(Zeroizing::new(fs::read_to_string(path)?)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::Command;

    fn generated(arguments: &[&str]) -> (tempfile::TempDir, KeyFile, PublicKey) {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("key");
        let mut command = Command::new("ssh-keygen");
        command.args(["-q", "-f"]).arg(&path).args(arguments);
        assert!(command.status().unwrap().success());
        let mut beside = path.clone().into_os_string();
        beside.push(".pub");
        let public = public_of(&fs::read_to_string(beside).unwrap()).unwrap();
        let file = KeyFile::read(&path).unwrap().unwrap();
        (directory, file, public)
    }

    #[test]
    fn what_ssh_keygen_writes_is_understood() {
        for kind in ["ed25519", "ecdsa"] {
            let (_directory, file, public) = generated(&["-t", kind, "-N", ""]);
            assert!(!file.is_encrypted && file.public == Some(public));
            let (_directory, file, public) = generated(&["-t", kind, "-N", "secret"]);
            assert!(file.is_encrypted && file.private.is_some() && file.public == Some(public));
        }
        for (passphrase, is_encrypted) in [("", false), ("secret", true)] {
            let arguments = ["-t", "ecdsa", "-m", "PEM", "-N", passphrase];
            let (_directory, file, public) = generated(&arguments);
            assert_eq!(
                (file.is_encrypted, file.public),
                (is_encrypted, Some(public))
            );
        }
    }

    #[test]
    fn a_public_key_may_stand_for_one_of_an_agent() {
        let (directory, _, public) = generated(&["-t", "ed25519", "-N", ""]);
        let file = KeyFile::read(&directory.path().join("key.pub"))
            .unwrap()
            .unwrap();
        assert!(file.private.is_none() && file.public == Some(public));
        assert!(KeyFile::read(Path::new("/no/such/key")).unwrap().is_none());
        assert!(KeyFile::read(Path::new("/dev/null")).is_err());
    }
}

//! Imports those remotes of rclone that plakar supports: `sftp`, `local`, and `alias` of one of
//! them.
//!
//! The file consists of `[name]` and `key = value` lines; `type` is the type of a remote. Passwords
//! in it are obscured, not encrypted. They are not imported, because that would store them in
//! another file.

use std::collections::BTreeMap;

use zeroize::Zeroizing;

use super::entries::{Entries, Entry, LOCATION, Pair, Value};
use super::foreign::Foreign;
use crate::error::{Error, Kind, Result};
use crate::net::location::Location;

/// The maximum number of nested aliases. No practical file exceeds it.
const ALIAS_LIMIT: u32 = 8;
/// The start of the first line of an encrypted file.
const ENCRYPTED: &str = "RCLONE_ENCRYPT_V0:";
/// Keys that contain a secret. They are omitted.
const SECRETS: &[&str] = &["pass", "key_pem", "key_file_pass"];

/// The keys of one remote.
type Remote = BTreeMap<String, Zeroizing<String>>;

/// Parses the text of `rclone.conf`.
///
/// # Errors
/// [`Kind::Unsupported`], with the line number, for invalid syntax.
pub(super) fn parse(text: &str) -> Result<Foreign> {
    let remotes = remotes(text)?;
    let mut foreign = Foreign::default();
    let mut entries = Vec::new();
    for (name, remote) in &remotes {
        let pairs = pairs(&remotes, remote, 0);
        if let (Ok(_), Some(secret)) = (
            &pairs,
            SECRETS.iter().find(|key| remote.contains_key(**key)),
        ) {
            let words = format!("{secret} is left out: log in with a key, or an agent that has it");
            foreign.warnings.push((name.clone(), words));
        }
        entries.push(match pairs {
            Ok(pairs) => Entry::new(name.clone(), pairs),
            Err(error) => Entry::broken(name.clone(), error),
        });
    }
    foreign.entries = Entries::of(entries);
    Ok(foreign)
}

/// The remotes, in the order of the file.
fn remotes(text: &str) -> Result<Vec<(String, Remote)>> {
    let mut remotes: Vec<(String, Remote)> = Vec::new();
    for (number, line) in text.lines().enumerate() {
        let line = line.trim();
        let wrong = |cause: &str| {
            let line = number + 1;
            Error::new(Kind::Unsupported, format!("line {line}: {cause}"))
        };
        if line.starts_with(ENCRYPTED) {
            return Err(wrong(
                "it is encrypted: import what \"rclone config show\" prints",
            ));
        }
        if line.is_empty() || line.starts_with(['#', ';']) {
            continue;
        }
        if let Some(name) = line
            .strip_prefix('[')
            .and_then(|line| line.strip_suffix(']'))
        {
            remotes.push((name.to_owned(), Remote::new()));
            continue;
        }
        let (key, value) = line
            .split_once('=')
            .ok_or_else(|| wrong("no [name], and no key = value"))?;
        let (_, remote) = remotes
            .last_mut()
            .ok_or_else(|| wrong("a key before any [name]"))?;
        let value = Zeroizing::new(value.trim().to_owned());
        remote.insert(key.trim().to_owned(), value);
    }
    Ok(remotes)
}

/// Converts `remote` to options of plakar.
fn pairs(remotes: &[(String, Remote)], remote: &Remote, depth: u32) -> Result<Vec<Pair>> {
    let key = |key: &str| remote.get(key).map_or("", |value| value.as_str());
    match key("type") {
        "local" => Ok(vec![(LOCATION.to_owned(), "/".into())]),
        "sftp" => sftp(remote),
        "alias" => alias(remotes, key("remote"), depth),
        "" => Err(unsupported("it has no type".into())),
        other => Err(unsupported(format!("no connector for {other} of rclone"))),
    }
}

/// Converts a remote of type `sftp`. Its root is the home directory.
fn sftp(remote: &Remote) -> Result<Vec<Pair>> {
    let key = |key: &str| {
        remote
            .get(key)
            .map(|value| value.as_str())
            .filter(|value| !value.is_empty())
    };
    let host = key("host").ok_or_else(|| unsupported("it has no host".into()))?;
    let host = if host.contains(':') {
        format!("[{host}]")
    } else {
        host.to_owned()
    };
    let user = key("user")
        .map(|user| format!("{user}@"))
        .unwrap_or_default();
    let port = key("port").filter(|port| *port != "22");
    let port = port.map(|port| format!(":{port}")).unwrap_or_default();
    let mut pairs = vec![(
        LOCATION.to_owned(),
        format!("sftp://{user}{host}{port}").as_str().into(),
    )];
    for (theirs, ours) in [
        ("key_file", "identity"),
        ("known_hosts_file", "known_hosts"),
    ] {
        if let Some(path) = key(theirs) {
            pairs.push((ours.to_owned(), path.into()));
        }
    }
    Ok(pairs)
}

/// Converts an alias of a path, or of `name:path` in another remote.
fn alias(remotes: &[(String, Remote)], target: &str, depth: u32) -> Result<Vec<Pair>> {
    if depth >= ALIAS_LIMIT {
        return Err(unsupported("it is an alias of itself".into()));
    }
    if target.starts_with('/') || target.starts_with("~/") {
        return Ok(vec![(LOCATION.to_owned(), target.into())]);
    }
    let unknown = || unsupported(format!("it is an alias of {target:?}, which is not there"));
    let (name, path) = target.split_once(':').ok_or_else(unknown)?;
    let other = remotes.iter().find(|(known, _)| known == name);
    let (_, other) = other.ok_or_else(unknown)?;
    let mut pairs = pairs(remotes, other, depth + 1)?;
    if let Some((_, location)) = pairs.iter_mut().find(|(key, _)| key == LOCATION) {
        let joined = Location::parse(location.text().as_bytes())?.join(path.as_bytes())?;
        *location = Value::from(joined.to_string().as_str());
    }
    Ok(pairs)
}

fn unsupported(cause: String) -> Error {
    Error::new(Kind::Unsupported, cause)
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "
; written by rclone
[nas]
type = sftp
host = nas.lan
user = bob
port = 2222
pass = obscured-secret
key_file = ~/.ssh/id_nas

[six]
type=sftp
host=fe80::1
port=22

[disk]
type = local

[music]
type = alias
remote = nas:srv/music

[usb]
type = alias
remote = /mnt/usb

[cloud]
type = s3
provider = AWS

[loop]
type = alias
remote = loop:x

[gone]
type = alias
remote = nobody:x
";

    #[test]
    fn what_we_can_serve_becomes_ours() {
        let foreign = parse(TEXT).unwrap();
        let location = |name: &str| {
            let entry = foreign.entries.get(name).unwrap();
            entry
                .location()
                .map(str::to_owned)
                .map_err(|error| error.to_string())
        };
        assert_eq!(location("nas").unwrap(), "sftp://bob@nas.lan:2222");
        assert_eq!(location("six").unwrap(), "sftp://[fe80::1]");
        assert_eq!(location("disk").unwrap(), "/");
        assert_eq!(
            location("music").unwrap(),
            "sftp://bob@nas.lan:2222/~/srv/music"
        );
        assert_eq!(location("usb").unwrap(), "/mnt/usb");
        assert_eq!(
            location("cloud").unwrap_err(),
            "no connector for s3 of rclone"
        );
        assert_eq!(location("loop").unwrap_err(), "it is an alias of itself");
        assert!(location("gone").unwrap_err().contains("\"nobody:x\""));
    }

    #[test]
    fn no_secret_is_carried_over() {
        let foreign = parse(TEXT).unwrap();
        assert_eq!(foreign.warnings.len(), 1);
        let (name, words) = &foreign.warnings[0];
        assert_eq!((name.as_str(), words.contains("obscured")), ("nas", false));
        let pairs = foreign.entries.get("nas").unwrap().pairs().unwrap();
        let keys: Vec<&str> = pairs.iter().map(|(key, _)| key.as_str()).collect();
        assert_eq!(keys, ["location", "identity"]);
    }

    #[test]
    fn what_is_no_configuration_is_told_with_its_line() {
        let words = |text: &str| parse(text).unwrap_err().to_string();
        assert!(words("\nx = 1\n").starts_with("line 2: a key before"));
        assert!(words("[a]\nhello\n").starts_with("line 2: no [name]"));
        assert!(
            words("# Encrypted rclone configuration File\n\nRCLONE_ENCRYPT_V0:\nxyz")
                .contains("rclone config show")
        );
    }
}

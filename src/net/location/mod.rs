//! Locations: local paths and URLs. The only parser for both.
//!
//! ```text
//! /srv/st  st  fs:/srv/st  file:///srv/st      a path
//! scheme://[user@]host[:port][/path]           a URL
//! ```
//!
//! A path is raw bytes and is kept unchanged: only the system knows where its `..` leads. The path
//! of a URL is text. `%20` and the like are not decoded, since `100%25` is a valid directory name.
//! `.`, `..` and repeated slashes are resolved, and `..` does not lead above the root.
//!
//! Over SFTP a path may be relative to the home directory of the remote user. Such a path is
//! written `sftp://host/~/x`, and `sftp://host` is the home directory itself. An empty port, as in
//! `sftp://host:/srv/data`, is the default port.
//!
//! Errors include the rejected location, without a password.

use std::fmt;
use std::net::Ipv6Addr;

use crate::error::{Error, Result};

/// Schemes whose paths may be relative to a home directory.
const WITH_HOME: &[&str] = &["sftp"];
/// Schemes in which `?` and `#` are not part of a path.
const WITH_QUERY: &[&str] = &["http", "https"];
/// The maximum length of a location. A longer one is a mistake, and would make messages unreadable.
const LIMIT_BYTES: usize = 8 << 10;
/// The maximum length of a host name (RFC 1035, section 2.3.4).
const HOST_LIMIT_BYTES: usize = 255;

/// A path or a URL.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Location {
    /// A local path: raw bytes, never empty.
    Path(Vec<u8>),
    /// A URL, usually of a remote host.
    Url(Url),
}

/// The components of a URL.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Url {
    /// The scheme in lower case.
    pub scheme: String,
    /// The user name on the remote host.
    pub user: Option<String>,
    /// A host name or an address. An IPv6 address has no brackets.
    pub host: String,
    /// The port, unless it is the default one.
    pub port: Option<u16>,
    /// The path, without `.`, `..` and empty components. Absolute or, if the scheme supports home
    /// directories, relative to the home directory and possibly empty.
    pub path: String,
}

impl Location {
    /// Parses a location.
    ///
    /// # Errors
    /// [`crate::error::Kind::Usage`] for an invalid location.
    pub fn parse(text: &[u8]) -> Result<Location> {
        let parsed = match split(text) {
            _ if text.is_empty() => return Err(Error::usage("an empty location names no place")),
            _ if text.len() > LIMIT_BYTES => return Err(Error::usage("the location is too long")),
            _ if text.contains(&0) => Err(Error::usage("a location has no NUL")),
            Spelling::Path(path) => local(path),
            Spelling::File(url) => file_url(url).and_then(local),
            Spelling::Url(scheme, rest) => Url::parse(scheme, rest).map(Location::Url),
        };
        parsed.map_err(|cause| cause.during(without_password(text)))
    }

    /// Resolves `path` relative to this location: a relative path is appended, an absolute one
    /// replaces the path, and an empty one changes nothing.
    ///
    /// # Errors
    /// [`crate::error::Kind::Usage`] for a path that is invalid for this location.
    pub fn join(&self, path: &[u8]) -> Result<Location> {
        match self {
            _ if path.is_empty() => Ok(self.clone()),
            Location::Path(base) => Ok(Location::Path(joined(base, path))),
            Location::Url(url) => url.join(path).map(Location::Url),
        }
    }

    /// The scheme; `fs` for a path.
    pub fn scheme(&self) -> &str {
        match self {
            Location::Path(_) => "fs",
            Location::Url(url) => &url.scheme,
        }
    }

    /// The path, if it is local.
    pub fn path(&self) -> Option<&[u8]> {
        match self {
            Location::Path(path) => Some(path),
            Location::Url(_) => None,
        }
    }
}

/// Formats the location so that it can be parsed again. Bytes of a path that are not UTF-8 are
/// replaced.
impl fmt::Display for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Location::Path(path) => {
                let is_itself = |spelt: &[u8]| spelt == path.as_slice() && spelt[0] != b'@';
                let is_plain = matches!(split(path), Spelling::Path(spelt) if is_itself(spelt));
                let prefix = if is_plain { "" } else { "fs:" };
                write!(f, "{prefix}{}", String::from_utf8_lossy(path))
            }
            Location::Url(url) => url.fmt(f),
        }
    }
}

/// The syntactic forms of a location.
enum Spelling<'a> {
    Path(&'a [u8]),
    /// The part after `file:`.
    File(&'a [u8]),
    /// The scheme, and the part after `://`.
    Url(&'a [u8], &'a [u8]),
}

/// Determines the syntactic form of `text`.
fn split(text: &[u8]) -> Spelling<'_> {
    let Some(colon) = text.iter().position(|byte| *byte == b':') else {
        return Spelling::Path(text);
    };
    let (scheme, rest) = (&text[..colon], &text[colon + 1..]);
    let slashes = rest.strip_prefix(b"//");
    match (scheme, slashes) {
        (b"fs", slashes) => Spelling::Path(slashes.unwrap_or(rest)),
        (b"file", _) => Spelling::File(rest),
        (scheme, Some(rest)) if is_scheme(scheme) => Spelling::Url(scheme, rest),
        _ => Spelling::Path(text),
    }
}

/// Whether `word` is a valid scheme (RFC 3986, section 3.1).
fn is_scheme(word: &[u8]) -> bool {
    let rest = |letter: &u8| letter.is_ascii_alphanumeric() || b"+-.".contains(letter);
    word.first().is_some_and(u8::is_ascii_alphabetic) && word.iter().all(rest)
}

fn local(path: &[u8]) -> Result<Location> {
    match path.is_empty() {
        true => Err(Error::usage("it names no place")),
        false => Ok(Location::Path(path.to_vec())),
    }
}

/// Returns the path in the part after `file:` (RFC 8089, section 2).
fn file_url(rest: &[u8]) -> Result<&[u8]> {
    match rest.strip_prefix(b"//") {
        None => Ok(rest),
        Some(path) if path.is_empty() || path.starts_with(b"/") => Ok(path),
        // The part before the path is a host.
        Some(path) => path
            .strip_prefix(b"localhost")
            .filter(|path| path.starts_with(b"/"))
            .ok_or_else(|| Error::usage("a file URL names no other host")),
    }
}

/// Appends `path` to `base`, unless it is absolute.
fn joined(base: &[u8], path: &[u8]) -> Vec<u8> {
    match (path.starts_with(b"/"), base.ends_with(b"/")) {
        (true, _) => path.to_vec(),
        (false, true) => [base, path].concat(),
        (false, false) => [base, b"/", path].concat(),
    }
}

impl Url {
    fn parse(scheme: &[u8], rest: &[u8]) -> Result<Url> {
        let text = utf8(rest)?;
        if text.chars().any(char::is_control) {
            return Err(Error::usage("a URL has no control characters"));
        }
        let scheme = String::from_utf8_lossy(scheme).to_ascii_lowercase();
        let (authority, path) = text.split_at(text.find('/').unwrap_or(text.len()));
        let (user, place) = match authority.rsplit_once('@') {
            Some((user, place)) => (Some(checked_user(user)?), place),
            None => (None, authority),
        };
        let (host, port) = host_and_port(place)?;
        let url = Url {
            path: String::new(),
            scheme,
            user,
            host,
            port,
        };
        let path = url.resolved(path)?;
        Ok(Url { path, ..url })
    }

    /// Resolves `path` relative to the path of this URL.
    fn join(&self, path: &[u8]) -> Result<Url> {
        let wrong = |cause: Error| cause.during(self.to_string());
        let path = utf8(path).map_err(wrong)?;
        let joined = match (path.starts_with('/'), self.path.starts_with('/')) {
            (true, _) => path.to_owned(),
            (false, true) => format!("{}/{path}", self.path),
            (false, false) => format!("/~/{}/{path}", self.path),
        };
        let path = self.resolved(&joined).map_err(wrong)?;
        Ok(Url {
            path,
            ..self.clone()
        })
    }

    /// Normalizes `path`, which is empty or absolute, to the form of [`Url::path`].
    fn resolved(&self, path: &str) -> Result<String> {
        if self.has_query() && path.contains(['?', '#']) {
            return Err(Error::usage("this kind of URL has no query or fragment"));
        }
        let has_home = WITH_HOME.contains(&self.scheme.as_str());
        let home = match path.strip_prefix("/~") {
            _ if !has_home => None,
            Some(rest) if rest.is_empty() || rest.starts_with('/') => Some(rest),
            _ => path.is_empty().then_some(path),
        };
        let mut parts = Vec::new();
        for part in home.unwrap_or(path).split('/') {
            match part {
                "" | "." => {}
                ".." if parts.pop().is_none() && home.is_some() => {
                    return Err(Error::usage("a path from the home directory stays in it"));
                }
                ".." => {}
                part => parts.push(part),
            }
        }
        // A directory `~` in the root cannot be distinguished from the home directory, so it is not
        // supported.
        match (home, parts.split_first()) {
            (None, Some((&"~", below))) if has_home => Ok(below.join("/")),
            (None, _) => Ok(format!("/{}", parts.join("/"))),
            (Some(_), _) => Ok(parts.join("/")),
        }
    }

    fn has_query(&self) -> bool {
        WITH_QUERY.contains(&self.scheme.as_str())
    }
}

impl fmt::Display for Url {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://", self.scheme)?;
        if let Some(user) = &self.user {
            write!(f, "{user}@")?;
        }
        match self.host.contains(':') {
            true => write!(f, "[{}]", self.host)?,
            false => f.write_str(&self.host)?,
        }
        if let Some(port) = self.port {
            write!(f, ":{port}")?;
        }
        let has_home = WITH_HOME.contains(&self.scheme.as_str());
        match self.path.as_str() {
            "" => Ok(()),
            "/" if !has_home => Ok(()),
            path if path.starts_with('/') => f.write_str(path),
            path => write!(f, "/~/{path}"),
        }
    }
}

/// Validates a user name.
///
/// # Errors
/// If it is empty, could be parsed as an option by another program, or contains a password.
fn checked_user(user: &str) -> Result<String> {
    if user.contains(':') {
        let cause = "no password belongs in a URL, where everyone sees it";
        return Err(Error::usage(cause));
    }
    let is_odd = |letter: char| letter.is_whitespace();
    match user.is_empty() || user.starts_with('-') || user.contains(is_odd) {
        true => Err(Error::usage(format!("{user:?} is not a user name"))),
        false => Ok(user.to_owned()),
    }
}

/// Parses `host`, `host:port` or `[address]:port`.
fn host_and_port(place: &str) -> Result<(String, Option<u16>)> {
    if let Some(rest) = place.strip_prefix('[') {
        let unclosed = || Error::usage("the [ of an address is not closed");
        let (address, rest) = rest.split_once(']').ok_or_else(unclosed)?;
        check_address(address)?;
        let port = match rest.strip_prefix(':') {
            None if rest.is_empty() => "",
            None => return Err(Error::usage(format!("{rest:?} after an address"))),
            Some(port) => port,
        };
        return Ok((address.to_owned(), self::port(port)?));
    }
    let (host, port) = place.split_once(':').unwrap_or((place, ""));
    check_host(host)?;
    Ok((host.to_owned(), self::port(port)?))
}

/// Validates an IPv6 address with an optional zone (RFC 6874).
fn check_address(address: &str) -> Result<()> {
    let (number, zone) = address.split_once('%').unwrap_or((address, "lo"));
    let is_zone = !zone.is_empty() && zone.chars().all(|letter| letter.is_ascii_alphanumeric());
    match number.parse::<Ipv6Addr>().is_ok() && is_zone {
        true => Ok(()),
        false => Err(Error::usage(format!("{address:?} is not an IPv6 address"))),
    }
}

/// Validates a host name.
///
/// # Errors
/// If it is invalid. Valid names cannot be mistaken for options or commands.
fn check_host(host: &str) -> Result<()> {
    let is_known = |letter: char| letter.is_ascii_alphanumeric() || "-._".contains(letter);
    match host {
        "" => Err(Error::usage("it names no host")),
        host if host.starts_with('-') || host.len() > HOST_LIMIT_BYTES => {
            Err(Error::usage("not a host name"))
        }
        host if host.chars().all(is_known) => Ok(()),
        host => Err(Error::usage(format!("{host:?} is not a host name"))),
    }
}

/// Parses the part after the colon. An empty part is the default port.
fn port(text: &str) -> Result<Option<u16>> {
    if text.is_empty() {
        return Ok(None);
    }
    let is_number = text.bytes().all(|byte| byte.is_ascii_digit());
    let port = text
        .parse::<u16>()
        .ok()
        .filter(|port| is_number && *port > 0);
    let hint = match is_number {
        true => "",
        false => " (a path comes after a slash)",
    };
    // The invalid text is not part of the message, since it may be part of a password.
    let wrong = || Error::usage(format!("a port is a number from 1 to 65535{hint}"));
    port.map(Some).ok_or_else(wrong)
}

fn utf8(bytes: &[u8]) -> Result<&str> {
    std::str::from_utf8(bytes).map_err(|_| Error::usage("the path of a URL is UTF-8"))
}

/// Formats `text` for a message without a password.
fn without_password(text: &[u8]) -> String {
    let Spelling::Url(scheme, rest) = split(text) else {
        return String::from_utf8_lossy(text).into_owned();
    };
    let (scheme, rest) = (
        String::from_utf8_lossy(scheme),
        String::from_utf8_lossy(rest),
    );
    // A password may contain an unescaped slash, so the last @ in the whole text is used.
    match rest.rsplit_once('@') {
        Some((user, place)) if user.contains(':') => {
            let user = user.split(':').next().unwrap_or_default();
            format!("{scheme}://{user}:...@{place}")
        }
        _ => format!("{scheme}://{rest}"),
    }
}

#[cfg(test)]
mod tests;

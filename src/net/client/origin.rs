//! The address of a server, and connecting to it over TCP.

use std::fmt;
use std::net::{SocketAddr, TcpStream, ToSocketAddrs};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::Duration;

use crate::error::{Error, Kind, Result};
use crate::net::location::Url;
use crate::util::interrupt::Interrupt;

/// The maximum number of addresses tried per host name.
const ADDRESSES_LIMIT: usize = 8;
/// The timeout of an address while other addresses remain. IPv6 without connectivity is common.
const NEXT_AFTER: Duration = Duration::from_secs(3);
/// The longest delay before an interrupt request is noticed.
const GLANCE: Duration = Duration::from_millis(200);

/// A server and the path prefix of its requests.
pub(super) struct Origin {
    pub(super) is_tls: bool,
    /// A host name or an address.
    pub(super) host: String,
    port: u16,
    /// The value of the field `Host`.
    pub(super) authority: String,
    /// The prefix of every request target: empty, or `/path`.
    pub(super) prefix: String,
    shown: String,
}

impl Origin {
    pub(super) fn of(url: &Url) -> Origin {
        let is_tls = url.scheme == "https";
        let usual = if is_tls { 443 } else { 80 };
        let port = url.port.unwrap_or(usual);
        // A zone id is only meaningful on the local host (RFC 6874, section 4).
        let host = url.host.split('%').next().unwrap_or_default();
        let mut authority = match host.contains(':') {
            true => format!("[{host}]"),
            false => host.to_owned(),
        };
        if port != usual {
            authority = format!("{authority}:{port}");
        }
        Origin {
            is_tls,
            port,
            authority,
            host: url.host.clone(),
            prefix: escaped(url.path.trim_end_matches('/')),
            shown: url.to_string(),
        }
    }

    /// Connects to the first address that accepts, with a timeout of `patience` for each.
    ///
    /// A separate thread resolves the name and connects, because neither can be interrupted.
    ///
    /// # Errors
    /// [`Kind::Unavailable`], with the error of the last address; [`Kind::Interrupted`].
    pub(super) fn connect(&self, patience: Duration, interrupt: &Interrupt) -> Result<TcpStream> {
        let (sender, receiver) = mpsc::channel();
        let place = (self.host.clone(), self.port);
        thread::spawn(move || sender.send(connect(&place, patience)));
        loop {
            interrupt.check()?;
            match receiver.recv_timeout(GLANCE) {
                Ok(outcome) => return outcome,
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => {
                    return Err(Error::new(Kind::Failed, "no connection was attempted"));
                }
            }
        }
    }
}

/// Connects to the first address of `place`, a host and a port, that accepts.
fn connect(place: &(String, u16), patience: Duration) -> Result<TcpStream> {
    let addresses = (place.0.as_str(), place.1).to_socket_addrs();
    let unknown = |cause| Error::new(Kind::Unavailable, Error::from(cause).to_string());
    let addresses: Vec<SocketAddr> = addresses.map_err(unknown)?.collect();
    let addresses = &addresses[..addresses.len().min(ADDRESSES_LIMIT)];
    let mut failed = Error::new(Kind::Unavailable, "the host has no address");
    for (number, address) in addresses.iter().enumerate() {
        let is_last = number + 1 == addresses.len();
        let patience = if is_last {
            patience
        } else {
            patience.min(NEXT_AFTER)
        };
        match TcpStream::connect_timeout(address, patience) {
            Ok(tcp) => return Ok(tcp),
            Err(cause) => failed = Error::new(Kind::Unavailable, words(cause)),
        }
    }
    Err(failed)
}

fn words(cause: std::io::Error) -> String {
    match cause.kind() {
        std::io::ErrorKind::TimedOut => "no answer to a connection".to_owned(),
        _ => Error::from(cause).to_string(),
    }
}

/// Formats the server for messages.
impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.shown)
    }
}

/// Percent-encodes the characters of `path` that are not allowed in a request. Existing percent
/// encodings are kept.
fn escaped(path: &str) -> String {
    let mut escaped = String::new();
    for byte in path.bytes() {
        match byte {
            b'"' | b'<' | b'>' | b'\\' | b'^' | b'`' | b'{' | b'|' | b'}' => {
                escaped.push_str(&format!("%{byte:02X}"));
            }
            b'!'..=b'~' => escaped.push(char::from(byte)),
            _ => escaped.push_str(&format!("%{byte:02X}")),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::net::location::Location;

    fn origin(text: &str) -> Origin {
        match Location::parse(text.as_bytes()).unwrap() {
            Location::Url(url) => Origin::of(&url),
            Location::Path(_) => panic!("{text} is a URL"),
        }
    }

    #[test]
    fn hosts_ports_and_paths_are_told_as_the_standards_want() {
        for (url, authority, prefix) in [
            ("http://nas", "nas", ""),
            ("http://nas:80/", "nas", ""),
            ("https://nas:80", "nas:80", ""),
            ("https://nas:443/a/b/", "nas", "/a/b"),
            ("http://nas:9876/a b/%41", "nas:9876", "/a%20b/%41"),
            ("http://[::1]:9876", "[::1]:9876", ""),
            ("http://[fe80::1%eth0]/é", "[fe80::1]", "/%C3%A9"),
        ] {
            let origin = origin(url);
            assert_eq!(
                (origin.authority.as_str(), origin.prefix.as_str()),
                (authority, prefix)
            );
        }
    }
}

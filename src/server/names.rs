//! The host names of a server, and protection against requests that web pages of other hosts make
//! in a browser.
//!
//! Any web page can make a browser send requests to any address, including addresses that only the
//! host of the user can reach. Two rules reject such requests:
//!
//! - A request with an `Origin` other than its own host is refused with 403. Browsers add that
//!   field (RFC 6454) to every cross-site request that could change something.
//! - A request for a host that is not a name or an address of the server is refused with 421. A
//!   page can make its own name resolve to the address of the server (DNS rebinding). Its requests
//!   then have the same origin as the page, and only the host name is wrong.

use std::net::{IpAddr, Ipv6Addr};

use super::answer::Answer;
use super::{Server, route};
use crate::net::http1::{Request, Wrong};
use crate::util::human;

/// The maximum length of a host name in DNS (RFC 1035, section 2.3.4).
const NAME_LIMIT_BYTES: usize = 253;

/// A host name or an address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Host {
    /// A name in lower case, without a trailing dot.
    Name(String),
    /// An address. An IPv4-mapped address is stored as IPv4.
    Address(IpAddr),
}

impl Host {
    /// Parses a host; an IPv6 address may be in brackets. Returns `None` if `text` is invalid.
    pub fn parse(text: &str) -> Option<Host> {
        let inner = text
            .strip_prefix('[')
            .and_then(|text| text.strip_suffix(']'));
        if let Some(address) = inner {
            let address: Ipv6Addr = address.parse().ok()?;
            return Some(Host::Address(IpAddr::V6(address).to_canonical()));
        }
        if let Ok(address) = text.parse::<IpAddr>() {
            return Some(Host::Address(address.to_canonical()));
        }
        let name = text.strip_suffix('.').unwrap_or(text);
        let is_plain = |letter: u8| letter.is_ascii_alphanumeric() || b"-._".contains(&letter);
        let is_name = (1..=NAME_LIMIT_BYTES).contains(&name.len())
            && !name.starts_with('.')
            && name.bytes().all(is_plain);
        is_name.then(|| Host::Name(name.to_ascii_lowercase()))
    }

    /// Whether it can only be the local host.
    fn is_loopback(&self) -> bool {
        match self {
            Host::Name(name) => name == "localhost",
            Host::Address(address) => address.is_loopback(),
        }
    }
}

/// Parses a host with an optional port: `nas`, `nas:9876`, `[::1]:9876`.
fn authority(text: &str) -> Option<(Host, Option<u16>)> {
    let (host, port) = match text.rsplit_once(':') {
        Some((host, port)) if !port.ends_with(']') => (host, Some(port)),
        _ => (text, None),
    };
    // An IPv6 address without brackets: the part after its last colon is not a port.
    if host.contains(':') && !host.starts_with('[') {
        return None;
    }
    let port = match port {
        None | Some("") => None,
        Some(digits) if digits.bytes().all(|byte| byte.is_ascii_digit()) => {
            Some(digits.parse().ok()?)
        }
        Some(_) => return None,
    };
    Some((Host::parse(host)?, port))
}

impl Server {
    /// Checks that `request`, which arrived at the address `local`, is for this server and not from
    /// a web page of another host. A client of HTTP/1.0 may omit the host; no browser does.
    ///
    /// # Errors
    /// The response: 400 for an invalid host, 421 or 403.
    pub(super) fn check_host(
        &self,
        request: &Request,
        local: Option<IpAddr>,
    ) -> Result<(), Answer> {
        let field = request.headers.first("host");
        // The host of an absolute URL takes precedence over the field for other parsers, so both
        // are checked.
        let target = route::authority(&request.target);
        for text in field.into_iter().chain(target) {
            let (host, _) = authority(text)
                .ok_or_else(|| Answer::of_wrong(&Wrong::Malformed("Host is not a host")))?;
            if !self.is_named(&host, local) {
                return Err(misdirected(text));
            }
        }
        let host = target.or(field).and_then(authority);
        for origin in request.headers.all("origin") {
            if !is_same(origin, host.as_ref()) {
                let origin = human::shorten(origin, NAME_LIMIT_BYTES);
                let text = format!("requests of web pages at {origin} are refused");
                return Err(Answer::failure(403, "denied", text));
            }
        }
        Ok(())
    }

    /// Whether `host` is a name or an address of this server.
    fn is_named(&self, host: &Host, local: Option<IpAddr>) -> bool {
        let is_address = |address: &IpAddr| Some(*address) == local;
        host.is_loopback()
            || matches!(host, Host::Address(address) if is_address(address))
            || self.names.contains(host)
            || self.identity().is_some_and(|identity| match host {
                Host::Name(name) => identity.is_for(name),
                Host::Address(address) => identity.is_for(&address.to_string()),
            })
    }
}

/// Whether `origin` is a page of `host`. A missing port is the default port of the scheme.
fn is_same(origin: &str, host: Option<&(Host, Option<u16>)>) -> bool {
    let Some((scheme, origin)) = origin.split_once("://") else {
        return false;
    };
    let usual = match scheme {
        "http" => 80,
        "https" => 443,
        _ => return false,
    };
    let full = |(host, port): &(Host, Option<u16>)| (host.clone(), port.unwrap_or(usual));
    match (authority(origin), host) {
        (Some(origin), Some(host)) => full(&origin) == full(host),
        _ => false,
    }
}

/// The response to a request for another host.
fn misdirected(text: &str) -> Answer {
    let host = text
        .rsplit_once(':')
        .map_or(text, |(host, port)| match port {
            port if port.ends_with(']') => text,
            _ => host,
        });
    let text = format!(
        "{host} is not a name of this server; to allow it, start the server with: -name {host}"
    );
    Answer::failure(421, "usage", text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_have_one_spelling() {
        let name = |name: &str| Some(Host::Name(name.to_owned()));
        let address = |address: &str| Some(Host::Address(address.parse().unwrap()));
        for (text, expected) in [
            ("nas", name("nas")),
            ("NAS.Example.", name("nas.example")),
            ("xn--bcher-kva.example", name("xn--bcher-kva.example")),
            ("192.0.2.1", address("192.0.2.1")),
            ("::1", address("::1")),
            ("[2001:DB8::1]", address("2001:db8::1")),
            ("[::ffff:127.0.0.1]", address("127.0.0.1")),
            ("", None),
            (".", None),
            ("a b", None),
            ("[nas]", None),
            ("[::1", None),
            ("user@nas", None),
            ("nas/x", None),
        ] {
            assert_eq!(Host::parse(text), expected, "{text:?}");
        }
        assert_eq!(Host::parse(&"x".repeat(254)), None);
    }

    #[test]
    fn ports_are_told_from_addresses() {
        for (text, host, port) in [
            ("nas:9876", "nas", Some(9876)),
            ("nas", "nas", None),
            ("nas:", "nas", None),
            ("[::1]:80", "::1", Some(80)),
            ("[::1]", "::1", None),
            ("127.0.0.1:1", "127.0.0.1", Some(1)),
        ] {
            assert_eq!(
                authority(text),
                Host::parse(host).map(|host| (host, port)),
                "{text}"
            );
        }
        for text in [
            "",
            ":80",
            "nas:x",
            "nas:99999",
            "nas:-1",
            "::1",
            "::1:80",
            "[::1]x",
        ] {
            assert_eq!(authority(text), None, "{text}");
        }
    }

    #[test]
    fn an_origin_is_compared_with_its_port() {
        let same = |origin: &str, host: &str| is_same(origin, authority(host).as_ref());
        assert!(same("http://nas:9876", "NAS.:9876"));
        assert!(same("https://nas", "nas:443") && same("http://nas:80", "nas"));
        for origin in [
            "null",
            "",
            "http://evil.example:9876",
            "http://nas",
            "https://nas",
            "nas:9876",
        ] {
            assert!(!same(origin, "nas:9876"), "{origin}");
        }
        assert!(!is_same("http://nas", None));
    }
}

//! Parses `-listen [HOST]:PORT` and opens the listening sockets.

use std::fs;
use std::io::ErrorKind;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, ToSocketAddrs};

use crate::error::{During, Error, Kind, Result};

/// The default address.
pub(super) const USUAL: &str = "localhost:9876";

/// The address to listen on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Address {
    /// `None` for all interfaces.
    host: Option<String>,
    port: u16,
}

/// The listening sockets.
pub(super) struct Listening {
    pub(super) listeners: Vec<TcpListener>,
    /// The host name or address given by the user. `None` for all interfaces.
    pub(super) host: Option<String>,
    port: u16,
}

impl Address {
    /// Parses `[HOST]:PORT`. An IPv6 address is enclosed in brackets.
    ///
    /// # Errors
    /// [`Kind::Usage`] for invalid syntax.
    pub(super) fn parse(text: &str) -> Result<Address> {
        let wrong = |why: &str| Error::usage(format!("{text:?} is not [HOST]:PORT: {why}"));
        let (host, port) = text
            .rsplit_once(':')
            .ok_or_else(|| wrong("there is no port"))?;
        let is_number = !port.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit());
        let port = port.parse().ok().filter(|_| is_number);
        let port = port.ok_or_else(|| wrong("the port is not a number up to 65535"))?;
        let inner = host
            .strip_prefix('[')
            .and_then(|host| host.strip_suffix(']'));
        let host = match inner {
            Some(inner) if inner.parse::<Ipv6Addr>().is_ok() => inner,
            Some(_) => return Err(wrong("not an IPv6 address")),
            None if host.contains(':') => {
                return Err(wrong("an address of IPv6 stands in brackets"));
            }
            None => host,
        };
        let is_plain = |letter: char| letter.is_ascii_alphanumeric() || "-._:".contains(letter);
        if !host.chars().all(is_plain) {
            return Err(wrong("not a host name"));
        }
        Ok(Address {
            host: Some(host.to_owned()).filter(|host| !host.is_empty()),
            port,
        })
    }

    /// Opens the listening sockets.
    ///
    /// # Errors
    /// If the host cannot be resolved, or another program uses the port.
    pub(super) fn bind(&self) -> Result<Listening> {
        let doing = || format!("listen on {self}");
        let listeners = match &self.host {
            None => everywhere(self.port).during(doing)?,
            Some(host) => vec![bind(self.resolve(host).during(doing)?).during(doing)?],
        };
        let port = listeners.first().map(|listener| listener.local_addr());
        let port = port
            .transpose()
            .during(doing)?
            .map_or(self.port, |address| address.port());
        Ok(Listening {
            listeners,
            host: self.host.clone(),
            port,
        })
    }

    /// One address of `host`, preferably IPv4.
    fn resolve(&self, host: &str) -> Result<SocketAddr> {
        let found: Vec<SocketAddr> = (host, self.port).to_socket_addrs()?.collect();
        let first = found.iter().min_by_key(|address| address.is_ipv6());
        let missing = || Error::new(Kind::NotFound, "the host has no address");
        first.copied().ok_or_else(missing)
    }
}

impl std::fmt::Display for Address {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.host.as_deref().unwrap_or_default() {
            host if host.contains(':') => write!(f, "[{host}]:{}", self.port),
            host => write!(f, "{host}:{}", self.port),
        }
    }
}

/// Listens on all interfaces: with one IPv6 socket that also accepts IPv4, with one socket of each
/// if the system does not support that, or with one IPv4 socket without IPv6.
fn everywhere(port: u16) -> Result<Vec<TcpListener>> {
    let six = match bind((Ipv6Addr::UNSPECIFIED, port).into()) {
        Err(error) if error.kind() == Kind::Exists => return Err(error),
        outcome => outcome.ok(),
    };
    let Some(six) = six else {
        return Ok(vec![bind((Ipv4Addr::UNSPECIFIED, port).into())?]);
    };
    let port = six.local_addr()?.port();
    match bind((Ipv4Addr::UNSPECIFIED, port).into()) {
        Ok(four) => Ok(vec![six, four]),
        // The IPv6 socket already accepts IPv4.
        Err(error) if error.kind() == Kind::Exists => Ok(vec![six]),
        Err(error) => Err(error),
    }
}

fn bind(address: SocketAddr) -> Result<TcpListener> {
    TcpListener::bind(address).map_err(|cause| match cause.kind() {
        ErrorKind::AddrInUse => Error::new(Kind::Exists, "another program listens there"),
        _ => cause.into(),
    })
}

impl Listening {
    /// The URL of the server, with the host name or address given by the user.
    pub(super) fn url(&self, scheme: &str) -> String {
        match self.host.as_deref().unwrap_or("localhost") {
            host if host.contains(':') => format!("{scheme}://[{host}]:{}", self.port),
            host => format!("{scheme}://{host}:{}", self.port),
        }
    }

    /// The URL of the server, followed by the URLs of all addresses where it is reachable.
    pub(super) fn urls(&self, scheme: &str) -> Vec<String> {
        let mut urls = vec![self.url(scheme)];
        for address in self.addresses().iter().flat_map(reachable) {
            let url = format!("{scheme}://{}", SocketAddr::new(address, self.port));
            if !urls.contains(&url) {
                urls.push(url);
            }
        }
        urls
    }

    /// All local addresses of the sockets.
    pub(super) fn addresses(&self) -> Vec<SocketAddr> {
        let addresses = self.listeners.iter().map(TcpListener::local_addr);
        addresses.filter_map(|address| address.ok()).collect()
    }

    /// Whether only local clients can connect.
    pub(super) fn is_loopback(&self) -> bool {
        let is_ours = |ip: IpAddr| ip.to_canonical().is_loopback();
        self.addresses().iter().all(|address| is_ours(address.ip()))
    }
}

/// The addresses where clients can reach a socket that listens on `address`. For all interfaces,
/// these are the addresses of this machine, as far as the system reports them, except loopback
/// addresses and link-local ones, which require an interface name.
fn reachable(address: &SocketAddr) -> Vec<IpAddr> {
    if !address.ip().is_unspecified() {
        return vec![address.ip()];
    }
    let read = |path| fs::read_to_string(path).unwrap_or_default();
    let mut found = local_routes(&read("/proc/net/fib_trie"));
    // An IPv6 socket also accepts IPv4, or there is a second socket for it.
    if address.is_ipv6() {
        found.extend(global_addresses(&read("/proc/net/if_inet6")));
    }
    found
}

/// The addresses in `fib_trie` whose route is `host LOCAL`.
fn local_routes(text: &str) -> Vec<IpAddr> {
    let mut found: Vec<IpAddr> = Vec::new();
    let mut last = None;
    for line in text.lines().map(str::trim) {
        if let Some(address) = line.strip_prefix("|-- ") {
            last = address.parse::<Ipv4Addr>().ok();
        } else if line.ends_with("host LOCAL")
            && let Some(address) = last.take().filter(|address| !address.is_loopback())
            && !found.contains(&address.into())
        {
            found.push(address.into());
        }
    }
    found
}

/// The addresses in `if_inet6` whose scope (the fourth word) is global.
fn global_addresses(text: &str) -> Vec<IpAddr> {
    let address = |line: &str| {
        let mut words = line.split_whitespace();
        let bits = u128::from_str_radix(words.next()?, 16).ok()?;
        let is_global = words.nth(2)? == "00";
        is_global.then(|| Ipv6Addr::from_bits(bits).into())
    };
    text.lines().filter_map(address).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_and_ports_are_understood() {
        let parsed = |text| Address::parse(text).map(|address| (address.host, address.port));
        let host = |host: &str, port| (Some(host.to_owned()), port);
        assert_eq!(parsed(USUAL).unwrap(), host("localhost", 9876));
        assert_eq!(parsed(":0").unwrap(), (None, 0));
        assert_eq!(parsed("[::1]:80").unwrap(), host("::1", 80));
        assert_eq!(parsed("192.0.2.1:65535").unwrap(), host("192.0.2.1", 65535));
        for text in [
            "",
            ":",
            "localhost",
            "9876",
            "localhost:",
            "localhost:x",
            ":65536",
            ":-1",
            ":+1",
            "::1:80",
            "[::1]",
            "[x]:80",
            "a b:80",
            "http://localhost:80",
            "a/b:80",
            "a\n:80",
        ] {
            assert_eq!(parsed(text).unwrap_err().kind(), Kind::Usage, "{text:?}");
        }
    }
    #[test]
    fn interface_addresses_are_parsed() {
        let routes = "Main:\n  +-- 0.0.0.0/0 3 0 5\n     |-- 0.0.0.0\n        /0 universe UNICAST\n     \
            |-- 127.0.0.1\n        /32 host LOCAL\n     |-- 192.168.1.0\n        /24 link UNICAST\n     \
            |-- 192.168.1.5\n        /32 host LOCAL\nLocal:\n     |-- 192.168.1.5\n        \
            /32 host LOCAL\n     |-- 192.168.1.255\n        /32 link BROADCAST\n";
        assert_eq!(
            local_routes(routes),
            ["192.168.1.5".parse::<IpAddr>().unwrap()]
        );
        let six = "00000000000000000000000000000001 01 80 10 80       lo\n\
            20010db8000000000000000000000005 02 40 00 80     eth0\n\
            fe800000000000000000000000000005 02 40 20 80     eth0\n";
        assert_eq!(
            global_addresses(six),
            ["2001:db8::5".parse::<IpAddr>().unwrap()]
        );
    }
}

//! The settings that determine how a host is reached. In order of precedence: the location, the
//! options that accompany it, ssh_config(5), the defaults of ssh.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::config::{self, Found, Need, Query, Value, at_home};
use super::{Options, PORT, known_hosts};
use crate::error::{During, Error, Kind, Result};

/// The configuration file that is read after that of the user.
const SYSTEM_CONFIG: &str = "/etc/ssh/ssh_config";
/// The keys that are tried if none is configured, in the order of ssh.
const USUAL_IDENTITIES: [&str; 3] = [".ssh/id_rsa", ".ssh/id_ecdsa", ".ssh/id_ed25519"];
const USUAL_KNOWN_HOSTS: [&str; 2] = [".ssh/known_hosts", ".ssh/known_hosts2"];
const GLOBAL_KNOWN_HOSTS: [&str; 2] = ["/etc/ssh/ssh_known_hosts", "/etc/ssh/ssh_known_hosts2"];
/// The default timeout for connecting, and for each response until authentication has succeeded.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(30);
/// The default silence after which a keepalive message is sent.
const ALIVE_INTERVAL: Duration = Duration::from_secs(15);
/// The number of keepalive messages without a response before the connection is closed, as in ssh.
const ALIVE_COUNT: u32 = 3;
/// The upper limit on configured durations, so that no wait is unlimited.
const LONGEST: Duration = Duration::from_secs(3600);
/// The maximum number of jump hosts. A longer chain is a loop.
const JUMP_LIMIT: usize = 8;

/// How the connection is made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Route {
    /// Directly over TCP.
    Direct,
    /// Through other hosts, the nearest one first.
    Jump(Vec<Hop>),
    /// Through a command whose standard input and output are the connection.
    Command(String),
}

/// A host on the route, before it is resolved.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Hop {
    pub(super) user: Option<String>,
    pub(super) host: String,
    pub(super) port: Option<u16>,
}

/// How to treat a server whose key is unknown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Strict {
    /// Reject it.
    Yes,
    /// Ask the user. Reject the server if no user can be asked.
    Ask,
    /// Trust it and record the key.
    AcceptNew,
}

/// A host with all of its settings.
#[derive(Clone, Debug)]
pub(super) struct Host {
    /// The host name as the user specified it.
    pub(super) alias: String,
    /// The name or address to connect to.
    pub(super) name: String,
    pub(super) port: u16,
    pub(super) user: String,
    /// The name in `known_hosts`.
    pub(super) key_name: String,
    pub(super) user_known_hosts: Vec<PathBuf>,
    pub(super) global_known_hosts: Vec<PathBuf>,
    pub(super) strict: Strict,
    pub(super) names: known_hosts::Names,
    pub(super) identities: Vec<PathBuf>,
    /// Whether the agent may offer only the keys in `identities`.
    pub(super) identities_only: bool,
    /// The socket of the agent.
    pub(super) agent: Option<PathBuf>,
    pub(super) connect_timeout: Duration,
    pub(super) alive_interval: Duration,
    pub(super) alive_count: u32,
    pub(super) route: Route,
}

/// The role of a host. Some options apply to the target of the location only, not to jump hosts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Role {
    Target,
    Hop,
}

impl Host {
    /// Resolves `hop` with `options` and the configuration.
    ///
    /// # Errors
    /// [`Kind::Unsupported`] for an invalid configuration; the errors of reading it.
    pub(super) fn resolve(hop: &Hop, role: Role, options: &Options) -> Result<Host> {
        let of_target = |value: &Option<String>| match role {
            Role::Target => value.clone(),
            Role::Hop => None,
        };
        let user = hop.user.clone().or(of_target(&options.username));
        // Where users are not listed, as in a container, the local user is needed only if no remote
        // user is specified.
        let local_user = match user {
            Some(_) => local_user(options).unwrap_or_default(),
            None => local_user(options)?,
        };
        let query = Query {
            host: &hop.host,
            user: user.as_deref(),
            local_user: &local_user,
            home: options.home.as_deref(),
        };
        let found = read_config(&query, options)?;
        let port = match role {
            Role::Target => hop.port.or(options.port),
            Role::Hop => hop.port,
        };
        let user = user.or(found.word("user").map(str::to_owned));
        let resolver = Resolver {
            found: &found,
            options,
            role,
            alias: &hop.host,
            port: match port {
                Some(port) => port,
                None => number(&found, "port")?.unwrap_or(PORT),
            },
            user: user.unwrap_or_else(|| local_user.clone()),
            local_user: &local_user,
        };
        resolver.resolved()
    }
}

/// Reads the configuration of the user, then that of the system.
fn read_config(query: &Query<'_>, options: &Options) -> Result<Found> {
    let mut found = Found::default();
    if let Some(path) = &options.config {
        config::read(path, Need::Named, query, &mut found)?;
        return Ok(found);
    }
    if let Some(home) = &options.home {
        let path = home.join(".ssh/config");
        config::read(&path, Need::Usual, query, &mut found)?;
    }
    config::read(Path::new(SYSTEM_CONFIG), Need::Usual, query, &mut found)?;
    Ok(found)
}

struct Resolver<'a> {
    found: &'a Found,
    options: &'a Options,
    role: Role,
    alias: &'a str,
    port: u16,
    user: String,
    local_user: &'a str,
}

impl Resolver<'_> {
    fn resolved(self) -> Result<Host> {
        let name = self.name()?;
        let (identities, identities_only) = self.identities(&name)?;
        let key_name = match self.found.word("hostkeyalias") {
            Some(alias) => alias.to_ascii_lowercase(),
            None => known_hosts::name(&name, self.port),
        };
        Ok(Host {
            alias: self.alias.to_owned(),
            key_name,
            user_known_hosts: self.user_known_hosts(&name)?,
            global_known_hosts: self.global_known_hosts(&name)?,
            strict: self.strict()?,
            names: match self.switch("hashknownhosts")? {
                Some(true) => known_hosts::Names::Hashed,
                _ => known_hosts::Names::Plain,
            },
            identities,
            identities_only,
            agent: self.agent(&name)?,
            connect_timeout: self.seconds("connecttimeout", CONNECT_TIMEOUT)?,
            alive_interval: self.seconds("serveraliveinterval", ALIVE_INTERVAL)?,
            alive_count: number(self.found, "serveralivecountmax")?
                .map_or(ALIVE_COUNT, |count: u32| count.clamp(1, 100)),
            route: self.route(&name)?,
            port: self.port,
            user: self.user,
            name,
        })
    }

    /// Returns `HostName`, in which `%h` stands for the alias.
    fn name(&self) -> Result<String> {
        match self.found.first("hostname") {
            None => Ok(self.alias.to_owned()),
            Some(value) => self
                .expanded(&value.words[0], self.alias)
                .during(|| value.origin.clone()),
        }
    }

    /// Returns the keys to log in with, and whether only those may be tried. A key given with the
    /// location is the only one.
    fn identities(&self, name: &str) -> Result<(Vec<PathBuf>, bool)> {
        if let (Role::Target, Some(identity)) = (self.role, &self.options.identity) {
            return Ok((vec![identity.clone()], true));
        }
        let is_only = self.switch("identitiesonly")?.unwrap_or(false);
        let configured = self.found.all("identityfile");
        if configured.is_empty() {
            let usual = self.in_home(&USUAL_IDENTITIES);
            return Ok((usual, is_only));
        }
        let is_some = |value: &&Value| value.words[0] != "none";
        let paths = configured
            .iter()
            .filter(is_some)
            .map(|value| (self.path(&value.words[0], name)).during(|| value.origin.clone()));
        Ok((paths.collect::<Result<_>>()?, is_only))
    }

    fn user_known_hosts(&self, name: &str) -> Result<Vec<PathBuf>> {
        match (
            &self.options.known_hosts,
            self.found.first("userknownhostsfile"),
        ) {
            (Some(path), _) => Ok(vec![path.clone()]),
            (None, Some(value)) => self.paths(value, name),
            (None, None) => Ok(self.in_home(&USUAL_KNOWN_HOSTS)),
        }
    }

    /// Returns the global files, unless the user specified a file.
    fn global_known_hosts(&self, name: &str) -> Result<Vec<PathBuf>> {
        match (
            &self.options.known_hosts,
            self.found.first("globalknownhostsfile"),
        ) {
            (Some(_), _) => Ok(Vec::new()),
            (None, Some(value)) => self.paths(value, name),
            (None, None) => Ok(GLOBAL_KNOWN_HOSTS.map(PathBuf::from).to_vec()),
        }
    }

    fn in_home(&self, names: &[&str]) -> Vec<PathBuf> {
        let home = self.options.home.iter();
        home.flat_map(|home| names.iter().map(|name| home.join(name)))
            .collect()
    }

    fn strict(&self) -> Result<Strict> {
        match self.found.first("stricthostkeychecking") {
            None => Ok(Strict::Ask),
            Some(value) => match value.words[0].to_ascii_lowercase().as_str() {
                "yes" | "true" => Ok(Strict::Yes),
                "ask" => Ok(Strict::Ask),
                // Differs from ssh: a changed key is never trusted.
                "accept-new" | "no" | "off" | "false" => Ok(Strict::AcceptNew),
                _ => Err(unknown("stricthostkeychecking", value)),
            },
        }
    }

    fn agent(&self, name: &str) -> Result<Option<PathBuf>> {
        match self.found.first("identityagent") {
            None => Ok(self.options.agent.clone()),
            Some(value) => match value.words[0].as_str() {
                "none" => Ok(None),
                "SSH_AUTH_SOCK" | "$SSH_AUTH_SOCK" | "${SSH_AUTH_SOCK}" => {
                    Ok(self.options.agent.clone())
                }
                word => (self.path(word, name).map(Some)).during(|| value.origin.clone()),
            },
        }
    }

    /// Returns the route. `ProxyJump` takes precedence over `ProxyCommand`, because the order in
    /// which they were specified is no longer known.
    fn route(&self, name: &str) -> Result<Route> {
        let jump = self.found.first("proxyjump");
        if let Some(value) = jump.filter(|value| value.words[0] != "none") {
            return hops(&value.words[0])
                .map(Route::Jump)
                .during(|| value.origin.clone());
        }
        let command = self.found.first("proxycommand");
        match command.filter(|value| value.words[0] != "none") {
            Some(value) if jump.is_none() => {
                let line = self.expanded(&value.words[0], name);
                line.map(Route::Command).during(|| value.origin.clone())
            }
            _ => Ok(Route::Direct),
        }
    }

    fn seconds(&self, keyword: &str, usual: Duration) -> Result<Duration> {
        let found = number(self.found, keyword)?.filter(|seconds: &u64| *seconds > 0);
        Ok(found.map_or(usual, |seconds| Duration::from_secs(seconds).min(LONGEST)))
    }

    fn switch(&self, keyword: &str) -> Result<Option<bool>> {
        let Some(value) = self.found.first(keyword) else {
            return Ok(None);
        };
        match value.words[0].to_ascii_lowercase().as_str() {
            "yes" | "true" => Ok(Some(true)),
            "no" | "false" => Ok(Some(false)),
            _ => Err(unknown(keyword, value)),
        }
    }

    fn paths(&self, value: &Value, name: &str) -> Result<Vec<PathBuf>> {
        let words = value.words.iter().filter(|word| *word != "none");
        words
            .map(|word| self.path(word, name).during(|| value.origin.clone()))
            .collect()
    }

    /// Expands the tokens of a path and a leading `~`.
    fn path(&self, text: &str, name: &str) -> Result<PathBuf> {
        at_home(&self.expanded(text, name)?, self.options.home.as_deref())
    }

    /// Expands the tokens of `text` (ssh_config(5), TOKENS).
    fn expanded(&self, text: &str, name: &str) -> Result<String> {
        let mut expanded = String::with_capacity(text.len());
        let mut letters = text.chars();
        while let Some(letter) = letters.next() {
            match letter {
                '%' => expanded.push_str(&self.token(letters.next(), name)?),
                letter => expanded.push(letter),
            }
        }
        Ok(expanded)
    }

    fn token(&self, token: Option<char>, name: &str) -> Result<String> {
        let host = rustix::system::uname()
            .nodename()
            .to_string_lossy()
            .into_owned();
        match token {
            Some('%') => Ok("%".to_owned()),
            Some('h') => Ok(name.to_owned()),
            Some('n') => Ok(self.alias.to_owned()),
            Some('k') => Ok(self
                .found
                .word("hostkeyalias")
                .unwrap_or(self.alias)
                .to_owned()),
            Some('p') => Ok(self.port.to_string()),
            Some('r') => Ok(self.user.clone()),
            Some('u') => Ok(self.local_user.to_owned()),
            Some('i') => Ok(rustix::process::getuid().as_raw().to_string()),
            Some('l') => Ok(host),
            Some('L') => Ok(host.split('.').next().unwrap_or_default().to_owned()),
            Some('d') => {
                let home = at_home("~", self.options.home.as_deref())?;
                Ok(home.display().to_string())
            }
            token => {
                let token = token.map(String::from).unwrap_or_default();
                Err(Error::new(
                    Kind::Unsupported,
                    format!("%{token} is not known here"),
                ))
            }
        }
    }
}

fn unknown(keyword: &str, value: &Value) -> Error {
    let cause = format!("{keyword} cannot be {:?}", value.words[0]);
    Error::new(Kind::Unsupported, cause).during(value.origin.clone())
}

fn number<T: std::str::FromStr>(found: &Found, keyword: &str) -> Result<Option<T>> {
    let Some(value) = found.first(keyword) else {
        return Ok(None);
    };
    let number = value.words[0].parse();
    number.map(Some).map_err(|_| unknown(keyword, value))
}

/// Parses `[user@]host[:port],...`.
fn hops(text: &str) -> Result<Vec<Hop>> {
    let hops: Vec<Hop> = text
        .split(',')
        .map(|hop| parse_hop(hop.trim()))
        .collect::<Result<_>>()?;
    match hops.len() <= JUMP_LIMIT {
        true => Ok(hops),
        false => Err(too_many_jumps()),
    }
}

/// The error for a route with too many hosts.
pub(super) fn too_many_jumps() -> Error {
    Error::new(
        Kind::Unsupported,
        format!("more than {JUMP_LIMIT} hosts to jump over"),
    )
}

/// Checks the depth of nested jumps.
///
/// # Errors
/// The same as [`too_many_jumps`].
pub(super) fn check_depth(depth: usize) -> Result<()> {
    match depth <= JUMP_LIMIT {
        true => Ok(()),
        false => Err(too_many_jumps()),
    }
}

fn parse_hop(text: &str) -> Result<Hop> {
    let text = text.strip_prefix("ssh://").unwrap_or(text);
    let wrong = || Error::new(Kind::Unsupported, format!("{text:?} is not a jump host"));
    let (user, place) = match text.rsplit_once('@') {
        Some((user, place)) => (Some(user.to_owned()), place),
        None => (None, text),
    };
    let (host, port) = match place.strip_prefix('[') {
        Some(rest) => {
            let (host, rest) = rest.split_once(']').ok_or_else(wrong)?;
            (host, rest.strip_prefix(':'))
        }
        None => match place.rsplit_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (place, None),
        },
    };
    let port = port.map(str::parse).transpose().map_err(|_| wrong())?;
    match host.is_empty() || host.starts_with('-') || user.as_deref() == Some("") {
        true => Err(wrong()),
        false => Ok(Hop {
            user,
            host: host.to_owned(),
            port,
        }),
    }
}

/// Returns the name of the local user: from `/etc/passwd`, else from the environment.
fn local_user(options: &Options) -> Result<String> {
    let uid = rustix::process::getuid().as_raw().to_string();
    let list = fs::read("/etc/passwd").unwrap_or_default();
    let list = String::from_utf8_lossy(&list);
    let mut lines = list.lines().map(|line| line.split(':'));
    let listed = lines.find_map(|mut fields| {
        let name = fields.next()?;
        (fields.nth(1)? == uid).then(|| name.to_owned())
    });
    let nobody = || {
        Error::new(
            Kind::Unsupported,
            "unknown user name for the login: specify a user",
        )
    };
    listed.or(options.user.clone()).ok_or_else(nobody)
}

#[cfg(test)]
mod tests;

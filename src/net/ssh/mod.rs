//! SSH, through libssh2: everything between a location and a server that let us in.
//!
//! ```text
//! location, options, ssh_config     host       how it is reached
//!   -> TCP, a command, another host wire, jump a connection
//!   -> keys exchanged               session    nothing waits for ever
//!   -> the server is the one meant  trust      known_hosts
//!   -> we are let in                auth       agent, key files
//!   -> files                        sftp, pool what stores and connectors use
//!   -> many small ones at once      bulk, message
//! ```
//!
//! Nothing here asks a person or prints: [`Options::ask`] and [`Notice`] do, and without them
//! nobody is asked. Nothing here reads the environment.

mod auth;
pub mod bulk;
mod config;
mod host;
mod jump;
mod keys;
mod known_hosts;
pub mod message;
mod pattern;
pub mod pool;
mod session;
pub mod sftp;
mod trust;
mod wire;

use std::fmt;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use ssh2::{ErrorCode, MethodType};
use zeroize::Zeroizing;

use self::host::{Hop, Host, Role, Route};
use self::session::{Patience, Session, broken};
use self::trust::Trust;
use self::wire::Wire;
use super::location::Url;
use crate::error::{During, Error, Kind, Result};
use crate::util::interrupt::Interrupt;

/// Where servers of SSH listen.
const PORT: u16 = 22;
/// How long a request to stop may go unnoticed.
const TICK: Duration = Duration::from_millis(200);

/// Ciphers in the order of their cost where the processor has AES.
const AES_FIRST: &str = "aes128-gcm@openssh.com,aes256-gcm@openssh.com,\
    chacha20-poly1305@openssh.com,aes128-ctr,aes192-ctr,aes256-ctr";
/// The same where it has not.
const CHACHA_FIRST: &str = "chacha20-poly1305@openssh.com,aes128-gcm@openssh.com,\
    aes256-gcm@openssh.com,aes128-ctr,aes192-ctr,aes256-ctr";

/// Keys could not be exchanged (`LIBSSH2_ERROR_KEX_FAILURE`): both sides have no method in
/// common, or the connection was lost. libssh2 does not tell which.
const NO_KEYS: i32 = -5;

/// Something that only a person can answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Question {
    /// Whether the key of a server of which nothing is known is right: `yes`, `no`, or the
    /// fingerprint.
    HostKey {
        /// The server.
        host: String,
        /// The type of its key, as people call it.
        kind: String,
        /// The key.
        fingerprint: String,
        /// The answer before was none of these.
        is_repeated: bool,
    },
    /// The passphrase of a key to log in with.
    Passphrase {
        /// The file it is in.
        key: PathBuf,
        /// The answer before was wrong.
        is_repeated: bool,
    },
}

/// Asks a person. Nothing if there is nobody to be asked.
pub type Ask = Arc<dyn Fn(&Question) -> Result<Option<Zeroizing<String>>> + Send + Sync>;

/// Who hears of what the user should know although the work goes on.
pub type Notice = Arc<dyn Fn(&Error) + Send + Sync>;

/// What is said beside the location, and what of this machine ssh goes by.
#[derive(Clone)]
pub struct Options {
    /// The home directory, with `.ssh` in it.
    pub home: Option<PathBuf>,
    /// Where the agent listens (`SSH_AUTH_SOCK`).
    pub agent: Option<PathBuf>,
    /// Who we are, for systems that do not list us.
    pub user: Option<String>,
    /// Who to log in as.
    pub username: Option<String>,
    /// The port of the server.
    pub port: Option<u16>,
    /// The key to log in with, and no other.
    pub identity: Option<PathBuf>,
    /// The keys of servers to trust, and no others.
    pub known_hosts: Option<PathBuf>,
    /// The configuration to read instead of the user's and the system's.
    pub config: Option<PathBuf>,
    /// Trust any server.
    pub insecure_ignore_host_key: bool,
    /// Asks a person.
    pub ask: Ask,
}

impl Default for Options {
    fn default() -> Options {
        Options {
            home: None,
            agent: None,
            user: None,
            username: None,
            port: None,
            identity: None,
            known_hosts: None,
            config: None,
            insecure_ignore_host_key: false,
            ask: Arc::new(|_| Ok(None)),
        }
    }
}

impl fmt::Debug for Options {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Options")
            .field("username", &self.username)
            .field("port", &self.port)
            .field("identity", &self.identity)
            .field("known_hosts", &self.known_hosts)
            .field("config", &self.config)
            .field("insecure_ignore_host_key", &self.insecure_ignore_host_key)
            .finish_non_exhaustive()
    }
}

/// What was learnt from a person, or told to one, while this process runs.
#[derive(Default)]
struct Memory {
    /// Keys of servers that were unknown and are trusted now.
    met: Vec<Vec<u8>>,
    /// What was typed for key files.
    passphrases: Vec<(PathBuf, Zeroizing<String>)>,
    /// Whether it was said that any server is trusted.
    is_warned: bool,
}

/// A server, and who to be there. Connections to it are made from several threads; what one
/// clone learns of a person, all know.
#[derive(Clone)]
pub struct Endpoint {
    hop: Hop,
    options: Options,
    interrupt: Interrupt,
    notice: Notice,
    memory: Arc<Mutex<Memory>>,
}

impl Endpoint {
    /// The server of `url`. Nothing is read or connected to yet.
    pub fn new(url: &Url, options: &Options, interrupt: &Interrupt, notice: &Notice) -> Endpoint {
        Endpoint {
            hop: Hop {
                user: url.user.clone(),
                host: url.host.clone(),
                port: url.port,
            },
            options: options.clone(),
            interrupt: interrupt.clone(),
            notice: notice.clone(),
            memory: Arc::default(),
        }
    }

    /// Whether `other` is the same account of the same server, by whatever names: then a path
    /// means the same for both.
    ///
    /// # Errors
    /// Those of the configuration of ssh.
    pub fn is_same_place(&self, other: &Endpoint) -> Result<bool> {
        let resolve =
            |endpoint: &Endpoint| Host::resolve(&endpoint.hop, Role::Target, &endpoint.options);
        let (one, two) = (resolve(self)?, resolve(other)?);
        Ok((&one.user, &one.name, one.port, &one.route)
            == (&two.user, &two.name, two.port, &two.route))
    }

    /// Connects and logs in.
    fn connect(&self) -> Result<Session> {
        if self.options.insecure_ignore_host_key
            && !std::mem::replace(&mut self.memory().is_warned, true)
        {
            let cause = "the key of the server is not checked: whoever is in between can read \
                         and change everything (insecure_ignore_host_key)";
            self.notice(&Error::new(Kind::Denied, cause).during(self.hop.host.clone()));
        }
        self.reach(&self.hop, Role::Target, None, 0)
    }

    /// A session with `hop`, by the way `through` if there is one, else by its own.
    fn reach(
        &self,
        hop: &Hop,
        role: Role,
        through: Option<Route>,
        depth: usize,
    ) -> Result<Session> {
        let doing = || format!("connect to {}", hop.host);
        host::check_depth(depth).during(doing)?;
        let host = Host::resolve(hop, role, &self.options).during(doing)?;
        let wire = self.wire(&host, through, depth)?;
        self.log_in(wire, &host, role).during(doing)
    }

    /// A connection to `host`.
    fn wire(&self, host: &Host, through: Option<Route>, depth: usize) -> Result<Wire> {
        let doing = || format!("connect to {}", host.alias);
        match through.unwrap_or_else(|| host.route.clone()) {
            Route::Command(line) => Wire::command(&line).during(doing),
            Route::Jump(hops) if !is_itself(&hops, host) => {
                let (last, before) = hops
                    .split_last()
                    .expect("a list that was split is not empty");
                let through = (!before.is_empty()).then(|| Route::Jump(before.to_vec()));
                let session = self.reach(last, Role::Hop, through, depth + 1)?;
                let via = || format!("connect to {} through {}", host.alias, last.host);
                jump::through(session, &host.name, host.port).during(via)
            }
            Route::Direct | Route::Jump(_) => {
                Wire::tcp(&host.name, host.port, host.connect_timeout, &self.interrupt)
                    .during(doing)
            }
        }
    }

    /// Exchanges keys over `wire`, looks at the server, and logs in.
    fn log_in(&self, wire: Wire, host: &Host, role: Role) -> Result<Session> {
        let mut session = Session::new(wire, host.connect_timeout, &self.interrupt)?;
        let trust = Trust::new(host, role, &self.options)?;
        trust.prefer(&session)?;
        prefer_cheap_cipher(&session)?;
        session
            .handshake()?
            .map_err(|cause| no_handshake(&cause, session.wire()))?;
        trust.check(&session, self)?;
        auth::log_in(&session, host, self)?;
        session.keep_alive(Patience {
            interval: host.alive_interval,
            count: host.alive_count,
        });
        Ok(session)
    }

    fn ask(&self) -> &Ask {
        &self.options.ask
    }

    fn notice(&self, error: &Error) {
        (self.notice)(error);
    }

    /// What it holds is whole between any two statements.
    fn memory(&self) -> MutexGuard<'_, Memory> {
        self.memory.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether `host` would be reached through itself, as where every host is to be reached
/// through one of them: that one is reached directly.
fn is_itself(hops: &[Hop], host: &Host) -> bool {
    matches!(hops, [hop] if hop.host == host.alias)
}

/// A cipher costs more than the network over a fast line, so the cheapest goes first.
fn prefer_cheap_cipher(session: &Session) -> Result<()> {
    let ciphers = if has_aes() { AES_FIRST } else { CHACHA_FIRST };
    for direction in [MethodType::CryptCs, MethodType::CryptSc] {
        let set = session.ssh().method_pref(direction, ciphers);
        set.map_err(|cause| broken(&cause))?;
    }
    Ok(())
}

/// Whether the processor has instructions for AES.
fn has_aes() -> bool {
    #[cfg(target_arch = "x86_64")]
    return std::arch::is_x86_feature_detected!("aes");
    #[cfg(target_arch = "aarch64")]
    return std::arch::is_aarch64_feature_detected!("aes");
    #[allow(unreachable_code)]
    false
}

fn no_handshake(cause: &ssh2::Error, wire: &Wire) -> Error {
    let words = match cause.code() {
        ErrorCode::Session(NO_KEYS) => {
            "the server has no key exchange, cipher or type of key in common with us, or hung up: \
             SHA-1 (ssh-rsa, group14-sha1) and CBC are off here; update its SSH, or switch on \
             there what is newer, as curve25519-sha256, aes128-gcm@openssh.com and ssh-ed25519"
                .to_owned()
        }
        _ => format!("{} does not speak SSH: {}", wire.far_end(), broken(cause)),
    };
    Error::new(Kind::Unavailable, words)
}

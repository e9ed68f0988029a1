//! SSH through libssh2: everything from a location to an authenticated connection.
//!
//! ```text
//! location, options, ssh_config     host       resolves how the host is reached
//!   -> TCP, a command, another host wire, jump a connection
//!   -> key exchange                 session    every wait has a limit
//!   -> host key verification        trust      known_hosts
//!   -> authentication               auth       agent, key files
//!   -> files                        sftp, pool used by stores and connectors
//!   -> many small requests at once  bulk, message
//! ```
//!
//! This module neither prompts nor prints: the caller does, through [`Options::ask`] and
//! [`Notice`]. Without them the user is not asked. This module does not read the environment.

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

/// The default port of an SSH server.
const PORT: u16 = 22;
/// The longest delay before an interrupt request is noticed.
const TICK: Duration = Duration::from_millis(200);

/// Cipher preference, cheapest first, on a processor with AES instructions.
const AES_FIRST: &str = "aes128-gcm@openssh.com,aes256-gcm@openssh.com,\
    chacha20-poly1305@openssh.com,aes128-ctr,aes192-ctr,aes256-ctr";
/// Cipher preference, cheapest first, on a processor without AES instructions.
const CHACHA_FIRST: &str = "chacha20-poly1305@openssh.com,aes128-gcm@openssh.com,\
    aes256-gcm@openssh.com,aes128-ctr,aes192-ctr,aes256-ctr";

/// The key exchange failed (`LIBSSH2_ERROR_KEX_FAILURE`): either both sides have no method in
/// common, or the connection was lost. libssh2 does not report which.
const NO_KEYS: i32 = -5;

/// A question that only the user can answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Question {
    /// Whether the key of an unknown server is correct. Valid answers are `yes`, `no` and the
    /// fingerprint.
    HostKey {
        /// The host name, as `known_hosts` writes it.
        host: String,
        /// The key type as ssh displays it, such as `ED25519`.
        kind: String,
        /// The fingerprint, as `SHA256:` and the hash in base64.
        fingerprint: String,
        /// Whether the previous answer was invalid.
        is_repeated: bool,
    },
    /// The passphrase of an encrypted private key.
    Passphrase {
        /// The file with the private key.
        key: PathBuf,
        /// Whether the previous passphrase was wrong.
        is_repeated: bool,
    },
}

/// Asks the user. Returns `None` if no user can be asked.
pub type Ask = Arc<dyn Fn(&Question) -> Result<Option<Zeroizing<String>>> + Send + Sync>;

/// Receives warnings that do not stop the operation.
pub type Notice = Arc<dyn Fn(&Error) + Send + Sync>;

/// Options that accompany the location, and the local settings that ssh uses.
#[derive(Clone)]
pub struct Options {
    /// The home directory, which contains `.ssh`.
    pub home: Option<PathBuf>,
    /// The socket of the SSH agent (`SSH_AUTH_SOCK`).
    pub agent: Option<PathBuf>,
    /// The name of the local user, for systems that do not list the user in `/etc/passwd`.
    pub user: Option<String>,
    /// The user to log in as.
    pub username: Option<String>,
    /// The port of the server.
    pub port: Option<u16>,
    /// The only key to log in with. `None` tries the configured and default keys.
    pub identity: Option<PathBuf>,
    /// The only `known_hosts` file to use. `None` uses the configured and default files.
    pub known_hosts: Option<PathBuf>,
    /// A configuration file that replaces those of the user and the system.
    pub config: Option<PathBuf>,
    /// Disables host key verification: any server is trusted.
    pub insecure_ignore_host_key: bool,
    /// Asks the user. By default no user is asked.
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

/// Answers of the user and warnings already shown, shared for the lifetime of the process.
#[derive(Default)]
struct Memory {
    /// Keys of servers that were unknown and are now trusted.
    met: Vec<Vec<u8>>,
    /// Passphrases entered for key files.
    passphrases: Vec<(PathBuf, Zeroizing<String>)>,
    /// Whether the warning about disabled host key verification was shown.
    is_warned: bool,
}

/// A server and the account to use there. Several threads can open connections to it. All clones
/// share the answers of the user.
#[derive(Clone)]
pub struct Endpoint {
    hop: Hop,
    options: Options,
    interrupt: Interrupt,
    notice: Notice,
    memory: Arc<Mutex<Memory>>,
}

impl Endpoint {
    /// Creates an endpoint for the server at `url`. Does not read files or open a connection.
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

    /// Whether `other` resolves to the same account on the same server, even under another alias. A
    /// path then has the same meaning for both.
    ///
    /// # Errors
    /// The errors of reading the ssh configuration.
    pub fn is_same_place(&self, other: &Endpoint) -> Result<bool> {
        let resolve =
            |endpoint: &Endpoint| Host::resolve(&endpoint.hop, Role::Target, &endpoint.options);
        let (one, two) = (resolve(self)?, resolve(other)?);
        Ok((&one.user, &one.name, one.port, &one.route)
            == (&two.user, &two.name, two.port, &two.route))
    }

    /// Connects and authenticates.
    fn connect(&self) -> Result<Session> {
        if self.options.insecure_ignore_host_key
            && !std::mem::replace(&mut self.memory().is_warned, true)
        {
            let cause = "host key verification is disabled: a man in the middle can read and change everything (insecure_ignore_host_key)";
            self.notice(&Error::new(Kind::Denied, cause).during(self.hop.host.clone()));
        }
        self.reach(&self.hop, Role::Target, None, 0)
    }

    /// Opens a session with `hop`, over the route `through` if it is given, else over the
    /// configured route of the host.
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

    /// Exchanges keys over `wire`, verifies the host key, and authenticates.
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

    /// A poisoned lock is usable: the state is consistent between any two statements.
    fn memory(&self) -> MutexGuard<'_, Memory> {
        self.memory.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether the route to `host` leads through `host` itself. This happens if the configuration
/// routes every host through a jump host: the jump host is then reached directly.
fn is_itself(hops: &[Hop], host: &Host) -> bool {
    matches!(hops, [hop] if hop.host == host.alias)
}

/// On a fast network encryption costs more than the transfer, so the cheapest cipher is preferred.
fn prefer_cheap_cipher(session: &Session) -> Result<()> {
    let ciphers = if has_aes() { AES_FIRST } else { CHACHA_FIRST };
    for direction in [MethodType::CryptCs, MethodType::CryptSc] {
        let set = session.ssh().method_pref(direction, ciphers);
        set.map_err(|cause| broken(&cause))?;
    }
    Ok(())
}

/// Whether the processor has AES instructions.
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

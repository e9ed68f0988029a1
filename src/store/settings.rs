//! How to reach a store: what is configured beside its location, and who is to hear of trouble.
//!
//! A directory needs nothing of it. Nothing here reads a configuration or prints.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

use crate::error::Error;
use crate::net::retry::Patience;
use crate::net::{Trust, ssh};
use crate::util::interrupt::Interrupt;
use zeroize::Zeroizing;

/// Who hears of what the user should know although the work goes on: a connection that is
/// being made again, a server that nobody verified.
pub type Notice = Arc<dyn Fn(&Error) + Send + Sync>;

/// How to reach a store. By default nothing is configured and nobody listens.
#[derive(Clone)]
pub struct Settings {
    /// Set when the user wants to stop: nothing is waited for or tried again then.
    pub interrupt: Interrupt,
    /// Who hears of trouble.
    pub notice: Notice,
    /// Where objects on their way to a remote store may be kept in nameless files, so that
    /// they can be sent again. Without one, and where that fails, they are kept in memory.
    pub spool: Option<PathBuf>,
    /// Use at most this many connections at once, instead of what the store thinks best.
    pub connections: Option<usize>,
    /// What lets us into a store that is served over HTTP.
    pub token: Option<Zeroizing<String>>,
    /// Which servers to believe.
    pub trust: Trust,
    /// How long is waited for another machine, and how often it is tried again.
    pub patience: Patience,
    /// How to log in to a server of SSH.
    pub ssh: ssh::Options,
}

impl Default for Settings {
    fn default() -> Settings {
        Settings {
            interrupt: Interrupt::default(),
            notice: Arc::new(|_| {}),
            spool: None,
            connections: None,
            token: None,
            trust: Trust::default(),
            patience: Patience::default(),
            ssh: ssh::Options::default(),
        }
    }
}

/// Tells no secret.
impl fmt::Debug for Settings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Settings")
            .field("spool", &self.spool)
            .field("connections", &self.connections)
            .field("trust", &self.trust)
            .field("ssh", &self.ssh)
            .finish_non_exhaustive()
    }
}

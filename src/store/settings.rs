//! The settings for accessing a store, in addition to its location, and the receiver of warnings.
//!
//! A local directory uses only the receiver of warnings. This module neither reads a configuration nor prints.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

use crate::error::Error;
use crate::net::retry::Patience;
use crate::net::{Trust, ssh};
use crate::util::interrupt::Interrupt;
use zeroize::Zeroizing;

/// Receives warnings that do not stop the operation: a retried connection, an unverified server,
/// stored objects that the owner of the store cannot read.
pub type Notice = Arc<dyn Fn(&Error) + Send + Sync>;

/// The settings for accessing a store. By default nothing is configured and warnings are discarded.
#[derive(Clone)]
pub struct Settings {
    /// The interrupt flag: when it is set, waits and retries end.
    pub interrupt: Interrupt,
    /// Receives warnings.
    pub notice: Notice,
    /// The directory for unnamed files that buffer objects on their way to a remote store, so that
    /// they can be sent again. If it is not set or unusable, other directories or memory are used.
    pub spool: Option<PathBuf>,
    /// The maximum number of concurrent connections. By default the store chooses.
    pub connections: Option<usize>,
    /// The token for a store that is served over HTTP. Secret.
    pub token: Option<Zeroizing<String>>,
    /// How servers are verified.
    pub trust: Trust,
    /// The timeouts and the retry policy for remote stores.
    pub patience: Patience,
    /// The options for SSH servers.
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

/// Omits secrets.
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

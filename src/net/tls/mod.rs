//! TLS 1.2 and 1.3 through rustls: whom to trust, and how to prove who we are.

pub mod client;
pub mod server;

use std::path::PathBuf;

/// Which servers to believe. By default those that the system, or else the built-in list of
/// authorities, vouches for.
#[derive(Clone, Debug, Default)]
pub struct Trust {
    /// Certificates in PEM that are trusted instead.
    pub ca: Option<PathBuf>,
    /// The SHA-256 of the server's public key, in hex: the only one that is believed.
    pub pin: Option<String>,
    /// Believe anyone.
    pub no_verify: bool,
}

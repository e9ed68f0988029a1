//! TLS 1.2 and 1.3 through rustls: verification of servers, and the certificate of a server.

pub mod client;
pub mod server;

use std::path::PathBuf;

/// How a server is verified. By default against the certificate authorities of the system, or the
/// built-in list if the system has none.
#[derive(Clone, Debug, Default)]
pub struct Trust {
    /// A file with certificates in PEM that are trusted instead.
    pub ca: Option<PathBuf>,
    /// The SHA-256 of the public key of the server, in hex. No other key is accepted.
    pub pin: Option<String>,
    /// Disables verification: any server is accepted.
    pub no_verify: bool,
}

//! Locations and connections: bytes on a wire.
//!
//! | subject | module |
//! |---|---|
//! | locations: paths and URLs | [`location`] |
//! | TCP connections with deadlines | [`socket`] |
//! | SSH, and the files of an SFTP server | [`ssh`] |
//! | HTTP/1.1 messages, for client and server | [`http1`] |
//! | the HTTP client, with persistent connections | [`client`] |
//! | contents to send | [`content`] |
//! | retries after a lost connection | [`retry`] |
//! | TLS for client and server: trust and certificates | [`tls`] |
//!
//! This layer does not know what a location stores.

pub mod client;
pub mod content;
pub mod http1;
pub mod location;
pub mod retry;
pub mod socket;
pub mod ssh;
pub mod tls;

pub use tls::Trust;

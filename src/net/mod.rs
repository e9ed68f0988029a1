//! Places on this machine and others, and the bytes that go there.
//!
//! | what | where |
//! |---|---|
//! | where something is | [`location`] |
//! | a connection that nobody can hold up for ever | [`socket`] |
//! | SSH, and the files of a server that speaks it | [`ssh`] |
//! | messages of HTTP/1.1, for both sides | [`http1`] |
//! | requests over HTTP, on connections that are kept | [`client`] |
//! | what is done about a connection that was lost | [`retry`] |
//! | TLS, for both sides: what is trusted, and what proves who we are | [`tls`] |
//!
//! Nothing here knows what is kept at a place.

pub mod client;
pub mod http1;
pub mod location;
pub mod retry;
pub mod socket;
pub mod ssh;
pub mod tls;

pub use tls::Trust;

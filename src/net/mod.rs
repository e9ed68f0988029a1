//! Places on this machine and others, and the bytes that go there.
//!
//! | what | where |
//! |---|---|
//! | where something is | [`location`] |
//! | a connection that nobody can hold up for ever | [`socket`] |
//! | messages of HTTP/1.1, for both sides | [`http1`] |
//! | TLS, for both sides: what is trusted, and what proves who we are | [`tls`] |
//!
//! Nothing here knows what is kept at a place.

pub mod http1;
pub mod location;
pub mod socket;
pub mod tls;

pub use tls::Trust;

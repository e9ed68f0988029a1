//! The server side of TLS, which presents a certificate.
//!
//! The cryptographic provider is passed explicitly instead of being set for the process, so that no
//! other part uses it by accident. Clients present no certificate: they authenticate by tokens.

use std::io::{self, BufRead, Read, Write};
use std::path::Path;
use std::sync::Arc;

use rustls::client::verify_server_name;
use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::server::ParsedCertificate;
use rustls::version::{TLS12, TLS13};
use rustls::{ServerConfig, ServerConnection, StreamOwned};

use crate::error::{During, Error, Kind, Result};
use crate::net::socket::{Limit, Socket};

/// The only application protocol offered (RFC 7301).
const PROTOCOL: &[u8] = b"http/1.1";

/// A certificate with its private key, for any number of connections.
#[derive(Clone, Debug)]
pub struct Identity {
    config: Arc<ServerConfig>,
    certificate: Option<CertificateDer<'static>>,
}

impl Identity {
    /// Reads a certificate chain, the certificate of the server first, and its private key, both in
    /// PEM.
    ///
    /// # Errors
    /// [`Kind::Unsupported`] if a file contains no certificate or key, or if the key does not
    /// belong to the certificate; the errors of reading the files.
    pub fn read(certificates: &Path, key: &Path) -> Result<Identity> {
        let chain = read_chain(certificates).during(|| certificates.display().to_string())?;
        let secret = PrivateKeyDer::from_pem_file(key).map_err(|cause| wrong(cause, "key"));
        let secret = secret.during(|| key.display().to_string())?;
        let certificate = chain.first().cloned();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let configured = ServerConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&TLS13, &TLS12])
            .and_then(|builder| {
                builder
                    .with_no_client_auth()
                    .with_single_cert(chain, secret)
            });
        let mut config = configured.map_err(|cause| {
            let pair = format!("{} and {}", certificates.display(), key.display());
            Error::new(Kind::Unsupported, cause.to_string().to_lowercase()).during(pair)
        })?;
        config.alpn_protocols = vec![PROTOCOL.to_vec()];
        Ok(Identity {
            config: Arc::new(config),
            certificate,
        })
    }

    /// Whether the certificate is valid for `host`, a name or an address.
    pub fn is_for(&self, host: &str) -> bool {
        let certificate = self.certificate.as_ref();
        let parsed = certificate.map(ParsedCertificate::try_from);
        match (parsed, ServerName::try_from(host)) {
            (Some(Ok(certificate)), Ok(name)) => verify_server_name(&certificate, &name).is_ok(),
            _ => false,
        }
    }
}

fn read_chain(path: &Path) -> Result<Vec<CertificateDer<'static>>> {
    let certificates = CertificateDer::pem_file_iter(path);
    let certificates = certificates.map_err(|cause| wrong(cause, "certificate"))?;
    let chain: Result<Vec<_>, pem::Error> = certificates.collect();
    match chain.map_err(|cause| wrong(cause, "certificate"))? {
        chain if chain.is_empty() => Err(wrong(pem::Error::NoItemsFound, "certificate")),
        chain => Ok(chain),
    }
}

/// Converts the error of a file without a `what` in PEM.
fn wrong(cause: pem::Error, what: &str) -> Error {
    match cause {
        pem::Error::Io(cause) => cause.into(),
        _ => Error::new(Kind::Unsupported, format!("it holds no {what} in PEM")),
    }
}

/// An encrypted connection to a client.
pub struct Stream(StreamOwned<ServerConnection, Socket>);

impl Stream {
    /// Performs the handshake with the client at the other end of `socket`, within `limit`.
    pub fn accept(identity: &Identity, mut socket: Socket, limit: Limit) -> io::Result<Stream> {
        let connection = ServerConnection::new(identity.config.clone());
        let mut connection = connection.map_err(io::Error::other)?;
        socket.set_limit(limit);
        while connection.is_handshaking() {
            if let (0, 0) = connection.complete_io(&mut socket)? {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
        Ok(Stream(StreamOwned::new(connection, socket)))
    }

    /// The underlying socket.
    pub fn socket(&mut self) -> &mut Socket {
        &mut self.0.sock
    }

    /// Waits for bytes without consuming them. Returns false at the end of the stream.
    pub fn await_bytes(&mut self) -> io::Result<bool> {
        self.0.fill_buf().map(|bytes| !bytes.is_empty())
    }

    /// Sends a close notification. Without it the client could not distinguish the end of the
    /// stream from a connection that an attacker has cut.
    pub fn close(&mut self) {
        self.0.conn.send_close_notify();
        // The client may have disconnected already.
        let _ = self.0.conn.complete_io(&mut self.0.sock);
    }
}

impl Read for Stream {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        self.0.read(into)
    }
}

impl Write for Stream {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

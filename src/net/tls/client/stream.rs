//! A byte stream over TLS.
//!
//! The stream of rustls writes pending data before it reads. That is unsuitable here: a server that
//! rejects an upload sends a response and closes the connection, and this response must be readable
//! after a write has failed.

use std::io::{self, ErrorKind, Read, Write};
use std::sync::Arc;

use rustls::pki_types::ServerName;
use rustls::{AlertDescription, ClientConfig, ClientConnection, Error as TlsError, InvalidMessage};
use rustls::{CertificateError, OtherError};

use crate::error::{Error, Kind};
use crate::net::socket::Socket;

/// A connection after its handshake.
#[derive(Debug)]
pub struct Stream {
    tls: ClientConnection,
    socket: Socket,
}

/// Performs the handshake with the server `host` over `socket`, within the limit of the socket.
///
/// # Errors
/// [`Kind::Denied`] if the certificate is rejected; [`Kind::Unsupported`] if the server does not
/// speak TLS or has no version or cipher in common; [`Kind::Unavailable`] if the connection is
/// lost.
pub fn handshake(
    config: &Arc<ClientConfig>,
    host: &str,
    mut socket: Socket,
) -> Result<Stream, Error> {
    // The zone of a link-local address is not part of the name.
    let name = host.split('%').next().unwrap_or_default().to_owned();
    let no_name = |_| Error::usage(format!("{host} is not a name that a certificate can have"));
    let name = ServerName::try_from(name).map_err(no_name)?;
    let tls = ClientConnection::new(config.clone(), name);
    let mut tls = tls.map_err(|cause| in_words(&cause))?;
    while tls.is_handshaking() {
        while tls.wants_write() {
            tls.write_tls(&mut socket).map_err(lost)?;
        }
        if tls.is_handshaking() && tls.read_tls(&mut socket).map_err(lost)? == 0 {
            return Err(lost(ErrorKind::UnexpectedEof.into()));
        }
        if let Err(cause) = tls.process_new_packets() {
            // Sends an alert with the reason, if the server still reads.
            let _ = tls.write_tls(&mut socket);
            return Err(in_words(&cause));
        }
    }
    let mut stream = Stream { tls, socket };
    stream.send().map_err(lost)?;
    Ok(stream)
}

fn lost(cause: io::Error) -> Error {
    let words = match cause.kind() {
        ErrorKind::UnexpectedEof => "the connection ended during the TLS handshake".to_owned(),
        ErrorKind::TimedOut => "the TLS handshake took too long".to_owned(),
        _ => Error::from(cause).to_string(),
    };
    Error::new(Kind::Unavailable, words)
}

/// Converts an error of rustls.
fn in_words(cause: &TlsError) -> Error {
    let unsupported = |words: String| Error::new(Kind::Unsupported, words);
    match cause {
        TlsError::InvalidCertificate(CertificateError::Other(OtherError(cause))) => {
            Error::new(Kind::Denied, cause.to_string())
        }
        TlsError::InvalidCertificate(cause) => {
            Error::new(Kind::Denied, format!("the server's certificate: {cause}"))
        }
        TlsError::InvalidMessage(InvalidMessage::InvalidContentType) => {
            unsupported("it does not speak TLS: is it at an http:// location?".to_owned())
        }
        TlsError::AlertReceived(AlertDescription::ProtocolVersion)
        | TlsError::PeerIncompatible(_) => {
            unsupported("it does not speak TLS 1.2 or 1.3 as we do".to_owned())
        }
        TlsError::AlertReceived(alert) => {
            unsupported(format!("the server refuses the TLS handshake ({alert:?})"))
        }
        cause => unsupported(format!("TLS: {cause}")),
    }
}

impl Stream {
    /// The underlying socket.
    pub fn socket(&mut self) -> &mut Socket {
        &mut self.socket
    }

    /// Processes the bytes available at the socket, and waits if there are none. Returns whether
    /// application data can be read.
    pub fn take_in(&mut self) -> io::Result<bool> {
        self.receive()?;
        let state = self.tls.process_new_packets().map_err(io::Error::other)?;
        Ok(state.plaintext_bytes_to_read() > 0 || state.peer_has_closed())
    }

    /// Reads and processes TLS records.
    fn receive(&mut self) -> io::Result<()> {
        self.tls.read_tls(&mut self.socket)?;
        self.tls.process_new_packets().map_err(io::Error::other)?;
        Ok(())
    }

    /// Writes the pending TLS records.
    fn send(&mut self) -> io::Result<()> {
        while self.tls.wants_write() {
            self.tls.write_tls(&mut self.socket)?;
        }
        Ok(())
    }
}

impl Read for Stream {
    /// Returns [`ErrorKind::UnexpectedEof`] if the stream ends without a close notification,
    /// because an attacker may have cut the connection.
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        loop {
            match self.tls.reader().read(into) {
                Err(cause) if cause.kind() == ErrorKind::WouldBlock => self.receive()?,
                outcome => return outcome,
            }
            // Sends responses to key updates. An error shows at the next write.
            let _ = self.send();
        }
    }
}

impl Write for Stream {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.tls.writer().write(bytes)?;
        self.send()?;
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.send()
    }
}

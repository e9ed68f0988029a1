//! The client side of TLS: verification of the server, and a stream.
//!
//! The first of these settings that is configured determines the verification:
//!
//! | setting | a server is accepted if |
//! |---|---|
//! | [`Trust::no_verify`] | always |
//! | [`Trust::pin`] | the SHA-256 of its public key equals the pin, whatever else the certificate contains |
//! | [`Trust::ca`] | an authority in the file signed its certificate for this name, or the file contains it |
//! | none | as above, with the authorities of the system, or the built-in ones if it has none |
//!
//! In every case the server must have the private key: rustls verifies the signature of the
//! handshake. Revocation is not checked, as in other command-line clients: after the loss of a key,
//! the user changes the pin or the authority.
//!
//! The error for a rejected certificate includes the pin that would accept it, so that the operator
//! of the server can compare both.

mod pin;
mod stream;

use std::fs;
use std::path::Path;
use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{WebPkiServerVerifier, verify_server_name};
use rustls::crypto::{CryptoProvider, aws_lc_rs, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::{CertificateError, ClientConfig, DigitallySignedStruct, OtherError, RootCertStore};
use rustls::{Error as TlsError, SignatureScheme};

use super::Trust;
use crate::error::{During, Error, Kind, Result};
use crate::util::human;

pub use pin::Pin;
pub use stream::{Stream, handshake};

/// The maximum size of a file of authorities, which is read into memory. The file of a whole system
/// has a quarter of this.
const CA_LIMIT_BYTES: u64 = 2 << 20;

/// Creates the configuration that all connections of a client share.
///
/// # Errors
/// [`Kind::Usage`] for a malformed pin; the errors of reading [`Trust::ca`].
pub fn config(trust: &Trust) -> Result<Arc<ClientConfig>> {
    let provider = Arc::new(aws_lc_rs::default_provider());
    let verifier = Verifier {
        reason: Reason::new(trust, &provider)?,
        provider: provider.clone(),
    };
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|cause| Error::new(Kind::Failed, cause.to_string()))?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(verifier))
        .with_no_client_auth();
    Ok(Arc::new(config))
}

/// How a server is verified.
#[derive(Debug)]
enum Reason {
    Anyone,
    Pin(Pin),
    Authorities {
        usual: Arc<WebPkiServerVerifier>,
        /// The certificates of the configured file, without those of the system: one of them may be
        /// the certificate of the server itself.
        given: Vec<CertificateDer<'static>>,
    },
}

impl Reason {
    fn new(trust: &Trust, provider: &Arc<CryptoProvider>) -> Result<Reason> {
        if trust.no_verify {
            return Ok(Reason::Anyone);
        }
        if let Some(text) = &trust.pin {
            return text.parse().map(Reason::Pin).during(|| "tls_pin");
        }
        let (roots, given) = match &trust.ca {
            Some(path) => given(path).during(|| format!("tls_ca: {}", path.display()))?,
            None => (system_roots(), Vec::new()),
        };
        let usual =
            WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider.clone()).build();
        let failed = |cause| Error::new(Kind::Failed, format!("authorities to trust: {cause}"));
        let usual = usual.map_err(failed)?;
        Ok(Reason::Authorities { usual, given })
    }
}

/// Returns the authorities of the system, or the built-in ones if the system has none.
fn system_roots() -> RootCertStore {
    let mut roots = RootCertStore::empty();
    // A certificate that cannot be parsed is skipped.
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    if roots.is_empty() {
        roots.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned());
    }
    roots
}

/// Reads the certificates in the file at `path`.
fn given(path: &Path) -> Result<(RootCertStore, Vec<CertificateDer<'static>>)> {
    if fs::metadata(path)?.len() > CA_LIMIT_BYTES {
        let limit = human::size(CA_LIMIT_BYTES);
        return Err(Error::new(Kind::Unsupported, format!("more than {limit}")));
    }
    let unusable = |why: &str| Error::new(Kind::Unsupported, why);
    let given: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&fs::read(path)?).collect();
    let given = given.map_err(|_| unusable("that is not PEM"))?;
    let mut roots = RootCertStore::empty();
    for certificate in &given {
        let added = roots.add(certificate.clone());
        added.map_err(|_| unusable("a certificate in it cannot be understood"))?;
    }
    match given.is_empty() {
        true => Err(unusable("it contains no certificate")),
        false => Ok((roots, given)),
    }
}

/// Verifies servers according to `reason`.
#[derive(Debug)]
struct Verifier {
    reason: Reason,
    provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        leaf: &CertificateDer<'_>,
        between: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, TlsError> {
        let seen = Pin::of(leaf)?;
        match &self.reason {
            Reason::Anyone => Ok(ServerCertVerified::assertion()),
            Reason::Pin(wanted) if *wanted == seen => Ok(ServerCertVerified::assertion()),
            Reason::Pin(_) => Err(refused(format!(
                "the server has another key than tls_pin says: its pin is {seen}"
            ))),
            Reason::Authorities { usual, given } => {
                let outcome = usual.verify_server_cert(leaf, between, name, ocsp, now);
                match outcome {
                    Err(cause) if is_own_authority(&cause) && given.contains(leaf) => {
                        verify_server_name(&ParsedCertificate::try_from(leaf)?, name)
                            .map(|()| ServerCertVerified::assertion())
                    }
                    outcome => outcome,
                }
                .map_err(|cause| refused(reasons(&cause, !given.is_empty(), &seen)))
            }
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        leaf: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, TlsError> {
        let known = &self.provider.signature_verification_algorithms;
        verify_tls12_signature(message, leaf, signed, known)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        leaf: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, TlsError> {
        let known = &self.provider.signature_verification_algorithms;
        verify_tls13_signature(message, leaf, signed, known)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        let known = &self.provider.signature_verification_algorithms;
        known.supported_schemes()
    }
}

/// Whether a certificate is rejected only because it is that of an authority, as `openssl req
/// -x509` creates it. Its dates have already been verified.
fn is_own_authority(cause: &TlsError) -> bool {
    match cause {
        TlsError::InvalidCertificate(CertificateError::Other(OtherError(cause))) => {
            cause.to_string() == "CaUsedAsEndEntity"
        }
        _ => false,
    }
}

/// Wraps a message so that [`handshake`] can return it.
fn refused(words: String) -> TlsError {
    let error = Error::new(Kind::Denied, words);
    TlsError::InvalidCertificate(CertificateError::Other(OtherError(Arc::new(error))))
}

/// Explains why a certificate was rejected, and how to accept it.
fn reasons(cause: &TlsError, is_given: bool, seen: &Pin) -> String {
    use CertificateError as C;
    let TlsError::InvalidCertificate(cause) = cause else {
        return format!("the server's certificate cannot be used: {cause}");
    };
    let why = match cause {
        C::Expired | C::ExpiredContext { .. } => "has expired".to_owned(),
        C::NotValidYet | C::NotValidYetContext { .. } => {
            "is not valid yet (is the clock right?)".to_owned()
        }
        C::NotValidForName => "is for another name".to_owned(),
        C::NotValidForNameContext { presented, .. } => names(presented),
        // An authority with the same name but another key.
        C::UnknownIssuer | C::BadSignature if is_given => {
            "is not signed by an authority in tls_ca".to_owned()
        }
        C::UnknownIssuer => "is signed by an unknown authority".to_owned(),
        C::Other(_) if is_own_authority(&TlsError::InvalidCertificate(cause.clone())) => {
            "is one of an authority".to_owned()
        }
        cause => format!("cannot be used ({cause})"),
    };
    let hint = match is_given {
        true => "",
        false => "set tls_ca to its authority, or ",
    };
    format!("the server's certificate {why}: {hint}set tls_pin={seen} if that is its key")
}

/// Formats names: `is for nas.lan and 2 other names`.
fn names(presented: &[String]) -> String {
    // A certificate may contain arbitrary characters.
    let clean = |name: &String| -> String {
        let letters = name.chars().filter(char::is_ascii_graphic);
        letters.take(80).collect()
    };
    match presented {
        [] => "names no host".to_owned(),
        [only] => format!("is for another name, {}", clean(only)),
        [first, others @ ..] => format!(
            "is for other names, {} and {} more",
            clean(first),
            others.len()
        ),
    }
}

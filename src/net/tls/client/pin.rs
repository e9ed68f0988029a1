//! A pin: the SHA-256 of the public key in a certificate (RFC 7469, section 2.4).
//!
//! It remains the same when a certificate is renewed for the same key. Several formats are
//! accepted: hex in either case, with or without colons, with or without the prefix `sha256:`; and
//! the format of curl, `sha256//` and base64.

use std::fmt;
use std::str::FromStr;

use aws_lc_rs::digest::{SHA256, digest};
use rustls::Error as TlsError;
use rustls::pki_types::CertificateDer;
use rustls::server::ParsedCertificate;

use crate::error::{Error, Kind};
use crate::util::base64;

/// The length of a SHA-256 hash.
const PIN_BYTES: usize = 32;

/// The SHA-256 of a SubjectPublicKeyInfo.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pin([u8; PIN_BYTES]);

impl Pin {
    /// Computes the pin of the key in `certificate`.
    ///
    /// # Errors
    /// If the certificate cannot be parsed.
    pub fn of(certificate: &CertificateDer<'_>) -> Result<Pin, TlsError> {
        let key = ParsedCertificate::try_from(certificate)?.subject_public_key_info();
        let mut pin = [0; PIN_BYTES];
        pin.copy_from_slice(digest(&SHA256, &key).as_ref());
        Ok(Pin(pin))
    }
}

/// Formats the pin in lower-case hex.
impl fmt::Display for Pin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl FromStr for Pin {
    type Err = Error;

    fn from_str(text: &str) -> Result<Pin, Error> {
        let text = text.trim();
        let bytes = match text.strip_prefix("sha256//") {
            Some(coded) => from_base64(coded),
            None => hex(text.strip_prefix("sha256:").unwrap_or(text)),
        };
        let pin = bytes.and_then(|bytes| bytes.try_into().ok());
        let words = "it is the SHA-256 of a public key: 64 digits in hex, or sha256// and base64";
        pin.map(Pin).ok_or_else(|| Error::new(Kind::Usage, words))
    }
}

/// Decodes pairs of hex digits. Colons are ignored.
fn hex(text: &str) -> Option<Vec<u8>> {
    let digits = text.bytes().filter(|letter| *letter != b':');
    let digits: Option<Vec<u32>> = digits.map(|digit| char::from(digit).to_digit(16)).collect();
    let digits = digits.filter(|digits| digits.len() == 2 * PIN_BYTES)?;
    let pairs = digits.chunks_exact(2);
    Some(pairs.map(|pair| ((pair[0] << 4) | pair[1]) as u8).collect())
}

/// Decodes base64 with optional padding. Only the canonical encoding is accepted: a second encoding
/// of the same pin would be harmless, but a typo is not.
fn from_base64(text: &str) -> Option<Vec<u8>> {
    let letters = text.strip_suffix('=').unwrap_or(text);
    base64::decode(letters).filter(|bytes| base64::encode_unpadded(bytes) == letters)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_spelling_is_the_same_pin() {
        let pin = Pin(std::array::from_fn(|n| (n * 7 + 3) as u8));
        let hex = pin.to_string();
        let pairs: Vec<&str> = (0..PIN_BYTES).map(|n| &hex[2 * n..2 * n + 2]).collect();
        // Encoded by `xxd -r -p | base64`.
        let coded = "AwoRGB8mLTQ7QklQV15lbHN6gYiPlp2kq7K5wMfO1dw=";
        for spelling in [
            hex.clone(),
            hex.to_uppercase(),
            format!("sha256:{hex}"),
            pairs.join(":"),
            format!("sha256//{coded}"),
            format!(" sha256//{}\n", coded.trim_end_matches('=')),
        ] {
            assert_eq!(spelling.parse::<Pin>().unwrap(), pin, "{spelling}");
        }
    }

    #[test]
    fn what_is_no_pin_is_refused() {
        for text in [
            "",
            "ab",
            &"0".repeat(63),
            &"0".repeat(65),
            &"g".repeat(64),
            "sha256//AwoRGB8m",
            &format!("sha256//{}", "/".repeat(43)),
            &format!("sha256//{}", "-".repeat(43)),
            &format!("sha1:{}", "0".repeat(40)),
            &"é".repeat(32),
        ] {
            assert_eq!(
                text.parse::<Pin>().unwrap_err().kind(),
                Kind::Usage,
                "{text}"
            );
        }
    }
}

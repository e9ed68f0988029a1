//! Authentication and authorization: tokens, and how requests carry them.
//!
//! The server knows only the hashes of the tokens. Each request is compared with every hash, each
//! in constant time, so that the response time reveals nothing about them. A token consists of 32
//! random bytes and cannot be guessed, so a fast hash is sufficient.

use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

use crate::net::http1::Headers;
use crate::util::base64;

/// The permissions of a token. Each role includes the permissions of the previous ones.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Role {
    /// Read objects.
    Read,
    /// Read and add objects.
    Append,
    /// Read, add and delete objects, if the server allows deletion at all.
    Full,
}

impl Role {
    /// All roles, in ascending order.
    pub const ALL: [Role; 3] = [Role::Read, Role::Append, Role::Full];

    /// The name in configuration and messages.
    pub fn word(self) -> &'static str {
        match self {
            Role::Read => "read",
            Role::Append => "append",
            Role::Full => "full",
        }
    }

    /// Returns the role with the name `word`.
    pub fn find(word: &str) -> Option<Role> {
        Role::ALL.into_iter().find(|role| role.word() == word)
    }

    /// Returns the role that the HTTP method `verb` requires.
    pub(super) fn needed(verb: &str) -> Role {
        match verb {
            "GET" | "HEAD" => Role::Read,
            "PUT" => Role::Append,
            _ => Role::Full,
        }
    }
}

/// An issued token, of which only the hash is known.
#[derive(Clone, Debug)]
pub struct Token {
    /// The name of its owner.
    pub name: String,
    /// The permissions of its owner.
    pub role: Role,
    /// The BLAKE3 hash of its text.
    pub hash: [u8; 32],
}

/// Which clients are admitted.
#[derive(Clone, Debug, Default)]
pub enum Access {
    /// All clients, with all permissions.
    #[default]
    Anyone,
    /// Clients with one of these tokens.
    Tokens(Vec<Token>),
}

/// An admitted client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Visitor {
    /// The name of the token, if one is required.
    pub(super) name: Option<String>,
    pub(super) role: Role,
}

impl Access {
    /// Authenticates the client by its header fields. Returns `None` if it is not admitted.
    pub(super) fn admits(&self, headers: &Headers) -> Option<Visitor> {
        let Access::Tokens(tokens) = self else {
            return Some(Visitor {
                name: None,
                role: Role::Full,
            });
        };
        let given = headers
            .only("authorization")
            .ok()
            .flatten()
            .and_then(given)?;
        let hash = blake3::hash(&given);
        let mut found = None;
        // All tokens are compared, even after a match, so that the time is constant.
        for token in tokens {
            if bool::from(token.hash.ct_eq(hash.as_bytes())) {
                found = Some(token);
            }
        }
        found.map(|token| Visitor {
            name: Some(token.name.clone()),
            role: token.role,
        })
    }
}

/// Extracts the token of a header field: after `Bearer` (RFC 6750), or the password after `Basic`
/// (RFC 7617).
fn given(field: &str) -> Option<Zeroizing<Vec<u8>>> {
    let (scheme, rest) = field.split_once(' ')?;
    let rest = rest.trim();
    if scheme.eq_ignore_ascii_case("bearer") {
        return Some(Zeroizing::new(rest.as_bytes().to_vec()));
    }
    if !scheme.eq_ignore_ascii_case("basic") {
        return None;
    }
    let both = Zeroizing::new(base64::decode(rest)?);
    let colon = both.iter().position(|byte| *byte == b':')?;
    Some(Zeroizing::new(both.get(colon + 1..)?.to_vec()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base64_is_that_of_the_rfc() {
        for (text, expected) in [
            ("", ""),
            ("Zg==", "f"),
            ("Zm8=", "fo"),
            ("Zm9v", "foo"),
            ("Zm9vYg==", "foob"),
            ("Zm9vYmE=", "fooba"),
            ("Zm9vYmFy", "foobar"),
            ("Zm9vYg", "foob"),
        ] {
            assert_eq!(
                base64::decode(text).as_deref(),
                Some(expected.as_bytes()),
                "{text}"
            );
        }
        for text in ["Z", "Zm9vY", "Zm9v!", "=Zm8", "Zm 9v"] {
            assert_eq!(base64::decode(text), None, "{text}");
        }
    }

    #[test]
    fn tokens_come_in_two_ways() {
        let text = |field| given(field).map(|token| String::from_utf8(token.to_vec()).unwrap());
        assert_eq!(text("Bearer abc").as_deref(), Some("abc"));
        assert_eq!(text("basic dXNlcjphOmI=").as_deref(), Some("a:b"));
        assert_eq!(text("Basic dXNlcg==").as_deref(), None);
        assert_eq!(text("Digest abc").as_deref(), None);
        assert_eq!(text("abc").as_deref(), None);
    }

    #[test]
    fn roles_add_up() {
        for (verb, role) in [
            ("GET", Role::Read),
            ("HEAD", Role::Read),
            ("PUT", Role::Append),
        ] {
            assert_eq!(Role::needed(verb), role);
        }
        assert_eq!(Role::needed("DELETE"), Role::Full);
        assert!(Role::Read < Role::Append && Role::Append < Role::Full);
        assert_eq!(Role::find("full"), Some(Role::Full));
        assert_eq!(Role::find("Full"), None);
    }
}

//! Who may do what: tokens, and how requests carry them.
//!
//! Of a token only the hash is known here. Each request is compared with every hash, each in
//! constant time, so that how long an answer takes tells nothing about any of them. A token is
//! 32 random bytes, so a plain hash is as good as a slow one: there is nothing to guess.

use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

use crate::net::http1::Headers;
use crate::util::base64;

/// What somebody may do. Each role may do what those before it may.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Role {
    /// Read.
    Read,
    /// And add objects.
    Append,
    /// And delete objects, if the server lets anyone.
    Full,
}

impl Role {
    /// Every role.
    pub const ALL: [Role; 3] = [Role::Read, Role::Append, Role::Full];

    /// What people call it.
    pub fn word(self) -> &'static str {
        match self {
            Role::Read => "read",
            Role::Append => "append",
            Role::Full => "full",
        }
    }

    /// The role that is called `word`.
    pub fn find(word: &str) -> Option<Role> {
        Role::ALL.into_iter().find(|role| role.word() == word)
    }

    /// The role that it takes to ask for something with `verb`.
    pub(super) fn needed(verb: &str) -> Role {
        match verb {
            "GET" | "HEAD" => Role::Read,
            "PUT" => Role::Append,
            _ => Role::Full,
        }
    }
}

/// A token that somebody was given.
#[derive(Clone, Debug)]
pub struct Token {
    /// Who it was given to.
    pub name: String,
    /// What they may do.
    pub role: Role,
    /// The BLAKE3 of its text.
    pub hash: [u8; 32],
}

/// Who is let in.
#[derive(Clone, Debug, Default)]
pub enum Access {
    /// Everybody, to do everything.
    #[default]
    Anyone,
    /// Those with one of these tokens.
    Tokens(Vec<Token>),
}

/// Somebody who was let in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Visitor {
    /// The name of the token, if one was needed.
    pub(super) name: Option<String>,
    pub(super) role: Role,
}

impl Access {
    /// Who sends `headers`; nothing if they are not let in.
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
        // All of them, whether or not one was found.
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

/// The token in a field: after `Bearer` (RFC 6750), or the password after `Basic` (RFC 7617).
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

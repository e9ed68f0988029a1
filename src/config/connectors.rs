//! The table of connectors, their roles in this version, and their options.
//!
//! Names are checked against this table when they are configured and when they are used, and `pkg`
//! and the manual describe its contents. A connector can be known but not implemented: then it can
//! be configured, but opening it is an error.
//!
//! This module opens nothing.

use std::ops::RangeInclusive;

use super::Role;

/// The type of an option.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Shape {
    /// Arbitrary text.
    Text,
    /// Text that is never shown.
    Secret,
    /// A local path.
    Path,
    /// A command line for `sh -c`.
    Command,
    /// `true` or `false`.
    Switch,
    /// An integer in this range.
    Number(RangeInclusive<i64>),
}

/// One option of a connector.
#[derive(Clone, Debug)]
pub struct Known {
    /// The key in the file.
    pub name: &'static str,
    /// Other keys with the same meaning.
    pub synonyms: &'static [&'static str],
    /// The type of the value.
    pub shape: Shape,
    /// The description: a phrase in lower case, without a final period.
    pub about: &'static str,
}

impl Known {
    const fn new(name: &'static str, shape: Shape, about: &'static str) -> Known {
        Known {
            name,
            synonyms: &[],
            shape,
            about,
        }
    }

    const fn also(self, synonyms: &'static [&'static str]) -> Known {
        Known { synonyms, ..self }
    }

    /// Whether `key` is the name or a synonym of this option.
    pub fn is(&self, key: &str) -> bool {
        self.name == key || self.synonyms.contains(&key)
    }
}

/// One type of places and how to access them.
#[derive(Clone, Debug)]
pub struct Connector {
    /// The name of the connector.
    pub name: &'static str,
    /// The description: a phrase in lower case, without a final period.
    pub about: &'static str,
    /// The schemes of its locations, without `:`.
    pub schemes: &'static [&'static str],
    /// The version. For a built-in connector, that of the program.
    pub version: &'static str,
    /// The roles that can be configured for it.
    pub roles: &'static [Role],
    /// The roles that this version implements, a subset of `roles`.
    pub serves: &'static [Role],
    /// Options for all roles.
    options: &'static [Known],
    /// Additional options of sources.
    source_options: &'static [Known],
}

impl Connector {
    /// All options for `role`, including those common to all stores.
    pub fn options(&self, role: Role) -> impl Iterator<Item = &'static Known> + Clone + use<> {
        let of_role = match role {
            Role::Store => STORE_OPTIONS,
            Role::Source => self.source_options,
            Role::Destination => &[],
        };
        self.options.iter().chain(of_role)
    }

    /// The option `key` for `role`.
    pub fn option(&self, role: Role, key: &str) -> Option<&'static Known> {
        self.options(role).find(|known| known.is(key))
    }
}

/// The connector for locations with `scheme`.
pub fn of_scheme(scheme: &str) -> Option<&'static Connector> {
    let speaks = |connector: &&Connector| connector.schemes.contains(&scheme);
    CONNECTORS.iter().find(speaks)
}

const VERSION: &str = env!("CARGO_PKG_VERSION");

/// Options of all stores.
const STORE_OPTIONS: &[Known] = &[
    Known::new("passphrase", Shape::Secret, "the passphrase of the store"),
    Known::new(
        "passphrase_cmd",
        Shape::Command,
        "a command that prints the passphrase on its first line",
    ),
    Known::new(
        "keyfile",
        Shape::Path,
        "a file with the passphrase on its first line",
    ),
];

const EXCLUDE_CACHES: Known = Known::new(
    "exclude_caches",
    Shape::Switch,
    "leave out what is marked by CACHEDIR.TAG",
);

const TRUST_BASE: Known = Known::new(
    "trust_base",
    Shape::Switch,
    "compare files with snapshots that this machine did not create",
);

const FS_SOURCE_OPTIONS: &[Known] = &[
    Known::new(
        "one_file_system",
        Shape::Switch,
        "stay on the file system of each place",
    )
    .also(&["dont_traverse_fs"]),
    EXCLUDE_CACHES,
    Known::new(
        "ignore_inode",
        Shape::Switch,
        "do not detect changed files by inode number",
    ),
    Known::new(
        "ignore_ctime",
        Shape::Switch,
        "do not detect changed files by ctime",
    ),
    TRUST_BASE,
];

const SFTP_OPTIONS: &[Known] = &[
    Known::new("username", Shape::Text, "who to log in as"),
    Known::new("port", Shape::Number(1..=65535), "the port of the server"),
    Known::new("identity", Shape::Path, "the private key to log in with"),
    Known::new("known_hosts", Shape::Path, "the keys of servers to trust"),
    Known::new("ssh_config", Shape::Path, "a configuration of ssh to read"),
    Known::new(
        "insecure_ignore_host_key",
        Shape::Switch,
        "trust any server: a man in the middle can read and change everything",
    ),
    Known::new(
        "connections",
        Shape::Number(1..=64),
        "use at most this many connections",
    ),
];

/// The options of a directory that apply to SFTP, which reports neither inodes nor file systems.
const SFTP_SOURCE_OPTIONS: &[Known] = &[EXCLUDE_CACHES, TRUST_BASE];

const HTTP_OPTIONS: &[Known] = &[
    Known::new("auth_token", Shape::Secret, "the token that lets us in"),
    Known::new(
        "auth_token_cmd",
        Shape::Command,
        "a command that prints the token on its first line",
    ),
    Known::new("tls_ca", Shape::Path, "certificates to trust, in PEM"),
    Known::new(
        "tls_pin",
        Shape::Text,
        "the SHA-256 of the server's public key, the only one to trust",
    ),
    Known::new(
        "tls_no_verify",
        Shape::Switch,
        "trust any server: a man in the middle can change everything",
    ),
    Known::new(
        "connections",
        Shape::Number(1..=64),
        "use at most this many connections",
    ),
];

/// All connectors, in the order of listings.
pub static CONNECTORS: &[Connector] = &[
    Connector {
        name: "fs",
        about: "directories of this machine",
        schemes: &["fs", "file"],
        version: VERSION,
        roles: &Role::ALL,
        serves: &Role::ALL,
        options: &[],
        source_options: FS_SOURCE_OPTIONS,
    },
    Connector {
        name: "sftp",
        about: "directories of a machine that is reached by SSH",
        schemes: &["sftp"],
        version: VERSION,
        roles: &Role::ALL,
        serves: &Role::ALL,
        options: SFTP_OPTIONS,
        source_options: SFTP_SOURCE_OPTIONS,
    },
    Connector {
        name: "http",
        about: "stores that plakar server serves",
        schemes: &["http", "https"],
        version: VERSION,
        roles: &[Role::Store],
        serves: &[Role::Store],
        options: HTTP_OPTIONS,
        source_options: &[],
    },
];

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn the_table_is_consistent() {
        let mut schemes = BTreeSet::new();
        for connector in CONNECTORS {
            assert!(
                connector
                    .schemes
                    .iter()
                    .all(|scheme| schemes.insert(*scheme))
            );
            let serves = |role: &&Role| connector.roles.contains(role);
            assert_eq!(
                connector.serves.iter().filter(serves).count(),
                connector.serves.len()
            );
            for role in Role::ALL {
                let mut keys = BTreeSet::from(["location"]);
                for known in connector.options(role) {
                    assert!(keys.insert(known.name) && !known.about.ends_with('.'));
                    assert!(known.synonyms.iter().all(|key| keys.insert(key)));
                }
            }
        }
    }

    #[test]
    fn every_store_takes_a_passphrase_and_no_source_does() {
        for connector in CONNECTORS {
            assert!(connector.option(Role::Store, "passphrase").is_some());
            assert!(connector.option(Role::Source, "passphrase").is_none());
        }
        let fs = of_scheme("file").unwrap();
        assert!(fs.option(Role::Source, "dont_traverse_fs").is_some());
        assert!(fs.option(Role::Store, "one_file_system").is_none());
        assert!(of_scheme("s3").is_none());
    }
}

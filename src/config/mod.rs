//! What a person keeps by name: stores, sources, destinations and policies.
//!
//! Each [`Section`] is one TOML file in the configuration directory, `plakar.conf(5)`, that
//! people edit by hand as well as by command: a table for each name, and `default` beside
//! them.
//!
//! | file | what it is |
//! |---|---|
//! | [`connectors`] | which connectors there are, and their options |
//! | [`entries`] | what a file says |
//! | `file` | bytes from the disk |
//!
//! Nothing here connects to a place, asks anybody or prints.

pub mod connectors;
pub mod edit;
pub mod entries;
mod file;

use std::path::{Path, PathBuf};

use crate::error::{During, Result};
use entries::Entries;

/// What a connector can be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Role {
    /// Where objects are kept.
    Store,
    /// Where files are read from.
    Source,
    /// Where files are restored to.
    Destination,
}

impl Role {
    /// Every role.
    pub const ALL: [Role; 3] = [Role::Store, Role::Source, Role::Destination];

    /// What people call it.
    pub fn word(self) -> &'static str {
        match self {
            Role::Store => "store",
            Role::Source => "source",
            Role::Destination => "destination",
        }
    }
}

/// What one file is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Section {
    /// `stores.toml`.
    Stores,
    /// `sources.toml`.
    Sources,
    /// `destinations.toml`.
    Destinations,
    /// `policies.toml`.
    Policies,
}

impl Section {
    /// The name of the file.
    pub fn file_name(self) -> &'static str {
        match self {
            Section::Stores => "stores.toml",
            Section::Sources => "sources.toml",
            Section::Destinations => "destinations.toml",
            Section::Policies => "policies.toml",
        }
    }

    /// What one thing in it is called.
    pub fn word(self) -> &'static str {
        match self {
            Section::Policies => "policy",
            Section::Stores | Section::Sources | Section::Destinations => {
                self.role().map_or("", Role::word)
            }
        }
    }

    /// What the places in it are for; a policy is no place.
    pub fn role(self) -> Option<Role> {
        match self {
            Section::Stores => Some(Role::Store),
            Section::Sources => Some(Role::Source),
            Section::Destinations => Some(Role::Destination),
            Section::Policies => None,
        }
    }
}

/// The configuration in one directory. Nothing is read before it is asked for.
#[derive(Clone, Debug)]
pub struct Configuration {
    dir: PathBuf,
}

impl Configuration {
    /// The configuration in `dir`, which need not exist.
    pub fn new(dir: impl Into<PathBuf>) -> Configuration {
        Configuration { dir: dir.into() }
    }

    /// Where `section` is, or would be.
    pub fn path(&self, section: Section) -> PathBuf {
        self.dir.join(section.file_name())
    }

    /// Everything that `section` holds; nothing if there is no such file.
    ///
    /// # Errors
    /// [`crate::error::Kind::Unsupported`], with line and column, for a file that is not TOML.
    pub fn read(&self, section: Section) -> Result<Entries> {
        let path = self.path(section);
        let read = || match file::read(&path)? {
            Some(contents) => Entries::parse(&contents.text, contents.is_exposed),
            None => Ok(Entries::default()),
        };
        read().during(|| shown(&path))
    }

    /// The names in `section`, in the order of the file.
    pub fn names(&self, section: Section) -> Result<Vec<String>> {
        let entries = self.read(section)?;
        Ok(entries.names().map(str::to_owned).collect())
    }
}

/// A file in messages.
fn shown(path: &Path) -> String {
    path.display().to_string()
}

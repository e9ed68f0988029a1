//! Named stores, sources, destinations and policies, and the record of known stores.
//!
//! Each [`Section`] is one TOML file in the configuration directory, see `plakar.conf(5)`. Users
//! edit it manually or with commands. It contains a table for each name, and the top-level key
//! `default`.
//!
//! | file | contents |
//! |---|---|
//! | [`connectors`] | the connectors and their options |
//! | [`schema`] | valid names, options and values |
//! | [`entries`], [`edit`] | the contents of a file; changes to its text |
//! | [`place`] | `@name[:path]`, resolved |
//! | [`tokens`] | the access tokens of a server |
//! | [`known_stores`] | the stores and snapshots that this machine knows |
//! | [`foreign`], `rclone` | configurations of other programs, to be imported |
//! | `file` | atomic reading and writing of files |
//!
//! This module does not connect to places, prompt or print.

pub mod connectors;
pub mod edit;
pub mod entries;
mod file;
pub mod foreign;
pub mod known_stores;
pub mod place;
mod rclone;
pub mod schema;
pub mod tokens;

use std::path::{Path, PathBuf};

use zeroize::Zeroizing;

use crate::error::{During, Result};
use edit::Draft;
use entries::Entries;
use file::Lock;

/// The roles of a connector.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Role {
    /// A place where objects are stored.
    Store,
    /// A place from which files are read.
    Source,
    /// A place to which files are restored.
    Destination,
}

impl Role {
    /// All roles.
    pub const ALL: [Role; 3] = [Role::Store, Role::Source, Role::Destination];

    /// The name of the role in messages.
    pub fn word(self) -> &'static str {
        match self {
            Role::Store => "store",
            Role::Source => "source",
            Role::Destination => "destination",
        }
    }
}

/// The subject of one file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Section {
    /// The file `stores.toml`.
    Stores,
    /// The file `sources.toml`.
    Sources,
    /// The file `destinations.toml`.
    Destinations,
    /// The file `policies.toml`.
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

    /// The name of one entry in messages.
    pub fn word(self) -> &'static str {
        match self {
            Section::Policies => "policy",
            Section::Stores | Section::Sources | Section::Destinations => {
                self.role().map_or("", Role::word)
            }
        }
    }

    /// The section of places for `role`.
    pub fn of(role: Role) -> Section {
        match role {
            Role::Store => Section::Stores,
            Role::Source => Section::Sources,
            Role::Destination => Section::Destinations,
        }
    }

    /// The role of the places in the section, or `None` for policies.
    pub fn role(self) -> Option<Role> {
        match self {
            Section::Stores => Some(Role::Store),
            Section::Sources => Some(Role::Source),
            Section::Destinations => Some(Role::Destination),
            Section::Policies => None,
        }
    }
}

/// The configuration in one directory. Files are read on demand.
#[derive(Clone, Debug)]
pub struct Configuration {
    dir: PathBuf,
}

impl Configuration {
    /// The configuration in `dir`, which need not exist.
    pub fn new(dir: impl Into<PathBuf>) -> Configuration {
        Configuration { dir: dir.into() }
    }

    /// The path of the file of `section`, which need not exist.
    pub fn path(&self, section: Section) -> PathBuf {
        self.dir.join(section.file_name())
    }

    /// The entries of `section`, empty if the file does not exist.
    ///
    /// # Errors
    /// [`crate::error::Kind::Unsupported`], with line and column, for a file that is not TOML.
    pub fn read(&self, section: Section) -> Result<Entries> {
        Ok(read_at(&self.path(section))?.unwrap_or_default())
    }

    /// The names in `section`, in the order of the file.
    pub fn names(&self, section: Section) -> Result<Vec<String>> {
        let entries = self.read(section)?;
        Ok(entries.names().map(str::to_owned).collect())
    }

    /// Calls `change` with the entries of `section` and a draft, which it can modify. The changes
    /// are durable on return. If an error occurs, nothing is changed. Concurrent edits by two
    /// processes are serialized.
    ///
    /// # Errors
    /// The errors of [`Configuration::read`] and of `change`, and
    /// [`crate::error::Kind::Unavailable`] if another process does not finish its own edit.
    pub fn edit<T>(
        &self,
        section: Section,
        change: impl FnOnce(&Entries, &mut Draft) -> Result<T>,
    ) -> Result<T> {
        edit_at(&self.dir, &self.path(section), change)
    }
}

/// The entries of the file at `path`. `None` if it does not exist.
fn read_at(path: &Path) -> Result<Option<Entries>> {
    let parse = |contents: file::Contents| Entries::parse(&contents.text, contents.mode);
    let read = || file::read(path)?.map(parse).transpose();
    read().during(|| shown(path))
}

/// Like [`Configuration::edit`], for the file at `path` in `dir`.
fn edit_at<T>(
    dir: &Path,
    path: &Path,
    change: impl FnOnce(&Entries, &mut Draft) -> Result<T>,
) -> Result<T> {
    let lock = Lock::take(dir)?;
    let open = || -> Result<(Zeroizing<String>, Entries, Draft)> {
        let contents = file::read(path)?;
        let text = contents.map(|contents| contents.text).unwrap_or_default();
        let entries = Entries::parse(&text, 0o600)?;
        let draft = Draft::new(&text)?;
        Ok((text, entries, draft))
    };
    let (text, entries, mut draft) = open().during(|| shown(path))?;
    let outcome = change(&entries, &mut draft)?;
    let write = || match Zeroizing::new(draft.text()?) {
        new if new == text => Ok(()),
        new => file::write(path, &new, &lock),
    };
    write().during(|| shown(path))?;
    Ok(outcome)
}

/// The name of a file in messages.
fn shown(path: &Path) -> String {
    path.display().to_string()
}

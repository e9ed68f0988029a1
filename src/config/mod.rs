//! What a person keeps by name: stores, sources, destinations and policies; and what plakar
//! remembers about stores.
//!
//! Each [`Section`] is one TOML file in the configuration directory, `plakar.conf(5)`, that
//! people edit by hand as well as by command: a table for each name, and `default` beside
//! them.
//!
//! | file | what it is |
//! |---|---|
//! | [`connectors`] | which connectors there are, and their options |
//! | [`schema`] | which names, options and values are accepted |
//! | [`entries`], [`edit`] | what a file says; its text changed |
//! | [`place`] | `@name[:path]`, resolved |
//! | [`tokens`] | who a server lets in |
//! | [`known_stores`] | which stores and snapshots this machine knows |
//! | [`foreign`], `rclone` | configuration from elsewhere, to be imported |
//! | `file` | bytes from and to the disk, whole or not at all |
//!
//! Nothing here connects to a place, asks anybody or prints.

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

    /// Where places for `role` are named.
    pub fn of(role: Role) -> Section {
        match role {
            Role::Store => Section::Stores,
            Role::Source => Section::Sources,
            Role::Destination => Section::Destinations,
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
        Ok(read_at(&self.path(section))?.unwrap_or_default())
    }

    /// The names in `section`, in the order of the file.
    pub fn names(&self, section: Section) -> Result<Vec<String>> {
        let entries = self.read(section)?;
        Ok(entries.names().map(str::to_owned).collect())
    }

    /// Lets `change` have what `section` says, and a draft to change it in. Its result is
    /// durable on return; if it fails, nothing is changed. Of two processes that edit at the
    /// same time, one waits for the other.
    ///
    /// # Errors
    /// Those of [`Configuration::read`] and of `change`, and [`crate::error::Kind::Unavailable`] if another
    /// process does not come to an end with its own edit.
    pub fn edit<T>(
        &self,
        section: Section,
        change: impl FnOnce(&Entries, &mut Draft) -> Result<T>,
    ) -> Result<T> {
        edit_at(&self.dir, &self.path(section), change)
    }
}

/// Everything in the file at `path`; nothing if there is none.
fn read_at(path: &Path) -> Result<Option<Entries>> {
    let parse = |contents: file::Contents| Entries::parse(&contents.text, contents.mode);
    let read = || file::read(path)?.map(parse).transpose();
    read().during(|| shown(path))
}

/// As [`Configuration::edit`], for the file at `path` in `dir`.
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

/// A file in messages.
fn shown(path: &Path) -> String {
    path.display().to_string()
}

//! The record of this machine about stores: which store it found at each location, and which
//! snapshots it created.
//!
//! ```text
//! <data directory>/known-stores/
//!   locations.toml     [[location]]  location, store_id, key_id, encrypted
//!   <store id>.toml    [[created]]   source, digest
//!   .lock              held while a file is changed
//! ```
//!
//! An attacker without write access to this record can replace a store or forge its snapshots.
//! Therefore commands compare both with the record. It contains no secrets.
//!
//! Files are replaced as a whole, and processes change them one after another. If a file cannot be
//! read, the caller reports that and otherwise treats it as missing; the next change replaces it.
//! Top-level keys of later versions are preserved. All lists are limited; the oldest items are
//! dropped first.
//!
//! This module does not interpret locations, keys or snapshots.

use std::collections::HashSet;
use std::path::{Path, PathBuf};

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use toml::Table;

use super::file::{self, Lock};
use super::shown;
use crate::error::{During, Error, Kind, Result};
use crate::util::Id;

/// The directory inside the data directory.
const DIRECTORY: &str = "known-stores";
/// The file of locations.
const LOCATIONS: &str = "locations.toml";
/// The maximum number of recorded locations, more than a user has stores.
const LOCATIONS_LIMIT: usize = 500;
/// The maximum length of a recorded location, so that the file stays below the size limit for
/// reading.
const LOCATION_LIMIT_BYTES: usize = 1000;
/// The number of recorded snapshots of one source: if the newest ones are removed from the store,
/// an older one can still be the base of a backup.
const CREATED_PER_SOURCE: usize = 8;
/// The maximum number of recorded snapshots of one store: those of 250 sources, about 400 KiB.
const CREATED_LIMIT: usize = 2000;

/// The identity of a store according to its CONFIG.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Identity {
    /// The id of the store.
    pub store_id: String,
    /// The id of its master key.
    pub key_id: String,
    /// Whether the master key is secret.
    pub encrypted: bool,
}

/// The contents of `locations.toml`.
#[derive(Default, Serialize, Deserialize)]
struct Locations {
    #[serde(default)]
    location: Vec<Known>,
    #[serde(flatten)]
    other: Table,
}

#[derive(Serialize, Deserialize)]
struct Known {
    location: String,
    #[serde(flatten)]
    identity: Identity,
}

/// The file of one store.
#[derive(Default, Serialize, Deserialize)]
struct OfStore {
    #[serde(default)]
    created: Vec<Created>,
    #[serde(flatten)]
    other: Table,
}

#[derive(Serialize, Deserialize)]
struct Created {
    source: String,
    digest: String,
}

/// The record in one data directory.
#[derive(Clone, Debug)]
pub struct KnownStores {
    dir: PathBuf,
}

impl KnownStores {
    /// The record in `data_dir`. Neither needs to exist.
    pub fn new(data_dir: &Path) -> KnownStores {
        KnownStores {
            dir: data_dir.join(DIRECTORY),
        }
    }

    /// The directory with all files of the record. It changes with every backup.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// The store that was last opened at `location`, if there is a record of it.
    ///
    /// # Errors
    /// [`Kind::Unsupported`] for a damaged file, and errors of the file system.
    pub fn at(&self, location: &str) -> Result<Option<Identity>> {
        let locations: Locations = self.read(LOCATIONS)?;
        let mut known = locations.location.into_iter();
        let found = known.find(|known| known.location == location);
        Ok(found.map(|known| known.identity))
    }

    /// Records `identity` for the store at `location`; durable on return.
    ///
    /// # Errors
    /// [`Kind::Unsupported`] for a location that is too long; errors of the file system.
    pub fn remember(&self, location: &str, identity: &Identity) -> Result<()> {
        if location.len() > LOCATION_LIMIT_BYTES {
            let cause = format!("the location is longer than {LOCATION_LIMIT_BYTES} bytes");
            return Err(Error::new(Kind::Unsupported, cause));
        }
        self.edit(LOCATIONS, |locations: &mut Locations| {
            locations
                .location
                .retain(|known| known.location != location);
            locations.location.push(Known {
                location: location.to_owned(),
                identity: identity.clone(),
            });
            drop_oldest(&mut locations.location, LOCATIONS_LIMIT);
        })
    }

    /// Removes the record of the store at `location`. Returns whether there was one.
    ///
    /// # Errors
    /// Errors of the file system.
    pub fn forget(&self, location: &str) -> Result<bool> {
        if self.at(location).is_ok_and(|known| known.is_none()) {
            return Ok(false);
        }
        self.edit(LOCATIONS, |locations: &mut Locations| {
            let before = locations.location.len();
            locations
                .location
                .retain(|known| known.location != location);
            locations.location.len() < before
        })
    }

    /// The digests of the snapshots that this machine created in the store `store_id`.
    ///
    /// # Errors
    /// The same as [`KnownStores::at`].
    pub fn created(&self, store_id: &str) -> Result<HashSet<Id>> {
        let store: OfStore = self.read(&file_name(store_id))?;
        let digest = |created: &Created| created.digest.parse().ok();
        Ok(store.created.iter().filter_map(digest).collect())
    }

    /// Records that this machine created the snapshot `digest` of `source`; durable on return.
    ///
    /// # Errors
    /// Errors of the file system.
    pub fn add_created(&self, store_id: &str, source: Id, digest: Id) -> Result<()> {
        let source = source.to_string();
        self.edit(&file_name(store_id), |store: &mut OfStore| {
            store.created.push(Created {
                source: source.clone(),
                digest: digest.to_string(),
            });
            let of_source = |created: &&Created| created.source == source;
            if store.created.iter().filter(of_source).count() > CREATED_PER_SOURCE {
                let oldest = store.created.iter().position(|created| of_source(&created));
                store.created.remove(oldest.expect("there are several"));
            }
            drop_oldest(&mut store.created, CREATED_LIMIT);
        })
    }

    /// The contents of the file `name`, or the default if it does not exist.
    fn read<T: Default + DeserializeOwned>(&self, name: &str) -> Result<T> {
        let path = self.dir.join(name);
        let read = || match file::read(&path)? {
            Some(contents) => toml::from_str(&contents.text).map_err(|cause| damaged(&cause)),
            None => Ok(T::default()),
        };
        read().during(|| shown(&path))
    }

    /// Applies `change` to the contents of the file `name`, and replaces the file.
    fn edit<T: Default + Serialize + DeserializeOwned, R>(
        &self,
        name: &str,
        change: impl FnOnce(&mut T) -> R,
    ) -> Result<R> {
        let lock = Lock::take(&self.dir)?;
        let mut record: T = self.read(name).unwrap_or_default();
        let outcome = change(&mut record);
        let path = self.dir.join(name);
        let write = || {
            let text = toml::to_string(&record)
                .map_err(|cause| Error::new(Kind::Failed, cause.to_string()))?;
            file::write(&path, &text, &lock)
        };
        write().during(|| shown(&path))?;
        Ok(outcome)
    }
}

fn file_name(store_id: &str) -> String {
    format!("{store_id}.toml")
}

fn damaged(cause: &toml::de::Error) -> Error {
    let words: Vec<&str> = cause.message().split_whitespace().collect();
    Error::new(Kind::Unsupported, format!("damaged: {}", words.join(" ")))
}

fn drop_oldest<T>(items: &mut Vec<T>, limit: usize) {
    items.drain(..items.len().saturating_sub(limit));
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn known_stores() -> (tempfile::TempDir, KnownStores) {
        let dir = tempfile::tempdir().unwrap();
        let known = KnownStores::new(&dir.path().join("data"));
        (dir, known)
    }

    fn identity(n: usize) -> Identity {
        Identity {
            store_id: format!("store {n}"),
            key_id: format!("key {n}"),
            encrypted: n.is_multiple_of(2),
        }
    }

    fn id(n: usize) -> Id {
        Id::of(&n.to_le_bytes())
    }

    #[test]
    fn stores_are_remembered_by_location_until_they_are_forgotten() {
        let (_dir, known) = known_stores();
        assert_eq!(known.at("/a").unwrap(), None);
        assert!(!known.forget("/a").unwrap());
        for n in [0, 1] {
            known.remember("/a", &identity(n)).unwrap();
            known.remember("/b", &identity(7)).unwrap();
            assert_eq!(known.at("/a").unwrap(), Some(identity(n)));
        }
        assert!(known.forget("/a").unwrap());
        assert_eq!(known.at("/a").unwrap(), None);
        assert_eq!(known.at("/b").unwrap(), Some(identity(7)));
        let path = known.dir().join(LOCATIONS);
        let mode = fs::metadata(path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        assert!(known.remember(&"x".repeat(2000), &identity(0)).is_err());
    }

    #[test]
    fn of_each_source_the_newest_snapshots_are_remembered() {
        let (_dir, known) = known_stores();
        known.add_created("s", id(1000), id(1001)).unwrap();
        for n in 0..2 * CREATED_PER_SOURCE {
            known.add_created("s", id(2000), id(n)).unwrap();
        }
        let newest = (CREATED_PER_SOURCE..2 * CREATED_PER_SOURCE).chain([1001]);
        assert_eq!(known.created("s").unwrap(), newest.map(id).collect());
        assert_eq!(known.created("t").unwrap(), HashSet::new());
    }

    #[test]
    fn files_stay_below_the_size_that_can_be_read() {
        let (_dir, known) = known_stores();
        let longest = |n: usize| format!("{n:0>LOCATION_LIMIT_BYTES$}");
        let full = Locations {
            location: (0..LOCATIONS_LIMIT)
                .map(|n| Known {
                    location: longest(n),
                    identity: Identity {
                        store_id: "s".repeat(36),
                        key_id: "k".repeat(64),
                        encrypted: false,
                    },
                })
                .collect(),
            other: Table::new(),
        };
        known.edit(LOCATIONS, |record| *record = full).unwrap();
        known.remember("/new", &identity(0)).unwrap();
        assert_eq!(known.at(&longest(0)).unwrap(), None);
        assert!(known.at(&longest(1)).unwrap().is_some());
        let created = |n: usize| Created {
            source: id(n).to_string(),
            digest: id(n).to_string(),
        };
        let full = OfStore {
            created: (0..CREATED_LIMIT).map(created).collect(),
            other: Table::new(),
        };
        known
            .edit(&file_name("s"), |record| *record = full)
            .unwrap();
        known.add_created("s", id(1), id(9999)).unwrap();
        let digests = known.created("s").unwrap();
        assert!(digests.len() == CREATED_LIMIT && digests.contains(&id(9999)));
        assert!(!digests.contains(&id(0)));
    }

    #[test]
    fn a_damaged_file_is_an_error_until_the_next_change_replaces_it() {
        let (_dir, known) = known_stores();
        known.remember("/a", &identity(0)).unwrap();
        let path = known.dir().join(LOCATIONS);
        let whole = fs::read(&path).unwrap();
        let cut = &whole[..whole.len() - 20];
        for damage in [b"\xff\xfe".as_slice(), b"location = 1", cut] {
            fs::write(&path, damage).unwrap();
            let error = known.at("/a").unwrap_err();
            assert_eq!(error.kind(), Kind::Unsupported);
            assert!(error.to_string().contains("locations.toml: "), "{error}");
            known.remember("/b", &identity(1)).unwrap();
            assert_eq!(known.at("/a").unwrap(), None);
            assert_eq!(known.at("/b").unwrap(), Some(identity(1)));
        }
    }

    #[test]
    fn what_a_later_version_adds_is_kept() {
        let (_dir, known) = known_stores();
        known.add_created("s", id(1), id(2)).unwrap();
        let path = known.dir().join("s.toml");
        let text = fs::read_to_string(&path).unwrap();
        let text = format!("marker = 1\n{text}\n[[seen]]\nsnapshot = \"x\"\nnewer = true\n");
        fs::write(&path, text).unwrap();
        known.add_created("s", id(1), id(3)).unwrap();
        let text = fs::read_to_string(&path).unwrap();
        let expected = ["marker = 1", "[[seen]]", "newer = true"];
        assert!(expected.iter().all(|part| text.contains(part)), "{text}");
        assert_eq!(known.created("s").unwrap(), [id(2), id(3)].into());
    }

    #[test]
    fn concurrent_changes_are_all_kept() {
        let (_dir, known) = known_stores();
        std::thread::scope(|scope| {
            for thread in 0..4 {
                let known = known.clone();
                scope.spawn(move || {
                    for n in 0..5 {
                        let n = thread * 5 + n;
                        known.add_created("s", id(n), id(n)).unwrap();
                    }
                });
            }
        });
        assert_eq!(known.created("s").unwrap(), (0..20).map(id).collect());
    }
}

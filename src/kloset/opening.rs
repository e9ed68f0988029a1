//! A store whose key is not known yet: creating a store, and opening one with a passphrase.
//!
//! This module reads and writes only CONFIG and key slots.

use std::path::PathBuf;
use std::sync::{Arc, OnceLock};

use super::progress::{Event, Observer};
use super::{Kloset, keyring};
use crate::error::{During, Error, Kind, Result};
use crate::format::config::Config;
use crate::format::master::{self, Key};
use crate::format::slot;
use crate::store::{Area, Store};
use crate::util::Id;

/// How the contents of a new store are protected.
pub enum Protection<'a> {
    /// Encrypted; the master key is wrapped in a key slot for this passphrase.
    Passphrase(&'a [u8], slot::SlotInfo),
    /// Not protected: the master key is stored in CONFIG, where everyone can read it.
    Plaintext,
}

/// Checks that there is no store yet, before the user is asked for a passphrase.
///
/// # Errors
/// [`Kind::Exists`] if there is a store already. The errors of reading CONFIG.
pub fn refuse_existing(store: &dyn Store) -> Result<()> {
    match store.get_config() {
        Ok(_) => {
            let error = Error::new(Kind::Exists, "there is a store already");
            Err(error.during(format!("create {}", store.location())))
        }
        Err(error) if error.kind() == Kind::NotFound => Ok(()),
        Err(error) => Err(error.during(format!("create {}", store.location()))),
    }
}

/// Creates a kloset in an empty store.
///
/// # Errors
/// [`Kind::Exists`] if there is a store already.
pub fn create(store: &dyn Store, protection: &Protection<'_>, compression: i32) -> Result<Config> {
    let master = Key::new(master::random()?);
    establish(store, protection, Config::new(compression)?, &master)
}

/// Creates a sibling of `of`: a kloset with the same key and the same chunking and compression
/// parameters. Objects can be copied between siblings unchanged.
///
/// # Errors
/// As [`create`]. [`Kind::Usage`] if only one of the two stores is to be encrypted, because both
/// have the same key.
pub fn create_sibling(
    store: &dyn Store,
    protection: &Protection<'_>,
    of: &Kloset,
) -> Result<Config> {
    let is_open = matches!(protection, Protection::Plaintext);
    match (of.config().plaintext_master_key.is_some(), is_open) {
        (true, false) => Err(Error::usage(
            "it encrypts nothing, so everyone knows the key that a sibling would have",
        )),
        (false, true) => Err(Error::usage(
            "its key is a secret, which a sibling that encrypts nothing would tell everyone",
        )),
        _ => establish(store, protection, of.config().sibling()?, of.master()),
    }
}

/// Creates a kloset with this key in an empty store.
fn establish(
    store: &dyn Store,
    protection: &Protection<'_>,
    mut config: Config,
    master: &Key,
) -> Result<Config> {
    let slot = match protection {
        Protection::Passphrase(passphrase, info) => Some(slot::wrap(master, passphrase, info)?),
        Protection::Plaintext => {
            config.plaintext_master_key = Some(Id(*master.bytes()).to_string());
            None
        }
    };
    store.prepare()?;
    let leftovers = slots(store)?;
    let own = slot.as_ref().map(|slot| Id::of(slot));
    if let (Some(slot), Some(id)) = (slot, own) {
        store.put(Area::Keys, id, &slot)?;
    }
    store.put_config(&config.encode(master)?)?;
    // Other slots are deleted only after CONFIG was written. If two clients create a store
    // concurrently, the client whose CONFIG is stored keeps its slot. A slot that cannot be deleted
    // does no harm, because it does not belong to this store.
    for slot in leftovers.into_iter().filter(|slot| Some(*slot) != own) {
        let _ = store.delete(Area::Keys, slot);
    }
    Ok(config)
}

/// Lists the slots in a place that has no CONFIG yet. Interrupted creations left them.
fn slots(store: &dyn Store) -> Result<Vec<Id>> {
    let mut slots = Vec::new();
    store.list(Area::Keys, &mut |object| {
        slots.push(object.id);
        Ok(())
    })?;
    Ok(slots)
}

/// A store of which only CONFIG and the key slots have been read.
pub struct Locked {
    store: Arc<dyn Store>,
    config_bytes: Vec<u8>,
    config: Config,
    /// Read once, on first use, because the user can try several passphrases.
    slots: OnceLock<Vec<(Id, Vec<u8>)>>,
}

impl Locked {
    /// Reads CONFIG of `store`.
    ///
    /// # Errors
    /// [`Kind::NotFound`] if there is no store. [`Kind::Unsupported`] if the format version is
    /// unknown.
    pub fn new(store: Arc<dyn Store>) -> Result<Locked> {
        let read = || -> Result<(Vec<u8>, Config)> {
            let bytes = store.get_config()?;
            let config = Config::decode(&bytes).during(|| "CONFIG")?;
            Ok((bytes, config))
        };
        let (config_bytes, config) =
            read().during(|| format!("open store {}", store.location()))?;
        Ok(Locked {
            store,
            config_bytes,
            config,
            slots: OnceLock::new(),
        })
    }

    /// The name of the store in messages.
    pub fn location(&self) -> &str {
        self.store.location()
    }

    /// The content of CONFIG. It is not authenticated until the store is opened.
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// Size of CONFIG.
    pub fn config_bytes(&self) -> u64 {
        self.config_bytes.len() as u64
    }

    /// The bytes of every key slot, as [`keyring::slots`]. Read once, on first use.
    pub fn slots(&self, observer: &dyn Observer) -> Result<&[(Id, Vec<u8>)]> {
        if self.slots.get().is_none() {
            let slots = keyring::slots(&*self.store, observer)?;
            let _ = self.slots.set(slots);
        }
        Ok(self.slots.get().expect("just read"))
    }

    /// The master key of an unencrypted store, or `None` if the store is encrypted.
    pub fn plaintext_key(&self) -> Result<Option<Key>> {
        self.config.plaintext_key()
    }

    /// Returns the master key that `passphrase` unlocks, or `None` if it unlocks none.
    ///
    /// Damaged slots are reported to `observer` and skipped. So are slots that hold the key of
    /// another store, because someone planted them.
    ///
    /// # Errors
    /// [`Kind::Corrupt`] if there is no slot that could be tried.
    pub fn unlock(&self, passphrase: &[u8], observer: &dyn Observer) -> Result<Option<Key>> {
        let mut tried = 0;
        for (id, slot) in self.slots(observer)? {
            match slot::unwrap(slot, passphrase) {
                Ok(Some(key)) => match Config::authenticate(&self.config_bytes, &key) {
                    Ok(()) => return Ok(Some(key)),
                    Err(_) => observer.event(&Event::Warning(&foreign(*id))),
                },
                Ok(None) => tried += 1,
                Err(error) => observer.event(&Event::Warning(
                    &error.during(format!("read key slot {}", id.short())),
                )),
            }
        }
        match tried {
            0 => Err(Error::corrupt("no key slot can be read")
                .during(format!("open store {}", self.store.location()))),
            _ => Ok(None),
        }
    }

    /// Opens the kloset with the key `master`. Errors are those of [`Kloset::open`].
    pub fn open(
        self,
        master: Key,
        cache: Option<PathBuf>,
        observer: Arc<dyn Observer>,
    ) -> Result<Kloset> {
        let location = self.store.location().to_owned();
        Kloset::open(self.store, &self.config_bytes, master, cache, observer)
            .during(|| format!("open store {location}"))
    }
}

/// The warning about a slot whose key does not match CONFIG.
fn foreign(slot: Id) -> Error {
    Error::corrupt("its key is not the one that CONFIG was written with")
        .during(format!("key slot {}", slot.short()))
}

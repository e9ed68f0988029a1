//! A store before its key is known: making one, and opening one by passphrase.
//!
//! Nothing but CONFIG and key slots is read or written here.

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
    /// With a key slot for this passphrase.
    Passphrase(&'a [u8], slot::SlotInfo),
    /// Not at all: the master key lies in CONFIG for everyone to read.
    Plaintext,
}

/// Tells early, before anybody is asked for a passphrase, that there is a store already.
///
/// # Errors
/// [`Kind::Exists`] if there is.
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

/// Makes a kloset of an empty place.
///
/// # Errors
/// [`Kind::Exists`] when something is there already.
pub fn create(store: &dyn Store, protection: &Protection<'_>, compression: i32) -> Result<Config> {
    let master = Key::new(master::random()?);
    establish(store, protection, Config::new(compression)?, &master)
}

/// Makes of an empty place a kloset with the key of `of`, that cuts and compresses as that does: a
/// sibling, to which objects can be copied as they are.
///
/// # Errors
/// As [`create`]; [`Kind::Usage`] if one were to hide what the other tells everyone: the
/// key is the same.
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

/// Makes a kloset of an empty place.
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
    // Only now: of two who create at once, the one whose CONFIG it is keeps its slot. One that
    // cannot be deleted is no harm, for it does not count as a slot of this store.
    for slot in leftovers.into_iter().filter(|slot| Some(*slot) != own) {
        let _ = store.delete(Area::Keys, slot);
    }
    Ok(config)
}

/// The slots in a place that is no store yet: left by creations that were interrupted.
fn slots(store: &dyn Store) -> Result<Vec<Id>> {
    let mut slots = Vec::new();
    store.list(Area::Keys, &mut |object| {
        slots.push(object.id);
        Ok(())
    })?;
    Ok(slots)
}

/// A store of which only CONFIG and the key slots were read.
pub struct Locked {
    store: Arc<dyn Store>,
    config_bytes: Vec<u8>,
    config: Config,
    /// Read when first asked for, and once: several passphrases may be tried.
    slots: OnceLock<Vec<(Id, Vec<u8>)>>,
}

impl Locked {
    /// Reads CONFIG of `store`.
    ///
    /// # Errors
    /// [`Kind::NotFound`] if this is no store, [`Kind::Unsupported`] for a version that is not ours.
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

    /// What to call the store in messages.
    pub fn location(&self) -> &str {
        self.store.location()
    }

    /// What CONFIG says, which nobody has vouched for yet.
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// Length of CONFIG.
    pub fn config_bytes(&self) -> u64 {
        self.config_bytes.len() as u64
    }

    /// The bytes of every key slot, as [`keyring::slots`].
    pub fn slots(&self, observer: &dyn Observer) -> Result<&[(Id, Vec<u8>)]> {
        if self.slots.get().is_none() {
            let slots = keyring::slots(&*self.store, observer)?;
            let _ = self.slots.set(slots);
        }
        Ok(self.slots.get().expect("just read"))
    }

    /// The key of a store that hides nothing.
    pub fn plaintext_key(&self) -> Result<Option<Key>> {
        self.config.plaintext_key()
    }

    /// The key that `passphrase` opens, or nothing if it opens none. A damaged slot is told
    /// to `observer` and passed over, and so is one that holds the key of another store:
    /// somebody put it there.
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

    /// The kloset that `master` opens.
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

/// A slot whose key does not fit CONFIG.
fn foreign(slot: Id) -> Error {
    Error::corrupt("its key is not the one that CONFIG was written with")
        .during(format!("key slot {}", slot.short()))
}

//! A store whose key is not known yet: creating a store, and opening one with a passphrase.
//!
//! This module reads and writes only CONFIG and key slots.

use std::path::PathBuf;
use std::sync::{Arc, OnceLock};

use super::kdf_limit::{self, Limit};
use super::keyring::Slots;
use super::progress::{Event, Observer};
use super::{Kloset, keyring};
use crate::error::{During, Error, Kind, Result};
use crate::format::config::Config;
use crate::format::master::{self, Key};
use crate::format::slot;
use crate::store::{Area, Store};
use crate::util::Id;
use crate::util::interrupt::Interrupt;

/// Number of slots that are tried before the user is notified that there are more. A genuine store
/// has only a few, and each one takes time.
const SLOTS_BEFORE_NOTICE: usize = 8;

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
    let error = match store.get_config() {
        Ok(_) => Error::new(Kind::Exists, "there is a store already"),
        Err(error) if error.kind() == Kind::NotFound => return Ok(()),
        Err(error) => error,
    };
    Err(error.during_at("create", store.location()))
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
            "its key is secret, and a plaintext sibling would reveal it",
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
    limit: Limit,
    interrupt: Interrupt,
    /// Read once, on first use, because the user can try several passphrases.
    slots: OnceLock<Slots>,
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
            read().map_err(|error| error.during_at("open store", store.location()))?;
        Ok(Locked {
            store,
            config_bytes,
            config,
            limit: Limit::default(),
            interrupt: Interrupt::default(),
            slots: OnceLock::new(),
        })
    }

    /// Sets the maximum cost of a slot to `limit`. `interrupt` stops [`Locked::unlock`].
    pub fn within(self, limit: Limit, interrupt: Interrupt) -> Locked {
        Locked {
            limit,
            interrupt,
            ..self
        }
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

    /// The bytes of every intact key slot, as [`keyring::slots`]. Read once, on first use.
    pub fn slots(&self, observer: &dyn Observer) -> Result<&[(Id, Vec<u8>)]> {
        let is_first = self.slots.get().is_none();
        let slots = self.read_slots(observer)?;
        if is_first {
            warn(&slots.unreadable, observer);
        }
        Ok(&slots.intact)
    }

    fn read_slots(&self, observer: &dyn Observer) -> Result<&Slots> {
        if self.slots.get().is_none() {
            let slots = keyring::read(&*self.store, observer)?;
            let _ = self.slots.set(slots);
        }
        Ok(self.slots.get().expect("just read"))
    }

    /// The master key of an unencrypted store, or `None` if the store is encrypted.
    pub fn plaintext_key(&self) -> Result<Option<Key>> {
        self.config.plaintext_key()
    }

    /// Returns the master key that `passphrase` unlocks, or `None` if every slot was tried and it
    /// unlocks none.
    ///
    /// The cheapest slots are tried first. If a slot is damaged, exceeds the cost limit, or
    /// contains the key of another store, the other slots are still tried. If one of them opens the
    /// store, the unusable slots are reported to `observer`.
    ///
    /// # Errors
    /// If no slot opens the store, and a slot is damaged or could not be tried:
    ///
    /// - [`Kind::Corrupt`] names the damaged slot, or CONFIG if the passphrase opens a slot whose
    ///   key does not authenticate CONFIG.
    /// - A slot above the limit is [`Kind::Unsupported`] if no slot was tried, and otherwise
    ///   [`Kind::Denied`].
    ///
    /// [`Kind::Interrupted`] if the user stops it.
    pub fn unlock(&self, passphrase: &[u8], observer: &dyn Observer) -> Result<Option<Key>> {
        let slots = self.read_slots(observer)?;
        let mut failures = Vec::new();
        let mut tried = 0;
        for (nth, (id, slot)) in slots.intact.iter().enumerate() {
            if nth == SLOTS_BEFORE_NOTICE {
                observer.event(&Event::Warning(&self.notice(&slots.intact[nth..])));
            }
            match self.try_slot(slot, passphrase) {
                Ok(Some(key)) => {
                    warn(&slots.unreadable, observer);
                    warn(&failures, observer);
                    return Ok(Some(key));
                }
                Ok(None) => tried += 1,
                Err(error) if error.kind() == Kind::Interrupted => return Err(error),
                Err(error) => failures.push(keyring::of(*id, error)),
            }
        }
        failures.extend_from_slice(&slots.unreadable);
        match verdict(failures, tried) {
            None => Ok(None),
            Some(error) => Err(error.during(format!("open store {}", self.location()))),
        }
    }

    /// Returns the key of this store if `passphrase` opens `slot`.
    fn try_slot(&self, slot: &[u8], passphrase: &[u8]) -> Result<Option<Key>> {
        self.limit.check(slot::inspect(slot)?.cost)?;
        let Some(key) = slot::unwrap(slot, passphrase, &self.interrupt)? else {
            return Ok(None);
        };
        match Config::authenticate(&self.config_bytes, &key) {
            Ok(()) => Ok(Some(key)),
            Err(_) => Err(Error::corrupt(
                "the passphrase opens it, but CONFIG does not authenticate under its key: CONFIG \
                 is damaged, or the slot belongs to another store",
            )),
        }
    }

    /// The warning that more slots than usual are being tried.
    fn notice(&self, rest: &[(Id, Vec<u8>)]) -> Error {
        let costs = rest.iter().filter_map(|(_, slot)| {
            let cost = slot::inspect(slot).ok()?.cost;
            self.limit.check(cost).is_ok().then_some(cost)
        });
        let seconds: f64 = costs.map(kdf_limit::seconds).sum();
        let cause = format!(
            "the passphrase opens none of the {SLOTS_BEFORE_NOTICE} cheapest key slots; trying the \
             other {}, for up to about {seconds:.0} s: an unusual number, see plakar-key(1)",
            rest.len()
        );
        Error::new(Kind::Failed, cause)
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

/// Reports errors that did not prevent anything.
fn warn(errors: &[Error], observer: &dyn Observer) {
    for error in errors {
        observer.event(&Event::Warning(error));
    }
}

/// Determines the error after a passphrase opened none of `tried` slots. `failures` are the errors
/// of the other slots. Because of them, the passphrase may be correct. `None` means that it is
/// wrong.
fn verdict(mut failures: Vec<Error>, tried: usize) -> Option<Error> {
    let rank = |error: &Error| match error.kind() {
        Kind::Corrupt => 0,
        _ => 1,
    };
    failures.sort_by_key(rank);
    let Some(first) = failures.first() else {
        let none = "it has no key slot: \"plakar key import\" restores an exported one";
        return (tried == 0).then(|| Error::corrupt(none));
    };
    let mut cause = first.to_string();
    if failures.len() > 1 {
        cause.push_str(&format!(" ({} slots were not usable)", failures.len()));
    }
    if tried > 0 {
        cause.push_str(&format!("; wrong passphrase for the other slots, {tried}"));
    }
    let kind = match first.kind() {
        Kind::Unsupported if tried > 0 => Kind::Denied,
        kind => kind,
    };
    Some(Error::new(kind, cause))
}

//! Opens a kloset: location, store, passphrase, cache.
//!
//! A store created with `-plaintext` is opened without a passphrase. For any other store,
//! [`super::passphrase`] describes the sources of the passphrase. The passphrase that opened the
//! store is kept for the one command that needs it. Before anything else, the store is compared
//! with the [known](super::known) store at its location.
//!
//! This module does not depend on the use of the kloset.

use std::fs::DirBuilder;
use std::os::unix::fs::DirBuilderExt;
use std::path::PathBuf;
use std::sync::Arc;

use super::globals::Globals;
use super::passphrase::{FIRST_REMEDY, Given, PEER_REMEDY, Passphrase};
use super::progress::Watch;
use super::{known, ssh};
use crate::config::entries::Value;
use crate::config::place::Place;
use crate::error::{During, Error, Kind, Result};
use crate::format::master::Key;
use crate::kloset::{Kloset, Locked};
use crate::net::Trust;
use crate::store::{self, Settings, Store};
use crate::util::interrupt::Interrupt;

/// The permissions of the cache directory: accessible to the owner only, because it reveals which
/// chunks a store contains.
const CACHE_MODE: u32 = 0o700;

/// An open kloset, and the passphrase that opened it.
pub struct Opened {
    /// The unlocked kloset.
    pub kloset: Kloset,
    /// The passphrase, or `None` for a plaintext store.
    pub passphrase: Option<Passphrase>,
}

/// The store that the user named. Reads nothing yet.
pub fn store(globals: &Globals) -> Result<Arc<dyn Store>> {
    store_at(globals, &globals.place()?)
}

/// The store at `place`, with the configured options. Reads nothing yet.
///
/// # Errors
/// [`Kind::Usage`] for a place that cannot be a store; any error in obtaining the configured token.
pub fn store_at(globals: &Globals, place: &Place) -> Result<Arc<dyn Store>> {
    reach(globals, place, globals.interrupt.clone())
}

/// The store that the user named, for serving it to clients. An interrupt does not abort its calls,
/// because requests in progress must be completed.
pub fn served(globals: &Globals) -> Result<Arc<dyn Store>> {
    reach(globals, &globals.place()?, Interrupt::default())
}

fn reach(globals: &Globals, place: &Place, interrupt: Interrupt) -> Result<Arc<dyn Store>> {
    let is_on = |name| matches!(place.value(name), Some(Value::Switch(true)));
    let text = |name| place.text(name).map(|text| text.to_string());
    let connections = match place.value("connections") {
        Some(Value::Number(number)) => usize::try_from(*number).ok(),
        _ => None,
    };
    let out = globals.out.clone();
    let settings = Settings {
        interrupt,
        notice: Arc::new(move |error| out.warning(error)),
        spool: globals.cache_dir().ok(),
        connections,
        token: globals.token(place)?,
        trust: Trust {
            ca: text("tls_ca").map(PathBuf::from),
            pin: text("tls_pin"),
            no_verify: is_on("tls_no_verify"),
        },
        ssh: ssh::options(globals, place),
        ..Settings::default()
    };
    let store = store::open(&place.location, &settings)?;
    globals.trace("store", || format!("open {}", store.location()));
    Ok(store)
}

/// Reads the CONFIG of `store` at `place`, to be unlocked within the limits that the user set. Does
/// not detect a replaced store: see [`locked`].
///
/// # Errors
/// The same as [`Locked::new`], with a suggested command.
pub fn unchecked(globals: &Globals, place: &Place, store: Arc<dyn Store>) -> Result<Locked> {
    let locked = Locked::new(store).map_err(|error| match error.kind() {
        Kind::NotFound => error.advise(&next_commands(place)),
        _ => error,
    })?;
    Ok(locked.within(globals.options.kdf_limit, globals.interrupt.clone()))
}

/// The suggestion if there is no store.
fn next_commands(place: &Place) -> String {
    let at = match &place.name {
        Some(name) => format!("@{name}"),
        None => place.location.to_string(),
    };
    format!(
        "to create one: plakar at {at} create; to list the configured stores: plakar store list"
    )
}

/// Opens and unlocks the kloset that the user named. Events are reported to `watch`.
pub fn kloset(globals: &Globals, watch: &Arc<Watch>) -> Result<Kloset> {
    Ok(unlocked(globals, &globals.place()?, watch)?.kloset)
}

/// The store at `place`, still locked.
///
/// # Errors
/// [`Kind::Denied`] if it is not the store that this machine knows at this location.
pub fn locked(globals: &Globals, place: &Place) -> Result<Locked> {
    let locked = unchecked(globals, place, store_at(globals, place)?)?;
    known::check(globals, place, locked.config())?;
    Ok(locked)
}

/// Opens the kloset at `place` with `key`, and records the store as known.
fn open(
    globals: &Globals,
    place: &Place,
    locked: Locked,
    key: Key,
    watch: &Arc<Watch>,
) -> Result<Kloset> {
    let kloset = locked.open(key, cache(globals), watch.clone())?;
    known::remember(globals, place, kloset.config());
    Ok(kloset)
}

/// The kloset at `place`, and the passphrase that unlocked it.
pub fn unlocked(globals: &Globals, place: &Place, watch: &Arc<Watch>) -> Result<Opened> {
    let locked = locked(globals, place)?;
    let (key, passphrase) = match plaintext_key(globals, place, &locked)? {
        Some(key) => (key, None),
        None => ask(globals, place, &locked, watch)?,
    };
    let kloset = open(globals, place, locked, key, watch)?;
    Ok(Opened { kloset, passphrase })
}

/// The kloset at `place`, the second one of a command. Its passphrase is the one from the
/// environment or the configuration of this place; else the one that opened `first`, if it also
/// opens this store, because sibling stores often share one; else it is typed.
pub fn peer(
    globals: &Globals,
    place: &Place,
    first: &Opened,
    watch: &Arc<Watch>,
) -> Result<Opened> {
    let locked = locked(globals, place)?;
    let given = globals.peer_passphrase(place)?;
    let (key, passphrase) = match (locked.plaintext_key()?, given) {
        (Some(_), Some(_)) => return Err(downgraded(&locked)),
        (Some(key), None) => (key, None),
        (None, Some(given)) => given_key(place, &locked, given, watch)?,
        (None, None) => shared_or_typed(globals, place, &locked, first, watch)?,
    };
    let kloset = open(globals, place, locked, key, watch)?;
    Ok(Opened { kloset, passphrase })
}

/// The key, unlocked by the passphrase that opened `first`, or by a typed one.
fn shared_or_typed(
    globals: &Globals,
    place: &Place,
    locked: &Locked,
    first: &Opened,
    watch: &Watch,
) -> Result<(Key, Option<Passphrase>)> {
    if let Some(passphrase) = &first.passphrase {
        match locked.unlock(passphrase, watch) {
            Ok(Some(key)) => return Ok((key, Some(passphrase.clone()))),
            Ok(None) => {}
            // A slot above the cost limit was not tried. A different passphrase may open another
            // slot.
            Err(error) if error.kind() == Kind::Denied => {}
            Err(error) => return Err(error),
        }
    }
    typed_key(globals, place, PEER_REMEDY, locked, watch)
}

/// The kloset that the user named, or `None` if its passphrase would have to be typed.
pub fn unasked(globals: &Globals, watch: &Arc<Watch>) -> Result<Option<Kloset>> {
    let place = globals.place()?;
    let locked = unchecked(globals, &place, store_at(globals, &place)?)?;
    unlocked_unasked(globals, locked, watch)
}

/// Like [`unasked`], for `locked`, which is the store that the user named.
pub fn unlocked_unasked(
    globals: &Globals,
    locked: Locked,
    watch: &Arc<Watch>,
) -> Result<Option<Kloset>> {
    let place = globals.place()?;
    known::check(globals, &place, locked.config())?;
    let key = match plaintext_key(globals, &place, &locked)? {
        Some(key) => key,
        None => match globals.given_passphrase(&place)? {
            Some(given) => given_key(&place, &locked, given, watch)?.0,
            None => return Ok(None),
        },
    };
    locked.open(key, cache(globals), watch.clone()).map(Some)
}

/// The key of a plaintext store.
///
/// # Errors
/// [`Kind::Denied`] if a passphrase was given but the store claims to have none. An attacker with
/// write access to a store could replace its CONFIG by such a one, and then read all data of later
/// backups.
fn plaintext_key(globals: &Globals, place: &Place, locked: &Locked) -> Result<Option<Key>> {
    let Some(key) = locked.plaintext_key()? else {
        return Ok(None);
    };
    match globals.given_passphrase(place)? {
        None => Ok(Some(key)),
        Some(_) => Err(downgraded(locked)),
    }
}

/// The error if a passphrase was given but the store claims to have none.
fn downgraded(locked: &Locked) -> Error {
    let cause = "the store is not encrypted, but a passphrase was given: remove the passphrase to use the store anyway";
    Error::new(Kind::Denied, cause).during(format!("open store {}", locked.location()))
}

/// The key, and the passphrase that unlocked it.
fn ask(
    globals: &Globals,
    place: &Place,
    locked: &Locked,
    watch: &Watch,
) -> Result<(Key, Option<Passphrase>)> {
    match globals.given_passphrase(place)? {
        Some(given) => given_key(place, locked, given, watch),
        None => typed_key(globals, place, FIRST_REMEDY, locked, watch),
    }
}

/// Like [`ask`], with a typed passphrase.
fn typed_key(
    globals: &Globals,
    place: &Place,
    remedy: &str,
    locked: &Locked,
    watch: &Watch,
) -> Result<(Key, Option<Passphrase>)> {
    globals.unlock_typed(place, remedy, |passphrase| {
        let key = key(locked, passphrase, "wrong passphrase", watch)?;
        Ok((key, Some(passphrase.clone())))
    })
}

/// Like [`ask`], with the passphrase that was `given` for `place`.
fn given_key(
    place: &Place,
    locked: &Locked,
    given: Given,
    watch: &Watch,
) -> Result<(Key, Option<Passphrase>)> {
    let Given { passphrase, origin } = given;
    let mut wrong = format!("wrong passphrase from {origin}");
    if let (Some(name), Some(option)) = (&place.name, Globals::configured_option(place))
        && origin != format!("{option} of @{name}")
    {
        wrong.push_str(&format!(", which overrides the {option} of @{name}"));
    }
    Ok((key(locked, &passphrase, &wrong, watch)?, Some(passphrase)))
}

/// The key that `passphrase` unlocks.
///
/// # Errors
/// [`Kind::Denied`] with the cause `wrong` if it unlocks none.
fn key(locked: &Locked, passphrase: &Passphrase, wrong: &str, watch: &Watch) -> Result<Key> {
    let key = locked.unlock(passphrase, watch)?;
    let wrong = || Error::new(Kind::Denied, wrong);
    let opening = || format!("open store {}", locked.location());
    key.ok_or_else(wrong).during(opening)
}

/// The cache directory, created if missing. Without it everything works, only slower, so a failure
/// is not an error.
pub fn cache(globals: &Globals) -> Option<PathBuf> {
    let made = globals.cache_dir().and_then(|path| {
        let mut builder = DirBuilder::new();
        builder.recursive(true).mode(CACHE_MODE);
        let outcome = builder.create(&path);
        outcome.during(|| format!("cache directory {}", path.display()))?;
        Ok(path)
    });
    match made {
        Ok(path) => Some(path),
        Err(error) => {
            globals.out.warning(&error);
            None
        }
    }
}

//! Checks whether a store is the one that this machine knows, and records data about known stores.
//!
//! An attacker who can write to the location of a store can replace the whole store, for example by
//! an unencrypted one. Therefore the key of the store is recorded for each location when a store is
//! opened, as ssh records host keys. If the key has changed, the store is rejected before a
//! passphrase is read or requested. A store that is opened for the first time is trusted.
//!
//! If a record cannot be read or written, a warning is printed and the command continues.

use std::collections::HashSet;
use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Component, Path, PathBuf};

use super::Globals;
use crate::config::entries::Value;
use crate::config::known_stores::{Identity, KnownStores};
use crate::config::place::Place;
use crate::error::{During, Error, Kind, Result};
use crate::format::config::Config;
use crate::net::location::{Location, Url};
use crate::ops::backup::Summary;
use crate::util::Id;

/// Default ports, which a URL may omit.
const USUAL_PORTS: [(&str, u16); 3] = [("http", 80), ("https", 443), ("sftp", 22)];

/// The known stores of this machine.
///
/// # Errors
/// [`Kind::Unsupported`] without a home directory.
pub fn record(globals: &Globals) -> Result<KnownStores> {
    Ok(KnownStores::new(&globals.data_dir()?))
}

/// The identity of the store that has `config`.
fn identity(config: &Config) -> Identity {
    Identity {
        store_id: config.store_id.clone(),
        key_id: config.key_id.clone(),
        encrypted: config.plaintext_master_key.is_none(),
    }
}

/// Compares the store at `place`, whose CONFIG is `config`, with the recorded one.
///
/// # Errors
/// [`Kind::Denied`] if the key differs from the recorded one, or is no longer a secret.
pub(super) fn check(globals: &Globals, place: &Place, config: &Config) -> Result<()> {
    let Ok(record) = record(globals) else {
        return Ok(());
    };
    let found = identity(config);
    for location in spellings(place) {
        match record.at(&location) {
            Ok(Some(known)) if !has_same_key(&known, &found) => {
                return Err(replaced(&location, &known, &found));
            }
            Ok(_) => {}
            Err(error) => {
                let doing = format!("it is unknown which store was at {location} before");
                globals.out.warning(&error.during(doing));
                break;
            }
        }
    }
    Ok(())
}

/// Sibling stores have the same key and may replace each other, such as disks that are rotated.
fn has_same_key(known: &Identity, found: &Identity) -> bool {
    (&known.key_id, known.encrypted) == (&found.key_id, found.encrypted)
}

fn replaced(location: &str, known: &Identity, found: &Identity) -> Error {
    let key = |identity: &Identity| match identity.encrypted {
        true => format!("key {}", identity.key_id),
        false => "no encryption".to_owned(),
    };
    let (known_id, found_id) = (&known.store_id, &found.store_id);
    let cause = format!(
        "the store was replaced: expected store {known_id} with {}, found store {found_id} with \
         {}; if this is intended, accept it with: plakar store forget {location}",
        key(known),
        key(found)
    );
    Error::new(Kind::Denied, cause).during(format!("open store {location}"))
}

/// Records the store at `place`, which was opened or created and has the CONFIG `config`.
pub(super) fn remember(globals: &Globals, place: &Place, config: &Config) {
    let Ok(record) = record(globals) else {
        return;
    };
    let identity = identity(config);
    for location in spellings(place) {
        if matches!(record.at(&location), Ok(Some(known)) if known == identity) {
            continue;
        }
        if let Err(error) = record.remember(&location, &identity) {
            let doing = format!("remember the store at {location}");
            return globals.out.warning(&error.during(doing));
        }
    }
}

/// Removes the record of the store at `place`. Returns whether there was one.
///
/// # Errors
/// If the record cannot be changed.
pub(super) fn forget(globals: &Globals, place: &Place) -> Result<bool> {
    let record = record(globals)?;
    let mut was_known = false;
    for location in spellings(place) {
        was_known |= record.forget(&location)?;
    }
    Ok(was_known)
}

/// The digests of the snapshots that this machine created in the store that has `config`.
pub(super) fn created(globals: &Globals, config: &Config) -> HashSet<Id> {
    let created = record(globals).and_then(|record| record.created(&config.store_id));
    created.unwrap_or_else(|error| {
        let doing = "it is unknown which snapshots this machine created";
        globals.out.warning(&error.during(doing));
        HashSet::new()
    })
}

/// Records that this machine created the backup `done` in the store that has `config`.
pub(super) fn add_created(globals: &Globals, config: &Config, done: &Summary) {
    let added = record(globals)
        .and_then(|record| record.add_created(&config.store_id, done.source, done.digest));
    if let Err(error) = added.during(|| "the next backup has to read every file") {
        globals.out.warning(&error);
    }
}

/// The names under which the store at `place` is recorded, without secrets. A path with symbolic
/// links has two: neither may lead to a different store unnoticed.
fn spellings(place: &Place) -> Vec<String> {
    let paths = match &place.location {
        Location::Url(url) => return vec![of_url(url, place).to_string()],
        Location::Path(path) => [absolute(path), canonical(path)],
    };
    let shown = |path: PathBuf| Location::Path(path.into_os_string().into_vec()).to_string();
    let mut names: Vec<String> = paths.into_iter().flatten().map(shown).collect();
    names.dedup();
    names
}

/// `path` as an absolute path, with symbolic links unresolved. `None` if only the file system can
/// resolve it.
fn absolute(path: &[u8]) -> Option<PathBuf> {
    let absolute = std::path::absolute(Path::new(OsStr::from_bytes(path))).ok()?;
    let is_clear = absolute
        .components()
        .all(|part| part != Component::ParentDir);
    is_clear.then(|| absolute.components().collect())
}

fn canonical(path: &[u8]) -> Option<PathBuf> {
    fs::canonicalize(Path::new(OsStr::from_bytes(path))).ok()
}

/// `url` in normalized form, with the configured values of `place`.
fn of_url(url: &Url, place: &Place) -> Url {
    let configured = match place.value("port") {
        Some(Value::Number(number)) => u16::try_from(*number).ok(),
        _ => None,
    };
    let username = place.text("username").map(|name| name.to_string());
    let is_usual = |port: &u16| USUAL_PORTS.contains(&(url.scheme.as_str(), *port));
    Url {
        host: url.host.to_ascii_lowercase(),
        user: url.user.clone().or(username),
        port: url.port.or(configured).filter(|port| !is_usual(port)),
        ..url.clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Role;
    use crate::config::entries::Entries;

    fn of(text: &str) -> Vec<String> {
        let location = Location::parse(text.as_bytes()).unwrap();
        spellings(&Place::unnamed(location))
    }

    #[test]
    fn a_location_has_one_spelling() {
        for text in ["sftp://NAS:22/st/", "sftp://nas/./st", "sftp://nas:/st"] {
            assert_eq!(of(text), ["sftp://nas/st"], "{text}");
        }
        assert_eq!(of("https://H:443/"), ["https://h"]);
        assert_eq!(of("https://h:80/"), ["https://h:80"]);
        let entries = "[n]\nlocation = 'sftp://nas/st'\nport = 2222\nusername = 'u'\n";
        let entries = Entries::parse(entries, 0o600).unwrap();
        let place = Place::named(&entries, Role::Store, "n", b"", None).unwrap();
        assert_eq!(spellings(&place), of("sftp://u@nas:2222/st"));
    }

    #[test]
    fn a_path_is_known_as_it_is_spelt_and_where_it_leads() {
        let dir = tempfile::tempdir().unwrap();
        let top = fs::canonicalize(dir.path()).unwrap();
        let top = top.to_str().unwrap();
        fs::create_dir_all(dir.path().join("real/st")).unwrap();
        std::os::unix::fs::symlink("real", dir.path().join("link")).unwrap();
        let real = format!("{top}/real/st");
        for text in [
            "real/st",
            "real//st/",
            "./real/st/.",
            "real/../real/st",
            "link/../real/st",
        ] {
            assert_eq!(of(&format!("{top}/{text}")), [real.as_str()], "{text}");
        }
        assert_eq!(
            of(&format!("{top}/link/st")),
            [format!("{top}/link/st"), real]
        );
        assert_eq!(of(&format!("{top}/gone/")), [format!("{top}/gone")]);
    }
}

//! The list of packs that a check found damaged, stored next to the index cache.
//!
//! Such a pack exists and has the expected size, so its chunks count as stored, and no backup would
//! store them again. A check records the pack here. A backup on the same machine then treats its
//! chunks as missing, and stores those that the source still has.
//!
//! The file has one hexadecimal id per line; there is no file if no pack is damaged. Every change
//! rewrites the whole file. The list is only a hint, so losing the file does no other harm.

use std::collections::BTreeSet;
use std::fs;
use std::io::Read;
use std::path::PathBuf;

use super::Kloset;
use super::progress::Event;
use crate::error::{During, Error, Kind, Result};
use crate::format::master::random;
use crate::util::Id;

const NAME: &str = "bad-packs";
/// Maximum number of bytes read: a quarter of a million packs, more than any useful list contains.
const LIMIT_BYTES: u64 = 16 << 20;

/// Reads the list for `kloset`; empty without a cache. If the file cannot be read, this reports a
/// warning.
pub(crate) fn read(kloset: &Kloset) -> BTreeSet<Id> {
    let Some(path) = path(kloset) else {
        return BTreeSet::new();
    };
    let read = || -> Result<String> {
        let mut text = String::new();
        fs::File::open(&path)?
            .take(LIMIT_BYTES)
            .read_to_string(&mut text)?;
        Ok(text)
    };
    match read() {
        Ok(text) => text.lines().filter_map(|line| line.parse().ok()).collect(),
        Err(error) => {
            if error.kind() != Kind::NotFound {
                warn(kloset, error.during("read the list of damaged packs"));
            }
            BTreeSet::new()
        }
    }
}

/// Replaces the list by `packs`. A failure is only a warning.
pub(crate) fn write(kloset: &Kloset, packs: &BTreeSet<Id>) {
    let Some(path) = path(kloset) else { return };
    let write = || -> Result<()> {
        if packs.is_empty() {
            return match fs::remove_file(&path) {
                Err(cause) if cause.kind() != std::io::ErrorKind::NotFound => Err(cause.into()),
                _ => Ok(()),
            };
        }
        let draft = path.with_file_name(format!("{NAME}-{}", Id(random()?).short()));
        let text: String = packs.iter().map(|pack| format!("{pack}\n")).collect();
        let written = fs::write(&draft, text).and_then(|()| fs::rename(&draft, &path));
        if written.is_err() {
            let _ = fs::remove_file(&draft);
        }
        Ok(written?)
    };
    if let Err(error) = write().during(|| "write the list of damaged packs") {
        warn(kloset, error);
    }
}

fn path(kloset: &Kloset) -> Option<PathBuf> {
    kloset.cache.as_ref().map(|cache| cache.join(NAME))
}

fn warn(kloset: &Kloset, error: Error) {
    kloset.observer().event(&Event::Warning(&error));
}

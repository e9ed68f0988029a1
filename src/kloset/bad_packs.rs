//! The packs that a check found damaged, kept beside the index cache.
//!
//! Such a pack is there and as long as it should be, so its chunks count as stored, and
//! no backup would store them again. A check notes it here, and a backup from the same
//! machine takes its chunks for lost: what the source still has is stored anew.
//!
//! One id a line, in hexadecimal; no file when there are none. It is made anew whole at
//! every change. Losing it costs nothing but the hint.

use std::collections::BTreeSet;
use std::fs;
use std::io::Read;
use std::path::PathBuf;

use super::Kloset;
use super::progress::Event;
use crate::error::{During, Error, Kind, Result};
use crate::format::master::random;
use crate::util::Id;

/// What the file is called.
const NAME: &str = "bad-packs";
/// How much of it is read: a quarter of a million packs. Whoever has more has other troubles.
const LIMIT_BYTES: u64 = 16 << 20;

/// The packs noted for `kloset`; none without a cache. What cannot be read is warned of.
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

/// Notes `packs` and no others. That it failed is no more than a warning.
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

/// Where the file is.
fn path(kloset: &Kloset) -> Option<PathBuf> {
    kloset.cache.as_ref().map(|cache| cache.join(NAME))
}

fn warn(kloset: &Kloset, error: Error) {
    kloset.observer().event(&Event::Warning(&error));
}

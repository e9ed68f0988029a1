//! Shows the properties of a store: those visible to anyone with read access, and the totals of all
//! snapshots if a passphrase is available. There is no prompt for a passphrase.

use std::fmt;
use std::sync::Arc;

use serde::Serialize;

use super::snapshot::bytes;
use crate::cli::escape::printable;
use crate::cli::facts::table;
use crate::cli::progress::Watch;
use crate::cli::wording::counted;
use crate::cli::{Globals, Status, cost, opening};
use crate::error::{Error, Kind, Result};
use crate::format::config::Config;
use crate::format::slot::SlotInfo;
use crate::kloset::{Locked, keyring};
use crate::ops::inspect::snapshots::{Holdings, holdings};
use crate::store::{Area, Store};
use crate::util::human;

/// The contents of one area.
#[derive(Serialize)]
struct Contents {
    area: &'static str,
    objects: u64,
    bytes: u64,
}

/// The properties of a store.
#[derive(Serialize)]
struct Facts {
    location: String,
    store_id: String,
    key_id: String,
    format: u32,
    created: String,
    is_encrypted: bool,
    compression: i32,
    chunk_bytes: [u32; 3],
    tree_chunk_bytes: [u32; 3],
    keys: Vec<Key>,
    snapshots: u64,
    areas: Vec<Contents>,
    bytes: u64,
    #[serde(flatten)]
    held: Option<Held>,
}

/// The properties that require the key.
#[derive(Serialize)]
struct Held {
    damaged_snapshots: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    oldest: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    newest: Option<String>,
    files: u64,
    directories: u64,
    logical_bytes: u64,
    /// The size of all files divided by the size of the stored data.
    #[serde(skip_serializing_if = "Option::is_none")]
    ratio: Option<f64>,
    condemned_packs: u64,
    condemned_bytes: u64,
}

impl Held {
    fn new(holdings: &Holdings, stored_bytes: u64) -> Held {
        let logical_bytes = holdings.totals.bytes;
        let ratio = logical_bytes as f64 / stored_bytes as f64;
        Held {
            damaged_snapshots: holdings.damaged,
            oldest: holdings.oldest_ns.map(human::time),
            newest: holdings.newest_ns.map(human::time),
            files: holdings.totals.files,
            directories: holdings.totals.directories,
            logical_bytes,
            ratio: (logical_bytes > 0).then_some((ratio * 100.0).round() / 100.0),
            condemned_packs: holdings.condemned_packs,
            condemned_bytes: holdings.condemned_bytes,
        }
    }
}

/// A key slot and its cost.
#[derive(Serialize)]
struct Key {
    label: String,
    memory_kib: u32,
    passes: u32,
    lanes: u32,
    #[serde(skip)]
    shown: String,
}

/// Prints the properties from CONFIG, the key slots and the lists of objects, and the totals of all
/// snapshots.
pub(super) fn print(globals: &Globals, watch: &Arc<Watch>) -> Result<Status> {
    let store = opening::store(globals)?;
    let locked = opening::unchecked(globals, &globals.place()?, store.clone())?;
    let slots = keyring::infos(locked.slots(&**watch)?, &**watch);
    let areas: Result<Vec<Contents>> = Area::ALL
        .iter()
        .map(|area| contents(&*store, *area))
        .collect();
    let keys = slots.iter().map(|(_, info)| key(info)).collect();
    let mut facts = Facts::new(store.location(), locked.config(), keys, areas?);
    facts.bytes += locked.config_bytes();
    let held = held(globals, locked, watch);
    if let Ok(Some(holdings)) = &held {
        facts.snapshots = holdings.snapshots;
        facts.held = Some(Held::new(holdings, facts.bytes));
    }
    globals.out.result("store", &facts)?;
    status(globals, held)
}

/// The totals of all snapshots, or `None` if the passphrase would have to be typed.
fn held(globals: &Globals, locked: Locked, watch: &Arc<Watch>) -> Result<Option<Holdings>> {
    match opening::unlocked_unasked(globals, locked, watch)? {
        Some(kloset) => {
            watch.show();
            let holdings = holdings(&kloset);
            watch.finish();
            holdings.map(Some)
        }
        None => Ok(None),
    }
}

/// The status of the command. If the snapshots could not be opened, the other properties are still
/// valid.
fn status(globals: &Globals, held: Result<Option<Holdings>>) -> Result<Status> {
    match held {
        Ok(Some(holdings)) => Ok(Status::damaged_if(holdings.damaged > 0)),
        Ok(None) => {
            let words = "without a passphrase, what the snapshots hold is not known";
            globals.out.warning(&Error::new(Kind::Denied, words));
            Ok(Status::Success)
        }
        Err(error) if error.kind() == Kind::Denied => {
            let error = error.during("what the snapshots hold is not known");
            globals.out.warning(&error);
            Ok(Status::Success)
        }
        Err(error) => Err(error),
    }
}

fn contents(store: &dyn Store, area: Area) -> Result<Contents> {
    let mut found = Contents {
        area: area.name(),
        objects: 0,
        bytes: 0,
    };
    let mut count = |object: crate::store::Object| {
        found.objects += 1;
        found.bytes = found.bytes.saturating_add(object.size_bytes);
        Ok(())
    };
    store.list(area, &mut count)?;
    Ok(found)
}

fn key(info: &SlotInfo) -> Key {
    let label = cost::shown_label(&info.label);
    Key {
        label: info.label.clone(),
        memory_kib: info.cost.memory_kib,
        passes: info.cost.passes,
        lanes: info.cost.lanes,
        shown: format!("{} {label}", info.cost).trim_end().to_owned(),
    }
}

impl Facts {
    fn new(location: &str, config: &Config, keys: Vec<Key>, areas: Vec<Contents>) -> Facts {
        let snapshots = areas
            .iter()
            .find(|contents| contents.area == Area::Snapshots.name());
        Facts {
            location: location.to_owned(),
            store_id: config.store_id.clone(),
            key_id: config.key_id.clone(),
            format: config.format,
            created: config.created.clone(),
            is_encrypted: config.plaintext_master_key.is_none(),
            compression: config.compression,
            chunk_bytes: [
                config.chunk_minimum,
                config.chunk_average,
                config.chunk_maximum,
            ],
            tree_chunk_bytes: [
                config.tree_chunk_minimum,
                config.tree_chunk_average,
                config.tree_chunk_maximum,
            ],
            keys,
            snapshots: snapshots.map_or(0, |contents| contents.objects),
            bytes: areas
                .iter()
                .fold(0, |sum, area| sum.saturating_add(area.bytes)),
            areas,
            held: None,
        }
    }

    fn rows(&self) -> Vec<(&str, String)> {
        let sizes = |[least, usual, most]: [u32; 3]| {
            let [least, usual, most] = [least, usual, most].map(|bytes| human::size(bytes.into()));
            format!("FastCDC, {least} to {most}, {usual} on average")
        };
        let encryption = match self.is_encrypted {
            true => "XChaCha20-Poly1305",
            false => "none",
        };
        let mut rows = vec![
            ("location", printable(self.location.as_bytes())),
            ("store", self.store_id.clone()),
            ("key", self.key_id.clone()),
            ("format", self.format.to_string()),
            ("created", printable(self.created.as_bytes())),
            ("encryption", encryption.to_owned()),
            ("compression", format!("zstd, level {}", self.compression)),
            ("chunks", sizes(self.chunk_bytes)),
            ("tree chunks", sizes(self.tree_chunk_bytes)),
        ];
        rows.extend(
            self.keys
                .iter()
                .map(|key| ("passphrase", key.shown.clone())),
        );
        rows.push(("snapshots", self.snapshots.to_string()));
        rows.extend(self.held.iter().flat_map(Held::rows));
        rows.extend(self.areas.iter().map(|contents| {
            let size = human::size(contents.bytes);
            (
                "objects",
                format!("{:<10} {:>8} {size:>10}", contents.area, contents.objects),
            )
        }));
        rows.push(("stored", bytes(self.bytes)));
        if let Some(ratio) = self.held.as_ref().and_then(|held| held.ratio) {
            rows.push(("ratio", format!("{ratio:.2}:1, files to what is stored")));
        }
        rows
    }
}

impl Held {
    fn rows(&self) -> Vec<(&'static str, String)> {
        let mut rows = Vec::new();
        if self.damaged_snapshots > 0 {
            let objects = counted(self.damaged_snapshots, "object", "objects");
            rows.push(("damaged", format!("{objects} of snapshots")));
        }
        rows.extend(self.oldest.clone().map(|time| ("oldest", time)));
        rows.extend(self.newest.clone().map(|time| ("newest", time)));
        rows.push(("files", format!("{}, in all snapshots", self.files)));
        rows.push((
            "size",
            format!("{}, in all snapshots", bytes(self.logical_bytes)),
        ));
        if self.condemned_packs > 0 {
            let packs = counted(self.condemned_packs, "pack", "packs");
            let size = human::size(self.condemned_bytes);
            rows.push(("condemned", format!("{packs}, {size}, wait to be deleted")));
        }
        rows
    }
}

impl fmt::Display for Facts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&table(&self.rows()))
    }
}

//! The facts of a store: what anyone can tell who may read it, with no passphrase.

use std::fmt;

use serde::Serialize;

use super::table;
use crate::cli::escape::printable;
use crate::cli::progress::Watch;
use crate::cli::{Globals, Status, opening};
use crate::error::{During, Result};
use crate::kloset::{Locked, config::Config, keyring, slot::SlotInfo};
use crate::store::{Area, Store};
use crate::util::human;

/// What lies in one area.
#[derive(Serialize)]
struct Contents {
    area: &'static str,
    objects: u64,
    bytes: u64,
}

/// What is printed.
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
}

/// What opening by one passphrase costs.
#[derive(Serialize)]
struct Key {
    label: String,
    memory_kib: u32,
    passes: u32,
    lanes: u32,
    #[serde(skip)]
    shown: String,
}

/// Prints what CONFIG, the key slots and the lists of objects tell.
pub(super) fn print(globals: &Globals, watch: &Watch) -> Result<Status> {
    let store = opening::store(globals)?;
    let locked = Locked::new(store.clone())?;
    let slots = keyring::list(&*store, watch)?;
    let areas: Result<Vec<Contents>> = Area::ALL
        .iter()
        .map(|area| contents(&*store, *area))
        .collect();
    let keys = slots.iter().map(|(_, info)| key(info)).collect();
    let facts = Facts::new(store.location(), locked.config(), keys, areas?);
    globals.out.result("store", &facts)?;
    Ok(Status::Success)
}

fn contents(store: &dyn Store, area: Area) -> Result<Contents> {
    let mut found = Contents {
        area: area.name(),
        objects: 0,
        bytes: 0,
    };
    let mut count = |object: crate::store::Object| {
        found.objects += 1;
        found.bytes += object.size_bytes;
        Ok(())
    };
    store
        .list(area, &mut count)
        .during(|| format!("list {}", area.name()))?;
    Ok(found)
}

fn key(info: &SlotInfo) -> Key {
    let label = printable(info.label.as_bytes());
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
            bytes: areas.iter().map(|contents| contents.bytes).sum(),
            areas,
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
        rows.extend(self.areas.iter().map(|contents| {
            let size = human::size(contents.bytes);
            (
                "objects",
                format!("{:<10} {:>8} {size:>10}", contents.area, contents.objects),
            )
        }));
        rows.push(("size", human::size(self.bytes)));
        rows
    }
}

impl fmt::Display for Facts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&table(&self.rows()))
    }
}

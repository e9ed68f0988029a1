//! `plakar key export` and `plakar key import`: a key slot on paper.

use std::fmt;
use std::fs::File;
use std::io::{Read, stdin};
use std::path::Path;

use serde::Serialize;

use super::{Slot, refuse_plaintext};
use crate::cli::escape::printable;
use crate::cli::{Args, Globals, Status, cost, opening};
use crate::error::{During, Error, Kind, Result};
use crate::format::slot::{self, SlotInfo};
use crate::kloset::Locked;
use crate::kloset::keyring::{self, Owner};
use crate::kloset::paper::{self, Paper};
use crate::util::Id;

/// An exported slot.
#[derive(Serialize)]
struct Exported {
    location: String,
    store_id: String,
    id: String,
    label: String,
    slot: String,
    #[serde(skip)]
    lines: Vec<String>,
}

impl Exported {
    fn new(store: &Locked, id: Id, slot: &[u8]) -> Result<Exported> {
        let SlotInfo { label, .. } = slot::inspect(slot)?;
        Ok(Exported {
            location: store.location().to_owned(),
            store_id: store.config().store_id.clone(),
            id: id.to_string(),
            label,
            slot: paper::hex(slot),
            lines: paper::lines(slot),
        })
    }
}

impl fmt::Display for Exported {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let location = printable(self.location.as_bytes());
        writeln!(f, "# A key slot. It opens nothing without its passphrase.")?;
        writeln!(f, "# To put it back: plakar at STORE key import FILE")?;
        writeln!(f, "location  {location}")?;
        writeln!(f, "store     {}", self.store_id)?;
        writeln!(f, "slot      {}", self.id)?;
        if !self.label.is_empty() {
            writeln!(f, "label     {}", cost::shown_label(&self.label))?;
        }
        f.write_str(&self.lines.join("\n"))
    }
}

pub(super) fn export(globals: &Globals, args: Args) -> Result<Status> {
    args.at_most(1)?;
    let prefix = args.texts()?.pop();
    let place = globals.place()?;
    let locked = opening::locked(globals, &place)?;
    refuse_plaintext(&locked)?;
    let slots = locked.slots(&*globals.watch())?;
    let wanted = match &prefix {
        Some(prefix) => Some(keyring::named(slots, prefix)?),
        None => None,
    };
    let mut has_exported = false;
    for (id, slot) in slots
        .iter()
        .filter(|(id, _)| wanted.is_none_or(|it| it == *id))
    {
        let exported = Exported::new(&locked, *id, slot);
        globals
            .out
            .result("key_slot", &exported.during(|| args.path())?)?;
        has_exported = true;
    }
    match has_exported {
        true => Ok(Status::Success),
        false => Err(Error::corrupt("the store has no intact key slot").during(args.path())),
    }
}

pub(super) fn import(globals: &Globals, args: Args) -> Result<Status> {
    args.at_least_one("a FILE, or - for standard input")?;
    let path = Path::new(&args.at_most(1)?[0]);
    let papers = read(path).during(|| printable(path.as_os_str().as_encoded_bytes()))?;
    let place = globals.place()?;
    let store = opening::store_at(globals, &place)?;
    let locked = opening::locked(globals, &place)?;
    refuse_plaintext(&locked)?;
    // All slots are checked before the first one is written.
    let checked: Result<Vec<SlotInfo>> = papers
        .iter()
        .map(|paper| check(paper, &locked.config().store_id))
        .collect();
    let checked = checked.during(|| args.path())?;
    for (paper, info) in papers.iter().zip(checked) {
        let id = keyring::restore(&*store, &paper.slot)?;
        let slot = Slot::new(id, &info, Owner::Store);
        globals.out.result("key", &slot)?;
    }
    Ok(Status::Success)
}

/// The slots in the file at `path`, or in standard input for `-`.
fn read(path: &Path) -> Result<Vec<Paper>> {
    let mut text = String::new();
    let limit = paper::TEXT_LIMIT_BYTES;
    match path.as_os_str() == "-" {
        true => stdin().lock().take(limit).read_to_string(&mut text)?,
        false => File::open(path)?.take(limit).read_to_string(&mut text)?,
    };
    paper::parse(&text)
}

/// Checks a slot before it is imported.
///
/// # Errors
/// [`Kind::Usage`] for a slot that was exported from another store, [`Kind::Corrupt`] for bytes
/// that are not a slot.
fn check(paper: &Paper, store_id: &str) -> Result<SlotInfo> {
    match &paper.store_id {
        Some(id) if id != store_id => {
            let id = printable(id.as_bytes());
            let cause = format!("the slot is of store {id}, and this is store {store_id}");
            Err(Error::new(Kind::Usage, cause))
        }
        _ => slot::inspect(&paper.slot),
    }
}

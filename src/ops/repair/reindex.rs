//! Index objects made anew from what the footers of packs say.
//!
//! Those that can be read are removed after what takes their place was published, so that an
//! interruption leaves too many. Where nothing can be removed they stay, and cost a warning at each
//! run.

use std::collections::HashSet;

use super::{Mode, Options, Summary};
use crate::error::{During, Error, Kind, Result};
use crate::format::pack_table::PackTable;
use crate::kloset::progress::Event;
use crate::kloset::write_session::adopt_packs;
use crate::kloset::{Kloset, condemned, index_object};
use crate::store::Area;
use crate::util::Id;

/// What was found of the index.
#[derive(Default)]
struct Found {
    damaged: Vec<Id>,
    stale: Vec<Id>,
    indexed: HashSet<Id>,
}

/// Looks at every index object, and replaces those that need it, unless it is a dry run.
pub(super) fn run(kloset: &Kloset, options: &Options) -> Result<Summary> {
    // In this order: packs that an index object tells of were there when it was published.
    let objects = kloset.names(Area::Index)?;
    let present = kloset.names(Area::Packs)?;
    // The collector deletes packs before it takes them out of the index.
    let condemned = condemned::names_readable(kloset)?;
    let is_lost = |pack: Id| !present.contains(&pack) && !condemned.contains_key(&pack);
    let mut found = Found::default();
    for object in objects {
        options.check.interrupt.check()?;
        match index_object::read(kloset, object) {
            Ok(tables) => {
                let mut packs = tables.iter().map(|table| table.pack);
                if packs.clone().any(is_lost) {
                    found.stale.push(object);
                }
                found.indexed.extend(packs.by_ref());
            }
            Err(error) if error.kind() == Kind::NotFound => {}
            Err(error) if error.is_of_one_object() => {
                kloset.observer().event(&Event::Warning(&error));
                found.damaged.push(object);
            }
            Err(error) => return Err(error),
        }
    }
    let unindexed: HashSet<Id> = present.difference(&found.indexed).copied().collect();
    let condemnations = condemned::damaged(kloset)?;
    if options.mode == Mode::Apply {
        replace(kloset, &found, &unindexed, &present)?;
        for object in &condemnations {
            remove(kloset, Area::Condemned, *object)?;
        }
    }
    Ok(Summary {
        damaged_indexes: found.damaged.len() as u64,
        stale_indexes: found.stale.len() as u64,
        unindexed_packs: unindexed.len() as u64,
        damaged_condemnations: condemnations.len() as u64,
        ..Summary::default()
    })
}

/// Publishes what is missing, and removes what is of no use.
fn replace(
    kloset: &Kloset,
    found: &Found,
    unindexed: &HashSet<Id>,
    present: &HashSet<Id>,
) -> Result<()> {
    // Before anything is published: an object that tells the same of the same packs has the
    // name of the damaged one, and would not be put in its place.
    found
        .damaged
        .iter()
        .try_for_each(|object| remove(kloset, Area::Index, *object))?;
    adopt_packs(kloset, unindexed)?;
    for object in &found.stale {
        let mut tables = match index_object::read(kloset, *object) {
            Ok(tables) => tables,
            // Somebody else replaced it meanwhile.
            Err(error) if error.kind() == Kind::NotFound => continue,
            Err(error) => return Err(error),
        };
        tables.retain(|table: &PackTable| present.contains(&table.pack));
        if !tables.is_empty() {
            index_object::publish(kloset, &tables)?;
        }
    }
    found
        .stale
        .iter()
        .try_for_each(|object| remove(kloset, Area::Index, *object))
}

/// Removes an object that is of no use, if that is allowed.
fn remove(kloset: &Kloset, area: Area, object: Id) -> Result<()> {
    let removed = kloset.store().delete(area, object);
    match removed.during(|| format!("remove {} {}", area.name(), object.short())) {
        Err(error) if error.kind() == Kind::Denied => {
            warn(kloset, &error);
            Ok(())
        }
        outcome => outcome,
    }
}

fn warn(kloset: &Kloset, error: &Error) {
    kloset.observer().event(&Event::Warning(error));
}

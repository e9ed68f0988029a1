//! Rebuilds index objects from the footers of packs.
//!
//! Readable index objects are removed after their replacement was published, so an interruption
//! leaves too many and not too few. If the store does not permit deletion, they stay, and each run
//! reports a warning.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::sync::Mutex;

use super::{Mode, Options, Summary};
use crate::error::{During, Error, Kind, Result};
use crate::format::pack_table::PackTable;
use crate::kloset::claims::{Claims, wrong_copies};
use crate::kloset::pack::read_table;
use crate::kloset::pipeline::{each_at_once, lock};
use crate::kloset::progress::Event;
use crate::kloset::write_session::adopt_packs;
use crate::kloset::{Kloset, condemned, index_object};
use crate::store::Area;
use crate::util::Id;

/// Defects of the index.
#[derive(Default)]
struct Found {
    damaged: Vec<Id>,
    /// Index objects that describe packs that no longer exist.
    stale: BTreeSet<Id>,
    claims: Claims,
}

/// Checks every index object, and replaces defective ones unless it is a dry run.
pub(super) fn run(kloset: &Kloset, options: &Options) -> Result<Summary> {
    // The order matters: packs that an index object mentions existed when it was published.
    let objects = kloset.names(Area::Index)?;
    let present = kloset.names(Area::Packs)?;
    // Maintenance deletes packs before it removes them from the index.
    let condemned = condemned::names_readable(kloset)?;
    let is_lost = |pack: Id| !present.contains(&pack) && !condemned.contains_key(&pack);
    let mut found = Found::default();
    for object in objects {
        options.check.interrupt.check()?;
        match index_object::read(kloset, object) {
            Ok(tables) => {
                if tables.iter().any(|table| is_lost(table.pack)) {
                    found.stale.insert(object);
                }
                found.claims.add(object, &tables);
            }
            Err(error) if error.kind() == Kind::NotFound => {}
            Err(error) if error.is_of_one_object() => {
                kloset.observer().event(&Event::Warning(&error));
                found.damaged.push(object);
            }
            Err(error) => return Err(error),
        }
    }
    compare(kloset, options, &mut found.claims, &present)?;
    for (object, packs) in found.claims.wrong() {
        let error = wrong_copies(packs).during(format!("index {}", object.short()));
        warn(kloset, &error);
    }
    let indexed = found.claims.good_packs();
    let unindexed: HashSet<Id> = present.difference(&indexed).copied().collect();
    let condemnations = condemned::damaged(kloset)?;
    if options.mode == Mode::Apply {
        replace(kloset, &found, &unindexed, &present)?;
        for object in &condemnations {
            remove(kloset, Area::Condemned, *object)?;
        }
    }
    Ok(Summary {
        damaged_indexes: (found.damaged.len() + found.claims.wrong().count()) as u64,
        stale_indexes: found.stale.len() as u64,
        unindexed_packs: unindexed.len() as u64,
        damaged_condemnations: condemnations.len() as u64,
        ..Summary::default()
    })
}

/// Compares index objects with the footers of the existing packs.
fn compare(
    kloset: &Kloset,
    options: &Options,
    claims: &mut Claims,
    present: &HashSet<Id>,
) -> Result<()> {
    let packs: Vec<Id> = claims.packs().intersection(present).copied().collect();
    let claims = Mutex::new(claims);
    each_at_once(&packs, kloset.connections(), |pack| {
        options.check.interrupt.check()?;
        match read_table(kloset.store(), kloset.sealer(), *pack) {
            Ok(footer) => lock(&claims).compare(&footer),
            // Then index objects are the only way to find its blocks. The check reports the pack.
            Err(error) if error.is_of_one_object() => {}
            Err(error) => return Err(error),
        }
        Ok(())
    })
}

/// Publishes what is missing, and removes useless objects.
fn replace(
    kloset: &Kloset,
    found: &Found,
    unindexed: &HashSet<Id>,
    present: &HashSet<Id>,
) -> Result<()> {
    // Before anything is published: a new object with the same facts about the same packs has the
    // same name as the damaged one, and would not replace it.
    found
        .damaged
        .iter()
        .try_for_each(|object| remove(kloset, Area::Index, *object))?;
    adopt_packs(kloset, unindexed)?;
    let wrong: BTreeMap<Id, &BTreeSet<Id>> = found.claims.wrong().collect();
    let replaced: BTreeSet<Id> = found.stale.iter().chain(wrong.keys()).copied().collect();
    for object in &replaced {
        let mut tables = match index_object::read(kloset, *object) {
            Ok(tables) => tables,
            // Another program has replaced it meanwhile.
            Err(error) if error.kind() == Kind::NotFound => continue,
            Err(error) => return Err(error),
        };
        let is_wrong = |pack: &Id| wrong.get(object).is_some_and(|packs| packs.contains(pack));
        tables.retain(|PackTable { pack, .. }| present.contains(pack) && !is_wrong(pack));
        if !tables.is_empty() {
            index_object::publish(kloset, &tables)?;
        }
    }
    let mut replaced = replaced.iter();
    replaced.try_for_each(|object| remove(kloset, Area::Index, *object))
}

/// Removes a useless object, if the store permits it.
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

//! Tests concurrent removal of key slots on several machines.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Barrier};

use plakar::error::{Error, Kind, Result};
use plakar::format::slot::{Cost, SlotInfo};
use plakar::kloset::{Kloset, Locked, Protection, create, keyring};
use plakar::store::memory::MemoryStore;
use plakar::store::{Area, Store};
use plakar::util::Id;

use crate::harness::*;
use crate::hooked::{Asked, Hooked};

fn cheap() -> SlotInfo {
    SlotInfo {
        label: String::new(),
        created_ns: 0,
        cost: Cost::FLOOR,
    }
}

fn unlocked(store: &Arc<dyn Store>, passphrase: &[u8]) -> Option<Kloset> {
    let locked = Locked::new(store.clone()).unwrap();
    let key = locked.unlock(passphrase, &Watcher::default()).ok()??;
    let kloset = locked.open(key, None, Arc::new(Watcher::default()));
    Some(kloset.unwrap())
}

/// A store with slots for the passphrases `one` and `two`, and the ids of the slots.
fn with_two_slots() -> (Arc<dyn Store>, Id, Id) {
    let memory = MemoryStore::new();
    create(&memory, &Protection::Passphrase(b"one", cheap()), 1).unwrap();
    let first = objects(&memory, Area::Keys)[0];
    let store = shared(&memory);
    let kloset = unlocked(&store, b"one").unwrap();
    let second = keyring::add(&kloset, b"two", &cheap()).unwrap();
    (store, first, second)
}

fn opens(store: &Arc<dyn Store>) -> [bool; 2] {
    [b"one", b"two"].map(|passphrase| unlocked(store, passphrase).is_some())
}

#[test]
fn of_two_removals_the_one_that_is_delayed_puts_its_slot_back() {
    let (store, first, second) = with_two_slots();
    let other = store.clone();
    let delayed = Hooked::new(&store).before(move |asked| {
        // The other machine still sees the first slot, and removes the second one.
        if asked == Asked::Delete(Area::Keys, first) {
            keyring::remove(&unlocked(&other, b"two").unwrap(), second).unwrap();
        }
        Ok(())
    });
    let kloset = unlocked(&delayed.shared(), b"one").unwrap();
    let error = keyring::remove(&kloset, first).unwrap_err();
    let words = error.to_string();
    assert!(words.contains("was put back: every other"), "{words}");
    assert_eq!(opens(&store), [true, false]);
}

#[test]
fn two_removals_in_step_leave_a_slot() {
    let (store, first, second) = with_two_slots();
    let barrier = Arc::new(Barrier::new(2));
    let machine = |passphrase: &[u8], slot: Id| {
        let (before, after) = (barrier.clone(), barrier.clone());
        let wait = move |asked: Asked, barrier: &Barrier| {
            if asked == Asked::Delete(Area::Keys, slot) {
                barrier.wait();
            }
        };
        let store = Hooked::new(&store)
            .before(move |asked| {
                wait(asked, &before);
                Ok(())
            })
            .after(move |asked| wait(asked, &after));
        unlocked(&store.shared(), passphrase).unwrap()
    };
    let (one, two) = (machine(b"one", first), machine(b"two", second));
    let removed = std::thread::scope(|scope| {
        let other = scope.spawn(|| keyring::remove(&two, second).is_ok());
        [keyring::remove(&one, first).is_ok(), other.join().unwrap()]
    });
    // The second machine may already see that the first one restored its slot.
    assert_ne!(removed, [true, true]);
    assert_eq!(opens(&store), removed.map(|is_removed| !is_removed));
}

#[test]
fn a_removal_that_cannot_list_the_other_slots_is_undone() {
    let (store, first, _) = with_two_slots();
    let is_deleted = Arc::new(AtomicBool::new(false));
    let deleted = is_deleted.clone();
    let fail = move |asked: Asked| -> Result<()> {
        match asked == Asked::List(Area::Keys) && is_deleted.load(Ordering::Relaxed) {
            true => Err(Error::new(Kind::Unavailable, "no answer")),
            false => Ok(()),
        }
    };
    let note = move |asked: Asked| {
        if asked == Asked::Delete(Area::Keys, first) {
            deleted.store(true, Ordering::Relaxed);
        }
    };
    let broken = Hooked::new(&store).before(fail).after(note).shared();
    let kloset = unlocked(&broken, b"one").unwrap();
    let error = keyring::remove(&kloset, first).unwrap_err();
    assert_eq!(error.kind(), Kind::Unavailable);
    assert_eq!(opens(&store), [true, true]);
}

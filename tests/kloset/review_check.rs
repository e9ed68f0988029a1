//! What a review found in keys, opening and checking, each made to happen.

use std::sync::Arc;

use plakar::kloset::keyring::{self, Owner};
use plakar::kloset::slot::{self, Cost, SlotInfo};
use plakar::kloset::{Kloset, Locked, Protection, create, master::Key};
use plakar::store::memory::MemoryStore;
use plakar::store::{Area, Store};
use plakar::util::Id;

use crate::harness::*;

fn cheap() -> SlotInfo {
    SlotInfo {
        label: String::new(),
        created_ns: 0,
        cost: Cost::FLOOR,
    }
}

/// A store that `one` opens, unlocked.
fn unlocked() -> (MemoryStore, Kloset) {
    let store = MemoryStore::new();
    create(&store, &Protection::Passphrase(b"one", cheap()), 1).unwrap();
    let locked = Locked::new(shared(&store)).unwrap();
    let key = locked.unlock(b"one", &Watcher::default()).unwrap().unwrap();
    let kloset = locked
        .open(key, None, Arc::new(Watcher::default()))
        .unwrap();
    (store, kloset)
}

/// Puts a slot there that `passphrase` opens, and that wraps another key.
fn plant(store: &MemoryStore, passphrase: &[u8]) -> Id {
    let slot = slot::wrap(&Key::new([7; 32]), passphrase, &cheap()).unwrap();
    store.put(Area::Keys, Id::of(&slot), &slot).unwrap();
    Id::of(&slot)
}

#[test]
fn a_slot_of_another_key_does_not_count_as_a_passphrase() {
    let (store, kloset) = unlocked();
    let own = objects(&store, Area::Keys)[0];
    let planted = plant(&store, b"one");
    let (found, _) = keyring::slot_of(&kloset, b"one").unwrap().unwrap();
    assert_eq!(found, own, "the planted slot opens with the passphrase too");
    let owners = keyring::owners(&kloset).unwrap();
    let of = |id| owners.iter().find(|(slot, ..)| *slot == id).unwrap().2;
    assert_eq!((of(own), of(planted)), (Owner::Store, Owner::Stranger));
    let error = keyring::remove(&kloset, own).unwrap_err();
    assert!(error.to_string().contains("only passphrase"), "{error}");
    keyring::remove(&kloset, planted).unwrap();
    assert_eq!(objects(&store, Area::Keys), [own]);
}

#[test]
fn a_creation_removes_the_slots_that_interrupted_ones_left() {
    let store = MemoryStore::new();
    store.prepare().unwrap();
    let left = plant(&store, b"first try");
    create(&store, &Protection::Passphrase(b"one", cheap()), 1).unwrap();
    let slots = objects(&store, Area::Keys);
    assert!(slots.len() == 1 && slots[0] != left, "{slots:?}");
    let plain = MemoryStore::new();
    plain.prepare().unwrap();
    plant(&plain, b"first try");
    create(&plain, &Protection::Plaintext, 1).unwrap();
    assert_eq!(objects(&plain, Area::Keys), []);
}

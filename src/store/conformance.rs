//! Conformance tests for [`Store`]: one suite for all implementations.
//!
//! A test of each implementation calls [`run`] with a function that returns a new location every
//! time. [`run`] panics with the violated guarantee, so it belongs in tests only. Errors that are
//! specific to one kind of store (a full disk, a lost connection) are tested separately.

use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use super::{Area, CONFIG_LIMIT_BYTES, Object, Store};
use crate::error::{Kind, Result};
use crate::util::Id;

/// The number of concurrent uploads: more than the connections of any store.
const THREADS: usize = 8;

/// Larger than a pack, and than any intermediate buffer.
const LARGE_BYTES: usize = 20 << 20;

/// Tests all guarantees with the stores that `fresh` creates. Each must be at a new, empty
/// location.
///
/// # Panics
/// If a guarantee is violated.
pub fn run(fresh: &dyn Fn() -> Arc<dyn Store>) {
    a_place_is_no_store_before_config(&*fresh());
    preparing_again_is_harmless_until_there_is_a_store(fresh);
    config_is_never_replaced(&*prepared(fresh));
    for area in Area::ALL {
        what_was_put_is_there(&*prepared(fresh), area);
        what_was_not_put_is_not(&*prepared(fresh), area);
        the_same_put_twice_is_one_object(&*prepared(fresh), area);
        an_upload_equals_a_put(&*prepared(fresh), area);
        deleted_is_gone_and_can_be_again(&*prepared(fresh), area);
        sizes_are_bounded(&*prepared(fresh), area);
    }
    areas_are_apart(&*prepared(fresh));
    reads_are_whole_or_corrupt(&*prepared(fresh));
    a_large_object_is_whole(&*prepared(fresh));
    every_prefix_is_listed(&*prepared(fresh));
    a_listing_stops_when_told(&*prepared(fresh));
    threads_may_put_the_same(&*prepared(fresh));
    threads_may_list_while_others_put(&*prepared(fresh));
}

fn prepared(fresh: &dyn Fn() -> Arc<dyn Store>) -> Arc<dyn Store> {
    let store = fresh();
    store.prepare().expect("prepare");
    store
}

/// Incompressible bytes, the same for the same `seed`.
fn bytes(seed: u64, length: usize) -> Vec<u8> {
    let mut bytes = vec![0; length];
    let mut hasher = blake3::Hasher::new();
    hasher.update(&seed.to_le_bytes());
    hasher.finalize_xof().fill(&mut bytes);
    bytes
}

fn put(store: &dyn Store, area: Area, bytes: &[u8]) -> Id {
    let id = Id::of(bytes);
    store.put(area, id, bytes).expect("put");
    id
}

fn listed(store: &dyn Store, area: Area) -> Vec<Object> {
    let mut objects = Vec::new();
    let mut each = |object| {
        objects.push(object);
        Ok(())
    };
    store.list(area, &mut each).expect("list");
    assert!(
        objects.is_sorted_by(|one, next| one.id < next.id),
        "{area:?} is not listed by ascending ids"
    );
    objects
}

fn assert_kind<T>(outcome: Result<T>, kind: Kind, what: &str) {
    let error = outcome.err().unwrap_or_else(|| panic!("{what} succeeded"));
    assert_eq!(error.kind(), kind, "{what}: {error}");
    let words = error.to_string();
    assert!(
        !words.is_empty() && !words.contains('\n'),
        "{what}: not one line: {words:?}"
    );
}

fn a_place_is_no_store_before_config(store: &dyn Store) {
    assert_kind(
        store.get_config(),
        Kind::NotFound,
        "CONFIG of a place where nothing is",
    );
    store.prepare().expect("prepare");
    assert_kind(
        store.get_config(),
        Kind::NotFound,
        "CONFIG of a place that was only prepared",
    );
    for area in Area::ALL {
        assert_eq!(
            listed(store, area),
            [],
            "{area:?} of a prepared place is not empty"
        );
    }
}

fn preparing_again_is_harmless_until_there_is_a_store(fresh: &dyn Fn() -> Arc<dyn Store>) {
    let store = prepared(fresh);
    store.prepare().expect("prepare twice");
    let slot = put(&*store, Area::Keys, b"a slot");
    store
        .prepare()
        .expect("prepare with the key slot of an interrupted creation");
    assert_eq!(store.get(Area::Keys, slot).expect("get a slot"), b"a slot");
    store.put_config(b"version = 1").expect("put_config");
    assert_kind(store.prepare(), Kind::Exists, "prepare where a store is");

    let orphaned = prepared(fresh);
    put(&*orphaned, Area::Snapshots, b"a snapshot");
    assert_kind(
        orphaned.prepare(),
        Kind::Exists,
        "prepare over the objects of a store that lost CONFIG",
    );
}

fn config_is_never_replaced(store: &dyn Store) {
    let most = bytes(1, CONFIG_LIMIT_BYTES as usize);
    store
        .put_config(&most)
        .expect("put_config of the largest size");
    assert_kind(store.put_config(b"other"), Kind::Exists, "a second CONFIG");
    assert_kind(
        store.put_config(&most),
        Kind::Exists,
        "the same CONFIG again",
    );
    assert_eq!(
        store.get_config().expect("get_config"),
        most,
        "CONFIG changed"
    );
}

fn what_was_put_is_there(store: &dyn Store, area: Area) {
    for bytes in [Vec::new(), b"x".to_vec(), bytes(2, 4096), bytes(3, 60_001)] {
        let id = put(store, area, &bytes);
        let object = store.stat(area, id).expect("stat");
        assert_eq!(
            (object.id, object.size_bytes),
            (id, bytes.len() as u64),
            "stat in {area:?}"
        );
        assert!(object.modified_ns > 0, "stat in {area:?} tells no time");
        assert_eq!(store.get(area, id).expect("get"), bytes, "get in {area:?}");
        let mut buffer = vec![0; bytes.len()];
        store
            .read_at(area, id, 0, &mut buffer)
            .expect("read_at of the whole");
        assert_eq!(buffer, bytes, "read_at in {area:?}");
        assert!(
            listed(store, area).contains(&object),
            "{area:?} does not list what stat tells"
        );
    }
    assert_eq!(listed(store, area).len(), 4, "objects in {area:?}");
}

fn what_was_not_put_is_not(store: &dyn Store, area: Area) {
    let id = Id::of(b"never put");
    assert_kind(store.get(area, id), Kind::NotFound, "get of nothing");
    assert_kind(store.stat(area, id), Kind::NotFound, "stat of nothing");
    assert_kind(
        store.read_at(area, id, 0, &mut [0; 1]),
        Kind::NotFound,
        "read_at of nothing",
    );
    assert_kind(
        store.read_at(area, id, 0, &mut []),
        Kind::NotFound,
        "read_at of none of nothing",
    );
    store.delete(area, id).expect("delete of nothing");
}

fn the_same_put_twice_is_one_object(store: &dyn Store, area: Area) {
    let id = put(store, area, b"twice");
    put(store, area, b"twice");
    let mut upload = store.upload(area).expect("upload");
    upload.write(b"twice").expect("write");
    upload.commit(id).expect("commit of what is there");
    assert_eq!(listed(store, area).len(), 1, "objects in {area:?}");
    assert_eq!(store.get(area, id).expect("get"), b"twice");
}

fn an_upload_equals_a_put(store: &dyn Store, area: Area) {
    let bytes = bytes(4, 50_000);
    let mut dropped = store.upload(area).expect("upload");
    dropped.write(&bytes).expect("write");
    let mut upload = store.upload(area).expect("second upload at once");
    for piece in [
        &bytes[..1],
        &bytes[1..1],
        &bytes[1..40_000],
        &bytes[40_000..],
    ] {
        upload.write(piece).expect("write a piece");
    }
    assert_eq!(
        listed(store, area),
        [],
        "{area:?} lists what is not published"
    );
    upload.commit(Id::of(&bytes)).expect("commit");
    drop(dropped);
    store
        .upload(area)
        .expect("upload")
        .commit(Id::of(b""))
        .expect("commit of no bytes");

    assert_eq!(
        store.get(area, Id::of(&bytes)).expect("get"),
        bytes,
        "uploaded to {area:?}"
    );
    assert_eq!(store.get(area, Id::of(b"")).expect("get"), b"");
    assert_eq!(
        listed(store, area).len(),
        2,
        "a dropped upload left an object in {area:?}"
    );
}

fn deleted_is_gone_and_can_be_again(store: &dyn Store, area: Area) {
    let (id, other) = (put(store, area, b"deleted"), put(store, area, b"kept"));
    store
        .read_at(area, id, 0, &mut [0; 7])
        .expect("read_at before it is deleted");
    store.delete(area, id).expect("delete");
    store.delete(area, id).expect("delete twice");
    assert_kind(
        store.get(area, id),
        Kind::NotFound,
        "get of what was deleted",
    );
    assert_kind(
        store.stat(area, id),
        Kind::NotFound,
        "stat of what was deleted",
    );
    assert_kind(
        store.read_at(area, id, 0, &mut [0; 7]),
        Kind::NotFound,
        "read_at of what was deleted",
    );
    let ids: Vec<Id> = listed(store, area).iter().map(|object| object.id).collect();
    assert_eq!(ids, [other], "{area:?} after a delete");
    put(store, area, b"deleted");
    assert_eq!(
        store.get(area, id).expect("get of what was put again"),
        b"deleted"
    );
}

/// Only for areas with a small limit: a pack may have 256 MiB.
fn sizes_are_bounded(store: &dyn Store, area: Area) {
    let limit = area.limit_bytes() as usize;
    if limit > LARGE_BYTES {
        return;
    }
    let most = bytes(5, limit);
    let id = put(store, area, &most);
    assert!(
        store.get(area, id).expect("get of the largest") == most,
        "the largest object of {area:?} changed"
    );
    let over = bytes(6, limit + 1);
    let id = Id::of(&over);
    // The object may be rejected by `put` or by `get`, but is never returned.
    if store.put(area, id, &over).is_ok() {
        assert_kind(
            store.get(area, id),
            Kind::Corrupt,
            "get of an object over the limit",
        );
    }
}

fn areas_are_apart(store: &dyn Store) {
    for (seed, area) in (0..).zip(Area::ALL) {
        put(store, area, &bytes(seed, 10));
    }
    for (seed, area) in (0..).zip(Area::ALL) {
        let own = Id::of(&bytes(seed, 10));
        let ids: Vec<Id> = listed(store, area).iter().map(|object| object.id).collect();
        assert_eq!(ids, [own], "{area:?} lists what is in another area");
        let other = Id::of(&bytes((seed + 1) % Area::ALL.len() as u64, 10));
        assert_kind(
            store.stat(area, other),
            Kind::NotFound,
            "stat of what is in another area",
        );
    }
}

fn reads_are_whole_or_corrupt(store: &dyn Store) {
    for area in Area::ALL {
        let bytes = bytes(7, 1000);
        let id = put(store, area, &bytes);
        let read = |range: Range<u64>| {
            let mut buffer = vec![0; (range.end - range.start) as usize];
            store
                .read_at(area, id, range.start, &mut buffer)
                .map(|()| buffer)
        };
        for (start, end) in [(0, 1), (0, 0), (1000, 1000), (999, 1000), (123, 456)] {
            let found = read(start as u64..end as u64).expect("read_at within");
            assert_eq!(
                found,
                bytes[start..end],
                "read_at {start}..{end} in {area:?}"
            );
        }
        for range in [
            999..1001,
            0..1001,
            1000..1001,
            5000..5001,
            u64::MAX - 5..u64::MAX,
        ] {
            assert_kind(read(range), Kind::Corrupt, "read_at over the end");
        }
    }
}

fn a_large_object_is_whole(store: &dyn Store) {
    let bytes = bytes(8, LARGE_BYTES);
    let id = put(store, Area::Packs, &bytes);
    assert!(
        store.get(Area::Packs, id).expect("get") == bytes,
        "a large object changed"
    );
    let mut buffer = vec![0; 1 << 20];
    for offset in [0, 7 << 20, LARGE_BYTES - buffer.len()] {
        store
            .read_at(Area::Packs, id, offset as u64, &mut buffer)
            .expect("read_at");
        assert!(
            buffer == bytes[offset..][..buffer.len()],
            "a large object differs at {offset}"
        );
    }
}

/// Stores may use one directory per prefix: tests objects with all first bytes, and some prefixes
/// with several objects.
fn every_prefix_is_listed(store: &dyn Store) {
    for area in [Area::Packs, Area::Index] {
        let mut ids: Vec<Id> = (0..600).map(|n| put(store, area, &bytes(n, 9))).collect();
        ids.sort();
        let found: Vec<Id> = listed(store, area).iter().map(|object| object.id).collect();
        assert_eq!(found, ids, "{area:?} does not list each object once");
        a_listing_goes_on_after_any_id(store, area, &ids);
    }
}

/// After an existing id, a missing one, the last one, and a larger one.
fn a_listing_goes_on_after_any_id(store: &dyn Store, area: Area, ids: &[Id]) {
    let between = Id::of(b"none of these");
    for after in [ids[0], ids[299], between, ids[599], Id([0xff; 32])] {
        let mut found = Vec::new();
        let mut each = |object: Object| {
            found.push(object.id);
            Ok(())
        };
        store
            .list_after(area, Some(after), &mut each)
            .expect("list_after");
        let expected = &ids[ids.partition_point(|id| *id <= after)..];
        assert_eq!(found, expected, "{area:?} listed after {after}");
    }
}

fn a_listing_stops_when_told(store: &dyn Store) {
    for n in 0..3 {
        put(store, Area::Packs, &bytes(n, 9));
    }
    let mut seen = 0;
    let mut each = |_| {
        seen += 1;
        Err(crate::error::Error::new(Kind::Interrupted, "enough"))
    };
    assert_kind(
        store.list(Area::Packs, &mut each),
        Kind::Interrupted,
        "a listing told to stop",
    );
    assert_eq!(seen, 1, "a listing went on after it was told to stop");
}

fn threads_may_put_the_same(store: &dyn Store) {
    let bytes = bytes(9, 1 << 20);
    let id = Id::of(&bytes);
    for area in Area::ALL
        .into_iter()
        .filter(|area| area.limit_bytes() >= 1 << 20)
    {
        thread::scope(|scope| {
            for _ in 0..THREADS {
                scope.spawn(|| store.put(area, id, &bytes).expect("put of what others put"));
            }
        });
        assert!(
            store.get(area, id).expect("get") == bytes,
            "puts at once mixed up an object"
        );
        assert_eq!(
            listed(store, area).len(),
            1,
            "puts at once left several objects"
        );
    }
}

fn threads_may_list_while_others_put(store: &dyn Store) {
    let before = put(store, Area::Packs, b"before");
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        let putting = scope.spawn(|| {
            for n in 0..100 {
                put(store, Area::Packs, &bytes(n, 5000));
            }
            done.store(true, Ordering::SeqCst);
        });
        while !done.load(Ordering::SeqCst) && !putting.is_finished() {
            let objects = listed(store, Area::Packs);
            assert!(
                objects.iter().any(|object| object.id == before),
                "a listing lost what was there before"
            );
            let sizes = objects
                .iter()
                .filter(|object| object.id != before)
                .map(|object| object.size_bytes);
            assert!(
                sizes.clone().all(|size| size == 5000),
                "a listing told half an object"
            );
        }
    });
    assert_eq!(listed(store, Area::Packs).len(), 101);
}

//! Tests a store in which every n-th call fails. Nothing is lost, and the next run completes the
//! work.

use std::sync::atomic::{AtomicU64, Ordering};

use plakar::ops::select;

use super::*;
use crate::sync::try_open;

/// A number of calls after which no fault occurs: more than any operation here makes.
const MOST_CALLS: u64 = 150;

/// A store in which every `n`-th call fails, and the number of calls made.
fn failing(store: &Arc<dyn Store>, n: u64) -> (Arc<dyn Store>, Arc<AtomicU64>) {
    let calls = Arc::new(AtomicU64::new(0));
    let counted = calls.clone();
    let fail = move |asked| match (counted.fetch_add(1, Ordering::SeqCst) + 1) % n {
        0 => Err(Error::new(
            Kind::Unavailable,
            format!("no answer to {asked:?}"),
        )),
        _ => Ok(()),
    };
    (Hooked::new(store).before(fail).shared(), calls)
}

#[derive(Clone, Copy, Debug)]
enum Work {
    /// Removes all snapshots except one, as `rm` and `prune -apply` do.
    Remove,
    Maintain(Duration),
}

fn work(work: Work, store: &Arc<dyn Store>, kept: Id) -> Result<()> {
    let (kloset, _) = try_open(store)?;
    match work {
        Work::Remove => {
            let snapshots = select::all(&kloset)?;
            let mut doomed = snapshots.iter().filter(|one| one.snapshot.id != kept);
            doomed.try_for_each(|stored| snapshot::remove(&kloset, stored))
        }
        Work::Maintain(grace) => collect::run(&kloset, &with_grace(grace)).map(drop),
    }
}

/// A store with snapshots, some with changed labels, and with garbage, some of which was condemned
/// longer than the grace period ago.
fn busy() -> (MemoryStore, Id, Listing) {
    let (memory, tree, kept, expected) = half_dead();
    let store = shared(&memory);
    maintain(&store).unwrap();
    for round in 0..2 {
        write_noise(&tree, "more", 300 + round, 40_000);
        let id = backup(&store, tree.path()).unwrap().snapshot;
        let (kloset, _) = open(&store);
        let stored = crate::harness::snapshot(&kloset, id).unwrap();
        snapshot::amend(&kloset, &stored, snapshot::Labels::default()).unwrap();
        if round == 0 {
            snapshot::remove(&kloset, &crate::harness::snapshot(&kloset, id).unwrap()).unwrap();
        }
    }
    memory.age(8 * DAY);
    (memory, kept, expected)
}

fn survives(what: Work) {
    let (memory, kept, expected) = busy();
    for n in 1..=MOST_CALLS {
        let copy = memory.fork();
        let store = shared(&copy);
        let (faulty, calls) = failing(&store, n);
        let outcome = work(what, &faulty, kept);
        let when = format!("{what:?}, every {n}th call: {outcome:?}");
        // A condemnation that no longer exists when it is removed is not an error.
        assert!(
            outcome.is_err() || calls.load(Ordering::SeqCst) < n,
            "{when}: not told"
        );
        assert_restores(&store, kept, &expected, &when);
        work(what, &store, kept).unwrap_or_else(|error| panic!("{when}: {error}"));
        assert_restores(&store, kept, &expected, &when);
        assert_intact(&store, &when);
        if outcome.is_ok() {
            return;
        }
    }
    panic!("{what:?} takes more than {MOST_CALLS} calls");
}

#[test]
fn a_removal_at_a_store_that_fails_again_and_again_is_done_by_the_next() {
    survives(Work::Remove);
}

#[test]
fn maintenance_at_a_store_that_fails_again_and_again_is_done_by_the_next() {
    survives(Work::Maintain(GRACE));
    survives(Work::Maintain(Duration::ZERO));
}

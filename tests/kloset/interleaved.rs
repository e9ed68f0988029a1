//! Tests interleavings of the real program: backups, a sync and maintenance runs on one store, each
//! in a thread that waits for its turn at every call to the store with effects that others could
//! notice.
//!
//! All schedules are run in which the actors start in any order, and in which the number of
//! preemptions is limited: most races take one or two. Reads of an existing object are not
//! preemption points: objects never change, and the deletion of an object during a read is
//! equivalent to a deletion at the preceding or following point. Calls from several threads of one
//! actor are ordered only as far as the program orders them. Therefore this test is exhaustive
//! within its bounds, and a normal test beyond them. `tests/collecting` is an exhaustive test of a
//! model.

use std::sync::{Arc, Condvar, Mutex};
use std::thread;
use std::time::Duration;

use plakar::error::Result;
use plakar::kloset::snapshot;
use plakar::ops::collect::{self, Options};
use plakar::ops::{select, sync};
use plakar::store::Store;
use plakar::store::memory::MemoryStore;
use plakar::util::Id;
use plakar::util::interrupt::Interrupt;
use tempfile::TempDir;

use crate::harness::*;
use crate::hooked::{Asked, Hooked};
use crate::sync::{Kin, beside};

const DAY: Duration = Duration::from_secs(24 * 3600);

/// The scheduler of the actors.
#[derive(Default)]
struct Turns {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    /// The number of waiting calls of each actor.
    waiting: Vec<usize>,
    done: Vec<bool>,
    /// The actor that may make one call, until it is made.
    turn: Option<usize>,
    is_running: bool,
}

impl Turns {
    fn new(actors: usize) -> Arc<Turns> {
        let state = State {
            waiting: vec![0; actors],
            done: vec![false; actors],
            ..State::default()
        };
        Arc::new(Turns {
            state: Mutex::new(state),
            changed: Condvar::new(),
        })
    }

    /// Waits for permission to make a call.
    fn begin(&self, actor: usize) {
        let mut state = self.state.lock().unwrap();
        state.waiting[actor] += 1;
        self.changed.notify_all();
        while state.turn != Some(actor) || state.is_running {
            state = self.changed.wait(state).unwrap();
        }
        state.is_running = true;
        state.waiting[actor] -= 1;
    }

    /// Returns the permission after the call.
    fn end(&self) {
        let mut state = self.state.lock().unwrap();
        (state.turn, state.is_running) = (None, false);
        self.changed.notify_all();
    }

    fn finish(&self, actor: usize) {
        self.state.lock().unwrap().done[actor] = true;
        self.changed.notify_all();
    }

    /// Waits until every actor is at a call or finished, and returns those at a call.
    fn ready(&self) -> Vec<usize> {
        let mut state = self.state.lock().unwrap();
        loop {
            let is_settled = |actor: usize| state.done[actor] || state.waiting[actor] > 0;
            if state.turn.is_none() && (0..state.done.len()).all(is_settled) {
                return (0..state.done.len())
                    .filter(|actor| !state.done[*actor])
                    .collect();
            }
            state = self.changed.wait(state).unwrap();
        }
    }

    fn grant(&self, actor: usize) {
        self.state.lock().unwrap().turn = Some(actor);
        self.changed.notify_all();
    }
}

/// The store as seen by one actor.
fn stepped(memory: &MemoryStore, actor: usize, turns: &Arc<Turns>) -> Arc<dyn Store> {
    let is_point = |asked| !matches!(asked, Asked::Read(..) | Asked::Stat(..));
    let (begins, ends) = (turns.clone(), turns.clone());
    let begin = move |asked| {
        if is_point(asked) {
            begins.begin(actor);
        }
        Ok(())
    };
    let end = move |asked| {
        if is_point(asked) {
            ends.end();
        }
    };
    Hooked::new(&shared(memory))
        .before(begin)
        .after(end)
        .shared()
}

/// The work of an actor.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Work {
    Backup,
    Sync,
    Maintain,
}

/// The initial state of all runs.
struct Start {
    store: MemoryStore,
    tree: TempDir,
    /// A store with the same key, and with a snapshot of data that was removed here: a sync stores
    /// packs under names that are condemned or being deleted.
    sibling: MemoryStore,
    removed_listing: Listing,
    kept: Id,
    kept_listing: Listing,
    listing: Listing,
}

fn grace() -> Options {
    Options {
        grace: 7 * DAY,
        is_dry: false,
        is_exclusive: false,
        max_repack_bytes: None,
        interrupt: Interrupt::default(),
    }
}

fn maintain(store: &Arc<dyn Store>) -> Result<()> {
    collect::run(&open(store).0, &grace()).map(drop)
}

fn remove(store: &Arc<dyn Store>, id: Id) {
    let (kloset, _) = open(store);
    snapshot::remove(&kloset, &snapshot(&kloset, id).unwrap()).unwrap();
}

/// A store with packs whose grace period is over, other packs that are dead but not yet condemned,
/// and a snapshot that needs parts of both. The data to back up is in these packs too.
fn start() -> Start {
    let (memory, tree) = (new_store(), scratch());
    let store = shared(&memory);
    let write =
        |name: &str, seed| std::fs::write(tree.path().join(name), noise(seed, 900)).unwrap();
    write("first", 1);
    write("shared", 2);
    let doomed = backup(&store, tree.path()).unwrap().snapshot;
    let sibling = beside(&store, Kin::Sibling);
    sync_all(&store, &shared(&sibling)).unwrap();
    let removed_listing = listing(tree.path());
    remove(&store, doomed);
    memory.age(8 * DAY);
    maintain(&store).unwrap();
    write("second", 3);
    let doomed = backup(&store, tree.path()).unwrap().snapshot;
    std::fs::remove_file(tree.path().join("first")).unwrap();
    let kept = backup(&store, tree.path()).unwrap().snapshot;
    let kept_listing = listing(tree.path());
    remove(&store, doomed);
    memory.age(8 * DAY);
    write("first", 1);
    Start {
        store: memory,
        kept,
        kept_listing,
        listing: listing(tree.path()),
        tree,
        sibling,
        removed_listing,
    }
}

/// Copies all snapshots, and returns the last one.
fn sync_all(from: &Arc<dyn Store>, to: &Arc<dyn Store>) -> Result<Option<Id>> {
    let (from, to) = (open(from).0, open(to).0);
    let snapshots = select::all(&from)?;
    let options = sync::Options {
        present: sync::Present::IfHoley,
        workers: 1,
        interrupt: Interrupt::default(),
    };
    let summary = sync::run(&from, &to, &snapshots, &options, &mut |_, _| Ok(()))?;
    let last = snapshots.last().map(|stored| stored.snapshot.id);
    Ok(last.filter(|_| summary.failed == 0))
}

impl Start {
    fn work(&self, work: Work, store: &Arc<dyn Store>) -> Result<Option<Id>> {
        match work {
            Work::Backup => {
                let options = plakar::ops::backup::Options {
                    workers: 1,
                    ..options(self.tree.path())
                };
                let source = plakar::connector::LocalSource::new()?;
                backup_from(store, &source, &options).map(|summary| Some(summary.snapshot))
            }
            Work::Maintain => maintain(store).map(|()| None),
            Work::Sync => sync_all(&shared(&self.sibling), store),
        }
    }

    /// Runs `works` concurrently. Each actor continues until it is finished, or until a step at
    /// which another one is scheduled. Returns the ready actors at each step.
    fn run(&self, works: &[Work], order: &[usize], switches: &[(usize, usize)]) -> Vec<Vec<usize>> {
        let memory = self.store.fork();
        let turns = Turns::new(works.len());
        let mut steps: Vec<Vec<usize>> = Vec::new();
        let outcomes: Vec<Result<Option<Id>>> = thread::scope(|scope| {
            let start = |(actor, work): (usize, &Work)| {
                let (turns, inner, work) = (turns.clone(), memory.clone(), *work);
                scope.spawn(move || {
                    let outcome = self.work(work, &stepped(&inner, actor, &turns));
                    turns.finish(actor);
                    outcome
                })
            };
            let threads: Vec<_> = works.iter().enumerate().map(start).collect();
            let mut current = order[0];
            loop {
                let ready = turns.ready();
                if ready.is_empty() {
                    break;
                }
                let switch = switches.iter().find(|(step, _)| *step == steps.len());
                if let Some((_, to)) = switch {
                    current = *to;
                }
                if !ready.contains(&current) {
                    current = *order.iter().find(|actor| ready.contains(actor)).unwrap();
                }
                steps.push(ready);
                turns.grant(current);
            }
            threads.into_iter().map(|one| one.join().unwrap()).collect()
        });
        self.verify(
            &memory,
            works,
            &outcomes,
            &format!("{works:?} {order:?} {switches:?}"),
        );
        steps
    }

    /// Asserts that the existing snapshots and those of the backups can be restored: now, and after
    /// everything condemned was deleted.
    fn verify(
        &self,
        memory: &MemoryStore,
        works: &[Work],
        outcomes: &[Result<Option<Id>>],
        when: &str,
    ) {
        let store = shared(memory);
        for round in ["now", "later", "in the end"] {
            let when = format!("{when} {round}: {outcomes:?}");
            assert_restores(&store, self.kept, &self.kept_listing, &when);
            for (work, outcome) in works.iter().zip(outcomes) {
                let expected = match work {
                    Work::Sync => &self.removed_listing,
                    _ => &self.listing,
                };
                if let Ok(Some(id)) = outcome {
                    assert_restores(&store, *id, expected, &when);
                }
            }
            let (summary, watcher) = check(&store);
            assert!(!summary.is_damaged(), "{when}: {:?}", watcher.heard());
            memory.age(8 * DAY);
            maintain(&store).unwrap();
        }
    }

    /// Runs all schedules of `works` with at most `bound` preemptions. Returns their number.
    fn explore(&self, works: &[Work], bound: usize) -> usize {
        let mut count = 0;
        for first in 0..works.len() {
            let mut order: Vec<usize> = (0..works.len()).collect();
            order.rotate_left(first);
            let mut waiting: Vec<Vec<(usize, usize)>> = vec![Vec::new()];
            while let Some(switches) = waiting.pop() {
                let steps = self.run(works, &order, &switches);
                count += 1;
                if switches.len() == bound {
                    continue;
                }
                let from = switches.last().map_or(1, |(step, _)| step + 1);
                for (step, ready) in steps.iter().enumerate().skip(from) {
                    for actor in ready {
                        let more = [&switches[..], &[(step, *actor)]].concat();
                        waiting.push(more);
                    }
                }
            }
        }
        count
    }
}

#[test]
fn two_backups_and_two_maintenances_with_one_switch() {
    use Work::{Backup, Maintain};
    let count = start().explore(&[Backup, Backup, Maintain, Maintain], 1);
    assert!(count > 100, "{count} schedules");
}

#[test]
fn two_backups_a_sync_and_two_maintenances_with_one_switch() {
    use Work::{Backup, Maintain, Sync};
    let count = start().explore(&[Backup, Backup, Sync, Maintain, Maintain], 1);
    assert!(count > 100, "{count} schedules");
}

#[test]
fn a_sync_and_a_maintenance_with_two_switches() {
    use Work::{Maintain, Sync};
    let count = start().explore(&[Sync, Maintain], 2);
    assert!(count > 100, "{count} schedules");
}

#[test]
fn a_backup_and_a_maintenance_with_two_switches() {
    use Work::{Backup, Maintain};
    let count = start().explore(&[Backup, Maintain], 2);
    assert!(count > 100, "{count} schedules");
}

#[test]
fn two_maintenances_with_two_switches() {
    use Work::Maintain;
    let count = start().explore(&[Maintain, Maintain], 2);
    assert!(count > 100, "{count} schedules");
}

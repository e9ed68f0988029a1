//! The program itself, interleaved: backups, a sync and maintenances of one store, each
//! a thread that waits for its turn at every call to the store that others could notice.
//!
//! Every schedule is run in which the actors come in any order and at most so many of them are
//! interrupted in favour of another: most races take one or two switches. Reads of an object that
//! is there are no points to switch at: objects never change, and one that is deleted under a reader
//! is deleted at the point before or the point after. What actors do in threads of their
//! own keeps its order only as far as the program does. So this is exhaustive within its bounds, and
//! a test beyond them; `tests/collecting` is exhaustive, of a model.

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

/// Whose turn it is.
#[derive(Default)]
struct Turns {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    /// How many calls of each actor wait.
    waiting: Vec<usize>,
    done: Vec<bool>,
    /// Who may make one call, until it is made.
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

    /// Waits for a turn to make a call.
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

    /// Gives the turn back once the call was made.
    fn end(&self) {
        let mut state = self.state.lock().unwrap();
        (state.turn, state.is_running) = (None, false);
        self.changed.notify_all();
    }

    fn finish(&self, actor: usize) {
        self.state.lock().unwrap().done[actor] = true;
        self.changed.notify_all();
    }

    /// Waits until everybody is at a call or done, and tells who is at one.
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

/// The store as one actor sees it.
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

/// What somebody does, and the snapshot that comes of it.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Work {
    Backup,
    Sync,
    Maintain,
}

/// Where all runs start.
struct Start {
    store: MemoryStore,
    tree: TempDir,
    /// A store of the same key, with a snapshot of what was removed here: a sync gives packs that are
    /// condemned, or being deleted, their names again.
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

/// A store with packs whose grace is over, others that are dead and not yet condemned, and a
/// snapshot that needs some of what is in both. What is going to be backed up is in them too.
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

/// Copies every snapshot, and tells the last.
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

    /// Runs `works` at once, the one whose turn it is until it is done, or until a step at which
    /// another goes on. Returns who was ready at each step.
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

    /// What was there, and what the backups made, restores: now, and after everything that was
    /// condemned has gone.
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

    /// Every schedule of `works` with at most `bound` switches. Returns how many there were.
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

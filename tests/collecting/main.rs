//! An exhaustive test of the safety argument in `src/ops/collect`.
//!
//! This is a model of a store that contains copies of one chunk, and of all actors on it: creators
//! of snapshots, a sync that reuses names, a removal, and maintenance runs. One step is one call to
//! the store, in the order in which the program makes these calls. Every state that any
//! interleaving leads to is visited once. A crash is represented by an actor that takes no further
//! step, so each state also represents crashes. In every state, each existing snapshot has its
//! chunk.
//!
//! Time can pass between any two steps, with one restriction that the program guarantees: the
//! snapshot of a creator becomes visible less than a grace period after the check that found no
//! condemnation, or its creator still exists and removes the snapshot again. If a sync reuses
//! names, a maintenance run also deletes less than a grace period after its check. The test also
//! shows that the rules are necessary: without any one of them, some interleaving loses the chunk.
//!
//! The combination of all actors (two backups, a sync, a removal and two maintenance runs, which
//! stop anywhere and are followed by others) has too many states. It is tested with many random
//! walks, which are the same in each run.
//!
//! The model does not depend on the implementation; `tests/kloset/interleaved.rs` runs the program.

mod explore;
mod indexes;
mod maintenance;
mod maker;
mod model;

use explore::{explore, walk};
use maintenance::{Maintenance, Step};
use maker::{Maker, MakerStep};
use model::*;

/// The same state with a clock that stops earlier, for many actors.
fn short(state: State) -> State {
    State {
        last_tick: GRACE + 1,
        ..state
    }
}

/// A maintenance run that deletes less than a grace period after its check.
fn quick(mut actor: Actor) -> Actor {
    if let Actor::Maintenance(maintenance) = &mut actor {
        maintenance.is_quick = true;
    }
    actor
}

/// A backup that does not check again before it publishes, if no time has passed.
fn hasty_backup() -> Actor {
    let Actor::Maker(maker) = Maker::actor(false) else {
        unreachable!("it is one");
    };
    Actor::Maker(Maker {
        is_hasty: true,
        ..maker
    })
}

/// A backup that has checked, and found pack 0 present and not condemned.
fn begun_backup() -> Actor {
    let Actor::Maker(maker) = Maker::actor(false) else {
        unreachable!("it is one");
    };
    Actor::Maker(Maker {
        step: MakerStep::LookAgain,
        view: bit(0),
        ..maker
    })
}

/// A maintenance run that is about to delete pack 0 because of the first condemnation.
fn begun_maintenance() -> Actor {
    let Actor::Maintenance(maintenance) = Maintenance::actor(false, false) else {
        unreachable!("it is one");
    };
    Actor::Maintenance(Maintenance {
        step: Step::Next,
        seen: bit(0),
        read: bit(0),
        now: GRACE,
        view: bit(0),
        waiting: bit(0),
        ..maintenance
    })
}

/// Pack 0 and its condemnation have been deleted; another condemnation records that.
fn free_again(actors: Vec<Actor>) -> State {
    let mut state = begin(1, &[1, 1], false, actors);
    state.packs = 0;
    state.condemned[0].is_there = false;
    state.condemned[1].is_past = true;
    state
}

/// The cases: all pairs of maintenance runs, with creators of both types.
fn cases() -> Vec<(&'static str, State)> {
    let remover = || Actor::Remover { is_done: false };
    let (first, last) = (
        || Maintenance::actor(false, false),
        || Maintenance::actor(true, false),
    );
    let repacker = || Maintenance::actor(true, true);
    let (backup, sync) = (|| Maker::actor(false), || Maker::actor(true));
    vec![
        (
            "a backup, a removal, a maintenance that condemns and one that deletes",
            begin(1, &[], true, vec![backup(), remover(), first(), last()]),
        ),
        (
            "a backup that began before all was condemned, and two maintenances",
            begin(1, &[1], false, vec![begun_backup(), first(), last()]),
        ),
        (
            "a sync, and a maintenance that began before a name was free again",
            free_again(vec![sync(), quick(first()), quick(begun_maintenance())]),
        ),
        (
            "two backups and a maintenance, all packs condemned",
            begin(1, &[1], false, vec![backup(), backup(), first()]),
        ),
        (
            "a hasty backup, a removal, a maintenance that condemns and one that deletes",
            begin(
                1,
                &[],
                true,
                vec![hasty_backup(), remover(), first(), last()],
            ),
        ),
        (
            "a hasty backup and two maintenances, all packs condemned",
            short(begin(1, &[1], false, vec![hasty_backup(), first(), last()])),
        ),
        (
            "a hasty backup and two maintenances of two copies",
            begin(3, &[], true, vec![hasty_backup(), first(), last()]),
        ),
        (
            "a backup, a hasty one and a maintenance, all packs condemned",
            short(begin(
                1,
                &[1],
                false,
                vec![backup(), hasty_backup(), first()],
            )),
        ),
        (
            "a backup and two maintenances of two copies",
            begin(3, &[], true, vec![backup(), first(), last()]),
        ),
        (
            "two copies, each condemned, and two maintenances",
            begin(3, &[1, 2], true, vec![remover(), first(), last()]),
        ),
        (
            "two copies, one condemned, and two maintenances that move",
            short(begin(3, &[1], true, vec![first(), repacker(), last()])),
        ),
        (
            "a sync that gives a name again, and a maintenance",
            begin(1, &[1], false, vec![sync(), quick(first())]),
        ),
        (
            "a sync that gives a name again, and two maintenances",
            short(begin(
                1,
                &[1],
                false,
                vec![sync(), quick(first()), quick(last())],
            )),
        ),
        (
            "three maintenances of three copies",
            short(begin(7, &[1], true, vec![first(), last(), repacker()])),
        ),
    ]
}

/// Visits all states of every second case, so that two tests can share the cases.
fn visit(half: usize) {
    for (name, state) in cases().into_iter().skip(half).step_by(2) {
        match explore(state, Rule::All) {
            Ok(states) => {
                assert!(states > 100, "{name}: only {states} states");
            }
            Err(state) => panic!("{name}: {state:#?}"),
        }
    }
}

#[test]
fn no_interleaving_loses_a_chunk() {
    visit(0);
}

#[test]
fn no_interleaving_of_the_others_does() {
    visit(1);
}

#[test]
fn every_rule_is_needed() {
    let cases = cases();
    // Each rule, with a case that detects its absence quickly.
    for (rule, case) in [
        (Rule::LookAgain, "a backup, a removal"),
        (Rule::ListAgain, "a backup that began"),
        (Rule::ShortGap, "a backup, a removal"),
        (Rule::Grace, "a backup, a removal"),
        (Rule::SnapshotsLast, "a backup, a removal"),
        (Rule::RelyOnUncondemned, "two copies, each condemned"),
        (
            Rule::LookBeforeDeleting,
            "a sync, and a maintenance that began",
        ),
        (
            Rule::StayCondemned,
            "a sync that gives a name again, and two",
        ),
    ] {
        let mut cases = cases.iter().filter(|(name, _)| name.starts_with(case));
        let lost = cases.any(|(_, state)| explore(state.clone(), rule).is_err());
        assert!(lost, "{rule:?} could be left out");
    }
}

/// All actors concurrently, with too many states to visit.
fn crowd() -> State {
    let actors = vec![
        Maker::actor(false),
        hasty_backup(),
        Maker::actor(true),
        Actor::Remover { is_done: false },
        quick(Maintenance::actor(false, false)),
        quick(Maintenance::actor(true, true)),
    ];
    State {
        last_tick: 12 * GRACE,
        most: (usize::from(MOST), MOST),
        ..begin(3, &[1], true, actors)
    }
}

/// The number of walks.
const WALKS: u64 = 60_000;

#[test]
fn no_walk_of_a_crowd_loses_a_chunk() {
    match walk(&crowd(), Rule::All, WALKS) {
        Ok(steps) => assert!(steps > 50 * WALKS as usize, "only {steps} steps"),
        Err(state) => panic!("{state:#?}"),
    }
}

#[test]
fn a_walk_of_a_crowd_finds_what_a_rule_is_for() {
    for rule in [
        Rule::LookAgain,
        Rule::ShortGap,
        Rule::Grace,
        Rule::SnapshotsLast,
    ] {
        let lost = walk(&crowd(), rule, WALKS).is_err();
        assert!(lost, "{rule:?} could be left out");
    }
}

//! The argument of `src/kloset/collect.rs`, by exhaustion.
//!
//! A model of a store that holds copies of one chunk, and of everybody who works on it: makers of
//! snapshots, a sync that gives names again, a removal, and maintenances, one step for each call to the
//! store, in the order in which the program makes them. Every state that any interleaving
//! leads to is visited once. A crash is an actor that takes no further step, so each state
//! stands for one of them too. In every state, each snapshot that is there has its chunk.
//!
//! Time moves between any two steps, with one rule that the program keeps: a maker's snapshot is
//! visible less than a grace after the look that found nothing, or else its maker is still there to take it back.
//! Where a sync gives names again, a maintenance also deletes less than a grace after it looked.
//! That the rules are needed is shown too: without any one of them, some interleaving loses the chunk.
//!
//! All at once (two backups, a sync, a removal and two maintenances, that stop anywhere and are followed by
//! others) is more than could be visited. There many random walks are taken, the same each time.
//!
//! The model knows nothing of how the program is written; `tests/kloset/interleaved.rs` runs that.

mod explore;
mod indexes;
mod maintenance;
mod maker;
mod model;

use explore::{explore, walk};
use maintenance::{Maintenance, Step};
use maker::{Maker, MakerStep};
use model::*;

/// The same with a clock that stops sooner: there are many at work.
fn short(state: State) -> State {
    State {
        last_tick: GRACE + 1,
        ..state
    }
}

/// One that deletes less than a grace after it looked.
fn quick(mut actor: Actor) -> Actor {
    if let Actor::Maintenance(maintenance) = &mut actor {
        maintenance.is_quick = true;
    }
    actor
}

/// A backup that does not look again before it publishes what took it no time.
fn hasty_backup() -> Actor {
    let Actor::Maker(maker) = Maker::actor(false) else {
        unreachable!("it is one");
    };
    Actor::Maker(Maker {
        is_hasty: true,
        ..maker
    })
}

/// A backup that has looked, and found pack 0 there and not condemned.
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

/// A maintenance that means to delete pack 0, by the first condemnation.
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

/// Pack 0 is gone, and so is the condemnation by which it went; another says so.
fn free_again(actors: Vec<Actor>) -> State {
    let mut state = begin(1, &[1, 1], false, actors);
    state.packs = 0;
    state.condemned[0].is_there = false;
    state.condemned[1].is_past = true;
    state
}

/// The cases: every pair of maintenances with makers of both kinds beside them.
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

/// Visits everything in every second case, so that two tests can share them.
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
    // With the case in which it is soon missed.
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

/// Everybody at once, for longer than could be visited.
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

/// Ways that are gone.
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

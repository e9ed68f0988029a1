//! The state of the store and of all actors on it.

use crate::maintenance::{Maintenance, Step};
use crate::maker::{Maker, MakerStep};

/// The grace period of a condemnation in ticks.
pub(crate) const GRACE: u8 = 2;
/// The time when the clock stops: twice the grace period, so that one condemnation can be created
/// and deleted, followed by another one.
pub(crate) const LAST_TICK: u8 = 4;
/// The maximum number of condemnations.
pub(crate) const CONDEMNATIONS: usize = 7;
/// The maximum number of pack names.
pub(crate) const PACKS: u8 = 8;
/// The maximum of both for random walks, limited by the number of bits.
pub(crate) const MOST: u8 = 16;

/// A set of packs, one bit each.
pub(crate) type Packs = u16;
/// A set of condemnations, one bit each.
pub(crate) type Seen = u16;

/// Packs that are condemned together.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(crate) struct Condemnation {
    pub(crate) packs: Packs,
    pub(crate) since: u8,
    pub(crate) is_there: bool,
    /// Whether it states that the packs were deleted.
    pub(crate) is_past: bool,
}

/// The state of the store and of all actors.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub(crate) struct State {
    pub(crate) clock: u8,
    /// The time when the clock stops.
    pub(crate) last_tick: u8,
    /// The maximum numbers of condemnations and packs.
    pub(crate) most: (usize, u8),
    pub(crate) packs: Packs,
    pub(crate) next: u8,
    pub(crate) condemned: Vec<Condemnation>,
    /// Whether a snapshot existed at the start. It may be removed.
    pub(crate) old: bool,
    pub(crate) actors: Vec<Actor>,
}

/// An actor on the store.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub(crate) enum Actor {
    Maker(Maker),
    Remover { is_done: bool },
    Maintenance(Maintenance),
}

/// The rule that a run of the model leaves out, to show that the rule is necessary.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Rule {
    /// No rule is left out.
    All,
    /// Creators check again before they publish.
    LookAgain,
    /// Creators whose last check is old list packs again.
    ListAgain,
    /// The interval is short, or the creator exists and removes its snapshot.
    ShortGap,
    /// A deletion relies only on packs that are not condemned.
    RelyOnUncondemned,
    /// A maintenance run checks again immediately before it deletes.
    LookBeforeDeleting,
    /// A maintenance run waits for the grace period.
    Grace,
    /// Names stay condemned for a grace period after their packs were deleted.
    StayCondemned,
    /// Snapshots are listed after the time and the condemnations were read.
    SnapshotsLast,
}

pub(crate) fn bit(pack: u8) -> Packs {
    1 << pack
}

pub(crate) fn lowest(packs: Packs) -> Option<u8> {
    (packs != 0).then(|| packs.trailing_zeros() as u8)
}

pub(crate) fn highest(packs: Packs) -> Option<u8> {
    (packs != 0).then(|| 15 - packs.leading_zeros() as u8)
}

impl Actor {
    /// Whether it has no further steps.
    pub(crate) fn is_done(&self) -> bool {
        match self {
            Actor::Maker(maker) => maker.step == MakerStep::Done,
            Actor::Remover { is_done } => *is_done,
            Actor::Maintenance(maintenance) => maintenance.step == Step::Done,
        }
    }
}

impl State {
    /// The packs in all existing condemnations.
    pub(crate) fn named(&self) -> Packs {
        let there = self.condemned.iter().filter(|each| each.is_there);
        there.fold(0, |packs, each| packs | each.packs)
    }

    /// A pack with an unused name, if the model has one left.
    pub(crate) fn put(&mut self) -> Option<u8> {
        let pack = self.next;
        (pack < self.most.1).then(|| {
            self.next += 1;
            self.packs |= bit(pack);
            pack
        })
    }

    /// Whether a snapshot is listed.
    pub(crate) fn has_snapshot(&self) -> bool {
        let visible = |actor: &Actor| matches!(actor, Actor::Maker(maker) if maker.is_visible);
        self.old || self.actors.iter().any(visible)
    }

    /// Whether a snapshot exists but its chunk does not. A snapshot whose creator is about to check
    /// for this does not count yet, because no one may rely on it.
    pub(crate) fn is_lost(&self, rule: Rule) -> bool {
        let counts = |actor: &Actor| match actor {
            Actor::Maker(maker) => {
                let in_gap = maker.step != MakerStep::Done;
                let may_be_taken_back =
                    in_gap && maker.is_late && !matches!(rule, Rule::ShortGap | Rule::LookAgain);
                maker.is_visible && !may_be_taken_back
            }
            _ => false,
        };
        self.packs == 0 && (self.old || self.actors.iter().any(counts))
    }

    /// Replaces the actor `at` by a new one. A created snapshot is kept, unless its creator stopped
    /// when it might have had to remove the snapshot.
    pub(crate) fn replace(&mut self, at: usize, by: &Actor) {
        if let Actor::Maker(maker) = &self.actors[at] {
            let is_doubtful = maker.is_late && maker.step != MakerStep::Done;
            self.old |= maker.is_visible && !is_doubtful;
        }
        self.actors[at] = by.clone();
    }

    /// All states that result from one step.
    pub(crate) fn after(&self, rule: Rule, to: &mut Vec<State>) {
        to.extend((0..self.movers()).filter_map(|mover| self.moved(mover, rule)));
    }

    /// The number of possible movers: all actors, and time.
    pub(crate) fn movers(&self) -> usize {
        self.actors.len() + 1
    }

    /// The state after a step of `mover`, if it can take one.
    pub(crate) fn moved(&self, mover: usize, rule: Rule) -> Option<State> {
        let mut next = self.clone();
        let Some(mut actor) = self.actors.get(mover).cloned() else {
            next.clock += 1;
            return (self.clock < self.last_tick).then_some(next);
        };
        let moved = match &mut actor {
            Actor::Maker(maker) => maker.step(&mut next, rule),
            Actor::Remover { is_done } => {
                let moved = !*is_done;
                (*is_done, next.old) = (true, false);
                moved
            }
            Actor::Maintenance(maintenance) => maintenance.step(&mut next, rule),
        };
        next.actors[mover] = actor;
        moved.then_some(next)
    }
}

/// A store with the packs `packs` and these actors. The packs in `condemned` have been condemned
/// since time 0.
pub(crate) fn begin(packs: Packs, condemned: &[Packs], old: bool, actors: Vec<Actor>) -> State {
    let at_start = |packs: &Packs| Condemnation {
        packs: *packs,
        since: 0,
        is_there: true,
        is_past: false,
    };
    State {
        clock: 0,
        last_tick: LAST_TICK,
        most: (CONDEMNATIONS, PACKS),
        packs,
        next: 16 - packs.leading_zeros() as u8,
        condemned: condemned.iter().map(at_start).collect(),
        old,
        actors,
    }
}

//! The store, and everybody who works on it.

use crate::maintenance::{Maintenance, Step};
use crate::maker::{Maker, MakerStep};

/// Ticks that a condemnation waits.
pub(crate) const GRACE: u8 = 2;
/// Where the clock stops: twice the grace, so that a condemnation may come, and go, and another.
pub(crate) const LAST_TICK: u8 = 4;
/// Condemnations that there can be.
pub(crate) const CONDEMNATIONS: usize = 7;
/// Names of packs.
pub(crate) const PACKS: u8 = 8;
/// As many of both as there is a bit for, where not every state is visited.
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
    /// It says that the packs were deleted.
    pub(crate) is_past: bool,
}

/// What is in the store, and where everybody is.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub(crate) struct State {
    pub(crate) clock: u8,
    /// Where the clock stops.
    pub(crate) last_tick: u8,
    /// How many condemnations and packs there can be.
    pub(crate) most: (usize, u8),
    pub(crate) packs: Packs,
    pub(crate) next: u8,
    pub(crate) condemned: Vec<Condemnation>,
    /// A snapshot that was there before, and may be removed.
    pub(crate) old: bool,
    pub(crate) actors: Vec<Actor>,
}

/// Somebody at work.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub(crate) enum Actor {
    Maker(Maker),
    Remover { is_done: bool },
    Maintenance(Maintenance),
}

/// The rules of which each is needed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Rule {
    /// None is left out.
    All,
    /// Makers look again before they publish.
    LookAgain,
    /// Makers whose last look is old list packs again.
    ListAgain,
    /// The gap is short, or somebody is there to take back.
    ShortGap,
    /// A deletion relies on nothing that is condemned.
    RelyOnUncondemned,
    /// It looks again right before.
    LookBeforeDeleting,
    /// It waits for the grace.
    Grace,
    /// Names stay condemned for a grace after their packs are gone.
    StayCondemned,
    /// Snapshots are listed after the time was asked for, and after condemnations were read.
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
    /// Whether there is nothing left to do.
    pub(crate) fn is_done(&self) -> bool {
        match self {
            Actor::Maker(maker) => maker.step == MakerStep::Done,
            Actor::Remover { is_done } => *is_done,
            Actor::Maintenance(maintenance) => maintenance.step == Step::Done,
        }
    }
}

impl State {
    /// What all condemnations name that are there now.
    pub(crate) fn named(&self) -> Packs {
        let there = self.condemned.iter().filter(|each| each.is_there);
        there.fold(0, |packs, each| packs | each.packs)
    }

    /// A pack with a name of its own, if the model has one left.
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

    /// Whether a snapshot is there whose chunk is not; one whose maker is about to look whether that
    /// is so is not there yet, as far as anybody may rely on it.
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

    /// Has another begin in the place of the actor `at`. A snapshot that was made stays, unless its maker
    /// stopped when it might have had to take it back.
    pub(crate) fn replace(&mut self, at: usize, by: &Actor) {
        if let Actor::Maker(maker) = &self.actors[at] {
            let is_doubtful = maker.is_late && maker.step != MakerStep::Done;
            self.old |= maker.is_visible && !is_doubtful;
        }
        self.actors[at] = by.clone();
    }

    /// Every state that one step leads to.
    pub(crate) fn after(&self, rule: Rule, to: &mut Vec<State>) {
        to.extend((0..self.movers()).filter_map(|mover| self.moved(mover, rule)));
    }

    /// How many there are that can move: everybody, and time.
    pub(crate) fn movers(&self) -> usize {
        self.actors.len() + 1
    }

    /// The state that a step of this one leads to, if it can take one.
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

/// A store with the packs `packs` and these at work. `condemned` are named since the clock's start.
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

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
//! The model knows nothing of how the program is written; `tests/kloset/interleaved.rs` runs that.

use std::collections::HashSet;
use std::hash::{BuildHasherDefault, Hash, Hasher};

/// Ticks that a condemnation waits.
const GRACE: u8 = 2;
/// Where the clock stops: twice the grace, so that a condemnation may come, and go, and another.
const LAST_TICK: u8 = 4;
/// Condemnations that there can be.
const CONDEMNATIONS: usize = 7;
/// Names of packs.
const PACKS: u8 = 8;

/// A set of packs, one bit each.
type Packs = u8;

/// Packs that are condemned together.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
struct Condemnation {
    packs: Packs,
    since: u8,
    is_there: bool,
    /// It says that the packs were deleted.
    is_past: bool,
}

/// What is in the store, and where everybody is.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
struct State {
    clock: u8,
    /// Where the clock stops.
    last_tick: u8,
    packs: Packs,
    next: u8,
    condemned: Vec<Condemnation>,
    /// A snapshot that was there before, and may be removed.
    old: bool,
    actors: Vec<Actor>,
}

/// Somebody at work.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
enum Actor {
    Maker(Maker),
    Remover { is_done: bool },
    Maintenance(Maintenance),
}

/// Somebody who makes a snapshot.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
struct Maker {
    step: MakerStep,
    /// Whether it copies objects as they are, so that pack 0 may get its name again.
    is_sync: bool,
    looked_at: u8,
    /// When it last looked before it published.
    free_at: u8,
    known: Packs,
    view: Packs,
    is_visible: bool,
    /// Whether it was a grace or more after the look before.
    is_late: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
enum MakerStep {
    Look,
    List,
    Put,
    LookAgain,
    ListAgain,
    Copy,
    Publish,
    LookLast,
    ListLast,
    CopyLast,
    TakeBack,
    Done,
}

#[derive(Clone, PartialEq, Eq, Hash, Debug)]
struct Maintenance {
    step: Step,
    /// Which of several copies it prefers: two of them need not agree.
    prefers_last: bool,
    /// Whether it moves the chunk even out of the last pack, as if much of that were dead.
    repacks: bool,
    /// Condemnations that were read in the first look, and since.
    seen: u8,
    read: u8,
    now: u8,
    is_live: bool,
    view: Packs,
    own: Packs,
    deleted: Packs,
    waiting: Packs,
    pack: u8,
    relied_on: Option<u8>,
    /// When it looked last before it deletes.
    looked_at: u8,
    /// Whether that must be less than a grace ago: where a sync gives names again.
    is_quick: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
enum Step {
    Look,
    Time,
    Snapshots,
    List,
    SnapshotsAgain,
    Next,
    Copy,
    LookAgain,
    Stat,
    Delete,
    Replace,
    TakeAway,
    Condemn,
    CondemnMoved,
    Done,
}

/// The rules of which each is needed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Rule {
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

fn bit(pack: u8) -> Packs {
    1 << pack
}

fn lowest(packs: Packs) -> Option<u8> {
    (packs != 0).then(|| packs.trailing_zeros() as u8)
}

fn highest(packs: Packs) -> Option<u8> {
    (packs != 0).then(|| 7 - packs.leading_zeros() as u8)
}

impl State {
    /// What all condemnations name that are there now.
    fn named(&self) -> Packs {
        let there = self.condemned.iter().filter(|each| each.is_there);
        there.fold(0, |packs, each| packs | each.packs)
    }

    /// A pack with a name of its own, if the model has one left.
    fn put(&mut self) -> Option<u8> {
        let pack = self.next;
        (pack < PACKS).then(|| {
            self.next += 1;
            self.packs |= bit(pack);
            pack
        })
    }

    /// Whether a snapshot is listed.
    fn has_snapshot(&self) -> bool {
        let visible = |actor: &Actor| matches!(actor, Actor::Maker(maker) if maker.is_visible);
        self.old || self.actors.iter().any(visible)
    }

    /// Whether a snapshot is there whose chunk is not; one whose maker is about to look whether that
    /// is so is not there yet, as far as anybody may rely on it.
    fn is_lost(&self, rule: Rule) -> bool {
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

    /// Every state that one step leads to.
    fn after(&self, rule: Rule, to: &mut Vec<State>) {
        if self.clock < self.last_tick {
            let mut next = self.clone();
            next.clock += 1;
            to.push(next);
        }
        for at in 0..self.actors.len() {
            let mut next = self.clone();
            let mut actor = next.actors[at].clone();
            let moved = match &mut actor {
                Actor::Maker(maker) => maker.step(&mut next, rule),
                Actor::Remover { is_done } => {
                    let moved = !*is_done;
                    (*is_done, next.old) = (true, false);
                    moved
                }
                Actor::Maintenance(maintenance) => maintenance.step(&mut next, rule),
            };
            if moved {
                next.actors[at] = actor;
                to.push(next);
            }
        }
    }
}

impl Maker {
    fn actor(is_sync: bool) -> Actor {
        Actor::Maker(Maker {
            step: MakerStep::Look,
            is_sync,
            looked_at: 0,
            free_at: 0,
            known: 0,
            view: 0,
            is_visible: false,
            is_late: false,
        })
    }

    /// What it relies on.
    fn usable(&self) -> Packs {
        self.view & !self.known
    }

    /// Reads condemnations. Whether its last look was so long ago that one may have come and gone.
    fn look(&mut self, state: &State) -> bool {
        let is_old = state.clock > self.looked_at;
        self.known |= state.named();
        self.looked_at = state.clock;
        if !self.is_visible {
            self.free_at = state.clock;
        }
        is_old
    }

    /// Copies the chunk from any pack it knows that is there. False if there is none.
    fn copy(&mut self, state: &mut State) -> Option<bool> {
        if self.view & state.packs == 0 {
            return Some(false);
        }
        self.view |= bit(state.put()?);
        Some(true)
    }

    /// Takes one step; false if there is none.
    fn step(&mut self, state: &mut State, rule: Rule) -> bool {
        use MakerStep::*;
        self.step = match self.step {
            Look => {
                self.look(state);
                List
            }
            List => {
                self.view = state.packs;
                if self.usable() != 0 { LookAgain } else { Put }
            }
            Put => {
                if self.is_sync && self.known & bit(0) == 0 {
                    state.packs |= bit(0);
                    self.view |= bit(0);
                } else {
                    let Some(pack) = state.put() else {
                        return false;
                    };
                    self.view |= bit(pack);
                }
                LookAgain
            }
            LookAgain => {
                if rule == Rule::LookAgain {
                    Publish
                } else if self.look(state) && rule != Rule::ListAgain {
                    ListAgain
                } else if self.usable() == 0 {
                    Copy
                } else {
                    Publish
                }
            }
            ListAgain => {
                self.view &= state.packs;
                if self.usable() == 0 { Copy } else { Publish }
            }
            Copy => match self.copy(state) {
                None => return false,
                Some(true) => LookAgain,
                Some(false) => Done,
            },
            Publish => {
                self.is_visible = true;
                self.is_late = state.clock - self.free_at >= GRACE;
                LookLast
            }
            LookLast => {
                if rule == Rule::ShortGap {
                    Done
                } else if self.look(state) && rule != Rule::ListAgain {
                    ListLast
                } else if self.usable() == 0 {
                    CopyLast
                } else {
                    Done
                }
            }
            ListLast => {
                self.view &= state.packs;
                if self.usable() == 0 { CopyLast } else { Done }
            }
            CopyLast => match self.copy(state) {
                None => return false,
                Some(true) => LookLast,
                Some(false) => TakeBack,
            },
            TakeBack => {
                self.is_visible = false;
                Done
            }
            Done => return false,
        };
        true
    }
}

impl Maintenance {
    fn actor(prefers_last: bool, repacks: bool) -> Actor {
        Actor::Maintenance(Maintenance {
            step: Step::Look,
            prefers_last,
            repacks,
            seen: 0,
            read: 0,
            now: 0,
            is_live: false,
            view: 0,
            own: 0,
            deleted: 0,
            waiting: 0,
            pack: 0,
            relied_on: None,
            looked_at: 0,
            is_quick: false,
        })
    }

    /// Reads the condemnations that are there.
    fn look(&mut self, state: &State) {
        for (at, each) in state.condemned.iter().enumerate() {
            self.read |= if each.is_there { bit(at as u8) } else { 0 };
        }
    }

    /// The packs of those condemnations `which` are among.
    fn packs_of(&self, state: &State, which: u8) -> Packs {
        let mut packs = 0;
        for (at, each) in state.condemned.iter().enumerate() {
            packs |= if which & bit(at as u8) != 0 {
                each.packs
            } else {
                0
            };
        }
        packs
    }

    /// The packs whose grace was over.
    fn over(&self, state: &State, rule: Rule) -> u8 {
        let mut over = 0;
        for (at, each) in state.condemned.iter().enumerate() {
            let is_old = self.now.saturating_sub(each.since) >= GRACE || rule == Rule::Grace;
            over |= if is_old { bit(at as u8) } else { 0 };
        }
        over & self.seen
    }

    /// The condemnations whose grace was over and whose packs it knows to be gone.
    fn gone(&self, state: &State, rule: Rule) -> u8 {
        let there = self.view & !self.deleted;
        let over = self.over(state, rule);
        let is_gone = |at: &usize| state.condemned[*at].packs & there == 0;
        let gone = (0..state.condemned.len()).filter(is_gone);
        gone.fold(0, |gone, at| gone | bit(at as u8)) & over
    }

    /// Another copy to rely on.
    fn other(&self, state: &State, rule: Rule, but: Packs) -> Option<u8> {
        let condemned = match rule {
            Rule::RelyOnUncondemned => 0,
            _ => self.packs_of(state, self.read),
        };
        let packs = (self.view | self.own) & !self.deleted & !condemned & !but;
        if self.prefers_last {
            highest(packs)
        } else {
            lowest(packs)
        }
    }

    /// Takes one step; false if there is none.
    fn step(&mut self, state: &mut State, rule: Rule) -> bool {
        use Step::*;
        self.step = match self.step {
            Look => {
                if rule == Rule::SnapshotsLast {
                    self.is_live = state.has_snapshot();
                }
                self.look(state);
                self.seen = self.read;
                Time
            }
            Time => {
                self.now = state.clock;
                if rule == Rule::SnapshotsLast {
                    List
                } else {
                    Snapshots
                }
            }
            Snapshots => {
                self.is_live = state.has_snapshot();
                List
            }
            List => {
                self.view = state.packs;
                let over = self.over(state, rule);
                self.waiting = self.packs_of(state, over) & self.view;
                if rule == Rule::SnapshotsLast {
                    Next
                } else {
                    SnapshotsAgain
                }
            }
            SnapshotsAgain => {
                self.is_live |= state.has_snapshot();
                Next
            }
            Next => return self.next(state, rule),
            Copy => {
                if state.packs & bit(self.pack) == 0 {
                    Next
                } else {
                    let Some(pack) = state.put() else {
                        return false;
                    };
                    self.own |= bit(pack);
                    self.waiting |= bit(self.pack);
                    Next
                }
            }
            LookAgain => {
                self.look(state);
                self.looked_at = state.clock;
                let named = self.packs_of(state, self.read);
                let over = self.over(state, rule);
                let mut condemned = state.condemned.iter().enumerate();
                let still = condemned.any(|(at, each)| {
                    let is_known = over & bit(at as u8) != 0;
                    is_known && each.is_there && each.packs & bit(self.pack) != 0
                });
                let relies = self.relied_on.is_some_and(|other| named & bit(other) != 0);
                match (
                    still,
                    relies && rule != Rule::RelyOnUncondemned,
                    self.relied_on,
                ) {
                    (true, false, Some(_)) => Stat,
                    (true, false, None) => Delete,
                    _ => Next,
                }
            }
            Stat => match self.relied_on {
                Some(other) if state.packs & bit(other) == 0 => Next,
                _ => Delete,
            },
            Delete => {
                if self.is_quick && state.clock - self.looked_at >= GRACE {
                    return false;
                }
                state.packs &= !bit(self.pack);
                self.deleted |= bit(self.pack);
                Next
            }
            Replace => {
                let gone = self.gone(state, rule);
                for at in (0..state.condemned.len()).filter(|at| gone & bit(*at as u8) != 0) {
                    let each = state.condemned[at];
                    if !each.is_past && rule != Rule::StayCondemned {
                        if state.condemned.len() == CONDEMNATIONS {
                            return false;
                        }
                        state.condemned.push(Condemnation {
                            since: state.clock,
                            is_there: true,
                            is_past: true,
                            ..each
                        });
                    }
                }
                TakeAway
            }
            TakeAway => {
                let gone = self.gone(state, rule);
                for at in (0..state.condemned.len()).filter(|at| gone & bit(*at as u8) != 0) {
                    state.condemned[at].is_there = false;
                }
                Condemn
            }
            Condemn => return self.condemn(state, rule),
            CondemnMoved => {
                let packs = self.waiting;
                self.publish(state, packs)
            }
            Done => return false,
        };
        true
    }

    /// Looks for the next pack to delete: no call to the store, so it goes on to the next step.
    fn next(&mut self, state: &mut State, rule: Rule) -> bool {
        let first = if self.prefers_last { highest } else { lowest };
        let Some(pack) = first(self.waiting) else {
            self.step = Step::Replace;
            return self.step(state, rule);
        };
        self.waiting &= !bit(pack);
        self.pack = pack;
        self.relied_on = None;
        self.step = Step::LookAgain;
        if self.is_live {
            self.relied_on = self.other(state, rule, bit(pack));
            if self.relied_on.is_none() {
                self.step = Step::Copy;
            }
        }
        if rule == Rule::LookBeforeDeleting && self.step == Step::LookAgain {
            // Its last look may then be as long ago as it likes.
            self.step = Step::Delete;
            self.is_quick = false;
        }
        self.step(state, rule)
    }

    /// Condemns what it does not rely on.
    fn condemn(&mut self, state: &mut State, rule: Rule) -> bool {
        let condemned = self.packs_of(state, self.read);
        let mut packs = self.view & !self.deleted & !condemned;
        if self.is_live {
            match self.other(state, Rule::All, 0) {
                Some(_) if self.repacks && packs & state.packs != 0 => {
                    // One step for the copy, the next for the condemnation.
                    if state.put().is_none() {
                        return false;
                    }
                    self.waiting = packs;
                    self.step = Step::CondemnMoved;
                    return true;
                }
                Some(kept) => packs &= !bit(kept),
                None => packs = 0,
            }
        }
        let _ = rule;
        self.step = self.publish(state, packs);
        true
    }

    fn publish(&mut self, state: &mut State, packs: Packs) -> Step {
        if packs != 0 && state.condemned.len() < CONDEMNATIONS {
            state.condemned.push(Condemnation {
                packs,
                since: state.clock,
                is_there: true,
                is_past: false,
            });
        }
        Step::Done
    }
}

/// A store with the packs `packs` and these at work. `condemned` are named since the clock's start.
fn begin(packs: Packs, condemned: &[Packs], old: bool, actors: Vec<Actor>) -> State {
    let at_start = |packs: &Packs| Condemnation {
        packs: *packs,
        since: 0,
        is_there: true,
        is_past: false,
    };
    State {
        clock: 0,
        last_tick: LAST_TICK,
        packs,
        next: 8 - packs.leading_zeros() as u8,
        condemned: condemned.iter().map(at_start).collect(),
        old,
        actors,
    }
}

/// 128 bits that stand for a state: of a billion states two are taken for one with a probability of
/// one in 10^20.
fn name_of(state: &State) -> u128 {
    let mut mixed = Mixed(0x9e37_79b9_7f4a_7c15, 0xc2b2_ae3d_27d4_eb4f);
    state.hash(&mut mixed);
    u128::from(mixed.0) << 64 | u128::from(mixed.finish())
}

/// Two sums with different multipliers, each folded after every byte.
struct Mixed(u64, u64);

impl Hasher for Mixed {
    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = (self.0 ^ u64::from(*byte)).wrapping_mul(0xff51_afd7_ed55_8ccd);
            self.0 ^= self.0 >> 32;
            self.1 = (self.1 ^ u64::from(*byte)).wrapping_mul(0xc4ce_b9fe_1a85_ec53);
            self.1 ^= self.1 >> 29;
        }
    }

    fn finish(&self) -> u64 {
        self.1
    }
}

/// The names are mixed already.
#[derive(Default)]
struct Plain(u64);

impl Hasher for Plain {
    fn write(&mut self, _: &[u8]) {}

    fn write_u128(&mut self, name: u128) {
        self.0 = name as u64;
    }

    fn finish(&self) -> u64 {
        self.0
    }
}

type Folded = BuildHasherDefault<Plain>;

/// Visits every state. Returns how many there are, or one in which a chunk is lost.
fn explore(from: State, rule: Rule) -> Result<usize, Box<State>> {
    let mut seen: HashSet<u128, Folded> = HashSet::default();
    seen.insert(name_of(&from));
    let mut waiting = vec![from];
    let mut next = Vec::new();
    while let Some(state) = waiting.pop() {
        if state.is_lost(rule) {
            return Err(Box::new(state));
        }
        state.after(rule, &mut next);
        for state in next.drain(..) {
            if seen.insert(name_of(&state)) {
                waiting.push(state);
            }
        }
    }
    Ok(seen.len())
}

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

#[test]
fn no_interleaving_loses_a_chunk() {
    for (name, state) in cases() {
        match explore(state, Rule::All) {
            Ok(states) => {
                assert!(states > 100, "{name}: only {states} states");
            }
            Err(state) => panic!("{name}: {state:#?}"),
        }
    }
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

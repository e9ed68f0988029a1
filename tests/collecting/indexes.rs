//! An exhaustive model of index objects: a pack that was ever covered by an index object remains
//! covered until the pack is deleted, and from every state, one more maintenance run leaves no pack
//! uncovered.
//!
//! The actors of the model are writers, which publish a pack and then an index object, and
//! maintenance runs, which delete a set of packs, may copy data to a new pack, and replace index
//! objects. One step is one call to the store. As in the other model, a crash is represented by an
//! actor that takes no further step.

use std::collections::HashSet;

/// A set of packs, one bit each.
type Packs = u8;
/// A set of index objects, one bit each.
type Objects = u16;

/// The maximum numbers of packs and index objects.
const PACKS: u32 = 8;
const OBJECTS: usize = 16;

/// The rule that a run of the model leaves out, to show that the rule is necessary.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Rule {
    /// No rule is left out.
    All,
    /// A pack counts as deleted only if it was known before a listing that does
    /// not contain it.
    KnownBefore,
    /// If index objects are read after packs were listed, packs are listed again.
    ListAgain,
    /// The replacements of index objects are published before these are deleted.
    PublishFirst,
    /// Packs that are in no index object are added.
    AddUncovered,
}

#[derive(Clone, PartialEq, Eq, Hash, Debug)]
struct State {
    packs: Packs,
    next: u32,
    /// The packs that each index object mentions, and the set of existing objects.
    objects: Vec<Packs>,
    there: Objects,
    /// Packs that an index object covered at any time.
    was_covered: Packs,
    actors: Vec<Actor>,
}

#[derive(Clone, PartialEq, Eq, Hash, Debug)]
enum Actor {
    /// Its pack once that is published, and whether the index object is published.
    Writer(Option<u32>, bool),
    Maintenance(Maintenance),
}

#[derive(Clone, PartialEq, Eq, Hash, Debug)]
struct Maintenance {
    step: Step,
    /// Whether it lists packs before it reads index objects.
    by_footers: bool,
    /// Whether it copies data to a new pack.
    repacks: bool,
    /// Whether it replaces all index objects, as if they were many small ones.
    merges: bool,
    /// The packs that it will delete.
    condemned: Packs,
    read: Objects,
    /// The packs in the index objects that were read, and its own.
    known: Packs,
    listed: Packs,
    gone: Packs,
    own: Option<u32>,
    old: Objects,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
enum Step {
    ReadIndex,
    List,
    ListAgain,
    Delete,
    Copy,
    PublishOwn,
    ListObjects,
    Publish,
    Unlink,
    Done,
}

impl State {
    fn put_pack(&mut self) -> Option<u32> {
        let pack = self.next;
        (pack < PACKS).then(|| {
            self.next += 1;
            self.packs |= 1 << pack;
            pack
        })
    }

    /// Returns false if the limit of objects of the model is reached.
    fn put_object(&mut self, packs: Packs) -> bool {
        if packs == 0 {
            return true;
        }
        if self.objects.len() == OBJECTS {
            return false;
        }
        self.there |= 1 << self.objects.len();
        self.objects.push(packs);
        self.was_covered |= packs;
        true
    }

    /// The packs that the index objects in `which` mention.
    fn mentioned(&self, which: Objects) -> Packs {
        let objects = self.objects.iter().enumerate();
        let among = objects.filter(|(at, _)| which & (1 << at) != 0);
        among.fold(0, |packs, (_, object)| packs | object)
    }

    fn uncovered(&self) -> Packs {
        self.packs & !self.mentioned(self.there)
    }

    fn moved(&self, at: usize, rule: Rule) -> Option<State> {
        let mut next = self.clone();
        let mut actor = self.actors[at].clone();
        let moved = match &mut actor {
            Actor::Writer(pack @ None, _) => {
                *pack = next.put_pack();
                pack.is_some()
            }
            Actor::Writer(_, true) => false,
            Actor::Writer(Some(pack), done) => {
                *done = next.put_object(1 << *pack);
                *done
            }
            Actor::Maintenance(maintenance) => maintenance.step(&mut next, rule),
        };
        next.actors[at] = actor;
        moved.then_some(next)
    }
}

impl Maintenance {
    fn new(by_footers: bool, repacks: bool, merges: bool, condemned: Packs) -> Maintenance {
        Maintenance {
            step: if by_footers {
                Step::List
            } else {
                Step::ReadIndex
            },
            by_footers,
            repacks,
            merges,
            condemned,
            read: 0,
            known: 0,
            listed: 0,
            gone: 0,
            own: None,
            old: 0,
        }
    }

    fn actor(by_footers: bool, repacks: bool, merges: bool, condemned: Packs) -> Actor {
        Actor::Maintenance(Maintenance::new(by_footers, repacks, merges, condemned))
    }

    /// The packs that it considers deleted.
    fn is_gone(&self, rule: Rule) -> Packs {
        match rule {
            Rule::KnownBefore => self.known & !self.listed,
            _ => self.gone,
        }
    }

    /// Takes one step. Returns false if there is none.
    fn step(&mut self, state: &mut State, rule: Rule) -> bool {
        use Step::*;
        self.step = match self.step {
            ReadIndex => {
                self.read = state.there;
                self.known = state.mentioned(self.read);
                match self.by_footers {
                    true if rule == Rule::ListAgain => {
                        self.gone = self.known & !self.listed;
                        Delete
                    }
                    true => ListAgain,
                    false => List,
                }
            }
            List => {
                self.listed = state.packs;
                self.gone = self.known & !self.listed;
                if self.by_footers { ReadIndex } else { Delete }
            }
            ListAgain => {
                self.gone = self.known & !self.listed & !state.packs;
                Delete
            }
            Delete => {
                let deleted = self.condemned & self.listed;
                state.packs &= !deleted;
                self.listed &= !deleted;
                self.gone |= deleted;
                if self.repacks { Copy } else { ListObjects }
            }
            Copy => {
                self.own = state.put_pack();
                match self.own {
                    Some(_) => PublishOwn,
                    None => return false,
                }
            }
            PublishOwn => {
                let own = self.own.map_or(0, |pack| 1 << pack);
                self.known |= own;
                self.read |= 1 << state.objects.len().min(OBJECTS - 1);
                if !state.put_object(own) {
                    return false;
                }
                ListObjects
            }
            ListObjects => {
                let gone = self.is_gone(rule);
                for at in (0..state.objects.len()).filter(|at| state.there & (1 << at) != 0) {
                    let is_known = self.read & (1 << at) != 0;
                    if self.merges || is_known && state.objects[at] & gone != 0 {
                        self.old |= 1 << at;
                    }
                }
                if rule == Rule::PublishFirst {
                    Unlink
                } else {
                    Publish
                }
            }
            Publish => {
                let mut packs = state.mentioned(self.old) & !self.is_gone(rule);
                if rule != Rule::AddUncovered {
                    packs |= self.listed & !self.known;
                }
                if !state.put_object(packs) {
                    return false;
                }
                if rule == Rule::PublishFirst {
                    Done
                } else {
                    Unlink
                }
            }
            Unlink => {
                state.there &= !self.old;
                if rule == Rule::PublishFirst {
                    Publish
                } else {
                    Done
                }
            }
            Done => return false,
        };
        true
    }
}

/// A store with two packs, each in an index object, with these actors. A third pack was never
/// indexed.
fn begin(actors: Vec<Actor>) -> State {
    State {
        packs: 0b111,
        next: 3,
        objects: vec![0b001, 0b010],
        there: 0b11,
        was_covered: 0b011,
        actors,
    }
}

/// All pairs of maintenance runs of these types, with a writer.
fn cases() -> Vec<State> {
    let mut kinds = Vec::new();
    for kind in 0..8_u8 {
        kinds.push((kind & 1 != 0, kind & 2 != 0, kind & 4 != 0));
    }
    let mut cases = Vec::new();
    for one in &kinds {
        for other in &kinds {
            cases.push(begin(vec![
                Actor::Writer(None, false),
                Maintenance::actor(one.0, one.1, one.2, 0b001),
                Maintenance::actor(other.0, other.1, other.2, 0b011),
            ]));
        }
    }
    cases
}

/// Whether one more maintenance run, alone, leaves every pack covered.
fn is_repaired(state: &State, rule: Rule) -> bool {
    let last = Maintenance::actor(false, false, false, 0);
    let mut alone = State {
        actors: vec![last],
        ..state.clone()
    };
    while let Some(next) = alone.moved(0, rule) {
        alone = next;
    }
    alone.uncovered() == 0
}

/// Visits all states. Returns their number, or a state that violates an invariant.
fn explore(from: State, rule: Rule) -> Result<usize, Box<State>> {
    let mut seen = HashSet::from([from.clone()]);
    let mut waiting = vec![from];
    while let Some(state) = waiting.pop() {
        if state.uncovered() & state.was_covered != 0 || !is_repaired(&state, rule) {
            return Err(Box::new(state));
        }
        for next in (0..state.actors.len()).filter_map(|at| state.moved(at, rule)) {
            if seen.insert(next.clone()) {
                waiting.push(next);
            }
        }
    }
    Ok(seen.len())
}

#[test]
fn no_interleaving_leaves_a_pack_out_of_every_index_object() {
    for state in cases() {
        match explore(state, Rule::All) {
            Ok(states) => assert!(states > 100, "only {states} states"),
            Err(state) => panic!("{state:#?}"),
        }
    }
}

#[test]
fn every_rule_of_index_objects_is_needed() {
    for rule in [
        Rule::KnownBefore,
        Rule::ListAgain,
        Rule::PublishFirst,
        Rule::AddUncovered,
    ] {
        let broken = cases()
            .into_iter()
            .any(|state| explore(state, rule).is_err());
        assert!(broken, "{rule:?} could be left out");
    }
}

//! The model of a maintenance run.

use crate::model::*;

#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub(crate) struct Maintenance {
    pub(crate) step: Step,
    /// Which of several copies it prefers: two runs may disagree.
    pub(crate) prefers_last: bool,
    /// Whether it copies the chunk even out of the last pack, as if most of that pack were dead.
    pub(crate) repacks: bool,
    /// The condemnations read in the first check, and since then.
    pub(crate) seen: Seen,
    pub(crate) read: Seen,
    pub(crate) now: u8,
    pub(crate) is_live: bool,
    pub(crate) view: Packs,
    pub(crate) own: Packs,
    pub(crate) deleted: Packs,
    pub(crate) waiting: Packs,
    pub(crate) pack: u8,
    pub(crate) relied_on: Option<u8>,
    /// The time of the last check before it deletes.
    pub(crate) looked_at: u8,
    /// Whether that must be less than a grace period ago, because a sync reuses names.
    pub(crate) is_quick: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(crate) enum Step {
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

impl Maintenance {
    pub(crate) fn actor(prefers_last: bool, repacks: bool) -> Actor {
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

    /// Reads the existing condemnations.
    fn look(&mut self, state: &State) {
        for (at, each) in state.condemned.iter().enumerate() {
            self.read |= if each.is_there { bit(at as u8) } else { 0 };
        }
    }

    /// The packs of the condemnations in `which`.
    fn packs_of(&self, state: &State, which: Seen) -> Packs {
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

    /// The condemnations whose grace period is over.
    fn over(&self, state: &State, rule: Rule) -> Seen {
        let mut over = 0;
        for (at, each) in state.condemned.iter().enumerate() {
            let is_old = self.now.saturating_sub(each.since) >= GRACE || rule == Rule::Grace;
            over |= if is_old { bit(at as u8) } else { 0 };
        }
        over & self.seen
    }

    /// The condemnations whose grace period is over, and whose packs are known to be deleted.
    fn gone(&self, state: &State, rule: Rule) -> Seen {
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

    /// Takes one step. Returns false if there is none.
    pub(crate) fn step(&mut self, state: &mut State, rule: Rule) -> bool {
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
                        if state.condemned.len() == state.most.0 {
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

    /// Selects the next pack to delete. This is not a call to the store, so it continues with the
    /// next step.
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
            // From here on, its last check may be arbitrarily long ago.
            self.step = Step::Delete;
            self.is_quick = false;
        }
        self.step(state, rule)
    }

    /// Condemns the packs that it does not rely on.
    fn condemn(&mut self, state: &mut State, rule: Rule) -> bool {
        let condemned = self.packs_of(state, self.read);
        let mut packs = self.view & !self.deleted & !condemned;
        if self.is_live {
            match self.other(state, Rule::All, 0) {
                Some(_) if self.repacks && packs & state.packs != 0 => {
                    // One step for the copy, the next one for the condemnation.
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
        if packs != 0 && state.condemned.len() < state.most.0 {
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

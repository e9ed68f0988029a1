//! The model of a creator of snapshots: a backup, or a sync.

use crate::model::*;

/// A creator of a snapshot.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub(crate) struct Maker {
    pub(crate) step: MakerStep,
    /// Whether it copies objects unchanged, so that pack 0 can be stored again under its name.
    pub(crate) is_sync: bool,
    /// Whether it treats a check in the current tick as current. The program does, if the check was
    /// made seconds ago.
    pub(crate) is_hasty: bool,
    pub(crate) looked_at: u8,
    /// The time of the last check before it published.
    pub(crate) free_at: u8,
    pub(crate) known: Packs,
    pub(crate) view: Packs,
    pub(crate) is_visible: bool,
    /// Whether that was a grace period or more after the check before it.
    pub(crate) is_late: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(crate) enum MakerStep {
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

impl Maker {
    pub(crate) fn actor(is_sync: bool) -> Actor {
        Actor::Maker(Maker {
            step: MakerStep::Look,
            is_sync,
            is_hasty: false,
            looked_at: 0,
            free_at: 0,
            known: 0,
            view: 0,
            is_visible: false,
            is_late: false,
        })
    }

    /// The packs that it relies on.
    fn usable(&self) -> Packs {
        self.view & !self.known
    }

    /// Reads condemnations. Returns whether the last check was so long ago that a condemnation may
    /// have been created and deleted since.
    fn look(&mut self, state: &State) -> bool {
        let is_old = state.clock > self.looked_at;
        self.known |= state.named();
        self.looked_at = state.clock;
        if !self.is_visible {
            self.free_at = state.clock;
        }
        is_old
    }

    /// The step after everything is stored.
    fn before_publishing(&self, state: &State) -> MakerStep {
        match self.is_hasty && state.clock == self.looked_at {
            true => MakerStep::Publish,
            false => MakerStep::LookAgain,
        }
    }

    /// Copies the chunk from any known pack that exists. Returns false if there is none.
    fn copy(&mut self, state: &mut State) -> Option<bool> {
        if self.view & state.packs == 0 {
            return Some(false);
        }
        self.view |= bit(state.put()?);
        Some(true)
    }

    /// Takes one step. Returns false if there is none.
    pub(crate) fn step(&mut self, state: &mut State, rule: Rule) -> bool {
        use MakerStep::*;
        self.step = match self.step {
            Look => {
                self.look(state);
                List
            }
            List => {
                self.view = state.packs;
                if self.usable() != 0 {
                    self.before_publishing(state)
                } else {
                    Put
                }
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
                self.before_publishing(state)
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

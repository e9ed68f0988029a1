//! Whoever makes a snapshot: a backup, or a sync.

use crate::model::*;

/// Somebody who makes a snapshot.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub(crate) struct Maker {
    pub(crate) step: MakerStep,
    /// Whether it copies objects as they are, so that pack 0 may get its name again.
    pub(crate) is_sync: bool,
    /// Whether it takes a look that was made in this very tick for one made now: the program does,
    /// if it was made seconds ago.
    pub(crate) is_hasty: bool,
    pub(crate) looked_at: u8,
    /// When it last looked before it published.
    pub(crate) free_at: u8,
    pub(crate) known: Packs,
    pub(crate) view: Packs,
    pub(crate) is_visible: bool,
    /// Whether it was a grace or more after the look before.
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

    /// What comes once all is stored.
    fn before_publishing(&self, state: &State) -> MakerStep {
        match self.is_hasty && state.clock == self.looked_at {
            true => MakerStep::Publish,
            false => MakerStep::LookAgain,
        }
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

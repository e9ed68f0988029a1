//! Visits all states, or those of random walks.

use std::collections::HashSet;
use std::hash::{BuildHasherDefault, Hash, Hasher};

use crate::model::*;

/// A 128-bit hash of a state. Among a billion states, the probability that two of them have the
/// same hash is 10^-20.
pub(crate) fn name_of(state: &State) -> u128 {
    let mut mixed = Mixed(0x9e37_79b9_7f4a_7c15, 0xc2b2_ae3d_27d4_eb4f);
    state.hash(&mut mixed);
    u128::from(mixed.0) << 64 | u128::from(mixed.finish())
}

/// Two sums with different multipliers, each folded after every byte.
pub(crate) struct Mixed(u64, u64);

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

/// A hasher that does nothing, because the keys are hashes already.
#[derive(Default)]
pub(crate) struct Plain(u64);

impl Hasher for Plain {
    fn write(&mut self, _: &[u8]) {}

    fn write_u128(&mut self, name: u128) {
        self.0 = name as u64;
    }

    fn finish(&self) -> u64 {
        self.0
    }
}

pub(crate) type Folded = BuildHasherDefault<Plain>;

/// Visits all states. Returns their number, or a state in which a chunk is lost.
pub(crate) fn explore(from: State, rule: Rule) -> Result<usize, Box<State>> {
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

/// The number of steps of one walk.
const WALK_STEPS: usize = 400;
/// On average, an actor stops forever and is replaced once in this many steps.
const STEPS_PER_CRASH: u64 = 24;

/// A deterministic random number generator (Marsaglia's xorshift64).
struct Dice(u64);

impl Dice {
    /// A number below `sides`.
    fn roll(&mut self, sides: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) % sides
    }
}

/// Takes random walks from `from`, for models with too many states to visit. An actor that is
/// finished, or stops forever, is replaced by another one of its type. Returns the number of steps,
/// or a state in which a chunk is lost.
pub(crate) fn walk(from: &State, rule: Rule, walks: u64) -> Result<usize, Box<State>> {
    let mut steps = 0;
    for number in 1..=walks {
        let mut dice = Dice(number.wrapping_mul(0x9e37_79b9_7f4a_7c15));
        let mut state = from.clone();
        for _ in 0..WALK_STEPS {
            let mover = dice.roll(state.movers() as u64) as usize;
            if let Some(next) = state.moved(mover, rule) {
                state = next;
                steps += 1;
            }
            if state.is_lost(rule) {
                return Err(Box::new(state));
            }
            let is_done = state.actors.get(mover).is_some_and(Actor::is_done);
            if is_done || dice.roll(STEPS_PER_CRASH) == 0 {
                let who = mover.min(from.actors.len() - 1);
                state.replace(who, &from.actors[who]);
            }
        }
    }
    Ok(steps)
}

//! The maximum key derivation cost that a client accepts from a key slot.
//!
//! Anyone who can write to a store can add key slots, and each slot specifies its own cost. Without
//! a limit, one planted slot would need a gibibyte of memory and minutes of time before the client
//! could reject the passphrase. The memory that a slot needs is known. The time is estimated from
//! the speed of this machine, which is measured once, and only if a slot is expensive enough to
//! need an estimate.

use std::sync::OnceLock;

use rustix::time::{ClockId, clock_gettime};

use crate::error::{Error, Kind, Result};
use crate::format::slot::{self, Cost};

/// A derivation that writes at most this much memory, in KiB, is accepted without an estimate. A
/// machine that needs 10 s for it would be too slow for a backup.
const CHEAP_KIB: u64 = 512 << 10;
/// The derivation that measures the speed of this machine: about 20 ms.
const SAMPLE: Cost = Cost {
    memory_kib: 16 << 10,
    passes: 2,
    lanes: 1,
};
/// The limit that an error suggests allows this multiple of the estimated time.
const MARGIN: f64 = 1.5;

/// The maximum accepted cost of one slot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limit {
    /// Memory, in KiB.
    pub memory_kib: u32,
    /// Estimated time on this machine, in seconds.
    pub seconds: u32,
}

impl Default for Limit {
    /// Eight times the memory and about fifty times the time of [`Cost::DEFAULT`].
    fn default() -> Limit {
        Limit {
            memory_kib: 256 << 10,
            seconds: 10,
        }
    }
}

impl Limit {
    /// # Errors
    /// [`Kind::Unsupported`] if `cost` exceeds the limit. The cause names the option that raises
    /// the limit.
    pub fn check(self, cost: Cost) -> Result<()> {
        let fits_memory = cost.memory_kib <= self.memory_kib;
        if fits_memory && cost.work() <= CHEAP_KIB {
            return Ok(());
        }
        let seconds = seconds(cost);
        if fits_memory && seconds <= f64::from(self.seconds) {
            return Ok(());
        }
        let (mib, enough) = (cost.memory_kib.div_ceil(1024), (seconds * MARGIN).ceil());
        Err(Error::new(
            Kind::Unsupported,
            format!(
                "{cost} takes {mib} MiB and about {seconds:.1} s, more than the limit of \
                 {} MiB and {} s; to accept it: -kdf-limit {},{}",
                self.memory_kib / 1024,
                self.seconds,
                mib.max(self.memory_kib / 1024),
                (enough as u32).max(self.seconds)
            ),
        ))
    }
}

/// The processor time of this thread, in seconds. Unlike the wall-clock time, it does not depend on
/// the load of the machine.
fn processor_seconds() -> f64 {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    time.tv_sec as f64 + time.tv_nsec as f64 / 1e9
}

/// The estimated time of a derivation on an idle processor of this machine, in seconds.
pub fn seconds(cost: Cost) -> f64 {
    static KIB_PER_SECOND: OnceLock<f64> = OnceLock::new();
    let speed = KIB_PER_SECOND.get_or_init(|| {
        let began = processor_seconds();
        // A failed sample is fast, so only the memory is limited then.
        let _ = slot::derive(b"sample", &[0; 16], SAMPLE);
        SAMPLE.work() as f64 / (processor_seconds() - began).max(1e-6)
    });
    cost.work() as f64 / speed
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cost(memory_mib: u32, passes: u32) -> Cost {
        Cost {
            memory_kib: memory_mib << 10,
            passes,
            lanes: 1,
        }
    }

    #[test]
    fn the_usual_cost_is_accepted_without_an_estimate() {
        let tight = Limit {
            seconds: 0,
            ..Limit::default()
        };
        tight.check(Cost::DEFAULT).unwrap();
        tight.check(Cost::FLOOR).unwrap();
    }

    #[test]
    fn memory_and_time_are_limited_and_the_error_names_a_sufficient_limit() {
        let error = Limit::default().check(cost(1024, 2)).unwrap_err();
        assert_eq!(error.kind(), Kind::Unsupported);
        let words = error.to_string();
        assert!(words.contains("-kdf-limit 1024,"), "{words}");
        let tight = Limit {
            seconds: 0,
            ..Limit::default()
        };
        let words = tight.check(cost(256, 64)).unwrap_err().to_string();
        let (_, limit) = words.split_once("-kdf-limit ").unwrap();
        let (mib, seconds) = limit.split_once(',').unwrap();
        let enough = Limit {
            memory_kib: mib.parse::<u32>().unwrap() << 10,
            seconds: seconds.parse().unwrap(),
        };
        enough.check(cost(256, 64)).unwrap();
    }
}

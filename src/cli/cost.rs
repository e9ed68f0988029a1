//! What it shall cost to try a passphrase: the flags of `create` and `key`.

use super::args::Args;
use super::table::Flag;
use crate::error::Result;
use crate::format::slot::Cost;

/// Memory of the key derivation.
pub const KDF_MEMORY: Flag = Flag::value(
    "kdf-memory",
    "MIB",
    "memory in MiB that trying a passphrase takes, 19 to 1024 (default 32)",
);
/// Passes of the key derivation.
pub const KDF_PASSES: Flag = Flag::value(
    "kdf-passes",
    "N",
    "passes over that memory, 2 to 64 (default 6)",
);

/// The cost that the flags ask for.
///
/// # Errors
/// [`crate::error::Kind::Usage`] for one that no store would accept.
pub fn given(args: &Args) -> Result<Cost> {
    let memory_mib = args.number::<u32>("kdf-memory")?;
    let cost = Cost {
        memory_kib: memory_mib.map_or(Cost::DEFAULT.memory_kib, |mib| mib.saturating_mul(1024)),
        passes: args.number("kdf-passes")?.unwrap_or(Cost::DEFAULT.passes),
        ..Cost::DEFAULT
    };
    match cost.check() {
        Ok(()) => Ok(cost),
        Err(error) => Err(args.usage(format!("-kdf-memory, -kdf-passes: {error}"))),
    }
}

//! SIGINT and SIGTERM: the first asks every thread to stop, the second ends the
//! process at once.
//!
//! Ending at once is safe at any moment: whatever is half-written has not been
//! published and is garbage that maintenance collects.

use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::flag;

use crate::error::{During, Kind, Result};
use crate::util::interrupt::Interrupt;

/// Lets signals set `interrupt` from now on.
pub(super) fn listen(interrupt: &Interrupt) -> Result<()> {
    let code = i32::from(Kind::Interrupted.exit_code());
    for signal in [SIGINT, SIGTERM] {
        // In this order: the first signal finds the flag unset here and sets it there.
        flag::register_conditional_shutdown(signal, code, interrupt.flag()).during(|| "signals")?;
        flag::register(signal, interrupt.flag()).during(|| "signals")?;
    }
    Ok(())
}

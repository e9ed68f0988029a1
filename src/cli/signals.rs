//! SIGINT and SIGTERM: the first signal asks every thread to stop, the second one ends the process
//! immediately.
//!
//! Ending the process is safe at any moment: partially written data is not published yet, and is
//! garbage that maintenance collects.

use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::flag;

use crate::error::{During, Kind, Result};
use crate::util::interrupt::Interrupt;

/// Installs handlers that set `interrupt` on a signal.
pub(super) fn listen(interrupt: &Interrupt) -> Result<()> {
    let code = i32::from(Kind::Interrupted.exit_code());
    for signal in [SIGINT, SIGTERM] {
        // The order matters: on the first signal, the shutdown handler finds the flag unset, and
        // then the second handler sets it.
        flag::register_conditional_shutdown(signal, code, interrupt.flag()).during(|| "signals")?;
        flag::register(signal, interrupt.flag()).during(|| "signals")?;
    }
    Ok(())
}

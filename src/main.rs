//! Runs a command, prints one error, and tells the exit code.

use std::process::ExitCode;

fn main() -> ExitCode {
    plakar::cli::main()
}

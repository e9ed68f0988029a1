//! Runs a command, prints one error, and tells the exit code.

use std::process::ExitCode;

/// That of musl has one lock for all threads.
#[cfg(target_env = "musl")]
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    plakar::cli::main()
}

//! Tests differences in behavior on a terminal.

use crate::harness::Sandbox;

#[test]
fn a_terminal_gets_the_same_words_and_the_same_exit_code() {
    let sandbox = Sandbox::new("terminal").with("LANG", "C");
    sandbox
        .run_on_terminal(&["version"])
        .ended(0)
        .prints(concat!("plakar ", env!("CARGO_PKG_VERSION")));
    sandbox
        .run_on_terminal(&["verison"])
        .ended(64)
        .prints("plakar: unknown command \"verison\"");
}

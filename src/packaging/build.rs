//! Tells the compiler which commit it builds, for `plakar version`.
//!
//! Only where the result is for others to use: the parts of a build are made anew when the
//! commit changes, which would make every test wait after every commit.

mod commit;

use std::env;
use std::path::Path;

use commit::Checkout;

/// What a program says that does not know its commit.
const UNKNOWN: &str = "unknown";

fn main() {
    println!("cargo:rerun-if-changed=src/packaging/build.rs");
    println!("cargo:rerun-if-changed=src/packaging/commit.rs");
    println!("cargo:rerun-if-env-changed=PLAKAR_COMMIT");
    println!("cargo:rustc-env=PLAKAR_COMMIT={}", commit());
}

/// The commit, and has it looked for again when there may be another one.
fn commit() -> String {
    if let Ok(commit) = env::var("PLAKAR_COMMIT") {
        return commit;
    }
    if env::var("PROFILE").as_deref() != Ok("release") {
        return UNKNOWN.to_owned();
    }
    let top = env::var_os("CARGO_MANIFEST_DIR").expect("cargo says where the sources are");
    let checkout = Checkout::at(Path::new(&top));
    for file in &checkout.files {
        println!("cargo:rerun-if-changed={}", file.display());
    }
    checkout.commit.unwrap_or_else(|| UNKNOWN.to_owned())
}

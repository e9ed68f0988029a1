//! Passes the commit id to the compiler, for `plakar version`.
//!
//! Only release builds contain it: a changed commit id rebuilds parts of the program, which would
//! delay every test run after a commit.

mod commit;

use std::env;
use std::path::Path;

use commit::Checkout;

/// The value if the commit is unknown.
const UNKNOWN: &str = "unknown";

fn main() {
    println!("cargo:rerun-if-changed=src/packaging/build.rs");
    println!("cargo:rerun-if-changed=src/packaging/commit.rs");
    println!("cargo:rerun-if-env-changed=PLAKAR_COMMIT");
    println!("cargo:rustc-env=PLAKAR_COMMIT={}", commit());
}

/// The commit id. Also registers the files whose change requires another build.
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

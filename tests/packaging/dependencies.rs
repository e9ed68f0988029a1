//! Tests the dependencies: licenses, sources, duplicates, and C code.
//!
//! The rules are those of `cargo deny`, as far as they need no network: they use the local metadata
//! of cargo and the lock file. Security advisories are checked when dependencies are updated.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::process::Command;
use std::sync::LazyLock;

use serde_json::Value;

use crate::harness::Run;
use crate::top;

/// Licenses that require only attribution: a program that contains such packages can be distributed
/// under the license of plakar.
const LICENCES: &[&str] = &[
    "0BSD",
    "Apache-2.0",
    "Apache-2.0 WITH LLVM-exception",
    "BlueOak-1.0.0",
    "BSD-2-Clause",
    "BSD-3-Clause",
    "CC0-1.0",
    "CDLA-Permissive-2.0",
    "ISC",
    "MIT",
    "MIT-0",
    "Unicode-3.0",
    "Unlicense",
    "Zlib",
];
/// Packages that occur in two versions, with the reason.
const DOUBLES: &[(&str, &str)] = &[
    (
        "getrandom",
        "the older one is for ring, a part of rustls that we do not build",
    ),
    (
        "syn",
        "at compile time only: serde's macros have the newer one, zeroize's the older",
    ),
    ("windows-sys", "not built here at all"),
];
/// Packages that contain C or assembly, by their `links` key. A new one requires a decision and an
/// entry in the table of the README.
const FOREIGN: &[&str] = &[
    "aws-lc-sys",
    "blake3",
    "libssh2-sys",
    "libz-sys",
    "openssl-sys",
    "zstd-sys",
];
/// The source of every package: published, with a checksum.
const REGISTRY: &str = "registry+https://github.com/rust-lang/crates.io-index";
/// The target for which most packages are built.
const TARGET: &str = "x86_64-unknown-linux-musl";

/// The metadata of all packages that are built for [`TARGET`], or needed for the build.
static PACKAGES: LazyLock<Vec<Value>> = LazyLock::new(|| {
    let mut command = Command::new(env!("CARGO"));
    command.args(["metadata", "--locked", "--format-version", "1"]);
    command
        .args(["--filter-platform", TARGET])
        .current_dir(top());
    let run = Run::of(&mut command).ended(0);
    let mut all: Value = serde_json::from_str(&run.stdout()).expect("cargo prints JSON");
    let packages = all["packages"].as_array_mut().map(std::mem::take);
    packages.expect("cargo tells packages")
});

fn lock() -> toml::Table {
    let text = fs::read_to_string(top().join("Cargo.lock")).expect("it is there");
    text.parse().expect("it is TOML")
}

fn text<'a>(package: &'a toml::Value, key: &str) -> &'a str {
    package
        .get(key)
        .and_then(toml::Value::as_str)
        .unwrap_or_default()
}

#[test]
fn every_package_is_from_the_registry_and_has_a_sum() {
    let lock = lock();
    let packages = lock["package"].as_array().expect("there are packages");
    for package in packages {
        let name = text(package, "name");
        if name == env!("CARGO_PKG_NAME") {
            continue;
        }
        assert_eq!(text(package, "source"), REGISTRY, "{name}");
        assert_eq!(text(package, "checksum").len(), 64, "{name}");
    }
}

#[test]
fn no_package_is_there_twice_but_for_a_reason() {
    let mut versions: BTreeMap<String, usize> = BTreeMap::new();
    for package in lock()["package"].as_array().expect("there are packages") {
        *versions
            .entry(text(package, "name").to_owned())
            .or_default() += 1;
    }
    versions.retain(|_, count| *count > 1);
    let expected = DOUBLES
        .iter()
        .map(|(name, _)| ((*name).to_owned(), 2))
        .collect();
    assert_eq!(versions, expected);
}

#[test]
fn licences_ask_for_nothing_we_do_not_give() {
    let field = |package: &Value, key: &str| package[key].as_str().unwrap_or_default().to_owned();
    let mut refused = Vec::new();
    for package in PACKAGES.iter() {
        let licence = field(package, "license");
        if !is_allowed(&licence) {
            refused.push(format!("{}: {licence:?}", field(package, "name")));
        }
    }
    assert!(PACKAGES.len() > 100, "{} packages", PACKAGES.len());
    assert!(refused.is_empty(), "{refused:?}");
}

/// Whether [`LICENCES`] alone satisfy an SPDX expression. A slash is an old form of `OR`.
fn is_allowed(expression: &str) -> bool {
    let spaced = expression
        .replace('/', " OR ")
        .replace('(', " ( ")
        .replace(')', " ) ");
    let spaced = spaced.replace(" WITH ", "+WITH+");
    let mut words = spaced.split_whitespace().peekable();
    either(&mut words) == Some(true) && words.next().is_none()
}

type Words<'a> = std::iter::Peekable<std::str::SplitWhitespace<'a>>;

/// Parses a disjunction. `None` if the words are not an expression; the same applies to the
/// functions below.
fn either(words: &mut Words) -> Option<bool> {
    let mut allowed = both(words)?;
    while words.next_if_eq(&"OR").is_some() {
        allowed |= both(words)?;
    }
    Some(allowed)
}

fn both(words: &mut Words) -> Option<bool> {
    let mut allowed = one(words)?;
    while words.next_if_eq(&"AND").is_some() {
        allowed &= one(words)?;
    }
    Some(allowed)
}

fn one(words: &mut Words) -> Option<bool> {
    match words.next()? {
        "(" => {
            let allowed = either(words)?;
            (words.next()? == ")").then_some(allowed)
        }
        name => Some(LICENCES.contains(&name.replace("+WITH+", " WITH ").as_str())),
    }
}

#[test]
fn expressions_of_licences_are_understood() {
    for allowed in [
        "MIT",
        "MIT/GPL-3.0",
        "GPL-3.0 OR MIT AND ISC",
        "(MIT OR X) AND (Y OR ISC)",
        "Apache-2.0 WITH LLVM-exception",
    ] {
        assert!(is_allowed(allowed), "{allowed}");
    }
    for refused in [
        "",
        "GPL-3.0",
        "MIT AND X",
        "(MIT OR X) AND Y",
        "MIT OR",
        "(MIT",
        "MIT WITH x",
        "MIT ISC",
    ] {
        assert!(!is_allowed(refused), "{refused}");
    }
}

/// The names in the dependency table of the README, and the rows that have a third column.
fn table() -> (BTreeSet<String>, String) {
    let text = fs::read_to_string(top().join("README.md")).expect("it is there");
    let (_, rest) = text
        .split_once("\n## Dependencies\n")
        .expect("there is a section");
    let (section, _) = rest.split_once("\n## ").expect("another one follows");
    let rows = section.lines().filter(|line| line.starts_with("| "));
    let mut names = BTreeSet::new();
    for row in rows {
        let cell = row.split('|').nth(1).expect("a row has cells");
        let words = cell.split('`').skip(1).step_by(2);
        names.extend(words.map(str::to_owned));
    }
    (names, section.to_owned())
}

#[test]
fn readme_names_every_direct_dependency_and_the_c_in_them() {
    let manifest = fs::read_to_string(top().join("Cargo.toml")).expect("it is there");
    let manifest: toml::Table = manifest.parse().expect("it is TOML");
    assert!(
        !manifest.contains_key("target"),
        "these are to be read, too"
    );
    let tables = [&manifest["dependencies"], &manifest["dev-dependencies"]];
    let tables = tables.into_iter().filter_map(toml::Value::as_table);
    let direct: BTreeSet<String> = tables.flat_map(|table| table.keys().cloned()).collect();
    let (named, section) = table();
    assert_eq!(named, direct);
    for package in FOREIGN {
        assert!(section.contains(&format!("`{package}`")), "{package}");
    }
}

#[test]
fn no_c_comes_in_unnoticed() {
    let built = built();
    // A package that compiles C depends on a crate that runs a C compiler.
    let compiles = |package: &&Value| {
        let dependencies = package["dependencies"].as_array().into_iter().flatten();
        let mut build =
            dependencies.filter(|one| one["kind"] == "build" && one["optional"] == false);
        build.any(|one| one["name"] == "cc")
    };
    let found: BTreeSet<&str> = PACKAGES
        .iter()
        .filter(compiles)
        .filter_map(|package| package["name"].as_str())
        .filter(|name| built.contains(*name))
        .collect();
    assert_eq!(found, FOREIGN.iter().copied().collect());
}

/// The packages that are built for [`TARGET`] with the enabled features.
fn built() -> BTreeSet<String> {
    let mut command = Command::new(env!("CARGO"));
    command.args(["tree", "--locked", "--target", TARGET, "-e", "normal,build"]);
    command
        .args(["--prefix", "none", "--format", "{p}"])
        .current_dir(top());
    let lines = Run::of(&mut command).ended(0).stdout();
    let names = lines.lines().filter_map(|line| line.split(' ').next());
    names.map(str::to_owned).collect()
}

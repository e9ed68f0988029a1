//! Tests `make install` to a directory.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use plakar::cli::manual::PAGES;

use crate::common::prerequisite::program;
use crate::harness::{Run, Sandbox, binary};
use crate::{make, top};

/// All files and directories below `root`, with their modes.
fn found(root: &Path, dir: &Path, names: &mut BTreeSet<(String, u32)>) {
    for entry in fs::read_dir(dir).expect("it can be listed") {
        let path = entry.expect("it can be listed").path();
        let meta = fs::symlink_metadata(&path).expect("it is there");
        let name = path.strip_prefix(root).expect("it is below").display();
        let mode = meta.permissions().mode() & 0o7777;
        match meta.is_dir() {
            true => {
                assert_eq!(mode, 0o755, "{name}");
                found(root, &path, names);
            }
            false => drop(names.insert((name.to_string(), mode))),
        }
    }
}

/// Installs to the sandbox below `PREFIX` and returns the resulting path.
pub(crate) fn installed(sandbox: &Sandbox, prefix: &str) -> PathBuf {
    let dir = sandbox.path("image");
    let words = [
        "install".to_owned(),
        format!("DESTDIR={}", dir.display()),
        format!("PREFIX={prefix}"),
        format!("BINARY={}", binary()),
    ];
    make(&words).ended(0);
    dir
}

#[test]
fn everything_is_installed_with_its_mode_and_nothing_else() {
    let sandbox = Sandbox::new("install");
    let image = installed(&sandbox, "/opt/plakar");
    let root = image.join("opt/plakar");
    let mut names = BTreeSet::new();
    found(&root, &root, &mut names);
    let plain = [
        "share/bash-completion/completions/plakar",
        "share/zsh/site-functions/_plakar",
        "share/fish/vendor_completions.d/plakar.fish",
        "lib/systemd/system/plakar-server.service",
        "lib/systemd/system/plakar-backup@.service",
        "lib/systemd/system/plakar-backup@.timer",
        "share/doc/plakar/README.md",
        "share/doc/plakar/CHANGELOG.md",
        "share/doc/plakar/LICENSE",
    ];
    let pages = PAGES.iter().map(|page| {
        format!(
            "share/man/man{}/{}.{}",
            page.section, page.name, page.section
        )
    });
    let programs = ["bin/plakar", "share/doc/plakar/plakar-server.init"];
    let expected: BTreeSet<(String, u32)> = pages
        .chain(plain.map(str::to_owned))
        .map(|name| (name, 0o644))
        .chain(programs.map(|name| (name.to_owned(), 0o755)))
        .collect();
    assert_eq!(names, expected);
    assert_eq!(
        fs::read_dir(&image).expect("it is there").count(),
        1,
        "nothing beside it"
    );
    sandbox.discard();
}

#[test]
fn what_is_installed_is_what_it_should_be() {
    let sandbox = Sandbox::new("install_contents");
    let root = installed(&sandbox, "/opt/plakar").join("opt/plakar");
    let read = |name: &str| fs::read(root.join(name)).expect("it is installed");
    assert!(read("bin/plakar") == fs::read(binary()).expect("it was built"));
    for page in PAGES {
        let name = format!(
            "share/man/man{}/{}.{}",
            page.section, page.name, page.section
        );
        assert_eq!(read(&name), page.source.as_bytes(), "{name}");
    }
    let completion = sandbox.run(&["completion", "bash"]).ended(0).stdout();
    assert_eq!(
        read("share/bash-completion/completions/plakar"),
        completion.as_bytes()
    );
    // Units call the program at its installed location.
    for unit in ["plakar-server.service", "plakar-backup@.service"] {
        let text = String::from_utf8(read(&format!("lib/systemd/system/{unit}"))).expect("text");
        assert!(
            text.contains("\nExecStart=/opt/plakar/bin/plakar "),
            "{text}"
        );
        assert!(!text.contains("/usr/local/bin"), "{text}");
    }
    let page = root.join("share/man/man1/plakar.1");
    let shown = program("mandoc").arg(page).output();
    assert!(shown.is_ok_and(|shown| shown.status.success()));
    sandbox.discard();
}

#[test]
fn without_prefix_it_is_below_usr_local() {
    let makefile = fs::read_to_string(top().join("Makefile")).expect("it is there");
    assert!(makefile.contains("\nPREFIX = /usr/local\n"));
    let words = ["install", "-n", "DESTDIR=/image"].map(str::to_owned);
    let run: Run = make(&words).ended(0);
    run.prints("/image/usr/local/bin/plakar");
}

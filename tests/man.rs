//! Compares manual pages with the tables of the command line, in both directions.
//!
//! A command has a page `plakar-COMMAND.1`, in which each of its flags, and each flag of its
//! subcommands, has a separate `.It Fl`. The global options are in `plakar.1`. Pages are written in
//! mdoc(7). If mandoc is installed, it must report no warnings. The program shows the pages in the
//! same way as mandoc.

#[path = "common/prerequisite.rs"]
mod prerequisite;

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command as Process;

use plakar::cli::manual::{Fonts, PAGES};
use plakar::cli::{COMMANDS, Command, Flag, GLOBAL_FLAGS};

use prerequisite::has_program;

/// The exit codes that plakar.1 lists: all error kinds, success, and partial failure.
const EXIT_CODES: &[&str] = &["0", "1", "3", "64", "65", "66", "69", "77", "78", "130"];

fn dir() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("man")
}

fn page(name: &str) -> String {
    let path = dir().join(name);
    fs::read_to_string(&path).unwrap_or_else(|cause| panic!("{}: {cause}", path.display()))
}

/// All manual pages.
fn pages() -> BTreeSet<String> {
    let entries = fs::read_dir(dir()).expect("there is a directory of manual pages");
    let names = entries.map(|entry| entry.expect("it can be listed").file_name());
    names
        .map(|name| name.into_string().expect("pages have plain names"))
        .collect()
}

/// The flags that a page documents: all names in its `.It Fl a Ns , Fl b Ar x` lines.
fn documented(text: &str) -> BTreeSet<String> {
    let items = text.lines().filter(|line| line.starts_with(".It Fl "));
    let words = items.flat_map(|line| {
        line.split(' ')
            .collect::<Vec<_>>()
            .windows(2)
            .map(pair)
            .collect::<Vec<_>>()
    });
    words
        .filter(|(macro_name, _)| macro_name == "Fl")
        .map(|(_, flag)| flag)
        .collect()
}

fn pair(words: &[&str]) -> (String, String) {
    (words[0].to_owned(), words[1].to_owned())
}

/// The names of all flags in `tables`.
fn named<'a>(tables: impl IntoIterator<Item = &'a [Flag]>) -> BTreeSet<String> {
    let flags = tables.into_iter().flatten();
    flags.flat_map(Flag::names).map(str::to_owned).collect()
}

fn own_flags(command: &Command) -> BTreeSet<String> {
    let commands = with_subcommands(command);
    named(commands.iter().map(|command| command.flags))
}

#[test]
fn every_command_has_a_page_and_every_page_a_command() {
    let wanted: BTreeSet<String> = COMMANDS
        .iter()
        .map(|command| format!("plakar-{}.1", command.name))
        .collect();
    let found: BTreeSet<String> = pages()
        .into_iter()
        .filter(|name| name.starts_with("plakar-") && name.ends_with(".1"))
        .collect();
    assert_eq!(found, wanted);
}

#[test]
fn pages_document_the_flags_that_there_are() {
    for command in COMMANDS {
        let text = page(&format!("plakar-{}.1", command.name));
        assert_eq!(
            documented(&text),
            own_flags(command),
            "plakar-{}.1",
            command.name
        );
        assert!(
            text.contains(&format!(".Nd {}\n", command.about)),
            "plakar-{}.1 says what help says",
            command.name
        );
    }
    assert_eq!(
        documented(&page("plakar.1")),
        named([GLOBAL_FLAGS]),
        "plakar.1"
    );
}

/// A command and all its subcommands, recursively: their flags are on one page.
fn with_subcommands(command: &Command) -> Vec<&Command> {
    let below = command.subcommands.iter().flat_map(with_subcommands);
    std::iter::once(command).chain(below).collect()
}

#[test]
fn flags_that_commands_share_have_a_page_that_they_point_to() {
    for command in COMMANDS {
        let text = page(&format!("plakar-{}.1", command.name));
        for group in with_subcommands(command)
            .iter()
            .flat_map(|command| command.groups)
        {
            let (name, section) = group.page;
            let shared = page(&format!("{name}.{section}"));
            assert_eq!(
                documented(&shared),
                named([group.flags]),
                "{name}.{section}"
            );
            let pointer = format!(".Xr {name} {section}");
            assert!(
                text.contains(&pointer),
                "{pointer} in plakar-{}.1",
                command.name
            );
        }
    }
}

#[test]
fn the_first_page_lists_commands_and_exit_codes() {
    let text = page("plakar.1");
    for command in COMMANDS {
        let item = format!(".It Cm {}", command.name);
        assert!(text.lines().any(|line| line.starts_with(&item)), "{item}");
        assert!(
            text.contains(&format!(".Xr plakar-{} 1", command.name)),
            "{} under SEE ALSO",
            command.name
        );
    }
    for code in EXIT_CODES {
        assert!(
            text.lines().any(|line| line == format!(".It {code}")),
            "exit code {code}"
        );
    }
}

#[test]
fn mandoc_is_content() {
    if !has_program("mandoc") {
        return;
    }
    for name in pages() {
        let checked = Process::new("mandoc")
            .args(["-Tlint", "-Wwarning"])
            .arg(dir().join(&name))
            .output()
            .expect("mandoc can be run");
        let said = String::from_utf8_lossy(&checked.stdout);
        assert!(checked.status.success() && said.is_empty(), "{said}");
    }
}

#[test]
fn the_program_has_every_page() {
    let carried: BTreeSet<String> = PAGES
        .iter()
        .map(|page| format!("{}.{}", page.name, page.section))
        .collect();
    assert_eq!(carried, pages());
}

/// The default width of a terminal.
const TERMINAL_COLUMNS: usize = 80;
/// The maximum width of mandoc, so large that it breaks no line, in particular not within a word.
const WIDE_COLUMNS: usize = 500;

#[test]
fn the_program_shows_the_words_that_mandoc_shows() {
    if !has_program("mandoc") {
        return;
    }
    let mut complaints = Vec::new();
    for page in PAGES {
        let name = format!("{}.{}", page.name, page.section);
        let shown = Process::new("mandoc")
            .args(["-Tascii", &format!("-Owidth={WIDE_COLUMNS}")])
            .arg(dir().join(&name))
            .output()
            .expect("mandoc can be run");
        let theirs = words(&String::from_utf8_lossy(&shown.stdout));
        let ours = words(&page.text(WIDE_COLUMNS, Fonts::Overstruck));
        let same = ours.iter().zip(&theirs).take_while(|(a, b)| a == b).count();
        if same < ours.len().max(theirs.len()) {
            let around = same.saturating_sub(5);
            let some = |words: &[String]| {
                words[around..]
                    .iter()
                    .take(15)
                    .cloned()
                    .collect::<Vec<_>>()
                    .join(" ")
            };
            complaints.push(format!(
                "{name}:\n  ours   {}\n  theirs {}",
                some(&ours),
                some(&theirs)
            ));
        }
    }
    assert!(complaints.is_empty(), "\n{}", complaints.join("\n"));
}

/// The words of a page as displayed, without those of its first and last line, and with only one
/// type of quotes. Of overstruck characters, only the first is kept.
fn words(shown: &str) -> Vec<String> {
    let mut plain = String::new();
    for letter in shown.chars() {
        match letter {
            '\u{8}' => drop(plain.pop()),
            '`' => plain.push('\''),
            letter => plain.push(letter),
        }
    }
    let lines: Vec<&str> = plain.trim().lines().collect();
    let body = &lines[1..lines.len() - 1];
    body.iter()
        .flat_map(|line| line.split_whitespace())
        .map(str::to_owned)
        .collect()
}

#[test]
fn pages_fit_a_terminal() {
    let mut wide = Vec::new();
    for page in PAGES {
        let text = page.text(TERMINAL_COLUMNS, Fonts::Dropped);
        // Examples are displayed unchanged.
        let is_wide = |line: &&str| line.chars().count() > TERMINAL_COLUMNS;
        let is_ours = |line: &&str| !page.source.contains(line.trim());
        let lines = text.lines().filter(is_wide).filter(is_ours);
        wide.extend(lines.map(|line| format!("{}.{}: {line}", page.name, page.section)));
    }
    assert!(wide.is_empty(), "\n{}", wide.join("\n"));
}

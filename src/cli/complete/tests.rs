//! Tests completion with separate tables and with those of the program.

use super::*;
use crate::cli::COMMANDS;
use crate::cli::table::Group;

/// A store with two snapshots, and a configuration with one name of each kind.
struct Fake;

impl Known for Fake {
    fn names(&self, section: Section) -> Vec<Candidate> {
        vec![Candidate::new(format!("my-{}", section.word()), "a place")]
    }

    fn snapshots(&self, _: &str) -> Vec<Candidate> {
        let about = "2026-01-14T06:45:32Z /home";
        vec![
            Candidate::new("latest", about),
            Candidate::new("ab12cd34", about),
        ]
    }

    fn entries(&self, word: &str) -> Vec<Candidate> {
        let (snapshot, _) = word.split_once(':').expect("only asked with a colon");
        ["etc/", "a\nb"]
            .map(|name| Candidate::new(format!("{snapshot}:{name}"), ""))
            .into()
    }
}

static QUERY: Group = Group {
    title: "Selection of snapshots",
    page: ("plakar-query", 7),
    flags: &[Flag::value("origin", "HOST", "made on HOST")],
};

static TABLE: &[Command] = &[
    Command {
        name: "check",
        synonyms: &["verify"],
        synopsis: "[-fast] [-format tar|zip] [QUERY] [SNAPSHOT[:PATH] ...]",
        about: "verify snapshots",
        flags: &[
            Flag::switch("fast", "look less closely"),
            Flag::value("format", "tar|zip", "what to write").also(&["f"]),
            Flag::switch("quiet", "a flag that hides one of the program"),
        ],
        groups: &[&QUERY],
        ..Command::BLANK
    },
    Command {
        name: "store",
        about: "configure stores",
        subcommands: &[
            Command {
                name: "rm",
                synopsis: "NAME ...",
                about: "forget stores",
                ..Command::BLANK
            },
            Command {
                name: "add",
                synopsis: "NAME LOCATION [KEY=VALUE ...]",
                about: "name a store",
                ..Command::BLANK
            },
        ],
        ..Command::BLANK
    },
];

/// The completions at the end of `line`, and the file names for its last word.
fn on(line: &str) -> (Vec<String>, Option<Names>) {
    let words: Vec<OsString> = line.split(' ').map(OsString::from).collect();
    let answer = place(&words, TABLE).map(|place| answer(&place, &Fake));
    let Answer { candidates, names } = answer.unwrap_or_default();
    let words = candidates.into_iter().map(|candidate| candidate.word);
    (words.collect(), names)
}

/// Like [`on`], if no file names are expected.
fn words_on(line: &str) -> Vec<String> {
    let (words, names) = on(line);
    assert_eq!(names, None, "{line}");
    words
}

#[test]
fn commands_subcommands_and_at_come_first() {
    assert_eq!(words_on(""), ["check", "verify", "store", "at"]);
    assert_eq!(words_on("-json st"), ["store"]);
    assert_eq!(words_on("at nas "), ["check", "verify", "store"]);
    assert_eq!(words_on("store "), ["rm", "add"]);
    assert_eq!(words_on("store a"), ["add"]);
    assert!(words_on("frobnicate ").is_empty());
}

#[test]
fn flags_are_those_of_command_groups_and_program() {
    assert_eq!(words_on("check -f"), ["-fast", "-format", "-f"]);
    assert_eq!(words_on("verify --or"), ["--origin"]);
    assert_eq!(words_on("check -qu"), ["-quiet"], "once");
    assert_eq!(words_on("-key"), ["-keyfile"]);
    assert_eq!(words_on("-fa"), [""; 0], "not before the command");
    assert!(words_on("check -- -f").is_empty());
}

#[test]
fn values_are_those_of_the_flag() {
    assert_eq!(words_on("check -format "), ["tar", "zip"]);
    assert_eq!(words_on("check --f z"), ["zip"]);
    assert_eq!(words_on("check -format=t"), ["-format=tar"]);
    assert_eq!(words_on("check -fast=f"), ["-fast=false"]);
    assert!(words_on("check -origin ").is_empty());
    assert_eq!(on("-keyfile "), (vec![], Some(Names::Files)));
    assert_eq!(on("check -cachedir /v"), (vec![], Some(Names::Directories)));
    assert!(words_on("check -unknown ").is_empty());
}

#[test]
fn stores_are_named_or_directories() {
    let named = vec!["@my-store".to_owned()];
    assert_eq!(on("at "), (named.clone(), Some(Names::Directories)));
    assert_eq!(on("at @my"), (named, None));
    assert!(on("at /srv").0.is_empty());
    assert_eq!(words_on("store rm "), ["my-store"]);
    assert_eq!(words_on("store rm my-store "), ["my-store"]);
    assert!(words_on("store add ").is_empty(), "a name that is new");
    assert_eq!(on("store add nas "), (vec![], Some(Names::Directories)));
}

#[test]
fn snapshots_and_what_is_in_them_are_asked_for() {
    assert_eq!(words_on("check "), ["latest", "ab12cd34"]);
    assert_eq!(words_on("check ab12cd34 la"), ["latest"]);
    assert_eq!(words_on("check latest:"), ["latest:etc/"], "no line breaks");
    assert!(words_on("check latest:x").is_empty());
}

#[test]
fn of_the_program_itself_every_command_is_completed() {
    let on = |words: &[&str]| {
        let words: Vec<OsString> = words.iter().map(OsString::from).collect();
        let place = place(&words, COMMANDS).expect("the words make sense");
        let Answer { candidates, names } = answer(&place, &Fake);
        let words: Vec<String> = candidates.into_iter().map(|one| one.word).collect();
        (words, names)
    };
    for command in COMMANDS {
        assert!(on(&[""]).0.contains(&command.name.to_owned()));
        assert!(on(&[command.name, "-"]).0.contains(&"-json".to_owned()));
    }
    assert_eq!(on(&["cat", "l"]).0, ["latest:"]);
    assert_eq!(on(&["help", "completion", ""]).0[0], "bash");
    assert_eq!(on(&["pkg", "show", "sf"]).0, ["sftp"]);
    assert_eq!(
        on(&["store", "set", "nas", "passphrase_"]).0,
        ["passphrase_cmd="]
    );
    assert_eq!(
        on(&["source", "unset", "docs", "exc"]).0,
        ["exclude_caches"]
    );
    assert_eq!(on(&["policy", "add", "usual", "per-da"]).0, ["per-day="]);
    assert_eq!(on(&["backup", "@"]), (vec!["@my-source".to_owned()], None));
    let to = (vec!["@my-destination".to_owned()], Some(Names::Directories));
    assert_eq!(on(&["restore", "-to", ""]), to);
}

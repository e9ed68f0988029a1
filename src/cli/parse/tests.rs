//! Tests parsing of command lines, with separate tables.

use std::os::unix::ffi::OsStringExt;

use super::*;
use crate::error::Kind;

static TABLE: &[Command] = &[
    Command {
        name: "check",
        synonyms: &["verify"],
        flags: &[
            Flag::switch("fast", "structure only"),
            Flag::value("tag", "TAG", "only these").repeatable(),
            Flag::value("trace", "WHAT", "its own, not the global one"),
        ],
        ..Command::BLANK
    },
    Command {
        name: "serve",
        flags: &[Flag::switch("open", "to everyone")],
        subcommands: &[Command {
            name: "token",
            subcommands: &[Command {
                name: "add",
                flags: &[Flag::value("role", "ROLE", "what it allows")],
                ..Command::BLANK
            }],
            ..Command::BLANK
        }],
        ..Command::BLANK
    },
    Command {
        name: "key",
        subcommands: &[
            Command {
                name: "add",
                flags: &[Flag::value("label", "TEXT", "what to call it")],
                ..Command::BLANK
            },
            Command {
                name: "list",
                ..Command::BLANK
            },
        ],
        ..Command::BLANK
    },
];

fn understood(words: &[&str]) -> Invocation {
    parse(words.iter().map(OsString::from), TABLE).unwrap()
}

fn command(words: &[&str]) -> Args {
    understood(words).args.unwrap()
}

fn refused(words: &[&str]) -> String {
    let error = parse(words.iter().map(OsString::from), TABLE).unwrap_err();
    assert_eq!(error.kind(), Kind::Usage);
    error.to_string()
}

#[test]
fn one_dash_or_two_and_values_after_a_space_or_an_equals_sign() {
    for words in [
        ["check", "-fast", "-tag", "a=b"].as_slice(),
        &["check", "--fast", "--tag", "a=b"],
        &["check", "-fast=true", "-tag=a=b"],
        &["check", "--fast=1", "--tag=a=b"],
    ] {
        let args = command(words);
        assert!(args.is_on("fast"), "{words:?}");
        assert_eq!(args.value("tag"), Some(OsStr::new("a=b")), "{words:?}");
    }
}

#[test]
fn a_switch_takes_no_word_and_the_last_one_wins() {
    let args = command(&["check", "-fast", "false"]);
    assert!(args.is_on("fast"));
    assert_eq!(args.arguments(), ["false"]);
    assert!(!command(&["check", "-fast", "-fast=false"]).is_on("fast"));
    assert!(refused(&["check", "-fast=maybe"]).contains("true or false"));
}

#[test]
fn flags_stand_anywhere_until_two_dashes() {
    let args = command(&[
        "check",
        "one",
        "-fast",
        "two",
        "-",
        "--",
        "-fast=false",
        "--",
    ]);
    assert!(args.is_on("fast"));
    assert_eq!(args.arguments(), ["one", "two", "-", "-fast=false", "--"]);
}

#[test]
fn a_value_may_start_with_a_dash_and_be_empty() {
    assert_eq!(
        command(&["check", "-tag", "-fast"]).value("tag"),
        Some(OsStr::new("-fast"))
    );
    assert_eq!(
        command(&["check", "-tag="]).value("tag"),
        Some(OsStr::new(""))
    );
    assert!(refused(&["check", "-tag"]).contains("-tag needs a value"));
}

#[test]
fn repeated_values_are_kept_in_order() {
    let args = command(&["check", "-tag", "a", "x", "-tag=b"]);
    assert_eq!(args.values("tag").collect::<Vec<_>>(), ["a", "b"]);
}

#[test]
fn global_options_stand_on_either_side_of_the_command() {
    for words in [["-json", "check"], ["check", "-json"]] {
        assert!(understood(&words).options.is_on("json"), "{words:?}");
    }
}

#[test]
fn a_flag_of_the_command_wins_over_the_global_one() {
    let invocation = understood(&["-trace", "store", "check", "-trace", "mine"]);
    assert_eq!(invocation.options.value("trace"), Some(OsStr::new("store")));
    assert_eq!(
        invocation.args.unwrap().value("trace"),
        Some(OsStr::new("mine"))
    );
}

#[test]
fn at_names_the_store_before_the_command_only() {
    let invocation = understood(&["-json", "at", "st", "-quiet", "verify", "at", "x"]);
    assert_eq!(invocation.store.as_deref(), Some(OsStr::new("st")));
    let args = invocation.args.unwrap();
    assert_eq!(args.command.name, "check");
    assert_eq!(args.arguments(), ["at", "x"]);
    assert!(understood(&["at", "st"]).args.is_none());
    assert!(refused(&["at"]).contains("needs a STORE"));
}

#[test]
fn words_after_dashes_are_told_from_those_before() {
    let around = |words: &[&str]| {
        let args = command(words);
        let around = args.around_dashes();
        around.map(|(before, after)| (before.to_vec(), after.to_vec()))
    };
    let words = ["check", "a", "-fast", "--", "b", "-json", "--"];
    let expected = (
        vec!["a".into()],
        ["b", "-json", "--"].map(OsString::from).to_vec(),
    );
    assert_eq!(around(&words), Some(expected));
    assert_eq!(around(&["check", "a"]), None);
    assert_eq!(around(&["check", "--"]), Some((vec![], vec![])));
}

#[test]
fn a_subcommand_has_flags_of_its_own() {
    let args = command(&["key", "add", "-label", "laptop"]);
    assert_eq!(args.command.name, "add");
    assert_eq!(args.text("label").unwrap().as_deref(), Some("laptop"));
    assert!(refused(&["key", "lst"]).contains("did you mean list"));
    let wanted = command(&["key"]).wanted_subcommand().to_string();
    assert_eq!(wanted, "key: needs one of: add, list");
    assert!(
        refused(&["key", "add", "-lable"])
            .starts_with("key add: unknown flag -lable (did you mean -label?)")
    );
}

#[test]
fn a_subcommand_has_subcommands_and_a_command_flags_beside_them() {
    assert!(command(&["serve", "-open"]).is_on("open"));
    let args = command(&["serve", "token", "add", "-role", "full", "laptop"]);
    assert_eq!(args.path(), "serve token add");
    assert_eq!((args.parent(), args.arguments().len()), (Some("token"), 1));
    assert_eq!(args.text("role").unwrap().as_deref(), Some("full"));
    let refusal = refused(&["serve", "token", "ad"]);
    assert!(
        refusal.starts_with("serve token: unknown subcommand"),
        "{refusal}"
    );
    let refusal = refused(&["serve", "-open", "token", "add"]);
    assert_eq!(refusal, "serve token: unexpected flag -open of serve");
    assert!(refused(&["serve", "token", "add", "-open"]).contains("unknown flag -open"));
}

#[test]
fn slips_get_an_answer_that_helps() {
    assert!(refused(&["check", "-fsat"]).contains("(did you mean -fast?)"));
    assert!(refused(&["chekc"]).contains("(did you mean check?)"));
    assert!(refused(&["-fast", "check"]).contains("give it after the command"));
    assert!(refused(&["check", "-jsno"]).contains("(did you mean -json?)"));
    assert!(refused(&["check", "-="]).contains("unknown flag"));
}

#[test]
fn what_is_not_utf_8_arrives_whole() {
    let raw = OsString::from_vec(b"caf\xe9".to_vec());
    let flag = OsString::from_vec(b"-tag=caf\xe9".to_vec());
    let words = ["check".into(), raw.clone(), flag];
    let args = parse(words, TABLE).unwrap().args.unwrap();
    assert_eq!(args.arguments(), std::slice::from_ref(&raw));
    assert_eq!(args.value("tag"), Some(raw.as_os_str()));
    assert!(args.text("tag").is_err() && args.texts().is_err());
}

#[test]
fn numbers_are_checked() {
    let numbered = |value| {
        understood(&["-cpu", value])
            .options
            .number::<u32>("concurrency")
    };
    assert_eq!(numbered("8").unwrap(), Some(8));
    assert!(
        numbered("-1")
            .unwrap_err()
            .to_string()
            .starts_with("-concurrency: ")
    );
    assert!(numbered("many").is_err());
}

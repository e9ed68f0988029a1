//! Parses the arguments in a synopsis such as `[-fast] [SNAPSHOT[:PATH] ...]`.
//!
//! Words in capitals are placeholders, words in lower case are literal. Brackets enclose optional
//! parts, `...` follows a repeatable part, and `|` separates alternatives. Flags are skipped,
//! because they are in the tables.

use std::collections::BTreeSet;

use super::Kind;
use crate::cli::args::Args;
use crate::cli::table::Command;
use crate::config::Section;

/// One argument of a synopsis.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Token {
    word: &'static str,
    is_optional: bool,
    is_repeated: bool,
}

/// The kinds of the next argument, after the arguments given so far.
pub(super) fn kinds_of(args: &Args) -> Vec<Kind> {
    let given: Vec<&str> = args
        .arguments()
        .iter()
        .map(|word| word.to_str().unwrap_or_default())
        .collect();
    let path = args.path();
    let mut found: Vec<Kind> = Vec::new();
    for word in expected(&tokens(args.command), &given) {
        for kind in kinds(word, &path) {
            if !found.contains(&kind) {
                found.push(kind);
            }
        }
    }
    found
}

/// The kinds of `word`, which is a word of a synopsis or the placeholder of a flag value. `path` is
/// the full name of the command, because the meaning of `NAME` depends on it.
pub(super) fn kinds(word: &'static str, path: &str) -> Vec<Kind> {
    if word.starts_with("SNAPSHOT") {
        return vec![match word.find(":PATH") {
            None => Kind::Snapshot,
            Some(_) if word.contains('[') => Kind::Entry,
            Some(_) => Kind::EntryOnly,
        }];
    }
    word.split('|')
        .flat_map(|word| kinds_of_one(word, path))
        .collect()
}

fn kinds_of_one(word: &'static str, path: &str) -> Vec<Kind> {
    match word {
        "STORE" => vec![Kind::At(Section::Stores), Kind::Directory],
        "PLACE" | "SOURCE" => vec![Kind::At(Section::Sources), Kind::File],
        "DESTINATION" => vec![Kind::At(Section::Destinations), Kind::Directory],
        "DIR" | "LOCATION" => vec![Kind::Directory],
        "FILE" | "PATH" => vec![Kind::File],
        "NAME" | "NAME[:PATH]" => named(path),
        "KEY" => section(path).map(Kind::Key).into_iter().collect(),
        "KEY=VALUE" => section(path).map(Kind::KeyValue).into_iter().collect(),
        "COMMAND" if path == "help" => vec![Kind::Command],
        "SUBCOMMAND" => vec![Kind::Subcommand],
        word if is_literal(word) => vec![Kind::Word(word)],
        // For example `stdin:NAME`, whose beginning is literal.
        word => match word.split_once(':') {
            Some((first, _)) if is_literal(first) => vec![Kind::Word(&word[..=first.len()])],
            _ => Vec::new(),
        },
    }
}

/// The kind of `NAME` for a command: a name configured by the command of that section. Commands
/// that add a new name have none.
fn named(path: &str) -> Vec<Kind> {
    match path.split_once(' ') {
        Some((_, "add" | "import")) if !path.starts_with("pkg") => Vec::new(),
        Some(("pkg", _)) => vec![Kind::Connector],
        _ => section(path).map(Kind::Name).into_iter().collect(),
    }
}

/// The section that the command `path` changes.
fn section(path: &str) -> Option<Section> {
    let (command, _) = path.split_once(' ')?;
    match command {
        "store" => Some(Section::Stores),
        "source" => Some(Section::Sources),
        "destination" => Some(Section::Destinations),
        "policy" => Some(Section::Policies),
        _ => None,
    }
}

/// Whether a word of a synopsis is literal: it is in lower case, or contains a digit. Placeholders
/// contain no digits, but literals such as `SHA256` do.
fn is_literal(word: &str) -> bool {
    let is_small = |letter: char| letter.is_ascii_lowercase() || letter == '-';
    let is_plain = |letter: char| letter.is_ascii_alphanumeric() || letter == '-';
    let is_itself =
        word.chars().all(is_small) || word.contains(|letter: char| letter.is_ascii_digit());
    word.starts_with(|first: char| first.is_ascii_alphabetic())
        && word.chars().all(is_plain)
        && is_itself
}

/// The arguments of a command, in order.
fn tokens(command: &Command) -> Vec<Token> {
    let mut tokens = Vec::new();
    collect(command, command.synopsis, false, &mut tokens);
    tokens
}

/// Appends the arguments in `text`. They are optional if `text` is inside brackets.
fn collect(command: &Command, text: &'static str, is_optional: bool, tokens: &mut Vec<Token>) {
    let mut items = items(text).into_iter();
    while let Some(item) = items.next() {
        let inner = item
            .strip_prefix('[')
            .and_then(|item| item.strip_suffix(']'));
        match (item, inner) {
            ("...", _) => {
                if let Some(token) = tokens.last_mut() {
                    token.is_repeated = true;
                }
            }
            (_, Some(inner)) if is_group(inner) => {}
            (_, Some(inner)) => collect(command, inner, true, tokens),
            (flag, None) if flag.starts_with('-') => {
                if takes_value(command, flag) {
                    items.next();
                }
            }
            (word, None) => tokens.push(Token {
                word: word.trim_end_matches('.'),
                is_optional,
                is_repeated: word.ends_with("..."),
            }),
        }
    }
}

/// Whether `word` stands for a group of flags.
fn is_group(word: &str) -> bool {
    ["flags", "options", "query"]
        .iter()
        .any(|group| word.eq_ignore_ascii_case(group))
}

/// Whether `flag`, as written in a synopsis, has a value.
fn takes_value(command: &Command, flag: &str) -> bool {
    let name = flag.trim_start_matches('-');
    let mut flags = command.tables().flatten();
    flags.any(|flag| flag.value.is_some() && flag.names().any(|known| known == name))
}

/// Splits `text` at blanks that are outside of brackets.
fn items(text: &'static str) -> Vec<&'static str> {
    let mut depth = 0;
    let is_gap = |letter: char| {
        match letter {
            '[' => depth += 1,
            ']' => depth -= 1,
            _ => {}
        }
        letter == ' ' && depth == 0
    };
    let items = text
        .split(is_gap)
        .filter(|item| !item.is_empty() && *item != "|");
    items.collect()
}

/// The words of the arguments that can follow `given`. The given arguments are matched against
/// `tokens`; optional tokens may be skipped.
fn expected(tokens: &[Token], given: &[&str]) -> Vec<&'static str> {
    let mut states = closed(tokens, BTreeSet::from([0]));
    for word in given {
        let mut next = BTreeSet::new();
        for state in states {
            let Some(token) = tokens.get(state).filter(|token| takes(token, word)) else {
                continue;
            };
            next.insert(state + 1);
            if token.is_repeated {
                next.insert(state);
            }
        }
        states = closed(tokens, next);
    }
    let words = states.into_iter().filter_map(|state| tokens.get(state));
    words.map(|token| token.word).collect()
}

/// Adds the states that can be reached from `states` by skipping optional tokens.
fn closed(tokens: &[Token], states: BTreeSet<usize>) -> BTreeSet<usize> {
    let mut all = states.clone();
    for mut state in states {
        while tokens.get(state).is_some_and(|token| token.is_optional) {
            state += 1;
            all.insert(state);
        }
    }
    all
}

/// Whether `word` matches this token.
fn takes(token: &Token, word: &str) -> bool {
    let mut words = token.word.split('|');
    words.clone().any(|known| !is_literal(known)) || words.any(|known| known == word)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::table::Flag;

    static FLAGS: &[Flag] = &[
        Flag::value("a", "VALUE", "about"),
        Flag::switch("b", "about"),
    ];

    fn after(synopsis: &'static str, given: &[&str]) -> Vec<&'static str> {
        let command = Command {
            name: "x",
            synopsis,
            flags: FLAGS,
            ..Command::BLANK
        };
        expected(&tokens(&command), given)
    }

    #[test]
    fn arguments_follow_each_other_as_the_synopsis_says() {
        let rm = "[-apply] SNAPSHOT ...";
        assert_eq!(after(rm, &[]), ["SNAPSHOT"]);
        assert_eq!(after(rm, &["ab"]), ["SNAPSHOT"]);
        let ls = "[-uuid] [QUERY] [SNAPSHOT[:PATH]]";
        assert_eq!(after(ls, &[]), ["SNAPSHOT[:PATH]"]);
        assert!(after(ls, &["ab"]).is_empty());
        assert_eq!(
            after("[SNAPSHOT[:PATH] ...]", &["a", "b"]),
            ["SNAPSHOT[:PATH]"]
        );
        assert_eq!(after("[COMMAND [SUBCOMMAND]]", &["key"]), ["SUBCOMMAND"]);
        assert_eq!(after("-a VALUE -b NAME...", &["one"]), ["NAME"]);
        assert_eq!(after("[-a VALUE] [-b | NAME]", &[]), ["NAME"]);
    }

    #[test]
    fn what_may_be_left_out_is_left_out_or_not() {
        let sync = "[-b] [SNAPSHOT] to|from|with STORE";
        assert_eq!(after(sync, &[]), ["SNAPSHOT", "to|from|with"]);
        assert_eq!(after(sync, &["ab12"]), ["to|from|with"]);
        assert_eq!(after(sync, &["to"]), ["to|from|with", "STORE"]);
        assert_eq!(after(sync, &["ab12", "to"]), ["STORE"]);
        assert!(after(sync, &["to", "from", "nas"]).is_empty());
    }

    #[test]
    fn words_are_of_the_kinds_that_they_name() {
        assert_eq!(kinds("SNAPSHOT", "rm"), [Kind::Snapshot]);
        assert_eq!(kinds("SNAPSHOT:PATH", "cat"), [Kind::EntryOnly]);
        assert_eq!(kinds("SNAPSHOT[:PATH]", "ls"), [Kind::Entry]);
        assert_eq!(
            kinds("vfs|no", "backup"),
            [Kind::Word("vfs"), Kind::Word("no")]
        );
        assert_eq!(kinds("FILE|-", "archive"), [Kind::File]);
        let hashes = [Kind::Word("SHA256"), Kind::Word("BLAKE3")];
        assert_eq!(kinds("SHA256|BLAKE3", "digest"), hashes);
        assert_eq!(kinds("NAME", "store rm"), [Kind::Name(Section::Stores)]);
        assert_eq!(
            kinds("NAME[:PATH]", "source ping"),
            [Kind::Name(Section::Sources)]
        );
        assert!(kinds("NAME", "store add").is_empty() && kinds("NAME", "create").is_empty());
        assert_eq!(kinds("NAME", "pkg add"), [Kind::Connector]);
        assert_eq!(kinds("stdin:NAME", "backup"), [Kind::Word("stdin:")]);
        for word in ["TAG,...", "KEY=VALUE", "MIB"] {
            assert!(kinds(word, "backup").is_empty(), "{word}");
        }
    }
}

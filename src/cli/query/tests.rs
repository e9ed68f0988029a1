//! Tests flags, and policies with the same names.

use super::*;
use crate::cli::Command;
use crate::cli::parse::parse;

static COMMANDS: &[Command] = &[Command {
    name: "ls",
    groups: &[&GROUP],
    ..Command::BLANK
}];

/// The query that the flags in `words` specify.
fn asked(words: &[&str]) -> Result<Query> {
    asked_with(&[], words)
}

fn asked_with(policy: &[(&str, &str)], words: &[&str]) -> Result<Query> {
    let words = ["ls"].iter().chain(words).map(OsString::from);
    let args = parse(words, COMMANDS)?.args;
    from_policy_and_args(&pairs(policy), &args.expect("the words name a command"))
}

fn pairs(policy: &[(&str, &str)]) -> Vec<(String, String)> {
    let owned = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
    policy.iter().map(owned).collect()
}

fn complaint(words: &[&str]) -> String {
    asked(words).unwrap_err().to_string()
}

fn matcher(period: Period, keep: u32, cap: u32) -> Matcher {
    Matcher {
        period,
        keep: NonZeroU32::new(keep),
        cap: NonZeroU32::new(cap),
    }
}

#[test]
fn flags_are_filters_and_matchers() {
    let words = [
        "-per-tuesday",
        "3",
        "-days",
        "7",
        "-thuesdays",
        "2",
        "-per-day=1",
        "-per-week",
        "4",
        "-tag",
        "a, !b",
        "-tag",
        "c",
        "-name",
        "n",
        "-type",
        "sftp",
        "-latest",
        "-group-by",
        "root",
        "-root",
        "/srv/./x/../a/",
    ];
    let query = asked(&words).unwrap();
    let tuesday = Period::On(jiff::civil::Weekday::Tuesday);
    assert_eq!(
        query.matchers,
        [
            matcher(Period::Day, 7, 1),
            matcher(Period::Week, 0, 4),
            matcher(tuesday, 2, 3)
        ]
    );
    let filters = Filters {
        name: Some("n".into()),
        source: Some("sftp".into()),
        tags: vec!["a".into(), "c".into()],
        absent_tags: vec!["b".into()],
        roots: vec![b"/srv/a".to_vec()],
        ..Filters::default()
    };
    assert_eq!(query.filters, filters);
    assert_eq!(
        (query.newest, query.group_by),
        (Newest::Only, Some(Field::Root))
    );
    assert!(!query.is_everything() && asked(&[]).unwrap().is_everything());
}

#[test]
fn every_flag_is_understood() {
    for flag in FLAGS {
        let value = match flag.name {
            "before" | "since" => "2026-01-01",
            "type" => "fs",
            "group-by" => "name",
            "root" => "/srv",
            "latest" => "true",
            _ => "1",
        };
        for name in flag.names() {
            let of_words = asked(&[&format!("-{name}={value}")]).unwrap();
            let of_policy = from_policy(&pairs(&[(name, value)])).unwrap();
            assert_ne!(of_words, Query::at(of_words.now_ns), "-{name}");
            let of_policy = Query {
                now_ns: of_words.now_ns,
                ..of_policy
            };
            assert_eq!(of_words, of_policy, "-{name}");
        }
    }
}

#[test]
fn the_command_line_adds_to_a_policy_and_wins() {
    let policy = [
        ("days", "7"),
        ("per-day", "1"),
        ("tag", "a,!b"),
        ("latest", "true"),
    ];
    let query = asked_with(&policy, &["-days", "3", "-tag", "c", "-latest=false"]).unwrap();
    assert_eq!(query.matchers, [matcher(Period::Day, 3, 1)]);
    assert_eq!(query.filters.tags, ["a", "c"]);
    assert_eq!(query.filters.absent_tags, ["b"]);
    assert_eq!(query.newest, Newest::All);
}

#[test]
fn values_that_are_none_are_refused() {
    for (words, reason) in [
        (["-days", "0"], "ls: -days: \"0\" is not a number from 1"),
        (["-days", "many"], "is not a number from 1"),
        (
            ["-per-day", "-1"],
            "-per-day: \"-1\" is not a number from 1",
        ),
        (["-before", "30"], "an age such as 30d"),
        (
            ["-type", "sftb"],
            "none of fs, sftp, stdin, cmd (did you mean sftp?)",
        ),
        (["-group-by", "size"], "none of name, category"),
        (["-tag", "a,,b"], "a tag in \"a,,b\" is empty"),
        (["-tag", "!"], "is empty"),
        (["-tag", "a,!a"], "cannot be there and not be there"),
        (["-root", ""], "the path is empty"),
        (["-latest=perhaps", ""], "is true or false"),
    ] {
        let said = complaint(&words);
        assert!(said.contains(reason), "{words:?}: {said}");
    }
    let said = complaint(&["-since", "2026-01-02", "-before", "2026-01-02"]);
    assert!(said.contains("nothing is both since"), "{said}");
}

#[test]
fn a_policy_has_known_names_and_whole_paths() {
    let complaint = |name, value| {
        from_policy(&pairs(&[(name, value)]))
            .unwrap_err()
            .to_string()
    };
    assert_eq!(
        complaint("per-dai", "1"),
        "unknown filter or matcher \"per-dai\" (did you mean per-day?)"
    );
    assert_eq!(
        complaint("root", "srv"),
        "-root: \"srv\" is not an absolute path"
    );
    assert!(complaint("latest", "maybe").contains("is true or false"));
    assert!(complaint("days", "-2").contains("is not a number from 1"));
}

#[test]
fn a_relative_root_is_from_here_and_links_are_followed() {
    let here = std::env::current_dir().unwrap();
    let here = here.as_os_str().as_bytes();
    let query = asked(&["-root", "src/.."]).unwrap();
    assert_eq!(query.filters.roots[0], here);
    let query = asked(&["-root", "no/such/../place"]).unwrap();
    assert_eq!(query.filters.roots, [[here, b"/no/place"].concat()]);
    let query = asked(&["-root", "/proc/self/root/tmp"]).unwrap();
    assert_eq!(query.filters.roots, [&b"/proc/self/root/tmp"[..], b"/tmp"]);
}

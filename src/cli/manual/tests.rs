//! Tests the exact output of single constructs. `tests/man.rs` compares whole pages with mandoc.

use proptest::collection::vec;
use proptest::prelude::*;

use super::*;

const HEAD: &str = ".Dd November 22, 2026\n.Dt X 1\n.Os\n.Sh NAME\n.Nm x\n.Nd do it\n";

/// The output of `body`, without the lines around it.
fn set(body: &str) -> String {
    let text = rendered(&format!("{HEAD}{body}"), 40, Fonts::Dropped);
    let text = text.strip_prefix("X(1)\n\nNAME\n     x - do it\n");
    let text = text.and_then(|text| text.strip_suffix("\nX(1)  November 22, 2026\n"));
    text.expect("there is a head and a foot").to_owned()
}

#[test]
fn text_is_broken_and_indented() {
    let body =
        ".Sh WORDS\nOne two three four\nfive six seven eight.\n.Pp\nNext.\n.Ss Part\nLast.\n";
    let expected = "
WORDS
     One two three four five six seven
     eight.

     Next.

   Part
     Last.
";
    assert_eq!(set(body), expected);
}

#[test]
fn macros_mark_words_and_leave_points_and_commas_alone() {
    for (line, expected) in [
        (".Op Fl a Ar FILE , Ar OTHER .", "[-a FILE, OTHER]."),
        (
            ".Op Fl listen Oo Ar HOST Oc Ns Ar :PORT",
            "[-listen [HOST]:PORT]",
        ),
        (".Cm read Ns | Ns Cm full", "read|full"),
        (".Pq see Xr y 5 , Xr z 7 .", "(see y(5), z(7))."),
        (".Dq Ar a b ;", "\"a b\";"),
        (".Ql \\eu{HEX} .", "'\\u{HEX}'."),
        (".Ql \\&. .", "'.'."),
        (".Fl", "-"),
        (".Nm Fl json", "x -json"),
        (".Fn hash \"a b\" c .", "hash(a b, c)."),
        (".Li \"Ar x\" .", "Ar x."),
        (".Cm 1 \\- 2", "1 - 2"),
    ] {
        let expected = format!("\nS\n     {expected}\n");
        assert_eq!(set(&format!(".Sh S\n{line}\n")), expected, "{line}");
    }
}

#[test]
fn tags_stand_beside_what_they_are_for_or_above_it() {
    let body = ".Sh S
.Bl -tag -width Ds
.It Fl a
First.
.It Fl allow-delete Ar NAME , Ar b
Second.
.Bd -literal -offset indent
$ as  it is

  end
.Ed
.Bl -enum -compact
.It
Deep.
.El
.It Fl last
.El
After.
";
    let expected = "
S
     -a      First.

     -allow-delete NAME, b
             Second.

                   $ as  it is

                     end
             1.  Deep.

     -last
     After.
";
    assert_eq!(set(body), expected);
}

#[test]
fn tables_have_columns() {
    let body = ".Sh S\nText.\n.Bl -column \"longest\" \"b\"\n.It Em a Ta b Ta c d\n.It longest Ta 2 , 3 Ta\n.El\n";
    assert_eq!(
        set(body),
        "\nS\n     Text.\n\n     a        b  c d\n     longest  2, 3\n"
    );
}

#[test]
fn a_synopsis_breaks_between_options_and_hangs() {
    let body = ".Sh SYNOPSIS\n.Nm plakar\n.Op Ar OPTIONS\n.Cm server\n.Op Fl listen Ar PORT\n.Op Fl key Ar FILE\n.Nm plakar\n.Cm token\n";
    let expected = "
SYNOPSIS
     plakar [OPTIONS] server
            [-listen PORT] [-key FILE]
     plakar token
";
    assert_eq!(set(body), expected);
}

#[test]
fn fonts_are_shown_by_striking_twice() {
    let page = format!("{HEAD}.Sh S\n.Cm ab Ar c\n");
    let text = rendered(&page, 40, Fonts::Overstruck);
    assert!(text.contains("     a\u{8}ab\u{8}b _\u{8}c\n"), "{text:?}");
}

#[test]
fn pages_are_found_by_all_their_names() {
    for (name, section) in [
        ("kloset", 7),
        ("kloset.5", 5),
        ("kloset(5)", 5),
        ("plakar", 1),
    ] {
        let page = Page::called(name).map(|page| page.section);
        assert_eq!(page, Some(section), "{name}");
    }
    assert!(Page::called("backup").is_none());
    assert_eq!(Page::on("backup").unwrap().name, "plakar-backup");
    assert!(Page::on("plakar").is_none());
}

/// All macros that this program supports, and one that it does not.
const MACROS: &str = "Dd Dt Os Sh Ss Pp Bd Ed Dl Bl It El Rs Re %A %J %T Nm Nd Fl Cm Ic Ar Pa Em Ns Xr \
    Fn Ex Op Dq Sq Ql Pq Oo Po Oc Pc Xo Xc Ev Dv Li No Sx Ta Zz";

#[test]
fn no_macro_needs_arguments() {
    for name in MACROS.split_whitespace() {
        for list in [
            "",
            ".Bl -tag\n",
            ".Bl -bullet\n",
            ".Bl -enum\n",
            ".Bl -column \"a\"\n",
        ] {
            // With and without a name and a section before it.
            drop(rendered(
                &format!("{list}.{name}\n.{name}"),
                40,
                Fonts::Overstruck,
            ));
            drop(rendered(
                &format!("{HEAD}.Sh S\n{list}.{name}\nx\n"),
                1,
                Fonts::Dropped,
            ));
        }
    }
}

/// A word of a line: a macro, a delimiter, a flag, or arbitrary text.
fn word() -> impl Strategy<Value = String> {
    let macros: Vec<&str> = MACROS.split_whitespace().collect();
    let others = [
        "-tag", "-column", "-bullet", "-enum", "-compact", "-offset", "-width", ".", ",", "(", "|",
        "\"", "\"a b\"", "\\&", "\\(dq", "\\", "SYNOPSIS", "\t", "",
    ];
    prop_oneof![
        4 => prop::sample::select(macros).prop_map(str::to_owned),
        2 => prop::sample::select(others.to_vec()).prop_map(str::to_owned),
        1 => any::<String>(),
    ]
}

/// A line of such words, which usually begins with a macro.
fn line() -> impl Strategy<Value = String> {
    (
        prop::sample::select(vec![".", ".", ".", "", "\""]),
        vec(word(), 0..6),
    )
        .prop_map(|(dot, words)| format!("{dot}{}", words.join(" ")))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 500, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_lines_can_be_set(lines in vec(line(), 0..12), width_columns in 0..100_usize) {
        drop(rendered(&lines.join("\n"), width_columns, Fonts::Overstruck));
    }
}

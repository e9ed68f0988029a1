//! Tests that ignore patterns have the same meaning as in git, by comparison with git itself.

#![allow(clippy::unwrap_used, clippy::print_stderr)]

#[path = "common/prerequisite.rs"]
mod prerequisite;

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::fs;
use std::io::Write;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::Path;
use std::process::{Command, Stdio};

use plakar::connector::exclude::{Excludes, is_cache, lines};
use plakar::connector::{FileKind, LocalSource, Source, SourceDir};
use plakar::error::Kind;

use prerequisite::has_program;

/// The files of the test tree. Their parents are directories.
const FILES: &[&[u8]] = &[
    b"a",
    b"b.txt",
    b"c.pdf",
    b"#hash",
    b"!bang",
    b" lead",
    b"trail ",
    b"tab\t",
    b"foo.",
    b"..x",
    b"brace{a,b}",
    b"star*",
    b"br[ack]et",
    b"back\\slash",
    b"dash-x",
    b"caret^x",
    b"]x",
    b"new\nline.txt",
    b"latin-\xe9.txt",
    b"\xff",
    b"utf-\xc3\xa9.txt",
    b"A",
    b"Z9",
    b"x1y",
    b".hidden",
    b"{",
    b"-",
    b"^",
    b"a b",
    b"abc",
    b"aXc",
    b"aXXc",
    b"a.c",
    b"dir/a",
    b"dir/b.txt",
    b"dir/c.pdf",
    b"dir/sub/a",
    b"dir/sub/c.pdf",
    b"dir/sub/deep/b.txt",
    b"build/out/a.o",
    b"src/build/out/a.o",
    b"src/main.o",
    b"src/keep/.keep",
    b"foo/bar/baz/qux",
    b"foo/baz",
    b"foo/x/baz",
    b"x/foo/bar/y",
    b"deep/1/2/3/4/a",
    b"deep/1/foo/2/bar",
    b"\xfe/a",
    b"node_modules/p/a",
];

/// Each string is one `.gitignore` file.
const TABLE: &[&str] = &[
    "*\n!**/\n!**/*.pdf",
    "*\n!*/\n!*.pdf",
    "*",
    "**",
    "**/",
    "/*",
    "*/",
    "dir",
    "dir/",
    "/dir",
    "/a",
    "a",
    "dir/a",
    "dir/*",
    "dir/**",
    "dir/**\n!dir/sub/",
    "dir/**\n!dir/sub/\n!dir/sub/a",
    "dir\n!dir/a",
    "/dir/*\n!/dir/sub",
    "**/a",
    "**/sub/**",
    "foo/**/baz",
    "foo/**",
    "**/foo/**/bar",
    "foo/*/baz",
    "**/bar/*",
    "\\#hash",
    "#hash",
    "\\!bang",
    "!bang",
    "*\n!\\!bang",
    "trail",
    "trail ",
    "trail\\ ",
    "trail\\  ",
    "tab\t",
    " lead",
    "lead",
    "foo.",
    "..x",
    "brace{a,b}",
    "{a,b}",
    "{",
    "{*",
    "star\\*",
    "star*",
    "star?",
    "br\\[ack\\]et",
    "br[[]ack[]]et",
    "back\\\\slash",
    "back*",
    "[ab]",
    "[!ab]",
    "[^ab]",
    "a[!x]c",
    "[a-c]",
    "[]]x",
    "[]-]x",
    "[!]]x",
    "dash[-]x",
    "dash[+--]x",
    "caret[\\^]x",
    "[[:upper:]]",
    "[[:alpha:]][[:digit:]]",
    "[[:digit:][:upper:]]*",
    "a[[:space:]]b",
    "a\\ b",
    "a b",
    "[A-Z]",
    "a[b-]c",
    "a[!-]c",
    "a[a-c-z]c",
    "[\\]]x",
    "new*",
    "new?line.txt",
    "*.txt",
    "latin-?.txt",
    "utf-??.txt",
    "utf-?.txt",
    "utf-é.txt",
    "utf-[é]?.txt",
    "a?c",
    "a*c",
    "a**c",
    "a***c",
    "***/a",
    "dir***",
    "foo[/]baz",
    "foo[!a]baz",
    "foo[+-9]baz",
    "foo?baz",
    "foo*baz",
    "build/\n!src/build/",
    "/build",
    "**/build",
    "*.o\n!main.o",
    "*.o\n!/src/*.o",
    "!a\na",
    "a\n!a",
    "a\n!a\na",
    "deep/**/a",
    "deep/**/2/**",
    "deep/1/**/bar",
    ".*",
    ".hidden",
    "!.hidden",
    "/",
    "//",
    "!",
    "!/",
    "",
    "   ",
    "\\a",
    "d\\ir/",
    "foo/bar/",
    "foo/bar/baz/",
    "x/**/y",
    "**/**/a",
    "**/*",
    "/**",
    "/**/",
    "/**/a",
    "node_modules/\n*.txt",
    "sub/",
    "sub/deep",
    "/sub",
    "-",
    "^",
    "*\\",
    "[^^]",
    "[!!]",
    "[-]",
    "[^-]",
    "[\\-]",
    "abc/",
    "a/",
    "dir//",
    "./a",
    "../a",
    "dir/./a",
    "dir/sub/../a",
];

/// A repository that contains [`FILES`].
fn repository() -> tempfile::TempDir {
    let tree = tempfile::tempdir().unwrap();
    for file in FILES {
        let path = tree.path().join(OsStr::from_bytes(file));
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, "").unwrap();
    }
    let made = git(tree.path()).args(["init", "-q"]).status().unwrap();
    assert!(made.success(), "git init: {made}");
    tree
}

/// A git command that ignores all user configuration.
fn git(dir: &Path) -> Command {
    let mut git = Command::new("git");
    git.current_dir(dir)
        .env("HOME", dir)
        .env("XDG_CONFIG_HOME", dir)
        .env("GIT_CONFIG_NOSYSTEM", "1");
    git
}

/// All paths of the tree with their types, parents first.
fn paths() -> Vec<(Vec<u8>, FileKind)> {
    let mut paths = BTreeSet::new();
    for file in FILES {
        for (at, _) in file.iter().enumerate().filter(|&(_, &byte)| byte == b'/') {
            paths.insert((file[..at].to_vec(), false));
        }
        paths.insert((file.to_vec(), true));
    }
    let kind = |is_file| {
        if is_file {
            FileKind::File
        } else {
            FileKind::Directory
        }
    };
    paths
        .into_iter()
        .map(|(path, is_file)| (path, kind(is_file)))
        .collect()
}

/// The paths that git ignores with `rules` in `.gitignore`.
fn by_git(tree: &Path, rules: &[u8], paths: &[(Vec<u8>, FileKind)]) -> BTreeSet<Vec<u8>> {
    fs::write(tree.join(".gitignore"), rules).unwrap();
    let mut check = git(tree);
    check.args(["check-ignore", "--no-index", "-z", "--stdin"]);
    let mut child = check
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut input = child.stdin.take().unwrap();
    for (path, _) in paths {
        input.write_all(path).unwrap();
        input.write_all(b"\0").unwrap();
    }
    drop(input);
    let output = child.wait_with_output().unwrap();
    assert!(
        output.status.code().is_some_and(|code| code < 2),
        "git check-ignore: {}",
        output.status
    );
    output
        .stdout
        .split(|&byte| byte == 0)
        .filter(|path| !path.is_empty())
        .map(<[u8]>::to_vec)
        .collect()
}

/// The paths that a walk does not reach if it does not enter excluded directories.
fn by_us(excludes: &Excludes, paths: &[(Vec<u8>, FileKind)]) -> BTreeSet<Vec<u8>> {
    let mut missed: BTreeSet<Vec<u8>> = BTreeSet::new();
    for (path, kind) in paths {
        let parent = path
            .iter()
            .rposition(|&byte| byte == b'/')
            .map(|at| &path[..at]);
        if parent.is_some_and(|parent| missed.contains(parent)) || excludes.excludes(path, *kind) {
            missed.insert(path.clone());
        }
    }
    missed
}

/// Compares the result for `rules` with that of git, and fails if they differ. Rules that plakar
/// rejects are not compared.
fn compare(tree: &Path, rules: &[u8], paths: &[(Vec<u8>, FileKind)]) -> Option<()> {
    let excludes = Excludes::new(&lines(rules).unwrap()).ok()?;
    let (git, us) = (by_git(tree, rules, paths), by_us(&excludes, paths));
    let names = |set: BTreeSet<&Vec<u8>>| -> Vec<String> {
        set.into_iter()
            .map(|path| path.escape_ascii().to_string())
            .collect()
    };
    let (only_git, only_us) = (
        names(git.difference(&us).collect()),
        names(us.difference(&git).collect()),
    );
    assert!(
        only_git.is_empty() && only_us.is_empty(),
        "{:?}: only git ignores {only_git:?}, only we {only_us:?}",
        rules.escape_ascii().to_string()
    );
    Some(())
}

#[test]
fn a_table_of_patterns_reads_as_git_reads_it() {
    if !has_program("git") {
        return;
    }
    let (tree, paths) = (repository(), paths());
    for rules in TABLE {
        let compared = compare(tree.path(), rules.as_bytes(), &paths).is_some();
        assert_eq!(compared, *rules != "*\\", "{rules:?}");
        compare(tree.path(), rules.replace('\n', "\r\n").as_bytes(), &paths);
    }
}

#[test]
fn random_patterns_read_as_git_reads_them() {
    if !has_program("git") {
        return;
    }
    let (tree, paths) = (repository(), paths());
    let words = [
        "a",
        "*",
        "**",
        "/",
        "/",
        "dir",
        "sub",
        "foo",
        "bar",
        ".",
        "txt",
        "?",
        "[a-c]",
        "[!b]",
        "!",
        "\n",
        "\n!",
        "\n/",
        "{",
        "}",
        ",",
        "\\",
        " ",
        "baz",
        "[[:lower:]]",
        "#",
        "deep",
        "-",
        "build",
        "o",
    ];
    let mut state: u64 = 0x9e37_79b9_7f4a_7c15;
    let mut next = |below: usize| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        usize::try_from(state % below as u64).unwrap()
    };
    let mut compared = 0;
    for _ in 0..rounds() {
        let rules: String = (0..1 + next(6)).map(|_| words[next(words.len())]).collect();
        if has_inner_stars(&rules) {
            continue;
        }
        compared += usize::from(compare(tree.path(), rules.as_bytes(), &paths).is_some());
    }
    assert!(compared > rounds() / 2, "only {compared} were compared");
}

/// Whether `**` follows a letter, as in `deep**/a`. In this case git differs from its manual, which
/// defines it as `*`: git first removes the letters and matches `**/a`.
fn has_inner_stars(rules: &str) -> bool {
    rules
        .match_indices("**")
        .any(|(at, _)| !matches!(rules[..at].chars().last(), None | Some('/' | '!' | '\n')))
}

/// The number of random patterns: `PLAKAR_TEST_ROUNDS`, or a default that takes about a second.
fn rounds() -> usize {
    std::env::var("PLAKAR_TEST_ROUNDS")
        .ok()
        .and_then(|text| text.parse().ok())
        .unwrap_or(200)
}

#[test]
fn a_pattern_that_is_none_is_named_with_its_line() {
    for (pattern, why) in [
        ("[a", "never closed"),
        ("a\\", "backslash"),
        ("[z-a]", "wrong way"),
        ("[[:no:]]", "no class"),
    ] {
        let Err(error) = Excludes::new(&["fine".to_owned(), pattern.to_owned()]) else {
            panic!("{pattern} was taken");
        };
        assert_eq!(error.kind(), Kind::Usage);
        let message = error.to_string();
        assert!(
            message.starts_with(&format!("ignore pattern 2: {pattern:?}: ")),
            "{message}"
        );
        assert!(message.contains(why), "{message}");
    }
}

#[test]
fn a_file_is_split_into_lines_whoever_wrote_it() {
    assert_eq!(
        lines(b"\xef\xbb\xbfa\r\n\r\n#c\nb").unwrap(),
        ["a", "", "#c", "b"]
    );
    let error = lines(b"a\n\xff\n").unwrap_err();
    assert_eq!(error.to_string(), "line 2: not UTF-8");
}

#[test]
fn no_pattern_excludes_nothing() {
    let excludes = Excludes::new(&["# a comment".to_owned(), String::new()]).unwrap();
    assert!(!excludes.excludes(b"a", FileKind::File));
}

#[test]
fn only_a_regular_file_with_the_signature_tags_a_cache() {
    let dir = tempfile::tempdir().unwrap();
    let tag = dir.path().join("CACHEDIR.TAG");
    let is_tagged = || is_cache(open(dir.path()).as_ref());
    assert!(!is_tagged());
    fs::write(&tag, "Signature: 8a477f597d28d172789f06886806bc5").unwrap();
    assert!(!is_tagged());
    fs::write(&tag, "Signature: 8a477f597d28d172789f06886806bc55\n# mine").unwrap();
    assert!(is_tagged());
    fs::rename(&tag, dir.path().join("other")).unwrap();
    std::os::unix::fs::symlink("other", &tag).unwrap();
    assert!(!is_tagged());
}

/// Opens `path` from the root of the source.
fn open(path: &Path) -> std::sync::Arc<dyn SourceDir> {
    let (mut dir, _) = LocalSource::new().unwrap().root().unwrap();
    let path = path.canonicalize().unwrap().into_os_string().into_vec();
    for name in path
        .split(|&byte| byte == b'/')
        .filter(|name| !name.is_empty())
    {
        dir = dir.open_dir(name).unwrap();
    }
    dir
}

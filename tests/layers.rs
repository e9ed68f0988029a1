//! The shape of the source, kept: layers, lengths, and what only one of them may do.
//!
//! [`LAYERS`] is the table of the design. A module imports from lower layers only,
//! never from a sibling, so a part can be read knowing nothing but what is below.
//! Sources are read with comments and literals blanked out ([`code_of`]), which is
//! enough to find words and to count braces.

use std::fs;
use std::path::{Path, PathBuf};

/// Every module at the top of `src`, and its layer.
const LAYERS: &[(&str, u32)] = &[
    ("error", 0),
    ("util", 0),
    ("net", 1),
    ("store", 2),
    ("connector", 2),
    ("kloset", 3),
    ("server", 3),
    ("config", 3),
    ("cli", 4),
    ("lib", 5),
    ("main", 5),
];

/// The one pair of siblings of which one may import the other: errors are for everyone.
const EXCEPTION: (&str, &str) = ("util", "error");

/// Longer files hide a second noun. Every line counts: code, comments, tests and blank lines.
const FILE_LIMIT_LINES: usize = 500;
/// Longer functions do two things. Counted from the line of `fn` to that of the last brace.
const FUNCTION_LIMIT_LINES: usize = 70;
/// What only `cli` may do: print, prompt, and read the environment.
const ONLY_CLI: &[&str] = &[
    "println!",
    "eprintln!",
    "print!",
    "eprint!",
    "std::env",
    "env::var",
    "env::args",
    "io::stdin",
    "io::stdout",
    "io::stderr",
];
/// The one file that starts programs, without passphrases in their environment.
const STARTS_PROGRAMS: &str = "util/child.rs";
/// Every package is code that somebody has to trust. Today's number and a few to
/// spare for what the design names (section 14); raise it with a reason. TLS came with 26,
/// of which 18 are for other systems and never built here.
const PACKAGE_LIMIT: usize = 165;

/// Directories below `src` that are not modules of the program: `packaging` builds and installs it.
const NO_MODULES: [&str; 1] = ["packaging"];

/// One source file.
struct Source {
    path: PathBuf,
    /// The module at the top of `src` that it belongs to.
    module: String,
    /// Its text, blanked by [`code_of`].
    code: String,
}

/// Every file of `src`.
fn sources() -> Vec<Source> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut paths = Vec::new();
    collect(&root, &mut paths);
    paths.retain(|path| {
        !NO_MODULES
            .iter()
            .any(|name| path.starts_with(root.join(name)))
    });
    assert!(
        paths.len() > 10,
        "the sources are elsewhere: {}",
        root.display()
    );
    paths.into_iter().map(|path| source(&root, path)).collect()
}

fn source(root: &Path, path: PathBuf) -> Source {
    let text = fs::read_to_string(&path).expect("a source can be read");
    let path = path
        .strip_prefix(root)
        .expect("it is under the root")
        .to_owned();
    let module = path
        .iter()
        .next()
        .expect("a path has a first part")
        .to_string_lossy();
    Source {
        module: module.trim_end_matches(".rs").to_owned(),
        code: code_of(&text),
        path,
    }
}

fn collect(dir: &Path, paths: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(dir).expect("src can be listed") {
        let path = entry.expect("src can be listed").path();
        if path.is_dir() {
            collect(&path, paths);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            paths.push(path);
        }
    }
}

/// Fails with every complaint at once.
fn assert_none(complaints: Vec<String>) {
    assert!(complaints.is_empty(), "\n{}\n", complaints.join("\n"));
}

fn layer(module: &str) -> Option<u32> {
    LAYERS
        .iter()
        .find(|(name, _)| *name == module)
        .map(|(_, layer)| *layer)
}

#[test]
fn imports_point_downwards() {
    assert_none(sources().iter().flat_map(wrong_imports).collect());
}

fn wrong_imports(source: &Source) -> Vec<String> {
    let own = layer(&source.module);
    let mut complaints = Vec::new();
    if own.is_none() {
        complaints.push(format!(
            "{}: {} has no layer",
            source.path.display(),
            source.module
        ));
    }
    for imported in imports(&source.code) {
        let is_allowed = imported == source.module
            || (source.module.as_str(), imported.as_str()) == EXCEPTION
            || layer(&imported)
                .zip(own)
                .is_some_and(|(theirs, ours)| theirs < ours);
        if !is_allowed {
            complaints.push(format!(
                "{}: {} must not import {imported}",
                source.path.display(),
                source.module
            ));
        }
    }
    complaints
}

/// The top modules that `code` names after `crate::`, also in `crate::{a, b::c}`.
fn imports(code: &str) -> Vec<String> {
    let mut found = Vec::new();
    for (at, prefix) in code.match_indices("crate::") {
        let rest = &code[at + prefix.len()..];
        match rest.strip_prefix('{') {
            Some(group) => found.extend(group_heads(group)),
            None => found.push(head(rest)),
        }
    }
    found
}

/// The first word of every part of a group, up to its closing brace.
fn group_heads(group: &str) -> Vec<String> {
    let mut depth = 1;
    let mut heads = vec![head(group.trim_start())];
    for (at, letter) in group.char_indices() {
        match letter {
            '{' => depth += 1,
            '}' => depth -= 1,
            ',' if depth == 1 => heads.push(head(group[at + 1..].trim_start())),
            _ => {}
        }
        if depth == 0 {
            break;
        }
    }
    heads.retain(|head| !head.is_empty());
    heads
}

/// The word at the start of `text`.
fn head(text: &str) -> String {
    text.chars()
        .take_while(|letter| letter.is_alphanumeric() || *letter == '_')
        .collect()
}

#[test]
fn only_the_command_line_prints_and_reads_the_environment() {
    let outside = sources()
        .into_iter()
        .filter(|source| source.module != "cli");
    let complaints = outside.flat_map(|source| {
        let words = ONLY_CLI.iter().filter(|word| has_word(&source.code, word));
        words
            .map(|word| format!("{}: {word} is for cli alone", source.path.display()))
            .collect::<Vec<_>>()
    });
    assert_none(complaints.collect());
}

#[test]
fn programs_are_started_without_passphrases() {
    let elsewhere = |source: &Source| {
        let code = source.code.split("cfg(test)").next().unwrap_or_default();
        let is_test = source.path.file_name().is_some_and(|name| {
            let name = name.to_string_lossy();
            name == "tests.rs" || name.ends_with("_tests.rs")
        });
        !is_test && source.path != Path::new(STARTS_PROGRAMS) && code.contains("Command::new(")
    };
    let complaints = sources().into_iter().filter(elsewhere);
    let words = |source: Source| format!("{}: use util::child", source.path.display());
    assert_none(complaints.map(words).collect());
}

#[test]
fn nothing_is_unsafe() {
    let unsafe_ones = sources()
        .into_iter()
        .filter(|source| has_word(&source.code, "unsafe"));
    assert_none(
        unsafe_ones
            .map(|source| format!("{}: unsafe", source.path.display()))
            .collect(),
    );
}

/// Whether `word` is in `code` with no letter on either side.
fn has_word(code: &str, word: &str) -> bool {
    let is_letter = |letter: char| letter.is_alphanumeric() || letter == '_';
    code.match_indices(word).any(|(at, _)| {
        !code[..at].ends_with(is_letter) && !code[at + word.len()..].starts_with(is_letter)
    })
}

#[test]
fn files_and_functions_are_short() {
    let mut complaints = Vec::new();
    for source in sources() {
        let lines = source.code.lines().count();
        if lines > FILE_LIMIT_LINES {
            complaints.push(format!(
                "{}: {lines} lines, the limit is {FILE_LIMIT_LINES}",
                source.path.display()
            ));
        }
        for (name, lines) in functions(&source.code) {
            if lines > FUNCTION_LIMIT_LINES {
                complaints.push(format!(
                    "{}: {name} has {lines} lines, the limit is {FUNCTION_LIMIT_LINES}",
                    source.path.display()
                ));
            }
        }
    }
    assert_none(complaints);
}

/// The name of every function in `code`, and how many lines it has from `fn` to its last brace.
fn functions(code: &str) -> Vec<(String, usize)> {
    let mut found = Vec::new();
    for (at, _) in code.match_indices("fn ") {
        if code[..at].ends_with(|letter: char| letter.is_alphanumeric() || letter == '_') {
            continue;
        }
        let rest = &code[at..];
        if let Some(end) = end_of_body(rest) {
            found.push((head(&rest[3..]), rest[..end].lines().count()));
        }
    }
    found
}

/// Where the body that begins first in `code` ends; a declaration has none.
fn end_of_body(code: &str) -> Option<usize> {
    let mut depth = 0;
    for (at, letter) in code.char_indices() {
        match letter {
            // A length such as `[u8; 4]` in the head is no end.
            ';' if depth == 0
                && code[..at].matches('[').count() == code[..at].matches(']').count() =>
            {
                return None;
            }
            '{' => depth += 1,
            '}' if depth == 1 => return Some(at + 1),
            '}' => depth -= 1,
            _ => {}
        }
    }
    None
}

#[test]
fn there_are_few_packages() {
    let lock = Path::new(env!("CARGO_MANIFEST_DIR")).join("Cargo.lock");
    let lock = fs::read_to_string(lock).expect("the lock file can be read");
    let packages = lock.matches("[[package]]").count();
    assert!(
        packages > 10 && packages <= PACKAGE_LIMIT,
        "Cargo.lock has {packages} packages, the limit is {PACKAGE_LIMIT}"
    );
}

/// `text` with what is in comments, strings and characters replaced by blanks, lines kept.
fn code_of(text: &str) -> String {
    let letters: Vec<char> = text.chars().collect();
    let mut code = String::with_capacity(text.len());
    let mut at = 0;
    while at < letters.len() {
        let end = end_of_blank(&letters, at);
        match end {
            Some(end) => code.extend(
                letters[at..end]
                    .iter()
                    .map(|letter| if *letter == '\n' { '\n' } else { ' ' }),
            ),
            None => code.push(letters[at]),
        }
        at = end.unwrap_or(at + 1);
    }
    code
}

/// Where the comment or literal that begins at `at` ends, if one does.
fn end_of_blank(letters: &[char], at: usize) -> Option<usize> {
    let next = |distance: usize| letters.get(at + distance).copied().unwrap_or(' ');
    let after_word = at > 0 && (letters[at - 1].is_alphanumeric() || letters[at - 1] == '_');
    match letters[at] {
        '/' if next(1) == '/' => Some(find(letters, at, &['\n']).unwrap_or(letters.len())),
        '/' if next(1) == '*' => {
            Some(find(letters, at + 2, &['*', '/']).map_or(letters.len(), |end| end + 2))
        }
        'r' if !after_word || letters[at - 1] == 'b' => raw_string(letters, at),
        '"' => Some(quoted(letters, at, '"')),
        // Anything else after a quote is a lifetime.
        '\'' if next(1) == '\\' || next(2) == '\'' => Some(quoted(letters, at, '\'')),
        _ => None,
    }
}

/// Where a literal that begins with `quote` at `at` ends.
fn quoted(letters: &[char], at: usize, quote: char) -> usize {
    let mut end = at + 1;
    while end < letters.len() && letters[end] != quote {
        end += if letters[end] == '\\' { 2 } else { 1 };
    }
    (end + 1).min(letters.len())
}

/// Where a raw string that begins at `at` ends.
fn raw_string(letters: &[char], at: usize) -> Option<usize> {
    let marks = letters[at + 1..]
        .iter()
        .take_while(|letter| **letter == '#')
        .count();
    let open = at + 1 + marks;
    if letters.get(open) != Some(&'"') {
        return None;
    }
    let mut close = vec!['"'];
    close.extend(std::iter::repeat_n('#', marks));
    Some(find(letters, open + 1, &close).map_or(letters.len(), |end| end + close.len()))
}

/// Where `wanted` is first found from `at` on.
fn find(letters: &[char], at: usize, wanted: &[char]) -> Option<usize> {
    let rest = letters.get(at..)?;
    let found = rest
        .windows(wanted.len())
        .position(|window| window == wanted)?;
    Some(at + found)
}

#[test]
fn the_measures_measure() {
    let code = code_of(
        "use crate::{net::x, kloset::{y, z}}; // crate::cli\nlet a = (\"crate::cli\", '\"', r#\"unsafe\"#);",
    );
    assert_eq!(imports(&code), ["net", "kloset"]);
    assert!(!has_word(&code, "unsafe") && has_word(&code, "let"));
    let code =
        code_of("fn a(x: [u8; 2]) {\n '{';\n}\ntrait T { fn b(); fn c<'a>(x: &'a str) { x }\n}");
    assert_eq!(functions(&code), [("a".to_owned(), 3), ("c".to_owned(), 1)]);
    let source = Source {
        path: "store/x.rs".into(),
        module: "store".into(),
        code: "crate::connector::y".into(),
    };
    assert_eq!(
        wrong_imports(&source),
        ["store/x.rs: store must not import connector"]
    );
}

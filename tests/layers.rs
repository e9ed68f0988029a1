//! Checks the structure of the source: layers, lengths, and operations that are allowed in one
//! module only.
//!
//! [`LAYERS`] is the table of the design. A module imports only from lower layers, and from a
//! neighbor in its own layer only if [`NEIGHBORS`] lists the pair. Backends below one module are
//! neighbors too: see [`BACKENDS`]. Both `crate::` and `super::` paths are checked. In sources,
//! comments and literals are replaced by blanks ([`code_of`]), which is sufficient to find words
//! and to count braces.

use std::fs;
use std::path::{Path, PathBuf};

/// The top-level modules of `src`, and their layers.
const LAYERS: &[(&str, u32)] = &[
    ("error", 0),
    ("util", 0),
    ("net", 1),
    ("format", 2),
    ("store", 2),
    ("connector", 2),
    ("kloset", 3),
    ("config", 3),
    ("ops", 4),
    ("server", 5),
    ("cli", 6),
    ("lib", 7),
    ("main", 7),
];

/// Pairs of neighbors in one layer. The first may import the second.
const NEIGHBORS: &[(&str, &str)] = &[
    // All modules use errors.
    ("util", "error"),
];

/// Lower modules that a module must not import: the server cannot decrypt.
const FORBIDDEN: &[(&str, &[&str])] = &[("server", &["format", "kloset", "ops", "config"])];

/// Modules whose children are neighbors, and pairs of children. The first of a pair may import the
/// second. Any other import between two children is an error.
const BACKENDS: &[(&str, &[(&str, &str)])] =
    &[("net", NET), ("store", STORE), ("connector", CONNECTOR)];

/// `client`, `http1` and `tls` are the HTTP stack. All backends may use locations and retries.
const NET: &[(&str, &str)] = &[
    ("client", "content"),
    ("client", "http1"),
    ("client", "location"),
    ("client", "retry"),
    ("client", "socket"),
    ("client", "tls"),
    ("http1", "socket"),
    ("ssh", "content"),
    ("ssh", "location"),
    ("ssh", "retry"),
    ("ssh", "socket"),
    ("tls", "socket"),
];

/// The modules that stores share: directory layout, spooling, settings and messages.
const STORE: &[(&str, &str)] = &[
    ("conformance", "fault"),
    ("conformance", "memory"),
    ("fault", "memory"),
    ("fs", "layout"),
    ("fs", "settings"),
    ("fs", "words"),
    ("http", "settings"),
    ("http", "spool"),
    ("http", "words"),
    ("sftp", "layout"),
    ("memory", "words"),
    ("sftp", "settings"),
    ("sftp", "spool"),
    ("sftp", "words"),
];

/// The modules that sources share: exclusion, device classes and the list of wanted paths.
const CONNECTOR: &[(&str, &str)] = &[
    ("exclude", "class"),
    ("local", "class"),
    ("sftp", "class"),
    ("sftp", "wanted"),
    ("wanted", "exclude"),
];

/// A longer file usually has more than one subject. All lines count: code, comments, tests and
/// blank lines.
const FILE_LIMIT_LINES: usize = 500;
/// A longer function usually does more than one thing. Counted from the line of `fn` to that of the
/// last brace.
const FUNCTION_LIMIT_LINES: usize = 70;
/// Operations that only `cli` may perform: print, prompt, and read the environment.
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
/// The only file that starts programs, without passphrases in their environment.
const STARTS_PROGRAMS: &str = "util/child.rs";
/// Every package is code that must be trusted. The limit is the current number plus some for
/// planned features (section 14 of the design); raise it only with a reason. TLS added 26 packages,
/// 18 of which are for other systems and never built here.
const PACKAGE_LIMIT: usize = 165;

/// Directories below `src` that are not modules of the program: `packaging` builds and installs it.
const NO_MODULES: [&str; 1] = ["packaging"];

struct Source {
    path: PathBuf,
    /// The top-level module that contains it.
    module: String,
    /// Its text, blanked by [`code_of`].
    code: String,
}

/// All files in `src`.
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

/// Fails with a list of all complaints.
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
    // Unit tests may use a higher layer to prepare data.
    let is_test = |source: &&Source| source.path.ends_with("tests.rs");
    let sources = sources();
    let sources = sources.iter().filter(|source| !is_test(source));
    assert_none(sources.flat_map(wrong_imports).collect());
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
    let path = module_path(&source.path);
    for imported in imports(&source.code, &path) {
        if !is_allowed(&path, &imported) {
            complaints.push(format!(
                "{}: {} must not import {}",
                source.path.display(),
                path.join("::"),
                imported.join("::")
            ));
        }
    }
    complaints.sort();
    complaints.dedup();
    complaints
}

/// Whether the module at `path` may import `imported`. Both are paths from the crate root.
fn is_allowed(path: &[String], imported: &[String]) -> bool {
    let (Some(ours), Some(theirs)) = (path.first(), imported.first()) else {
        return true;
    };
    if ours == theirs {
        return is_allowed_beside(path, imported);
    }
    let forbidden = FORBIDDEN.iter().find(|(module, _)| module == ours);
    if forbidden.is_some_and(|(_, others)| others.contains(&theirs.as_str())) {
        return false;
    }
    NEIGHBORS.contains(&(ours, theirs))
        || layer(theirs)
            .zip(layer(ours))
            .is_some_and(|(theirs, ours)| theirs < ours)
}

/// Whether a child of a module of [`BACKENDS`] may import from another child.
fn is_allowed_beside(path: &[String], imported: &[String]) -> bool {
    let pairs = BACKENDS.iter().find(|(module, _)| *module == path[0]);
    let (Some((_, pairs)), Some(ours), Some(theirs)) = (pairs, path.get(1), imported.get(1)) else {
        return true;
    };
    // Types of the parent module, such as its traits, can be used by all of its children.
    let is_module = theirs.starts_with(|letter: char| letter.is_lowercase());
    ours == theirs || !is_module || pairs.contains(&(ours, theirs))
}

/// The path of the module in the file at `path`, relative to `src`.
fn module_path(path: &Path) -> Vec<String> {
    let mut parts: Vec<String> = path
        .with_extension("")
        .iter()
        .map(|part| part.to_string_lossy().into_owned())
        .collect();
    if parts.last().is_some_and(|last| last == "mod") {
        parts.pop();
    }
    parts
}

/// The first two segments, from the crate root, of every path in `code` that begins with `crate::`
/// or `super::`, including groups. `own` is the path of the module.
fn imports(code: &str, own: &[String]) -> Vec<Vec<String>> {
    let mut found = Vec::new();
    for (at, prefix) in code.match_indices("crate::") {
        follow(&code[at + prefix.len()..], &[], &mut found);
    }
    for (at, prefix) in code.match_indices("super::") {
        if code[..at].ends_with("super::") {
            continue;
        }
        let mut rest = &code[at + prefix.len()..];
        let mut levels = 1;
        while let Some(further) = rest.strip_prefix(prefix) {
            (rest, levels) = (further, levels + 1);
        }
        // In an inline module, the first `super` is the module of the file.
        let levels = levels - inner_modules(code, at).min(levels);
        if levels > 0 {
            let base = &own[..own.len().saturating_sub(levels)];
            follow(rest, base, &mut found);
        }
    }
    found
}

/// The number of inline modules that are open at `at`.
fn inner_modules(code: &str, at: usize) -> usize {
    let heads = code[..at].match_indices("mod ");
    let is_open = |(start, _): &(usize, &str)| {
        let rest = &code[*start..at];
        let body = rest.find(['{', ';']).map(|end| &rest[end..]);
        let depth = |body: &str| body.matches('{').count() > body.matches('}').count();
        body.is_some_and(|body| body.starts_with('{') && depth(body))
    };
    heads.filter(is_open).count()
}

/// Adds the paths that `rest` names below `base`, truncated to two segments.
fn follow(rest: &str, base: &[String], found: &mut Vec<Vec<String>>) {
    for word in heads(rest) {
        let mut path = base.to_vec();
        path.push(word.to_owned());
        let below =
            rest[word.as_ptr() as usize - rest.as_ptr() as usize + word.len()..].strip_prefix("::");
        match below {
            Some(below) if path.len() < 2 => follow(below, &path, found),
            _ => {
                path.truncate(2);
                found.push(path);
            }
        }
    }
}

/// The first word of `text`. If `text` begins with a group, the first word of each part of it.
fn heads(text: &str) -> Vec<&str> {
    let Some(group) = text.strip_prefix('{') else {
        return vec![head(text)];
    };
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
fn head(text: &str) -> &str {
    let end = text.find(|letter: char| !letter.is_alphanumeric() && letter != '_');
    &text[..end.unwrap_or(text.len())]
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

/// Whether `code` contains `word` without an adjacent letter.
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

/// The names of all functions in `code`, with the number of lines from `fn` to the last brace.
fn functions(code: &str) -> Vec<(String, usize)> {
    let mut found = Vec::new();
    for (at, _) in code.match_indices("fn ") {
        if code[..at].ends_with(|letter: char| letter.is_alphanumeric() || letter == '_') {
            continue;
        }
        let rest = &code[at..];
        if let Some(end) = end_of_body(rest) {
            found.push((head(&rest[3..]).to_owned(), rest[..end].lines().count()));
        }
    }
    found
}

/// The end of the first function body in `code`. `None` for a declaration.
fn end_of_body(code: &str) -> Option<usize> {
    let mut depth = 0;
    for (at, letter) in code.char_indices() {
        match letter {
            // The semicolon in an array type such as `[u8; 4]` does not end the declaration.
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

/// `text` with comments, strings and character literals replaced by blanks. Line breaks are kept.
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

/// The end of the comment or literal that begins at `at`, if there is one.
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
        // Any other quote begins a lifetime.
        '\'' if next(1) == '\\' || next(2) == '\'' => Some(quoted(letters, at, '\'')),
        _ => None,
    }
}

/// The end of a literal that begins with `quote` at `at`.
fn quoted(letters: &[char], at: usize, quote: char) -> usize {
    let mut end = at + 1;
    while end < letters.len() && letters[end] != quote {
        end += if letters[end] == '\\' { 2 } else { 1 };
    }
    (end + 1).min(letters.len())
}

/// The end of a raw string that begins at `at`.
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

/// The first position of `wanted` from `at` on.
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
    let paths = |code: &str, own: &[&str]| {
        let own: Vec<String> = own.iter().map(|part| (*part).to_owned()).collect();
        let paths = imports(code, &own);
        paths.iter().map(|path| path.join("::")).collect::<Vec<_>>()
    };
    assert_eq!(paths(&code, &["cli"]), ["net::x", "kloset::y", "kloset::z"]);
    let relative = "use super::super::client::A; mod tests { use super::*; use super::super::b; }";
    assert_eq!(
        paths(relative, &["net", "ssh", "sftp"]),
        ["net::client", "net::ssh"]
    );
    assert!(!has_word(&code, "unsafe") && has_word(&code, "let"));
    let code =
        code_of("fn a(x: [u8; 2]) {\n '{';\n}\ntrait T { fn b(); fn c<'a>(x: &'a str) { x }\n}");
    assert_eq!(functions(&code), [("a".to_owned(), 3), ("c".to_owned(), 1)]);
    let source = Source {
        path: "store/x.rs".into(),
        module: "store".into(),
        code: "crate::connector::y, super::http::z, super::layout".into(),
    };
    assert_eq!(
        wrong_imports(&source),
        [
            "store/x.rs: store::x must not import connector::y",
            "store/x.rs: store::x must not import store::http",
            "store/x.rs: store::x must not import store::layout",
        ]
    );
}

/// Phrases that are not standard technical English. Each has a standard replacement: reports, the
/// user, no one, removes, anyway, successfully, skipped, frees, "is not a".
const BANNED_PHRASES: &[&str] = &[
    "whoever",
    "nobody",
    "somebody",
    "is no age",
    "is no name",
    "is no size",
    "is no such",
    "told of",
    "tell of",
    "tells of",
    "takes away",
    "taken away",
    "gives back",
    "given back",
    "all the same",
    "to a good end",
    "passed over",
    "left alone",
    "looks through",
    "looked through",
];

#[test]
fn texts_for_users_are_in_standard_english() {
    let top = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut texts = vec![top.join("README.md"), top.join("CHANGELOG.md")];
    for page in fs::read_dir(top.join("man")).expect("man can be listed") {
        texts.push(page.expect("man can be listed").path());
    }
    collect(&top.join("src"), &mut texts);
    assert_none(texts.iter().flat_map(|path| banned_phrases(path)).collect());
}

/// The lines of the file that contain a banned phrase. In a source file, only text in quotation
/// marks is checked.
fn banned_phrases(path: &Path) -> Vec<String> {
    let text = fs::read_to_string(path).expect("a text can be read");
    let is_source = path.extension().is_some_and(|extension| extension == "rs");
    let mut complaints = Vec::new();
    for (number, line) in text.lines().enumerate() {
        let quoted = line.split('"').skip(1).step_by(2).collect::<Vec<_>>();
        let lower = match is_source {
            true if line.trim_start().starts_with("//") => continue,
            true => quoted.join(" ").to_lowercase(),
            false => line.to_lowercase(),
        };
        for phrase in BANNED_PHRASES
            .iter()
            .filter(|phrase| lower.contains(**phrase))
        {
            complaints.push(format!("{}:{}: {phrase:?}", path.display(), number + 1));
        }
    }
    complaints
}

//! What the user does not want backed up: patterns as in `.gitignore`, and caches.
//!
//! Patterns are relative to each backed-up root, as if its `.gitignore` held them, and
//! mean what git says they mean (gitignore(5)): the last one that matches decides, `!`
//! takes back in, and what lies in an excluded directory is excluded, whatever matches
//! it. That last rule is the walker's: it does not enter what [`Excludes::excludes`].
//!
//! The matching is that of the `ignore` crate, from the authors of ripgrep. It departs
//! from git in corners: braces are alternatives, classes know no escapes nor `[:alpha:]`
//! and may match a slash, blanks at the end are trimmed even if escaped. So a pattern is
//! first [rewritten](Pattern) into one that both read alike, and a test asks git itself.
//!
//! It must not know how directories are walked, or where the patterns came from.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;

use ignore::Match;
use ignore::gitignore::{Gitignore, GitignoreBuilder};

use super::class;
use super::{FileKind, SourceDir};
use crate::error::{Error, Result};

/// The most patterns we take. Each costs some kilobytes of compiled matcher; a list
/// longer than this is one of files, not of patterns.
const MAX_PATTERNS: usize = 10_000;

/// Compiled patterns. May be asked from several threads at once.
#[derive(Clone, Default)]
pub struct Excludes {
    /// None without patterns, so that asking costs nothing.
    matcher: Option<Gitignore>,
}

impl Excludes {
    /// Compiles `patterns`, later ones winning. Each may be a line of a file as
    /// [`lines`] gives them: empty ones and comments count, but exclude nothing.
    ///
    /// # Errors
    /// [`crate::error::Kind::Usage`] with the pattern, and its number counted from 1, which is the line
    /// if `patterns` is one file.
    pub fn new(patterns: &[String]) -> Result<Excludes> {
        if patterns.len() > MAX_PATTERNS {
            return Err(Error::usage(format!(
                "more than {MAX_PATTERNS} ignore patterns"
            )));
        }
        let mut builder = GitignoreBuilder::new("");
        builder.allow_unclosed_class(false);
        for (index, text) in patterns.iter().enumerate() {
            let line = index + 1;
            add(&mut builder, text)
                .map_err(|why| Error::usage(format!("ignore pattern {line}: {text:?}: {why}")))?;
        }
        let matcher = builder
            .build()
            .map_err(|cause| Error::usage(cause.to_string()))?;
        Ok(Excludes {
            matcher: (!matcher.is_empty()).then_some(matcher),
        })
    }

    /// Whether the entry of `kind` at `path`, relative to the root being backed up and
    /// without `/` in front, is excluded. Its parents are not considered: they were
    /// asked about before, and not entered if excluded.
    pub fn excludes(&self, path: &[u8], kind: FileKind) -> bool {
        let Some(matcher) = &self.matcher else {
            return false;
        };
        let verdict = matcher.matched(OsStr::from_bytes(path), kind == FileKind::Directory);
        matches!(verdict, Match::Ignore(_))
    }
}

/// Splits the contents of an ignore file into patterns: Windows line ends and a byte
/// order mark are dropped, comments and empty lines kept, so that numbers are lines.
///
/// # Errors
/// [`crate::error::Kind::Usage`] with the number of a line that is not UTF-8.
pub fn lines(text: &[u8]) -> Result<Vec<String>> {
    let text = text.strip_prefix(b"\xef\xbb\xbf").unwrap_or(text);
    let text = text.strip_suffix(b"\n").unwrap_or(text);
    let lines = text
        .split(|&byte| byte == b'\n')
        .enumerate()
        .map(|(index, line)| {
            let line = line.strip_suffix(b"\r").unwrap_or(line);
            let not_utf8 = |_| Error::usage(format!("line {}: not UTF-8", index + 1));
            String::from_utf8(line.to_vec()).map_err(not_utf8)
        });
    lines.collect()
}

/// What a [cache directory](is_cache) is tagged with.
const CACHE_SIGNATURE: &[u8; 43] = b"Signature: 8a477f597d28d172789f06886806bc55";

/// Whether `dir` says that it holds a cache, with a regular file `CACHEDIR.TAG` that
/// begins with the 43 bytes of <https://bford.info/cachedir/>.
///
/// A tag that cannot be read tags nothing: better to keep too much. Costs a failing
/// `open` where there is none, so a caller that has listed `dir` looks there first.
pub fn is_cache(dir: &dyn SourceDir) -> bool {
    let mut start = [0; CACHE_SIGNATURE.len()];
    let read = dir
        .open_file(b"CACHEDIR.TAG")
        .and_then(|mut tag| tag.read(&mut start));
    read.is_ok_and(|length| length == start.len()) && start == *CACHE_SIGNATURE
}

/// Adds the pattern that `text` spells, if it is not empty or a comment.
fn add(builder: &mut GitignoreBuilder, text: &str) -> Result<(), String> {
    let Some(pattern) = Pattern::parse(text) else {
        return Ok(());
    };
    match builder.add_line(None, &pattern.rewritten()?) {
        Ok(_) => Ok(()),
        Err(ignore::Error::Glob { err, .. }) => Err(err),
        Err(other) => Err(other.to_string()),
    }
}

/// A line taken apart as git does it (`parse_path_pattern` in its `dir.c`).
struct Pattern<'a> {
    /// `!` or nothing.
    negation: &'a str,
    /// What the glob is written after, so that it matches at the root, or anywhere.
    anchor: &'static str,
    glob: &'a str,
    /// `/` if it is for directories only.
    suffix: &'a str,
}

impl<'a> Pattern<'a> {
    /// Takes `line` apart; None if there is no pattern in it.
    fn parse(line: &'a str) -> Option<Pattern<'a>> {
        if line.starts_with('#') {
            return None;
        }
        let line = trim_spaces(line);
        let (negation, glob) = line.split_at(usize::from(line.starts_with('!')));
        let (glob, suffix) = glob.split_at(glob.len() - usize::from(glob.ends_with('/')));
        // A slash at the start or within ties the pattern to the root.
        let anchor = if glob.contains('/') { "/" } else { "**/" };
        let glob = glob.strip_prefix('/').unwrap_or(glob);
        (!glob.is_empty()).then_some(Pattern {
            negation,
            anchor,
            glob,
            suffix,
        })
    }

    /// The same pattern in words that the crate understands as git understands this one.
    fn rewritten(&self) -> Result<String, String> {
        let mut line = format!("{}{}", self.negation, self.anchor);
        let mut letters = self.glob.chars().peekable();
        while let Some(letter) = letters.next() {
            match letter {
                '[' => line.push_str(&class::rewritten(&mut letters)?),
                // Three stars are two to git.
                '*' if line.ends_with("**") && !line.ends_with("\\**") => {}
                '{' | '}' => line.extend(['\\', letter]),
                '\\' => {
                    let escaped = letters.next().ok_or("nothing after the last backslash")?;
                    push_escaped(&mut line, escaped);
                }
                _ if letter.is_ascii_whitespace() => push_escaped(&mut line, letter),
                _ => line.push(letter),
            }
        }
        line.push_str(self.suffix);
        Ok(line)
    }
}

/// Appends `letter` so that it stands for itself. Blanks go into a class: the crate
/// trims them from the end, with a backslash or without.
fn push_escaped(line: &mut String, letter: char) {
    if letter.is_ascii_whitespace() {
        line.push_str(&class::of_one(letter));
    } else {
        line.extend(['\\', letter]);
    }
}

/// `line` without the spaces at its end, but for one that a backslash protects.
fn trim_spaces(line: &str) -> &str {
    let mut end = 0;
    let mut letters = line.char_indices();
    while let Some((index, letter)) = letters.next() {
        match letter {
            ' ' => {}
            '\\' => {
                end = letters
                    .next()
                    .map_or(index + 1, |(at, next)| at + next.len_utf8())
            }
            _ => end = index + letter.len_utf8(),
        }
    }
    &line[..end]
}

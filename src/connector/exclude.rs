//! Exclusion of files from a backup: patterns as in `.gitignore`, and cache directories.
//!
//! Patterns are relative to each root of the backup, as if they were in its `.gitignore`, and have
//! the meaning of gitignore(5): the last matching pattern decides, `!` includes a file again, and
//! everything in an excluded directory is excluded, whatever patterns match it. The walker
//! implements the last rule: it does not enter a directory for which [`Excludes::excludes`] returns
//! true.
//!
//! Matching is done by the `ignore` crate of ripgrep. It differs from git in details: braces are
//! alternatives, classes support neither escapes nor `[:alpha:]` and may match a slash, and
//! trailing blanks are trimmed even if escaped. Therefore each pattern is first
//! [rewritten](Pattern) into one that has the same meaning in both, and a test compares the results
//! with git.
//!
//! This module knows neither how directories are walked nor where the patterns are specified.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;

use ignore::Match;
use ignore::gitignore::{Gitignore, GitignoreBuilder};

use super::class;
use super::{FileKind, SourceDir};
use crate::error::{Error, Result};

/// The maximum number of patterns. Each takes some kilobytes when compiled. A longer list contains
/// file names rather than patterns.
const MAX_PATTERNS: usize = 10_000;

/// Compiled patterns. Can be used from several threads concurrently.
#[derive(Clone, Default)]
pub struct Excludes {
    /// `None` without patterns, so that a check costs nothing.
    matcher: Option<Gitignore>,
}

impl Excludes {
    /// Compiles `patterns`; later patterns take precedence. Each may be a line as returned by
    /// [`lines`]: empty lines and comments exclude nothing, but are counted.
    ///
    /// # Errors
    /// [`crate::error::Kind::Usage`] with the invalid pattern and its number, counted from 1. This
    /// is the line number if `patterns` is one file. Also for too many patterns.
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

    /// Whether the entry of type `kind` at `path` is excluded. `path` is relative to the root of
    /// the backup and has no leading `/`. Parent directories are not checked: the caller has
    /// checked them before and does not enter excluded ones.
    pub fn excludes(&self, path: &[u8], kind: FileKind) -> bool {
        let Some(matcher) = &self.matcher else {
            return false;
        };
        let verdict = matcher.matched(OsStr::from_bytes(path), kind == FileKind::Directory);
        matches!(verdict, Match::Ignore(_))
    }
}

/// Splits an ignore file into patterns. Removes carriage returns at line ends and a byte order
/// mark; keeps comments and empty lines, so that the index of a pattern corresponds to its line
/// number.
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

/// The signature in the tag of a [cache directory](is_cache).
const CACHE_SIGNATURE: &[u8; 43] = b"Signature: 8a477f597d28d172789f06886806bc55";

/// Whether `dir` is tagged as a cache: it contains a regular file `CACHEDIR.TAG` that begins with
/// the 43 bytes of <https://bford.info/cachedir/>.
///
/// If the tag cannot be read, the directory is not a cache: excluding too much is worse than
/// excluding too little. Costs a failing `open` if there is no tag, so a caller that has listed
/// `dir` should check the names first.
pub fn is_cache(dir: &dyn SourceDir) -> bool {
    let mut start = [0; CACHE_SIGNATURE.len()];
    let read = dir
        .open_file(b"CACHEDIR.TAG")
        .and_then(|mut tag| tag.read(&mut start));
    read.is_ok_and(|length| length == start.len()) && start == *CACHE_SIGNATURE
}

/// Adds the pattern `text`, unless it is empty or a comment.
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

/// A parsed line, in the same way as in git (`parse_path_pattern` in its `dir.c`).
struct Pattern<'a> {
    /// `!` or empty.
    negation: &'a str,
    /// The prefix that anchors the glob at the root or lets it match at any depth.
    anchor: &'static str,
    glob: &'a str,
    /// `/` for a pattern that matches only directories, otherwise empty.
    suffix: &'a str,
}

impl<'a> Pattern<'a> {
    /// Parses `line`. Returns `None` if it contains no pattern.
    fn parse(line: &'a str) -> Option<Pattern<'a>> {
        if line.starts_with('#') {
            return None;
        }
        let line = trim_spaces(line);
        let (negation, glob) = line.split_at(usize::from(line.starts_with('!')));
        let (glob, suffix) = glob.split_at(glob.len() - usize::from(glob.ends_with('/')));
        // A slash at the start or in the middle anchors the pattern at the root.
        let anchor = if glob.contains('/') { "/" } else { "**/" };
        let glob = glob.strip_prefix('/').unwrap_or(glob);
        (!glob.is_empty()).then_some(Pattern {
            negation,
            anchor,
            glob,
            suffix,
        })
    }

    /// Rewrites the pattern so that the crate interprets it in the same way as git.
    fn rewritten(&self) -> Result<String, String> {
        let mut line = format!("{}{}", self.negation, self.anchor);
        let mut letters = self.glob.chars().peekable();
        while let Some(letter) = letters.next() {
            match letter {
                '[' => line.push_str(&class::rewritten(&mut letters)?),
                // In git three stars are equivalent to two.
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

/// Appends `letter` as a literal. Blanks are put into a class, because the crate trims trailing
/// blanks with or without a backslash.
fn push_escaped(line: &mut String, letter: char) {
    if letter.is_ascii_whitespace() {
        line.push_str(&class::of_one(letter));
    } else {
        line.extend(['\\', letter]);
    }
}

/// Removes trailing spaces from `line`, except for one that is escaped by a backslash.
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

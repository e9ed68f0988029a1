//! A parser for ssh_config(5), limited to the keywords that plakar supports.
//!
//! ```text
//! Host nas !nas-old        # applies until the next Host or Match
//!     HostName 192.168.0.7
//!     IdentityFile ~/.ssh/%r-key
//! Match user root host *.lan
//! Include conf.d/*
//! ```
//!
//! The first value of a keyword wins, except for `IdentityFile`, which accumulates. The supported
//! criteria of `Match` are `all`, `host`, `originalhost`, `user` and `localuser`. A block with any
//! other criterion never applies: `exec` would run a command during a backup, and `final` and
//! `canonical` require a second pass, which plakar does not do. Unknown keywords are ignored.
//!
//! This module has its own parser because the crate `ssh2-config` supports neither `Match` nor
//! tokens, and reads the home directory from the environment.

use std::collections::HashMap;
use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use super::pattern;
use crate::error::{During, Error, Kind, Result};

/// The maximum file size.
const FILE_LIMIT_BYTES: u64 = 1 << 20;
/// The maximum depth of nested includes, as in ssh.
const DEPTH_LIMIT: u32 = 16;
/// The maximum number of files that one pattern includes.
const INCLUDE_LIMIT: usize = 1024;

/// The supported keywords, in lower case.
const KNOWN: &[&str] = &[
    "connecttimeout",
    "globalknownhostsfile",
    "hashknownhosts",
    "hostkeyalias",
    "hostname",
    "identitiesonly",
    "identityagent",
    "identityfile",
    "port",
    "proxycommand",
    "proxyjump",
    "serveralivecountmax",
    "serveraliveinterval",
    "stricthostkeychecking",
    "user",
    "userknownhostsfile",
];
/// The keyword whose values accumulate.
const IDENTITY: &str = "identityfile";

/// A value and its position in the files.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Value {
    pub(super) words: Vec<String>,
    pub(super) origin: String,
}

/// The values that `Host` and `Match` are compared with.
pub(super) struct Query<'a> {
    /// The host name as the user specified it.
    pub(super) host: &'a str,
    /// The remote user, if the location or an option specifies one.
    pub(super) user: Option<&'a str>,
    /// The name of the local user.
    pub(super) local_user: &'a str,
    /// The home directory, which replaces `~`.
    pub(super) home: Option<&'a Path>,
}

/// The values that apply to one host, by keyword in lower case.
#[derive(Debug, Default)]
pub(super) struct Found(HashMap<&'static str, Vec<Value>>);

impl Found {
    /// The first value of `keyword`.
    pub(super) fn first(&self, keyword: &str) -> Option<&Value> {
        self.all(keyword).first()
    }

    /// All values of `keyword`, in the order of the files.
    pub(super) fn all(&self, keyword: &str) -> &[Value] {
        self.0.get(keyword).map_or(&[], Vec::as_slice)
    }

    /// The first word of the first value of `keyword`.
    pub(super) fn word(&self, keyword: &str) -> Option<&str> {
        let words = &self.first(keyword)?.words;
        words.first().map(String::as_str)
    }
}

/// Whether a file may be missing.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Need {
    /// A default file, which may be missing.
    Usual,
    /// A file that the user specified, which must exist.
    Named,
}

/// Adds the values that `path` has for the host. Values already in `found` take precedence.
///
/// # Errors
/// [`Kind::Unsupported`] for a malformed line, a file that is too large or not regular, or a limit
/// on includes; the errors of reading the file.
pub(super) fn read(path: &Path, need: Need, query: &Query<'_>, found: &mut Found) -> Result<()> {
    let mut reader = Reader {
        query,
        found,
        base: path.parent().unwrap_or(Path::new("/")).to_owned(),
    };
    reader.file(path, need, 0)
}

struct Reader<'a> {
    query: &'a Query<'a>,
    found: &'a mut Found,
    /// The directory to which relative names of included files refer.
    base: PathBuf,
}

impl Reader<'_> {
    fn file(&mut self, path: &Path, need: Need, depth: u32) -> Result<()> {
        let Some(text) = text_of(path, need).during(|| path.display().to_string())? else {
            return Ok(());
        };
        let mut applies = true;
        for (number, line) in (1..).zip(text.lines()) {
            let origin = || format!("{}:{number}", path.display());
            let parsed = split(line).during(origin)?;
            let Some((keyword, rest)) = parsed else {
                continue;
            };
            match keyword.as_str() {
                "host" => applies = self.is_host(&words(rest).during(origin)?),
                "match" => applies = self.is_match(&words(rest).during(origin)?),
                "include" if applies => {
                    for pattern in words(rest).during(origin)? {
                        self.include(&pattern, depth).during(origin)?;
                    }
                }
                keyword if applies => self.keep(keyword, rest, origin)?,
                _ => {}
            }
        }
        Ok(())
    }

    /// Adds a value unless its keyword already has one or is not supported.
    fn keep(&mut self, keyword: &str, rest: &str, origin: impl Fn() -> String) -> Result<()> {
        let Some(keyword) = KNOWN.iter().copied().find(|known| *known == keyword) else {
            return Ok(());
        };
        let words = match keyword {
            // A shell command, which has its own quoting rules.
            "proxycommand" => vec![rest.to_owned()],
            _ => words(rest).during(&origin)?,
        };
        if words.is_empty() {
            let cause = Error::new(Kind::Unsupported, format!("{keyword} has no value"));
            return Err(cause.during(origin()));
        }
        let values = self.found.0.entry(keyword).or_default();
        if values.is_empty() || keyword == IDENTITY {
            values.push(Value {
                words,
                origin: origin(),
            });
        }
        Ok(())
    }

    fn is_host(&self, patterns: &[String]) -> bool {
        pattern::list_matches(patterns.iter().map(String::as_str), self.query.host)
    }

    /// Whether all criteria of a `Match` hold.
    fn is_match(&self, words: &[String]) -> bool {
        let mut words = words.iter().map(String::as_str);
        let mut holds = true;
        while let Some(word) = words.next() {
            let criterion = word.trim_start_matches('!').to_ascii_lowercase();
            let is_denied = word.starts_with('!');
            let name = match criterion.as_str() {
                "all" => {
                    holds &= !is_denied;
                    continue;
                }
                "host" => self.found.word("hostname").unwrap_or(self.query.host),
                "originalhost" => self.query.host,
                "user" => self.user(),
                "localuser" => self.query.local_user,
                _ => return false,
            };
            let Some(list) = words.next() else {
                return false;
            };
            holds &= pattern::list_matches(list.split(','), name) != is_denied;
        }
        holds
    }

    /// The remote user, as far as the lines read so far determine it.
    fn user(&self) -> &str {
        let configured = self.found.word("user");
        (self.query.user.or(configured)).unwrap_or(self.query.local_user)
    }

    /// Reads the files that match `pattern`, in order.
    fn include(&mut self, pattern: &str, depth: u32) -> Result<()> {
        if depth >= DEPTH_LIMIT {
            let cause = format!("more than {DEPTH_LIMIT} files include one another");
            return Err(Error::new(Kind::Unsupported, cause));
        }
        let path = self.base.join(at_home(pattern, self.query.home)?);
        for path in globbed(&path)? {
            self.file(&path, Need::Usual, depth + 1)?;
        }
        Ok(())
    }
}

/// Expands `path`, whose last component may be a pattern.
fn globbed(path: &Path) -> Result<Vec<PathBuf>> {
    let pattern = path.file_name().and_then(|name| name.to_str());
    let Some(pattern) = pattern.filter(|name| name.contains(['*', '?'])) else {
        return Ok(vec![path.to_owned()]);
    };
    let directory = path.parent().unwrap_or(Path::new("/"));
    let entries = match fs::read_dir(directory) {
        Err(cause) if cause.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries.during(|| directory.display().to_string())?,
    };
    let mut paths = Vec::new();
    for entry in entries.take(INCLUDE_LIMIT) {
        let name = entry?.file_name();
        let is_meant = |name: &str| !name.starts_with('.') && pattern::matches(pattern, name);
        if name.to_str().is_some_and(is_meant) {
            paths.push(directory.join(name));
        }
    }
    paths.sort();
    Ok(paths)
}

/// Replaces a leading `~` in `text` by the home directory.
pub(super) fn at_home(text: &str, home: Option<&Path>) -> Result<PathBuf> {
    let Some(rest) = text.strip_prefix("~/").or((text == "~").then_some("")) else {
        return Ok(PathBuf::from(text));
    };
    let missing = || {
        Error::new(
            Kind::Unsupported,
            format!("HOME is not set, needed for {text}"),
        )
    };
    Ok(home.ok_or_else(missing)?.join(rest))
}

/// Reads a text file. Returns `None` if the file is missing and may be.
fn text_of(path: &Path, need: Need) -> Result<Option<String>> {
    let metadata = match fs::metadata(path) {
        Err(cause) if cause.kind() == ErrorKind::NotFound && need == Need::Usual => {
            return Ok(None);
        }
        found => found?,
    };
    if !metadata.is_file() || metadata.len() > FILE_LIMIT_BYTES {
        let cause = format!("not a file of at most {FILE_LIMIT_BYTES} bytes");
        return Err(Error::new(Kind::Unsupported, cause));
    }
    Ok(Some(String::from_utf8_lossy(&fs::read(path)?).into_owned()))
}

/// Splits `line` into the keyword in lower case and the rest. Returns `None` for an empty line or a
/// comment.
fn split(line: &str) -> Result<Option<(String, &str)>> {
    let line = line.trim();
    if line.is_empty() || line.starts_with('#') {
        return Ok(None);
    }
    let end = line.find(|letter: char| letter.is_whitespace() || letter == '=');
    let (keyword, rest) = line.split_at(end.unwrap_or(line.len()));
    let rest = rest.trim_start();
    let rest = rest.strip_prefix('=').unwrap_or(rest).trim_start();
    let is_word = keyword.bytes().all(|byte| byte.is_ascii_alphanumeric());
    match is_word && !keyword.is_empty() {
        true => Ok(Some((keyword.to_ascii_lowercase(), rest))),
        false => Err(Error::new(
            Kind::Unsupported,
            format!("{keyword:?} is not a keyword"),
        )),
    }
}

/// Splits `text` into words. Quotes protect blanks, and `#` between words starts a comment.
fn words(text: &str) -> Result<Vec<String>> {
    let mut words = Vec::new();
    let mut letters = text.chars().peekable();
    loop {
        while letters.next_if(|letter| letter.is_whitespace()).is_some() {}
        match letters.peek() {
            None | Some('#') => return Ok(words),
            Some(_) => words.push(word(&mut letters)?),
        }
    }
}

/// Takes the next word. Within a word, a quote starts or ends a part in which blanks are literal.
fn word(letters: &mut std::iter::Peekable<std::str::Chars<'_>>) -> Result<String> {
    let mut word = String::new();
    let mut quote = None;
    while let Some(letter) = letters.next_if(|next| quote.is_some() || !next.is_whitespace()) {
        match (quote, letter) {
            (Some(open), letter) if open == letter => quote = None,
            (None, '"' | '\'') => quote = Some(letter),
            (_, '\\') if matches!(letters.peek(), Some('"' | '\'' | '\\')) => {
                word.extend(letters.next());
            }
            (_, letter) => word.push(letter),
        }
    }
    match quote {
        None => Ok(word),
        Some(_) => Err(Error::new(Kind::Unsupported, "a quote is not closed")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Result;

    /// Parses `text` for `host`, with `others` as files in the same directory.
    fn found(text: &str, host: &str, others: &[(&str, &str)]) -> Result<Found> {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("config");
        fs::create_dir(directory.path().join("conf.d")).unwrap();
        fs::write(&path, text).unwrap();
        for (name, text) in others {
            fs::write(directory.path().join(name), text).unwrap();
        }
        let query = Query {
            host,
            user: None,
            local_user: "me",
            home: Some(Path::new("/home/me")),
        };
        let mut found = Found::default();
        read(&path, Need::Named, &query, &mut found).map(|()| found)
    }

    fn word(text: &str, host: &str, keyword: &str) -> Option<String> {
        let found = found(text, host, &[]).unwrap();
        found.word(keyword).map(str::to_owned)
    }

    #[test]
    fn the_first_value_of_the_blocks_that_apply_wins() {
        let text = "# mine\nHost nas !nas-old\n  HostName = 10.0.0.7\n\tPort 2222\n\
                    Host nas*\nUser \"back up\"\nHost *\nport 22\nUser other\n";
        assert_eq!(word(text, "nas", "hostname").unwrap(), "10.0.0.7");
        assert_eq!(word(text, "nas", "port").unwrap(), "2222");
        assert_eq!(word(text, "nas", "user").unwrap(), "back up");
        assert_eq!(word(text, "nas2", "port").unwrap(), "22");
        assert_eq!(word(text, "tape", "user").unwrap(), "other");
        assert_eq!(word(text, "tape", "hostname"), None);
    }

    #[test]
    fn keys_add_up_and_commands_keep_their_quotes() {
        let text = "IdentityFile a # first\nIdentityFile b\nProxyCommand nc \"%h\" %p # x\n";
        let found = found(text, "nas", &[]).unwrap();
        let files: Vec<&str> = found
            .all("identityfile")
            .iter()
            .map(|value| value.words[0].as_str())
            .collect();
        assert_eq!(files, ["a", "b"]);
        assert_eq!(found.word("proxycommand"), Some("nc \"%h\" %p # x"));
        assert!(
            found
                .first("proxycommand")
                .unwrap()
                .origin
                .ends_with("config:3")
        );
    }

    #[test]
    fn a_match_holds_if_all_of_it_does() {
        for (criteria, holds) in [
            ("all", true),
            ("host nas", false),
            ("host 10.*", true),
            ("originalhost nas,tape", true),
            ("user me localuser me", true),
            ("user root", false),
            ("!user root host 10.*", true),
            ("exec true", false),
            ("host", false),
            ("final all", false),
        ] {
            let text = format!("HostName 10.0.0.7\nMatch {criteria}\nPort 1\n");
            assert_eq!(word(&text, "nas", "port").is_some(), holds, "{criteria}");
        }
    }

    #[test]
    fn files_are_included_where_they_stand() {
        let others = [
            ("conf.d/b", "Port 2\n"),
            ("conf.d/a", "Host tape\nPort 1\n"),
            ("conf.d/.c", "Port 3\n"),
        ];
        let text = "Include conf.d/* missing\nPort 9\n";
        let port = |host| {
            found(text, host, &others)
                .unwrap()
                .word("port")
                .map(str::to_owned)
        };
        assert_eq!(port("tape").unwrap(), "1");
        assert_eq!(port("nas").unwrap(), "2");
        let error = found("Include config\n", "nas", &[]).unwrap_err();
        assert!(error.to_string().contains("include one another"), "{error}");
    }

    #[test]
    fn what_is_no_configuration_is_refused_with_its_line() {
        for (text, words) in [
            ("\nUser \"x\n", "config:2: a quote is not closed"),
            ("?x y\n", "config:1: \"?x\" is not a keyword"),
            ("Port\n", "config:1: port has no value"),
        ] {
            let error = found(text, "nas", &[]).unwrap_err();
            assert!(error.to_string().contains(words), "{error}");
            assert_eq!(error.kind(), Kind::Unsupported);
        }
        let query = Query {
            host: "x",
            user: None,
            local_user: "me",
            home: None,
        };
        let missing = Path::new("/no/such/config");
        let outcome = |need| read(missing, need, &query, &mut Found::default());
        assert!(outcome(Need::Usual).is_ok());
        assert_eq!(outcome(Need::Named).unwrap_err().kind(), Kind::NotFound);
    }
}

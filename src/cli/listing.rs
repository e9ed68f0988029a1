//! Formats snapshots and entries as one line or one JSON object each, for `ls` and `info`.

use std::fmt;

use serde::Serialize;

use super::date;
use super::escape::{JsonPath, printable};
use crate::connector::FileKind;
use crate::format::entry::Entry;
use crate::kloset::snapshot::Snapshot;
use crate::util::human;

/// How to show the id of a snapshot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ids {
    /// An abbreviated id, for people.
    Short,
    /// The full id.
    Full,
}

/// Which labels to show at the end of the line. `-json` always includes all of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Labels {
    /// No labels.
    Hidden,
    /// The tags only.
    Tags,
    /// Name, category, environment, perimeter, job and tags.
    All,
}

/// The format of the line of a snapshot.
#[derive(Clone, Copy, Debug)]
pub struct Look {
    /// How to show the id.
    pub ids: Ids,
    /// Which labels to show.
    pub labels: Labels,
    /// The width of the host column in characters. 0 omits the column.
    pub host_columns: usize,
}

/// The line of one snapshot, for text and JSON.
#[derive(Serialize)]
pub struct SnapshotLine {
    snapshot: String,
    time: String,
    seconds: f64,
    roots: Vec<JsonPath>,
    source: String,
    origin: String,
    host: String,
    user: String,
    name: String,
    category: String,
    environment: String,
    perimeter: String,
    job: String,
    tags: Vec<String>,
    files: u64,
    directories: u64,
    bytes: u64,
    errors: u64,
    program: String,
    #[serde(skip)]
    shown: String,
}

impl SnapshotLine {
    /// The line of `snapshot` in the format `look`.
    pub fn new(snapshot: &Snapshot, look: Look) -> SnapshotLine {
        let totals = snapshot.totals();
        let labels = snapshot.labels.clone();
        SnapshotLine {
            snapshot: snapshot.id.to_string(),
            time: human::time(snapshot.time_ns),
            seconds: snapshot.duration.as_millis() as f64 / 1000.0,
            roots: snapshot
                .roots
                .iter()
                .map(|root| JsonPath::from(root.as_slice()))
                .collect(),
            source: snapshot.source.clone(),
            origin: snapshot.origin.clone(),
            host: snapshot.host.clone(),
            user: snapshot.user.clone(),
            name: labels.name,
            category: labels.category,
            environment: labels.environment,
            perimeter: labels.perimeter,
            job: labels.job,
            tags: labels.tags,
            files: totals.files,
            directories: totals.directories,
            bytes: totals.bytes,
            errors: snapshot.error_count,
            program: snapshot.program.clone(),
            shown: shown(snapshot, look),
        }
    }
}

/// Formats `TIME ID SIZE DURATION [HOST] ROOTS`, then the labels.
fn shown(snapshot: &Snapshot, look: Look) -> String {
    let id = match look.ids {
        Ids::Short => snapshot.id.short(),
        Ids::Full => snapshot.id.to_string(),
    };
    let roots: Vec<String> = snapshot.roots.iter().map(|root| printable(root)).collect();
    let columns = columns([
        &human::time(snapshot.time_ns),
        &id,
        &human::size(snapshot.totals().bytes),
        &human::duration(snapshot.duration),
    ]);
    let host = host(snapshot);
    let host = host_column(&host, look.host_columns);
    let labels = labels(snapshot, look.labels);
    format!("{columns} {host}{}{labels}", roots.join(", "))
}

/// The heading of the columns.
pub fn heading(look: Look) -> String {
    let columns = match look.ids {
        Ids::Short => columns(["TIME", "SNAPSHOT", "SIZE", "DURATION"]),
        Ids::Full => columns(["TIME", &format!("{:<64}", "SNAPSHOT"), "SIZE", "DURATION"]),
    };
    let host = host_column("HOST", look.host_columns);
    format!("{columns} {host}PATHS")
}

/// Formats the columns that every line has.
fn columns([time, id, size, took]: [&str; 4]) -> String {
    format!("{time:<20} {id:>10} {size:>9}{took:>10}")
}

/// Formats the column of the host whose files were backed up.
fn host_column(host: &str, columns: usize) -> String {
    match columns {
        0 => String::new(),
        columns => format!("{host:<columns$} "),
    }
}

/// The host whose files are in `snapshot`, in printable form.
pub fn host(snapshot: &Snapshot) -> String {
    printable(snapshot.origin.as_bytes())
}

/// Formats the labels that are not empty: ` job=nightly tags=a,b`.
fn labels(snapshot: &Snapshot, which: Labels) -> String {
    let labels = &snapshot.labels;
    let all = [
        ("name", labels.name.as_str()),
        ("category", &labels.category),
        ("environment", &labels.environment),
        ("perimeter", &labels.perimeter),
        ("job", &labels.job),
        ("tags", &labels.tags.join(",")),
    ];
    let is_shown = |(name, value): &(&str, &str)| match which {
        Labels::Hidden => false,
        Labels::Tags => *name == "tags" && !value.is_empty(),
        Labels::All => !value.is_empty(),
    };
    let shown = all.into_iter().filter(is_shown);
    shown
        .map(|(name, value)| format!(" {name}={}", printable(value.as_bytes())))
        .collect()
}

impl fmt::Display for SnapshotLine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.shown)
    }
}

/// The line of one entry of a snapshot, for text and JSON.
#[derive(Serialize)]
pub struct EntryLine {
    #[serde(flatten)]
    path: JsonPath,
    kind: &'static str,
    /// In octal, as for `chmod`.
    mode: String,
    uid: u32,
    gid: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    user: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    group: Option<String>,
    size_bytes: u64,
    mtime: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    target: Option<JsonPath>,
    #[serde(skip_serializing_if = "Option::is_none")]
    problem: Option<String>,
    #[serde(skip)]
    shown: String,
}

impl EntryLine {
    /// The line of `entry`, which is at `path`. The text form shows `name` instead of `path`.
    pub fn new(entry: &Entry, path: &[u8], name: &[u8]) -> EntryLine {
        let text = |name: &Option<std::sync::Arc<str>>| name.as_ref().map(ToString::to_string);
        let metadata = &entry.metadata;
        let is_link = metadata.kind == FileKind::Symlink;
        EntryLine {
            path: JsonPath::from(path),
            kind: kind(metadata.kind).1,
            mode: format!("{:04o}", metadata.mode),
            uid: metadata.uid,
            gid: metadata.gid,
            user: text(&entry.user),
            group: text(&entry.group),
            size_bytes: size_bytes(entry),
            mtime: date::precise(metadata.mtime_ns),
            target: is_link.then(|| JsonPath::from(entry.details.target.as_slice())),
            problem: entry.problem.clone(),
            shown: shown_entry(entry, name),
        }
    }
}

/// The size to show. For a directory, the total of everything below it.
fn size_bytes(entry: &Entry) -> u64 {
    match entry.is_dir() {
        true => entry.below.bytes,
        false => entry.metadata.size_bytes,
    }
}

/// The heading of the columns of entries.
pub const ENTRY_HEADING: &str = "TIME                 MODE           USER    GROUP       SIZE NAME";

/// Formats `TIME MODE USER GROUP SIZE NAME[ -> TARGET]`.
fn shown_entry(entry: &Entry, name: &[u8]) -> String {
    let metadata = &entry.metadata;
    let owner = |name: &Option<std::sync::Arc<str>>, id: u32| match name {
        Some(name) => printable(name.as_bytes()),
        None => id.to_string(),
    };
    let (user, group) = (
        owner(&entry.user, metadata.uid),
        owner(&entry.group, metadata.gid),
    );
    let target = match metadata.kind {
        FileKind::Symlink => format!(" -> {}", printable(&entry.details.target)),
        _ => String::new(),
    };
    let (time, mode) = (
        human::time(metadata.mtime_ns),
        mode(metadata.kind, metadata.mode),
    );
    let (size, name) = (human::size(size_bytes(entry)), printable(name));
    format!("{time} {mode} {user:>8} {group:>8} {size:>10} {name}{target}")
}

impl fmt::Display for EntryLine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.shown)
    }
}

/// The letter that `ls -l` uses for a file type, and the word that plakar uses.
pub fn kind(kind: FileKind) -> (char, &'static str) {
    match kind {
        FileKind::File => ('-', "file"),
        FileKind::Directory => ('d', "directory"),
        FileKind::Symlink => ('l', "symlink"),
        FileKind::Fifo => ('p', "fifo"),
        FileKind::Socket => ('s', "socket"),
        FileKind::CharDevice => ('c', "char_device"),
        FileKind::BlockDevice => ('b', "block_device"),
    }
}

/// A mode in the format of `ls -l`, such as `drwxr-sr-x`.
pub fn mode(file_kind: FileKind, mode: u32) -> String {
    let mut letters: Vec<char> = std::iter::once(kind(file_kind).0).collect();
    // Three bits each for owner, group and others, and the special bit that is shown with them.
    for (shift, special, letter) in [(6, 0o4000, 's'), (3, 0o2000, 's'), (0, 0o1000, 't')] {
        let bits = mode >> shift;
        let is_special = mode & special != 0;
        letters.push(if bits & 4 != 0 { 'r' } else { '-' });
        letters.push(if bits & 2 != 0 { 'w' } else { '-' });
        letters.push(match (is_special, bits & 1 != 0) {
            (true, true) => letter,
            (true, false) => letter.to_ascii_uppercase(),
            (false, true) => 'x',
            (false, false) => '-',
        });
    }
    letters.into_iter().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn modes_look_as_in_ls() {
        assert_eq!(mode(FileKind::File, 0o644), "-rw-r--r--");
        assert_eq!(mode(FileKind::Directory, 0o1777), "drwxrwxrwt");
        assert_eq!(mode(FileKind::File, 0o6750), "-rwsr-s---");
        assert_eq!(mode(FileKind::Symlink, 0o4000), "l--S------");
    }

    #[test]
    fn a_hostile_name_is_one_harmless_line() {
        let entry = Entry {
            user: Some("ev\x1bil".into()),
            ..Entry::default()
        };
        let line = EntryLine::new(&entry, b"/a\n\x1b[2J", b"a\n\x1b[2J").to_string();
        let expected =
            "1970-01-01T00:00:00Z ---------- ev\\u{1b}il        0        0 B a\\n\\u{1b}[2J";
        assert_eq!(line, expected);
    }
}

//! Formats a difference as one line of text, or as an object.

use std::fmt;

use serde::Serialize;

use super::text::Printed;
use crate::cli::date;
use crate::cli::escape::{JsonPath, printable};
use crate::cli::listing;
use crate::ops::compare::{Became, Change, Difference, Node, Owner, Which};
use crate::util::{Id, human};

/// A path in a snapshot, or among the live files.
#[derive(Clone)]
pub(super) struct Place {
    snapshot: Option<Id>,
    pub(super) path: Vec<u8>,
}

impl Place {
    pub(super) fn new(snapshot: Option<Id>, path: Vec<u8>) -> Place {
        Place { snapshot, path }
    }

    /// The place of the relative `path` below this one. `path` begins with `/` or is empty.
    pub(super) fn below(&self, path: &[u8]) -> Place {
        let top = match path {
            b"" => &self.path,
            _ => self.path.strip_suffix(b"/").unwrap_or(&self.path),
        };
        Place {
            snapshot: self.snapshot,
            path: [top, path].concat(),
        }
    }

    /// `dd62691d:/etc/passwd`, or the path of a live file, as raw bytes.
    pub(super) fn in_message(&self) -> Vec<u8> {
        match self.snapshot {
            Some(id) => [id.short().as_bytes(), b":", &self.path].concat(),
            None => self.path.clone(),
        }
    }

    /// Like [`Place::in_message`], in printable form.
    fn shown(&self) -> String {
        printable(&self.in_message())
    }

    /// The name of the side: a snapshot id, or `live files`.
    fn side(&self) -> String {
        self.snapshot
            .map_or_else(|| "live files".to_owned(), |id| id.short())
    }

    /// The path for the header of a patch. The id becomes the first directory, which `patch -p1`
    /// strips.
    pub(super) fn in_header(&self) -> Vec<u8> {
        match self.snapshot {
            Some(id) => [id.short().as_bytes(), &self.path].concat(),
            None => self.path.clone(),
        }
    }
}

/// One side of a difference.
#[derive(Serialize)]
struct Side {
    #[serde(skip_serializing_if = "Option::is_none")]
    snapshot: Option<String>,
    #[serde(flatten)]
    path: JsonPath,
    #[serde(flatten)]
    facts: Option<Facts>,
}

/// The properties of the entry on one side.
#[derive(Serialize)]
struct Facts {
    kind: &'static str,
    size_bytes: u64,
    mtime: String,
}

impl Side {
    fn new(place: &Place, node: Option<&Node<'_>>) -> Side {
        let facts = |node: &Node<'_>| {
            let metadata = &node.entry.metadata;
            Facts {
                kind: listing::kind(metadata.kind).1,
                size_bytes: metadata.size_bytes,
                mtime: date::precise(metadata.mtime_ns),
            }
        };
        Side {
            snapshot: place.snapshot.map(|id| id.to_string()),
            path: JsonPath::from(place.path.as_slice()),
            facts: node.map(facts),
        }
    }
}

/// One difference between two entries.
#[derive(Serialize)]
pub(super) struct DifferenceLine {
    what: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    a: Option<Side>,
    #[serde(skip_serializing_if = "Option::is_none")]
    b: Option<Side>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    changes: Vec<ChangeLine>,
    #[serde(skip)]
    shown: String,
}

/// One changed property.
#[derive(Serialize)]
struct ChangeLine {
    what: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    a: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    b: Option<String>,
    #[serde(skip)]
    shown: String,
}

impl DifferenceLine {
    /// The line of `difference`, if no differing lines of text were printed for it.
    pub(super) fn new(
        (a, b): (&Place, &Place),
        difference: &Difference<'_>,
        printed: Printed,
    ) -> DifferenceLine {
        let both = |what, shown, changes| DifferenceLine {
            what,
            a: Some(Side::new(a, None)),
            b: Some(Side::new(b, None)),
            changes,
            shown,
        };
        match difference {
            Difference::Only(which, node) => {
                only(*which, if *which == Which::A { a } else { b }, node)
            }
            Difference::Kind(one, two) => {
                let change = change("kind", listing::kind(*one).1, listing::kind(*two).1);
                both("kind", about(a, b, &change.shown), vec![change])
            }
            Difference::Contents(nodes) => DifferenceLine {
                a: Some(Side::new(a, Some(&nodes.0))),
                b: Some(Side::new(b, Some(&nodes.1))),
                ..both("contents", differ(a, b, printed), Vec::new())
            },
            Difference::Below => {
                let shown = format!("Directories {} and {} differ", a.shown(), b.shown());
                both("below", shown, Vec::new())
            }
            Difference::Metadata(changes) => {
                let changes: Vec<ChangeLine> = changes.iter().map(changed).collect();
                let shown: Vec<&str> = changes.iter().map(|change| change.shown.as_str()).collect();
                both("metadata", about(a, b, &shown.join(", ")), changes)
            }
        }
    }
}

fn only(which: Which, place: &Place, node: &Node<'_>) -> DifferenceLine {
    let side = Some(Side::new(place, Some(node)));
    let shown = format!("Only in {}: {}", place.side(), printable(&place.path));
    let (what, a, b) = match which {
        Which::A => ("only_in_a", side, None),
        Which::B => ("only_in_b", None, side),
    };
    DifferenceLine {
        what,
        a,
        b,
        changes: Vec::new(),
        shown,
    }
}

fn differ(a: &Place, b: &Place, printed: Printed) -> String {
    let files = match printed {
        Printed::Binary => "Binary files",
        _ => "Files",
    };
    format!("{files} {} and {} differ", a.shown(), b.shown())
}

/// Formats `changes` of a path that exists on both sides.
fn about(a: &Place, b: &Place, changes: &str) -> String {
    match a.path == b.path {
        true => format!("{}: {changes}", printable(&a.path)),
        false => format!("{} and {}: {changes}", a.shown(), b.shown()),
    }
}

fn change(what: &str, a: impl Into<String>, b: impl Into<String>) -> ChangeLine {
    let (a, b) = (a.into(), b.into());
    ChangeLine {
        shown: format!(
            "{what} {} -> {}",
            printable(a.as_bytes()),
            printable(b.as_bytes())
        ),
        what: what.to_owned(),
        a: Some(a),
        b: Some(b),
    }
}

/// Formats one change.
fn changed(change_: &Change) -> ChangeLine {
    match change_ {
        Change::Mode(a, b) => change("mode", format!("{a:04o}"), format!("{b:04o}")),
        Change::User(a, b) => owners("owner", a, b),
        Change::Group(a, b) => owners("group", a, b),
        Change::Mtime(a, b) => times(*a, *b),
        Change::Target(a, b) => ChangeLine {
            shown: format!("target {} -> {}", printable(a), printable(b)),
            ..change(
                "target",
                String::from_utf8_lossy(a),
                String::from_utf8_lossy(b),
            )
        },
        Change::Device(a, b) => change("device", device(*a), device(*b)),
        Change::Flags(a, b) => change("flags", format!("{a:#x}"), format!("{b:#x}")),
        Change::Xattr(name, became) => {
            let what = format!("xattr {}", printable(name));
            let became = match became {
                Became::Added => "added",
                Became::Removed => "removed",
                Became::Changed => "changed",
            };
            ChangeLine {
                shown: format!("{what} {became}"),
                what: format!("xattr {became}"),
                a: Some(String::from_utf8_lossy(name).into_owned()),
                b: None,
            }
        }
    }
}

/// Shows names if they differ, else numeric ids.
fn owners(what: &str, a: &Owner, b: &Owner) -> ChangeLine {
    match (&a.name, &b.name) {
        (Some(one), Some(two)) if one != two => change(what, &**one, &**two),
        _ => change(what, a.id.to_string(), b.id.to_string()),
    }
}

/// Shows times in seconds if they differ then, else with full precision.
fn times(a: i64, b: i64) -> ChangeLine {
    let (one, two) = (human::time(a), human::time(b));
    let line = change("mtime", date::precise(a), date::precise(b));
    match one == two {
        true => line,
        false => ChangeLine {
            shown: format!("mtime {one} -> {two}"),
            ..line
        },
    }
}

/// Formats a device number as in `ls -l`: `8,1`.
fn device(number: u64) -> String {
    let (major, minor) = (rustix::fs::major(number), rustix::fs::minor(number));
    format!("{major},{minor}")
}

impl fmt::Display for DifferenceLine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.shown)
    }
}

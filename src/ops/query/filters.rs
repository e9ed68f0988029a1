//! What a snapshot must be like to be in scope.

use crate::kloset::snapshot::Snapshot;

/// What must hold, all of it, where it is given. By default: nothing.
///
/// Texts are compared as they are, byte by byte; an empty one is that of a snapshot that
/// has none.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Filters {
    /// Made before this moment, nanoseconds since 1970.
    pub before_ns: Option<i64>,
    /// Made at this moment or later.
    pub since_ns: Option<i64>,
    /// Its name.
    pub name: Option<String>,
    /// Its category.
    pub category: Option<String>,
    /// Its environment.
    pub environment: Option<String>,
    /// Its perimeter.
    pub perimeter: Option<String>,
    /// The job that made it.
    pub job: Option<String>,
    /// The machine the files are on.
    pub origin: Option<String>,
    /// The kind of source: `fs`, `sftp`, `stdin`, `cmd`.
    pub source: Option<String>,
    /// Tags that it has, all of them.
    pub tags: Vec<String>,
    /// Tags of which it has none.
    pub absent_tags: Vec<String>,
    /// Places of which at least one was backed up, absolute paths as raw bytes, without
    /// `.`, `..` and a slash at the end. None: any place.
    pub roots: Vec<Vec<u8>>,
}

impl Filters {
    /// The first filter that `snapshot` does not pass, by the name of its flag.
    pub fn unmet(&self, snapshot: &Snapshot) -> Option<&'static str> {
        let labels = &snapshot.labels;
        let has_tag = |tag: &String| labels.tags.contains(tag);
        let has_root = |root: &Vec<u8>| snapshot.roots.contains(root);
        let checks = [
            (
                "before",
                self.before_ns.is_none_or(|end| snapshot.time_ns < end),
            ),
            (
                "since",
                self.since_ns.is_none_or(|start| snapshot.time_ns >= start),
            ),
            ("name", is(&self.name, &labels.name)),
            ("category", is(&self.category, &labels.category)),
            ("environment", is(&self.environment, &labels.environment)),
            ("perimeter", is(&self.perimeter, &labels.perimeter)),
            ("job", is(&self.job, &labels.job)),
            ("origin", is(&self.origin, &snapshot.origin)),
            ("type", is(&self.source, &snapshot.source)),
            ("tag", self.tags.iter().all(has_tag)),
            ("tag", !self.absent_tags.iter().any(has_tag)),
            (
                "root",
                self.roots.is_empty() || self.roots.iter().any(has_root),
            ),
        ];
        let unmet = checks.into_iter().find(|(_, holds)| !holds);
        unmet.map(|(name, _)| name)
    }
}

/// Whether `text` is what is `wanted`, if anything is.
fn is(wanted: &Option<String>, text: &str) -> bool {
    wanted.as_ref().is_none_or(|wanted| wanted == text)
}

//! Filters: the conditions that a snapshot must meet to be in scope.

use crate::kloset::snapshot::Snapshot;

/// Conditions that must all hold. The default has no conditions.
///
/// Texts are compared byte by byte. An empty text matches a snapshot without a value.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Filters {
    /// Created before this time, in nanoseconds since 1970.
    pub before_ns: Option<i64>,
    /// Created at this time or later, in nanoseconds since 1970.
    pub since_ns: Option<i64>,
    /// The label `name`.
    pub name: Option<String>,
    /// The label `category`.
    pub category: Option<String>,
    /// The label `environment`.
    pub environment: Option<String>,
    /// The label `perimeter`.
    pub perimeter: Option<String>,
    /// The job that created the snapshot.
    pub job: Option<String>,
    /// The machine that holds the files.
    pub origin: Option<String>,
    /// The kind of source: `fs`, `sftp`, `stdin`, `cmd`.
    pub source: Option<String>,
    /// Tags that the snapshot must all have.
    pub tags: Vec<String>,
    /// Tags that the snapshot must not have.
    pub absent_tags: Vec<String>,
    /// Places of which at least one was backed up: absolute paths as raw bytes, without `.`, `..` and
    /// a trailing slash. Empty: any place.
    pub roots: Vec<Vec<u8>>,
}

impl Filters {
    /// The name of the flag of the first filter that `snapshot` does not pass; `None` if it passes
    /// all.
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

/// Whether `text` equals `wanted`, if a text is wanted.
fn is(wanted: &Option<String>, text: &str) -> bool {
    wanted.as_ref().is_none_or(|wanted| wanted == text)
}

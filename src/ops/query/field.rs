//! What snapshots can have in common, and be looked at together for.

use crate::kloset::snapshot::Snapshot;

/// What a snapshot has for a field, raw bytes: one item, or those of a list, sorted. A
/// text that is empty is no item.
pub type Value = Vec<Vec<u8>>;

/// A field of a snapshot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Field {
    /// Its name.
    Name,
    /// Its category.
    Category,
    /// Its environment.
    Environment,
    /// Its perimeter.
    Perimeter,
    /// The job that made it.
    Job,
    /// The machine the files are on.
    Origin,
    /// The kind of source.
    Type,
    /// The machine that made it.
    Host,
    /// The places that were backed up, all of them together.
    Root,
    /// Its tags, all of them together.
    Tag,
    /// Machine, kind of source and places together: what one backup after the other makes.
    Source,
    /// Nothing: all are looked at together.
    None,
}

impl Field {
    /// Every field and what it is called.
    pub const ALL: [(&'static str, Field); 12] = [
        ("name", Field::Name),
        ("category", Field::Category),
        ("environment", Field::Environment),
        ("perimeter", Field::Perimeter),
        ("job", Field::Job),
        ("origin", Field::Origin),
        ("type", Field::Type),
        ("host", Field::Host),
        ("root", Field::Root),
        ("tag", Field::Tag),
        ("source", Field::Source),
        ("none", Field::None),
    ];

    /// What it is called.
    pub fn name(self) -> &'static str {
        let mut all = Field::ALL.iter();
        all.find(|(_, field)| *field == self)
            .map_or("", |(name, _)| name)
    }

    /// The field called `name`.
    pub fn named(name: &str) -> Option<Field> {
        let mut all = Field::ALL.iter();
        all.find(|(known, _)| *known == name)
            .map(|(_, field)| *field)
    }

    /// What `snapshot` has for it.
    pub fn value(self, snapshot: &Snapshot) -> Value {
        let labels = &snapshot.labels;
        let text = match self {
            Field::Name => &labels.name,
            Field::Category => &labels.category,
            Field::Environment => &labels.environment,
            Field::Perimeter => &labels.perimeter,
            Field::Job => &labels.job,
            Field::Origin => &snapshot.origin,
            Field::Type => &snapshot.source,
            Field::Host => &snapshot.host,
            Field::Root => return set(snapshot.roots.iter().cloned()),
            Field::Source => return source(snapshot),
            Field::None => return Value::new(),
            Field::Tag => return set(labels.tags.iter().map(|tag| tag.clone().into_bytes())),
        };
        let items = [text.clone().into_bytes()].into_iter();
        items.filter(|item| !item.is_empty()).collect()
    }
}

/// Where a snapshot is from, and of what.
fn source(snapshot: &Snapshot) -> Value {
    let from = [&snapshot.source, &snapshot.origin];
    let from = from.map(|text| text.clone().into_bytes());
    from.into_iter()
        .chain(Field::Root.value(snapshot))
        .collect()
}

/// `items` in order, each once.
fn set(items: impl Iterator<Item = Vec<u8>>) -> Value {
    let mut items: Value = items.collect();
    items.sort();
    items.dedup();
    items
}

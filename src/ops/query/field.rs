//! Fields by which snapshots can be grouped.

use crate::kloset::snapshot::Snapshot;

/// The value of a field as raw bytes: one item, or the sorted items of a list. An empty text is no
/// item.
pub type Value = Vec<Vec<u8>>;

/// A field of a snapshot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Field {
    /// The label `name`.
    Name,
    /// The label `category`.
    Category,
    /// The label `environment`.
    Environment,
    /// The label `perimeter`.
    Perimeter,
    /// The job that created the snapshot.
    Job,
    /// The machine that holds the files.
    Origin,
    /// The kind of source.
    Type,
    /// The machine that created the snapshot.
    Host,
    /// The places that were backed up, as one list.
    Root,
    /// The tags of the snapshot, as one list.
    Tag,
    /// Machine, kind of source and places: equal in consecutive backups of the same files.
    Source,
    /// No field: all snapshots are in one group.
    None,
}

impl Field {
    /// Every field with its name.
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

    /// The name of the field on the command line.
    pub fn name(self) -> &'static str {
        let mut all = Field::ALL.iter();
        all.find(|(_, field)| *field == self)
            .map_or("", |(name, _)| name)
    }

    /// The field with this name; `None` if the name is unknown.
    pub fn named(name: &str) -> Option<Field> {
        let mut all = Field::ALL.iter();
        all.find(|(known, _)| *known == name)
            .map(|(_, field)| *field)
    }

    /// The value of this field in `snapshot`.
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

/// The kind of source, machine and places of a snapshot.
fn source(snapshot: &Snapshot) -> Value {
    let from = [&snapshot.source, &snapshot.origin];
    let from = from.map(|text| text.clone().into_bytes());
    from.into_iter()
        .chain(Field::Root.value(snapshot))
        .collect()
}

/// The items in order, without duplicates.
fn set(items: impl Iterator<Item = Vec<u8>>) -> Value {
    let mut items: Value = items.collect();
    items.sort();
    items.dedup();
    items
}

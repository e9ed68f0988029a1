//! Prints snapshots in groups: a heading for each group in text, a field of each object in JSON.

use std::fmt;

use serde::Serialize;

use super::Globals;
use super::escape::printable;
use super::output::Format;
use super::wording::counted;
use crate::error::Result;
use crate::ops::query::{Field, Group, Value};

/// The line of one snapshot, and its group.
#[derive(Serialize)]
struct Grouped<T> {
    #[serde(flatten)]
    line: T,
    #[serde(skip_serializing_if = "Option::is_none")]
    group: Option<Vec<String>>,
}

impl<T: fmt::Display> fmt::Display for Grouped<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.line.fmt(f)
    }
}

/// Prints all members of `groups` as results of type `kind`; `line` formats one member. `field` is
/// the field by which they are grouped, or `None` without grouping.
pub fn print<M, T: Serialize + fmt::Display>(
    globals: &Globals,
    field: Option<Field>,
    groups: &[Group<M>],
    kind: &str,
    line: impl Fn(&M) -> T,
) -> Result<()> {
    for (place, group) in groups.iter().enumerate() {
        if let Some(field) = field.filter(|field| *field != Field::None)
            && globals.out.format() != Format::Json
        {
            let gap = if place > 0 { "\n" } else { "" };
            let count = counted(group.members.len() as u64, "snapshot", "snapshots");
            let heading = format!("{gap}{}: {count}\n", name(field, &group.value));
            globals.out.bytes(heading.as_bytes())?;
        }
        for member in &group.members {
            globals.interrupt.check()?;
            let grouped = Grouped {
                line: line(member),
                group: field.map(|_| items(&group.value)),
            };
            globals.out.result(kind, &grouped)?;
        }
    }
    Ok(())
}

/// The heading of a group: `origin alpha`, `tag a, b`, `name (none)`.
pub fn name(field: Field, value: &Value) -> String {
    let items = match value.is_empty() {
        true => "(none)".to_owned(),
        false => items(value).join(", "),
    };
    format!("{} {items}", field.name())
}

/// The items of `value` in printable form.
fn items(value: &Value) -> Vec<String> {
    value.iter().map(|item| printable(item)).collect()
}

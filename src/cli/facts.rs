//! Name and value pairs for people, with the values aligned in a column.

/// The column where values begin.
const VALUE_COLUMN: usize = 14;

/// Formats one line for each of `rows`. Values must already be printable.
pub fn table(rows: &[(&str, String)]) -> String {
    let line = |(name, value): &(&str, String)| {
        let named = format!(
            "{:<width$}{value}",
            format!("{name}:"),
            width = VALUE_COLUMN
        );
        named.trim_end().to_owned()
    };
    rows.iter().map(line).collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_stand_in_a_column() {
        let rows = [("a", "1".to_owned()), ("longer name", "2".to_owned())];
        assert_eq!(table(&rows), "a:            1\nlonger name:  2");
        assert_eq!(table(&[("a", String::new())]), "a:");
    }
}

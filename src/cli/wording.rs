//! Formats numbers for summaries.

/// A count with its noun: `1 file`, `2 files`.
pub fn counted(count: u64, one: &str, many: &str) -> String {
    format!("{count} {}", if count == 1 { one } else { many })
}

/// The compression ratio ` (2.5:1)`, or an empty string if `plain_bytes` did not become smaller.
pub fn ratio(plain_bytes: u64, stored_bytes: u64) -> String {
    match stored_bytes == 0 || plain_bytes < stored_bytes {
        true => String::new(),
        false => format!(" ({:.1}:1)", plain_bytes as f64 / stored_bytes as f64),
    }
}

/// The counts that are not 0, each with its noun in singular or plural: `1 owner, 2 modes`.
pub fn listed(counts: &[(u64, &str, &str)]) -> String {
    let there = counts.iter().filter(|(count, _, _)| *count > 0);
    let words: Vec<String> = there
        .map(|(count, one, many)| counted(*count, one, many))
        .collect();
    words.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_read_well() {
        assert_eq!(counted(1, "file", "files"), "1 file");
        assert_eq!(counted(0, "file", "files"), "0 files");
        assert_eq!(ratio(25, 10), " (2.5:1)");
        assert_eq!(ratio(9, 10) + &ratio(10, 0), "");
        let counts = [
            (1, "owner", "owners"),
            (0, "mode", "modes"),
            (3, "time", "times"),
        ];
        assert_eq!(listed(&counts), "1 owner, 3 times");
    }
}

//! Checks the entries of a directory against its totals while they are read.
//!
//! Two rules of kloset(5) concern a directory as a whole. Names are in ascending order, so no name
//! occurs twice. The totals of the entries add up to those of the directory. The second rule also
//! bounds every walk. A tree whose directories share subtrees can stand for 2^30 directories in a
//! few kilobytes. But a walk that enters only entries that fit into the totals visits no more
//! entries than the totals of its root specify.

use super::{Entry, Totals};
use crate::error::{Error, Result};

/// The entries found in a directory so far, and the totals claimed by the entry of the directory.
pub struct Tally {
    claimed: Totals,
    found: Totals,
    last_name: Vec<u8>,
    /// Set if some entries are unknown; then the claimed totals may exceed those found.
    has_gap: bool,
}

/// The part of a directory that is stored in one chunk.
pub struct Part {
    first_name: Vec<u8>,
    last_name: Vec<u8>,
    totals: Totals,
}

impl Part {
    /// The part that consists of `entries`. `None` unless all entries are intact and in order.
    pub fn of(entries: &[Result<Entry>]) -> Option<Part> {
        let mut totals = Totals::default();
        let mut names: Vec<&[u8]> = Vec::with_capacity(entries.len());
        for entry in entries {
            let entry = entry.as_ref().ok()?;
            totals.add(entry.totals());
            names.push(&entry.name);
        }
        let (first, last) = (names.first()?, names.last()?);
        names.is_sorted_by(|one, other| one < other).then(|| Part {
            first_name: first.to_vec(),
            last_name: last.to_vec(),
            totals,
        })
    }
}

impl Tally {
    /// Creates the tally of a directory whose entry claims the totals `claimed`.
    pub fn new(claimed: Totals) -> Tally {
        Tally {
            claimed,
            found: Totals::default(),
            last_name: Vec::new(),
            has_gap: false,
        }
    }

    /// Counts the next entry. The caller must neither use nor enter an entry that is refused.
    ///
    /// # Errors
    /// [`crate::error::Kind::Corrupt`] if the name does not sort after the previous one, or if the
    /// totals exceed what remains of the totals of the directory.
    pub fn count(&mut self, entry: &Entry) -> Result<()> {
        let counted = self.take(&entry.name, &entry.name, entry.totals());
        counted.map_err(|error| error.during(label(&entry.name)))
    }

    /// Counts all entries of a chunk.
    ///
    /// # Errors
    /// As [`Tally::count`].
    pub fn count_part(&mut self, part: &Part) -> Result<()> {
        self.take(&part.first_name, &part.last_name, part.totals)
    }

    fn take(&mut self, first_name: &[u8], last_name: &[u8], totals: Totals) -> Result<()> {
        if self.last_name.as_slice() >= first_name {
            self.has_gap = true;
            return Err(Error::corrupt("out of order"));
        }
        let mut found = self.found;
        found.add(totals);
        if !found.fits(self.claimed) {
            self.has_gap = true;
            return Err(Error::corrupt("exceeds the totals of its directory"));
        }
        self.found = found;
        self.last_name.clear();
        self.last_name.extend_from_slice(last_name);
        Ok(())
    }

    /// Records that an entry or a chunk was not counted.
    pub fn skip(&mut self) {
        self.has_gap = true;
    }

    /// Must be called after the last entry. Further calls succeed.
    ///
    /// # Errors
    /// [`crate::error::Kind::Corrupt`] if the directory claims more than was found, and nothing was
    /// skipped.
    pub fn end(&mut self) -> Result<()> {
        let is_right = self.found == self.claimed || self.has_gap;
        self.has_gap = true;
        match is_right {
            true => Ok(()),
            false => Err(Error::corrupt(
                "less is below the directory than its totals say",
            )),
        }
    }
}

/// The name of this entry in messages.
pub(super) fn label(name: &[u8]) -> String {
    format!("entry {}", name.escape_ascii())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::connector::Metadata;

    fn file(name: &str, size_bytes: u64) -> Entry {
        let metadata = Metadata {
            size_bytes,
            ..Metadata::default()
        };
        Entry::new(name.as_bytes().to_vec(), metadata)
    }

    const TWO: Totals = Totals {
        files: 2,
        directories: 0,
        bytes: 10,
    };

    #[test]
    fn totals_must_be_met_exactly() {
        let mut exact = Tally::new(TWO);
        exact.count(&file("a", 4)).unwrap();
        exact.count(&file("b", 6)).unwrap();
        exact.end().unwrap();
        let mut less = Tally::new(TWO);
        less.count(&file("a", 10)).unwrap();
        assert!(less.end().is_err());
        let mut more = Tally::new(TWO);
        more.count(&file("a", 4)).unwrap();
        assert!(more.count(&file("b", 7)).is_err());
        more.count(&file("c", 6)).unwrap();
        more.end().unwrap();
    }

    #[test]
    fn a_refused_entry_does_not_count() {
        let mut tally = Tally::new(TWO);
        tally.count(&file("b", 4)).unwrap();
        assert!(tally.count(&file("a", 0)).is_err());
        assert!(tally.count(&file("b", 0)).is_err());
        tally.count(&file("c", 6)).unwrap();
    }

    #[test]
    fn a_part_counts_as_its_entries_do() {
        let entries = [Ok(file("a", 4)), Ok(file("b", 6))];
        let part = Part::of(&entries).unwrap();
        let mut tally = Tally::new(TWO);
        tally.count_part(&part).unwrap();
        assert!(tally.count_part(&part).is_err());
        assert!(Part::of(&[Ok(file("b", 0)), Ok(file("a", 0))]).is_none());
        assert!(Part::of(&[Err(Error::corrupt("damaged"))]).is_none());
    }
}

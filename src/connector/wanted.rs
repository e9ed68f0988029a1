//! What a backup will want of a source, for one that is far away and looks ahead.

use super::FileKind;
use super::exclude::Excludes;

/// What will be walked: every directory in a place that is not left out.
#[derive(Clone, Default)]
pub struct Wanted {
    /// Absolute paths, none of which ends with a slash but that of the root.
    pub places: Vec<Vec<u8>>,
    /// What is left out of each place.
    pub excludes: Excludes,
    /// Directories that are never entered.
    pub skip: Vec<Vec<u8>>,
}

impl Wanted {
    /// Whether everything in the directory at `path` will be asked for, given that this is so of
    /// the directory it is in, if that is in a place.
    pub fn is_walked(&self, path: &[u8]) -> bool {
        if self.skip.iter().any(|skipped| skipped == path) {
            return false;
        }
        let within = self.places.iter().filter_map(|place| within(place, path));
        // One place in another adds nothing: what counts is the one outside.
        match within.max_by_key(|below| below.len()) {
            Some(b"") => true,
            Some(below) => !self.excludes.excludes(below, FileKind::Directory),
            None => false,
        }
    }
}

/// The path of `path` in `place`, if it is there: nothing for the place itself.
fn within<'a>(place: &[u8], path: &'a [u8]) -> Option<&'a [u8]> {
    let below = path.strip_prefix(place)?;
    match below {
        [] => Some(below),
        _ if place == b"/" => Some(below),
        [b'/', below @ ..] => Some(below),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_in_a_place_and_not_left_out_is_walked() {
        let wanted = Wanted {
            places: vec![b"/srv/a".to_vec(), b"/srv/a/sub".to_vec()],
            excludes: Excludes::new(&["/sub/none".to_owned(), "*.d".to_owned()]).unwrap(),
            skip: vec![b"/srv/a/st".to_vec()],
        };
        for path in ["/srv/a", "/srv/a/b", "/srv/a/sub", "/srv/a/none"] {
            assert!(wanted.is_walked(path.as_bytes()), "{path}");
        }
        for path in [
            "/",
            "/srv",
            "/srv/ab",
            "/srv/a/st",
            "/srv/a/sub/none",
            "/srv/a/x.d",
        ] {
            assert!(!wanted.is_walked(path.as_bytes()), "{path}");
        }
        let everything = Wanted {
            places: vec![b"/".to_vec()],
            ..Wanted::default()
        };
        assert!(everything.is_walked(b"/") && everything.is_walked(b"/srv"));
    }
}

//! The files that a backup will read, for remote sources that prefetch.

use super::FileKind;
use super::exclude::Excludes;

/// The files to be walked: every directory in `places` that is not excluded.
#[derive(Clone, Default)]
pub struct Wanted {
    /// Absolute paths without a trailing slash, except for the root `/`.
    pub places: Vec<Vec<u8>>,
    /// The patterns excluded from each place.
    pub excludes: Excludes,
    /// Absolute paths of directories that are never entered.
    pub skip: Vec<Vec<u8>>,
}

impl Wanted {
    /// Whether the directory at `path` will be walked. Assumes that its parent directory, if it
    /// lies within a place, is walked.
    pub fn is_walked(&self, path: &[u8]) -> bool {
        if self.skip.iter().any(|skipped| skipped == path) {
            return false;
        }
        let within = self.places.iter().filter_map(|place| within(place, path));
        // If one place contains another, the outer one decides.
        match within.max_by_key(|below| below.len()) {
            Some(b"") => true,
            Some(below) => !self.excludes.excludes(below, FileKind::Directory),
            None => false,
        }
    }
}

/// Returns `path` relative to `place`, or `None` if it lies outside. Empty for the place itself.
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

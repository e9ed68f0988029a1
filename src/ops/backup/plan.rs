//! The directories from the root to the places that are backed up.

use std::collections::BTreeMap;
use std::sync::Arc;

/// A directory on the path to a place: everything in it is included, or only some names.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Plan {
    /// The included names in this directory; empty if everything is included.
    pub(super) children: BTreeMap<Vec<u8>, Arc<Plan>>,
    /// Whether this is a place, so that everything in it is included.
    pub(super) whole: bool,
}

impl Plan {
    /// The plan for `places`, which are absolute paths. A place inside another one adds nothing.
    pub(super) fn new(places: &[Vec<u8>]) -> Plan {
        let mut root = Plan::default();
        for place in places {
            root.insert(place);
        }
        root
    }

    /// Number of places at and below this directory.
    pub(super) fn places(&self) -> usize {
        match self.whole {
            true => 1,
            false => self.children.values().map(|child| child.places()).sum(),
        }
    }

    /// Adds one place.
    fn insert(&mut self, place: &[u8]) {
        let mut node = self;
        for name in place
            .split(|byte| *byte == b'/')
            .filter(|name| !name.is_empty())
        {
            if node.whole {
                return;
            }
            let child = node.children.entry(name.to_vec()).or_default();
            node = Arc::get_mut(child).expect("the plan is not shared yet");
        }
        node.whole = true;
        node.children.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_inside_of_another_adds_nothing() {
        let paths = |paths: &[&str]| {
            paths
                .iter()
                .map(|path| path.as_bytes().to_vec())
                .collect::<Vec<_>>()
        };
        let plan = Plan::new(&paths(&["/home/user/a", "/home", "/etc"]));
        assert_eq!(plan, Plan::new(&paths(&["/etc", "/home/"])));
        assert_eq!((plan.children.len(), plan.places()), (2, 2));
        assert!(Plan::new(&paths(&["/etc", "/"])).children.is_empty());
    }
}

//! A store with an intact snapshot, to which forged objects are added.

use std::fs;
use std::sync::Arc;
use std::time::Duration;

use plakar::error::Result;
use plakar::kloset::snapshot::Snapshot;
use plakar::ops::collect;
use plakar::store::Store;
use plakar::util::Id;
use plakar::util::interrupt::Interrupt;
use tempfile::TempDir;

use crate::forge::*;
use crate::harness::*;

/// A store with one intact snapshot, and an attacker who adds objects.
pub(crate) struct Scene {
    pub(crate) store: Arc<dyn Store>,
    pub(crate) forge: Forge,
    pub(crate) honest: Id,
    expected: Listing,
    pub(crate) tree: TempDir,
}

pub(crate) fn scene() -> Scene {
    let store = shared(&new_store());
    let tree = small_tree();
    let honest = backup(&store, tree.path()).unwrap().snapshot;
    let forge = Forge::new(&store);
    Scene {
        forge,
        honest,
        expected: listing(tree.path()),
        tree,
        store,
    }
}

impl Scene {
    pub(crate) fn assert_honest_fine(&self, when: &str) {
        assert_restores(&self.store, self.honest, &self.expected, when);
    }

    /// Deletes immediately everything that is considered dead.
    pub(crate) fn maintain(&self) -> Result<collect::Summary> {
        let options = collect::Options {
            grace: Duration::ZERO,
            is_dry: false,
            is_exclusive: false,
            max_repack_bytes: None,
            interrupt: Interrupt::default(),
        };
        collect::run(&open(&self.store).0, &options)
    }

    /// Asserts that maintenance without a grace period preserves the intact snapshot, whether it
    /// succeeds or fails.
    pub(crate) fn survives_maintenance(&self, when: &str) {
        for _ in 0..2 {
            let outcome = self.maintain();
            let when = format!("{when}, after maintenance: {outcome:?}");
            self.assert_honest_fine(&when);
        }
    }

    /// Restores the forged snapshot and asserts that an error contains `word`, that nothing appears
    /// next to the target, that the intact snapshot can be restored, and that a check reports the
    /// damage.
    pub(crate) fn assert_refused(&self, forged: &Snapshot, word: &str) -> Listing {
        let (found, told) = self.restored(forged);
        assert!(told.contains(word), "{told} does not say {word:?}");
        let (summary, watcher) = check(&self.store);
        assert!(summary.is_damaged(), "{word}: a check finds nothing");
        let honest = self.honest.short();
        assert!(
            !watcher
                .heard()
                .iter()
                .any(|heard| heard.starts_with(&honest)),
            "{:?}",
            watcher.heard()
        );
        self.survives_maintenance(word);
        found
    }

    /// The restored files of the forged snapshot, and all messages.
    pub(crate) fn restored(&self, forged: &Snapshot) -> (Listing, String) {
        let around = scratch();
        fs::write(around.path().join("a"), "precious").unwrap();
        let target = around.path().join("target");
        fs::create_dir(&target).unwrap();
        let (kloset, watcher) = open(&self.store);
        let outcome = restore_into(&kloset, forged, &target);
        let told = format!(
            "{:?} {:?}",
            outcome.as_ref().err().map(ToString::to_string),
            watcher.heard()
        );
        assert!(
            outcome.as_ref().map_or(1, |summary| summary.errors) > 0 || watcher.heard().is_empty()
        );
        let mut beside: Vec<_> = fs::read_dir(around.path())
            .unwrap()
            .map(|item| item.unwrap().file_name())
            .collect();
        beside.sort();
        assert_eq!(beside, ["a", "target"], "{told}");
        assert_eq!(fs::read(around.path().join("a")).unwrap(), b"precious");
        self.assert_honest_fine(&told);
        (listing(&target), told)
    }
}

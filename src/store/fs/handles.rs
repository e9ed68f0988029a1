//! The recently read packs, which are kept open.
//!
//! A restore reads many blocks of one pack before those of the next. Opening a file costs as much
//! as reading a small block, and several round trips on a network file system. A handle does not
//! depend on the path, and may outlive the name of the file. This is harmless: an object never
//! changes, so the bytes read are correct.

use std::collections::VecDeque;
use std::fs::File;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::util::Id;

/// The number of packs kept open: a few per reader thread, and far below 256, the lowest common
/// limit on descriptors per process.
const HANDLES: usize = 16;

/// Open packs, the most recently read one first.
#[derive(Default)]
pub(super) struct Handles(Mutex<VecDeque<(Id, Arc<File>)>>);

impl Handles {
    /// Returns the open file of pack `id`, if it is kept.
    pub(super) fn get(&self, id: Id) -> Option<Arc<File>> {
        let mut handles = self.lock();
        let position = handles.iter().position(|(kept, _)| *kept == id)?;
        let handle = handles.remove(position)?;
        let file = handle.1.clone();
        handles.push_front(handle);
        Some(file)
    }

    /// Keeps `file` open for the next read of pack `id`, and closes the least recently read pack
    /// beyond the limit.
    pub(super) fn keep(&self, id: Id, file: Arc<File>) {
        let mut handles = self.lock();
        handles.retain(|(kept, _)| *kept != id);
        handles.push_front((id, file));
        handles.truncate(HANDLES);
    }

    /// Closes pack `id`, so that the space of a deleted pack is freed.
    pub(super) fn forget(&self, id: Id) {
        self.lock().retain(|(kept, _)| *kept != id);
    }

    /// A poisoned lock is usable: the list is consistent between any two statements.
    fn lock(&self) -> MutexGuard<'_, VecDeque<(Id, Arc<File>)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_one_not_read_for_longest_is_closed() {
        let handles = Handles::default();
        let ids: Vec<Id> = (0..=HANDLES as u8).map(|n| Id([n; 32])).collect();
        let file = Arc::new(File::open("/dev/null").unwrap());
        for id in &ids[..HANDLES] {
            handles.keep(*id, file.clone());
        }
        assert!(handles.get(ids[0]).is_some());
        handles.keep(ids[HANDLES], file.clone());
        assert!(handles.get(ids[0]).is_some());
        assert!(handles.get(ids[1]).is_none());
        handles.forget(ids[0]);
        assert!(handles.get(ids[0]).is_none());
    }
}

//! The packs that were read last, kept open.
//!
//! A restore reads many blocks of one pack, and then many of the next. Opening
//! a file costs as much as reading a small block, and on a network file system
//! several round trips. The handles know nothing of paths; they may outlive the
//! file, which is harmless: an object never changes, so what they read is true.

use std::collections::VecDeque;
use std::fs::File;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::util::Id;

/// How many packs stay open: a few for each reading thread, and far below the
/// 256 descriptors a process may have on the meanest systems.
const HANDLES: usize = 16;

/// Open packs, the one read last in front.
#[derive(Default)]
pub(super) struct Handles(Mutex<VecDeque<(Id, Arc<File>)>>);

impl Handles {
    /// The open file of pack `id`, if it is among those kept.
    pub(super) fn get(&self, id: Id) -> Option<Arc<File>> {
        let mut handles = self.lock();
        let position = handles.iter().position(|(kept, _)| *kept == id)?;
        let handle = handles.remove(position)?;
        let file = handle.1.clone();
        handles.push_front(handle);
        Some(file)
    }

    /// Keeps `file` open for the next read of pack `id`, and closes the one
    /// that was not read for longest.
    pub(super) fn keep(&self, id: Id, file: Arc<File>) {
        let mut handles = self.lock();
        handles.retain(|(kept, _)| *kept != id);
        handles.push_front((id, file));
        handles.truncate(HANDLES);
    }

    /// Lets go of pack `id`, so that a deleted pack gives its space back.
    pub(super) fn forget(&self, id: Id) {
        self.lock().retain(|(kept, _)| *kept != id);
    }

    /// A list of handles is whole between any two statements, so a thread that
    /// panicked while holding it left nothing to fear.
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

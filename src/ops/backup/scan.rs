//! Counts files and bytes before a first backup, so that its progress has a total.
//!
//! The scan walks like the backup, but only lists. It runs in a separate thread. It begins when the
//! backup has lasted [`DELAY`], so that short backups do not pay for it, and ends with the backup.
//! The totals are published when all of them are known. Items that cannot be read are not counted:
//! the backup reports them.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, TryRecvError};
use std::time::Duration;

use super::Options;
use super::plan::Plan;
use super::scope::Scope;
use crate::connector::{FileKind, Item, Source, SourceDir};
use crate::kloset::progress::{Counters, add};
use crate::kloset::tree::DEPTH_LIMIT;

/// Shorter backups are not scanned: the remaining time would be known too late.
const DELAY: Duration = Duration::from_secs(1);

/// An open directory of the scan.
struct Frame {
    dir: Arc<dyn SourceDir>,
    items: std::vec::IntoIter<Item>,
    scope: Scope,
    path_bytes: usize,
}

/// Adds the expected totals to `counters`. Ends early when the other end of `stopped` is dropped.
pub(super) fn run(
    source: &dyn Source,
    options: &Options,
    counters: &Counters,
    stopped: &Receiver<()>,
) {
    if stopped.recv_timeout(DELAY) != Err(RecvTimeoutError::Timeout) {
        return;
    }
    if let Some((files, bytes)) = count(source, options, stopped) {
        add(&counters.expected_files, files);
        add(&counters.expected_bytes, bytes);
    }
}

/// The number of files, and their total size. `None` if the scan was stopped.
fn count(source: &dyn Source, options: &Options, stopped: &Receiver<()>) -> Option<(u64, u64)> {
    let (dir, metadata) = source.root().ok()?;
    let scope = Scope::of_root(Plan::new(&options.places), &metadata);
    let mut path = Vec::new();
    let mut frames: Vec<Frame> = enter(options, dir, scope, &path).into_iter().collect();
    let (mut files, mut bytes) = (0, 0);
    while let Some(frame) = frames.last_mut() {
        path.truncate(frame.path_bytes);
        let Some(item) = frame.items.next() else {
            frames.pop();
            continue;
        };
        let Ok(metadata) = item.metadata else {
            continue;
        };
        path.push(b'/');
        path.extend_from_slice(&item.name);
        let scope = frame.scope.of_item(&item.name, &path, &metadata);
        if scope.leaves_out(options, &path, &metadata) {
            continue;
        }
        if metadata.kind != FileKind::Directory {
            files += 1;
            if metadata.kind == FileKind::File {
                bytes += metadata.size_bytes;
            }
            continue;
        }
        if stopped.try_recv() != Err(TryRecvError::Empty) {
            return None;
        }
        if frames.len() < DEPTH_LIMIT && !scope.is_elsewhere(options, &metadata) {
            let opened = frames
                .last()
                .and_then(|frame| frame.dir.open_dir(&item.name).ok());
            frames.extend(opened.and_then(|dir| enter(options, dir, scope, &path)));
        }
    }
    Some((files, bytes))
}

/// The frame of an open directory; `None` if it cannot be listed.
fn enter(options: &Options, dir: Arc<dyn SourceDir>, scope: Scope, path: &[u8]) -> Option<Frame> {
    let items = scope.items(options, &*dir).ok()?;
    Some(Frame {
        dir,
        items: items.into_iter(),
        scope,
        path_bytes: path.len(),
    })
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::ffi::OsStrExt;
    use std::sync::mpsc::channel;

    use super::*;
    use crate::connector::LocalSource;
    use crate::connector::exclude::Excludes;
    use crate::ops::backup::Switch;

    #[test]
    fn a_scan_counts_what_a_backup_takes() {
        let dir = tempfile::tempdir().unwrap();
        let at = |path: &str| dir.path().join(path);
        let bytes = |path: &str| at(path).as_os_str().as_bytes().to_vec();
        for sub in ["one/deep", "one/cache", "two", "beside"] {
            fs::create_dir_all(at(sub)).unwrap();
            fs::write(at(sub).join("file"), [0; 1000]).unwrap();
        }
        fs::write(at("one/left-out.iso"), [0; 5000]).unwrap();
        let tag = "Signature: 8a477f597d28d172789f06886806bc55";
        fs::write(at("one/cache/CACHEDIR.TAG"), tag).unwrap();
        std::os::unix::fs::symlink("deep", at("one/link")).unwrap();
        let options = Options {
            places: vec![bytes("one"), bytes("two/file")],
            excludes: Excludes::new(&["*.iso".to_owned()]).unwrap(),
            exclude_caches: Switch::On,
            ..Options::default()
        };
        let source = LocalSource::new().unwrap();
        let (running, stopped) = channel();
        // The two files, the tag and the link.
        let expected = (4, 2000 + tag.len() as u64);
        assert_eq!(count(&source, &options, &stopped), Some(expected));
        drop(running);
        assert_eq!(count(&source, &options, &stopped), None);
    }
}

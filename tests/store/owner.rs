//! The owner of files and directories that root creates in the store of another user.

use std::os::unix::fs::{MetadataExt, lchown};
use std::thread;

use super::common::prerequisite::has_root;
use super::common::user::USER;
use super::*;

/// Objects that each thread stores: enough for most of the 256 directories of packs.
const OBJECTS: u32 = 128;
const THREADS: u32 = 8;

/// Asserts that everything at and below `path` belongs to the user, except `kept`.
fn belongs_to_the_user(path: &Path, kept: &Path) {
    let there = fs::symlink_metadata(path).unwrap();
    let is_given = (there.uid(), there.gid()) == (USER, USER);
    assert_eq!(is_given, path != kept, "{}", path.display());
    if there.is_dir() {
        for path in files_in(path) {
            belongs_to_the_user(&path, kept);
        }
    }
}

/// All threads create the same directories at once.
#[test]
fn what_root_stores_belongs_to_the_owner_of_the_root_directory() {
    if !has_root() {
        return;
    }
    let directory = TempDir::new().unwrap();
    let root = directory.path().join("st");
    fs::create_dir(&root).unwrap();
    lchown(&root, Some(USER), Some(USER)).unwrap();
    // A file that existed before keeps its owner.
    fs::create_dir(root.join("tmp")).unwrap();
    lchown(root.join("tmp"), Some(USER), Some(USER)).unwrap();
    let kept = root.join("tmp/letter.txt");
    fs::write(&kept, b"of root").unwrap();

    let settings = Settings {
        notice: Arc::new(|error| panic!("{error}")),
        ..Settings::default()
    };
    let location = Location::parse(root.as_os_str().as_encoded_bytes()).unwrap();
    let store = open(&location, &settings).unwrap();
    store.prepare().unwrap();
    store.put_config(b"version = 1").unwrap();
    thread::scope(|scope| {
        for number in 0..THREADS {
            let store = &*store;
            scope.spawn(move || {
                for object in 0..OBJECTS {
                    let bytes = (object * THREADS + number).to_le_bytes();
                    put(store, Area::Packs, &bytes).unwrap();
                }
            });
        }
    });
    for area in Area::ALL {
        put(&*store, area, b"object").unwrap();
    }
    let mut upload = store.upload(Area::Packs).unwrap();
    upload.write(b"not yet published").unwrap();
    assert_eq!(files_in(&root.join("tmp")).len(), 2);
    belongs_to_the_user(&root, &kept);
}

//! Tests symbolic links that others place in the directory of a store, at each level: none is
//! followed, and nothing outside the store is read, written or removed. Only the root may be
//! reached through a link.

use super::*;

/// Moves `path` out of the store, and replaces it by a link.
fn replace_by_link(sandbox: &Sandbox, path: &str) -> PathBuf {
    let outside = sandbox.directory.path().join("outside");
    fs::rename(sandbox.root().join(path), &outside).unwrap();
    symlink(&outside, sandbox.root().join(path)).unwrap();
    outside
}

fn is_refused<T>(outcome: Result<T>) {
    fails(outcome, Kind::Corrupt, "not a directory (symbolic links");
}

/// All files below `path` with their contents.
fn contents(path: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let mut found = Vec::new();
    for path in files_in(path) {
        match path.is_dir() {
            true => found.extend(contents(&path)),
            false => found.push((path.clone(), fs::read(&path).unwrap())),
        }
    }
    found.sort();
    found
}

/// Subtracts two days from the times of `path`.
fn make_old(path: &Path) {
    let two_days = Duration::from_secs(48 * 3600);
    let file = File::options().write(true).open(path).unwrap();
    file.set_modified(SystemTime::now() - two_days).unwrap();
}

#[test]
fn a_tmp_that_is_a_link_is_neither_swept_nor_written_to() {
    let sandbox = Sandbox::new();
    let outside = replace_by_link(&sandbox, "tmp");
    for name in ["0123456789abcdef0123456789abcdef", "letter.txt"] {
        fs::write(outside.join(name), b"of the user").unwrap();
        make_old(&outside.join(name));
    }
    let before = contents(&outside);
    is_refused(put(&*store_at(&sandbox.root()), Area::Packs, b"x"));
    assert_eq!(contents(&outside), before);
}

#[test]
fn the_sweep_removes_only_old_files_with_names_that_plakar_generates() {
    let sandbox = Sandbox::new();
    let tmp = sandbox.root().join("tmp");
    let outside = sandbox.directory.path().join("letter.txt");
    let kept = [
        "letter.txt",
        "0123456789abcdef",
        "0123456789ABCDEF0123456789ABCDEF",
    ];
    let leftover = tmp.join("0123456789abcdef0123456789abcdef");
    let paths = kept.map(|name| tmp.join(name));
    for path in paths.iter().chain([&leftover, &outside]) {
        fs::write(path, b"x").unwrap();
        make_old(path);
    }
    let link = tmp.join("fedcba9876543210fedcba9876543210");
    symlink(&outside, &link).unwrap();
    put(&*store_at(&sandbox.root()), Area::Packs, b"x").unwrap();
    assert!(!leftover.exists());
    assert!(paths.iter().all(|path| path.exists()));
    assert!(link.is_symlink() && outside.exists());
}

#[test]
fn directories_of_packs_that_are_links_are_refused() {
    for level in 0..2 {
        let sandbox = Sandbox::new();
        let store = &*sandbox.store;
        let id = put(store, Area::Packs, b"pack").unwrap();
        let fan = format!("packs/{}", &id.to_string()[..2]);
        let outside = replace_by_link(&sandbox, ["packs", &fan][level]);
        let before = contents(&outside);
        is_refused(store.list(Area::Packs, &mut |_| Ok(())));
        is_refused(store.get(Area::Packs, id));
        is_refused(store.read_at(Area::Packs, id, 0, &mut [0]));
        is_refused(store.stat(Area::Packs, id));
        is_refused(store.delete(Area::Packs, id));
        is_refused(put(store, Area::Packs, b"pack"));
        assert_eq!(contents(&outside), before);
        assert!(sandbox.temporary_files().is_empty());
    }
}

#[test]
fn other_areas_that_are_links_are_refused() {
    for area in Area::ALL {
        let sandbox = Sandbox::new();
        let store = &*sandbox.store;
        let id = put(store, area, b"object").unwrap();
        let outside = replace_by_link(&sandbox, area.name());
        let before = contents(&outside);
        is_refused(store.list(area, &mut |_| Ok(())));
        is_refused(store.get(area, id));
        is_refused(store.delete(area, id));
        is_refused(put(store, area, b"other"));
        assert_eq!(contents(&outside), before);
    }
}

#[test]
fn deleting_an_object_that_is_a_link_removes_the_link_alone() {
    let sandbox = Sandbox::new();
    let id = put(&*sandbox.store, Area::Index, b"object").unwrap();
    let path = sandbox.root().join("index").join(id.to_string());
    let outside = sandbox.directory.path().join("outside");
    fs::rename(&path, &outside).unwrap();
    symlink(&outside, &path).unwrap();
    sandbox.store.delete(Area::Index, id).unwrap();
    assert!(!path.is_symlink());
    assert_eq!(fs::read(&outside).unwrap(), b"object");
}

#[test]
fn a_config_that_is_a_link_is_not_read() {
    let sandbox = Sandbox::new();
    replace_by_link(&sandbox, "CONFIG");
    let config = sandbox.store.get_config();
    fails(config, Kind::Corrupt, "not a regular file");
    let config = sandbox.store.put_config(b"version = 1");
    fails(config, Kind::Exists, "there is one already");
}

#[test]
fn a_store_can_be_reached_through_a_link() {
    let sandbox = Sandbox::new();
    let link = sandbox.directory.path().join("link");
    symlink(sandbox.root(), &link).unwrap();
    let store = store_at(&link);
    let id = put(&*store, Area::Packs, b"pack").unwrap();
    assert_eq!(ids(&*sandbox.store, Area::Packs), [id]);
    assert_eq!(store.get_config().unwrap(), b"version = 1");
    store.delete(Area::Packs, id).unwrap();
    assert_eq!(ids(&*store, Area::Packs), []);
}

#[test]
fn no_store_is_created_where_a_link_is_in_the_way() {
    let directory = TempDir::new().unwrap();
    let outside = TempDir::new().unwrap();
    symlink(outside.path(), directory.path().join("packs")).unwrap();
    let prepared = store_at(directory.path()).prepare();
    fails(prepared, Kind::Exists, "packs is there already");
    assert!(files_in(outside.path()).is_empty());
}

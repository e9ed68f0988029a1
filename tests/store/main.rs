//! Tests stores with the common suite, and the special cases of directories: foreign files and
//! links here, and in `adversity.rs` a full disk, missing permissions and kills.

#![allow(clippy::unwrap_used, clippy::print_stderr, clippy::print_stdout)]

mod adversity;
#[path = "../common/mod.rs"]
mod common;
mod links;
mod owner;

use std::cell::RefCell;
use std::fs::{self, File};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use plakar::error::{Kind, Result};
use plakar::net::location::Location;
use plakar::store::fault::{Call, FaultStore};
use plakar::store::memory::MemoryStore;
use plakar::store::{Area, Settings, Store, conformance, open};
use plakar::util::Id;
use tempfile::TempDir;

/// A store in a temporary directory.
struct Sandbox {
    directory: TempDir,
    store: Arc<dyn Store>,
}

impl Sandbox {
    fn new() -> Sandbox {
        let directory = TempDir::new().unwrap();
        let store = store_at(&directory.path().join("st"));
        store.prepare().unwrap();
        store.put_config(b"version = 1").unwrap();
        Sandbox { directory, store }
    }

    fn root(&self) -> PathBuf {
        self.directory.path().join("st")
    }

    /// Files that are being written, or were left over.
    fn temporary_files(&self) -> Vec<PathBuf> {
        files_in(&self.root().join("tmp"))
    }
}

fn store_at(root: &Path) -> Arc<dyn Store> {
    open(
        &Location::Path(root.to_str().unwrap().into()),
        &Settings::default(),
    )
    .unwrap()
}

fn files_in(directory: &Path) -> Vec<PathBuf> {
    fs::read_dir(directory)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect()
}

fn put(store: &dyn Store, area: Area, bytes: &[u8]) -> Result<Id> {
    let id = Id::of(bytes);
    store.put(area, id, bytes).map(|()| id)
}

fn ids(store: &dyn Store, area: Area) -> Vec<Id> {
    let mut ids = Vec::new();
    let mut each = |object: plakar::store::Object| {
        ids.push(object.id);
        Ok(())
    };
    store.list(area, &mut each).unwrap();
    ids
}

/// Asserts that the outcome is an error of `kind` whose text contains `words`.
fn fails<T>(outcome: Result<T>, kind: Kind, words: &str) {
    let error = outcome
        .err()
        .unwrap_or_else(|| panic!("succeeded instead of saying {words:?}"));
    assert_eq!(error.kind(), kind, "{error}");
    assert!(
        error.to_string().contains(words),
        "{error}, instead of {words:?}"
    );
}

fn ended_well(command: &mut Command) {
    let status = command.status().unwrap();
    assert!(status.success(), "{command:?}: {status}");
}

#[test]
fn a_directory_keeps_the_promises() {
    let directory = TempDir::new().unwrap();
    let places = RefCell::new(0);
    conformance::run(&|| {
        *places.borrow_mut() += 1;
        store_at(
            &directory
                .path()
                .join(format!("not/yet/{}", places.borrow())),
        )
    });
    for place in files_in(&directory.path().join("not/yet")) {
        let left = place.join("tmp");
        assert!(
            !left.exists() || files_in(&left).is_empty(),
            "{} is not empty",
            left.display()
        );
    }
}

#[test]
fn memory_keeps_the_promises() {
    conformance::run(&|| Arc::new(MemoryStore::new()));
}

#[test]
fn a_store_in_front_of_another_keeps_the_promises() {
    conformance::run(&|| {
        let inner: Arc<dyn Store> = Arc::new(MemoryStore::new());
        Arc::new(FaultStore::counting(&inner))
    });
}

#[test]
fn objects_are_where_the_format_says_and_private() {
    let sandbox = Sandbox::new();
    let pack = put(&*sandbox.store, Area::Packs, b"pack")
        .unwrap()
        .to_string();
    let key = put(&*sandbox.store, Area::Keys, b"key")
        .unwrap()
        .to_string();
    let root = sandbox.root();
    let path = root.join("packs").join(&pack[..2]).join(&pack);
    assert_eq!(fs::read(&path).unwrap(), b"pack");
    assert_eq!(fs::read(root.join("keys").join(&key)).unwrap(), b"key");
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&path), 0o600);
    for directory in [&root, &root.join("keys"), path.parent().unwrap()] {
        assert_eq!(mode(directory), 0o700, "{}", directory.display());
    }
}

#[test]
fn foreign_files_are_passed_over() {
    let sandbox = Sandbox::new();
    let mut expected = Vec::new();
    for area in Area::ALL {
        let id = put(&*sandbox.store, area, area.name().as_bytes()).unwrap();
        expected.push((area, id));
        let directory = sandbox.root().join(area.name());
        let name = Id::of(b"foreign").to_string();
        fs::create_dir(directory.join("@eaDir")).unwrap();
        fs::create_dir(directory.join(&name)).unwrap();
        fs::write(directory.join(".DS_Store"), b"finder").unwrap();
        fs::write(directory.join(format!("{}~", &name)), b"an editor").unwrap();
        fs::write(
            directory.join(name.to_uppercase()),
            b"a file system that forgets case",
        )
        .unwrap();
        fs::write(directory.join("00"), b"no directory").unwrap();
    }
    let lost = Id::of(b"a pack in the directories of other prefixes");
    for prefix in ["zz", "0", "fe", "ff"] {
        let directory = sandbox.root().join("packs").join(prefix);
        fs::create_dir_all(&directory).unwrap();
        if !lost.to_string().starts_with(prefix) {
            fs::write(directory.join(lost.to_string()), b"lost").unwrap();
        }
    }
    for (area, id) in expected {
        assert_eq!(ids(&*sandbox.store, area), [id], "{area:?}");
    }
}

#[test]
fn a_disk_just_formatted_can_become_a_store_and_a_home_cannot() {
    let directory = TempDir::new().unwrap();
    fs::create_dir(directory.path().join("lost+found")).unwrap();
    store_at(directory.path()).prepare().unwrap();
    fs::write(directory.path().join("thesis.tex"), b"text").unwrap();
    fails(
        store_at(directory.path()).prepare(),
        Kind::Exists,
        "thesis.tex is there already",
    );
    fails(
        store_at(&directory.path().join("thesis.tex")).prepare(),
        Kind::Exists,
        "create ",
    );
}

#[test]
fn a_place_without_a_store_says_so_and_stays_as_it_is() {
    let directory = TempDir::new().unwrap();
    for place in [
        directory.path().to_owned(),
        directory.path().join("missing"),
    ] {
        let store = store_at(&place);
        let words = "there is no store here";
        fails(store.get_config(), Kind::NotFound, words);
        fails(put(&*store, Area::Packs, b"x"), Kind::NotFound, words);
        fails(
            store.list(Area::Packs, &mut |_| Ok(())),
            Kind::NotFound,
            words,
        );
        fails(
            store.get(Area::Packs, Id::of(b"x")),
            Kind::NotFound,
            "read pack ",
        );
    }
    assert!(files_in(directory.path()).is_empty());
}

#[test]
fn a_copy_without_empty_directories_works() {
    let sandbox = Sandbox::new();
    for entry in files_in(&sandbox.root())
        .iter()
        .filter(|path| path.is_dir())
    {
        fs::remove_dir(entry).unwrap();
    }
    for area in Area::ALL {
        assert_eq!(ids(&*sandbox.store, area), []);
        let id = put(&*sandbox.store, area, b"x").unwrap();
        assert_eq!(ids(&*sandbox.store, area), [id]);
    }
}

#[test]
fn only_regular_files_are_objects() {
    let sandbox = Sandbox::new();
    let outside = sandbox.directory.path().join("outside");
    fs::write(&outside, b"x").unwrap();
    let id = Id::of(b"x");
    let path = sandbox.root().join("index").join(id.to_string());
    let plant: [&dyn Fn(); 3] = [
        &|| symlink(&outside, &path).unwrap(),
        &|| fs::create_dir(&path).unwrap(),
        &|| ended_well(Command::new("mkfifo").arg(&path)),
    ];
    for plant in plant {
        plant();
        let store = &sandbox.store;
        fails(
            store.get(Area::Index, id),
            Kind::Corrupt,
            "not a regular file",
        );
        fails(
            store.read_at(Area::Index, id, 0, &mut [0]),
            Kind::Corrupt,
            "not a regular file",
        );
        fails(
            store.stat(Area::Index, id),
            Kind::Corrupt,
            "not a regular file",
        );
        fails(
            put(&**store, Area::Index, b"x"),
            Kind::Corrupt,
            "not a regular file",
        );
        assert_eq!(ids(&**store, Area::Index), []);
        fs::remove_file(&path)
            .or_else(|_| fs::remove_dir(&path))
            .unwrap();
    }
    assert_eq!(fs::read(&outside).unwrap(), b"x");
}

#[test]
fn a_truncated_object_is_named_and_never_replaced() {
    let sandbox = Sandbox::new();
    let id = put(&*sandbox.store, Area::Index, b"all of it").unwrap();
    let path = sandbox.root().join("index").join(id.to_string());
    fs::write(&path, b"all").unwrap();
    fails(
        put(&*sandbox.store, Area::Index, b"all of it"),
        Kind::Corrupt,
        &id.short(),
    );
    assert_eq!(fs::read(&path).unwrap(), b"all");
    sandbox.store.delete(Area::Index, id).unwrap();
    put(&*sandbox.store, Area::Index, b"all of it").unwrap();
    assert_eq!(sandbox.store.get(Area::Index, id).unwrap(), b"all of it");
}

#[test]
fn an_object_over_the_limit_is_not_read() {
    let sandbox = Sandbox::new();
    let id = Id::of(b"huge");
    let path = sandbox.root().join("keys").join(id.to_string());
    // A hole: the file has this size, but uses no disk space.
    File::create(&path).unwrap().set_len(1 << 40).unwrap();
    fails(sandbox.store.get(Area::Keys, id), Kind::Corrupt, "1.0 TiB");
    fs::rename(&path, sandbox.root().join("CONFIG")).unwrap();
    fails(sandbox.store.get_config(), Kind::Corrupt, "1.0 TiB");
}

#[test]
fn what_was_stored_already_is_not_written_again() {
    let sandbox = Sandbox::new();
    let id = put(&*sandbox.store, Area::Packs, b"pack").unwrap();
    // If nothing can be written, a put succeeds only if it has nothing to write.
    fs::remove_dir(sandbox.root().join("tmp")).unwrap();
    fs::write(sandbox.root().join("tmp"), b"in the way").unwrap();
    sandbox.store.put(Area::Packs, id, b"pack").unwrap();
    assert!(put(&*sandbox.store, Area::Packs, b"other").is_err());
}

#[test]
fn a_dropped_upload_leaves_no_file() {
    let sandbox = Sandbox::new();
    let mut upload = sandbox.store.upload(Area::Packs).unwrap();
    upload.write(&[1; 100_000]).unwrap();
    assert_eq!(sandbox.temporary_files().len(), 1);
    drop(upload);
    assert!(sandbox.temporary_files().is_empty());
}

#[test]
fn leftovers_go_after_a_day_and_not_before() {
    let sandbox = Sandbox::new();
    let leftover = |name: &str, age_hours: u64| {
        let path = sandbox.root().join("tmp").join(name);
        let file = File::create(&path).unwrap();
        file.set_modified(SystemTime::now() - Duration::from_secs(age_hours * 3600))
            .unwrap();
        path
    };
    let (old, recent) = (
        leftover(&"0a".repeat(16), 25),
        leftover(&"0b".repeat(16), 23),
    );
    put(&*store_at(&sandbox.root()), Area::Packs, b"x").unwrap();
    assert!(!old.exists());
    assert!(recent.exists());
}

#[test]
fn a_deleted_pack_is_gone_though_it_was_open() {
    let sandbox = Sandbox::new();
    let id = put(&*sandbox.store, Area::Packs, b"pack").unwrap();
    sandbox
        .store
        .read_at(Area::Packs, id, 0, &mut [0; 4])
        .unwrap();
    sandbox.store.delete(Area::Packs, id).unwrap();
    let gone = sandbox.store.read_at(Area::Packs, id, 0, &mut [0; 4]);
    fails(gone, Kind::NotFound, "read pack ");
}

#[test]
fn calls_are_counted_by_kind() {
    let sandbox = Sandbox::new();
    let store = FaultStore::counting(&sandbox.store);
    let id = put(&store, Area::Packs, b"pack").unwrap();
    store.get(Area::Packs, id).unwrap();
    store.get(Area::Packs, id).unwrap();
    assert_eq!(
        [Call::Put, Call::Get, Call::List].map(|call| store.calls(call)),
        [1, 2, 0]
    );
}

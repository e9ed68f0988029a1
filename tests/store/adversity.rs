//! Tests a full disk, missing permissions, and kills during an operation.
//!
//! Tests that need another process run this program again: [`CHILD`] specifies the work of the
//! child process, which reports its progress on standard output.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};

use plakar::error::Kind;
use plakar::net::location::Location;
use plakar::store::{Area, Settings, Store, open};
use plakar::util::Id;
use tempfile::TempDir;

use super::common::prerequisite::has_mounted;
use super::common::user;
use super::{Sandbox, fails, files_in, ids, put, store_at};

/// The environment variables with the work of a child process, and its store.
const CHILD: &str = "PLAKAR_TEST_CHILD";
const CHILD_STORE: &str = "PLAKAR_TEST_STORE";

/// A small file system in memory, unmounted on drop.
struct SmallDisk(TempDir);

impl SmallDisk {
    /// `None` if no file system can be mounted: the test is skipped.
    fn new(size: &str) -> Option<SmallDisk> {
        let directory = TempDir::new().unwrap();
        has_mounted(directory.path(), &format!("size={size}")).then(|| SmallDisk(directory))
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg(self.0.path()).status();
    }
}

#[test]
fn a_full_disk_says_so_and_keeps_what_it_has() {
    let Some(disk) = SmallDisk::new("1m") else {
        return;
    };
    let root = disk.0.path().join("st");
    let store = store_at(&root);
    store.prepare().unwrap();
    let small = put(&*store, Area::Packs, &[1; 500_000]).unwrap();
    fails(
        put(&*store, Area::Packs, &[2; 700_000]),
        Kind::NoSpace,
        "store pack in ",
    );

    let mut upload = store.upload(Area::Packs).unwrap();
    fails(upload.write(&[3; 700_000]), Kind::NoSpace, "store pack in ");
    fails(
        upload.commit(Id::of(&[3; 700_000])),
        Kind::NoSpace,
        "store pack in ",
    );
    assert!(files_in(&root.join("tmp")).is_empty());
    assert_eq!(ids(&*store, Area::Packs), [small]);
    assert_eq!(store.get(Area::Packs, small).unwrap(), [1; 500_000]);

    store.delete(Area::Packs, small).unwrap();
    put(&*store, Area::Packs, &[2; 700_000]).unwrap();
}

/// Not a separate test: this part runs in the child process.
#[test]
fn child() {
    let Ok(work) = std::env::var(CHILD) else {
        return;
    };
    let place = Location::Path(std::env::var(CHILD_STORE).unwrap().into_bytes());
    let store = open(&place, &Settings::default()).unwrap();
    match work.as_str() {
        "put" => put_for_ever(&*store),
        "stop halfway" => stop_halfway(&*store),
        "be denied" => be_denied(&*store),
        other => panic!("no work called {other}"),
    }
}

/// Reports progress to the parent process.
fn tell(what: &str) {
    println!("\n{what}");
    std::io::stdout().flush().unwrap();
}

fn put_for_ever(store: &dyn Store) {
    for n in 0_u64.. {
        tell("putting");
        put(store, Area::Packs, &numbered(n)).unwrap();
        put(store, Area::Index, &numbered(n)).unwrap();
    }
}

/// At least 100,000 bytes that depend on the number.
fn numbered(n: u64) -> Vec<u8> {
    n.to_le_bytes().repeat(12_500 + n as usize)
}

fn stop_halfway(store: &dyn Store) {
    put(store, Area::Packs, b"whole").unwrap();
    let mut upload = store.upload(Area::Packs).unwrap();
    upload.write(b"half").unwrap();
    tell("halfway");
    // Blocks until the process is killed, because nothing is ever written to this pipe.
    let _ = std::io::stdin().read_line(&mut String::new());
}

fn be_denied(store: &dyn Store) {
    fails(
        put(store, Area::Packs, b"x"),
        Kind::Denied,
        "store pack in ",
    );
    fails(store.put_config(b"x"), Kind::Exists, "write CONFIG: ");
    fails(
        store.get(Area::Keys, Id::of(b"secret")),
        Kind::Denied,
        "read key ",
    );
    fails(
        store.delete(Area::Index, Id::of(b"index")),
        Kind::Denied,
        "delete index ",
    );
    assert_eq!(store.get(Area::Index, Id::of(b"index")).unwrap(), b"index");
    tell("denied");
}

/// Runs [`child`] in another process that does `work` on the store at `root`.
fn start(mut program: Command, work: &str, root: &Path) -> (Child, BufReader<ChildStdout>) {
    program
        .args(["--exact", "adversity::child", "--nocapture"])
        .env(CHILD, work)
        .env(CHILD_STORE, root);
    let mut child = program
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let says = BufReader::new(child.stdout.take().unwrap());
    (child, says)
}

/// Waits until the child process reports `what` for the `times`th time.
fn wait_for(says: &mut BufReader<ChildStdout>, what: &str, times: usize) {
    let lines = says.lines().map_while(|line| line.ok());
    let said = lines.filter(|line| line == what).take(times).count();
    assert_eq!(said, times, "the child ended before it said {what:?}");
}

fn kill(mut child: Child) {
    child.kill().unwrap();
    child.wait().unwrap();
}

fn this_program() -> Command {
    Command::new(std::env::current_exe().unwrap())
}

#[test]
fn killed_halfway_there_is_no_object_and_the_leftover_is_known() {
    let sandbox = Sandbox::new();
    let (child, mut says) = start(this_program(), "stop halfway", &sandbox.root());
    wait_for(&mut says, "halfway", 1);
    kill(child);
    assert_eq!(ids(&*sandbox.store, Area::Packs), [Id::of(b"whole")]);
    let left = sandbox.temporary_files();
    assert_eq!(left.len(), 1);
    assert_eq!(fs::read(&left[0]).unwrap(), b"half");
}

/// Kills the process at many moments. Every object must be complete each time.
#[test]
fn killed_at_any_time_every_object_is_whole() {
    let sandbox = Sandbox::new();
    for puts in 1..=30 {
        let (child, mut says) = start(this_program(), "put", &sandbox.root());
        wait_for(&mut says, "putting", puts);
        kill(child);
        for area in [Area::Packs, Area::Index] {
            let ids = ids(&*sandbox.store, area);
            assert!(ids.len() >= puts - 1, "what was stored is gone");
            for id in ids {
                let bytes = sandbox.store.get(area, id).unwrap();
                assert_eq!(Id::of(&bytes), id, "killed at put {puts}");
            }
        }
    }
}

#[test]
fn where_we_may_not_write_we_are_denied() {
    let sandbox = Sandbox::new();
    put(&*sandbox.store, Area::Keys, b"secret").unwrap();
    put(&*sandbox.store, Area::Index, b"index").unwrap();
    let root = sandbox.root();
    let set_mode =
        |path: PathBuf, mode| fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    let (index, key) = (Id::of(b"index").to_string(), Id::of(b"secret").to_string());
    set_mode(root.join("index").join(index), 0o444);
    set_mode(root.join("keys").join(key), 0);
    let directories = ["", "tmp", "keys", "packs", "index"].map(|name| root.join(name));
    directories
        .iter()
        .for_each(|path| set_mode(path.clone(), 0o555));
    set_mode(sandbox.directory.path().to_owned(), 0o755);

    let (mut child, mut says) = start(as_nobody(sandbox.directory.path()), "be denied", &root);
    wait_for(&mut says, "denied", 1);
    assert!(child.wait().unwrap().success());
    directories
        .into_iter()
        .for_each(|path| set_mode(path, 0o755));
}

/// This program, run as an ordinary user, because root is never denied access.
fn as_nobody(directory: &Path) -> Command {
    if !rustix::process::geteuid().is_root() {
        return this_program();
    }
    user::command(&user::copy(&std::env::current_exe().unwrap(), directory))
}

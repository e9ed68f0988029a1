//! Tests faulty connections, faulty servers, and servers without permission for an operation.

use std::fs;
use std::net::TcpListener;
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use plakar::error::Kind;
use plakar::store::{Area, Store};
use plakar::util::Id;
use rustix::process::Signal;

use crate::common::prerequisite::has_mounted;
use crate::proxy::Proxy;
use crate::server::{Server, Told, files_below};

/// A store with CONFIG at `srv/st`.
fn created(server: &Server) -> Arc<dyn Store> {
    let store = server.store("st");
    store.prepare().unwrap();
    store.put_config(b"version = 1").unwrap();
    store
}

fn put(store: &dyn Store, area: Area, bytes: &[u8]) -> plakar::error::Result<Id> {
    let id = Id::of(bytes);
    store.put(area, id, bytes).map(|()| id)
}

#[test]
fn an_account_that_may_only_read_reads() {
    let mut server = Server::new();
    let store = created(&server);
    let id = put(&*store, Area::Packs, b"pack").unwrap();
    server.kill();
    let reader = Server::with("Subsystem sftp internal-sftp -R\n");
    fs::rename(server.path("srv/st"), reader.path("srv/st")).unwrap();
    let store = reader.store("st");
    assert_eq!(store.get(Area::Packs, id).unwrap(), b"pack");
    assert_eq!(store.get_config().unwrap(), b"version = 1");
    for (outcome, words) in [
        (
            put(&*store, Area::Packs, b"other").map(|_| ()),
            "store pack ",
        ),
        (
            put(&*store, Area::Packs, &[1; 300_000]).map(|_| ()),
            "store pack ",
        ),
        (store.delete(Area::Packs, id), "delete pack "),
        (reader.store("new").prepare(), "create sftp://nas"),
    ] {
        let error = outcome.unwrap_err();
        let said = error.to_string();
        assert_eq!(error.kind(), Kind::Denied, "{said}");
        assert!(
            said.starts_with(words) && said.ends_with("permission denied"),
            "{said}"
        );
    }
    assert_eq!(
        reader.store("st").prepare().unwrap_err().kind(),
        Kind::Exists
    );
}

/// Performs all operations of a store over a connection that is cut after `pieces` pieces. Returns
/// the number of connections used.
fn work_cut_after(server: &Server, pieces: u64, small: Id, large: &[u8]) -> u64 {
    let proxy = Proxy::new(server.port(), pieces);
    let store = server.store_with("st", |settings| {
        settings.connections = Some(2);
        settings.ssh.port = Some(proxy.port());
        settings.ssh.known_hosts = Some(server.path("any_port"));
    });
    let work = || -> plakar::error::Result<()> {
        assert_eq!(store.get(Area::Index, small)?, b"index");
        let id = put(&*store, Area::Packs, large)?;
        let mut part = vec![0; 1000];
        store.read_at(Area::Packs, id, 500_000, &mut part)?;
        assert_eq!(part, large[500_000..501_000]);
        let mut count = 0;
        let mut each = |_| {
            count += 1;
            Ok(())
        };
        store.list(Area::Packs, &mut each)?;
        assert_eq!(count, 1);
        store.delete(Area::Packs, id)
    };
    work().unwrap_or_else(|error| panic!("cut after {pieces} pieces: {error}"));
    proxy.connections()
}

#[test]
fn a_connection_that_is_cut_anywhere_is_made_again() {
    let server = Server::new();
    let store = created(&server);
    let line = format!("[127.0.0.1]:* {}\n", server.public_key("host_ed25519"));
    fs::write(server.path("any_port"), line).unwrap();
    let small = put(&*store, Area::Index, b"index").unwrap();
    let large: Vec<u8> = (0..700_000u32)
        .map(|n| (n.wrapping_mul(n) >> 7) as u8)
        .collect();
    let mut cuts = (0..1000).step_by(3);
    let first_whole = cuts.find(|cut| work_cut_after(&server, *cut, small, &large) == 1);
    assert!(
        first_whole.is_some_and(|pieces| pieces > 50),
        "{first_whole:?}"
    );
    // Leftovers of failed attempts are removed later. Their number is bounded by the number of
    // attempts.
    let left = files_below(&server.path("srv/st/tmp")).len() as u64;
    assert!(left <= first_whole.unwrap(), "{left}");
}

#[test]
fn a_server_that_falls_silent_is_given_up_and_found_again() {
    let server = Server::new();
    let store = created(&server);
    server.configure("ServerAliveInterval 1\nServerAliveCountMax 1\nConnectTimeout 1\n");
    let told = Told::default();
    drop(store);
    let server = Arc::new(server);
    let (waker, notice) = (Arc::downgrade(&server), told.notice());
    let store = server.store_with("st", |settings| {
        settings.notice = Arc::new(move |error| {
            notice(error);
            // After the stall was noticed, the server continues.
            waker.upgrade().unwrap().signal(Signal::CONT);
        });
    });
    put(&*store, Area::Packs, b"before").unwrap();
    server.signal(Signal::STOP);
    put(&*store, Area::Packs, b"meanwhile").unwrap();
    let told = told.all();
    assert!(
        told.len() == 1 && told[0].contains("no answer for 1 seconds"),
        "{told:?}"
    );
}

#[test]
fn a_server_that_never_says_a_word_is_given_up() {
    let mute = TcpListener::bind("127.0.0.1:0").unwrap();
    let server = Server::new();
    server.configure("ConnectTimeout 1\n");
    let store = server.store_with("st", |settings| {
        settings.ssh.port = Some(mute.local_addr().unwrap().port());
    });
    let error = store.get_config().unwrap_err();
    assert_eq!(error.kind(), Kind::Unavailable);
    assert!(
        error
            .to_string()
            .contains("connect to nas: no answer for 1 seconds"),
        "{error}"
    );
    // A server that uses a different protocol.
    let other = TcpListener::bind("127.0.0.1:0").unwrap();
    let store = server.store_with("st", |settings| {
        settings.ssh.port = Some(other.local_addr().unwrap().port());
    });
    std::thread::spawn(move || {
        while let Ok((stream, _)) = other.accept() {
            use std::io::Write;
            let _ = (&stream).write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n");
        }
    });
    let error = store.get_config().unwrap_err();
    assert!(error.to_string().contains("does not speak SSH"), "{error}");
}

#[test]
fn nobody_waits_for_an_interrupted_command() {
    let mute = TcpListener::bind("127.0.0.1:0").unwrap();
    let server = Server::new();
    let interrupt = plakar::util::interrupt::Interrupt::default();
    let store = server.store_with("st", |settings| {
        settings.ssh.port = Some(mute.local_addr().unwrap().port());
        settings.interrupt = interrupt.clone();
    });
    let setter = std::thread::spawn(move || {
        let connection = mute.accept().unwrap();
        interrupt.set();
        connection
    });
    assert_eq!(store.get_config().unwrap_err().kind(), Kind::Interrupted);
    drop(setter.join().unwrap());
}

#[test]
fn a_full_disk_is_told_as_such() {
    let server = Server::new();
    let disk = server.path("srv/disk");
    fs::create_dir(&disk).unwrap();
    if !has_mounted(&disk, "size=4m,nr_inodes=64") {
        return;
    }
    let store = server.store("disk/st");
    store.prepare().unwrap();
    store.put_config(b"version = 1").unwrap();
    let outcome = put(&*store, Area::Packs, &[7; 8 << 20]);
    let left = files_below(&disk.join("st/tmp"));
    // In this case not even the smallest file can be created.
    let many = (0..100u32).map(|n| put(&*store, Area::Index, &n.to_le_bytes()).map(|_| ()));
    let outcomes = [outcome.map(|_| ()), many.collect()];
    drop(store);
    let is_gone = Command::new("umount")
        .arg("-l")
        .arg(&disk)
        .status()
        .unwrap();
    assert!(is_gone.success());
    for outcome in outcomes {
        let error = outcome.unwrap_err();
        assert_eq!(error.kind(), Kind::NoSpace, "{error}");
        assert!(
            error.to_string().ends_with("no space left on device"),
            "{error}"
        );
    }
    assert!(left.is_empty(), "{left:?}");
}

#[test]
fn leftovers_go_after_a_day_and_not_before() {
    let server = Server::new();
    let store = created(&server);
    let leftover = |name: &str, age_hours: u64| {
        let path = server.path("srv/st/tmp").join(name);
        let file = fs::File::create(&path).unwrap();
        let age = Duration::from_secs(age_hours * 3600);
        file.set_modified(SystemTime::now() - age).unwrap();
        path
    };
    let old = leftover(&"0a".repeat(16), 25);
    let recent = leftover(&"0b".repeat(16), 23);
    let foreign = leftover("letter.txt", 25);
    for n in 0..3u8 {
        put(&*store, Area::Packs, &[n]).unwrap();
    }
    assert!(!old.exists());
    assert!(recent.exists() && foreign.exists());
    assert_eq!(files_below(&server.path("srv/st/tmp")).len(), 2);
}

#[test]
fn a_tmp_that_is_a_link_is_not_swept() {
    let server = Server::new();
    let store = created(&server);
    let (tmp, outside) = (server.path("srv/st/tmp"), server.path("outside"));
    fs::rename(&tmp, &outside).unwrap();
    std::os::unix::fs::symlink(&outside, &tmp).unwrap();
    let old = outside.join("0a".repeat(16));
    let file = fs::File::create(&old).unwrap();
    let age = Duration::from_secs(25 * 3600);
    file.set_modified(SystemTime::now() - age).unwrap();
    for n in 0..3u8 {
        put(&*store, Area::Packs, &[n]).unwrap();
    }
    assert!(old.exists());
}

#[test]
fn what_is_no_object_is_passed_over_and_never_followed() {
    let server = Server::new();
    let store = created(&server);
    let id = Id::of(b"x");
    let path = server.path("srv/st/index").join(id.to_string());
    fs::write(server.path("outside"), b"x").unwrap();
    std::os::unix::fs::symlink(server.path("outside"), &path).unwrap();
    let is_refused = |outcome: plakar::error::Result<()>| {
        let error = outcome.unwrap_err();
        assert_eq!(error.kind(), Kind::Corrupt, "{error}");
        assert!(error.to_string().ends_with("not a regular file"), "{error}");
    };
    is_refused(store.get(Area::Index, id).map(|_| ()));
    is_refused(put(&*store, Area::Index, b"x").map(|_| ()));
    fs::remove_file(&path).unwrap();
    // Opening a FIFO blocks the server forever.
    assert!(
        Command::new("mkfifo")
            .arg(&path)
            .status()
            .unwrap()
            .success()
    );
    is_refused(store.read_at(Area::Index, id, 0, &mut [0]));
    let mut count = 0;
    let mut each = |_| {
        count += 1;
        Ok(())
    };
    store.list(Area::Index, &mut each).unwrap();
    assert_eq!(count, 0);
    fs::remove_file(&path).unwrap();
    let truncated = put(&*store, Area::Index, b"all of it").unwrap();
    let path = server.path("srv/st/index").join(truncated.to_string());
    fs::write(&path, b"all").unwrap();
    let error = put(&*store, Area::Index, b"all of it").unwrap_err();
    assert_eq!(error.kind(), Kind::Corrupt, "{error}");
    assert_eq!(fs::read(&path).unwrap(), b"all");
}

#[test]
fn a_deleted_pack_is_gone_though_it_was_open() {
    let server = Server::new();
    let store = created(&server);
    let bytes = vec![7; 100_000];
    let id = put(&*store, Area::Packs, &bytes).unwrap();
    // Every connection opens it.
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                store
                    .read_at(Area::Packs, id, 0, &mut vec![0; 100_000])
                    .unwrap()
            });
        }
    });
    store.delete(Area::Packs, id).unwrap();
    for _ in 0..8 {
        let gone = store.read_at(Area::Packs, id, 0, &mut [0; 4]);
        assert_eq!(gone.unwrap_err().kind(), Kind::NotFound);
    }
}

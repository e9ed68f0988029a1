//! Tests a snapshot that an attacker with the key forges: the stat data of this machine, but
//! different contents.
//!
//! A backup takes the chunks of unchanged files from its base. Therefore the base must be a
//! snapshot that this machine created.

use std::fs;
use std::sync::Arc;

use plakar::format::entry::{Content, Entry};
use plakar::format::pack_table::PackKind;
use plakar::kloset::blob::BlobReader;
use plakar::kloset::pipeline::Trouble;
use plakar::kloset::progress::{Counters, Event, Observer};
use plakar::kloset::snapshot::{self, Snapshot};
use plakar::kloset::tree::TreeReader;
use plakar::kloset::write_session::write_session;
use plakar::kloset::{Kloset, Locked};
use plakar::net::location::Location;
use plakar::ops::select;
use plakar::store::{self, Area, Settings, Store};
use plakar::util::Id;
use plakar::util::interrupt::Interrupt;

use crate::harness::{PASSPHRASE, Run, Sandbox};

const HONEST: &[u8] = b"what the user wrote";
const FORGED: &[u8] = b"what the thief said";

/// The message of a backup that has no base although there are snapshots.
const NO_BASE: &str = "there is no record that this machine created snapshot ";

#[derive(Default)]
struct Quiet(Counters);

impl Observer for Quiet {
    fn counters(&self) -> &Counters {
        &self.0
    }

    fn event(&self, _event: &Event<'_>) {}
}

/// Another machine that knows the passphrase. It shares no directory with the sandbox.
struct Thief {
    store: Arc<dyn Store>,
    kloset: Kloset,
}

impl Thief {
    fn new(sandbox: &Sandbox) -> Thief {
        let path = sandbox.path("st").into_os_string().into_encoded_bytes();
        let store = store::open(&Location::Path(path), &Settings::default());
        let store = store.expect("the store can be opened");
        let quiet = Arc::new(Quiet::default());
        let locked = Locked::new(store.clone()).expect("the store can be read");
        let key = locked.unlock(PASSPHRASE.as_bytes(), &*quiet);
        let key = key.expect("the slot can be read").expect("it is the key");
        let kloset = locked.open(key, None, quiet).expect("it is the key");
        Thief { store, kloset }
    }

    /// Publishes the newest snapshot again as `id`, with different contents in every file.
    fn forge(&self, id: impl Fn(&Snapshot) -> Id) -> Snapshot {
        let all = select::all(&self.kloset).expect("snapshots can be listed");
        let newest = &all.last().expect("there is one").snapshot;
        let forged = Snapshot {
            id: id(newest),
            time_ns: newest.time_ns + 1,
            root: self.forged(newest.root.clone()),
            ..newest.clone()
        };
        snapshot::publish(&self.kloset, &forged).expect("the store takes it");
        forged
    }

    /// A copy of `entry` in which every file has different contents, and everything else is
    /// unchanged.
    fn forged(&self, mut entry: Entry) -> Entry {
        if !entry.is_dir() {
            entry.content = self.content(FORGED);
            return entry;
        }
        let blobs = BlobReader::new(&self.kloset, 1 << 20).expect("it can be read");
        let mut tree = Vec::new();
        for below in TreeReader::new(&blobs, &entry).entries() {
            let below = self.forged(below.expect("trees can be read"));
            below.encode(&mut tree);
        }
        entry.tree = self.content(&tree);
        entry
    }

    /// Stores `chunk` and returns a content of this single chunk.
    fn content(&self, chunk: &[u8]) -> Content {
        let trouble = Trouble::new(Interrupt::default());
        let id = write_session(&self.kloset, 1, 1, &trouble, |session| {
            let mut packer = session.packer(PackKind::Tree).expect("packs can be made");
            let (id, _) = packer.put(chunk).expect("it fits");
            packer.flush().expect("it fits");
            id
        });
        trouble.outcome().expect("the store takes it");
        let ids = vec![id.expect("the store takes it")];
        Content { ids, depth: 0 }
    }
}

/// A sandbox with a snapshot of one file.
fn with_snapshot(name: &str) -> Sandbox {
    let sandbox = Sandbox::new(name);
    sandbox.run(&["at", "st", "create"]).ended(0);
    sandbox.write("d/a", HONEST);
    back_up(&sandbox, &[]).says_nothing();
    sandbox
}

fn back_up(sandbox: &Sandbox, flags: &[&str]) -> Run {
    let words = [&["at", "st", "backup", "-json"], flags, &["d"]].concat();
    sandbox.run(&words).ended(0)
}

#[track_caller]
fn assert_latest_is(sandbox: &Sandbox, bytes: &[u8]) {
    let cat = sandbox.run(&["at", "st", "cat", "latest:a"]).ended(0);
    cat.prints_just(std::str::from_utf8(bytes).expect("it is text"));
}

#[test]
fn a_forged_snapshot_is_not_compared_with() {
    let sandbox = with_snapshot("forged_newer");
    let forged = Thief::new(&sandbox).forge(|_| Id([7; 32]));
    assert_latest_is(&sandbox, FORGED);
    let run = back_up(&sandbox, &[]);
    // The base is the machine's own snapshot, so nothing is read and nothing is reported.
    let summary = run.says_nothing().object("summary");
    assert_eq!(summary["files_unchanged"], 1, "{summary}");
    assert_eq!(summary["read_bytes"], 0, "{summary}");
    assert_latest_is(&sandbox, HONEST);
    let forged = forged.id.to_string();
    sandbox.run(&["at", "st", "rm", "-apply", &forged]).ended(0);
    sandbox.run(&["at", "st", "check"]).ended(0);
}

#[test]
fn a_forged_snapshot_with_the_id_of_the_own_one_is_not_compared_with() {
    let sandbox = with_snapshot("forged_in_place");
    let thief = Thief::new(&sandbox);
    let mut own = Vec::new();
    let mut note = |object: store::Object| {
        own.push(object.id);
        Ok(())
    };
    let listed = thief.store.list(Area::Snapshots, &mut note);
    listed.expect("snapshots can be listed");
    let forged = thief.forge(|own| own.id);
    let removed = thief.store.delete(Area::Snapshots, own[0]);
    removed.expect("a thief may remove it");
    assert_latest_is(&sandbox, FORGED);
    let dry = sandbox
        .run(&["at", "st", "backup", "-dry-run", "d"])
        .ended(0);
    dry.says(NO_BASE).prints("new       ");
    let run = back_up(&sandbox, &[]);
    let warning = run.object("warning");
    let message = warning["message"].as_str().unwrap_or_default();
    let expected = format!("{NO_BASE}{} or an earlier one", forged.id.short());
    assert!(message.starts_with(&expected), "{message}");
    let summary = run.object("summary");
    assert_eq!(summary["read_bytes"], HONEST.len(), "{summary}");
    assert_latest_is(&sandbox, HONEST);
    // That backup read everything, and is the base of the next one.
    let summary = back_up(&sandbox, &[]).says_nothing().object("summary");
    assert_eq!(summary["read_bytes"], 0, "{summary}");
    assert_latest_is(&sandbox, HONEST);
}

#[test]
fn a_base_of_another_machine_is_trusted_on_request() {
    let sandbox = with_snapshot("forged_trusted");
    Thief::new(&sandbox).forge(|_| Id([7; 32]));
    let flags = ["-o", "trust_base=true"];
    let summary = back_up(&sandbox, &flags).object("summary");
    assert_eq!(summary["read_bytes"], 0, "{summary}");
    // The attack works against users who trust any base.
    assert_latest_is(&sandbox, FORGED);
    sandbox
        .run(&["source", "add", "own", "d", "trust_base=true"])
        .ended(0);
    let words = [
        "at",
        "st",
        "backup",
        "-json",
        "-o",
        "trust_base=false",
        "@own",
    ];
    sandbox.run(&words).ended(0).says_nothing();
}

#[test]
fn a_new_machine_reads_everything_once() {
    let sandbox = with_snapshot("forged_new_machine");
    let elsewhere = ["-datadir", "other"];
    for (reads, is_new) in [(HONEST.len(), true), (0, false)] {
        let run = back_up(&sandbox, &elsewhere);
        assert_eq!(run.stdout().contains(NO_BASE), is_new, "{}", run.stdout());
        let summary = run.object("summary");
        assert_eq!(summary["read_bytes"], reads, "{summary}");
    }
    let mode = fs::metadata(sandbox.path("other/known-stores")).expect("it is there");
    assert_eq!(
        std::os::unix::fs::PermissionsExt::mode(&mode.permissions()) & 0o777,
        0o700
    );
}

#[test]
fn changed_tags_and_a_copy_and_back_leave_the_base_as_it_was() {
    let sandbox = with_snapshot("forged_tagged");
    let at = |words: &[&str]| sandbox.run(&[&["at", "st"], words].concat()).ended(0);
    at(&["tag", "add", "x", "latest"]);
    let summary = back_up(&sandbox, &[]).says_nothing().object("summary");
    assert_eq!(summary["read_bytes"], 0, "{summary}");
    sandbox
        .run(&["at", "copy", "create", "-from", "st"])
        .ended(0);
    at(&["sync", "to", "copy"]);
    let all = select::all(&Thief::new(&sandbox).kloset).expect("they can be listed");
    for stored in all {
        at(&["rm", "-apply", &stored.snapshot.id.to_string()]);
    }
    at(&["sync", "from", "copy"]);
    let summary = back_up(&sandbox, &[]).says_nothing().object("summary");
    assert_eq!(summary["read_bytes"], 0, "{summary}");
}

#[test]
fn a_damaged_record_costs_a_warning_and_one_reading() {
    let sandbox = with_snapshot("forged_damaged");
    let record = sandbox.path("home/.local/share/plakar/known-stores");
    for file in fs::read_dir(record).expect("there is a record") {
        let path = file.expect("it can be listed").path();
        fs::write(&path, b"[[created]\n\xff").expect("root and owner may");
    }
    let restored = sandbox.run(&["at", "st", "restore", "-to", "out"]).ended(0);
    let said = restored.stderr();
    assert_eq!(said.lines().count(), 1, "{said}");
    let run = back_up(&sandbox, &[]);
    let warnings: Vec<_> = run
        .objects()
        .into_iter()
        .filter(|object| object["type"] == "warning")
        .collect();
    assert_eq!(warnings.len(), 2, "{warnings:?}");
    let summary = run.object("summary");
    assert_eq!(summary["read_bytes"], HONEST.len(), "{summary}");
    let run = back_up(&sandbox, &[]).says_nothing();
    assert_eq!(run.object("summary")["read_bytes"], 0);
    assert!(!run.stdout().contains("warning"), "{}", run.stdout());
}

#[test]
fn without_a_place_for_the_record_backups_are_made_and_say_so() {
    let sandbox = with_snapshot("forged_no_record");
    sandbox.write("file", b"");
    let run = back_up(&sandbox, &["-datadir", "file"]);
    assert!(
        run.stdout()
            .contains("the next backup has to read every file")
    );
    assert_latest_is(&sandbox, HONEST);
    let restored = sandbox.run(&["at", "st", "-datadir", "file", "restore", "-to", "out"]);
    restored.ended(0);
}

#[test]
fn streams_are_not_recorded() {
    let sandbox = with_snapshot("forged_stream");
    let path = sandbox.path("home/.local/share/plakar/known-stores");
    let weight = || -> u64 {
        let files = fs::read_dir(&path).expect("there is a record");
        files
            .map(|file| file.expect("it can be listed").metadata())
            .map(|metadata| metadata.expect("it is there").len())
            .sum()
    };
    let before = weight();
    let words = ["at", "st", "backup", "cmd:x", "--", "/bin/echo", "x"];
    sandbox.run(&words).ended(0).says_nothing();
    assert_eq!(weight(), before);
}

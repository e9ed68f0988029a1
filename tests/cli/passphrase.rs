//! Tests the sources of passphrases, the effects of planted, damaged and expensive key slots, and
//! which other processes can see a passphrase.

use std::fs;
use std::path::Path;
use std::time::Duration;

use plakar::util::Id;
use rustix::process::Signal;

use crate::harness::{PASSPHRASE, Sandbox, binary};

const OTHER: &str = "a heron on the roof";
/// Offsets in a key slot: see kloset(5).
const MEMORY_KIB: usize = 8;
const PASSES: usize = 12;
const SALT: usize = 20;

/// The only slot of the store `st`.
fn slot(sandbox: &Sandbox) -> (String, Vec<u8>) {
    let mut entries = fs::read_dir(sandbox.path("st/keys")).expect("it can be listed");
    let entry = entries.next().expect("there is a slot");
    let name = entry.expect("it can be listed").file_name();
    let name = name.into_string().expect("an id is text");
    let bytes = sandbox.read(&format!("st/keys/{name}"));
    (name, bytes)
}

/// Adds `slot` to `st` under the name that matches its bytes.
fn plant(sandbox: &Sandbox, slot: &[u8]) -> String {
    let name = Id::of(slot).to_string();
    sandbox.write(&format!("st/keys/{name}"), slot);
    name
}

/// A copy of `slot` with a different salt and cost. No passphrase opens it.
fn planted(mut slot: Vec<u8>, salt: u8, memory_kib: u32, passes: u32) -> Vec<u8> {
    slot[SALT] ^= salt;
    slot[MEMORY_KIB..][..4].copy_from_slice(&memory_kib.to_le_bytes());
    slot[PASSES..][..4].copy_from_slice(&passes.to_le_bytes());
    slot
}

fn set_modified(path: &Path, age: Duration) {
    let file = fs::File::options().write(true).open(path);
    let time = std::time::SystemTime::now() - age;
    let set = file.and_then(|file| file.set_modified(time));
    set.expect("its time can be set");
}

#[test]
fn a_slot_above_the_cost_limit_is_not_tried() {
    let sandbox = Sandbox::with_store("slot_limit");
    let (own, bytes) = slot(&sandbox);
    let planted = plant(&sandbox, &planted(bytes, 1, 1 << 20, 64));
    let short = &planted[..8];
    sandbox.run(&["at", "st", "ls"]).ended(0).silent();
    let sandbox = sandbox.with("PLAKAR_PASSPHRASE", "wrong");
    sandbox
        .run(&["at", "st", "ls"])
        .ended(77)
        .says(&format!("open store st: key slot {short}: argon2id"))
        .says("more than the limit of 256 MiB and 10 s; to accept it: -kdf-limit 1024,")
        .says("wrong passphrase for the other slots, 1");
    fs::remove_file(sandbox.path(&format!("st/keys/{own}"))).expect("it is there");
    sandbox
        .run(&["at", "st", "ls"])
        .ended(78)
        .says(short)
        .says("-kdf-limit 1024,");
    sandbox
        .run(&["at", "st", "-kdf-limit", "much", "ls"])
        .ended(64)
        .says("-kdf-limit: \"much\" is not MIB[,SECONDS]");
    for words in [["create"].as_slice(), &["key", "add"]] {
        let words = [&["at", "other"], words, &["-kdf-memory", "512"]].concat();
        sandbox.run(&words).ended(64).says("-kdf-limit 512,");
    }
    assert!(!sandbox.path("other").exists());
}

#[test]
fn the_user_is_notified_of_an_unusual_number_of_slots() {
    let sandbox = Sandbox::with_store("slot_notice");
    let (_, bytes) = slot(&sandbox);
    for salt in 1..=9 {
        let name = plant(&sandbox, &planted(bytes.clone(), salt, 19 << 10, 2));
        let path = sandbox.path(&format!("st/keys/{name}"));
        set_modified(&path, Duration::from_secs(60));
    }
    let words = "opens none of the 8 cheapest key slots; trying the other 2, for up to about";
    sandbox.run(&["at", "st", "ls"]).ended(0).says(words);
    sandbox.run(&["at", "st", "-quiet", "ls"]).ended(0).silent();
}

#[test]
fn a_signal_ends_a_key_derivation() {
    let sandbox = Sandbox::with_store("slot_signal");
    let (own, bytes) = slot(&sandbox);
    plant(&sandbox, &planted(bytes, 1, 256 << 10, 64));
    fs::remove_file(sandbox.path(&format!("st/keys/{own}"))).expect("it is there");
    for signal in [Signal::INT, Signal::TERM] {
        let mut running = sandbox.start(&["at", "st", "-kdf-limit", "256,3600", "ls"]);
        // Only the key derivation uses that much memory.
        assert!(running.until(|running| running.resident_kib() > 128 << 10));
        running.signal(signal);
        running.end().ended(130).says("interrupted");
    }
}

#[test]
fn damage_is_not_reported_as_a_wrong_passphrase() {
    let sandbox = Sandbox::with_store("slot_damage").with("PLAKAR_NEW_PASSPHRASE", OTHER);
    let (name, bytes) = slot(&sandbox);
    let path = format!("st/keys/{name}");
    sandbox.run(&["at", "st", "key", "add"]).ended(0);
    let opened = || sandbox.run(&["at", "st", "ls"]);
    let named = format!("open store st: key slot {}: ", &name[..8]);
    // Any bit can be damaged, even in the salt, which changes the value that the passphrase is
    // compared with.
    let mut bad = bytes.clone();
    bad[SALT] ^= 1;
    sandbox.write(&path, &bad);
    opened()
        .ended(65)
        .says(&named)
        .says("its bytes do not hash to its name")
        .says("wrong passphrase for the other slots, 1");
    // Damage after the commitment, with the name changed to match the bytes.
    fs::remove_file(sandbox.path(&path)).expect("it is there");
    let mut bad = bytes.clone();
    let last = bad.len() - 1;
    bad[last] ^= 1;
    let renamed = plant(&sandbox, &bad);
    opened()
        .ended(65)
        .says(&renamed[..8])
        .says("the passphrase is correct, but the slot does not authenticate");
    fs::remove_file(sandbox.path(&format!("st/keys/{renamed}"))).expect("it is there");
    sandbox.write(&path, &bytes);
    opened().ended(0).silent();
    let config = String::from_utf8(sandbox.read("st/CONFIG")).expect("it is text");
    let turned = config.replace("compression = 3", "compression = 4");
    assert_ne!(turned, config);
    sandbox.write("st/CONFIG", turned.as_bytes());
    opened()
        .ended(65)
        .says(&named)
        .says("CONFIG does not authenticate under its key");
    sandbox.write("st/CONFIG", config.as_bytes());
    fs::remove_dir_all(sandbox.path("st/keys")).expect("it is there");
    opened().ended(65).says("open store st: it has no key slot");
}

#[test]
fn a_wrong_passphrase_names_its_origin_and_the_environment_overrides_the_configuration() {
    let sandbox = Sandbox::with_store("passphrase_order");
    let configured = |passphrase: &str| {
        let location = sandbox.path("st");
        let text = format!(
            "[nas]\nlocation = '{}'\npassphrase = '{passphrase}'\n",
            location.display()
        );
        sandbox.write("home/.config/plakar/stores.toml", text.as_bytes());
        let path = sandbox.path("home/.config/plakar/stores.toml");
        let mode = std::os::unix::fs::PermissionsExt::from_mode(0o600);
        fs::set_permissions(path, mode).expect("it is ours");
    };
    sandbox.write("key", b"from a file");
    configured("stale");
    let at = |sandbox: &Sandbox, words: &[&str]| sandbox.run(&[&["at", "@nas"], words].concat());
    at(&sandbox, &["ls"]).ended(0).silent();
    // The old passphrase can be given although the configuration contains a different one.
    let changed = sandbox.with("PLAKAR_NEW_PASSPHRASE", OTHER);
    at(&changed, &["key", "passwd"]).ended(0);
    let sandbox = changed.without("PLAKAR_NEW_PASSPHRASE");
    at(&sandbox, &["ls"])
        .ended(77)
        .says("wrong passphrase from PLAKAR_PASSPHRASE, which overrides the passphrase of @nas");
    sandbox
        .run(&["at", "st", "-keyfile", "key", "ls"])
        .ended(77)
        .says("wrong passphrase from key file key\n");
    let sandbox = sandbox.without("PLAKAR_PASSPHRASE");
    at(&sandbox, &["ls"])
        .ended(77)
        .says("wrong passphrase from passphrase of @nas\n");
    sandbox
        .run(&["at", "st", "ls"])
        .ended(77)
        .says("no passphrase for st: there is no terminal to prompt on; give -keyfile FILE or PLAKAR_PASSPHRASE");
    let sandbox = sandbox.with("PLAKAR_PASSPHRASE", OTHER);
    sandbox
        .run(&["at", "st", "key", "add"])
        .ended(77)
        .says("no new passphrase for st: ")
        .says("give -new-keyfile FILE or PLAKAR_NEW_PASSPHRASE");
}

#[test]
fn a_child_process_gets_no_passphrase_and_dumps_no_core() {
    let sandbox = Sandbox::with_store("child_environment")
        .with("PLAKAR_NEW_PASSPHRASE", OTHER)
        .with("PLAKAR_PEER_PASSPHRASE", OTHER)
        .with("KEPT", "yes");
    let line = format!(
        "ulimit -S -c \"$(ulimit -H -c)\"; exec '{}' at st backup cmd:env -- /bin/sh -c 'export; \
         ulimit -c'",
        binary()
    );
    sandbox.run_shell(&line).ended(0);
    let seen = sandbox.run(&["at", "st", "cat", "latest:env"]).ended(0);
    let seen = seen.prints("KEPT=").stdout();
    assert!(!seen.contains("PASSPHRASE"), "{seen}");
    assert!(seen.ends_with("\n0\n"), "{seen}");
    let line = "export > seen; echo token";
    let config = format!(
        "[nas]\nlocation = '{}'\npassphrase_cmd = '{line}'\n",
        sandbox.path("st").display()
    );
    sandbox.write("home/.config/plakar/stores.toml", config.as_bytes());
    let sandbox = sandbox.without("PLAKAR_PASSPHRASE");
    sandbox.run(&["at", "@nas", "ls"]).ended(77);
    let seen = String::from_utf8(sandbox.read("seen")).expect("it is text");
    assert!(
        seen.contains("KEPT=") && !seen.contains("PASSPHRASE"),
        "{seen}"
    );
}

#[test]
fn a_secret_that_is_typed_as_an_argument_is_warned_of() {
    let sandbox = Sandbox::new("secret_argument");
    let words = ["store", "add", "nas", "/n", "passphrase=owl"];
    sandbox
        .run_on_terminal(&words)
        .ended(0)
        .prints("the shell history keeps it")
        .prints("\"passphrase=-\" prompts for it instead");
    let words = ["store", "set", "nas", "passphrase=owl"];
    let run = sandbox.run(&words).ended(0);
    assert!(!run.stderr().contains("history"), "no one types here");
}

#[test]
fn an_error_names_the_store_once_and_the_next_command() {
    let sandbox = Sandbox::new("open_errors");
    let next =
        "to create one: plakar at st create; to list the configured stores: plakar store list";
    let error = format!("plakar: open store st: there is no store here; {next}\n");
    for command in [["ls"].as_slice(), &["key", "list"], &["info"]] {
        let run = sandbox.run(&[&["at", "st"], command].concat()).ended(66);
        assert_eq!(run.stderr(), error);
    }
    let run = sandbox.run(&["at", "http://127.0.0.1:1", "ls"]).ended(69);
    let named = run.stderr().matches("http://127.0.0.1:1").count();
    assert_eq!(named, 1, "{}", run.stderr());
    sandbox.write("file", b"x");
    sandbox
        .run(&["at", "file", "create"])
        .ended(1)
        .says("create file: ");
    let sandbox = sandbox.with("PLAKAR_PASSPHRASE", PASSPHRASE);
    let created = sandbox.run(&["at", "st", "create"]).ended(0);
    created
        .prints_nothing()
        .says("created encrypted store ")
        .says(" at st; without the passphrase it cannot be opened");
    sandbox
        .run(&["at", "st2", "create", "-quiet"])
        .ended(0)
        .silent();
}

//! Names of users and groups, and their numbers.
//!
//! Read once from `/etc/passwd` and `/etc/group`, then immutable, so that any number of
//! threads look names up without a lock. Users that only LDAP, NIS or another service of
//! NSS knows are recorded by number alone: a static binary has no NSS, and asking a
//! directory server about each of a million files would be no favour to anyone.
//!
//! It must not know what the names are for.

use std::collections::HashMap;
use std::fs::File;
use std::io::Read;
use std::path::Path;
use std::sync::{Arc, OnceLock};

/// The most we read of either file. A site with a million local users needs 64 MB; a
/// file longer than this is not one of users.
const MAX_FILE_BYTES: u64 = 64 << 20;

/// The users and groups of this machine.
pub(super) struct Names {
    users: Table,
    groups: Table,
}

impl Names {
    /// Those of this machine, read at the first call.
    pub(super) fn shared() -> &'static Names {
        static NAMES: OnceLock<Names> = OnceLock::new();
        NAMES.get_or_init(Names::of_this_machine)
    }

    /// Reads `/etc/passwd` and `/etc/group`. A file that is missing or cannot be read
    /// knows nobody: names are a courtesy, the numbers are recorded in any case.
    fn of_this_machine() -> Names {
        Names {
            users: Table::read(Path::new("/etc/passwd")),
            groups: Table::read(Path::new("/etc/group")),
        }
    }

    /// What user `uid` is called.
    pub(super) fn user(&self, uid: u32) -> Option<Arc<str>> {
        self.users.names.get(&uid).cloned()
    }

    /// What group `gid` is called.
    pub(super) fn group(&self, gid: u32) -> Option<Arc<str>> {
        self.groups.names.get(&gid).cloned()
    }

    /// The number of the user called `name`.
    pub(super) fn uid(&self, name: &str) -> Option<u32> {
        self.users.ids.get(name).copied()
    }

    /// The number of the group called `name`.
    pub(super) fn gid(&self, name: &str) -> Option<u32> {
        self.groups.ids.get(name).copied()
    }
}

/// One of the two files. Where a number or a name occurs twice the first line wins, as
/// in `getpwuid(3)` and `getpwnam(3)`.
#[derive(Default)]
struct Table {
    names: HashMap<u32, Arc<str>>,
    ids: HashMap<Arc<str>, u32>,
}

impl Table {
    /// The table in the file `path`, empty if that cannot be read.
    fn read(path: &Path) -> Table {
        let mut text = Vec::new();
        match File::open(path).and_then(|file| file.take(MAX_FILE_BYTES).read_to_end(&mut text)) {
            Ok(_) => Table::parse(&text),
            Err(_) => Table::default(),
        }
    }

    /// The table that `text` spells out.
    fn parse(text: &[u8]) -> Table {
        let mut table = Table::default();
        for line in text.split(|&byte| byte == b'\n') {
            if let Some((name, id)) = parse_line(line) {
                table.names.entry(id).or_insert_with(|| name.clone());
                table.ids.entry(name).or_insert(id);
            }
        }
        table
    }
}

/// Name and number of `name:password:number:...`. Comments and the `+` and `-` lines
/// that refer to NIS are nobody.
fn parse_line(line: &[u8]) -> Option<(Arc<str>, u32)> {
    let mut fields = std::str::from_utf8(line).ok()?.split(':');
    let name = fields.next().filter(|name| !name.is_empty())?;
    if name.starts_with(['#', '+', '-']) {
        return None;
    }
    let id = fields.nth(1)?.parse().ok()?;
    Some((Arc::from(name), id))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_line_of_a_number_or_name_wins() {
        let table = Table::parse(b"root:x:0:0::/root:/bin/sh\ntoor:x:0:0::/:\nroot:x:9:9::/:\n");
        assert_eq!(table.names.get(&0).map(|name| &**name), Some("root"));
        assert_eq!(table.ids.get("root"), Some(&0));
        assert_eq!(table.ids.get("toor"), Some(&0));
    }

    #[test]
    fn lines_that_are_not_users_are_passed_over() {
        let text = b"#a:x:1:\n+::::\n-b:x:2:\n:x:3:\nc:x\nd:x:many:\n\xff:x:4:\ne:x:4294967294:";
        let table = Table::parse(text);
        assert_eq!(table.names.len(), 1);
        assert_eq!(table.ids.get("e"), Some(&4_294_967_294));
    }

    #[test]
    fn this_machine_has_a_root() {
        let names = Names::of_this_machine();
        assert_eq!(names.user(0).as_deref(), Some("root"));
        assert_eq!(names.group(0).and_then(|name| names.gid(&name)), Some(0));
        assert_eq!(names.uid("root"), Some(0));
        assert_eq!(names.uid("no such user"), None);
    }

    #[test]
    fn a_missing_file_knows_nobody() {
        assert!(
            Table::read(Path::new("/nonexistent/passwd"))
                .names
                .is_empty()
        );
    }
}

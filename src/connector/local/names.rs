//! Names of users and groups, and their numeric ids.
//!
//! They are read once from `/etc/passwd` and `/etc/group` and then immutable, so threads look them
//! up without a lock. Users known only to LDAP, NIS or another NSS service are recorded by number:
//! a static binary has no NSS, and querying a directory server for each of a million files would
//! overload it.
//!
//! This module does not know the purpose of the names.

use std::collections::HashMap;
use std::fs::File;
use std::io::Read;
use std::path::Path;
use std::sync::{Arc, OnceLock};

/// The maximum number of bytes read from either file. A site with a million local users needs 64
/// MB.
const MAX_FILE_BYTES: u64 = 64 << 20;

/// The local users and groups.
pub(super) struct Names {
    users: Table,
    groups: Table,
}

impl Names {
    /// Returns the local users and groups, which are read at the first call.
    pub(super) fn shared() -> &'static Names {
        static NAMES: OnceLock<Names> = OnceLock::new();
        NAMES.get_or_init(Names::of_this_machine)
    }

    /// Reads `/etc/passwd` and `/etc/group`. A missing or unreadable file counts as empty: names
    /// are optional, and the numbers are always recorded.
    fn of_this_machine() -> Names {
        Names {
            users: Table::read(Path::new("/etc/passwd")),
            groups: Table::read(Path::new("/etc/group")),
        }
    }

    /// Returns the name of the user `uid`.
    pub(super) fn user(&self, uid: u32) -> Option<Arc<str>> {
        self.users.names.get(&uid).cloned()
    }

    /// Returns the name of the group `gid`.
    pub(super) fn group(&self, gid: u32) -> Option<Arc<str>> {
        self.groups.names.get(&gid).cloned()
    }

    /// Returns the numeric id of the user `name`.
    pub(super) fn uid(&self, name: &str) -> Option<u32> {
        self.users.ids.get(name).copied()
    }

    /// Returns the numeric id of the group `name`.
    pub(super) fn gid(&self, name: &str) -> Option<u32> {
        self.groups.ids.get(name).copied()
    }
}

/// One of the two files. If a number or a name occurs more than once, the first line wins, as in
/// `getpwuid(3)` and `getpwnam(3)`.
#[derive(Default)]
struct Table {
    names: HashMap<u32, Arc<str>>,
    ids: HashMap<Arc<str>, u32>,
}

impl Table {
    /// Reads the file `path`. Returns an empty table if it cannot be read.
    fn read(path: &Path) -> Table {
        let mut text = Vec::new();
        match File::open(path).and_then(|file| file.take(MAX_FILE_BYTES).read_to_end(&mut text)) {
            Ok(_) => Table::parse(&text),
            Err(_) => Table::default(),
        }
    }

    /// Parses the lines of `text`.
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

/// Parses `name:password:number:...`. Comments, and lines with `+` or `-` that refer to NIS, are
/// skipped.
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

//! Tests archives with the programs that users read them with.

mod adverse;

use std::ffi::OsString;
use std::fs::{self, File};
use std::os::unix::ffi::OsStringExt;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::PathBuf;
use std::process::Stdio;

use rustix::fs::{FileType, XattrFlags};
use rustix::process::Signal;

use crate::common::prerequisite::{has_program, has_root, program, skip};
use crate::harness::{Run, Sandbox, noise, store};
use crate::mounted::Mounted;
use crate::prepared::{node, set_mode, set_mtime};
use crate::seen::{Tree, differences, tree};

/// A POSIX ACL in the format of the kernel: rw-, user 7 rwx, group r--, mask rwx, others nothing.
const ACL: [u8; 44] = *b"\x02\0\0\0\
    \x01\0\x06\0\xff\xff\xff\xff\x02\0\x07\0\x07\0\0\0\x04\0\x04\0\xff\xff\xff\xff\
    \x10\0\x07\0\xff\xff\xff\xff\x20\0\0\0\xff\xff\xff\xff";
/// The capability to open raw sockets, in the format of the kernel.
const CAPABILITY: [u8; 20] = *b"\x01\0\0\x02\0\x20\0\0\0\0\0\0\0\0\0\0\0\0\0\0";

/// Runs a program, which must succeed, and returns its output.
#[track_caller]
fn tool(sandbox: &Sandbox, words: &[&str]) -> Vec<u8> {
    let mut command = program(words[0]);
    command.args(&words[1..]).current_dir(sandbox.path("."));
    let output = command
        .env("LC_ALL", "C.UTF-8")
        .stdin(Stdio::null())
        .output()
        .expect("it can be run");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{words:?}: {said}");
    output.stdout
}

/// Extracts the archive with GNU tar. Returns the path that was `d` in `sandbox`.
fn extracted(sandbox: &Sandbox, archive: &str) -> PathBuf {
    let out = format!("{archive}.out");
    sandbox.mkdir(&out);
    let words = [
        "tar",
        "--xattrs",
        "--xattrs-include=*",
        "-xpf",
        archive,
        "-C",
        &out,
    ];
    tool(sandbox, &words);
    let path = fs::canonicalize(sandbox.path("d")).expect("it is there");
    sandbox
        .path(&out)
        .join(path.strip_prefix("/").expect("it is absolute"))
}

/// Creates all types of files that an ordinary user can create, below `d`.
fn plain_files(sandbox: &Sandbox) {
    sandbox.write("d/a", b"hello\n");
    sandbox.write("d/empty", b"");
    sandbox.write("d/large", &noise(3_000_001));
    sandbox.write("d/sub/deep/b", b"below");
    sandbox.mkdir("d/sub/nothing");
    sandbox.link("a", "d/link");
    sandbox.link(&"target/".repeat(50), "d/long-link");
    let path = |name: &str| sandbox.path("d").join(name);
    fs::hard_link(path("a"), path("sub/other-a")).expect("a link can be made");
    let long = format!("d/{}/{}", "n".repeat(200), "m".repeat(250));
    sandbox.write(&long, b"a long way");
    for name in [
        &b"two\nlines"[..],
        b"caf\xe9",
        "café".as_bytes(),
        b" ",
        b"back\\slash",
    ] {
        let name = OsString::from_vec(name.to_vec());
        fs::write(path("sub").join(&name), name.as_encoded_bytes()).expect("any name is a name");
    }
    let odd = OsString::from_vec(b"\xe9".repeat(180));
    fs::write(path(&"n".repeat(200)).join(odd), b"odd").expect("any name is a name");
    set_mode(&path("large"), 0o4711);
    set_mode(&path("sub"), 0o2750);
    set_mode(&path("sub/nothing"), 0o1777);
    set_mtime(&path("a"), 1_000_000_000, 123_456_789);
    set_mtime(&path("empty"), 1_100_000_000, 0);
    set_mtime(&path("link"), 1_200_000_000, 1);
    set_mtime(&path("sub/nothing"), 9_000_000_000, 500_000_000);
}

/// Creates the types of files that only root can create.
fn root_files(sandbox: &Sandbox) {
    let path = |name: &str| sandbox.path("d").join(name);
    node(&path("fifo"), FileType::Fifo, 0);
    node(
        &path("null"),
        FileType::CharacterDevice,
        rustix::fs::makedev(1, 3),
    );
    let disk = rustix::fs::makedev(259, 1_048_575);
    node(&path("disk"), FileType::BlockDevice, disk);
    set_mtime(&path("fifo"), -2, 250_000_000);
    for name in ["large", "link", "null", "sub/nothing"] {
        std::os::unix::fs::lchown(path(name), Some(1234), Some(4_000_000_000)).expect("root may");
    }
    set_mode(&path("large"), 0o4711);
    let every: Vec<u8> = (0..=255).collect();
    let set = |name: &str, key: &str, value: &[u8]| {
        let set = rustix::fs::lsetxattr(path(name), key, value, XattrFlags::empty());
        set.unwrap_or_else(|cause| panic!("{key} of {name}: {cause}"));
    };
    set("a", "user.every byte", &every);
    set("a", "user.a=b%c", b"=\n");
    set("sub", "user.empty", b"");
    set("link", "trusted.link", &every);
    set("empty", "system.posix_acl_access", &ACL);
    set("large", "security.capability", &CAPABILITY);
}

/// Runs `archive` with `words` on the store of the sandbox `name`.
fn archived(sandbox: &Sandbox, name: &str, words: &[&str]) -> Run {
    let at = store(name);
    sandbox.run(&[&["at", &at, "archive"][..], words].concat())
}

#[track_caller]
fn same(before: &Tree, after: &Tree) {
    let differ = differences(before, after);
    assert!(differ.is_empty(), "{}", differ.join("\n"));
}

#[test]
fn tar_brings_everything_back() {
    let sandbox = Sandbox::with_store("archive_tar");
    plain_files(&sandbox);
    if has_root() {
        root_files(&sandbox);
    }
    let sparse = File::create(sandbox.path("d/sparse")).expect("a file can be made");
    sparse.set_len(40 << 20).expect("a length can be set");
    for at in [0, 20 << 20] {
        sparse
            .write_all_at(&noise(8192), at)
            .expect("it can be written");
    }
    let before = tree(&sandbox.path("d"));
    sandbox.backup(&store("archive_tar"), "d");
    for output in ["out.tar", "out.tar.gz"] {
        archived(&sandbox, "archive_tar", &["-output", output, "latest"])
            .ended(0)
            .says_nothing();
        same(&before, &tree(&extracted(&sandbox, output)));
    }
    assert!(
        sandbox.read("out.tar").len() < 5 << 20,
        "holes are not written"
    );
    assert_eq!(sandbox.read("out.tar.gz")[..2], [0x1f, 0x8b]);
    let mode = fs::metadata(sandbox.path("out.tar"))
        .expect("it is there")
        .mode();
    assert_eq!(mode & 0o777, 0o600);
}

/// Prints each member of the archive, with its type and the checksum of its contents.
const PYTHON: &str = r#"
import sys, tarfile, zipfile, zlib
if sys.argv[1].endswith(".zip"):
    archive = zipfile.ZipFile(sys.argv[1])
    assert archive.testzip() is None
    for member in archive.infolist():
        print(member.filename, member.file_size, zlib.crc32(archive.read(member)))
else:
    for member in tarfile.open(sys.argv[1], errors="surrogateescape"):
        contents = member.isreg() and zlib.crc32(tarfile.open(sys.argv[1]).extractfile(member).read())
        name = member.name.encode("utf-8", "surrogateescape")
        print(name, member.type, member.size, "%o" % member.mode, member.mtime, member.linkname, contents)
"#;

#[test]
fn an_attribute_that_tar_has_no_name_for_is_told() {
    let sandbox = Sandbox::with_store("archive_xattr");
    sandbox.write("d/a", b"a");
    let path = sandbox.path("d/a");
    let set = |name: &[u8]| rustix::fs::setxattr(&path, name, b"value", XattrFlags::empty());
    if set(b"user.text").is_err() || set(b"user.caf\xe9").is_err() {
        return skip("the file system has no extended attributes");
    }
    sandbox.backup(&store("archive_xattr"), "d");
    archived(&sandbox, "archive_xattr", &["-output", "out.tar", "latest"])
        .ended(0)
        .says("warning: 1 set of extended attributes could not be kept");
    let seen = tree(&extracted(&sandbox, "out.tar"));
    let kept: Vec<_> = seen.values().flat_map(|seen| &seen.xattrs).collect();
    assert_eq!(kept.len(), 1, "{kept:?}");
}

#[test]
fn another_reader_sees_the_same() {
    let sandbox = Sandbox::with_store("archive_python");
    plain_files(&sandbox);
    sandbox.backup(&store("archive_python"), "d");
    for output in ["out.tar", "out.zip"] {
        let words = ["-rebase", "-output", output, "latest"];
        archived(&sandbox, "archive_python", &words).ended(0);
    }
    if !has_program("python3") {
        return;
    }
    let listed = tool(&sandbox, &["python3", "-c", PYTHON, "out.tar"]);
    let listed = String::from_utf8(listed).expect("names are escaped");
    let has = |line: &str| assert!(listed.contains(line), "{line} in\n{listed}");
    has("b'a' b'0' 6 644 1000000000.1234568  909783072");
    has("b'sub/other-a' b'1' 0 644 1000000000.1234568 a");
    has("b'sub/caf\\xe9' b'0' 4 ");
    has("b'sub/caf\\xc3\\xa9' b'0' 5 ");
    has("b'large' b'0' 3000001 4711 ");
    has("b'sub/nothing' b'5' 0 1777 9000000000.5");
    has(&format!(
        "b'{}/{}' b'0' 10 ",
        "n".repeat(200),
        "m".repeat(250)
    ));
    has(&format!(
        "b'{}/{}' b'0' 3 ",
        "n".repeat(200),
        "\\xe9".repeat(180)
    ));
    let listed = tool(&sandbox, &["python3", "-c", PYTHON, "out.zip"]);
    let listed = String::from_utf8_lossy(&listed);
    assert!(
        listed.contains("\nempty 0 0\n") && listed.contains("\nsub/café 5 "),
        "{listed}"
    );
}

#[test]
fn zip_brings_back_what_zip_can() {
    let sandbox = Sandbox::with_store("archive_zip");
    plain_files(&sandbox);
    let root = has_root();
    if root {
        root_files(&sandbox);
    }
    sandbox.backup(&store("archive_zip"), "d");
    let words = ["-rebase", "-output", "out.zip", "latest"];
    let run = archived(&sandbox, "archive_zip", &words).ended(0);
    let lost = match root {
        true => "1 FIFO, 2 devices, 6 sets of extended attributes, 1 hard link (a copy now)",
        false => "1 hard link (a copy now)",
    };
    let run = run.says(&format!(
        "warning: {lost} could not be kept: a zip has no place"
    ));
    assert_eq!(run.stderr().lines().count(), 1);
    if !has_program("unzip") {
        return;
    }
    tool(&sandbox, &["unzip", "-tqq", "out.zip"]);
    let owners = if root { "-XK" } else { "-K" };
    tool(&sandbox, &["unzip", "-qq", owners, "out.zip", "-d", "back"]);
    let (mut before, mut after) = (tree(&sandbox.path("d")), tree(&sandbox.path("back")));
    before.retain(|path, _| ![&b"/fifo"[..], b"/null", b"/disk"].contains(&path.as_slice()));
    for (path, seen) in before.iter_mut().chain(&mut after) {
        let is_link = seen.mode & 0o170_000 == 0o120_000;
        // unzip sets neither times nor owners of links, and no time after 2038.
        let has_time = !is_link && !path.ends_with(b"nothing");
        seen.mtime = if has_time { (seen.mtime.0, 0) } else { (0, 0) };
        if is_link {
            (seen.uid, seen.gid) = (0, 0);
        }
        seen.first_name.clear();
        seen.xattrs.clear();
    }
    // unzip removes line breaks from names.
    for name in [&b""[..], b"/sub/two\nlines", b"/sub/twolines"] {
        before.remove(name);
        after.remove(name);
    }
    same(&before, &after);
}

#[test]
fn the_same_snapshot_gives_the_same_bytes() {
    let sandbox = Sandbox::with_store("archive_same");
    plain_files(&sandbox);
    sandbox.backup(&store("archive_same"), "d");
    for format in ["tar", "tarball", "zip"] {
        for output in ["one", "other"] {
            let words = ["-quiet", "-format", format, "-output", output, "latest"];
            archived(&sandbox, "archive_same", &words).ended(0).silent();
        }
        let streamed = File::create(sandbox.path("streamed")).expect("a file can be made");
        let at = store("archive_same");
        let words = [
            "at", &at, "archive", "-format", format, "-output", "-", "latest",
        ];
        let run = Run::of(sandbox.command(&words).stdout(streamed)).ended(0);
        run.says("archive: -: ");
        let one = sandbox.read("one");
        assert!(
            one == sandbox.read("other") && one == sandbox.read("streamed"),
            "{format}"
        );
        fs::remove_file(sandbox.path("one")).expect("it is there");
        fs::remove_file(sandbox.path("other")).expect("it is there");
    }
}

/// The names of members, as listed by tar.
fn members(sandbox: &Sandbox, archive: &str) -> Vec<String> {
    let listed = tool(sandbox, &["tar", "-tf", archive]);
    let listed = String::from_utf8(listed).expect("names are escaped");
    listed.lines().map(str::to_owned).collect()
}

#[test]
fn a_part_is_named_from_the_root_or_from_itself() {
    let sandbox = Sandbox::with_store("archive_part");
    plain_files(&sandbox);
    sandbox.backup(&store("archive_part"), "d");
    let of = |output: &str, words: &[&str]| {
        let words = [&["-output", output], words].concat();
        archived(&sandbox, "archive_part", &words).ended(0);
        members(&sandbox, output)
    };
    let root = fs::canonicalize(sandbox.path("d")).expect("it is there");
    let root = root.display().to_string();
    let deep = of("deep.tar", &["latest:sub/deep"]);
    let expected = ["/", "/b"].map(|name| format!("{}/sub/deep{name}", &root[1..]));
    assert_eq!(deep, expected);
    assert_eq!(of("rebased.tar", &["-rebase", "latest:sub/deep"]), ["b"]);
    assert_eq!(of("file.tar", &["-rebase", "latest:sub/deep/b"]), ["b"]);
    let everything = of("all.tar", &["-rebase", "latest:/"]);
    assert_eq!(everything[0].matches('/').count(), 1, "{everything:?}");
    // The archive does not contain the first of the two names, so the second one is a regular file.
    assert!(of("linked.tar", &["-rebase", "latest:sub"]).contains(&"other-a".to_owned()));
    let contents = tool(&sandbox, &["tar", "-xOf", "linked.tar", "other-a"]);
    assert_eq!(contents, b"hello\n");
}

#[test]
fn a_file_too_large_for_old_headers_has_its_size() {
    let sandbox = Sandbox::with_store("archive_large");
    sandbox.mkdir("d");
    let file = File::create(sandbox.path("d/image")).expect("a file can be made");
    file.set_len(9 << 30).expect("a length can be set");
    file.write_all_at(b"end", (9 << 30) - 3)
        .expect("it can be written");
    sandbox.backup(&store("archive_large"), "d");
    archived(&sandbox, "archive_large", &["-output", "out.tar", "latest"]).ended(0);
    let listed = tool(&sandbox, &["tar", "-tvf", "out.tar"]);
    assert!(String::from_utf8_lossy(&listed).contains(" 9663676416 "));
    let out = extracted(&sandbox, "out.tar").join("image");
    let (out, mut end) = (File::open(out).expect("it was extracted"), [0; 3]);
    out.read_exact_at(&mut end, (9 << 30) - 3)
        .expect("it is long enough");
    assert_eq!(&end, b"end");
}

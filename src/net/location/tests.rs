use super::*;
use crate::error::Kind;
use proptest::prelude::*;

fn shown(text: &str) -> String {
    Location::parse(text.as_bytes()).unwrap().to_string()
}

fn joined(base: &str, path: &str) -> String {
    let base = Location::parse(base.as_bytes()).unwrap();
    base.join(path.as_bytes()).unwrap().to_string()
}

fn refused(text: &str) -> String {
    let error = Location::parse(text.as_bytes()).unwrap_err();
    assert_eq!(error.kind(), Kind::Usage);
    error.to_string()
}

#[test]
fn the_documents_examples_hold() {
    let store = "sftp://localhost/tmp";
    assert_eq!(joined(store, "etc"), "sftp://localhost/tmp/etc");
    assert_eq!(joined(store, "/etc"), "sftp://localhost/etc");
    let source = "sftp://localhost/etc";
    assert_eq!(joined(source, "uucp"), "sftp://localhost/etc/uucp");
    assert_eq!(joined(source, "/etc/uucp"), "sftp://localhost/etc/uucp");
    assert_eq!(shown("sftp://host:/srv/data"), "sftp://host/srv/data");
    assert_eq!(shown("sftp://host"), "sftp://host");
    assert_eq!(joined("sftp://host", "x"), "sftp://host/~/x");
    assert_eq!(joined("sftp://host", "/x"), "sftp://host/x");
}

#[test]
fn paths_join_like_urls() {
    assert_eq!(joined("/tmp", "etc"), "/tmp/etc");
    assert_eq!(joined("/tmp/", "etc"), "/tmp/etc");
    assert_eq!(joined("/tmp", "/etc"), "/etc");
    assert_eq!(joined("fs:/tmp", "a:b"), "/tmp/a:b");
    assert_eq!(joined("/tmp", ""), "/tmp");
    assert_eq!(joined("/", "etc"), "/etc");
    let raw = Location::Path(b"/\xff".to_vec()).join(b"\xfe").unwrap();
    assert_eq!(raw.path().unwrap(), b"/\xff/\xfe");
}

#[test]
fn what_is_shown_is_read_as_the_same() {
    for text in [
        "/srv/st",
        "st",
        "fs:st",
        "a:b",
        "fs:@home",
        "fs:sftp://x",
        "file:///srv",
        "fs:fs:x",
        "file://localhost/a",
        "sftp://u@h:2222/a/b",
        "sftp://h/~/a",
        "sftp://h/",
        "sftp://h",
        "sftp://[::1]:22/x",
        "http://h:9876",
        "https://h/a",
        "SFTP://H/x",
        "sftp://a@b@h/x",
        "sftp://h/~u/x",
        "http://h/~/x",
        "sftp://[fe80::1%eth0]/x",
    ] {
        let location = Location::parse(text.as_bytes()).unwrap();
        let again = Location::parse(location.to_string().as_bytes()).unwrap();
        assert_eq!(location, again, "{text}");
    }
    assert_eq!(shown("http://h:9876/"), "http://h:9876");
    assert_eq!(joined("http://h", "x"), "http://h/x");
    assert_eq!(shown("SFTP://H//a/./b/"), "sftp://H/a/b");
}

#[test]
fn no_path_of_a_url_leaves_the_root() {
    assert_eq!(joined("sftp://h/a/b", "../../../../etc"), "sftp://h/etc");
    assert_eq!(shown("http://h/../../x"), "http://h/x");
    assert_eq!(joined("sftp://h/a", "../~/x"), "sftp://h/~/x");
    assert_eq!(shown("sftp://h/./~"), "sftp://h");
    assert_eq!(joined("sftp://h/~/a", "../b"), "sftp://h/~/b");
    let home = Location::parse(b"sftp://h/~/a").unwrap();
    let error = home.join(b"../../b").unwrap_err();
    assert!(error.to_string().contains("stays in it"), "{error}");
}

#[test]
fn parts_come_out_as_they_went_in() {
    let Location::Url(url) = Location::parse(b"sftp://bob@[::1]:22/%41").unwrap() else {
        panic!("it is a URL");
    };
    let expected = Url {
        scheme: "sftp".into(),
        user: Some("bob".into()),
        host: "::1".into(),
        port: Some(22),
        path: "/%41".into(),
    };
    assert_eq!(url, expected);
    assert_eq!(Location::parse(b"/x").unwrap().scheme(), "fs");
}

#[test]
fn a_password_is_refused_and_not_repeated() {
    for url in [
        "sftp://bob:sec@nas/x",
        "sftp://bob:s/ec@nas/x",
        "https://:sec@nas",
        "x://b:s@ec@n",
    ] {
        let words = refused(url);
        assert!(!words.contains("ec@") && words.contains(":...@"), "{words}");
    }
    assert!(refused("sftp://bob:sec@nas/x").contains("no password belongs in a URL"));
}

#[test]
fn what_is_no_location_is_refused_by_name() {
    for text in [
        "",
        "fs:",
        "fs://",
        "file://",
        "file://nas/backup",
        "sftp://",
        "sftp:///x",
        "sftp://@h",
        "sftp://-oProxyCommand=x/y",
        "sftp://-l@h",
        "sftp://h:99999",
        "sftp://h:0",
        "sftp://h:+1",
        "sftp://[::1",
        "sftp://[x]",
        "sftp://[::1]x",
        "sftp://a b/",
        "sftp://h/\n",
        "sftp://::1/x",
        "http://h/x?y",
        "https://h?x",
        "sftp://h/~/../x",
        "sftp://h:srv/x",
        "sftp://[fe80::1%]/x",
    ] {
        assert!(refused(text).contains(text), "{text}");
    }
    assert!(refused("sftp://h:srv/x").contains("a path comes after a slash"));
    assert_eq!(refused(""), "an empty location names no place");
    refused(&"x".repeat(10_000));
    refused("a\0b");
}

proptest! {
    #[test]
    fn whatever_is_understood_is_shown_so_that_it_is_understood_again(
        text in "(sftp|http|fs|file|x)?:?/{0,3}[a-z@:.~%/?\\[\\]0-9é-]{0,24}",
        path in "[a-z./~:]{0,12}",
    ) {
        if let Ok(location) = Location::parse(text.as_bytes()) {
            let again = Location::parse(location.to_string().as_bytes()).unwrap();
            prop_assert_eq!(&again, &location);
            if let Ok(joined) = location.join(path.as_bytes()) {
                let shown = joined.to_string();
                prop_assert_eq!(Location::parse(shown.as_bytes()).unwrap(), joined);
            }
        }
    }
}

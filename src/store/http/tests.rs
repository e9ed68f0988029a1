use std::sync::Mutex;

use super::*;
use crate::net::client::testing::{Script, Step, answer, impatience};

fn store(script: &Script) -> HttpStore {
    store_with(script, None).0
}

/// Returns a store and the warnings that it reports.
fn store_with(script: &Script, token: Option<&str>) -> (HttpStore, Arc<Mutex<Vec<String>>>) {
    let told = Arc::new(Mutex::new(Vec::new()));
    let heard = told.clone();
    let settings = Settings {
        token: token.map(|token| Zeroizing::new(token.to_owned())),
        notice: Arc::new(move |error: &Error| heard.lock().unwrap().push(error.to_string())),
        patience: impatience(),
        ..Settings::default()
    };
    (HttpStore::new(&script.url(), &settings).unwrap(), told)
}

/// Builds a response of a plakar server.
fn ours(status: u16, fields: &str, body: &[u8]) -> Vec<u8> {
    answer(status, &format!("Kloset-Protocol: 1\r\n{fields}"), body)
}

/// Returns the error of `call` if the server sends `answers`, one after another.
fn fails<T>(answers: &[&[u8]], call: impl Fn(&HttpStore) -> Result<T>) -> (Kind, String) {
    let script = Script::answers(answers);
    let store = store(&script);
    let error = call(&store).err().unwrap();
    let words = error.to_string();
    let location = store.location();
    assert!(words.contains(location) && !words.contains('\n'), "{words}");
    script.played();
    (error.kind(), words.replace(location, "URL"))
}

fn id(byte: u8) -> Id {
    Id([byte; 32])
}

fn line(id: Id, size: &str) -> String {
    format!("{{\"id\":\"{id}\",\"size\":{size},\"modified_ns\":1}}\n")
}

fn listed(store: &HttpStore) -> Result<Vec<Id>> {
    let mut ids = Vec::new();
    store.list(Area::Packs, &mut |object| {
        ids.push(object.id);
        Ok(())
    })?;
    Ok(ids)
}

#[test]
fn listings_go_on_page_by_page() {
    let next = "Link: </resources/packs?after=x&limit=2>; rel=\"next\"\r\n";
    let first = [line(id(1), "5"), line(id(2), "6")].concat();
    let script = Script::answers(&[
        &ours(200, next, first.as_bytes()),
        &ours(200, "", line(id(3), "7").as_bytes()),
    ]);
    assert_eq!(listed(&store(&script)).unwrap(), [id(1), id(2), id(3)]);
    let requests = script.played();
    assert!(requests[0].starts_with("GET /resources/packs HTTP/1.1\r\n"));
    let second = format!("GET /resources/packs?after={} HTTP/1.1\r\n", id(2));
    assert!(requests[1].starts_with(&second), "{}", requests[1]);
}

#[test]
fn listings_that_lie_are_refused() {
    let next = "Link: </x>; rel=\"next\"\r\n";
    let [one, two] = [line(id(1), "5"), line(id(2), "5")];
    let long = format!("{{\"id\":\"{}\"", "x".repeat(70_000));
    let many = lines(0..10_001);
    for (fields, body, expected) in [
        ("", [two.as_str(), &one].concat(), "is not in order"),
        ("", [one.as_str(), &one].concat(), "is not in order"),
        (
            next,
            String::new(),
            "lists nothing, and says that there is more",
        ),
        (
            "",
            line(id(1), "-1"),
            "a line of its listing is not one object",
        ),
        ("", line(id(1), "18446744073709551615"), "is not one object"),
        ("", one.to_uppercase(), "is not one object"),
        ("", one.replace("0101", "../."), "is not one object"),
        ("", "<html>\n".to_owned(), "is not one object"),
        ("", "\n".to_owned(), "is not one object"),
        ("", "[".repeat(400) + "\n", "is not one object"),
        ("", one.trim_end().to_owned(), "ends within a line"),
        ("", long, "a line of its listing is too long"),
        ("", many, "a page of its listing is too long"),
    ] {
        let (kind, words) = fails(&[&ours(200, fields, body.as_bytes())], listed);
        assert_eq!(kind, Kind::Corrupt, "{words}");
        assert!(words.starts_with("list packs: URL: "), "{words}");
        assert!(words.contains(expected), "{words}");
    }
    // A repeated page would lead to an endless listing.
    let again = ours(200, next, one.as_bytes());
    assert!(
        fails(&[&again, &again], listed)
            .1
            .contains("is not in order")
    );
}

/// Builds one line per number, with ascending ids.
fn lines(numbers: std::ops::Range<u32>) -> String {
    let id = |number: u32| {
        let mut id = [0; 32];
        id[..4].copy_from_slice(&number.to_be_bytes());
        Id(id)
    };
    numbers.map(|number| line(id(number), "5")).collect()
}

#[test]
fn listings_without_end_are_given_up() {
    let next = "Link: </x>; rel=\"next\"\r\n";
    let page = |numbers| ours(200, next, lines(numbers).as_bytes());
    let list = |area: Area| {
        move |store: &HttpStore| {
            let mut count = 0;
            store.list(area, &mut |_| {
                count += 1;
                assert!(count <= area.limit_objects());
                Ok(())
            })
        }
    };
    let (kind, words) = fails(&[&page(1..10_001), &page(10_001..10_002)], list(Area::Keys));
    assert_eq!(kind, Kind::Corrupt);
    assert_eq!(words, "list keys: URL: more than 10000 objects are listed");
    let pages: Vec<Vec<u8>> = (1..1002).map(|number| page(number..number + 1)).collect();
    let pages: Vec<&[u8]> = pages.iter().map(Vec::as_slice).collect();
    let (kind, words) = fails(&pages, list(Area::Packs));
    assert_eq!(kind, Kind::Corrupt);
    assert_eq!(words, "list packs: URL: it lists too few objects at a time");
}

#[test]
fn lengths_that_lie_cost_no_memory() {
    let get = |store: &HttpStore| store.get(Area::Keys, id(1));
    let huge = b"HTTP/1.1 200 OK\r\nKloset-Protocol: 1\r\nContent-Length: 900000000000\r\n\r\n";
    let (kind, words) = fails(&[huge], get);
    assert_eq!(kind, Kind::Corrupt);
    let expected = "read key 01010101: URL: it has 838.2 GiB, and at most 64.0 KiB are allowed";
    assert_eq!(words, expected);
    let config = |store: &HttpStore| store.get_config();
    assert_eq!(fails(&[huge], config).0, Kind::Corrupt);
    let (kind, _) = fails(&[huge], |store| store.stat(Area::Keys, id(1)));
    assert_eq!(kind, Kind::Corrupt);
}

#[test]
fn a_read_is_what_was_asked_for_or_an_error() {
    let read = |store: &HttpStore| {
        let mut buffer = [0; 4];
        store.read_at(Area::Packs, id(1), 2, &mut buffer)?;
        Ok(buffer)
    };
    let range =
        |range: &str, body: &[u8]| ours(206, &format!("Content-Range: bytes {range}\r\n"), body);
    for whole in [
        range("2-5/10", b"2345"),
        range("2-5/*", b"2345"),
        ours(200, "", b"0123456789"),
    ] {
        let script = Script::answers(&[&whole]);
        assert_eq!(read(&store(&script)).unwrap(), *b"2345");
        assert!(script.played()[0].contains("\r\nRange: bytes=2-5\r\n"));
    }
    for (answer, expected) in [
        (range("2-4/5", b"234"), "it ends before byte 6"),
        (ours(200, "", b"01234"), "it ends before byte 6"),
        (
            ours(416, "Content-Range: bytes */2\r\n", b""),
            "it ends before byte 6",
        ),
        (range("1-4/10", b"1234"), "another part"),
        (range("2-6/10", b"23456"), "another part"),
        (range("2-5/10", b"234"), "another part"),
        (range("5-2/10", b"2345"), "another part"),
        (range("0-18446744073709551615/10", b"2345"), "another part"),
        (ours(206, "", b"2345"), "another part"),
    ] {
        let (kind, words) = fails(&[&answer], read);
        assert_eq!(kind, Kind::Corrupt);
        assert!(words.contains(expected), "{words}");
    }
}

#[test]
fn what_came_before_a_connection_was_lost_is_not_asked_for_again() {
    let head = b"HTTP/1.1 200 OK\r\nKloset-Protocol: 1\r\nContent-Length: 10\r\n\r\n0123";
    let rest = ours(206, "Content-Range: bytes 4-9/10\r\n", b"456789");
    let script = Script::answers(&[head, &rest]);
    let store = store(&script);
    assert_eq!(store.get(Area::Packs, id(1)).unwrap(), b"0123456789");
    assert!(script.played()[1].contains("\r\nRange: bytes=4-9\r\n"));
}

#[test]
fn a_busy_server_is_asked_again() {
    let busy = ours(
        503,
        "Retry-After: 0\r\nKloset-Error: unavailable\r\n",
        b"busy",
    );
    let many = answer(429, "Server: proxy\r\n", b"");
    let lost = Vec::new();
    let object = ours(200, "", b"x");
    let script = Script::answers(&[&busy, &many, &lost, &object]);
    assert_eq!(store(&script).get(Area::Packs, id(1)).unwrap(), b"x");
    script.played();
    let get = |store: &HttpStore| store.get(Area::Packs, id(1));
    let (kind, words) = fails(&[&busy, &busy, &busy, &busy], get);
    assert_eq!(kind, Kind::Unavailable);
    assert_eq!(words, "read pack 01010101: URL: busy");
}

#[test]
fn errors_come_as_the_server_had_them() {
    let delete = |store: &HttpStore| store.delete(Area::Snapshots, id(1));
    for (status, word, expected) in [
        (403, "denied", Kind::Denied),
        (500, "corrupt", Kind::Corrupt),
        (409, "exists", Kind::Exists),
        (404, "not-found", Kind::NotFound),
        (507, "no-space", Kind::NoSpace),
        (500, "unsupported", Kind::Unsupported),
        (500, "failed", Kind::Failed),
        (400, "usage", Kind::Failed),
        (403, "from-the-future", Kind::Denied),
    ] {
        let fields = format!("Kloset-Error: {word}\r\n");
        let (kind, words) = fails(&[&ours(status, &fields, b"so it is\nand more")], delete);
        assert_eq!(kind, expected, "{word}");
        assert_eq!(words, "delete snapshot 01010101: URL: so it is");
    }
    let rude = ours(500, "", "\x1b]0;a\u{202e}é\r\n".as_bytes());
    assert!(fails(&[&rude], delete).1.ends_with(": ?]0;a?é"));
    let long = ours(500, "", "x".repeat(4000).as_bytes());
    assert!(fails(&[&long], delete).1.len() < 300);
}

#[test]
fn who_is_not_let_in_is_told_what_to_set() {
    let unknown = ours(401, "WWW-Authenticate: Bearer\r\n", b"who are you");
    for (token, expected) in [
        (None, "the server wants a token: set auth_token"),
        (
            Some("t"),
            "the server does not know this token: set another auth_token",
        ),
    ] {
        let script = Script::answers(&[&unknown]);
        let error = store_with(&script, token).0.get_config().unwrap_err();
        assert_eq!(error.kind(), Kind::Denied);
        assert!(error.to_string().ends_with(expected), "{error}");
        let sent = script.played()[0].contains("\r\nAuthorization: Bearer t\r\n");
        assert_eq!(sent, token.is_some());
    }
}

#[test]
fn who_has_nothing_to_do_with_us_is_named() {
    let config = |store: &HttpStore| store.get_config();
    for (status, expected, kind) in [
        (
            200,
            "no plakar server is here: nginx answers with HTTP 200",
            Kind::Unsupported,
        ),
        (
            404,
            "no plakar server is here: nginx answers with HTTP 404",
            Kind::Unsupported,
        ),
        (401, "wants us to log in", Kind::Denied),
        (403, "forbids it", Kind::Denied),
        (413, "takes no objects of this size", Kind::Failed),
    ] {
        let (found, words) = fails(&[&answer(status, "Server: nginx\r\n", b"<html>")], config);
        assert_eq!(found, kind, "{words}");
        assert!(words.contains(expected), "{words}");
    }
    let (kind, words) = fails(&[&answer(200, "Kloset-Protocol: 2\r\n", b"")], config);
    assert_eq!(kind, Kind::Unsupported);
    assert!(words.contains("version 2 of the protocol"), "{words}");
}

#[test]
fn config_whose_answer_was_lost_is_read_back() {
    let there = ours(409, "Kloset-Error: exists\r\n", b"there is a store already");
    for (found, is_ours) in [(b"ours", true), (b"else", false)] {
        let script = Script::answers(&[b"", &there, &ours(200, "", found)]);
        let outcome = store(&script).put_config(b"ours");
        assert_eq!(
            outcome.map_err(|error| error.kind()),
            match is_ours {
                true => Ok(()),
                false => Err(Kind::Exists),
            }
        );
        script.played();
    }
    // If no response was lost, an existing CONFIG is from another client, whatever its contents.
    let script = Script::new(vec![vec![Step::Answer(there)]]);
    let error = store(&script).put_config(b"ours").unwrap_err();
    assert_eq!(error.kind(), Kind::Exists);
}

#[test]
fn what_cannot_be_a_location_or_a_token_is_refused() {
    let script = Script::new(Vec::new());
    let mut url = script.url();
    let with = |token: &str| Settings {
        token: Some(Zeroizing::new(token.to_owned())),
        ..Settings::default()
    };
    for token in ["", "a b", "a\r\nX: y", "é", &"x".repeat(5000)] {
        let error = HttpStore::new(&url, &with(token)).err().unwrap();
        assert_eq!(error.to_string(), "auth_token: that is no token");
    }
    url.user = Some("bob".into());
    let error = HttpStore::new(&url, &Settings::default()).err().unwrap();
    assert_eq!(error.kind(), Kind::Usage);
}

#[test]
fn an_object_over_the_limit_is_not_sent() {
    let script = Script::new(Vec::new());
    let store = store(&script);
    script.played();
    let over = vec![0; Area::Keys.limit_bytes() as usize + 1];
    let error = store.put(Area::Keys, id(1), &over).unwrap_err();
    assert_eq!(
        error.to_string(),
        "store key 01010101: larger than 64.0 KiB"
    );
    let mut upload = store.upload(Area::Keys).unwrap();
    assert!(upload.write(&over).is_err());
    assert!(upload.commit(id(1)).is_err());
}

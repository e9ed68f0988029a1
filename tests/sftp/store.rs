//! Tests the SFTP store: with the common suite, and with failures specific to SFTP.

use std::cell::Cell;

use plakar::store::{Area, conformance};
use plakar::util::Id;

use crate::server::{Server, files_below};

#[test]
fn it_keeps_every_promise() {
    let server = Server::new();
    let count = Cell::new(0);
    conformance::run(&|| {
        count.set(count.get() + 1);
        server.store(&format!("store-{}", count.get()))
    });
}

#[test]
fn it_is_laid_out_as_a_directory() {
    let server = Server::new();
    let store = server.store("a/b/st");
    store.prepare().unwrap();
    store.put_config(b"version = 1").unwrap();
    let bytes = vec![7; 300_000];
    let id = Id::of(&bytes);
    store.put(Area::Packs, id, &bytes).unwrap();
    store.put(Area::Keys, id, &bytes[..10]).unwrap();
    let name = id.to_string();
    let expected = [
        "./CONFIG".to_owned(),
        format!("./keys/{name}"),
        format!("./packs/{}/{name}", &name[..2]),
    ];
    assert_eq!(files_below(&server.path("srv/a/b/st")), expected);
    let local = plakar::store::open(
        &plakar::net::location::Location::Path(server.path("srv/a/b/st").to_str().unwrap().into()),
        &plakar::store::Settings::default(),
    );
    assert_eq!(local.unwrap().get(Area::Packs, id).unwrap(), bytes);
}

#[test]
fn a_directory_with_more_objects_than_an_area_can_have_is_refused() {
    let server = Server::new();
    let store = server.store("st");
    store.prepare().unwrap();
    store.put_config(b"version = 1").unwrap();
    let keys = server.path("srv/st/keys");
    let limit = Area::Keys.limit_objects();
    let place = |number: usize| {
        let id = Id::of(&number.to_le_bytes());
        std::fs::write(keys.join(id.to_string()), b"").unwrap();
    };
    (0..limit).for_each(place);
    let list = || {
        let mut count = 0;
        let listed = store.list(Area::Keys, &mut |_| {
            count += 1;
            Ok(())
        });
        listed.map(|()| count)
    };
    assert_eq!(list().unwrap(), limit);
    place(limit);
    let error = list().unwrap_err();
    assert_eq!(error.kind(), plakar::error::Kind::Corrupt);
    let words = error.to_string();
    assert!(
        words.contains("the directory has more than 10000 entries"),
        "{words}"
    );
}

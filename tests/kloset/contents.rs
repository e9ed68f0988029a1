//! Tests reading a stored file piece by piece.

use plakar::error::Kind;
use plakar::format::entry::Entry;
use plakar::kloset::blob::BlobReader;
use plakar::kloset::content::push;
use plakar::kloset::content::reader::Contents;

use crate::forge::{self, Forge};
use crate::harness::*;

#[test]
fn contents_read_in_any_pieces_are_those_that_are_handed_out() {
    let store = shared(&new_store());
    let forge = Forge::new(&store);
    let chunks: [&[u8]; 3] = [b"abc", b"defgh", b"ij"];
    let layouts: [(&[std::ops::Range<u64>], u64); 6] = [
        (&[], 10),
        (&[0..2, 2..4], 14),
        (&[3..5, 7..8], 13),
        (&[2..4, 4..6], 14),
        (&[10..20, 20..90_000], 90_000),
        (&[0..70_000, 70_004..70_010], 70_016),
    ];
    let blobs = BlobReader::new(&forge.kloset, 1 << 20).unwrap();
    for (holes, size) in layouts {
        let entry = Entry {
            holes: holes.to_vec(),
            ..forge::file("f", size, forge.content(&chunks))
        };
        let mut expected = Vec::new();
        let mut sink = |bytes: &[u8]| {
            expected.extend_from_slice(bytes);
            Ok(())
        };
        push::read(&blobs, &entry, &mut sink).unwrap();
        assert_eq!(expected.len() as u64, size);
        for piece in [1, 3, 4096, 100_000] {
            let mut contents = Contents::new(&blobs, &entry).unwrap();
            let (mut read, mut buffer) = (Vec::new(), vec![0xee; piece]);
            loop {
                let count = contents.read(&mut buffer).unwrap();
                read.extend_from_slice(&buffer[..count]);
                if count < piece {
                    break;
                }
            }
            assert!(read == expected, "{holes:?} in pieces of {piece}");
        }
    }
}

#[test]
fn contents_that_are_lost_or_short_are_damage_and_stay_so() {
    let store = shared(&new_store());
    let forge = Forge::new(&store);
    let mut content = forge.content(&[b"abc", b"def"]);
    content.ids.insert(1, plakar::util::Id([9; 32]));
    let blobs = BlobReader::new(&forge.kloset, 1 << 20).unwrap();
    let lost = forge::file("f", 9, content);
    let mut contents = Contents::new(&blobs, &lost).unwrap();
    let mut buffer = [0; 3];
    assert_eq!(contents.read(&mut buffer).unwrap(), 3);
    for _ in 0..2 {
        let error = contents.read(&mut buffer).unwrap_err();
        assert_eq!(error.kind(), Kind::Corrupt, "nothing follows: {error}");
    }
    let short = forge::file("f", 9, forge.content(&[b"abc"]));
    let mut contents = Contents::new(&blobs, &short).unwrap();
    let error = contents.read(&mut [0; 9]).unwrap_err();
    assert!(
        error.to_string().contains("3 bytes instead of 9"),
        "{error}"
    );
}

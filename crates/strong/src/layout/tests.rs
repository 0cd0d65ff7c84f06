use althing_api::kv::KeyValue;

use super::*;

/// The example of docs/formats/strong.md.
#[test]
fn the_bytes_of_the_first_put_are_those_of_the_format() {
    let id = VersionId::first_of(Revision(5));
    let kv = KeyValue {
        key: "k".into(),
        create_revision: Revision(5),
        mod_revision: Revision(5),
        version: 1,
        value: "v".into(),
        lease: None,
    };
    assert_eq!(current_key(b"k"), b"\x02k");
    assert_eq!(&Current::of(&kv, id).encode()[..], b"\x05\x00\x05\x01\x00\x01v");
    let key = history_key(b"k", id);
    assert_eq!(key, b"\x03k\x00\x01\xff\xff\xff\xff\xff\xff\xff\xfa\xff\xff\xff\xff");
    let body =
        VersionBody::Put { create_revision: Revision(5), version: 1, lease: None, value: Bytes::from_static(b"v") };
    assert_eq!(&Version { garbage_before: 0, body }.encode()[..], b"\x01\x00\x05\x01\x00v");
    assert_eq!(revision_key(id), *b"\x04\x00\x00\x00\x00\x00\x00\x00\x05\x00\x00\x00\x00");
    let record = RevisionRecord { deed: Deed::Create, previous: None, key: "k".into() };
    assert_eq!(&record.encode()[..], b"\x01\x00\x00k");
}

#[test]
fn versions_of_a_key_stand_together_the_newest_first() {
    let id = |main: i64, sub: u32| VersionId { main: Revision(main), sub };
    let keys = [
        history_key(b"a", id(9, 1)),
        history_key(b"a", id(9, 0)),
        history_key(b"a", id(2, 7)),
        history_key(b"a\x00", id(9, 0)),
        history_key(b"b", id(9, 0)),
    ];
    assert!(keys.is_sorted());
    let span = history_span(&KeyRange::single("a"));
    for (at, key) in keys.iter().enumerate() {
        assert_eq!(*key >= span.start && *key < span.end, at < 3);
    }
    assert_eq!(history_version(&keys[2]), Ok(id(2, 7)));
    assert_eq!(history_table_key(&keys[3]), Ok(Bytes::from_static(b"a\x00")));
    assert!(history_after(&keys[0]) > keys[2] && history_after(&keys[0]) < keys[3]);
}

#[test]
fn records_that_do_not_parse_are_refused() {
    for bytes in [&b""[..], b"\x09", b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff", b"\x05\x00\x05\x01\x00\x07"] {
        let bytes = Bytes::copy_from_slice(bytes);
        assert!(Current::decode(bytes.clone()).is_err());
        assert!(RevisionRecord::decode(bytes.clone()).is_err());
        assert!(history_version(&bytes).is_err());
        assert!(Version::decode(bytes).is_err());
    }
}

use std::io::Write;

use flate2::{Compression, write::GzEncoder};
use proptest::prelude::*;

use super::*;
use crate::capture::write::{tests::written, write_message};

fn read(bytes: &[u8]) -> Result<Vec<Item>, ReadError> {
    let mut file = tempfile::NamedTempFile::with_suffix(".cbors").unwrap();
    file.write_all(bytes).unwrap();
    Capture::open(file.path())?.collect()
}

fn decoded(bytes: &[u8], limit: usize) -> Result<Option<Item>, DecodeError> {
    item(&mut Decoder::new(bytes, limit))
}

fn sample() -> (Vec<u8>, RecordedEvent) {
    let streams = vec![
        ("a".to_owned(), "STINS".to_owned(), vec![b"{}".to_vec(), vec![5; 1000]]),
        ("b".to_owned(), "xspress".to_owned(), vec![]),
    ];
    let bytes = written(7, &streams);
    let streams = streams.into_iter().map(|(name, typ, frames)| RecordedStream { name, typ, frames }).collect();
    (bytes, RecordedEvent { number: 7, streams, created_at: Some("2026-01-01T00:00:00.000000Z".into()) })
}

#[test]
fn what_was_written_is_read_back_plain_and_gzipped() {
    let (mut bytes, event) = sample();
    write_message(&mut bytes, &[b"x".to_vec(), vec![]]);
    let expected = vec![Item::Event(event), Item::Message(vec![b"x".to_vec(), vec![]])];
    assert_eq!(read(&bytes).unwrap(), expected);
    let mut gz = GzEncoder::new(Vec::new(), Compression::fast());
    gz.write_all(&bytes).unwrap();
    assert_eq!(read(&gz.finish().unwrap()).unwrap(), expected);
    assert_eq!(read(b"").unwrap(), []);
}

#[test]
fn old_dumps_and_all_forms_of_time_are_read() {
    // 42877([1, {"s": 42878(["T", []])}]) with no time, a text of 20 characters, seconds, and fractions of seconds.
    let start = b"\xd9\xa7\x7d\x82\x01\xa1\x61s\xd9\xa7\x7e\x82\x61T\x80".to_vec();
    let time = |tail: &[u8]| {
        let mut bytes = start.clone();
        bytes[3] = if tail.is_empty() { 0x82 } else { 0x83 };
        bytes.extend_from_slice(tail);
        match decoded(&bytes, 1000).unwrap() {
            Some(Item::Event(event)) => event.created_at,
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(time(b""), None);
    assert_eq!(time(b"\xc0\x742026-01-01T00:00:00Z").unwrap(), "2026-01-01T00:00:00Z");
    assert_eq!(time(b"\xc1\x1a\x69\x55\xb9\x00").unwrap(), "2026-01-01T00:00:00.000000Z");
    assert_eq!(time(b"\xc1\xfb\x41\xda\x55\x6e\x40\x20\x00\x00").unwrap(), "2026-01-01T00:00:00.500000Z");
    assert!(decoded(&[&start[..3], b"\x83", &start[4..], b"\xc1\xf9\x7c\x00"].concat(), 1000).is_err());
}

#[test]
fn a_file_that_was_cut_off_gives_its_whole_items_and_then_says_where_it_ends() {
    let (whole, _) = sample();
    for cut in 1..whole.len() {
        let bytes = [&whole[..], &whole[..cut]].concat();
        let mut file = tempfile::NamedTempFile::with_suffix(".cbors").unwrap();
        file.write_all(&bytes).unwrap();
        let mut items = Capture::open(file.path()).unwrap();
        assert!(items.next().unwrap().is_ok());
        let error = items.next().unwrap().unwrap_err().to_string();
        assert!(error.contains(&file.path().display().to_string()), "{error}");
        assert!(error.contains(&format!("byte {}", bytes.len())), "cut at {cut}: {error}");
        assert!(error.contains("1 whole items"), "{error}");
        assert!(items.next().is_none());
    }
}

#[test]
fn errors_say_what_stands_there() {
    for (bytes, what) in [
        (&b"\xa0"[..], "found a map"),
        (b"\x80", "empty list"),
        (b"\x81\x61a", "expected a message part as bytes, found text"),
        (b"\x81\x01", "found the number 1"),
        (b"\xd9\xa7\x7d\x81\x00", "without streams"),
        (b"\xd9\xa7\x7d\x82\x20\xa0", "expected an event number, found a negative number"),
        (b"\xd9\xd9\xf7\xd9\xd9\xf7\x80", "found tag 55799"),
        (b"\xff", "found a break"),
        (b"\x81\x1c", "not CBOR"),
        (b"\x81\xff", "found a break"),
        (b"\xd9\xa7\x7d\x82\x00\xa1\x61\xff", "UTF-8"),
    ] {
        let error = decoded(bytes, 1000).unwrap_err().to_string();
        assert!(error.contains(what), "{bytes:x?}: {error}");
    }
}

#[test]
fn a_length_that_lies_costs_nothing_and_large_items_are_refused() {
    let error = decoded(b"\x81\x5b\xff\xff\xff\xff\xff\xff\xff\xff", 1000).unwrap_err();
    assert!(error.to_string().contains("larger than"), "{error}");
    // A list that claims four billion parts, and one with more empty parts than fit.
    assert!(decoded(b"\x9a\xff\xff\xff\xff\x40", 1000).is_err());
    let many = [&b"\x9a\x00\x00\x10\x00"[..], &[0x40; 4096]].concat();
    assert!(decoded(&many, 1000).is_err());
    assert!(decoded(&many, 1 << 20).is_ok());
    let deep = vec![0x81; 1 << 20];
    assert!(decoded(&deep, 1 << 30).is_err());
}

#[test]
fn lists_and_maps_without_a_length_are_read() {
    let bytes = b"\xd9\xa7\x7d\x9f\x01\xbf\x61s\xd9\xa7\x7e\x9f\x61T\x9f\x41x\xff\xff\xff\xff";
    let stream = RecordedStream { name: "s".into(), typ: "T".into(), frames: vec![b"x".to_vec()] };
    let event = RecordedEvent { number: 1, streams: vec![stream], created_at: None };
    assert_eq!(decoded(bytes, 1000).unwrap(), Some(Item::Event(event)));
}

proptest! {
    #[test]
    fn random_bytes_never_panic(mut bytes in prop::collection::vec(any::<u8>(), 0..300), event in any::<bool>()) {
        if event {
            bytes.splice(0..0, *b"\xd9\xa7\x7d\x83\x01");
        }
        let mut decoder = Decoder::new(&bytes[..], 1 << 20);
        while let Ok(Some(_)) = item(&mut decoder) {}
    }

    #[test]
    fn a_changed_byte_never_panics(at in any::<prop::sample::Index>(), to in any::<u8>()) {
        let (mut bytes, _) = sample();
        let at = at.index(bytes.len());
        bytes[at] = to;
        let mut decoder = Decoder::new(&bytes[..], 1 << 20);
        while let Ok(Some(_)) = item(&mut decoder) {}
    }
}

/// Reads the captures from the peer's sources.
#[test]
fn the_peers_captures_are_read() {
    let Some(suite) = std::env::var_os("FRAMEGATE_PEER_SUITE") else {
        return framegate_skip::skip("FRAMEGATE_PEER_SUITE names no source distribution of dranspose");
    };
    let folder = Path::new(&suite).join("tests/data");
    for (name, count) in [
        ("albaem-dump.cbors", 6),
        ("contrast-dump.cbors", 26),
        ("dump_xrd.cbors", 11),
        ("eiger-small.cbors", 5),
        ("maui-02-continuous-3.cbor.gz", 9),
        ("pcap-zmq.cbors", 102),
        ("xspress3-multipart.cbors", 7),
    ] {
        let items: Result<Vec<_>, _> = Capture::open(&folder.join(name)).unwrap().collect();
        assert_eq!(items.unwrap().len(), count, "{name}");
    }
}

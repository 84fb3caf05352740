use std::path::PathBuf;

use framegate_plugin_api::{EventKind, testing::Trial};
use framegate_zmq_source::testing;

use crate::{
    Xspress, XspressSettings,
    messages::Packet,
    run::{Limits, XspressRun},
};

const HEADER: &[u8] = br#"{"htype":"header","filename":"/data/scan_000002_xspress3.hdf5","overwritable":false}"#;
const IMAGE: &[u8] =
    br#"{"htype":"image","exptime":0.099,"frame":0,"shape":[4,4096],"type":"uint32","compression":"none"}"#;
const ARRAY: &[u8] = b"\0\0\x01\0";
const META: &[u8] = b"\x80\x03]q\0.";
const END: &[u8] = br#"{"htype":"series_end"}"#;
const LIMITS: Limits = Limits { json: 30_000, image: 100_000 };

fn play<P: AsRef<[u8]>>(messages: impl IntoIterator<Item = Vec<P>>) -> testing::Played {
    testing::play(XspressRun::new(LIMITS), messages)
}

fn kinds(played: &testing::Played) -> Vec<EventKind> {
    played.events.iter().map(|event| event.kind).collect()
}

/// The messages of `capture`; an image alone and the two messages after it are joined.
fn as_events(capture: &[Vec<Vec<u8>>]) -> Vec<Vec<Vec<u8>>> {
    let mut messages = capture.iter();
    let mut events = Vec::new();
    while let Some(message) = messages.next() {
        let mut event = message.clone();
        if message.len() == 1 && matches!(Packet::read(&message[0]), Ok(Packet::Image { .. })) {
            event.extend(messages.by_ref().take(2).flatten().cloned());
        }
        events.push(event);
    }
    events
}

#[test]
fn an_image_of_three_messages_is_the_same_event_as_one_of_three_parts() {
    let apart = play([HEADER, IMAGE, ARRAY, META, END].map(|part| vec![part]));
    let together = play([vec![HEADER], vec![IMAGE, ARRAY, META], vec![END]]);
    for played in [apart, together] {
        assert_eq!(kinds(&played), [EventKind::Start, EventKind::Data, EventKind::End]);
        assert!(played.events.iter().all(|event| event.typ == "xspress"));
        assert!(testing::same_bytes(&played.events, &[vec![HEADER], vec![IMAGE, ARRAY, META], vec![END]]));
        assert!(played.skipped.is_empty());
    }
}

#[test]
fn all_parts_of_all_three_messages_of_an_image_belong_to_it() {
    let played = play([vec![HEADER], vec![IMAGE, b"x"], vec![ARRAY, b"y"], vec![META], vec![END]]);
    assert!(testing::same_bytes(&played.events, &[vec![HEADER], vec![IMAGE, b"x", ARRAY, b"y", META], vec![END]]));
}

#[test]
fn before_the_start_messages_of_several_parts_and_all_else_are_junk() {
    let played = play([vec![HEADER, b"x"], vec![IMAGE], vec![ARRAY], vec![META], vec![END], vec![HEADER], vec![END]]);
    assert_eq!(kinds(&played), [EventKind::Start, EventKind::End]);
    assert_eq!(played.skipped, [("before the start of a run", 5)]);
}

#[test]
fn an_image_that_lost_a_message_is_dropped_and_the_next_is_whole() {
    for lost in [&[IMAGE][..], &[IMAGE, ARRAY], &[IMAGE, META]] {
        let mut messages = vec![HEADER];
        messages.extend(lost);
        messages.extend([IMAGE, ARRAY, META, END]);
        let played = play(messages.into_iter().map(|part| vec![part]));
        assert!(testing::same_bytes(&played.events, &[vec![HEADER], vec![IMAGE, ARRAY, META], vec![END]]));
        assert_eq!(played.skipped, [("an image without its array or metadata", 1)]);
    }
}

#[test]
fn frame_numbers_that_were_left_out_are_counted() {
    let fifth = String::from_utf8_lossy(IMAGE).replace("\"frame\":0", "\"frame\":5").into_bytes();
    let played = play([HEADER, IMAGE, ARRAY, META, &fifth, ARRAY, META, END].map(|part| vec![part]));
    assert_eq!(played.events.len(), 4);
    assert!(played.counters.contains(&("lost_on_the_way", 4)), "{:?}", played.counters);
}

#[test]
fn an_end_inside_an_image_ends_the_run_and_a_header_starts_none() {
    let played = play([HEADER, IMAGE, HEADER, IMAGE, ARRAY, END, IMAGE].map(|part| vec![part]));
    assert_eq!(kinds(&played), [EventKind::Start, EventKind::End]);
    assert_eq!(
        played.skipped,
        [("an image without its array or metadata", 2), ("a start inside a run", 1), ("after the end of the run", 1)]
    );
}

#[test]
fn an_array_that_looks_like_json_stays_an_array() {
    for array in [&b"{}"[..], b"{\"a\": 1}", b"{", b"[]", b"", b"{\"htype\": \"other\"}", b"{\"htype\": \"image\"}"] {
        let played = play([HEADER, IMAGE, array, array, END].map(|part| vec![part]));
        assert!(testing::same_bytes(&played.events, &[vec![HEADER], vec![IMAGE, array, array], vec![END]]));
    }
}

#[test]
fn what_is_kept_of_an_image_is_limited_and_the_next_good_one_is_served() {
    let long = vec![b'x'; LIMITS.image];
    let long_json = [&IMAGE[..1], &vec![b' '; LIMITS.json], &IMAGE[1..]].concat();
    let played = play([HEADER, IMAGE, &long, META, &long_json, IMAGE, ARRAY, META, END].map(|part| vec![part]));
    assert!(testing::same_bytes(&played.events, &[vec![HEADER], vec![IMAGE, ARRAY, META], vec![END]]));
    assert_eq!(
        played.skipped,
        [("an image in three messages is longer than max_image", 1), ("not UTF-8", 1), ("first part too long", 1),]
    );
}

#[test]
fn malformed_messages_are_counted_and_the_next_good_one_is_served() {
    let deep = [&br#"{"htype":"image","x":"#[..], &b"[".repeat(20_000)].concat();
    let no_shape = br#"{"htype":"image","frame":0,"type":"uint32"}"#;
    let no_name = br#"{"htype":"header"}"#;
    let other = br#"{"htype":"other"}"#;
    let played = play(
        [HEADER, b"", b"[]", &deep, no_shape, no_name, other, HEADER, IMAGE, ARRAY, META, END].map(|part| vec![part]),
    );
    assert_eq!(kinds(&played), [EventKind::Start, EventKind::Data, EventKind::End]);
    assert_eq!(played.skipped.iter().map(|(_, count)| count).sum::<u64>(), 7);
    assert!(played.skipped.contains(&("nested more than 200 deep", 1)));
}

/// Beginning and end of beamline captures (`tests/data` in dranspose's source distribution), as they were sent.
#[test]
fn captures_come_out_byte_for_byte() {
    for (capture, events) in [
        (&include_bytes!("../fixtures/xspress3mini-head.cbors")[..], 3),
        (include_bytes!("../fixtures/xspress3-multipart-head.cbors"), 3),
    ] {
        let messages = testing::capture(capture);
        let played = play(messages.iter().cloned());
        assert!(testing::same_bytes(&played.events, &as_events(&messages)), "{:?}", played.skipped);
        assert_eq!(played.events.len(), events);
    }
}

/// The same captures, complete. They are large; `FRAMEGATE_PEER_SUITE` is the unpacked source distribution that has
/// them.
#[test]
fn whole_captures_come_out_byte_for_byte_if_they_are_there() {
    let Some(source) = std::env::var_os("FRAMEGATE_PEER_SUITE") else {
        return framegate_skip::skip("FRAMEGATE_PEER_SUITE names no source distribution of dranspose");
    };
    for (name, events) in [("xspress3-dump", 22), ("xspress3mini-dump20", 24), ("xspress3-multipart", 7)] {
        let path = PathBuf::from(&source).join(format!("tests/data/{name}.cbors"));
        let messages = testing::capture(&std::fs::read(&path).unwrap());
        let played = play(messages.iter().cloned());
        assert!(testing::same_bytes(&played.events, &as_events(&messages)), "{name}: {:?}", played.skipped);
        assert_eq!(played.events.len(), events, "{name}");
    }
}

/// Verdicts of dranspose's own model (`XspressPacket`, dranspose 0.2.0, pydantic 2.14.3), written by
/// `fixtures/golden.py`.
#[test]
fn each_message_is_what_the_reference_takes_it_for() {
    let golden: Vec<(String, String)> = serde_json::from_str(include_str!("../fixtures/golden.json")).unwrap();
    assert!(golden.len() > 300, "the table is there");
    for (message, verdict) in golden {
        let ours = match Packet::read(message.as_bytes()) {
            Ok(Packet::Header) => "header",
            Ok(Packet::Image { .. }) => "image",
            Ok(Packet::SeriesEnd) => "end",
            Err(_) => "invalid",
        };
        assert_eq!(ours, verdict, "{message}");
    }
}

#[test]
fn its_own_setting_stands_beside_the_common_ones() {
    let settings: XspressSettings =
        serde_json::from_str(r#"{"upstream_url": "tcp://h:1", "max_image": "1 MiB", "max_parts": 9}"#).unwrap();
    assert_eq!((settings.max_image.0, settings.zmq.max_parts), (1 << 20, 9));
    assert!(serde_json::from_str::<XspressSettings>(r#"{"upstream_url": "tcp://h:1", "max_imag": 1}"#).is_err());
    let error = Trial::<Xspress>::create(r#"{"upstream_url": ["tcp://h:1", "tcp://h:2"]}"#).unwrap_err();
    assert!(error.message().contains("must come over one connection"), "{error}");
}

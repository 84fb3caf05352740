use framegate_plugin_api::EventKind;
use framegate_zmq_source::{PerMessage, testing};

use crate::{messages::Packet, run::EigerLegacyProtocol};

const HEADER: &str = r#"{"header_detail":"basic","htype":"dheader-1.0","series":6}"#;
const IMAGE: &str = r#"{"frame":0,"hash":"59bb3a04cd9d59d54e283c465036085c","htype":"dimage-1.0","series":6}"#;
const END: &str = r#"{"htype":"dseries_end-1.0","series":6}"#;

fn play<P: AsRef<[u8]>>(messages: impl IntoIterator<Item = Vec<P>>) -> testing::Played {
    testing::play(PerMessage::<EigerLegacyProtocol>::default(), messages)
}

fn kinds(played: &testing::Played) -> Vec<EventKind> {
    played.events.iter().map(|event| event.kind).collect()
}

#[test]
fn a_run_goes_from_the_header_to_the_series_end_with_any_number_of_parts() {
    // header_detail "none" gives one part, "basic" two, "all" eight; an appendix adds one.
    for parts in [1, 2, 8, 9] {
        let header: Vec<_> = std::iter::once(HEADER).chain(std::iter::repeat("more")).take(parts).collect();
        let image = vec![IMAGE, "{}", "pixels", "{}", "appendix"];
        let played = play([header.clone(), image.clone(), vec![IMAGE, "{}", "pixels", "{}"], vec![END]]);
        assert_eq!(kinds(&played), [EventKind::Start, EventKind::Data, EventKind::Data, EventKind::End]);
        assert!(played.events.iter().all(|event| event.typ == "EIGER_LEGACY"));
        assert!(testing::same_bytes(&played.events[..2], &[header, image]));
    }
}

#[test]
fn the_second_of_two_ends_is_only_counted() {
    let played = play([HEADER, END, END].map(|text| vec![text]));
    assert_eq!(kinds(&played), [EventKind::Start, EventKind::End]);
    assert_eq!(played.skipped, [("after the end of the run", 1)]);
}

#[test]
fn frame_numbers_that_were_left_out_are_counted_and_change_nothing() {
    let image = |frame: &str| format!(r#"{{"htype": "dimage-1.0", "frame": {frame}}}"#);
    let texts = [HEADER.into(), image("0"), image("1"), image("4"), image("\"6\""), image("1e3000"), END.into()];
    let played = play(texts.map(|text| vec![text]));
    assert_eq!(played.events.len(), 6);
    assert!(played.counters.contains(&("messages", 7)) && played.counters.contains(&("lost_on_the_way", 3)));
}

#[test]
fn malformed_messages_are_counted_and_the_next_good_one_is_served() {
    let deep = format!(r#"{{"htype": "dimage-1.0", "x": {}1{}}}"#, "[".repeat(20_000), "]".repeat(20_000));
    let no_frame = r#"{"htype": "dimage-1.0", "series": 6}"#;
    let data_part = r#"{"htype": "dimage_d-1.0", "shape": [1], "type": "uint32"}"#;
    let played = play([IMAGE, HEADER, "", "[]", &deep, no_frame, data_part, HEADER, IMAGE, END].map(|text| vec![text]));
    assert_eq!(kinds(&played), [EventKind::Start, EventKind::Data, EventKind::End]);
    for reason in [
        ("before the start of a run", 1),
        ("not a JSON object", 2),
        ("nested more than 200 deep", 1),
        ("an image whose frame is absent or no integer", 1),
        ("htype is absent or unknown", 1),
        ("a start inside a run", 1),
    ] {
        assert!(played.skipped.contains(&reason), "{reason:?}: {:?}", played.skipped);
    }
}

/// A complete beamline capture (`tests/data/eiger-small.cbors` in dranspose's source distribution).
#[test]
fn a_capture_comes_out_byte_for_byte() {
    let messages = testing::capture(include_bytes!("../fixtures/eiger-small.cbors"));
    let played = play(messages.iter().cloned());
    assert_eq!(messages.iter().map(Vec::len).collect::<Vec<_>>(), [9, 5, 5, 5, 1]);
    assert!(testing::same_bytes(&played.events, &messages), "{:?}", played.skipped);
    assert_eq!(kinds(&played).iter().filter(|kind| **kind == EventKind::Data).count(), 3);
}

/// Verdicts of dranspose's own model (`EigerLegacyPacket`, dranspose 0.2.0, pydantic 2.14.3), written by
/// `fixtures/golden.py`.
#[test]
fn each_message_is_what_the_reference_takes_it_for() {
    let golden: Vec<(String, String)> = serde_json::from_str(include_str!("../fixtures/golden.json")).unwrap();
    assert!(golden.len() > 100, "the table is there");
    for (message, verdict) in golden {
        let ours = match Packet::read(message.as_bytes()) {
            Ok(Packet::Header) => "header",
            Ok(Packet::Image) => "image",
            Ok(Packet::SeriesEnd) => "end",
            Err(_) => "invalid",
        };
        assert_eq!(ours, verdict, "{message}");
    }
}

use framegate_plugin_api::EventKind;
use framegate_zmq_source::{PerMessage, testing};

use crate::{messages::Packet, run::AlbaemProtocol};

const START: &str = r#"{"version": 1, "message_type": "series-start", "message_id": 1}"#;
const DATA: &str = r#"{"version": 1, "message_type": "data", "message_id": 2, "frame_number": 0, "timestamp": 7.7,
    "acquisition_timestamp": 1704807770443944912, "channel1": -2.83e-11}"#;
const END: &str =
    r#"{"version": 1, "message_type": "series-end", "message_id": 6, "detector_specific": {"read_overflow": false}}"#;

fn play<P: AsRef<[u8]>>(messages: impl IntoIterator<Item = Vec<P>>) -> testing::Played {
    testing::play(PerMessage::<AlbaemProtocol>::default(), messages)
}

fn kinds(played: &testing::Played) -> Vec<EventKind> {
    played.events.iter().map(|event| event.kind).collect()
}

#[test]
fn a_run_goes_from_the_series_start_to_the_series_end() {
    let played = play([vec![DATA], vec![END], vec![START], vec![DATA], vec![DATA, "a second part"], vec![END]]);
    assert_eq!(kinds(&played), [EventKind::Start, EventKind::Data, EventKind::Data, EventKind::End]);
    assert!(played.events.iter().all(|event| event.typ == "albaem"));
    assert_eq!(played.events[2].frames[1].as_slice(), b"a second part");
    assert_eq!(played.skipped, [("before the start of a run", 2)]);
}

#[test]
fn malformed_messages_are_counted_and_the_next_good_one_is_served() {
    let deep = format!(r#"{{"message_type": "data", "x": {}1{}}}"#, "[".repeat(20_000), "]".repeat(20_000));
    let no_version = r#"{"message_type": "series-end", "message_id": 1}"#;
    let old = r#"{"message_type": "series-end", "message_id": 1, "version": 2}"#;
    let other = r#"{"message_type": "series", "message_id": 1, "version": 1}"#;
    let no_frame = r#"{"message_type": "data", "message_id": 1, "version": 1, "timestamp": 1}"#;
    let played = play(
        [START, "", "\0", "[]", &deep, no_version, old, other, no_frame, START, DATA, END, DATA, START]
            .map(|text| vec![text]),
    );
    assert_eq!(kinds(&played), [EventKind::Start, EventKind::Data, EventKind::End]);
    for reason in [
        ("not a JSON object", 3),
        ("nested more than 200 deep", 1),
        ("version is absent or not 1", 2),
        ("message_type is absent or unknown", 1),
        ("data lacks a field, or has a wrong one", 1),
        ("a start inside a run", 2),
        ("after the end of the run", 1),
    ] {
        assert!(played.skipped.contains(&reason), "{reason:?}: {:?}", played.skipped);
    }
}

/// A complete beamline capture (`tests/data/albaem-dump.cbors` in dranspose's source distribution).
#[test]
fn a_capture_comes_out_byte_for_byte() {
    let messages = testing::capture(include_bytes!("../fixtures/albaem-dump.cbors"));
    let played = play(messages.iter().cloned());
    assert_eq!(messages.len(), 6);
    assert!(testing::same_bytes(&played.events, &messages), "{:?}", played.skipped);
    assert_eq!(kinds(&played).iter().filter(|kind| **kind == EventKind::Data).count(), 4);
}

/// Verdicts of dranspose's own model (`AlbaemPacket`, dranspose 0.2.0, pydantic 2.14.3), written by
/// `fixtures/golden.py`.
#[test]
fn each_message_is_what_the_reference_takes_it_for() {
    let golden: Vec<(String, String)> = serde_json::from_str(include_str!("../fixtures/golden.json")).unwrap();
    assert!(golden.len() > 300, "the table is there");
    for (message, verdict) in golden {
        let ours = match Packet::read(message.as_bytes()) {
            Ok(Packet::SeriesStart) => "start",
            Ok(Packet::Data { .. }) => "data",
            Ok(Packet::SeriesEnd) => "end",
            Err(_) => "invalid",
        };
        assert_eq!(ours, verdict, "{message}");
    }
}

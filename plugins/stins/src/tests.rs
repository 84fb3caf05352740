use framegate_plugin_api::EventKind;
use framegate_zmq_source::{PerMessage, testing};

use crate::{messages::Packet, run::StinsProtocol};

const HEADER: &str = r#"{"htype": "header", "filename": "/a.h5", "msg_number": 0}"#;
const IMAGE: &str =
    r#"{"htype": "image", "frame": 0, "shape": [2, 3], "type": "uint16", "compression": "none", "msg_number": 1}"#;
const END: &str = r#"{"htype": "series_end", "msg_number": 2}"#;

fn play(messages: &[&[&str]]) -> testing::Played {
    testing::play(PerMessage::<StinsProtocol>::default(), messages.iter().map(|parts| parts.to_vec()))
}

fn kinds(played: &testing::Played) -> Vec<EventKind> {
    played.events.iter().map(|event| event.kind).collect()
}

#[test]
fn a_run_is_header_images_and_end_with_all_parts_untouched() {
    let played = play(&[&[HEADER, "{\"meta\": 1}"], &[IMAGE, "pixels", "", "more"], &[END]]);
    assert_eq!(kinds(&played), [EventKind::Start, EventKind::Data, EventKind::End]);
    assert!(played.events.iter().all(|event| event.typ == "STINS"));
    let parts: Vec<_> = played.events[1].frames.iter().map(|frame| frame.as_slice().to_vec()).collect();
    assert_eq!(parts, [IMAGE.as_bytes(), b"pixels", b"", b"more"]);
    assert!(played.skipped.is_empty());
}

#[test]
fn what_comes_before_the_header_is_junk() {
    let played = play(&[&[IMAGE, "x"], &["not json"], &[END], &[HEADER], &[END]]);
    assert_eq!(kinds(&played), [EventKind::Start, EventKind::End]);
    assert_eq!(played.skipped, [("before the start of a run", 3)]);
}

#[test]
fn malformed_messages_are_counted_and_the_next_good_one_is_served() {
    let deep = format!(r#"{{"msg_number": 1, "x": {}1{}}}"#, "[".repeat(100_000), "]".repeat(100_000));
    let played = play(&[
        &[HEADER],
        &[""],
        &["\0\0"],
        &["[]"],
        &[&deep],
        &[r#"{"htype": "image", "msg_number": 1}"#],
        &[HEADER],
        &[r#"{"htype": "other", "msg_number": 1}"#],
        &[IMAGE, ""],
        &[END],
        &[IMAGE],
        &[END],
    ]);
    assert_eq!(kinds(&played), [EventKind::Start, EventKind::Data, EventKind::End]);
    assert_eq!(played.skipped.iter().map(|(_, count)| count).sum::<u64>(), 9);
    assert!(played.skipped.contains(&("nested more than 200 deep", 1)));
    assert!(played.skipped.contains(&("after the end of the run", 2)));
}

/// Verdicts of dranspose's own model (`Stream1Packet`, dranspose 0.2.0, pydantic 2.14.3), written by
/// `fixtures/golden.py`.
#[test]
fn each_message_is_what_the_reference_takes_it_for() {
    let golden: Vec<(String, String)> = serde_json::from_str(include_str!("../fixtures/golden.json")).unwrap();
    assert!(golden.len() > 1000, "the table is there");
    let mut wrong = Vec::new();
    for (message, verdict) in golden {
        // Each character of the table is the byte with its code point.
        let message: Vec<u8> = message.chars().map(|c| u8::try_from(u32::from(c)).unwrap()).collect();
        let ours = match Packet::read(&message) {
            Ok(Packet::Header) => "header",
            Ok(Packet::Image) => "image",
            Ok(Packet::SeriesEnd) => "series_end",
            Err(_) => "invalid",
        };
        if ours != verdict {
            wrong.push(format!("{ours} instead of {verdict}: {}", String::from_utf8_lossy(&message)));
        }
    }
    assert!(wrong.is_empty(), "{} differ:\n{}", wrong.len(), wrong[..wrong.len().min(200)].join("\n"));
}

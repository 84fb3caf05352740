use framegate_plugin_api::{EventKind, EventSink, Frame, HostContext};
use framegate_zmq_source::testing::{self, Played, TestHost};
use serde::Deserialize;
use sha2::{Digest, Sha256};

use super::*;
use crate::split::Split;

const START: &str =
    r#"{"message_id":1,"version":1,"message_type":"series-start","arm_time":"2024-10-07T08:49:10.627Z"}"#;
const DATA: &str = r#"{"message_id":2,"version":1,"message_type":"data","frame_number":0,"x":[1.0,2.5],"y":"s"}"#;
const END: &str = r#"{"message_id":3,"version":1,"message_type":"series-end"}"#;

fn play<P: AsRef<[u8]>>(messages: impl IntoIterator<Item = Vec<P>>) -> Played {
    testing::play(PcapAssembler::new(1 << 20), messages)
}

fn texts(played: &Played) -> Vec<String> {
    let text = |frame: &Frame| String::from_utf8(frame.as_slice().to_vec()).unwrap();
    played.events.iter().map(|event| text(&event.frames[0])).collect()
}

#[test]
fn a_run_is_a_start_samples_and_an_end() {
    let played = play([vec![START, "more"], vec![DATA], vec![END]]);
    let kinds: Vec<_> = played.events.iter().map(|event| event.kind).collect();
    assert_eq!(kinds, [EventKind::Start, EventKind::Data, EventKind::Data, EventKind::End]);
    assert!(played.events.iter().all(|event| event.typ == "PCAP"));
    assert_eq!(played.events[0].frames.len(), 2);
    let sample = |number, x| {
        format!(r#"{{"message_id":2,"version":1,"message_type":"data","frame_number":{number},"x":{x},"y":"s"}}"#)
    };
    assert_eq!(texts(&played), [START, &sample(0, "1.0"), &sample(1, "2.5"), END]);
}

#[test]
fn what_gives_no_event_is_counted_with_the_reason() {
    let data = |fields: &str| {
        vec![format!(r#"{{"message_id":2,"version":1,"message_type":"data","frame_number":0,{fields}}}"#)]
    };
    let large = format!(r#""x":[{}],"y":"{}""#, "0,".repeat(4000) + "0", "y".repeat(1000));
    let deep = format!(r#""x":[1],"y":{}{}"#, "[".repeat(20_000), "]".repeat(20_000));
    let own = |text: &str| vec![text.to_owned()];
    let played = play([
        own(DATA),
        own("junk"),
        own(START),
        own(START),
        own(""),
        data(r#""x":[1],"y":[1,2]"#),
        data(r#""x":1"#),
        data(r#""x":[],"y":[]"#),
        vec![DATA.to_owned(), String::new()],
        data(&large),
        data(&deep),
        own(DATA),
        own(END),
        own(END),
    ]);
    assert_eq!(played.events.len(), 4);
    assert_eq!(
        played.skipped,
        [
            ("before the start of a run", 2),
            ("a start inside a run", 1),
            ("not a JSON object", 1),
            ("lists of different lengths", 1),
            ("data without a list", 1),
            ("data without samples", 1),
            ("data of more than one part", 1),
            ("the samples would be longer than max_split", 1),
            ("nested more than 200 deep", 1),
            ("after the end of the run", 1),
        ]
    );
}

#[test]
fn frame_numbers_that_are_left_out_are_counted() {
    let data = |number| vec![DATA.replace("\"frame_number\":0", &format!("\"frame_number\":{number}"))];
    // Two samples each: 0 and 1, 2 and 3, 7 and 8.
    let played = play([vec![START.to_owned()], data(0), data(2), data(7), vec![END.to_owned()]]);
    assert_eq!(played.events.len(), 8);
    assert!(played.counters.contains(&("lost_on_the_way", 3)), "{:?}", played.counters);
}

#[test]
fn a_frame_number_of_any_size_counts_up() {
    let nines = "9".repeat(4300);
    let message = format!(r#"{{"message_id":1,"version":1,"message_type":"data","frame_number":{nines},"x":[0,0]}}"#);
    let samples: Vec<Vec<u8>> = Split::new(message.as_bytes(), "1", &nines, 1 << 20).unwrap().collect();
    let second = String::from_utf8(samples[1].clone()).unwrap();
    assert!(second.contains(&format!("\"frame_number\":1{},", "0".repeat(4300))));
}

#[test]
fn the_host_can_hold_back_in_the_middle_of_a_message() {
    let list = vec!["1"; 1000].join(",");
    let message = format!(r#"{{"message_id":1,"version":1,"message_type":"data","frame_number":5,"x":[{list}]}}"#);
    let mut assembler = PcapAssembler::new(1 << 20);
    let mut state = framegate_source_kit::RunState::new("PCAP", &framegate_source_kit::Runs::default());
    let (_, host): (_, HostContext) = TestHost::new();
    let mut batches = Vec::new();
    for message in [Some(START), Some(&message), None] {
        let mut taken = message.map(|text| [Frame::copy(text.as_bytes())].into_iter().collect());
        loop {
            let mut events = 0;
            let mut push = |_| events += 1;
            let mut out = EventSink::new(&mut push, 64, usize::MAX);
            let mut flow = state.flow(&mut out, &host);
            if let Some(message) = taken.take() {
                framegate_zmq_source::Assembler::take(&mut assembler, message, &mut flow);
            }
            let more = framegate_zmq_source::Assembler::rest(&mut assembler, &mut flow);
            batches.push(events);
            if !more {
                break;
            }
        }
    }
    assert!(batches.iter().all(|events| *events <= 64), "{batches:?}");
    assert_eq!(batches.iter().sum::<usize>(), 1001);
}

#[derive(Deserialize)]
struct Golden {
    rows: Vec<(Vec<String>, String, Vec<String>)>,
    capture: Option<Capture>,
}

#[derive(Deserialize)]
struct Capture {
    messages: usize,
    events: usize,
    sha256: String,
}

/// The result of dranspose's own ingester for the messages (dranspose 0.2.0, pydantic 2.14.3), written by
/// `fixtures/golden.py`.
///
/// `FRAMEGATE_PCAP_GOLDEN` selects another such table, for a longer comparison (`golden.py SEED COUNT`).
fn golden() -> Golden {
    let table = std::env::var("FRAMEGATE_PCAP_GOLDEN").map_or_else(
        |_| include_str!("../fixtures/golden.json").to_owned(),
        |path| std::fs::read_to_string(path).unwrap(),
    );
    serde_json::from_str(&table).unwrap()
}

#[test]
fn each_message_becomes_what_the_reference_makes_of_it() {
    let golden = golden().rows;
    assert!(golden.len() > 250, "the table is there");
    let mut wrong = Vec::new();
    for (parts, what, events) in golden {
        // Each character of the table is the byte with its code point.
        let bytes = |part: &String| part.chars().map(|c| u8::try_from(u32::from(c)).unwrap()).collect::<Vec<u8>>();
        let message: Vec<Vec<u8>> = parts.iter().map(bytes).collect();
        let alone = play([message.clone()]);
        let (ours, ours_events) = if alone.events.len() == 1 {
            ("start", Vec::new())
        } else {
            let played = play([vec![START.as_bytes().to_vec()], message]);
            let kind = played.events[1..].first().map(|event| event.kind);
            match kind {
                Some(EventKind::End) => ("end", Vec::new()),
                Some(_) => ("data", texts(&played)[1..].to_vec()),
                None => ("none", Vec::new()),
            }
        };
        if ours != what || ours_events != events {
            wrong.push(format!("{ours} {ours_events:#?} instead of {what} {events:#?}: {parts:?}"));
        }
    }
    assert!(wrong.is_empty(), "{} differ:\n{}", wrong.len(), wrong[..wrong.len().min(20)].join("\n"));
}

/// A complete, small capture of a real beamline (`tests/data/pcap-zmq.cbors` in dranspose's source distribution).
#[test]
fn a_capture_gives_the_events_of_the_reference_byte_for_byte() {
    let Some(expected) = golden().capture else { return };
    let mut rest: &[u8] = include_bytes!("../fixtures/pcap-zmq.cbors");
    let mut messages: Vec<Vec<Vec<u8>>> = Vec::new();
    while !rest.is_empty() {
        let item: ciborium::Value = ciborium::from_reader(&mut rest).unwrap();
        let parts = item.as_array().unwrap().iter();
        messages.push(parts.map(|part| part.as_bytes().unwrap().clone()).collect());
    }
    assert_eq!(messages.len(), expected.messages);
    let played = play(messages);
    assert_eq!((played.events.len(), expected.events), (1502, 1502));
    assert!(played.skipped.is_empty());
    let mut digest = Sha256::new();
    for frame in played.events.iter().flat_map(|event| &event.frames) {
        digest.update((frame.len() as u64).to_le_bytes());
        digest.update(frame.as_slice());
    }
    let digest: String = digest.finalize().iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!(digest, expected.sha256);
}

#[test]
fn settings_have_a_limit_and_refuse_what_they_do_not_know() {
    let settings: PcapSettings = serde_json::from_str(r#"{"upstream_url": "tcp://h:1"}"#).unwrap();
    assert_eq!(settings.max_split.0, 1 << 30);
    let settings: PcapSettings =
        serde_json::from_str(r#"{"upstream_url": "tcp://h:1", "max_split": "1 MiB", "connect_wait": 5}"#).unwrap();
    assert_eq!(settings.max_split.0, 1 << 20);
    let error = serde_json::from_str::<PcapSettings>(r#"{"upstream_url": "tcp://h:1", "max_spilt": 5}"#).unwrap_err();
    assert!(error.to_string().contains("max_spilt"));
}

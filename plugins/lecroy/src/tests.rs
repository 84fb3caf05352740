use std::{collections::BTreeMap, io::Read, path::PathBuf};

use flate2::read::GzDecoder;
use framegate_plugin_api::{Event, EventKind, Frame, testing::Trial};
use framegate_zmq_source::testing::{self, Played};
use serde::Deserialize;
use sha2::{Digest, Sha256};

use super::*;
use crate::messages::Packet;

const PREPARE: &str = r#"{"htype": "msg", "what": 0, "frame": 0}"#;
const TRACES: &str = r#"{"htype": "traces", "ch": 2, "ts": 1.5, "frame": 0, "shape": [1, 3], "dtype": "float64", "horiz_offset": 0, "horiz_interval": 0}"#;
const SEQUENCE_END: &str = r#"{"htype": "msg", "what": 2, "frame": 2}"#;
const END: &str = r#"{"what": 3, "frame": 2, "frames": 2}"#;

/// Leaks the text to keep the tests short; each test makes few.
fn start(ntriggers: i32) -> &'static str {
    format!(r#"{{"htype": "msg", "what": 1, "frame": 0, "ntriggers": {ntriggers}, "seqno": 0, "channels": [2]}}"#)
        .leak()
}

fn play<P: AsRef<[u8]>>(messages: impl IntoIterator<Item = Vec<P>>) -> Played {
    testing::play(LecroyAssembler::new(1 << 30), messages)
}

fn parts(event: &Event) -> Vec<Vec<u8>> {
    event.frames.iter().map(|frame| frame.as_slice().to_vec()).collect()
}

fn texts(played: &Played) -> Vec<Vec<String>> {
    let texts = |event| parts(event).into_iter().map(|part| String::from_utf8(part).unwrap()).collect();
    played.events.iter().map(texts).collect()
}

#[test]
fn in_sequential_mode_each_sequence_has_its_own_start() {
    let (first, second) = (start(20), start(21));
    let messages = [
        vec![PREPARE],
        vec![first],
        vec![TRACES, "w1", "t1"],
        vec![TRACES, "w2", "t2"],
        vec![SEQUENCE_END],
        vec![second],
        vec![TRACES, "w3", "t3"],
        vec![SEQUENCE_END],
        vec![END],
    ];
    let played = play(messages);
    let kinds: Vec<_> = played.events.iter().map(|event| event.kind).collect();
    assert_eq!(kinds, [EventKind::Start, EventKind::Data, EventKind::Data, EventKind::End]);
    assert!(played.events.iter().all(|event| event.typ == "lecroy_9fwdWp6Rq7"));
    assert_eq!(
        texts(&played),
        [
            vec![PREPARE],
            vec![first, TRACES, "w1", "t1", TRACES, "w2", "t2", SEQUENCE_END],
            vec![second, TRACES, "w3", "t3", SEQUENCE_END],
            vec![END],
        ]
    );
    assert!(played.skipped.is_empty());
}

#[test]
fn in_continuous_mode_the_first_start_comes_before_every_sequence() {
    let start = start(-1);
    let messages = [
        vec![PREPARE],
        vec![start, "more"],
        vec![TRACES, "w1", "t1"],
        vec![SEQUENCE_END],
        vec![TRACES, "w2", "t2"],
        vec![SEQUENCE_END],
        vec![END],
    ];
    let played = play(messages);
    assert_eq!(
        texts(&played)[1..],
        [
            vec![start, "more", TRACES, "w1", "t1", SEQUENCE_END],
            vec![start, TRACES, "w2", "t2", SEQUENCE_END],
            vec![END]
        ]
    );
    assert!(played.skipped.is_empty());
    // A run without any sequence is complete.
    let played = play([vec![PREPARE], vec![start], vec![END]]);
    assert_eq!((texts(&played).len(), played.skipped.len()), (2, 0));
}

#[test]
fn a_run_begins_when_a_sequence_start_follows_the_latest_prepare() {
    let (start, other) = (start(1), &*PREPARE.replace("\"frame\": 0", "\"frame\": 7").leak());
    let played =
        play([vec![start], vec![PREPARE], vec!["junk"], vec![other], vec![TRACES], vec![start], vec![SEQUENCE_END]]);
    assert_eq!(texts(&played), [vec![other], vec![start, SEQUENCE_END]]);
    assert_eq!(played.skipped, [("before the start of a run", 3), ("a prepare that another one follows", 1)]);

    let played = play([vec![PREPARE], vec![END], vec![start], vec![TRACES]]);
    assert!(played.events.is_empty());
    assert!(played.skipped.contains(&("a prepare without a sequence", 1)));
}

#[test]
fn traces_that_were_lost_are_missed_at_the_latest_by_the_end_of_their_sequence() {
    let numbered = |text: &str, frame: u32| vec![text.replace("\"frame\": 0", &format!("\"frame\": {frame}"))];
    let traces = |frame| numbered(TRACES, frame);
    let sequence_end = |frame| numbered(&SEQUENCE_END.replace("2}", "0}").replace("\"what\": 0", "\"what\": 2"), frame);
    for (ntriggers, lost, came) in [
        (-1, 0, vec![traces(0), traces(1), sequence_end(2), traces(2), traces(3), sequence_end(4)]),
        (20, 0, vec![traces(0), sequence_end(1), numbered(start(20), 1), traces(1), sequence_end(2)]),
        // The first trace lost, one in the middle, the last of a sequence, a whole sequence.
        (-1, 1, vec![traces(1), sequence_end(2)]),
        (-1, 1, vec![traces(0), traces(2), sequence_end(3)]),
        (-1, 1, vec![traces(0), sequence_end(2), traces(2), sequence_end(3)]),
        (20, 2, vec![traces(0), sequence_end(1), numbered(start(20), 3), traces(3), sequence_end(4)]),
        // A publisher that numbers no traces: nothing is counted as lost.
        (20, 0, vec![traces(0), traces(0), sequence_end(0), traces(0), sequence_end(0)]),
    ] {
        let mut messages = vec![vec![PREPARE.to_owned()], vec![start(ntriggers).to_owned()]];
        messages.extend(came);
        let played = play(messages);
        assert!(played.counters.contains(&("lost_on_the_way", lost)), "{lost}: {:?}", played.counters);
        assert!(played.skipped.is_empty(), "{:?}", played.skipped);
    }
    let played = play([vec![PREPARE], vec![start(1)], vec![TRACES, "12345"]]);
    assert_eq!(played.bytes_waiting as usize, start(1).len() + TRACES.len() + 5);
}

#[test]
fn a_sequence_that_the_end_cuts_is_counted() {
    for (ntriggers, cut) in [(20, vec![TRACES, "w", "t"]), (-1, vec![TRACES, "w", "t"]), (20, vec![])] {
        let start = start(ntriggers);
        let mut messages = vec![vec![PREPARE], vec![start], vec![END]];
        if !cut.is_empty() {
            messages.insert(2, cut);
        }
        let played = play(messages);
        assert_eq!(texts(&played), [[PREPARE], [END]]);
        assert_eq!(played.skipped, [("a sequence that the end of the run cut", 1)]);
    }
}

#[test]
fn a_sequence_has_a_limit_in_bytes_and_the_next_is_served() {
    for ntriggers in [20, -1] {
        let start = start(ntriggers);
        let large = &*"w".repeat(600).leak();
        let mut messages =
            vec![vec![PREPARE], vec![start], vec![TRACES, large], vec![TRACES, large], vec![SEQUENCE_END]];
        if ntriggers == 20 {
            messages.push(vec![start]);
        }
        messages.extend([vec![TRACES, "w"], vec![SEQUENCE_END], vec![TRACES, large], vec![TRACES, large], vec![END]]);
        let played = testing::play(LecroyAssembler::new(1000), messages);
        assert_eq!(texts(&played), [vec![PREPARE], vec![start, TRACES, "w", SEQUENCE_END], vec![END]]);
        assert_eq!(played.skipped, [("a sequence longer than max_sequence", 2)]);
    }
}

#[test]
fn a_flood_of_empty_parts_is_limited_too() {
    let start = start(20);
    let mut messages = vec![vec![PREPARE], vec![start]];
    let mut many = vec![""; 1000];
    many[0] = TRACES;
    messages.extend((0..100).map(|_| many.clone()));
    messages.extend([vec![SEQUENCE_END], vec![END]]);
    let played = testing::play(LecroyAssembler::new(1 << 20), messages);
    assert_eq!(played.events.len(), 2);
    assert_eq!(played.skipped, [("a sequence longer than max_sequence", 1)]);
}

#[test]
fn malformed_messages_are_counted_and_the_sequence_goes_on() {
    let start = start(20);
    let deep = format!(r#"{{"htype": "msg", "what": {}{}}}"#, "[".repeat(20_000), "]".repeat(20_000)).leak();
    let messages = [
        vec![PREPARE],
        vec![start],
        vec![""],
        vec![TRACES, "w", "t"],
        vec![r#"{"htype": "traces", "frame": 0}"#],
        vec![deep],
        vec!["[]"],
        vec![PREPARE],
        vec![r#"{"what": 3, "frame": 0}"#],
        vec![SEQUENCE_END],
        vec![END],
    ];
    let played = play(messages);
    assert_eq!(texts(&played)[1], [start, TRACES, "w", "t", SEQUENCE_END]);
    assert_eq!(played.events.len(), 3);
    assert_eq!(played.skipped.iter().map(|(_, count)| count).sum::<u64>(), 6);
}

/// Messages or events, each as its parts.
type Parts = Vec<Vec<String>>;

#[derive(Deserialize)]
struct Golden {
    messages: Vec<(String, String)>,
    runs: Vec<(Parts, Parts)>,
    captures: BTreeMap<String, Capture>,
}

#[derive(Deserialize)]
struct Capture {
    messages: usize,
    frames: Vec<usize>,
    sha256: String,
}

/// The result of dranspose's own model and ingester for the messages (dranspose 0.2.0, pydantic 2.14.3), written by
/// `fixtures/golden.py`.
///
/// `FRAMEGATE_LECROY_GOLDEN` selects another such table, for a longer comparison (`golden.py SEED COUNT`).
fn golden() -> Golden {
    let table = std::env::var("FRAMEGATE_LECROY_GOLDEN").map_or_else(
        |_| include_str!("../fixtures/golden.json").to_owned(),
        |path| std::fs::read_to_string(path).unwrap(),
    );
    serde_json::from_str(&table).unwrap()
}

/// Each character of the table is the byte with its code point.
fn bytes(part: &str) -> Vec<u8> {
    part.chars().map(|c| u8::try_from(u32::from(c)).unwrap()).collect()
}

#[test]
fn each_message_is_what_the_reference_takes_it_for() {
    let mut wrong = Vec::new();
    for (message, verdict) in golden().messages {
        let ours = match Packet::read(&bytes(&message)) {
            Ok(Packet::Prepare) => "prepare",
            Ok(Packet::SequenceStart { .. }) => "start",
            Ok(Packet::Traces) => "data",
            Ok(Packet::SequenceEnd) => "sequence_end",
            Ok(Packet::End) => "end",
            Err(_) => "none",
        };
        if ours != verdict {
            wrong.push(format!("{ours} instead of {verdict}: {message}"));
        }
    }
    assert!(wrong.is_empty(), "{} differ:\n{}", wrong.len(), wrong.join("\n"));
}

#[test]
fn each_run_gives_the_events_of_the_reference() {
    let golden = golden().runs;
    assert!(golden.len() >= 15, "the table is there");
    for (messages, events) in golden {
        let played = play(messages.iter().map(|parts| parts.iter().map(|part| bytes(part)).collect()));
        let ours: Vec<Vec<Vec<u8>>> = played.events.iter().map(parts).collect();
        let expected: Vec<Vec<Vec<u8>>> =
            events.iter().map(|parts| parts.iter().map(|part| bytes(part)).collect()).collect();
        assert!(ours == expected, "{messages:#?}\ngives {:#?}", texts(&played));
    }
}

/// Two real oscilloscope runs (`tests/data` in dranspose's source distribution). The small one, in continuous mode, is
/// stored here; the other is read from the distribution in `FRAMEGATE_PEER_SUITE`.
#[test]
fn the_captures_give_the_events_of_the_reference_byte_for_byte() {
    let here = PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/fixtures"));
    let there = std::env::var_os("FRAMEGATE_PEER_SUITE").map(|source| PathBuf::from(source).join("tests/data"));
    for (name, expected) in golden().captures {
        let path = match &there {
            _ if here.join(&name).exists() => here.join(&name),
            Some(data) => data.join(&name),
            None => {
                framegate_skip::skip("FRAMEGATE_PEER_SUITE names no source distribution of dranspose");
                continue;
            }
        };
        let mut unpacked = Vec::new();
        GzDecoder::new(std::fs::File::open(path).unwrap()).read_to_end(&mut unpacked).unwrap();
        let mut rest = unpacked.as_slice();
        let mut messages: Vec<Vec<Vec<u8>>> = Vec::new();
        while !rest.is_empty() {
            let item: ciborium::Value = ciborium::from_reader(&mut rest).unwrap();
            messages.push(item.as_array().unwrap().iter().map(|part| part.as_bytes().unwrap().clone()).collect());
        }
        assert_eq!(messages.len(), expected.messages, "{name}");
        let played = play(messages);
        let frames: Vec<usize> = played.events.iter().map(|event| event.frames.len()).collect();
        assert_eq!(frames, expected.frames, "{name}");
        assert!(played.skipped.is_empty(), "{name}: {:?}", played.skipped);
        let mut digest = Sha256::new();
        for frame in played.events.iter().flat_map(|event| &event.frames).map(Frame::as_slice) {
            digest.update((frame.len() as u64).to_le_bytes());
            digest.update(frame);
        }
        let digest: String = digest.finalize().iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(digest, expected.sha256, "{name}");
    }
}

#[test]
fn only_one_connection_is_possible() {
    let error = Trial::<Lecroy>::create(r#"{"upstream_url": ["tcp://h:1", "tcp://h:2"]}"#).unwrap_err();
    assert!(error.message().contains("must come over one connection"), "{error}");
}

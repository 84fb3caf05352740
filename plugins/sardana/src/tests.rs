use framegate_plugin_api::{EventKind, EventSink};
use framegate_source_kit::{RunState, Runs, testing::TestHost};

use crate::{
    messages::{Kind, Packet},
    run::{TYP, take},
};

fn kind(path: &str) -> Kind {
    match path {
        "data_desc" => Kind::Description,
        "record_data" => Kind::Record,
        "record_end" => Kind::End,
        other => panic!("{other}"),
    }
}

/// The result of dranspose's own server for the posts (dranspose 0.2.0, pydantic 2.14.3, FastAPI 0.165), written by
/// `fixtures/golden.py`.
#[test]
fn each_post_becomes_what_the_reference_makes_of_it() {
    let golden: Vec<(String, String, Option<String>)> =
        serde_json::from_str(include_str!("../fixtures/golden.json")).unwrap();
    assert!(golden.len() > 300, "the table is there");
    let mut wrong = Vec::new();
    for (path, body, expected) in golden {
        // Each character of the table is the byte with its code point.
        let bytes: Vec<u8> = body.chars().map(|c| u8::try_from(u32::from(c)).unwrap()).collect();
        let ours = Packet::read(kind(&path), &bytes).map(|packet| String::from_utf8(packet.json).unwrap());
        if ours.as_ref().ok() != expected.as_ref() {
            wrong.push(format!("{ours:?} instead of {expected:?}: {path} {}", String::from_utf8_lossy(&bytes)));
        }
    }
    assert!(wrong.is_empty(), "{} differ:\n{}", wrong.len(), wrong.join("\n"));
}

#[test]
fn all_that_is_wrong_with_a_body_is_told_at_once() {
    let problems =
        Packet::read(Kind::Description, br#"{"type": "RecordData", "serialno": "x", "scandir": 5}"#).unwrap_err();
    let told: Vec<_> = problems.iter().map(|problem| (problem.field.unwrap(), &*problem.what)).collect();
    assert_eq!(
        told,
        [
            ("type", "must be \"DataDescription\", or absent"),
            ("serialno", "must be a whole number"),
            ("scandir", "must be a text"),
            ("title", "is required"),
        ]
    );
    let problems = Packet::read(Kind::End, b"{\"a\": }").unwrap_err();
    assert_eq!((problems[0].field, &*problems[0].what), (None, "a value expected at byte 6"));
    let deep = format!("{{\"a\": {}{}}}", "[".repeat(20_000), "]".repeat(20_000));
    assert!(Packet::read(Kind::End, deep.as_bytes()).unwrap_err()[0].what.contains("nested more than 200 deep"));
}

#[test]
fn points_that_were_left_out_are_counted() {
    let (_, host) = TestHost::new();
    let mut state = RunState::new(TYP, &Runs::default());
    let mut push = |_| {};
    let mut out = EventSink::new(&mut push, usize::MAX, usize::MAX);
    take(
        Packet::read(Kind::Description, br#"{"serialno": 1, "scandir": "", "title": ""}"#).unwrap(),
        &mut state.flow(&mut out, &host),
    );
    assert!(!state.counters().iter().any(|(name, _)| *name == "lost_on_the_way"));
    for body in [r#""point_nb": 0"#, r#""point_nb": "3""#, r#""point_nb": null"#, r#""x": 5"#, r#""point_nb": 4"#] {
        let body = format!(r#"{{"timestamp": 1, {body}}}"#);
        take(Packet::read(Kind::Record, body.as_bytes()).unwrap(), &mut state.flow(&mut out, &host));
    }
    assert!(state.counters().contains(&("lost_on_the_way", 2)), "{:?}", state.counters());
}

#[test]
fn a_run_is_a_description_records_and_an_end_and_a_second_description_is_data() {
    let (_, host) = TestHost::new();
    let mut state = RunState::new(TYP, &Runs::default());
    let mut events = Vec::new();
    let mut push = |event| events.push(event);
    let mut out = EventSink::new(&mut push, usize::MAX, usize::MAX);
    use Kind::{Description, End, Record};
    for kind in [Record, End, Description, Record, Description, Record, End, Record, Description, End] {
        take(Packet { kind, json: vec![], number: None }, &mut state.flow(&mut out, &host));
    }
    let kinds: Vec<_> = events.iter().map(|event| event.kind).collect();
    assert_eq!(kinds, [EventKind::Start, EventKind::Data, EventKind::Data, EventKind::Data, EventKind::End]);
    assert!(events.iter().all(|event| event.typ == "sardana"));
    assert_eq!(state.skipped(), [("before the start of a run", 2), ("after the end of the run", 3)]);
}

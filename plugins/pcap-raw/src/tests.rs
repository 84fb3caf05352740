use framegate_plugin_api::{Event, EventKind, EventSink};
use framegate_source_kit::{RunState, Runs, testing::TestHost};

use crate::{
    lines::Lines,
    run::{Arms, TYP},
    testing::play,
};

const HEADER: &str = "arm_time: 2023-12-19T07:51:12.754Z\nmissed: 0\nfields:\n PCAP.BITS0 uint32 Value\n\n";

fn texts(events: &[Event]) -> Vec<&str> {
    events.iter().map(|event| std::str::from_utf8(event.frames[0].as_slice()).unwrap()).collect()
}

#[test]
fn an_arm_is_a_header_lines_and_an_end() {
    let (events, skipped) = play(&[format!("{HEADER} 1 2\n 3 4\r\n\nEND 2 Disarmed\n")]);
    assert_eq!(texts(&events), [HEADER, " 1 2\n", " 3 4\r\n", "\n", "END 2 Disarmed\n"]);
    let kinds: Vec<_> = events.iter().map(|event| event.kind).collect();
    assert_eq!(kinds, [EventKind::Start, EventKind::Data, EventKind::Data, EventKind::Data, EventKind::End]);
    assert!(events.iter().all(|event| event.typ == "PCAP_RAW" && event.frames.len() == 1));
    assert!(skipped.is_empty());
}

#[test]
fn a_scan_may_have_several_arms_and_what_lies_between_is_junk() {
    let arm = format!("{HEADER} 1\nEND 1 Ok\n");
    let (events, skipped) = play(&[format!("junk\nEND\n{arm}{arm}more\n\n{arm}tail")]);
    assert_eq!(texts(&events), [HEADER, " 1\n", "END 1 Ok\n"].repeat(3));
    assert_eq!(skipped, [("before the start of a run", 5)]);
}

#[test]
fn the_end_of_the_connection_never_makes_up_an_end_and_the_next_arm_goes_on() {
    let arm = format!("{HEADER} 1\nEND 1 Ok\n");
    for (broken, events_of_it, reasons) in [
        ("", 0, vec![]),
        ("arm_time: 2", 0, vec!["before the start of a run"]),
        ("arm_time: 2\nmissed: 0\nfie", 0, vec!["the connection broke inside a header"]),
        ("arm_time: 2\n\n", 1, vec!["the connection broke inside an arm"]),
        ("arm_time: 2\n\n 1\n", 2, vec!["the connection broke inside an arm"]),
        (
            "arm_time: 2\n\n 1\n 2.",
            2,
            vec!["a line that the connection's end cut", "the connection broke inside an arm"],
        ),
        (
            "arm_time: 2\n\n 1\nEN",
            2,
            vec!["a line that the connection's end cut", "the connection broke inside an arm"],
        ),
        // The end was received, except for the rest of its line; dranspose accepts it too.
        ("arm_time: 2\n\n 1\nEND 1 Dis", 3, vec![]),
    ] {
        let (events, skipped) = play(&[broken, arm.as_str()]);
        assert_eq!(events.len(), events_of_it + 3, "{broken:?}");
        assert_eq!(texts(&events)[events_of_it..], [HEADER, " 1\n", "END 1 Ok\n"], "{broken:?}");
        assert_eq!(skipped, reasons.into_iter().map(|reason| (reason, 1)).collect::<Vec<_>>(), "{broken:?}");
    }
}

#[test]
fn samples_that_the_pandabox_tells_of_and_that_did_not_come_are_counted() {
    for (text, lost) in [
        (format!("{HEADER} 1\n 2\nEND 2 Ok\n"), 0),
        (format!("{}END 0 Ok\n", HEADER.replace("missed: 0", "missed: 7")), 7),
        (format!("{HEADER} 1\nEND 4 Data overrun\n{HEADER}END 2"), 5),
        (format!("{HEADER} 1\n 2\nEND 1 Ok\n{HEADER} 1\nEND\n"), 0),
        (format!("{HEADER}END 99999999999999999999999 Ok\n"), 0),
        ("arm_time: 2\nmissed: many\n\nEND -1\n".to_owned(), 0),
    ] {
        let (_, host) = TestHost::new();
        let (mut lines, mut arms) = (Lines::new(100), Arms::new(200));
        let mut state = RunState::new(TYP, &Runs::default());
        let mut push = |_| {};
        let mut out = EventSink::new(&mut push, usize::MAX, usize::MAX);
        lines.push(text.as_bytes());
        while let Some(line) = lines.next() {
            arms.take(line, &mut state.flow(&mut out, &host));
        }
        arms.lost(lines.finish(), &mut state.flow(&mut out, &host));
        assert!(state.counters().contains(&("lost_on_the_way", lost)), "{text}: {:?}", state.counters());
    }
}

#[test]
fn lines_and_headers_have_limits() {
    let long = "x".repeat(100);
    let arm = format!("{HEADER} 1\nEND 1 Ok\n");
    let (events, skipped) = play(&[format!("{long}\n{HEADER} 1\n{long}\n 2\nEND 2 Ok\n{arm}")]);
    assert_eq!(texts(&events), [HEADER, " 1\n", " 2\n", "END 2 Ok\n", HEADER, " 1\n", "END 1 Ok\n"]);
    assert_eq!(skipped, [("before the start of a run", 1), ("a line longer than max_line", 1)]);

    // After a refused header, the rest of the arm is junk, including its end.
    for (header, reason) in [
        (format!("arm_time: 2\n{}", "field\n".repeat(50)), "a header longer than max_header"),
        (format!("arm_time: 2\n{long}\n"), "a header with a line longer than max_line"),
    ] {
        let (events, skipped) = play(&[format!("{header}\n 1\nEND 1 Ok\n{arm}")]);
        assert_eq!(texts(&events), [HEADER, " 1\n", "END 1 Ok\n"]);
        assert_eq!(skipped[0], (reason, 1));
    }
}

/// The result of dranspose's own ingester (dranspose 0.2.0), written by `fixtures/golden.py`.
#[test]
fn whole_arms_give_the_events_of_the_reference() {
    let golden: Vec<(String, Vec<String>)> = serde_json::from_str(include_str!("../fixtures/golden.json")).unwrap();
    assert!(golden.len() >= 60, "the table is there");
    // Each character of the table is the byte with its code point.
    let bytes = |text: &String| text.chars().map(|c| u8::try_from(u32::from(c)).unwrap()).collect::<Vec<u8>>();
    for (sent, expected) in golden {
        let (events, _) = play(&[bytes(&sent)]);
        let ours: Vec<Vec<u8>> = events.iter().map(|event| event.frames[0].as_slice().to_vec()).collect();
        assert_eq!(ours, expected.iter().map(bytes).collect::<Vec<_>>(), "{sent:?}");
    }
}

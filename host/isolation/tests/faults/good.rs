//! What a child does that keeps the rules.

use std::{thread, time::Duration};

use framegate_isolation::wire::{Failure, Head, StatusText, to_host};
use framegate_plugin_abi::{
    caller::Fault,
    codes::{ErrorKind, LogLevel, Progress},
    frame::Frame,
};

use crate::common::{Host, PATIENCE, content, puppet, until};

/// As the value of the order `give`.
pub(crate) fn sizes(sizes: &[usize]) -> Vec<u8> {
    sizes.iter().flat_map(|size| (*size as u32).to_le_bytes()).collect()
}

fn give(host: &mut Host, lengths: &[usize]) -> Vec<Frame> {
    host.apart.set_parameter("give", &sizes(lengths)).unwrap();
    host.events(lengths.len()).unwrap().into_iter().flatten().collect()
}

#[test]
fn events_of_all_sizes_arrive_and_outlive_their_child_and_their_host() {
    let mut host = puppet(PATIENCE);
    let lengths = [0, 1, 64, 2047, 2048, 65_536, 65_537, 3 << 20];
    let frames = give(&mut host, &lengths);
    let fault = host.fails("kill", &[]).1;
    assert!(fault.contains("crashed with SIGKILL"), "{fault}");
    // Those of fewer than 2 KiB are copies, which hold nothing.
    let ledger = host.ends(4);
    assert_eq!(ledger.delivered(), 8);
    let elsewhere = thread::spawn(move || {
        for (number, (frame, len)) in frames.iter().zip(lengths).enumerate() {
            assert!(frame.as_slice() == content(number, len), "frame {number}");
        }
    });
    elsewhere.join().unwrap();
    assert_eq!(ledger.released(), 8);
}

#[test]
fn status_triggers_parameters_and_runs_one_after_the_other() {
    let mut host = puppet(PATIENCE);
    assert_eq!(host.apart.parameters().unwrap().as_deref(), Some("[]"));
    give(&mut host, &[10, 20]);
    assert_eq!(host.apart.status().unwrap().counters, [("blocks".to_owned(), 2)]);
    let mut triggered = Vec::new();
    host.apart.trigger(7, |typ, _, frames| triggered.push((typ, frames.len()))).unwrap();
    assert_eq!(triggered, [("puppet", 1)]);
    host.apart.close().unwrap();
    host.apart.close().unwrap();
    assert_eq!(host.next(&mut Vec::new()).unwrap(), Progress::End);
    host.apart.open().unwrap();
    give(&mut host, &[30]);
    host.ends(0);
}

#[test]
fn a_refused_order_and_a_broken_run_are_errors_of_the_source_which_lives_on() {
    let mut host = puppet(PATIENCE);
    let failure = Failure { kind: Some(ErrorKind::Settings), text: "not so".into() }.to_bytes();
    let refused = host.apart.set_parameter("answer", &Head::new(to_host::FAILED, 0).with(&failure)).unwrap_err();
    assert!(matches!(&refused, Fault::Source(error) if error.message() == "not so"), "{refused:?}");
    let broken = Head { run: 1, ..Head::new(to_host::BROKEN, 0) }.with(&failure);
    assert!(host.fails("bytes", &broken).1.contains("not so"));
    // Of a run that is over: nothing.
    host.apart.close().unwrap();
    host.apart.open().unwrap();
    host.apart.set_parameter("bytes", &broken).unwrap();
    assert_eq!(host.next(&mut Vec::new()).unwrap(), Progress::Idle);
    give(&mut host, &[1]);
    host.ends(0);
}

#[test]
fn events_of_a_run_that_did_not_open_are_not_those_of_the_next() {
    let mut host = puppet(PATIENCE);
    give(&mut host, &[5000]);
    host.apart.close().unwrap();
    // The puppet answers OPEN later than it says: first comes an event of that run, then a failure.
    let failure = Failure { kind: Some(ErrorKind::Connect), text: "no".into() }.to_bytes();
    let event = [
        Head { run: 2, count: 1, ..Head::new(to_host::EVENTS, 0) }
            .with(&[2, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 16, 0, 0]),
        Head { run: 2, ..Head::new(to_host::FAILED, 0) }.with(&failure),
    ];
    host.apart.set_parameter("to open", &event.concat()).unwrap();
    let refused = host.apart.open().unwrap_err();
    assert!(matches!(&refused, Fault::Source(error) if error.message() == "no"), "{refused:?}");
    assert_eq!(host.ledger.delivered(), host.ledger.released(), "the event was dropped");
    host.apart.open().unwrap();
    let mut events = Vec::new();
    host.next(&mut events).unwrap();
    assert!(events.is_empty());
    host.ends(0);
}

#[test]
fn a_status_that_lacks_everything_is_an_empty_one() {
    let mut host = puppet(PATIENCE);
    let status = serde_json::to_vec(&StatusText::default()).unwrap();
    host.apart.set_parameter("bytes", &Head::new(to_host::STATUS, 0).with(&status)).unwrap();
    host.apart.set_parameter("bytes", &Head::new(to_host::STATUS, 0).with(b"{}")).unwrap();
    assert_eq!(host.next(&mut Vec::new()).unwrap(), Progress::Idle);
    host.ends(0);
}

#[test]
fn printed_lines_reach_the_log_with_their_levels() {
    let mut host = puppet(PATIENCE);
    host.apart.set_parameter("print", b"<3>broken\n<4>odd\n<7>detail\nplain\n<9>plain too\nno end").unwrap();
    let fault = host.fails("exit", &[3]).1;
    assert!(fault.contains("exit status 3"), "{fault}");
    assert!(fault.contains("plain <9>plain too no end)"), "what it printed last, without lines of a log: {fault}");
    assert!(!fault.contains("odd"), "{fault}");
    let lines = host.log.lines();
    let expected = [
        (LogLevel::Error, "broken"),
        (LogLevel::Warn, "odd"),
        (LogLevel::Debug, "detail"),
        (LogLevel::Info, "plain"),
        (LogLevel::Info, "<9>plain too"),
        (LogLevel::Info, "no end"),
    ];
    let expected = expected.map(|(level, text)| (level, text.to_owned()));
    assert!(lines.ends_with(&expected), "{lines:?}");
    host.ends(0);
}

#[test]
fn endless_output_is_limited_and_counted() {
    let mut host = puppet(PATIENCE);
    host.apart.set_parameter("print for ever", &[]).unwrap();
    let counted = |host: &Host| {
        let lines = host.log.lines();
        let left_out = lines.iter().filter_map(|(_, line)| line.split_once(" more lines of the source's process are"));
        left_out.map(|(number, _)| number.parse::<u64>().unwrap()).sum::<u64>()
    };
    let before = std::time::Instant::now();
    until("the left out lines are counted", || counted(&host) > 1000);
    let seconds = before.elapsed().as_secs() as usize + 1;
    give(&mut host, &[10]);
    let lines = host.log.lines().len();
    assert!(lines < 21 * (seconds + 2), "{lines} lines in {seconds} s");
    host.apart.close().unwrap();
    host.ends(0);
}

#[test]
fn an_end_is_told_once_and_then_the_host_waits() {
    let mut host = puppet(PATIENCE);
    let ended = Head { run: 1, ..Head::new(to_host::ENDED, 0) }.with(&[]);
    host.apart.set_parameter("bytes", &ended).unwrap();
    until("the end", || host.next(&mut Vec::new()).unwrap() == Progress::End);
    let before = std::time::Instant::now();
    assert_eq!(host.next(&mut Vec::new()).unwrap(), Progress::End);
    assert!(before.elapsed() >= Duration::from_millis(15), "it waits, as long as it may");
    host.ends(0);
}

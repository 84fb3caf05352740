//! Children that break the protocol.

use framegate_isolation::wire::{BLOCK, Failure, Head, LONGEST_TO_HOST, WireEvent, WireFrame, to_host, write_events};
use framegate_plugin_abi::codes::{EventKind, LogLevel, Progress};
use serde_json::json;

use super::good::sizes;
use crate::common::{Host, PATIENCE, SHORT, content, launch, puppet, start_as, until};

fn message(kind: u16, body: &[u8]) -> Vec<u8> {
    Head { run: 1, ..Head::new(kind, 0) }.with(body)
}

/// Events with these frames, one each, of type 0.
fn events(count: u32, frames: &[WireFrame]) -> Vec<u8> {
    let events: Vec<_> = frames.iter().map(|_| WireEvent { kind: EventKind::Data, typ: 0, frames: 1 }).collect();
    let mut body = Vec::new();
    write_events(&events, frames, &mut body);
    Head { run: 1, count, ..Head::new(to_host::EVENTS, 0) }.with(&body)
}

/// A puppet that has defined its type, with one frame of its first block held by this side.
fn with_event() -> (Host, framegate_isolation::Frames) {
    let mut host = puppet(PATIENCE);
    host.apart.set_parameter("give", &sizes(&[5000])).unwrap();
    let mut events = host.events(1).unwrap();
    (host, events.remove(0))
}

/// What ends the child, and a part of what is said of it.
fn wrong() -> Vec<(Vec<u8>, &'static str)> {
    let at = |block, offset, len| events(1, &[WireFrame { block, offset, len }]);
    let blocks = (16 << 20) / BLOCK as u32;
    let all = u32::MAX;
    let of_typ = |typ, kind, frames: u16| {
        let body = [&[kind, typ][..], &frames.to_le_bytes(), &[0; 12]].concat();
        Head { run: 1, count: 1, ..Head::new(to_host::EVENTS, 0) }.with(&body)
    };
    let many: Vec<u8> = (1..=64).flat_map(|typ| message(to_host::TYP, &[typ, b'a' + typ % 26, typ])).collect();
    let counters: Vec<_> = (0..100_000).map(|number| (format!("{number}"), 1)).collect();
    let status = serde_json::to_vec(&json!({ "counters": counters })).unwrap();
    let odd = Failure { kind: None, text: "the source panicked".into() };
    vec![
        (Head { len: all, ..Head::new(to_host::PONG, 0) }.to_bytes().to_vec(), "4294967295 bytes"),
        (vec![0xff; 16], "4294967295 bytes"),
        (Head { len: LONGEST_TO_HOST as u32 + 1, ..Head::new(0x9000, 0) }.to_bytes().to_vec(), "262145 bytes"),
        (message(0, &[]), "kind 0"),
        (message(12, b"x"), "kind 12"),
        (message(0x7fff, &[]), "kind 32767"),
        (at(all, 0, 1), "block 4294967295"),
        (at(all, all, all), "block 4294967295"),
        (at(blocks, 0, 0), "block 256"),
        (at(0, BLOCK as u32, 1), "byte 65536"),
        (at(0, all, 1), "byte 4294967295"),
        (at(0, 0, all), "4294967295 bytes"),
        (at(0, 0, (16 << 20) + 1), "16777217 bytes"),
        (at(blocks - 1, 1, BLOCK as u32), "block 255"),
        (Head { run: 99, ..Head::new(to_host::ENDED, 0) }.with(&[]), "a message of run 99"),
        (Head { run: 0, ..Head::new(to_host::EVENTS, 0) }.with(&[]), "a message of run 0"),
        (events(0, &[WireFrame { block: 0, offset: 0, len: 1 }]), "0 events in 16 bytes"),
        (events(2, &[WireFrame { block: 2, offset: 0, len: 1 }]), "2 events in 16 bytes"),
        (events(all, &[]), "4294967295 events in 0 bytes"),
        (of_typ(1, 2, 1), "type 1"),
        (of_typ(255, 2, 1), "type 255"),
        (of_typ(0, 0, 1), "kind 0"),
        (of_typ(0, 4, 1), "kind 4"),
        (of_typ(0, 255, 1), "kind 255"),
        (of_typ(0, 2, 0), "1 events in 16 bytes"),
        (of_typ(0, 2, 2), "1 events in 16 bytes"),
        (of_typ(0, 2, 65535), "1 events in 16 bytes"),
        (message(to_host::TYP, &[]), "a type of no bytes"),
        (message(to_host::TYP, &[2, b'x']), "type 2 after 1"),
        (message(to_host::TYP, &[0, b'x']), "type 0 after 1"),
        (message(to_host::TYP, &[1, 0xff, 0xfe]), "UTF-8"),
        (message(to_host::TYP, &[&[1][..], &[b'x'; 65]].concat()), "65 bytes"),
        (many, "type 64 after 64"),
        (message(to_host::BROKEN, &99_u32.to_le_bytes()), "kind 99"),
        (message(to_host::BROKEN, &all.to_le_bytes()), "kind 4294967295"),
        (message(to_host::BROKEN, &[1, 0]), "2 bytes"),
        (message(to_host::BROKEN, &odd.to_bytes()), "the source panicked"),
        (message(to_host::STATUS, b"no json"), "no json"),
        (message(to_host::STATUS, b"{\"counters\": 7}"), "counters"),
        (message(to_host::STATUS, &[0xff; 300]), "broke the protocol"),
        (message(to_host::STATUS, &status), "broke the protocol"),
        (message(to_host::STATUS, "[".repeat(200_000).as_bytes()), "broke the protocol"),
        (message(to_host::WAIT, &[0; 11]), "a body of 3 bytes"),
        (message(to_host::WAIT, &[]), "a body of 0 bytes"),
        (message(to_host::MORE, &[0; 3]), "a body of 3 bytes"),
        (message(to_host::DONE, &[]), "answer"),
        (message(to_host::HELLO, b"{}"), "answer"),
        (message(to_host::FAILED, &odd.to_bytes()), "answer"),
    ]
}

#[test]
fn everything_wrong_is_named_and_ends_the_child_and_frames_stay() {
    for (bytes, named) in wrong() {
        let (mut host, frames) = with_event();
        let (_, fault) = host.fails("bytes", &bytes);
        assert!(fault.contains(named), "{named:?} is not in: {fault}");
        assert!(host.apart.poison().is_some(), "{fault}");
        let ledger = host.ends(1);
        assert!(frames[0].as_slice() == content(0, 5000));
        drop(frames);
        assert_eq!(ledger.delivered(), ledger.released());
    }
}

#[test]
fn a_torn_message_is_waited_for_and_then_the_end_counts() {
    let whole = events(1, &[WireFrame { block: 0, offset: 0, len: 5000 }]);
    for len in [1, 15, 16, 17, 31] {
        let (mut host, _frames) = with_event();
        host.apart.set_parameter("bytes", &whole[..len]).unwrap();
        assert_eq!(host.next(&mut Vec::new()).unwrap(), Progress::Idle);
        host.apart.killer().kill();
        let mut fault = Ok(Progress::Idle);
        until("the death", || {
            fault = host.next(&mut Vec::new());
            fault.is_err()
        });
        assert!(fault.unwrap_err().to_string().contains("crashed with SIGKILL"));
        host.ends(1);
    }
}

#[test]
fn what_is_unknown_and_optional_is_skipped() {
    let (mut host, _frames) = with_event();
    let skipped =
        [message(0x8000, &[]), message(0xffff, b"anything"), message(0x8001, &vec![7; LONGEST_TO_HOST])].concat();
    host.apart.set_parameter("bytes", &skipped).unwrap();
    // Frames may lie over each other, have no bytes, and end with the memory: all that is the child's affair.
    let last = (16 << 20) / BLOCK as u32 - 1;
    let places = [(0, 0, 5000), (0, 1, 4999), (last, BLOCK as u32 - 1, 1), (0, 0, 0), (0, 0, 16 << 20)];
    let places = places.map(|(block, offset, len)| WireFrame { block, offset, len });
    host.apart.set_parameter("bytes", &events(5, &places)).unwrap();
    let events = host.events(5).unwrap();
    assert!(events[0][0].as_slice() == content(0, 5000) && events[1][0].as_slice() == &content(0, 5000)[1..]);
    drop(events);
    host.ends(1);
}

#[test]
fn all_memory_that_is_asked_for_is_given_and_no_more() {
    let (mut host, _frames) = with_event();
    host.apart.set_parameter("bytes", &message(to_host::MORE, &u32::MAX.to_le_bytes())).unwrap();
    let last = launch(PATIENCE).shared_memory as u32 / BLOCK as u32 - 1;
    let end = events(1, &[WireFrame { block: last, offset: 0, len: BLOCK as u32 }]);
    host.apart.set_parameter("bytes", &end).unwrap();
    assert_eq!(host.events(1).unwrap()[0][0].len(), BLOCK);
    let behind = events(1, &[WireFrame { block: last + 1, offset: 0, len: 0 }]);
    assert!(host.fails("bytes", &behind).1.contains("block 1024, of 1024"));
    host.ends(1);
}

#[test]
fn a_child_of_another_version_is_not_used() {
    let ledger = Box::leak(Box::default());
    let fault = start_as("puppet of version 2", launch(SHORT), ledger).err().unwrap().to_string();
    assert!(fault.contains("speaks version 2.0 of the protocol, expected 1"), "{fault}");
}

#[test]
fn a_child_that_gives_events_for_ever_instead_of_answers_has_an_end() {
    let (mut host, _frames) = with_event();
    // Some are copied, and some stay where they are.
    let all = |len| events(2000, &[WireFrame { block: 0, offset: 0, len }; 2000]);
    let flood = [events(0, &[]), all(4096), all(2000)].concat();
    let before = host.ledger.delivered();
    let fault = host.fails("for ever", &flood).1;
    assert!(fault.contains("more events than"), "{fault}");
    assert!(host.ledger.delivered() - before <= (128 << 20) / 1000, "frames while it did not answer");
    host.ends(1);
}

#[test]
fn memory_and_board_full_of_nonsense_change_nothing_but_the_content_of_frames() {
    let mut host = puppet(PATIENCE);
    host.apart.set_parameter("scribble", &[]).unwrap();
    let (mut events, mut read) = (Vec::new(), 0_usize);
    until("the end", || {
        let progress = host.next(&mut events).unwrap();
        let bytes = events.iter().flatten().flat_map(|frame| frame.as_slice());
        read += bytes.fold(0_usize, |sum, byte| sum.wrapping_add(usize::from(*byte)));
        if events.len() > 50 {
            events.clear();
        }
        progress == Progress::End
    });
    assert_eq!(host.ledger.delivered(), 300);
    assert!(read > 0);
    events.clear();
    let warnings = host.log.lines().into_iter().filter(|(level, _)| *level <= LogLevel::Warn).count();
    assert_eq!(warnings, 0);
    host.apart.close().unwrap();
    host.ends(0);
}

#[test]
fn a_hole_in_the_memory_reads_as_zeros() {
    let (mut host, frames) = with_event();
    host.apart.set_parameter("punch", &[]).unwrap();
    assert!(frames[0].as_slice().iter().all(|byte| *byte == 0));
    drop(frames);
    host.ends(0);
}

use ciborium::Value;
use framegate_plugin_api::EventKind;
use framegate_zmq_source::testing;
use proptest::prelude::*;

use crate::{messages::Packet, pickle::Reader, run::ContrastRun};

const STARTED: &[u8] =
    b"\x80\x04}(\x8c\x06status\x8c\x07started\x8c\x04path\x8c\x01p\x8c\x06scannrK\x02\x8c\x0bdescription\x8c\x01du.";
const FINISHED: &[u8] =
    b"\x80\x04}(\x8c\x06status\x8c\x08finished\x8c\x04path\x8c\x01p\x8c\x06scannrK\x02\x8c\x0bdescription\x8c\x01du.";
const RUNNING: &[u8] = b"\x80\x04}(\x8c\x06status\x8c\x07running\x8c\x02dtK\x01u.";
const HEARTBEAT: &[u8] = b"\x80\x04\x95\x19\0\0\0\0\0\0\0}\x94\x8c\x06status\x94\x8c\theartbeat\x94s.";

fn play<P: AsRef<[u8]>>(messages: impl IntoIterator<Item = Vec<P>>) -> testing::Played {
    testing::play(ContrastRun::default(), messages)
}

fn kinds(played: &testing::Played) -> Vec<EventKind> {
    played.events.iter().map(|event| event.kind).collect()
}

/// Name, pickle and verdict of the reference.
fn golden() -> Vec<(String, Vec<u8>, String)> {
    let mut bytes = &include_bytes!("../fixtures/golden.cbors")[..];
    let mut rows = Vec::new();
    while !bytes.is_empty() {
        let row: Value = ciborium::from_reader(&mut bytes).unwrap();
        let [Value::Text(name), Value::Bytes(pickle), Value::Text(verdict)] = &row.as_array().unwrap()[..] else {
            panic!("a row of the table is malformed: {row:?}")
        };
        rows.push((name.clone(), pickle.clone(), verdict.clone()));
    }
    rows
}

#[test]
fn a_run_goes_from_started_to_finished_and_heartbeats_are_passed_over() {
    let played = play(
        [HEARTBEAT, RUNNING, STARTED, HEARTBEAT, RUNNING, RUNNING, HEARTBEAT, FINISHED, RUNNING, HEARTBEAT]
            .map(|message| vec![message]),
    );
    assert_eq!(kinds(&played), [EventKind::Start, EventKind::Data, EventKind::Data, EventKind::End]);
    assert!(played.events.iter().all(|event| event.typ == "contrast"));
    assert_eq!(played.skipped, [("before the start of a run", 1), ("after the end of the run", 1)]);
}

#[test]
fn malformed_messages_are_counted_and_the_next_good_one_is_served() {
    let deep = [b"\x80\x04}\x8c\x01x", &b"(".repeat(100_000)[..]].concat();
    let played = play(
        [
            b"emptyness",
            STARTED,
            b"",
            b"emptyness",
            b"\x80\x04cos\nsystem\n\x8c\x04true\x85R.",
            &deep,
            &RUNNING[..RUNNING.len() - 1],
            b"\x80\x04}(\x8c\x06status\x8c\x07runningu.",
            b"\x80\x04}.",
            STARTED,
            RUNNING,
            FINISHED,
        ]
        .map(|message| vec![message]),
    );
    assert_eq!(kinds(&played), [EventKind::Start, EventKind::Data, EventKind::End]);
    for reason in [
        ("before the start of a run", 1),
        ("the pickle is cut off", 2),
        ("no pickle of protocol 2 to 5 (0 and 1 are not read; write at least 2)", 1),
        ("the pickle is no dictionary", 1),
        ("nested more than 4096 deep", 1),
        ("status running, but dt is absent or no number", 1),
        ("no status", 1),
        ("a start inside a run", 1),
    ] {
        assert!(played.skipped.contains(&reason), "{reason:?}: {:?}", played.skipped);
    }
}

#[test]
fn what_asks_for_a_call_is_an_event_like_any_other_and_is_passed_on_as_it_came() {
    let asks = b"\x80\x04}(\x8c\x06status\x8c\x07running\x8c\x02dtK\x01\x8c\x01acos\nsystem\n\x8c\x04true\x85Ru.";
    let played = play([STARTED, asks, FINISHED].map(|message| vec![message]));
    assert!(testing::same_bytes(&played.events, &[STARTED, asks, FINISHED].map(|message| vec![message])));
}

/// A complete beamline capture (`tests/data/contrast-dump.cbors` in dranspose's source distribution).
#[test]
fn a_capture_comes_out_byte_for_byte_without_its_heartbeats() {
    let messages = testing::capture(include_bytes!("../fixtures/contrast-dump.cbors"));
    let played = play(messages.iter().cloned());
    let without_heartbeats: Vec<_> =
        messages.iter().filter(|parts| !parts[0].windows(9).any(|text| text == b"heartbeat")).cloned().collect();
    assert_eq!((messages.len(), without_heartbeats.len()), (26, 22));
    assert!(testing::same_bytes(&played.events, &without_heartbeats), "{:?}", played.skipped);
    assert!(played.skipped.is_empty());
}

/// Verdicts of dranspose's own model (`ContrastPacket`, dranspose 0.2.0, pydantic 2.14.3) on pickles of Python 3.11
/// with numpy 1.26 and 2.4, written by `fixtures/golden.py`. They include more than 120 kinds of objects of Python's
/// library and numpy.
#[test]
fn each_message_is_what_the_reference_takes_it_for() {
    let mut reader = Reader::default();
    let mut wrong = Vec::new();
    let golden = golden();
    assert!(golden.len() > 1000, "the table is there");
    for (name, pickle, verdict) in golden {
        let ours = Packet::read(&mut reader, &pickle);
        let as_text = match ours {
            Ok(Packet::Started) => "started",
            Ok(Packet::Running) => "running",
            Ok(Packet::Finished) => "finished",
            Ok(Packet::Heartbeat) => "heartbeat",
            Err(_) => "invalid",
        };
        if as_text != verdict {
            wrong.push(format!("{name}: {ours:?} instead of {verdict}"));
        }
    }
    assert!(wrong.is_empty(), "{} differ:\n{}", wrong.len(), wrong.join("\n"));
}

/// Opcodes of all kinds, often with valid arguments.
fn opcode() -> impl Strategy<Value = Vec<u8>> {
    let names = prop::sample::select(vec![
        &b"cnumpy.core.multiarray\n_reconstruct\n"[..],
        b"cnumpy.core.multiarray\nscalar\n",
        b"cnumpy._core.numeric\n_frombuffer\n",
        b"cnumpy\ndtype\n",
        b"cnumpy\nndarray\n",
        b"c_codecs\nencode\n",
        b"ccollections\nOrderedDict\n",
        b"c__builtin__\nbytearray\n",
        b"cdecimal\nDecimal\n",
        b"\x8c\x02f8",
        b"\x8c\x02U1",
        b"\x8c\x06status",
        b"\x8c\x07running",
        b"\x8c\x02dt",
        b"\x8c\x01<",
        b"X\x06\0\0\0latin1",
        b"C\x080\0\0\0\0\0\0@",
        b"K\x00",
        b"J\xff\xff\xff\xff",
        b"}",
        b"\x87R",
    ]);
    prop_oneof![
        4 => names.prop_map(<[u8]>::to_vec),
        2 => prop::sample::select(b"NNJKMG)]}(aesu\x85\x86\x87tR2b01qh\x94\x88\x89\x8f\x90\x91\x93.".to_vec()).prop_map(|op| vec![op]),
        1 => any::<[u8; 2]>().prop_map(|bytes| bytes.to_vec()),
    ]
}

/// Valid pickles with some changes, opcodes in any order, and random bytes.
fn hostile() -> impl Strategy<Value = Vec<u8>> {
    let good: Vec<Vec<u8>> =
        golden().into_iter().map(|(_, pickle, _)| pickle).filter(|pickle| pickle.len() < 3000).collect();
    let change = (any::<prop::sample::Index>(), any::<u8>(), 0..3u8);
    let changed =
        (prop::sample::select(good), prop::collection::vec(change, 1..6)).prop_map(|(mut pickle, changes)| {
            for (place, byte, kind) in changes {
                if pickle.is_empty() {
                    break;
                }
                let place = place.index(pickle.len());
                match kind {
                    0 => pickle[place] = byte,
                    1 => drop(pickle.remove(place)),
                    _ => pickle.insert(place, byte),
                }
            }
            pickle
        });
    let opcodes =
        prop::collection::vec(opcode(), 0..60).prop_map(|opcodes| [b"\x80\x04}", &opcodes.concat()[..]].concat());
    let any_bytes = prop::collection::vec(any::<u8>(), 0..200).prop_map(|bytes| [b"\x80\x04", &bytes[..]].concat());
    prop_oneof![4 => changed, 3 => opcodes, 1 => any_bytes]
}

proptest! {
    /// A short run; `PROPTEST_CASES=1000000` makes it long (see the README).
    #[test]
    fn no_pickle_panics_or_takes_memory_and_each_answer_is_the_same_again(pickle in hostile()) {
        let mut reader = Reader::default();
        let first = Packet::read(&mut reader, &pickle);
        prop_assert!(reader.memory() <= (100 * pickle.len() + 4096).max(16 << 20), "{}", reader.memory());
        // The first message leaves no state for the next.
        prop_assert_eq!(Packet::read(&mut reader, &pickle), first);
        prop_assert_eq!(Packet::read(&mut reader, RUNNING), Ok(Packet::Running));
    }
}

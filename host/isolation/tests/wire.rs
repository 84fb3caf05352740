//! Messages as bytes: what is written is read, and any bytes are read without a panic, here and by a host.
#![allow(clippy::unwrap_used, reason = "these are tests, helpers included")]

mod common;

use common::{PATIENCE, puppet};
use framegate_isolation::wire::{
    self, Failure, Head, LONGEST_TO_HOST, StatusText, WireEvent, WireFrame, read_events, split, to_host, write_events,
};
use framegate_plugin_abi::codes::EventKind;
use proptest::{prelude::*, sample::Index};

#[test]
#[ignore = "the entry of the children"]
fn child() {
    common::play();
}

fn heads() -> impl Strategy<Value = Head> {
    any::<(u32, u16, u16, u32, u32)>().prop_map(|(len, kind, stream, run, count)| Head {
        len,
        kind,
        stream,
        run,
        count,
    })
}

fn frames(number: std::ops::Range<usize>) -> impl Strategy<Value = Vec<WireFrame>> {
    let frame = any::<(u32, u32, u32)>().prop_map(|(block, offset, len)| WireFrame { block, offset, len });
    prop::collection::vec(frame, number)
}

fn events() -> impl Strategy<Value = Vec<(WireEvent, Vec<WireFrame>)>> {
    let kind = prop_oneof![Just(EventKind::Start), Just(EventKind::Data), Just(EventKind::End)];
    let event = (kind, any::<u8>(), frames(0..5))
        .prop_map(|(kind, typ, frames)| (WireEvent { kind, typ, frames: frames.len() as u16 }, frames));
    prop::collection::vec(event, 0..40)
}

/// A message that a child may send: mostly right, in the run 1, with frames near the places that there are.
fn messages() -> impl Strategy<Value = Vec<u8>> {
    let message = |kind: u16, body: &[u8]| Head { run: 1, ..Head::new(kind, 0) }.with(body);
    let near = (0..260_u32, 0..70_000_u32, prop_oneof![0..10_000_u32, any::<u32>()]);
    let given = prop::collection::vec((0..2_u8, near), 1..20).prop_map(move |all| {
        let (mut events, mut frames, mut body) = (Vec::new(), Vec::new(), Vec::new());
        for (typ, (block, offset, len)) in all {
            events.push(WireEvent { kind: EventKind::Data, typ, frames: 1 });
            frames.push(WireFrame { block, offset, len });
        }
        write_events(&events, &frames, &mut body);
        Head { run: 1, count: events.len() as u32, ..Head::new(to_host::EVENTS, 0) }.with(&body)
    });
    let small =
        any::<(u64, u32)>().prop_map(|(long, number)| [&long.to_le_bytes()[..], &number.to_le_bytes()].concat());
    let failure = Failure { kind: None, text: "odd".into() }.to_bytes();
    prop_oneof![
        4 => given,
        1 => Just(message(to_host::TYP, b"\x01other")),
        1 => Just(message(to_host::PONG, &[])),
        1 => Just(message(to_host::ENDED, &[])),
        1 => Just(message(to_host::STATUS, &serde_json::to_vec(&StatusText::default()).unwrap())),
        1 => Just(message(to_host::BROKEN, &failure)),
        1 => small.clone().prop_map(move |body| message(to_host::WAIT, &body)),
        1 => small.prop_map(move |body| message(to_host::MORE, &body)),
        1 => (any::<u16>(), prop::collection::vec(any::<u8>(), 0..100))
            .prop_map(move |(kind, body)| message(kind, &body)),
    ]
}

proptest! {
    #[test]
    fn heads_are_read_as_they_were_written(head in heads()) {
        prop_assert_eq!(Head::from_bytes(head.to_bytes()), head);
    }

    #[test]
    fn events_are_read_as_they_were_written(all in events()) {
        let events: Vec<_> = all.iter().map(|(event, _)| *event).collect();
        let frames: Vec<_> = all.iter().flat_map(|(_, frames)| frames).copied().collect();
        let mut body = Vec::new();
        write_events(&events, &frames, &mut body);
        let head = Head { count: events.len() as u32, ..Head::new(to_host::EVENTS, 0) };
        let (read, places) = read_events(head, &body).unwrap();
        prop_assert_eq!(read.collect::<Vec<_>>(), events);
        prop_assert_eq!(places.collect::<Vec<_>>(), frames);
        // Neither a byte less nor a byte more is accepted.
        body.push(0);
        prop_assert!(read_events(head, &body).is_err());
        body.truncate(body.len().saturating_sub(2));
        prop_assert!(body.is_empty() || read_events(head, &body).is_err());
    }

    #[test]
    fn random_bytes_are_events_or_an_error(head in heads(), few in 0..30_u32, body in prop::collection::vec(any::<u8>(), 0..400)) {
        for count in [head.count, few] {
            if let Ok((events, frames)) = read_events(Head { count, ..head }, &body) {
                let counted: usize = events.map(|event| usize::from(event.frames)).sum();
                prop_assert_eq!(frames.count(), counted);
            }
        }
        let _ = (Failure::from_bytes(&body), wire::number(&body), wire::long(&body), wire::json::<StatusText>(&body));
    }

    #[test]
    fn a_torn_message_is_no_message_yet(head in heads(), body in prop::collection::vec(any::<u8>(), 0..100), more in 0..40_usize) {
        let whole = head.with(&body);
        let long = [&whole[..], &vec![7; more]].concat();
        for len in 0..whole.len() {
            prop_assert_eq!(split(&whole[..len], LONGEST_TO_HOST), Ok(None));
        }
        let (read, read_body, len) = split(&long, LONGEST_TO_HOST).unwrap().unwrap();
        prop_assert_eq!((read, read_body, len), (Head { len: body.len() as u32, ..head }, &body[..], whole.len()));
        prop_assert_eq!(split(&whole, body.len()).is_ok(), true);
        prop_assert_eq!(body.is_empty() || split(&whole, body.len() - 1).is_err(), true);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(100))]

    /// Right and spoilt messages, through a real child: the host neither panics nor hangs, and counts every frame.
    #[test]
    fn a_host_survives_any_stream(
        stream in prop::collection::vec(messages(), 1..30),
        spoilt in prop::collection::vec((any::<Index>(), any::<u8>()), 0..4),
        holds in any::<bool>(),
    ) {
        let mut stream = stream.concat();
        for (at, byte) in spoilt {
            let at = at.index(stream.len());
            stream[at] = byte;
        }
        let mut host = puppet(PATIENCE);
        host.apart.set_parameter("give", &100_u32.to_le_bytes()).unwrap();
        let mut events = host.events(1).unwrap();
        let mut outcome = host.apart.set_parameter("bytes", &stream);
        for _ in 0..5 {
            outcome = outcome.and_then(|()| host.next(&mut events).map(drop));
        }
        // What came last may be a torn message, behind which no answer is heard.
        host.apart.killer().kill();
        let lent = |frame: &framegate_plugin_abi::frame::Frame| frame.len() >= 2048;
        if !holds {
            events.clear();
        }
        let held = events.iter().flatten().filter(|frame| lent(frame)).count();
        let ledger = host.ends(held as u64);
        drop(events);
        prop_assert_eq!(ledger.delivered(), ledger.released());
    }
}

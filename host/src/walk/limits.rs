//! Tests that no limit, size or order of arrival stops the flow for ever.
//!
//! One thread plays readers, forwarder and workers in turn, with the real queues, accounts and heart. With any limits,
//! every event must reach its workers, each in the order of events; a deadlock would show as a round without progress.
//! A stream may pause while the other floods.

use std::time::SystemTime;

use proptest::prelude::*;

use super::*;
use crate::{
    budget::Account,
    ingester::{Ingester, assemble::Slot, tests::limits},
    source::queue::{Item, Queue},
    wake::Wake,
};

const STREAMS: [&str; 2] = ["a", "b"];

/// What one scan holds: sizes of each stream's events, and which streams each event number names.
#[derive(Debug, Clone)]
struct Plan {
    limit: u64,
    sizes: [Vec<usize>; 2],
    /// For each event number and stream: whether it takes part, and the workers (a bit each) that get it; may be none.
    names: Vec<[Option<u8>; 2]>,
    /// Each worker reads only every n-th round.
    slowness: [usize; WORKERS],
    /// Number of rounds in which a stream gives nothing.
    stands: [usize; 2],
}

const WORKERS: usize = 3;

fn plan() -> impl Strategy<Value = Plan> {
    let workers = proptest::option::of(0..1u8 << WORKERS);
    let names = proptest::collection::vec([workers.clone(), workers], 1..30);
    let size = prop_oneof![Just(0usize), 1..100usize, 1000..50_000usize];
    let rest = ([1..4usize, 1..4usize, 1..4usize], [0..40usize, 0..40usize]);
    let limit = prop_oneof![1 => 0..4u64, 4 => 0..60_000u64];
    let all = (limit, names, proptest::collection::vec(size, 60), rest);
    all.prop_map(|(limit, names, sizes, (slowness, stands))| {
        let mut sizes = sizes.into_iter();
        let mut of = |s: usize| sizes.by_ref().take(names.iter().filter(|named| named[s].is_some()).count()).collect();
        let sizes = [of(0), of(1)];
        Plan { limit, sizes, names, slowness, stands }
    })
}

proptest! {
    #[test]
    fn every_event_arrives_whatever_the_limits(plan in plan()) {
        let now = Instant::now();
        let wake = Wake::new().unwrap();
        let scan = ScanId(Uuid::new_v4());
        let [queued_a, queued_b, assembled] = [(); 3].map(|()| Account::new(plan.limit, || ()));
        let queue = |account: &Arc<Account>| Queue::new(WhenFull::Block, account.clone(), Arc::default(), wake.clone());
        let queues = [&queued_a, &queued_b].map(queue);
        let mut unread = [0, 1].map(|s| {
            let event = |size: &usize| Event {
                typ: "T", kind: EventKind::Data, frames: [Frame::from_vec(vec![0; *size])].into_iter().collect(),
            };
            plan.sizes[s].iter().map(event).collect::<VecDeque<Event>>()
        });
        let streams = STREAMS.map(|name| StreamName::new(name).unwrap());
        let name = IngesterName::new("i").unwrap();
        let mut heart = Ingester::new(name, streams.iter().map(|name| (name.clone(), false)).collect(), limits());
        heart.command(Command::StartScan { scan, streams: streams.to_vec(), deal: Deal::Controller }, now);
        heart.opened(0);
        heart.opened(1);
        heart.advance(now);
        let workers: [_; WORKERS] = std::array::from_fn(|w| WorkerName::new(&format!("w{w}")).unwrap());
        let events = plan.names.iter().enumerate().map(|(number, named)| {
            let of = |bits: u8| (0..WORKERS).filter(|w| bits & 1 << w != 0).collect();
            let streams = [0, 1].into_iter().filter_map(|s| Some((s, of(named[s]?)))).collect();
            Assignment { number: number as u64, streams }
        });
        heart.assign(Assignments { scan, workers: Arc::new(workers.to_vec()), events: events.collect() }, now);

        let indexes = workers.each_ref().map(|name| heart.workers.index(name, now));
        let expected: [Vec<u64>; WORKERS] = std::array::from_fn(|w| {
            let is_for = |named: &[Option<u8>; 2]| named.iter().flatten().any(|bits| bits & 1 << w != 0);
            (0..).zip(&plan.names).filter(|(_, named)| is_for(named)).map(|(number, _)| number).collect()
        });
        let mut arrived: [Vec<u64>; WORKERS] = Default::default();
        // Each round moves at least one event, unless the streams pause or the slowest worker does not read.
        for round in 0..40 + (plan.names.len() + 2) * 4 * 3 {
            for s in (0..2).filter(|s| round >= plan.stands[*s]) {
                queues[s].push(&mut unread[s]);
            }
            for (s, queue) in queues.iter().enumerate() {
                let mut items = VecDeque::new();
                queue.take_all(&mut items, heart.holds_none(s), heart.empties(s));
                for item in items {
                    if let Item::Events(batch) = item {
                        heart.events(s, Slot::Events(batch));
                    }
                }
            }
            while !assembled.is_full() && heart.pair(now, SystemTime::now(), &assembled, |_| ()) {}
            for w in (0..WORKERS).filter(|w| round % plan.slowness[*w] == 0) {
                let Some(message) = heart.workers.get(indexes[w]).pending.front().cloned() else { continue };
                let header: Value = serde_json::from_slice(&message.parts()[0]).unwrap();
                arrived[w].push(header["event_number"].as_u64().unwrap());
                heart.sent(indexes[w], 1, 0, now);
            }
            if unread.iter().all(VecDeque::is_empty) && arrived == expected {
                break;
            }
        }
        // An event without workers is taken as well, so that later events follow.
        while heart.pair(now, SystemTime::now(), &assembled, |_| ()) {}
        prop_assert_eq!(arrived, expected, "everything arrives, in order");
        prop_assert_eq!([queued_a, queued_b, assembled].map(|account| account.used()), [0; 3], "every byte came back");
    }
}

#[test]
fn a_stream_that_floods_waits_for_one_that_stands_still_and_leaves_it_its_room() {
    const EVENTS: u64 = 300;
    let house = house(&["still", "floods"], |settings| settings.memory_limit = 2 << 20);
    let workers = [house.worker("w1"), house.worker("w2")];
    let scan = house.start(&["still", "floods"]);
    let both: &[&str] = &["w1", "w2"];
    (0..EVENTS).for_each(|number| house.feed(1, EventKind::Data, &[&[number as u8; 100_000]]));
    // Held back at its share of the limit, and reading stops.
    house.wait("the flood to be held back", |report| report.memory_used >= 400 << 10);
    assert!(house.report.borrow().memory_used <= 512 << 10);
    (0..EVENTS).for_each(|number| house.feed(0, EventKind::Data, &[&[number as u8; 10]]));
    house.wait("all of the other", |report| report.streams.values().any(|stream| stream.queued == EVENTS));
    let events: Vec<_> = (0..EVENTS).map(|number| (number, [("still", both), ("floods", &both[..1])])).collect();
    let events: Vec<(u64, Streams<'_>)> = events.iter().map(|(number, streams)| (*number, &streams[..])).collect();
    house.assign(scan, &events);
    for number in 0..EVENTS {
        let (header, frames) = receive(&workers[0]);
        assert_eq!((&header["event_number"], &frames[0][..]), (&json!(number), &[number as u8; 10][..]));
        assert_eq!(frames[1], [number as u8; 100_000]);
        assert_eq!(receive(&workers[1]).0["event_number"], number);
    }
    house.stop();
}

//! No limit, size or order of arrival stops the flow for ever.
//!
//! One thread plays readers, forwarder and workers by turns, with the real queues, accounts and heart. Whatever the limits,
//! every event must reach its worker; a deadlock would show as a round in which nothing moves.

use std::time::SystemTime;

use proptest::prelude::*;

use super::*;
use crate::{
    budget::Account,
    ingester::{Ingester, Limits, Pairing, assemble::Slot, credit::Held},
    source::queue::{Item, Queue, Space},
    wake::Wake,
};

const STREAMS: [&str; 2] = ["a", "b"];

/// What one scan holds: sizes of each stream's events, and which streams each event number names.
#[derive(Debug, Clone)]
struct Plan {
    limit: u64,
    sizes: [Vec<usize>; 2],
    /// Of each event number: whether stream a, whether stream b takes part.
    names: Vec<[bool; 2]>,
    /// Workers read only in every so many rounds.
    slowness: usize,
}

fn plan() -> impl Strategy<Value = Plan> {
    let names = proptest::collection::vec([any::<bool>(), any::<bool>()], 1..30);
    let size = prop_oneof![Just(0usize), 1..100usize, 1000..50_000usize];
    (0..60_000u64, names, proptest::collection::vec(size, 60), 1..4usize).prop_map(|(limit, names, sizes, slowness)| {
        let mut sizes = sizes.into_iter();
        let mut of = |s: usize| sizes.by_ref().take(names.iter().filter(|named| named[s]).count()).collect();
        let sizes = [of(0), of(1)];
        Plan { limit, sizes, names, slowness }
    })
}

proptest! {
    #[test]
    fn every_event_arrives_whatever_the_limits(plan in plan()) {
        let now = Instant::now();
        let wake = Wake::new().unwrap();
        let scan = ScanId(Uuid::new_v4());
        let (queued, assembled) = (Account::new(plan.limit, || ()), Account::new(plan.limit, || ()));
        let space = Arc::new(Space::default());
        let queue = |_| Queue::new(WhenFull::Block, queued.clone(), space.clone(), wake.clone());
        let queues = [0, 1].map(queue);
        let mut unread = [0, 1].map(|s| {
            let event = |size: &usize| Event {
                typ: "T", kind: EventKind::Data, frames: [Frame::from_vec(vec![0; *size])].into_iter().collect(),
            };
            plan.sizes[s].iter().map(event).collect::<VecDeque<Event>>()
        });
        let streams = STREAMS.map(|name| StreamName::new(name).unwrap());
        let limits = Limits {
            worker_timeout: Duration::from_secs(10), stall_timeout: None, source_timeout: Duration::from_secs(5), min_workers: 1,
            allowed_workers: Default::default(), most_workers: 10,
        };
        let name = IngesterName::new("i").unwrap();
        let mut heart = Ingester::new(name, streams.iter().map(|name| (name.clone(), false)).collect(), limits);
        heart.command(Command::StartScan { scan, streams: streams.to_vec(), deal: Deal::Controller }, now);
        heart.opened(0);
        heart.opened(1);
        heart.advance(now, Held::default());
        let w = WorkerName::new("w").unwrap();
        let events = plan.names.iter().enumerate().map(|(number, named)| Assignment {
            number: number as u64,
            streams: [0, 1].into_iter().filter(|s| named[*s]).map(|s| (streams[s].clone(), vec![w.clone()])).collect(),
        });
        heart.assign(Assignments { scan, events: events.collect() }, now);

        let worker = heart.workers.index(&w, now);
        let expected = plan.names.iter().filter(|named| named[0] || named[1]).count();
        let mut arrived = 0;
        // Each round moves at least one event, or every slowness-th one does.
        for round in 0..(expected + 2) * 4 * plan.slowness {
            for s in [0, 1] {
                queues[s].push(&mut unread[s]);
            }
            for (s, queue) in queues.iter().enumerate() {
                let mut items = VecDeque::new();
                queue.take_all(&mut items, heart.holds_none(s));
                for item in items {
                    if let Item::Event(event, charge) = item {
                        heart.event(s, Slot::Event(event, charge));
                    }
                }
            }
            while !assembled.is_full() {
                let Pairing::Paired(_) = heart.pair(now, SystemTime::now(), &assembled, false) else { break };
            }
            if round % plan.slowness == 0 && !heart.workers.get(worker).pending.is_empty() {
                heart.workers.sent(worker, now, 0);
                arrived += 1;
            }
            let held: usize = unread.iter().map(VecDeque::len).sum();
            if held == 0 && arrived == expected {
                break;
            }
        }
        prop_assert_eq!(arrived, expected, "everything arrives");
        prop_assert_eq!((queued.used(), assembled.used()), (0, 0), "every byte came back");
    }
}

//! Tests the heart against a model: any order of arrival gives each worker its events, in order, each once, with the right frames.

use std::{
    collections::BTreeMap,
    sync::Arc,
    time::{Duration, Instant, SystemTime},
};

use framegate_plugin_api::{EventKind, Frame};
use proptest::prelude::*;
use uuid::Uuid;

use super::{
    Action, Ingester, Limits,
    assemble::Slot,
    command::{Assignment, Assignments, Command, Deal},
};
use crate::event::Event;
use crate::{
    batch::Batch,
    budget::Account,
    names::{IngesterName, ScanId, StreamName, WorkerName},
};

const WORKERS: [&str; 3] = ["w0", "w1", "w2"];
const STREAMS: [&str; 2] = ["a", "b"];

fn workers() -> Arc<Vec<WorkerName>> {
    Arc::new(WORKERS.map(|name| WorkerName::new(name).unwrap()).to_vec())
}

/// An event of the first stream for the first worker.
fn to_w0(number: u64) -> Assignment {
    Assignment { number, streams: [(0, [0].into_iter().collect())].into_iter().collect() }
}

fn stream(name: &str) -> StreamName {
    StreamName::new(name).unwrap()
}

/// The default limits of these tests.
pub(crate) fn limits() -> Limits {
    Limits {
        worker_timeout: Duration::from_secs(10),
        stall_timeout: None,
        source_timeout: Duration::from_secs(5),
        allowed_workers: Default::default(),
        most_workers: 10,
    }
}

fn heart() -> Ingester {
    let streams = STREAMS.iter().map(|name| (stream(name), false)).collect();
    Ingester::new(IngesterName::new("i").unwrap(), streams, limits())
}

fn started(heart: &mut Ingester, deal: Deal, now: Instant) -> ScanId {
    let scan = ScanId(Uuid::new_v4());
    heart.command(Command::StartScan { scan, streams: STREAMS.iter().map(|name| stream(name)).collect(), deal }, now);
    heart.opened(0);
    heart.opened(1);
    heart.advance(now);
    heart.actions.clear();
    scan
}

/// An event with one frame, whose text identifies it.
fn event(account: &std::sync::Arc<Account>, text: String, kind: EventKind) -> Slot {
    let frames = [Frame::from_vec(text.into_bytes())].into_iter().collect();
    Slot::Events(Batch::new([Event { typ: "T", kind, frames }].into(), account.take(1)))
}

/// Takes the messages that wait for a worker: event number and frames of each.
fn delivered(heart: &mut Ingester, name: &str, now: Instant) -> Vec<(u64, Vec<String>)> {
    let index = heart.workers.index(&WorkerName::new(name).unwrap(), now);
    let mut all = Vec::new();
    while let Some(message) = heart.workers.get(index).pending.front().cloned() {
        heart.sent(index, 1, 0, now);
        let parts = message.parts();
        let header: serde_json::Value = serde_json::from_slice(&parts[0]).unwrap();
        let frames = parts[1..].iter().map(|frame| String::from_utf8(frame.to_vec()).unwrap()).collect();
        all.push((header["event_number"].as_u64().unwrap(), frames));
    }
    all
}

#[derive(Debug, Clone)]
enum Step {
    /// The next event of a stream arrives.
    Event(usize),
    /// The next assignments arrive, this many.
    Assign(usize),
    Pair,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![(0..2usize).prop_map(Step::Event), (1..4usize).prop_map(Step::Assign), Just(Step::Pair)]
}

/// For each event, for each stream: absent, or the workers that get it.
fn plan() -> impl Strategy<Value = Vec<[Option<Vec<usize>>; 2]>> {
    let workers = proptest::option::of(proptest::collection::vec(0..3usize, 0..3));
    proptest::collection::vec([workers.clone(), workers], 1..12)
}

proptest! {
    #[test]
    fn any_order_of_arrival_delivers_the_plan(plan in plan(), mut steps in proptest::collection::vec(step(), 0..60)) {
        let now = Instant::now();
        let account = Account::new(u64::MAX, || ());
        let mut heart = heart();
        let scan = started(&mut heart, Deal::Controller, now);
        // The last step completes what the others leave open.
        steps.extend([Step::Assign(plan.len())]);
        steps.extend((0..plan.len()).flat_map(|_| [Step::Event(0), Step::Event(1), Step::Pair]));
        let mut assigned = 0;
        let mut sent = [0; 2];
        let named: Vec<usize> = (0..2).map(|s| plan.iter().filter(|event| event[s].is_some()).count()).collect();
        for step in steps {
            match step {
                Step::Event(s) if sent[s] < named[s] => {
                    heart.events(s, event(&account, format!("{}{}", STREAMS[s], sent[s]), EventKind::Data));
                    sent[s] += 1;
                }
                Step::Event(_) => {}
                Step::Assign(count) => {
                    let events = plan.iter().enumerate().skip(assigned).take(count).map(|(number, streams)| Assignment {
                        number: number as u64,
                        streams: streams.iter().enumerate().filter_map(|(s, workers)| {
                            Some((s, workers.as_ref()?.iter().copied().collect()))
                        }).collect(),
                    }).collect::<Vec<_>>();
                    assigned += events.len();
                    heart.assign(Assignments { scan, workers: workers(), events }, now);
                }
                Step::Pair => while heart.pair(now, SystemTime::now(), &account, |_| ()) {},
            }
        }
        // The model: the k-th event of a stream belongs to the k-th event number that names it.
        for (w, name) in WORKERS.iter().enumerate() {
            let mut kth = [0; 2];
            let mut expected = Vec::new();
            for (number, streams) in plan.iter().enumerate() {
                let mut frames = Vec::new();
                for s in 0..2 {
                    if let Some(workers) = &streams[s] {
                        if workers.contains(&w) {
                            frames.push(format!("{}{}", STREAMS[s], kth[s]));
                        }
                        kth[s] += 1;
                    }
                }
                if !frames.is_empty() {
                    expected.push((number as u64, frames));
                }
            }
            prop_assert_eq!(delivered(&mut heart, name, now), expected);
        }
        prop_assert_eq!(account.used(), 0, "every byte came back");
    }
}

#[test]
fn a_gap_stops_the_scan_and_duplicates_do_not() {
    let now = Instant::now();
    let mut heart = heart();
    let scan = started(&mut heart, Deal::Controller, now);
    let assign = |numbers: &[u64]| Assignments {
        scan,
        workers: workers(),
        events: numbers.iter().copied().map(to_w0).collect(),
    };
    heart.assign(assign(&[0, 1, 0, 1]), now);
    assert_eq!((heart.assignments_waiting(), heart.counters["assignments_duplicate"]), (2, 2));
    heart.assign(assign(&[3]), now);
    assert_eq!(heart.assignments_waiting(), 0);
    assert!(heart.scan.as_ref().unwrap().broken.as_ref().unwrap().contains("jump from event 2 to 3"));
}

#[test]
fn a_scan_is_ready_only_when_every_source_answered_and_the_network_drained() {
    let now = Instant::now();
    let account = Account::new(u64::MAX, || ());
    let mut heart = heart();
    let old = started(&mut heart, Deal::Controller, now);
    for text in ["0", "1"] {
        heart.events(0, event(&account, text.to_owned(), EventKind::Data));
    }
    heart.assign(Assignments { scan: old, workers: workers(), events: (0..2).map(to_w0).collect() }, now);
    while heart.pair(now, SystemTime::now(), &account, |_| ()) {}
    let index = heart.workers.index(&WorkerName::new("w0").unwrap(), now);
    heart.sent(index, 0, 3, now);
    heart.actions.clear();

    let scan = ScanId(Uuid::new_v4());
    heart.command(Command::StartScan { scan, streams: vec![stream("a")], deal: Deal::Controller }, now);
    assert_eq!(heart.counters["messages_replaced"], 1);
    assert_eq!(heart.actions[..2], [Action::Open { stream: 0 }, Action::Close { stream: 1 }]);
    heart.opened(0);
    heart.advance(now);
    assert_eq!(heart.ready, Some(old));
    heart.closed(1);
    heart.advance(now);
    assert_eq!(heart.ready, Some(old));
    heart.advance(now + Duration::from_millis(100));
    assert_eq!(heart.ready, Some(scan));
    assert_eq!(delivered(&mut heart, "w0", now), [(0, vec!["0".to_owned()])], "what is begun is completed");
    assert_eq!(heart.counters["messages_of_last_scan"], 1);
}

#[test]
fn a_message_of_the_last_scan_is_not_begun_again_on_another_connection() {
    let now = Instant::now();
    let account = Account::new(u64::MAX, || ());
    let mut heart = heart();
    let old = started(&mut heart, Deal::Controller, now);
    heart.events(0, event(&account, "0".to_owned(), EventKind::Data));
    heart.assign(Assignments { scan: old, workers: workers(), events: vec![to_w0(0)] }, now);
    while heart.pair(now, SystemTime::now(), &account, |_| ()) {}
    let w0 = WorkerName::new("w0").unwrap();
    let index = heart.workers.index(&w0, now);
    heart.sent(index, 0, 3, now);
    // In its own scan it would be.
    assert_eq!(heart.workers.parted(&w0, 0), 0);
    heart.sent(index, 0, 3, now);
    started(&mut heart, Deal::Controller, now);
    assert_eq!((heart.workers.parted(&w0, 0), heart.workers.parted(&w0, 0)), (1, 0));
    assert!(heart.workers.nothing_waits());
}

#[test]
fn a_source_that_opens_too_late_stays_failed() {
    let now = Instant::now();
    let mut heart = heart();
    let scan = ScanId(Uuid::new_v4());
    heart.command(Command::StartScan { scan, streams: vec![stream("a"), stream("b")], deal: Deal::Controller }, now);
    heart.opened(1);
    heart.advance(now + Duration::from_secs(6));
    assert_eq!(heart.ready, Some(scan));
    heart.opened(0);
    assert!(heart.scan.as_ref().unwrap().streams[0].has_failed());
}

#[test]
fn without_a_controller_starts_and_ends_go_to_everyone_and_data_in_turn() {
    let now = Instant::now();
    let account = Account::new(u64::MAX, || ());
    let mut heart = heart();
    started(&mut heart, Deal::InTurn { min_workers: 1 }, now);
    for name in &WORKERS[..2] {
        heart.workers.ping(name.as_bytes(), Uuid::new_v4().as_bytes(), now, SystemTime::now());
    }
    heart.ended(1);
    for (text, kind) in
        [("start", EventKind::Start), ("0", EventKind::Data), ("1", EventKind::Data), ("end", EventKind::End)]
    {
        heart.events(0, event(&account, text.to_owned(), kind));
    }
    while heart.pair(now, SystemTime::now(), &account, |_| ()) {}
    let mut all = BTreeMap::new();
    for name in &WORKERS[..2] {
        for (number, frames) in delivered(&mut heart, name, now) {
            *all.entry((number, frames[0].clone())).or_insert(0) += 1;
        }
    }
    let expected = [((0, "start"), 2), ((1, "0"), 1), ((2, "1"), 1), ((3, "end"), 2)];
    assert_eq!(all, expected.map(|((number, text), count)| ((number, text.to_owned()), count)).into());
}

#[test]
fn a_worker_that_reads_nothing_is_not_waited_for_and_one_that_reads_slowly_is() {
    let now = Instant::now();
    let account = Account::new(u64::MAX, || ());
    let mut heart = heart();
    heart.limits.stall_timeout = Some(Duration::from_secs(30));
    started(&mut heart, Deal::ToAll { min_workers: 1 }, now);
    for name in &WORKERS[..2] {
        heart.workers.ping(name.as_bytes(), Uuid::new_v4().as_bytes(), now, SystemTime::now());
    }
    heart.ended(1);
    heart.events(0, event(&account, "0".to_owned(), EventKind::End));
    while heart.pair(now, SystemTime::now(), &account, |_| ()) {}
    heart.ended(0);
    // The network takes nothing for the first worker, and a little for the second now and then.
    let limits = heart.limits.clone();
    let indexes = [0, 1].map(|place| heart.workers.index(&WorkerName::new(WORKERS[place]).unwrap(), now));
    for second in [0u64, 10, 20, 31] {
        let at = now + Duration::from_secs(second);
        heart.sent(indexes[1], 0, 1 + second as usize, at);
        heart.workers.evict(at, &limits, false);
        let lines = heart.workers.take_lines();
        assert_eq!(lines.len(), usize::from(second == 31), "{lines:?}");
        assert!(!heart.workers.nothing_waits());
    }
    // The connection has to end, because the next message cannot begin in the middle of this one.
    assert_eq!(heart.workers.given_up, [WorkerName::new(WORKERS[0]).unwrap()]);
    heart.sent(indexes[1], 1, 0, now);
    assert!(heart.workers.nothing_waits());
}

#[test]
fn what_comes_after_a_failure_is_dropped_and_counted() {
    let now = Instant::now();
    let account = Account::new(u64::MAX, || ());
    let mut heart = heart();
    let scan = started(&mut heart, Deal::Controller, now);
    heart.events(0, event(&account, "before".to_owned(), EventKind::Data));
    heart.failed(0, "it hangs".to_owned());
    heart.events(0, event(&account, "after".to_owned(), EventKind::Data));
    let events = (0..2).map(to_w0).collect();
    heart.assign(Assignments { scan, workers: workers(), events }, now);
    while heart.pair(now, SystemTime::now(), &account, |_| ()) {}
    assert_eq!(delivered(&mut heart, "w0", now), [(0, vec!["before".to_owned()]), (1, vec![])]);
    let counts = heart.scan.as_ref().unwrap().streams[0].counts;
    assert_eq!((counts.read, counts.forwarded, counts.dropped, counts.missing), (2, 1, 1, 1));
}

#[test]
fn a_worker_that_restarts_makes_a_new_picture_due_at_once() {
    let (mut heart, now, wall) = (heart(), Instant::now(), SystemTime::now());
    let ping = |heart: &mut Ingester, uuid: Uuid| _ = heart.workers.ping(b"w0", uuid.as_bytes(), now, wall);
    let first = Uuid::new_v4();
    ping(&mut heart, first);
    let before = heart.landmarks(now);
    ping(&mut heart, first);
    assert!(heart.landmarks(now) == before, "the same worker again is no news");
    ping(&mut heart, Uuid::new_v4());
    assert!(heart.landmarks(now) != before);
}

//! Tests faults: what they affect, and what they do not.

use super::*;

#[test]
fn messages_wait_for_a_worker_that_connects_late() {
    let house = house(&["a"], |_| ());
    let scan = house.start(&["a"]);
    house.assign(scan, &[(0, &[("a", &["late"])]), (1, &[("a", &["late"])])]);
    house.feed(0, EventKind::Data, &[b"0"]);
    house.feed(0, EventKind::Data, &[b"1"]);
    house.wait("the messages", |report| report.workers.iter().any(|worker| worker.waiting == 2));
    let late = house.worker("late");
    assert_eq!(receive(&late).1, vec![b"0".to_vec()]);
    assert_eq!(receive(&late).1, vec![b"1".to_vec()]);
    house.stop();
}

#[test]
fn a_worker_that_never_connects_is_evicted_and_counted() {
    let house = house(&["a"], |settings| settings.worker_timeout = Duration::from_millis(200));
    let w1 = house.worker("w1");
    let scan = house.start(&["a"]);
    house.assign(scan, &[(0, &[("a", &["ghost", "w1"])])]);
    house.feed(0, EventKind::Data, &[b"0"]);
    assert_eq!(receive(&w1).1, vec![b"0".to_vec()]);
    house.wait("the eviction", |report| report.counters.get("messages_dropped") == Some(&1));
    house.stop();
}

#[test]
fn junk_from_the_workers_side_is_counted_and_never_shown() {
    let house = house(&["a"], |_| ());
    let junk = zmq::Context::new().socket(zmq::DEALER).unwrap();
    junk.set_identity(b"bad:name").unwrap();
    junk.set_linger(0).unwrap();
    junk.connect(&format!("tcp://127.0.0.1:{}", house.port)).unwrap();
    junk.send(&Uuid::new_v4().as_bytes()[..], 0).unwrap();
    junk.send("sixteen bytes 16", 0).unwrap();
    junk.send("", 0).unwrap();
    junk.send_multipart([&Uuid::new_v4().as_bytes()[..], b"more"], 0).unwrap();
    let report = house.wait("the junk", |report| report.counters.get("messages_invalid") == Some(&4));
    assert!(report.workers.is_empty());
    house.stop();
}

#[test]
fn a_source_that_fails_costs_its_own_stream_only() {
    let house = house(&["a", "b"], |_| ());
    let w1 = house.worker("w1");
    let scan = house.start(&["a", "b"]);
    house.feeds[0].0.lock().unwrap().push_back(Event {
        typ: "fail",
        kind: EventKind::Data,
        frames: Default::default(),
    });
    house.assign(scan, &[(0, &[("a", &["w1"]), ("b", &["w1"])])]);
    house.feed(1, EventKind::Data, &[b"from b"]);
    let (header, frames) = receive(&w1);
    assert_eq!((&header["streams"]["a"]["length"], frames), (&json!(0), vec![b"from b".to_vec()]));
    house.wait("the fault", |report| report.faults.iter().any(|fault| fault.contains("as asked")));
    house.stop();
}

#[test]
fn a_source_that_hangs_costs_its_own_stream_only_and_delays_no_later_scan() {
    let house = house(&["a", "b"], |_| ());
    let w1 = house.worker("w1");
    let scan = house.start(&["a", "b"]);
    house.feeds[0].0.lock().unwrap().push_back(Event {
        typ: "hang",
        kind: EventKind::Data,
        frames: Default::default(),
    });
    house.assign(scan, &[(0, &[("a", &["w1"]), ("b", &["w1"])]), (1, &[("b", &["w1"])])]);
    house.feed(1, EventKind::Data, &[b"0"]);
    house.feed(1, EventKind::Data, &[b"1"]);
    let (header, frames) = receive(&w1);
    assert_eq!((&header["streams"]["a"]["length"], frames), (&json!(0), vec![b"0".to_vec()]));
    assert_eq!(receive(&w1).1, vec![b"1".to_vec()]);
    house.wait("the fault", |report| report.faults.iter().any(|fault| fault.contains("has not returned")));
    let began = house.report.borrow().counters["source_failures"];
    assert_eq!(began, 1);

    // The reader is still inside the source when the next scan starts.
    let next = house.start(&["a", "b"]);
    house.assign(next, &[(0, &[("a", &["w1"]), ("b", &["w1"])])]);
    house.feed(1, EventKind::Data, &[b"next"]);
    assert_eq!(receive(&w1).1, vec![b"next".to_vec()]);
    house.stop();
}

//! Tests forwarding without faults.

use super::*;

#[test]
fn events_meet_their_assignments_and_arrive_in_order() {
    let house = house(&["a"], |_| ());
    let (w1, w2) = (house.worker("w1"), house.worker("w2"));
    let scan = house.start(&["a"]);
    house.feed(0, EventKind::Start, &[b"header", b""]);
    house.feed(0, EventKind::Data, &[b"one"]);
    house.feed(0, EventKind::Data, &[&[7; 100_000], b"small"]);
    house.feed(0, EventKind::End, &[b"end"]);
    house.assign(scan, &[(0, &[("a", &["w1", "w2"])]), (1, &[("a", &[])])]);
    house.assign(scan, &[(2, &[("a", &["w2"])]), (3, &[]), (4, &[("a", &["w1", "w2"])])]);
    for worker in [&w1, &w2] {
        let (header, frames) = receive(worker);
        assert_eq!((&header["event_number"], frames), (&json!(0), vec![b"header".to_vec(), vec![]]));
        assert_eq!(header["streams"], json!({"a": {"typ": "T", "length": 2}}));
    }
    let (header, frames) = receive(&w2);
    assert_eq!((&header["event_number"], frames), (&json!(2), vec![vec![7; 100_000], b"small".to_vec()]));
    assert_eq!(receive(&w1).0["event_number"], 4);
    assert_eq!(receive(&w2).0["event_number"], 4);
    house.command(Command::Finish { scan });
    let report = house.wait("the finish", |report| report.finished == Some(scan));
    let stream = &report.streams[&StreamName::new("a").unwrap()];
    assert_eq!((stream.read, stream.forwarded, stream.dropped, stream.discarded), (4, 3, 0, 1));
    house.stop();
}

#[test]
fn events_of_more_parts_than_the_kernel_takes_at_once_arrive_whole() {
    let house = house(&["a"], |_| ());
    let workers = [house.worker("w1"), house.worker("w2")];
    let scan = house.start(&["a"]);
    // Small frames, with a header length that is not known in advance; frames of 2 KiB and more, which are not copied;
    // empty frames.
    let frames: Vec<Vec<u8>> = (0..1500).map(|place: usize| vec![place as u8; place * 37 % 5000]).collect();
    let large: Vec<Vec<u8>> = (0..5).map(|place: usize| vec![place as u8; 3 << 20]).collect();
    for frames in [&frames, &large, &frames] {
        house.feed(0, EventKind::Data, &frames.iter().map(Vec::as_slice).collect::<Vec<_>>());
    }
    let both: Streams<'_> = &[("a", &["w1", "w2"])];
    house.assign(scan, &[(0, both), (1, both), (2, both)]);
    for worker in &workers {
        for (number, expected) in [&frames, &large, &frames].into_iter().enumerate() {
            let (header, got) = receive(worker);
            assert_eq!(
                (&header["event_number"], &header["streams"]["a"]["length"]),
                (&json!(number), &json!(expected.len()))
            );
            assert!(got == *expected, "event {number} is another");
        }
    }
    house.stop();
}

#[test]
fn several_streams_of_a_worker_are_one_message() {
    let house = house(&["a", "b"], |_| ());
    let (w1, w2) = (house.worker("w1"), house.worker("w2"));
    let scan = house.start(&["a", "b"]);
    house.assign(scan, &[(0, &[("a", &["w1", "w2"]), ("b", &["w1"])])]);
    house.feed(0, EventKind::Data, &[b"from a"]);
    house.feed(1, EventKind::Data, &[b"from b", b"too"]);
    let (header, frames) = receive(&w1);
    assert_eq!(header["streams"], json!({"a": {"typ": "T", "length": 1}, "b": {"typ": "T", "length": 2}}));
    assert_eq!(frames, vec![b"from a".to_vec(), b"from b".to_vec(), b"too".to_vec()]);
    assert_eq!(receive(&w2).1, vec![b"from a".to_vec()]);
    house.stop();
}

#[test]
fn a_new_scan_gets_nothing_of_the_old() {
    let house = house(&["a"], |_| ());
    let w1 = house.worker("w1");
    let old = house.start(&["a"]);
    house.feed(0, EventKind::Data, &[b"old, never assigned"]);
    house.wait("the event", |report| report.streams.values().any(|stream| stream.read == 1));
    let new = house.start(&["a"]);
    house.assign(old, &[(0, &[("a", &["w1"])])]);
    house.assign(new, &[(0, &[("a", &["w1"])])]);
    house.feed(0, EventKind::Data, &[b"new"]);
    assert_eq!(receive(&w1).1, vec![b"new".to_vec()]);
    house.wait("the count", |report| report.counters.get("assignments_of_another_scan") == Some(&1));
    house.stop();
}

#[test]
fn frames_are_handed_to_the_socket_where_they_are() {
    // The owner is dropped only after the worker has everything: so no copy was made in between.
    struct Watched(Vec<u8>, Arc<Mutex<bool>>);
    impl AsRef<[u8]> for Watched {
        fn as_ref(&self) -> &[u8] {
            &self.0
        }
    }
    impl Drop for Watched {
        fn drop(&mut self) {
            *self.1.lock().unwrap() = true;
        }
    }
    let house = house(&["a"], |_| ());
    let w1 = house.worker("w1");
    let scan = house.start(&["a"]);
    let dropped = Arc::new(Mutex::new(false));
    let frame = Frame::from_owner(Watched(vec![5; 1 << 20], dropped.clone()));
    let event = Event { typ: "T", kind: EventKind::Data, frames: [frame].into_iter().collect() };
    house.feeds[0].0.lock().unwrap().push_back(event);
    house.wait("the event", |report| report.streams.values().any(|stream| stream.queued == 1));
    assert!(!*dropped.lock().unwrap());
    house.assign(scan, &[(0, &[("a", &["w1"])])]);
    assert_eq!(receive(&w1).1, vec![vec![5; 1 << 20]]);
    let deadline = Instant::now() + Duration::from_secs(10);
    while !*dropped.lock().unwrap() {
        assert!(Instant::now() < deadline, "the frame was never released");
        std::thread::yield_now();
    }
    house.stop();
}

#[test]
fn what_was_assigned_before_a_finish_is_delivered() {
    let house = house(&["a"], |_| ());
    let worker = house.worker("w1");
    for _ in 0..20 {
        let scan = house.start(&["a"]);
        house.feed(0, EventKind::Data, &[b"x"]);
        house.wait("the event", |report| report.streams.values().any(|stream| stream.queued == 1));
        // Usually both have arrived when the forwarder looks.
        house.assign(scan, &[(0, &[("a", &["w1"])])]);
        house.command(Command::Finish { scan });
        let report = house.wait("the finish", |report| report.finished == Some(scan));
        assert_eq!(report.processed_events, 1, "{:?}", report.counters);
        assert_eq!(receive(&worker).0["event_number"], 0);
    }
    house.stop();
}

//! Tests the source with a real PUB socket: what a plugin must do besides its protocol.

#![allow(clippy::unwrap_used, reason = "these are tests, helpers included")]

use std::{
    thread,
    time::{Duration, Instant},
};

use framegate_pcap::Pcap;
use framegate_plugin_api::{Deadline, Event, EventKind, EventSink, Progress, Source, SourceRun};
use framegate_zmq_source::testing::TestHost;

const LIMIT: Duration = Duration::from_secs(20);
const START: &str = r#"{"message_id":1,"version":1,"message_type":"series-start","arm_time":5}"#;
const END: &str = r#"{"message_id":3,"version":1,"message_type":"series-end"}"#;

#[test]
fn runs_come_over_a_subscription_in_batches_that_the_host_can_hold_back() {
    let socket = zmq::Context::new().socket(zmq::PUB).unwrap();
    socket.set_linger(0).unwrap();
    socket.bind("tcp://127.0.0.1:*").unwrap();
    let url = socket.get_last_endpoint().unwrap().unwrap();
    // A subscription may take longer than 10 ms while other tests run.
    let settings = format!(r#"{{"upstream_url": "{url}", "subscribe_settle": "100 ms"}}"#);
    let settings = serde_json::from_str(&settings).unwrap();
    let mut source = Pcap::create(settings, TestHost::new().1).unwrap();
    let samples = vec!["1.0"; 500].join(",");
    for scan in 0..20 {
        // Once the run is open, nothing is lost. The second `open` makes a connection of its own.
        let mut run = source.open().unwrap();
        for text in [
            START,
            &format!(r#"{{"message_id":{scan},"version":1,"message_type":"data","frame_number":0,"x":[{samples}]}}"#),
            END,
        ] {
            socket.send(text, 0).unwrap();
        }
        let mut events: Vec<Event> = Vec::new();
        let began = Instant::now();
        loop {
            let before = events.len();
            let mut push = |event| events.push(event);
            let mut out = EventSink::new(&mut push, 64, 1 << 20);
            let progress = run.next(&mut out, Deadline::after(Duration::from_millis(50))).unwrap();
            assert!(events.len() - before <= 65);
            if progress == Progress::End {
                break;
            }
            assert!(began.elapsed() < LIMIT, "no end came; {} events so far", events.len());
            thread::yield_now();
        }
        assert_eq!(events.len(), 502);
        assert!(events[1..501].iter().all(|event| event.kind == EventKind::Data));
        let last = std::str::from_utf8(events[500].frames[0].as_slice()).unwrap();
        let expected =
            format!(r#"{{"message_id":{scan},"version":1,"message_type":"data","frame_number":499,"x":1.0}}"#);
        assert_eq!(last, expected);
    }
}

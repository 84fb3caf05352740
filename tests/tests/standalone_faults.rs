//! Control without Redis when sources fail: the next scan starts, but only after a pause.

#![allow(clippy::unwrap_used, reason = "these are tests, helpers included")]

use std::time::{Duration, Instant};

use framegate::{
    ControlDriver, ControlState, FaultSubject, Host,
    names::{IngesterName, StreamName},
    settings::{Control, IngesterSettings, Settings, Standalone, StreamSettings},
};
use framegate_tests::{
    played::Played,
    process::{free_port, wait_for},
    worker::Worker,
};
use serde_json::{Value, json};

const LIMIT: Duration = Duration::from_secs(30);

/// A host with one ingester for each stream.
fn host(streams: &[(&str, Value)]) -> (Host, Vec<String>) {
    let ingester = |(name, settings): &(&str, Value)| {
        let stream = StreamSettings::new(StreamName::new(name).unwrap(), "played", settings.clone());
        IngesterSettings::new(IngesterName::new(name).unwrap(), "127.0.0.1", free_port(), vec![stream])
    };
    let ingesters: Vec<_> = streams.iter().map(ingester).collect();
    let urls = ingesters.iter().map(IngesterSettings::url).collect();
    let settings = Settings::new(Control::Standalone(Standalone::default()), ingesters);
    (Host::builder(settings).source::<Played>("played").start().unwrap(), urls)
}

#[test]
fn a_source_that_always_fails_does_not_make_scans_spin() {
    let (host, _) = host(&[("ill", json!({ "fails": true }))]);
    let began = Instant::now();
    let failures = || host.reports()[0].counters.get("source_failures").copied().unwrap_or(0);
    wait_for("three failures", LIMIT, || (failures() >= 3).then_some(()));
    // Half a second before the second attempt, then each pause doubles: minimum time for this many attempts.
    let tries = u32::try_from(failures()).unwrap();
    let waits = Duration::from_millis(500) * (2_u32.pow(tries - 1) - 1);
    assert!(began.elapsed() >= waits, "{tries} tries in {:?}", began.elapsed());
    let report = host.control_report();
    assert_eq!(
        (report.driver, report.state, report.address.as_deref()),
        (ControlDriver::Standalone, ControlState::Standalone, None)
    );
    assert!(report.faults[&FaultSubject::Scans].contains("failed in the last scan: ill"), "{report:?}");
}

#[test]
fn a_source_that_always_fails_does_not_keep_others_from_their_scans() {
    let (host, urls) = host(&[("ill", json!({ "fails": true })), ("well", json!({ "events": 100 }))]);
    let worker = Worker::connect("w1", &urls[1]);
    // Scans of the working stream, each complete; if they waited for the other stream, they would take minutes.
    for _ in 0..12 {
        for number in 0..100_u64 {
            let message = worker.next();
            assert_eq!((message.number(), &message.frames[0][..8]), (number, &number.to_le_bytes()[..]));
        }
    }
    assert!(host.control_report().faults[&FaultSubject::Scans].contains("ill"));
}

//! Status and metrics tell whether a detector is connected, since when, and its address: of every source that can know.

use framegate_tests::detectors::{Attach, Detector, Say};
use jiff::Timestamp;
use serde_json::Value;

use crate::Beamline;

/// The connection of each stream, once `wanted` holds for all.
fn connections(beamline: &mut Beamline, what: &str, wanted: impl Fn(&Value) -> bool) -> Vec<Value> {
    let streams = beamline.streams.clone();
    let status = beamline
        .host
        .wait_for(what, |ingester| streams.iter().all(|stream| wanted(&ingester["streams"][stream]["connection"])));
    streams.iter().map(|stream| status["streams"][stream]["connection"].clone()).collect()
}

fn since(connection: &Value) -> Timestamp {
    connection["since"].as_str().unwrap().parse().unwrap()
}

#[test]
fn whether_a_detector_is_connected_is_told_since_when_and_where() {
    for attach in [Attach::Connect, Attach::Bind] {
        let mut detectors = if attach == Attach::Connect { Detector::all() } else { Detector::on_zeromq(attach) };
        // Sardana's posts come one by one.
        detectors.retain(|detector| !detector.comes());
        let streams: Vec<_> =
            detectors.iter().map(|detector| (detector.name, detector.name, detector.settings())).collect();
        let began = Timestamp::now();
        let mut beamline = Beamline::start(&streams, |_| {});
        beamline.begin();

        let absent = connections(&mut beamline, "nobody", |connection| connection["connected"] == false);
        for (connection, detector) in absent.iter().zip(&detectors) {
            assert!(connection["address"].as_str().unwrap().contains(&detector.address()), "{connection}");
        }
        detectors.iter_mut().for_each(Detector::appear);
        detectors.iter().for_each(Detector::wait_for_source);
        let connected = connections(&mut beamline, "all of them", |connection| connection["connected"] == true);
        for (connection, before) in connected.iter().zip(&absent) {
            assert!(since(before).as_second() >= began.as_second(), "{before}");
            assert!(since(connection) >= since(before), "{connection} after {before}");
        }
        // Who connects to us is known by what it sends.
        for detector in &detectors {
            detector.say(Say::Start(1));
        }
        let known = connections(&mut beamline, "their addresses", |connection| connection["address"].is_string());
        for (connection, detector) in known.iter().zip(&detectors) {
            let address = connection["address"].as_str().unwrap();
            match attach {
                Attach::Connect => assert!(address.contains(&detector.address()), "{connection}"),
                Attach::Bind => assert_eq!(address, "127.0.0.1", "{connection}"),
            }
        }
        let metrics = beamline.host.get("/metrics").unwrap();
        for stream in &beamline.streams {
            let metric = format!(r#"framegate_stream_connected{{ingester="all-ingester",stream="{stream}"}} 1.0"#);
            assert!(metrics.contains(&metric), "{metric} is not in\n{metrics}");
        }
        detectors.iter_mut().for_each(Detector::vanish);
        let gone = connections(&mut beamline, "their end", |connection| connection["connected"] == false);
        for (connection, before) in gone.iter().zip(&known) {
            assert!(since(connection) >= since(before), "{connection} after {before}");
        }
        beamline.ends();
    }
}

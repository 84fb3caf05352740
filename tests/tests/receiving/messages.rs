//! Large messages, and messages that give no event: the log gives the reason.

use framegate_tests::detectors::{Attach, Detector, Say};
use serde_json::json;

use crate::Beamline;

fn of(name: &str) -> Detector {
    let mut detector = Detector::on_zeromq(Attach::Connect).into_iter().find(|each| each.name == name).unwrap();
    detector.appear();
    detector
}

/// NanoMAX's microscope camera sends its image inside the pickle.
#[test]
fn a_contrast_message_of_31_mb_is_an_event() {
    let detector = zmq::Context::new().socket(zmq::XPUB).unwrap();
    detector.set_linger(0).unwrap();
    detector.bind("tcp://127.0.0.1:*").unwrap();
    let url = detector.get_last_endpoint().unwrap().unwrap();
    let mut beamline = Beamline::start(&[("contrast", "contrast", json!({ "upstream_url": url }))], |_| {});
    beamline.begin();
    framegate_tests::protocols::wait_for_subscription(&detector).expect("somebody subscribes");
    let start = b"\x80\x04}(\x8c\x06status\x8c\x07started\x8c\x04path\x8c\x01p\x8c\x06scannrK\x02\x8c\x0bdescription\x8c\x01du.";
    let image = vec![7; 31_000_000];
    let length = u32::try_from(image.len()).unwrap().to_le_bytes();
    let running =
        [b"\x80\x04}(\x8c\x06status\x8c\x07running\x8c\x02dtK\x01\x8c\x06baslerB".as_slice(), &length, &image, b"u."]
            .concat();
    for message in [start.to_vec(), running.clone(), running] {
        detector.send(&message, 0).unwrap();
        beamline.gets("contrast", &vec![message]);
    }
    beamline.ends();
}

#[test]
fn each_source_says_once_in_a_scan_what_came_while_a_start_was_waited_for() {
    let mut detectors = Detector::all();
    detectors.iter_mut().for_each(Detector::appear);
    let streams: Vec<_> =
        detectors.iter().map(|detector| (detector.name, detector.name, detector.settings())).collect();
    let mut beamline = Beamline::start(&streams, |_| {});
    for scan in 1..=2 {
        beamline.begin();
        for detector in &detectors {
            detector.wait_for_source();
            detector.say(Say::Data(0));
            detector.say(Say::Data(1));
        }
        beamline.host.wait_for("what gave no event to be counted", |ingester| {
            let streams = ingester["streams"].as_object().unwrap();
            streams.values().all(|stream| stream["skipped"]["before the start of a run"].as_u64() >= Some(2))
        });
        for detector in &detectors {
            let what = format!("stream={}", detector.name);
            let lines: Vec<_> = beamline
                .warnings("before the start of a run")
                .into_iter()
                .filter(|line| line.ends_with(&what))
                .collect();
            assert_eq!(lines.len(), scan, "{}, in\n{}", detector.name, beamline.host.log());
        }
    }
    beamline.ends();
}

#[test]
fn a_class_that_does_not_fit_the_detector_and_a_header_that_is_refused_are_told_with_their_reason() {
    let fits_not = of("stins");
    // As PsiEiger sends it: a field without its value.
    let refused = zmq::Context::new().socket(zmq::PUSH).unwrap();
    refused.set_linger(0).unwrap();
    refused.set_sndtimeo(20_000).unwrap();
    refused.bind("tcp://127.0.0.1:*").unwrap();
    let url = refused.get_last_endpoint().unwrap().unwrap();
    let streams = [
        ("wrong", "eiger-legacy", json!({ "upstream_url": format!("tcp://{}", fits_not.address()) })),
        ("refused", "stins", json!({ "upstream_url": url })),
    ];
    let mut beamline = Beamline::start(&streams, |_| {});
    beamline.begin();
    for what in [Say::Start(1), Say::Data(0), Say::Data(1), Say::End(1)] {
        fits_not.say(what);
    }
    for number in 0..3 {
        let header = format!(r#"{{"htype": "header", "filename": null, "msg_number": {number}}}"#);
        refused.send(&header, 0).unwrap();
    }
    let early = "before the start of a run";
    beamline.host.wait_for("what gave no event to be counted", |ingester| {
        let streams = &ingester["streams"];
        (&streams["wrong"]["skipped"][early], &streams["refused"]["skipped"][early]) == (&json!(4), &json!(3))
    });
    for (typ, begins) in [
        ("EIGER_LEGACY", r#"it begins with: {"htype": "header", "filename": "1.h5""#),
        ("STINS", r#"it begins with: {"htype": "header", "filename": null, "msg_number": 0}"#),
    ] {
        let lines: Vec<_> = beamline.warnings(early).into_iter().filter(|line| line.contains(typ)).collect();
        assert_eq!(lines.len(), 1, "{typ}, in\n{}", beamline.host.log());
        assert!(lines[0].contains(begins) && lines[0].contains("message 1 of the scan"), "{}", lines[0]);
    }
    beamline.ends();
}

//! Bad input from a detector, through the real program and the plugin loaded from its file: it is skipped and counted, and
//! the next good message is served.

#![allow(clippy::unwrap_used, reason = "these are tests, helpers included")]

use framegate_tests::standalone::{House, Wish, images, is_end};
use serde_json::Value;

#[test]
fn whatever_a_detector_sends_the_next_good_message_is_served() {
    let mut house = House::new(&Wish::default());
    let worker = house.worker("w1");
    let end_of_image = r#""type": "u1", "compression": "none", "msg_number": 1}"#;
    let image_with = |more: &str| format!(r#"{{"htype": "image", "frame": 0, "shape": [1], {more}, {end_of_image}"#);
    let nested = |levels: usize| image_with(&format!(r#""x": {}{}"#, "[".repeat(levels), "]".repeat(levels)));
    let huge = |bytes: usize| image_with(&format!(r#""x": "{}""#, "y".repeat(bytes)));
    let good = image_with(r#""x": 1"#);

    house.detector.header();
    let bad: [(&str, Vec<&[u8]>); 8] = [
        ("no JSON", vec![b"not JSON".as_slice()]),
        ("an empty part", vec![b""]),
        ("empty parts", vec![b"", b"", b""]),
        ("no UTF-8", vec![b"{\"htype\": \"\xff\xfe\"}"]),
        ("not closed", vec![b"{\"htype\": \"image\", \"x\": [[[["]),
        ("a wrong type", vec![br#"{"htype": "image", "frame": [], "msg_number": "one"}"#]),
        ("100,000 parts", [good.as_bytes()].into_iter().chain(vec![&b""[..]; 99_999]).collect()),
        ("an unknown kind", vec![br#"{"htype": "surprise", "msg_number": 1}"#]),
    ];
    for (number, (_, parts)) in bad.iter().enumerate() {
        house.detector.send_parts(parts);
        house.detector.image(&[number as u8; 10]);
    }
    let deep = [nested(150_000), nested(5_000_000), huge(20 << 20)];
    for text in &deep {
        house.detector.send_parts(&[text.as_bytes(), b"pixels"]);
    }
    // Deep and large, and yet what is allowed: these are events.
    let allowed = [nested(198), huge(8 << 20), good.clone()];
    for text in &allowed {
        house.detector.send_parts(&[text.as_bytes(), b""]);
    }

    let got: Vec<_> = (0..1 + bad.len() + allowed.len()).map(|_| worker.next()).collect();
    let images = images(&got);
    assert_eq!(images[..bad.len()], (0..bad.len()).map(|number| vec![number as u8; 10]).collect::<Vec<_>>());
    for (text, message) in allowed.iter().zip(&got[1 + bad.len()..]) {
        assert!(message.frames == [text.as_bytes(), b""], "what is passed on is what came");
    }
    let expected = (bad.len() + deep.len()) as u64;
    let status = house.host.wait_for("the counts", |ingester| {
        let skipped = ingester["streams"]["camera"]["skipped"].as_object();
        skipped.is_some_and(|skipped| skipped.values().filter_map(Value::as_u64).sum::<u64>() == expected)
    });
    house.detector.end();
    assert!(is_end(&worker.next()));
    let log = house.host.log();
    assert!(!log.contains("panicked") && log.lines().count() < 60, "{status:#}\n{log}");
    assert!(house.host.ended().is_none());
}

//! The captures through plugins loaded from their files, in a host between Redis and a worker: compares the plugin
//! boundary too.

use framegate::names::StreamName;
use framegate_tests::{framegate::plugin, process::free_port, redis::RedisServer, stage::Stage};
use serde_json::json;
use zmq::SocketType;

use crate::{
    Case, Outcome,
    ours::{Detector, digest, panda_box, socket},
    sardana::post_all,
};

/// The messages that a worker gets for a case with `events` expected events.
pub(crate) fn outcome(case: &Case, events: usize) -> Outcome {
    let port = free_port();
    let address = format!("tcp://127.0.0.1:{port}");
    let panda_box = (case.protocol.detector == Detector::Tcp).then(|| panda_box(&case.messages));
    let settings = match (&panda_box, case.protocol.detector) {
        (Some((url, _)), _) => json!({ "upstream_url": url }),
        (None, Detector::Http) => json!({ "port": port }),
        (None, _) => json!({ "upstream_url": address }),
    };
    let detector = match case.protocol.detector {
        Detector::Zmq(kind) => Some(socket(kind)),
        _ => None,
    };
    if let Some(detector) = &detector {
        detector.bind(&address).unwrap();
    }
    // A name without a simulated detector.
    let stream = "played-by-a-plugin";
    let mut stage = Stage::with(RedisServer::start(), &[stream], 0, |all| {
        let own = &mut all.ingesters[0].streams[0];
        own.source = plugin(case.protocol.plugin).to_str().unwrap().to_owned();
        own.settings = settings;
    });
    let worker = stage.worker("w1");
    stage.scan(&[stream]);
    // One more than expected.
    let one: &[(&str, &[&str])] = &[(stream, &["w1"])];
    stage.controller.assign(&vec![one; events + 1]);

    let mut answers = Vec::new();
    match &detector {
        Some(detector) => {
            if case.protocol.detector == Detector::Zmq(SocketType::XPUB) {
                detector.recv_bytes(0).unwrap();
            }
            case.messages.iter().for_each(|message| detector.send_multipart(&message.parts, 0).unwrap());
        }
        None if panda_box.is_none() => answers = post_all(port, &case.messages),
        None => {}
    }
    let mut got: Vec<_> = (0..events).map(|_| worker.next()).collect();
    // The end of a scan delivers everything that has arrived: a surplus event would be included.
    stage.controller.finish_and_wait(&stage.name);
    let read = stage.host().reports()[0].streams[&StreamName::new(stream).unwrap()].read;
    got.extend((events as u64..read).map(|_| worker.next()));
    let event = |message: &framegate_tests::worker::Message| {
        let typ = message.header()["streams"][stream]["typ"].as_str().unwrap().to_owned();
        (typ, message.frames.iter().map(|frame| digest(frame)).collect())
    };
    Outcome { events: got.iter().map(event).collect(), answers, died: None }
}

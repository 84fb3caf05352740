//! A detector may send as soon as an ingester publishes the new uuid: nothing is lost. And a stream that is not active in a scan
//! leaves its detector alone.
//!
//! ```text
//!     FRAMEGATE_READY=1000 cargo test -p framegate-tests --test ready
//! ```
//!
//! runs 1000 scans instead of 100.

#![allow(clippy::unwrap_used, reason = "these are tests, helpers included")]

use std::{
    env,
    io::{ErrorKind, Read as _},
    net::{TcpListener, TcpStream},
    time::Instant,
};

use framegate::settings::Settings;
use framegate_tests::{controller::LIMIT, framegate::plugin, process::wait_for, redis::RedisServer, stage::Stage};
use serde_json::json;
use zmq::SocketType::{self, PUB, PUSH};

/// A message, or an event: its parts.
type Parts = Vec<Vec<u8>>;

/// A whole run of a detector: in each scan other messages.
struct Protocol {
    /// Of the plugin and the stream.
    name: &'static str,
    detector: SocketType,
    run: fn(u32) -> Run,
}

struct Run {
    messages: Vec<Parts>,
    /// Three of them.
    events: Vec<Parts>,
}

const PROTOCOLS: [Protocol; 7] = [
    Protocol { name: "stins", detector: PUSH, run: stins },
    Protocol { name: "eiger-legacy", detector: PUSH, run: eiger_legacy },
    Protocol { name: "albaem", detector: PUB, run: albaem },
    Protocol { name: "contrast", detector: PUB, run: contrast },
    Protocol { name: "lecroy", detector: PUB, run: lecroy },
    Protocol { name: "pcap", detector: PUB, run: pcap },
    Protocol { name: "xspress", detector: PUB, run: xspress },
];

#[test]
fn what_a_detector_sends_when_the_uuid_is_published_is_not_lost() {
    let scans: u32 = env::var("FRAMEGATE_READY").map_or(100, |text| text.parse().expect("a number of scans"));
    let detectors = PROTOCOLS.map(|protocol| {
        let socket = zmq::Context::new().socket(protocol.detector).unwrap();
        socket.set_linger(0).unwrap();
        socket.set_sndtimeo(20_000).unwrap();
        socket.bind("tcp://127.0.0.1:*").unwrap();
        let url = socket.get_last_endpoint().unwrap().unwrap();
        (protocol, socket, url)
    });
    let streams: Vec<_> = detectors.iter().map(|(protocol, ..)| protocol.name).collect();
    let mut stage = Stage::with(RedisServer::start(), &streams, 0, |settings| {
        for (protocol, _, url) in &detectors {
            use_plugin(settings, protocol.name, protocol.name, url);
        }
    });
    let name = stage.name.clone();
    let worker = stage.worker("w1");
    let to_w1: Vec<(&str, &[&str])> = streams.iter().map(|stream| (*stream, &["w1"][..])).collect();

    for scan in 0..scans {
        let runs: Vec<_> = detectors.iter().map(|(protocol, socket, _)| ((protocol.run)(scan), socket)).collect();
        let uuid = json!(stage.controller.start_scan(&streams));
        let began = Instant::now();
        // Not a moment later: without a pause between two looks.
        while stage.controller.state(&name).is_none_or(|state| state["mapping_uuid"] != uuid) {
            assert!(began.elapsed() < LIMIT, "scan {scan} does not begin");
        }
        for (run, socket) in &runs {
            run.messages.iter().for_each(|parts| socket.send_multipart(parts, 0).unwrap());
        }
        stage.controller.assign(&[to_w1.as_slice(); 3]);
        for number in 0..3 {
            let message = worker.within(LIMIT).unwrap_or_else(|| {
                panic!("scan {scan}: event {number} does not come; {:#?}", stage.report());
            });
            for ((protocol, ..), (run, _)) in detectors.iter().zip(&runs) {
                let got = message.stream(protocol.name).unwrap();
                assert!(got == run.events[number], "scan {scan}, event {number} of {}: {got:?}", protocol.name);
            }
        }
        stage.finish();
    }
}

#[test]
fn a_stream_that_is_not_active_has_no_connection_to_its_detector() {
    // Streams of other names than in the test above, whose host may load the same plugins in this moment.
    let plugins = PROTOCOLS.iter().map(|protocol| protocol.name).chain(["pcap-raw"]);
    let names: Vec<_> = plugins.map(|from| (from, format!("own-{from}"))).collect();
    let detectors: Vec<_> =
        names.iter().map(|(_, name)| (name.as_str(), TcpListener::bind("127.0.0.1:0").unwrap())).collect();
    let streams: Vec<_> = names.iter().map(|(_, name)| name.as_str()).chain(["played"]).collect();
    let mut stage = Stage::with(RedisServer::start(), &streams, 0, |settings| {
        for ((from, _), (name, listener)) in names.iter().zip(&detectors) {
            listener.set_nonblocking(true).unwrap();
            use_plugin(settings, name, from, &format!("tcp://{}", listener.local_addr().unwrap()));
        }
    });
    let mut whole_scan = |streams: &[&str]| {
        stage.scan(streams);
        stage.finish();
    };
    let assert_alone = || {
        for (name, detector) in &detectors {
            let answer = detector.accept().map_err(|error| error.kind());
            assert!(matches!(answer, Err(ErrorKind::WouldBlock)), "{name}: {answer:?}");
        }
    };

    whole_scan(&["played"]);
    whole_scan(&["played"]);
    assert_alone();

    whole_scan(&streams);
    let connections: Vec<_> = detectors
        .iter()
        .map(|(name, detector)| {
            let what = format!("the connection of {name}");
            (*name, wait_for(&what, LIMIT, || detector.accept().ok().map(|(connection, _)| connection)))
        })
        .collect();

    whole_scan(&["played"]);
    // All of them are over, also those that were made anew because nobody had answered.
    let made_anew = detectors.iter().flat_map(|(name, detector)| {
        let pending = std::iter::from_fn(|| detector.accept().ok());
        pending.map(|(connection, _)| (*name, connection))
    });
    connections.into_iter().chain(made_anew).for_each(|(name, connection)| read_to_the_end(name, connection));
    whole_scan(&["played"]);
    assert_alone();
}

fn read_to_the_end(name: &str, mut connection: TcpStream) {
    connection.set_nonblocking(false).unwrap();
    connection.set_read_timeout(Some(LIMIT)).unwrap();
    match connection.read_to_end(&mut Vec::new()) {
        Ok(_) => {}
        Err(error) if error.kind() == ErrorKind::ConnectionReset => {}
        Err(error) => panic!("the connection of {name} is not closed: {error}"),
    }
}

/// Feeds a stream from a plugin's file.
fn use_plugin(settings: &mut Settings, name: &str, from: &str, url: &str) {
    let mut streams = settings.ingesters[0].streams.iter_mut();
    let stream = streams.find(|stream| stream.name.as_str() == name).unwrap();
    stream.source = plugin(from).to_str().unwrap().to_owned();
    stream.settings = json!({ "upstream_url": url });
}

/// Messages that are events as they are.
fn plain(messages: Vec<Vec<&[u8]>>) -> Run {
    let messages: Vec<Parts> = messages.iter().map(|parts| parts.iter().map(|part| part.to_vec()).collect()).collect();
    Run { events: messages.clone(), messages }
}

fn stins(scan: u32) -> Run {
    let header = format!(r#"{{"htype": "header", "filename": "{scan}.h5", "msg_number": 0}}"#);
    let image = r#"{"htype": "image", "frame": 0, "shape": [4], "type": "u1", "compression": "none", "msg_number": 1}"#;
    let end = r#"{"htype": "series_end", "msg_number": 2}"#;
    plain(vec![vec![header.as_bytes()], vec![image.as_bytes(), &scan.to_le_bytes()], vec![end.as_bytes()]])
}

fn eiger_legacy(scan: u32) -> Run {
    let header = format!(r#"{{"htype": "dheader-1.0", "header_detail": "all", "series": {scan}}}"#);
    let image = format!(r#"{{"htype": "dimage-1.0", "frame": 0, "series": {scan}}}"#);
    let end = format!(r#"{{"htype": "dseries_end-1.0", "series": {scan}}}"#);
    let [header, image, end] = [&header, &image, &end].map(|text| text.as_bytes());
    plain(vec![vec![header, b"{}"], vec![image, b"{}", b"pixels", b"{}"], vec![end]])
}

fn albaem(scan: u32) -> Run {
    let message = |kind: &str| format!(r#"{{"version": 1, "message_id": {scan}, "message_type": "{kind}""#);
    let data = r#", "frame_number": 0, "timestamp": 7.5, "acquisition_timestamp": 1, "channel1": -2.5}"#;
    let messages = [message("series-start") + "}", message("data") + data, message("series-end") + "}"];
    plain(messages.iter().map(|text| vec![text.as_bytes()]).collect())
}

/// Pickles of protocol 2: `{…, 'scannr': scan}`.
fn contrast(scan: u32) -> Run {
    let text = |text: &str| [b"X", &(text.len() as u32).to_le_bytes()[..], text.as_bytes()].concat();
    let pickle = |fields: &[&str], number: &str| {
        let fields = fields.iter().map(|field| text(field)).collect::<Vec<_>>().concat();
        [b"\x80\x02}(", &fields[..], &text(number), b"J", &scan.to_le_bytes(), b"u."].concat()
    };
    let whole = |status| pickle(&["status", status, "path", "/data", "description", "mesh"], "scannr");
    let messages = [whole("started"), pickle(&["status", "running"], "dt"), whole("finished")];
    plain(messages.iter().map(|pickle| vec![pickle.as_slice()]).collect())
}

/// Of a sequence all messages are one event.
fn lecroy(scan: u32) -> Run {
    let prepare = format!(r#"{{"htype": "msg", "what": 0, "frame": {scan}}}"#);
    let start = r#"{"htype": "msg", "what": 1, "frame": 0, "ntriggers": 20, "seqno": 0, "channels": [2]}"#;
    let traces = r#"{"htype": "traces", "ch": 2, "ts": 1.5, "frame": 0, "shape": [1, 1], "dtype": "float64",
                     "horiz_offset": 0, "horiz_interval": 1}"#;
    let sequence_end = r#"{"htype": "msg", "what": 2, "frame": 0}"#;
    let end = format!(r#"{{"what": 3, "frame": {scan}, "frames": 1}}"#);
    let [prepare, start, traces, sequence_end, end] =
        [&prepare, start, traces, sequence_end, &end].map(|text| text.as_bytes());
    let Run { messages, .. } =
        plain(vec![vec![prepare], vec![start], vec![traces, b"waveform", b"[1.5]"], vec![sequence_end], vec![end]]);
    let events = vec![messages[0].clone(), messages[1..4].concat(), messages[4].clone()];
    Run { messages, events }
}

/// One message with one sample, which is written anew.
fn pcap(scan: u32) -> Run {
    let start = format!(
        r#"{{"message_id":{scan},"version":1,"message_type":"series-start","arm_time":"2024-10-07T08:49:10.627Z"}}"#
    );
    let sample = |value| {
        format!(r#"{{"message_id":{scan},"version":1,"message_type":"data","frame_number":0,"inttime":{value}}}"#)
    };
    let end = format!(r#"{{"message_id":{scan},"version":1,"message_type":"series-end"}}"#);
    let [start, data, sample, end] = [start, sample("[7.5]"), sample("7.5"), end].map(|text| vec![text.into_bytes()]);
    Run { messages: vec![start.clone(), data, end.clone()], events: vec![start, sample, end] }
}

/// The image comes as three messages.
fn xspress(scan: u32) -> Run {
    let header = format!(r#"{{"htype": "header", "filename": "{scan}.h5"}}"#);
    let image = r#"{"htype": "image", "frame": 0, "shape": [1], "type": "uint32"}"#;
    let array = scan.to_le_bytes();
    let end: &[u8] = br#"{"htype": "series_end"}"#;
    let Run { messages, .. } =
        plain(vec![vec![header.as_bytes()], vec![image.as_bytes()], vec![&array], vec![b"metadata"], vec![end]]);
    let events = vec![messages[0].clone(), messages[1..4].concat(), messages[4].clone()];
    Run { messages, events }
}

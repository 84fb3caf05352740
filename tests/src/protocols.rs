//! Messages of detectors on ZeroMQ: for each protocol, made for tests.
//!
//! A run is [`Protocol::start`], then [`Protocol::data`] any number of times, then [`Protocol::end`]. Each of them
//! gives one event.

use zmq::SocketType::{self, PUB, PUSH};

/// A message, or an event: its parts.
pub type Parts = Vec<Vec<u8>>;

/// A protocol.
#[derive(Debug)]
pub struct Protocol {
    /// Name of the plugin.
    pub name: &'static str,
    /// The detector's socket type.
    pub detector: SocketType,
    /// The messages that start a run; the number differs from scan to scan.
    pub start: fn(u32) -> Vec<Parts>,
    /// The messages of the data with a number. One of them has a JSON part (with Contrast: a pickle), which also has
    /// this field: `"name": value`.
    pub data: fn(u32, &str) -> Vec<Parts>,
    /// The messages that end a run.
    pub end: fn(u32) -> Vec<Parts>,
}

impl Protocol {
    /// A detector's socket, neither bound nor connected. A publisher's socket reports each subscription, also that of a
    /// second connection before the first is known to be closed.
    ///
    /// # Panics
    /// libzmq cannot create it.
    #[must_use]
    pub fn socket(&self) -> zmq::Socket {
        // XPUB is a PUB that reports subscriptions.
        let kind = if self.detector == PUB { SocketType::XPUB } else { self.detector };
        let socket = zmq::Context::new().socket(kind).expect("a socket can be made");
        let set = || {
            socket.set_linger(0)?;
            socket.set_sndtimeo(20_000)?;
            socket.set_rcvtimeo(20_000)?;
            socket.set_sndhwm(0)?;
            if self.detector == PUB { socket.set_xpub_verbose(true) } else { Ok(()) }
        };
        set().expect("libzmq has these options");
        socket
    }

    /// The expected event for messages of this protocol.
    #[must_use]
    pub fn event(&self, messages: &[Parts]) -> Parts {
        match self.name {
            "pcap" => messages.iter().map(|parts| sample(&parts[0])).collect(),
            _ => messages.concat(),
        }
    }
}

/// Waits until a receiver subscribes to everything: PUB drops messages without a subscription.
///
/// # Errors
/// None does within the socket's time-out.
pub fn wait_for_subscription(socket: &zmq::Socket) -> zmq::Result<()> {
    while socket.recv_bytes(0)? != [1] {}
    Ok(())
}

/// All protocols.
pub const ALL: [Protocol; 7] = [
    Protocol {
        name: "stins",
        detector: PUSH,
        start: |scan| vec![text(format!(r#"{{"htype": "header", "filename": "{scan}.h5", "msg_number": 0}}"#))],
        data: |number, more| {
            let image = format!(
                r#"{{"htype": "image", "frame": {number}, "shape": [4], "type": "u1", "compression": "none", "msg_number": {}, {more}}}"#,
                number + 1
            );
            vec![vec![image.into_bytes(), number.to_le_bytes().into()]]
        },
        end: |_| vec![text(r#"{"htype": "series_end", "msg_number": 2}"#)],
    },
    Protocol {
        name: "eiger-legacy",
        detector: PUSH,
        start: |scan| {
            let header = format!(r#"{{"htype": "dheader-1.0", "header_detail": "all", "series": {scan}}}"#);
            vec![vec![header.into_bytes(), b"{}".into()]]
        },
        data: |number, more| {
            let image = format!(r#"{{"htype": "dimage-1.0", "frame": {number}, {more}}}"#);
            vec![vec![image.into_bytes(), b"{}".into(), b"pixels".into(), b"{}".into()]]
        },
        end: |scan| vec![text(format!(r#"{{"htype": "dseries_end-1.0", "series": {scan}}}"#))],
    },
    Protocol {
        name: "albaem",
        detector: PUB,
        start: |scan| vec![text(format!(r#"{{"version": 1, "message_id": {scan}, "message_type": "series-start"}}"#))],
        data: |number, more| {
            vec![text(format!(
                r#"{{"version": 1, "message_id": 1, "message_type": "data", "frame_number": {number}, "timestamp": 7.5, "acquisition_timestamp": 1, {more}}}"#
            ))]
        },
        end: |scan| vec![text(format!(r#"{{"version": 1, "message_id": {scan}, "message_type": "series-end"}}"#))],
    },
    Protocol {
        name: "contrast",
        detector: PUB,
        start: |scan| {
            vec![vec![pickle(&["status", "started", "path", "/data", "description", "mesh"], "scannr", scan)]]
        },
        data: |number, more| vec![vec![pickle(&["status", "running", "more", more], "dt", number)]],
        end: |scan| vec![vec![pickle(&["status", "finished", "path", "/data", "description", "mesh"], "scannr", scan)]],
    },
    // The start of a sequence is part of its event.
    Protocol {
        name: "lecroy",
        detector: PUB,
        start: |scan| vec![text(format!(r#"{{"htype": "msg", "what": 0, "frame": 0, "scan": {scan}}}"#))],
        data: |number, more| {
            let start = format!(
                r#"{{"htype": "msg", "what": 1, "frame": {number}, "ntriggers": 20, "seqno": {number}, "channels": [2]}}"#
            );
            let traces = format!(
                r#"{{"htype": "traces", "ch": 2, "ts": 1.5, "frame": {number}, "shape": [1, 1], "dtype": "float64", "horiz_offset": 0, "horiz_interval": 1, {more}}}"#
            );
            let end = format!(r#"{{"htype": "msg", "what": 2, "frame": {}}}"#, number + 1);
            vec![text(start), vec![traces.into_bytes(), b"waveform".into(), b"[1.5]".into()], text(end)]
        },
        end: |scan| vec![text(format!(r#"{{"what": 3, "frame": 0, "frames": 1, "scan": {scan}}}"#))],
    },
    // One message with one sample, which is rewritten.
    Protocol {
        name: "pcap",
        detector: PUB,
        start: |scan| {
            vec![text(format!(
                r#"{{"message_id":{scan},"version":1,"message_type":"series-start","arm_time":"2024-10-07T08:49:10.627Z"}}"#
            ))]
        },
        data: |number, more| {
            vec![text(format!(
                r#"{{"message_id":1,"version":1,"message_type":"data","frame_number":{number},"inttime":[7.5],{more}}}"#
            ))]
        },
        end: |scan| vec![text(format!(r#"{{"message_id":{scan},"version":1,"message_type":"series-end"}}"#))],
    },
    // The image is sent as three messages.
    Protocol {
        name: "xspress",
        detector: PUB,
        start: |scan| vec![text(format!(r#"{{"htype": "header", "filename": "{scan}.h5"}}"#))],
        data: |number, more| {
            let image = format!(r#"{{"htype": "image", "frame": {number}, "shape": [1], "type": "uint32", {more}}}"#);
            vec![text(image), vec![number.to_le_bytes().into()], vec![b"metadata".into()]]
        },
        end: |_| vec![text(r#"{"htype": "series_end"}"#)],
    },
];

fn text(text: impl Into<String>) -> Parts {
    vec![text.into().into_bytes()]
}

/// A dictionary in a pickle of protocol 2, with texts and one number.
fn pickle(texts: &[&str], name: &str, number: u32) -> Vec<u8> {
    let text = |text: &&str| [b"X", &(text.len() as u32).to_le_bytes()[..], text.as_bytes()].concat();
    let texts: Vec<_> = texts.iter().map(text).collect();
    [b"\x80\x02}(", &texts.concat()[..], &text(&name), b"J", &number.to_le_bytes(), b"u."].concat()
}

/// The only sample of a position capture message.
fn sample(message: &[u8]) -> Vec<u8> {
    String::from_utf8_lossy(message).replace("[7.5]", "7.5").into_bytes()
}

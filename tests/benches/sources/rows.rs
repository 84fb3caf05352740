//! The rows: the messages of each detector, sent in a loop, and their number.

use framegate_tests::captures::{self, Parts};

/// A row of the table.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Row {
    pub(crate) name: &'static str,
    /// The ingester class of dranspose: both programs are started with it.
    pub(crate) class: &'static str,
    pub(crate) detector: Detector,
    /// A file of dranspose's source distribution; "" if it only has a simulation.
    capture: &'static str,
    /// Number of messages before and after the repeated ones.
    ends: (usize, usize),
    /// Events per repetition.
    pub(crate) events: u64,
    /// Repetitions, for a second or two: for relay and framegate, and for Python.
    pub(crate) loops: (u64, u64),
}

/// How a detector sends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Detector {
    Push,
    Publish,
    /// A PandABox's own port.
    Tcp,
    /// Sardana.
    Http,
}

/// One run; its middle is repeated. For HTTP a message is path and body, for TCP bytes.
#[derive(Debug)]
pub(crate) struct Traffic {
    pub(crate) start: Vec<Parts>,
    pub(crate) repeated: Vec<Parts>,
    pub(crate) end: Vec<Parts>,
}

#[rustfmt::skip]
pub(crate) const ROWS: [Row; 12] = [
    row("stins", "ZmqPullSingleIngester", Detector::Push, "dump_xrd.cbors", (1, 1), 9, (30_000, 1_500)),
    row("eiger-legacy", "ZmqPullEigerLegacyIngester", Detector::Push, "eiger-small.cbors", (1, 1), 3, (15_000, 1_500)),
    row("albaem", "ZmqSubAlbaemIngester", Detector::Publish, "albaem-dump.cbors", (1, 1), 4, (60_000, 4_000)),
    row("contrast", "ZmqSubContrastIngester", Detector::Publish, "contrast-dump.cbors", (2, 3), 20, (6_000, 600)),
    row("pcap", "ZmqSubPCAPIngester", Detector::Publish, "pcap-zmq.cbors", (1, 1), 1500, (200, 12)),
    row("pcap-raw", "TcpPcapIngester", Detector::Tcp, "", (9, 1), 100, (3_000, 200)),
    row("sardana", "HttpSardanaIngester", Detector::Http, "", (1, 1), 10, (2_000, 150)),
    row("xspress", "ZmqSubXspressIngester", Detector::Publish, "xspress3-multipart.cbors", (1, 1), 5, (4_000, 400)),
    row("xspress-3-messages", "ZmqSubXspressIngester", Detector::Publish, "xspress3-dump.cbors", (1, 1), 20, (1_000, 100)),
    row("xspress-mini", "ZmqSubXspressIngester", Detector::Publish, "xspress3mini-dump20.cbors", (1, 1), 22, (1_200, 100)),
    row("lecroy-continuous", "ZmqSubLecroyIngester", Detector::Publish, "maui-02-continuous-3.cbor.gz", (2, 1), 2, (5_000, 500)),
    row("lecroy-sequential", "ZmqSubLecroyIngester", Detector::Publish, "maui-02-sequential-3.cbor.gz", (1, 1), 2, (300, 60)),
];

const fn row(
    name: &'static str,
    class: &'static str,
    detector: Detector,
    capture: &'static str,
    ends: (usize, usize),
    events: u64,
    loops: (u64, u64),
) -> Row {
    Row { name, class, detector, capture, ends, events, loops }
}

impl Row {
    pub(crate) fn traffic(&self) -> Traffic {
        let mut messages = match self.detector {
            Detector::Tcp => captures::position_capture(0, 100).into_iter().map(|line| vec![line.into()]).collect(),
            Detector::Http => {
                let posts = captures::sardana(10).into_iter();
                posts.map(|(path, body)| vec![path.into(), body.into()]).collect()
            }
            Detector::Push | Detector::Publish => captures::read(self.capture),
        };
        let end = messages.split_off(messages.len() - self.ends.1);
        let repeated = messages.split_off(self.ends.0);
        Traffic { start: messages, repeated, end }
    }

    /// Bytes of an event, all its frames together, as sent by the detector.
    pub(crate) fn bytes(&self, traffic: &Traffic) -> u64 {
        let skip = usize::from(self.detector == Detector::Http);
        let sizes = traffic.repeated.iter().flat_map(|parts| parts.iter().skip(skip)).map(Vec::len);
        sizes.sum::<usize>() as u64 / self.events
    }
}

/// Start and end are one event each, regardless of the number of their messages.
pub(crate) const EVENTS_OF_ENDS: u64 = 2;

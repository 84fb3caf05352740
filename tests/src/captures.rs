//! Messages of real detectors: the captures of dranspose's source distribution, or messages of its simulated detectors
//! if there is none.

use std::{fs, io::Read};

use ciborium::Value;
use flate2::read::GzDecoder;
use serde_json::json;

use crate::python::suite_file;

/// A message: its parts.
pub type Parts = Vec<Vec<u8>>;

/// The messages of a capture in `tests/data` of that distribution.
///
/// # Panics
/// The file does not exist, or is not a capture.
#[must_use]
pub fn read(name: &str) -> Vec<Parts> {
    let bytes = fs::read(suite_file(&format!("tests/data/{name}"))).expect("a capture can be read");
    if name.ends_with(".gz") { messages(&unpacked(&bytes)) } else { messages(&bytes) }
}

/// The contents of a gzip file.
///
/// # Panics
/// The file is not a gzip file.
#[must_use]
pub fn unpacked(bytes: &[u8]) -> Vec<u8> {
    let mut unpacked = Vec::new();
    GzDecoder::new(bytes).read_to_end(&mut unpacked).expect("a capture is whole");
    unpacked
}

/// The messages of a capture.
///
/// # Panics
/// The bytes are not a capture.
#[must_use]
pub fn messages(bytes: &[u8]) -> Vec<Parts> {
    let mut rest = bytes;
    let mut messages = Vec::new();
    while !rest.is_empty() {
        messages.push(message(ciborium::from_reader(&mut rest).expect("a capture is CBOR")));
    }
    messages
}

/// A socket's capture has a message's parts; a capture of dranspose itself has an event: `[number, {stream: [typ,
/// parts]}]`, each with a tag.
fn message(item: Value) -> Parts {
    let mut items = list(item);
    let parts = if items.first().is_some_and(Value::is_bytes) {
        items
    } else {
        let streams = items.remove(1).into_map().expect("an event has streams");
        let (_, event) = streams.into_iter().next().expect("an event has a stream");
        list(list(event).remove(1))
    };
    parts.into_iter().map(|part| part.into_bytes().expect("a part is bytes")).collect()
}

fn list(value: Value) -> Vec<Value> {
    match value {
        Value::Array(items) => items,
        Value::Tag(_, inner) => list(*inner),
        other => panic!("{other:?} is no list"),
    }
}

/// The lines of one arm on a PandABox's own port. No capture exists; these are from `stream_pcap` in dranspose's
/// `tests/conftest.py`.
#[must_use]
pub fn position_capture(arm: u32, lines: u32) -> Vec<String> {
    let header = "arm_time: 2023-12-19T07:51:12.754Z\nmissed: 0\nprocess: Scaled\nformat: ASCII\nfields:\n \
                  PCAP.BITS2 uint32 Value\n COUNTER1.OUT double Min\n COUNTER1.OUT double Max\n\n";
    let data = (1..=lines).map(|line| format!(" {arm} {line} {line}.5 -0.25\n"));
    let end = format!("END {lines} Disarmed\n");
    header.split_inclusive('\n').map(str::to_owned).chain(data).chain([end]).collect()
}

/// Sardana's posts in a scan, each with its path below `/v1/`. The bodies are from `stream_sardana` in dranspose's
/// `tests/conftest.py`.
#[must_use]
pub fn sardana(points: u32) -> Vec<(&'static str, String)> {
    let description = json!({
        "column_desc": [
            {"name": "point_nb", "label": "#Pt No", "dtype": "int64", "shape": []},
            {"min_value": 0, "max_value": 0.1, "instrument": "", "name": "dummy_mot_01", "label": "dummy_mot_01",
             "dtype": "float64", "shape": [], "is_reference": true},
            {"name": "timestamp", "label": "dt", "dtype": "float64", "shape": []},
        ],
        "ref_moveables": ["dummy_mot_01"],
        "estimatedtime": -2.6585786096205566,
        "total_scan_intervals": 2,
        "starttime": "Mon Apr 17 14:19:35 2023",
        "title": "burstscan dummy_mot_01 0.0 0.1 2 50",
        "counters": ["tango://b-v-femtomax-csdb-0.maxiv.lu.se:10000/expchan/oscc_02_seq_ctrl/1"],
        "scanfile": ["stream.daq", "tests_03.h5"],
        "scandir": "/data/staff/femtomax/20230413",
        "serialno": 20338,
    });
    let record = |point| json!({"point_nb": point, "dummy_mot_01": 0, "timestamp": 0.6104741096496582});
    let records = (0..points).map(|point| ("record_data", record(point).to_string()));
    let ends = [("record_end", "{}".to_owned())];
    [("data_desc", description.to_string())].into_iter().chain(records).chain(ends).collect()
}

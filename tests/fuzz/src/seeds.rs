//! The seeds are real input: captures of detectors, the tables that the parsers are tested with, a controller's
//! entries.

use framegate_tests::captures;
use serde_json::Value;

use crate::{
    elf,
    packed::{pack, pack_messages},
};

/// A fixture of a plugin.
macro_rules! fixture {
    ($path:literal) => {
        include_bytes!(concat!("../../../plugins/", $path)).as_slice()
    };
}

/// A real capture has large frames; parsers only read the beginning of a part.
const PART: usize = 4096;
/// Maximum messages in an input: a complete small run.
const MESSAGES: usize = 12;

/// The messages of a capture, some at a time; and each message of a table, between a start and an end.
fn run_of(capture: &[u8], name: &str, table: &[u8]) -> Vec<Vec<u8>> {
    let mut seeds = Vec::new();
    let cut = |message: Vec<Vec<u8>>| message.into_iter().map(|part| part[..part.len().min(PART)].to_vec()).collect();
    let messages: Vec<Vec<Vec<u8>>> = captures::messages(capture).into_iter().map(cut).collect();
    seeds.extend(messages.chunks(MESSAGES).take(8).map(pack_messages));
    if let Some(protocol) = framegate_tests::protocols::ALL.iter().find(|protocol| protocol.name == name) {
        let (start, end) = ((protocol.start)(1), (protocol.end)(1));
        let data = |number| (protocol.data)(number, r#""more": [1, NaN, "x\u0041", {"y": null}]"#);
        seeds.push(pack_messages(&[&start[..], &data(0), &data(1), &data(3), &end, &data(4)].concat()));
        for text in texts(table) {
            seeds.push(pack_messages(&[&start[..], &[vec![text, b"payload".to_vec()]], &end].concat()));
        }
    }
    seeds
}

/// The first text of each line of a table; each character is the byte with its code point.
fn texts(table: &[u8]) -> Vec<Vec<u8>> {
    let table: Value = serde_json::from_slice(table).unwrap();
    let lines = table.get("messages").or(table.get("rows")).unwrap_or(&table).as_array().unwrap();
    let first = |line: &Value| line.get(0)?.as_str().or_else(|| line.get(0)?.get(0)?.as_str()).map(str::to_owned);
    let bytes = |text: String| text.chars().map(|c| u32::from(c) as u8).collect();
    // Every seventh: the tables have thousands that differ in one character, which mutation does anyway.
    let texts: Vec<_> = lines.iter().step_by(7).filter_map(|line| Some(bytes(first(line)?))).collect();
    assert!(lines.is_empty() || !texts.is_empty(), "the table has texts");
    texts
}

pub(crate) fn stins() -> Vec<Vec<u8>> {
    run_of(fixture!("stins/fixtures/dump_xrd.cbors"), "stins", fixture!("stins/fixtures/golden.json"))
}

pub(crate) fn eiger_legacy() -> Vec<Vec<u8>> {
    let table = fixture!("eiger-legacy/fixtures/golden.json");
    run_of(fixture!("eiger-legacy/fixtures/eiger-small.cbors"), "eiger-legacy", table)
}

pub(crate) fn albaem() -> Vec<Vec<u8>> {
    run_of(fixture!("albaem/fixtures/albaem-dump.cbors"), "albaem", fixture!("albaem/fixtures/golden.json"))
}

pub(crate) fn contrast() -> Vec<Vec<u8>> {
    let mut seeds = run_of(fixture!("contrast/fixtures/contrast-dump.cbors"), "contrast", b"[]");
    let mut rest = fixture!("contrast/fixtures/golden.cbors");
    while let Ok(ciborium::Value::Array(line)) = ciborium::from_reader(&mut rest) {
        seeds.extend(line.iter().filter_map(|item| Some(pack_messages(&[vec![item.as_bytes()?]]))));
    }
    seeds
}

pub(crate) fn lecroy() -> Vec<Vec<u8>> {
    let capture = captures::unpacked(fixture!("lecroy/fixtures/maui-02-continuous-3.cbor.gz"));
    run_of(&capture, "lecroy", fixture!("lecroy/fixtures/golden.json"))
}

pub(crate) fn pcap() -> Vec<Vec<u8>> {
    run_of(fixture!("pcap/fixtures/pcap-zmq.cbors"), "pcap", fixture!("pcap/fixtures/golden.json"))
}

pub(crate) fn xspress() -> Vec<Vec<u8>> {
    let table = fixture!("xspress/fixtures/golden.json");
    let mut seeds = run_of(fixture!("xspress/fixtures/xspress3-multipart-head.cbors"), "xspress", table);
    seeds.extend(run_of(fixture!("xspress/fixtures/xspress3mini-head.cbors"), "", b"[]"));
    seeds
}

pub(crate) fn pcap_raw() -> Vec<Vec<u8>> {
    let arm = captures::position_capture(1, 5).concat();
    let mut seeds = vec![pack([&arm]), pack([&arm[..arm.len() / 2], &arm, "junk\nEND"])];
    seeds.extend(texts(fixture!("pcap-raw/fixtures/golden.json")).iter().map(|text| pack([text])));
    seeds
}

pub(crate) fn sardana() -> Vec<Vec<u8>> {
    let table: Vec<Value> = serde_json::from_slice(fixture!("sardana/fixtures/golden.json")).unwrap();
    let posts =
        table.iter().step_by(7).filter_map(|line| Some((line.get(0)?.as_str()?, line.get(1)?.as_str()?.to_owned())));
    let kind = |path: &str| ["data_desc", "record_data", "record_end"].iter().position(|kind| *kind == path);
    let seed = |(path, body): (&str, String)| Some([&[kind(path)? as u8][..], body.as_bytes()].concat());
    captures::sardana(1).into_iter().chain(posts).filter_map(seed).collect()
}

pub(crate) fn json() -> Vec<Vec<u8>> {
    let table: Value = serde_json::from_slice(fixture!("source-kit/fixtures/golden.json")).unwrap();
    let lists = table.as_object().unwrap().values().filter_map(Value::as_array);
    let first = |line: &Value| Some(line.get(0)?.as_str()?.as_bytes().to_vec());
    lists.flatten().step_by(7).filter_map(first).collect()
}

pub(crate) fn updates() -> Vec<Vec<u8>> {
    let text = r#"{"mapping_uuid": "5e0e0f3c-4c1d-4a53-9a0e-3d9e7a1d1c11", "parameters_version": {"dump_prefix": "1c9d3b1e-0f4c-4f9e-8d53-4d1d4f0a7c22"}, "target_parameters_hash": "00ff", "active_streams": ["eiger", "pcap"], "finished": false}"#;
    vec![text.into(), text.replace("false", "true").into(), entries(text), entries("{}")]
}

pub(crate) fn assignments() -> Vec<Vec<u8>> {
    let text = r#"[{"event_number": 0, "assignments": {"one": ["w1", "w2"], "two": []}}, {"event_number": 1, "assignments": {"two": ["w\u0031"], "other": ["w9"]}}, {"event_number": 2, "assignments": {}}]"#;
    vec![text.into(), b"[]".to_vec(), entries(text)]
}

/// An answer to XREAD with one entry.
fn entries(text: &str) -> Vec<u8> {
    format!("*1\r\n*2\r\n$3\r\nkey\r\n*1\r\n*2\r\n$3\r\n1-0\r\n*2\r\n$4\r\ndata\r\n${}\r\n{text}\r\n", text.len())
        .into_bytes()
}

/// A DEALER's connection as libzmq 4.3 opens it, then pings; and a REQ's, which asks for an answer to a heartbeat.
pub(crate) fn connection() -> Vec<Vec<u8>> {
    let greeting = |minor: u8| {
        let mut greeting = [0; 64];
        (greeting[0], greeting[8], greeting[9], greeting[10], greeting[11]) = (0xff, 1, 0x7f, 3, minor);
        greeting[12..16].copy_from_slice(b"NULL");
        greeting.to_vec()
    };
    let dealer = b"\x04\x2b\x05READY\x0bSocket-Type\0\0\0\x06DEALER\x08Identity\0\0\0\x02w1";
    let req = b"\x04\x26\x05READY\x0bSocket-Type\0\0\0\x03REQ\x08Identity\0\0\0\0";
    let ping = b"\0\x10\x5e\x0e\x0f\x3c\x4c\x1d\x4a\x53\x9a\x0e\x3d\x9e\x7a\x1d\x1c\x11";
    let others = b"\x04\x0a\x04PING\0\x05abc\x01\0\0\x03two\x06\0\0\0\0\0\0\0\x04\x06\x05ERROR";
    vec![[&greeting(1)[..], dealer, ping, ping].concat(), [&greeting(0)[..], req, others, ping].concat()]
}

/// Peers of all versions, each with messages and, if its version has them, commands. The first byte is our own end.
pub(crate) fn zmtp() -> Vec<Vec<u8>> {
    let v1 = b"\x01\x03\0w1\x02\x01a\xff\0\0\0\0\0\0\0\x03\0bc";
    let v2 = b"\x02\xff\0\0\0\0\0\0\0\x01\x7f\x01\x01\0\0\x01\x01a\x02\0\0\0\0\0\0\0\x02bc";
    // As at the workers' port.
    let v3 = connection().into_iter().map(|bytes| [&b"\0"[..], &bytes].concat());
    let greeting = &connection()[0][..64];
    let kind = b"\x04\x1a\x05READY\x0bSocket-Type\0\0\0\x04PUSH\x04\x09\x04PING\0\x05ab\x01\x01a\0\x02bc";
    let push = [&b"\x01"[..], greeting, kind].concat();
    v3.chain([v1.to_vec(), v2.to_vec(), push]).collect()
}

pub(crate) fn pings() -> Vec<Vec<u8>> {
    let uuid: &[u8] = &[0x5e, 0x0e, 0x0f, 0x3c, 0x4c, 0x1d, 0x4a, 0x53, 0x9a, 0x0e, 0x3d, 0x9e, 0x7a, 0x1d, 0x1c, 0x11];
    vec![pack([b"w1", uuid, b"w2", uuid, b"w1", uuid]), pack([b"a:b", uuid, b"", uuid, b"w1", b"GET / HTTP/1.1\r\n"])]
}

pub(crate) fn capture() -> Vec<Vec<u8>> {
    let small = [
        fixture!("stins/fixtures/dump_xrd.cbors"),
        fixture!("albaem/fixtures/albaem-dump.cbors"),
        &fixture!("contrast/fixtures/contrast-dump.cbors")[..8000],
        &fixture!("xspress/fixtures/xspress3mini-head.cbors")[..8000],
        &fixture!("lecroy/fixtures/maui-02-continuous-3.cbor.gz")[..8000],
    ];
    small.map(<[u8]>::to_vec).into()
}

pub(crate) fn settings() -> Vec<Vec<u8>> {
    vec![framegate::fuzz::example().into_bytes(), SETTINGS.as_bytes().to_vec()]
}

pub(crate) fn note() -> Vec<Vec<u8>> {
    vec![elf::plugin(true), elf::plugin(false), elf::plugin(true)[..200].to_vec()]
}

const SETTINGS: &str = r#"
log_level = "info"
[control]
kind = "standalone"
[[ingester]]
name = "one"
host = "localhost"
port = 10000
memory_limit = "1 GiB"
[[ingester.stream]]
name = "eiger"
source = "stins"
when_full = "drop"
settings = { upstream_url = "tcp://localhost:9999" }
"#;

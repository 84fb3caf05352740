//! Bad input instead of data, for each protocol on ZeroMQ.

use framegate_tests::protocols::{Parts, Protocol};

/// Input that a detector may send in the middle of a run.
pub(crate) struct Case {
    pub(crate) what: &'static str,
    pub(crate) messages: Vec<Parts>,
    pub(crate) becomes: Becomes,
}

/// The expected result.
pub(crate) enum Becomes {
    /// An event: the input is unusual, but valid.
    Event,
    /// Only a count, for a reason that contains this text.
    Invalid(&'static str),
}

/// The cases that are neither long nor many; `number` is their data's number.
pub(crate) fn small(protocol: &Protocol, number: u32) -> Vec<Case> {
    let value = |what, value: &[u8], becomes| {
        let messages = with_value(protocol, number, value);
        let messages = match becomes {
            Becomes::Event => messages,
            Becomes::Invalid(_) => vec![odd(messages, value)],
        };
        Case { what, messages, becomes }
    };
    let bytes = |what, bytes: &[u8], reason| Case {
        what,
        messages: vec![vec![bytes.to_vec()]],
        becomes: Becomes::Invalid(reason),
    };
    let second_start =
        Case { what: "two headers in a row", messages: (protocol.start)(7), becomes: Becomes::Invalid("inside a run") };
    if protocol.name == "contrast" {
        return vec![
            bytes("no pickle", b"not a pickle", "no pickle of protocol"),
            value("a text that is not UTF-8", b"X\x01\x00\x00\x00\xff", Becomes::Invalid("UTF-8")),
            value("20,000 marks", &b"(".repeat(20_000), Becomes::Invalid("nested more than 4096 deep")),
            // Not called, but forwarded.
            value("a call", b"cos\nsystem\nX\x02\x00\x00\x00ls\x85R", Becomes::Event),
            value("a memo beyond the message", b"Nr\xff\xff\x0f\x00", Becomes::Invalid("beyond the message's length")),
            value("duplicate keys", b"K\x01X\x04\x00\x00\x00moreK\x02", Becomes::Event),
            value("a number beyond 64 bit", &[b"\x8a\x14".as_slice(), &[0x7f; 20]].concat(), Becomes::Event),
            second_start,
        ];
    }
    // In these protocols, the parsed part also has the data.
    let only_part = matches!(protocol.name, "albaem" | "pcap");
    let nested = |levels| [b"[".repeat(levels), b"]".repeat(levels)].concat();
    // The message is one level, and this object another.
    let deepest = [b"{\"k\":".as_slice(), &nested(198), b"}"].concat();
    let long = |mebibytes: usize| [b"\"".as_slice(), &vec![b'y'; mebibytes << 20], b"\""].concat();
    let digits = [b"1".as_slice(), &b"0".repeat(400), b",\"y\":-1e999"].concat();
    vec![
        bytes("no JSON", b"not JSON", "not a JSON object"),
        bytes("nothing", b"", "not a JSON object"),
        bytes("JSON that breaks off", b"{\"htype\": \"image\", \"x\": [[[[", "the text ends too early"),
        value("text that is not UTF-8", b"\"\xff\"", Becomes::Invalid("not UTF-8")),
        value("20,000 nested arrays", &nested(20_000), Becomes::Invalid("nested more than 200 deep")),
        value("5 million nested arrays", &nested(5_000_000), Becomes::Invalid("nested more than 200 deep")),
        value("nested as deep as is allowed", &deepest, Becomes::Event),
        value(
            "a first part of 17 MiB",
            &long(17),
            if only_part { Becomes::Event } else { Becomes::Invalid("first part too long") },
        ),
        value("a first part of 8 MiB", &long(8), Becomes::Event),
        value("duplicate keys", b"1,\"x\":2", Becomes::Event),
        // As the reference accepts them; too many digits for Python's numbers are invalid.
        value("numbers beyond 64 bit", &digits, Becomes::Event),
        second_start,
    ]
}

/// Data with a million parts.
pub(crate) fn million_parts(protocol: &Protocol, number: u32) -> Parts {
    let mut message = odd(with_value(protocol, number, plain(protocol)), plain(protocol));
    message.resize(1_000_000, Vec::new());
    message
}

/// Good data.
pub(crate) fn good(protocol: &Protocol, number: u32) -> Vec<Parts> {
    with_value(protocol, number, plain(protocol))
}

fn plain(protocol: &Protocol) -> &'static [u8] {
    if protocol.name == "contrast" { b"K\x05" } else { b"5" }
}

/// The messages of data in which a field has this value: JSON, or the opcodes that build it in a pickle.
fn with_value(protocol: &Protocol, number: u32, value: &[u8]) -> Vec<Parts> {
    let (more, placeholder): (_, &[u8]) = match protocol.name {
        "contrast" => ("@@", b"X\x02\x00\x00\x00@@"),
        _ => (r#""x":"@@""#, b"\"@@\""),
    };
    let mut messages = (protocol.data)(number, more);
    for part in messages.iter_mut().flatten() {
        if let Some(at) = find(part, placeholder) {
            part.splice(at..at + placeholder.len(), value.iter().copied());
        }
    }
    messages
}

/// The message with the value, among the messages of an event.
fn odd(messages: Vec<Parts>, value: &[u8]) -> Parts {
    messages.into_iter().find(|message| find(&message[0], value).is_some()).expect("one has it")
}

fn find(text: &[u8], what: &[u8]) -> Option<usize> {
    text.windows(what.len()).position(|window| window == what)
}

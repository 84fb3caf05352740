//! Their side: `tests/peer/reference.py`, one process for all cases.

use std::{
    fs::{self, File},
    process::Command,
};

use ciborium::Value;
use framegate_tests::python::python;

use crate::{
    Case, Outcome,
    ours::{LAST, PCAP_RAW, SARDANA},
    sardana::Post,
};

/// dranspose's outcomes for the cases.
pub(crate) fn outcomes(cases: &[Case]) -> Vec<Outcome> {
    let folder = tempfile::tempdir().unwrap();
    let (input, output) = (folder.path().join("cases.cbor"), folder.path().join("outcomes.json"));
    let mut bytes = Vec::new();
    for case in cases {
        ciborium::into_writer(&item(case), &mut bytes).unwrap();
    }
    fs::write(&input, bytes).unwrap();

    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/peer/reference.py");
    let mut python = Command::new(python());
    let status = python.arg(script).arg(&input).stdout(File::create(&output).unwrap()).status().unwrap();
    assert!(status.success(), "reference.py: {status}");
    let outcomes: Vec<Outcome> =
        fs::read_to_string(&output).unwrap().lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(outcomes.len(), cases.len());
    outcomes
}

fn item(case: &Case) -> Value {
    let list = |parts: &[Vec<u8>]| Value::Array(parts.iter().map(|part| Value::Bytes(part.clone())).collect());
    if std::ptr::eq(case.protocol, &SARDANA) {
        let posts = case.messages.iter().map(Post::of).map(|post| {
            Value::Array(vec![Value::Text(post.path), Value::Text(post.content_type), Value::Bytes(post.body)])
        });
        return Value::Array(vec![Value::Text(case.protocol.class.to_owned()), Value::Array(posts.collect())]);
    }
    let mut messages: Vec<_> = case.messages.iter().map(|message| list(&message.parts)).collect();
    if std::ptr::eq(case.protocol, &PCAP_RAW) {
        messages.push(list(&[LAST.to_vec()]));
    }
    Value::Array(vec![Value::Text(case.protocol.class.to_owned()), Value::Array(messages)])
}

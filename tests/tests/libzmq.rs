//! Plugin files that receive through libzmq, and those that do not contain it.

#![allow(clippy::unwrap_used, reason = "these are tests, helpers included")]

use std::{fs, path::Path};

use framegate_tests::{
    alone, framegate,
    host::{Host, LIMIT},
    process::free_port,
    worker::Worker,
};

fn contains_libzmq(file: &Path) -> bool {
    // How names of its C++ namespace begin.
    let name = b"_ZN3zmq";
    fs::read(file).unwrap().windows(name.len()).any(|bytes| bytes == name)
}

#[test]
fn a_file_with_libzmq_receives_through_it_and_the_others_do_not_contain_it() {
    for plugin in ["albaem", "contrast", "eiger-legacy", "lecroy", "pcap", "stins", "xspress"] {
        assert!(!contains_libzmq(&framegate::plugin(plugin)), "{plugin}");
    }
    let file = alone::with_libzmq("stins");
    assert!(contains_libzmq(&file));

    let detector = zmq::Context::new().socket(zmq::PUSH).unwrap();
    detector.set_sndtimeo(20_000).unwrap();
    detector.bind("tcp://127.0.0.1:*").unwrap();
    let upstream = detector.get_last_endpoint().unwrap().unwrap();
    let (folder, url) = (tempfile::tempdir().unwrap(), format!("tcp://127.0.0.1:{}", free_port()));
    let configuration = format!(
        "standalone.scans = 1\n[[ingester]]\nurl = \"{url}\"\n[[ingester.stream]]\nname = \"camera\"\nsource = {file:?}\n\
         settings = {{ upstream_url = \"{upstream}\", transport = \"libzmq\" }}\n"
    );
    let mut host = Host::start(folder.path(), &configuration);
    let worker: Worker = host.worker("w1", &url);
    let messages = [
        r#"{"htype": "header", "filename": "/data/x.h5", "msg_number": 0}"#,
        r#"{"htype": "series_end", "msg_number": 1}"#,
    ];
    messages.iter().for_each(|message| detector.send(*message, 0).unwrap());
    for message in messages {
        let got = worker.within(LIMIT).unwrap();
        assert_eq!(got.stream("camera").unwrap(), [message.as_bytes()]);
    }
    assert!(host.wait(LIMIT).success(), "{}", host.log());
}

#[test]
fn sources_do_the_same_over_libzmq() {
    alone::over_libzmq(&[]);
}

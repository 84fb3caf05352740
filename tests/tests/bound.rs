//! A source that binds its address, loaded into the real program: detectors connect to it, and the port may be in use.

#![allow(clippy::unwrap_used, reason = "these are tests, helpers included")]

use std::net::TcpListener;

use framegate_tests::{
    framegate::plugin,
    host::Host,
    process::free_port,
    protocols::{self, Parts},
};
use serde_json::Value;

#[test]
fn a_port_in_use_is_named_with_what_to_do_and_the_first_scan_after_it_is_free_has_it() {
    let folder = tempfile::tempdir().unwrap();
    let (url, upstream) = (format!("tcp://127.0.0.1:{}", free_port()), format!("tcp://127.0.0.1:{}", free_port()));
    let taken = TcpListener::bind(upstream.trim_start_matches("tcp://")).unwrap();
    let configuration = format!(
        "[standalone]\n[[ingester]]\nurl = \"{url}\"\n[[ingester.stream]]\nname = \"camera\"\nsource = \"{}\"\n\
         [ingester.stream.settings]\nupstream_url = \"{upstream}\"\nattach = \"bind\"\n",
        plugin("stins").display()
    );
    let mut host = Host::start(folder.path(), &configuration);
    let failed =
        host.wait_for("the failure", |ingester| ingester["faults"].as_array().is_some_and(|all| !all.is_empty()));
    let fault = failed["faults"][0].as_str().unwrap();
    for part in ["stream camera: ", &upstream, "the port is in use", "`ss -ltnp` tells who", "upstream_url"] {
        assert!(fault.contains(part), "{fault}");
    }
    drop(taken);
    let open = |ingester: &Value| ingester["streams"]["camera"]["source"] == "open" && !ingester["ready"].is_null();
    let mut ready = host.wait_for("the next scan", open)["ready"].take();

    let worker = host.worker("w1", &url);
    let detector = zmq::Context::new().socket(zmq::PUSH).unwrap();
    detector.set_linger(0).unwrap();
    detector.connect(&upstream).unwrap();
    let [stins, ..] = protocols::ALL;
    for scan in 0..3 {
        let run: [Vec<Parts>; 3] = [(stins.start)(scan), (stins.data)(scan, r#""x": 1"#), (stins.end)(scan)];
        run.iter().flatten().for_each(|message| detector.send_multipart(message, 0).unwrap());
        for messages in &run {
            assert_eq!(worker.next().frames, stins.event(messages), "scan {scan}");
        }
        // Messages sent before the next run is open would belong to the scan that has ended.
        ready = host.wait_for("the next scan", |now| open(now) && now["ready"] != ready)["ready"].take();
    }
}

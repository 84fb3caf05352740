//! Sources of which only one can be there: they are created when the source before them has ended.

#![allow(clippy::unwrap_used, reason = "these are tests, helpers included")]

use std::{fs, net::TcpListener, time::Duration};

use framegate_tests::{
    alone::bad_plugin_in_c,
    detector::Detector,
    framegate,
    host::{Host, LIMIT},
    process::{free_port, wait_for},
    worker::Worker,
};
use nix::sys::signal::Signal;
use serde_json::{Value, json};
use tempfile::TempDir;

/// The configuration of a host with a source of this kind; posts end a scan.
fn on_port(url: &str, port: u16) -> String {
    format!(
        "source_timeout = \"3 s\"\n[standalone]\n[[ingester]]\nurl = \"{url}\"\n\
         [[ingester.stream]]\nname = \"http\"\nsource = \"{}\"\n\
         settings = {{ host = \"127.0.0.1\", port = {port} }}\n",
        framegate::plugin("sardana").display()
    )
}

fn listening(port: u16) -> (TempDir, Host, Worker) {
    let folder = tempfile::tempdir().unwrap();
    let url = format!("tcp://127.0.0.1:{}", free_port());
    let mut host = Host::start(folder.path(), &on_port(&url, port));
    host.wait_for("the first scan", |ingester| ingester["state"] == "running");
    let worker = host.worker("w1", &url);
    host.wait_for("the worker", |ingester| ingester["workers"].to_string().contains("w1"));
    (folder, host, worker)
}

/// Posts one scan of Sardana, its description and its end; returns whether they were accepted.
fn post_a_scan(port: u16) -> bool {
    let description = json!({ "serialno": 1, "scandir": "/data", "title": "ascan" });
    [("data_desc", description), ("record_end", json!({}))]
        .into_iter()
        .all(|(path, body)| ureq::post(&format!("http://127.0.0.1:{port}/v1/{path}")).send_json(body).is_ok())
}

/// Posts scans until the worker has received the events of one.
fn whole_scan(port: u16, worker: &Worker) {
    wait_for("a scan's events", LIMIT, || {
        // Posts between two scans are dropped.
        post_a_scan(port);
        worker.within(Duration::from_millis(300))
    });
}

#[test]
fn a_source_of_which_only_one_can_be_there_is_made_when_the_old_one_has_gone() {
    let port = free_port();
    let (_folder, host, worker) = listening(port);
    whole_scan(port, &worker);
    // The same port: the new source could not bind it while the old one exists.
    let plugin = framegate::plugin("sardana");
    let settings = |port: u16| json!({ "host": "127.0.0.1", "port": port, "max_connections": 5 }).to_string();
    let output = host.swap(&["http", plugin.to_str().unwrap(), "--settings", &settings(port)]);
    assert!(output.status.success(), "{output:?}");
    let receipt =
        |number: u64| -> Value { serde_json::from_str(&host.get(&format!("/swaps/{number}")).unwrap()).unwrap() };
    wait_for("the swap", LIMIT, || {
        post_a_scan(port);
        (receipt(1)["state"] == "effective" && receipt(1)["old"]["ended"] == true).then_some(())
    });
    whole_scan(port, &worker);
    assert_eq!(receipt(1)["state"], "effective");

    // A port used by another process: the old source is created again, and scans continue.
    let taken = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let foreign = taken.local_addr().unwrap().port();
    let output = host.swap(&["http", plugin.to_str().unwrap(), "--settings", &settings(foreign)]);
    // Ready, or already refused if the next scan started that soon.
    assert!(matches!(output.status.code(), Some(0 | 3)), "{output:?}");
    wait_for("the refusal", LIMIT, || {
        post_a_scan(port);
        (receipt(2)["state"] == "refused").then_some(())
    });
    assert!(receipt(2)["problem"].as_str().unwrap().contains("does not start"), "{:#}", receipt(2));
    assert!(receipt(2)["effective_scan"].is_null());
    whole_scan(port, &worker);
    assert!(host.log().contains("refused; the stream is back on"), "{}", host.log());
}

#[test]
fn the_old_source_is_made_again_for_the_next_scan_if_the_new_one_hangs_when_it_should_take_over() {
    let port = free_port();
    let (folder, host, worker) = listening(port);
    whole_scan(port, &worker);
    let plugin = bad_plugin_in_c("hangs_in_create_alone", folder.path());
    let output = host.swap(&["http", plugin.to_str().unwrap(), "--settings", "{}"]);
    assert!(output.status.success(), "{output:?}");
    let swap =
        |number: u64| -> Option<Value> { serde_json::from_str(&host.get(&format!("/swaps/{number}")).ok()?).ok() };
    // Framegate itself asks for the second swap: nobody else can end the call.
    wait_for("the old source", LIMIT, || {
        post_a_scan(port);
        (swap(2)?["state"] == "effective").then_some(())
    });
    let (hung, again) = (swap(1).unwrap(), swap(2).unwrap());
    assert_eq!((&hung["state"], &hung["superseded_by"]), (&json!("superseded"), &json!(2)), "{hung:#}");
    assert_eq!((&again["asked_by"], &again["to"]["protocol"]), (&json!("recovery"), &json!("sardana")), "{again:#}");
    whole_scan(port, &worker);
    wait_for("the end of its patience", LIMIT, || host.log().contains("is left behind").then_some(()));
}

#[test]
fn a_configured_source_that_was_refused_when_it_should_take_over_is_tried_again() {
    let (port, taken) = (free_port(), TcpListener::bind(("127.0.0.1", 0)).unwrap());
    let foreign = taken.local_addr().unwrap().port();
    let (folder, host, worker) = listening(port);
    whole_scan(port, &worker);
    let url = host.ingester().unwrap()["url"].as_str().unwrap().to_owned();
    let text = format!("admin = \"{}\"\n{}", host.admin(), on_port(&url, foreign));
    fs::write(folder.path().join("framegate.toml"), text).unwrap();
    host.signal(Signal::SIGHUP);
    wait_for("the refusal", LIMIT, || {
        post_a_scan(port);
        host.log().contains("refused; the stream is back on").then_some(())
    });
    // Somebody else's attempt changes nothing.
    assert_eq!(host.swap(&["http", "no-such-plugin"]).status.code(), Some(3));
    drop(taken);
    host.signal(Signal::SIGHUP);
    wait_for("the configured port", LIMIT, || {
        post_a_scan(port);
        post_a_scan(foreign).then_some(())
    });
}

#[test]
fn of_two_that_wait_for_a_source_of_another_kind_the_later_one_wins() {
    let (folder, mut detector, port) = (tempfile::tempdir().unwrap(), Detector::bind(), free_port());
    let url = format!("tcp://127.0.0.1:{}", free_port());
    let configuration = format!(
        "[standalone]\n[[ingester]]\nurl = \"{url}\"\n[[ingester.stream]]\nname = \"a\"\nsource = \"{}\"\n\
         settings.upstream_url = \"{}\"\n",
        framegate::plugin("stins").display(),
        detector.url
    );
    let mut host = Host::start(folder.path(), &configuration);
    host.wait_for("the first scan", |ingester| ingester["state"] == "running");
    let worker = host.worker("w1", &url);
    let plugin = framegate::plugin("sardana");
    for connections in [4, 5] {
        let settings = json!({ "host": "127.0.0.1", "port": port, "max_connections": connections }).to_string();
        let output = host.swap(&["a", plugin.to_str().unwrap(), "--settings", &settings]);
        assert!(output.status.success(), "{output:?}");
    }
    let states = |host: &Host| {
        let swaps = host.status().unwrap()["swaps"].take();
        [0, 1].map(|swap| swaps[swap]["state"].as_str().unwrap().to_owned())
    };
    assert_eq!(states(&host), ["superseded", "pending"]);
    detector.run([vec![1; 10]]);
    wait_for("the take-over", LIMIT, || (states(&host) == ["superseded", "effective"]).then_some(()));
    whole_scan(port, &worker);
}

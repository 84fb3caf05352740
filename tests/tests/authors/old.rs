//! A plugin built with an earlier version of the interface works in this host.

use std::{path::Path, time::Duration};

use framegate_tests::{alone, host::Host, process::free_port, worker::Worker};

use super::configuration;

/// Checks all functions of `tests/old-plugins/VERSION` in a host.
fn still_works(version: &str) {
    let plugin: &Path = &alone::old_plugin(version);
    let folder = tempfile::tempdir().unwrap();
    let port = free_port();
    let mut host = Host::start(folder.path(), &configuration(plugin, port, 2, ""));
    let status = host.wait_for("its counts", |ingester| ingester["streams"]["mine"]["received"]["images"] == 10);
    assert_eq!(status["streams"]["mine"]["skipped"]["too new"], 3, "{status:#}");
    let worker = Worker::connect("w1", &format!("tcp://127.0.0.1:{port}"));
    for _ in 0..2 {
        let messages = worker.until(|message| message.number() == 9);
        let images: Vec<_> = messages.iter().map(|message| message.stream("mine").unwrap()[0].clone()).collect();
        assert_eq!(images, (0..10).map(|number| vec![number; 5000]).collect::<Vec<_>>());
        assert_eq!(messages[0].header()["streams"]["mine"]["typ"], "OLD");
    }
    assert!(host.wait(Duration::from_secs(10)).success(), "{}", host.log());
    assert!(host.log().contains("mine is fed by an old plugin"), "{}", host.log());

    // Its errors are passed on too.
    let mut host = Host::start(folder.path(), &configuration(plugin, port, 1, "wrong = 1"));
    assert_eq!(host.wait(Duration::from_secs(10)).code(), Some(2), "{}", host.log());
    assert!(host.log().contains("settings.wrong: there is no such setting"), "{}", host.log());
}

#[test]
fn a_plugin_of_version_1_0_still_works() {
    still_works("abi-1.0");
}

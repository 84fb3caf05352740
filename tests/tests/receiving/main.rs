//! How sources receive: faulty networks, names and clocks, and the log lines for messages that give no event. Each with
//! the real plugins in the real program.

#![allow(clippy::unwrap_used, reason = "these are tests, helpers included")]

mod connected;
mod messages;
mod names;
mod network;

use std::{fmt::Write as _, process::Command};

use framegate_tests::{
    controller::Controller,
    framegate,
    host::{Host, LIMIT, write_configuration},
    process::free_port,
    protocols::Parts,
    redis::RedisServer,
    worker::Worker,
};
use serde_json::Value;
use tempfile::TempDir;

const NAME: &str = "all-ingester";

/// The program with some streams, a simulated controller and a worker.
struct Beamline {
    streams: Vec<String>,
    controller: Controller,
    worker: Worker,
    host: Host,
    _folder: TempDir,
    _redis: RedisServer,
}

impl Beamline {
    /// Starts it with streams, their plugins and settings; `prepare` changes the command, which runs in its own folder.
    fn start(streams: &[(&str, &str, Value)], prepare: impl FnOnce(&mut Command)) -> Self {
        let (folder, redis) = (tempfile::tempdir().unwrap(), RedisServer::start());
        let url = format!("tcp://127.0.0.1:{}", free_port());
        let mut configuration = format!(
            "redis = \"{}\"\nsource_timeout = \"3 s\"\n[[ingester]]\nname = \"{NAME}\"\nurl = \"{url}\"\n",
            redis.url()
        );
        for (name, plugin, settings) in streams {
            let (file, settings) = (framegate::plugin(plugin), toml::Value::try_from(settings).unwrap());
            let table = "[[ingester.stream]]\nname";
            writeln!(configuration, "{table} = \"{name}\"\nsource = {file:?}\nsettings = {settings}").unwrap();
        }
        let (path, admin) = write_configuration(folder.path(), &configuration);
        let mut command = framegate::command();
        command.args(["run", "--config"]).arg(path);
        prepare(&mut command);
        let mut host = Host::with(&mut command, folder.path(), admin);
        host.wait_for("it to be there", |ingester| ingester["state"] == "idle");
        let worker = host.worker("w1", &url);
        let uuid = worker.service_uuid().to_string();
        // Published only after the ingester reads updates: earlier ones are not read.
        let mut controller = Controller::new(&redis);
        controller.wait_state(NAME, "the worker", |state| state["connected_workers"].get(&uuid).is_some());
        let streams = streams.iter().map(|(name, ..)| (*name).to_owned()).collect();
        Self { streams, controller, worker, host, _folder: folder, _redis: redis }
    }

    /// Starts a scan of all streams, and waits until it has started.
    fn begin(&mut self) {
        let streams: Vec<_> = self.streams.iter().map(String::as_str).collect();
        self.controller.scan(NAME, &streams);
    }

    /// Assigns the next event of one stream to the worker, and checks that it is this one.
    fn gets(&mut self, stream: &str, event: &Parts) {
        self.controller.assign(&[&[(stream, &["w1"][..])]]);
        let message = self.worker.within(LIMIT).unwrap_or_else(|| {
            panic!("nothing comes; {:#?}", self.host.ingester().map(|mut ingester| ingester["streams"].take()))
        });
        let got = message.stream(stream).unwrap();
        assert!(got == event.as_slice(), "{stream}: {:?}", got.iter().map(|part| part.len()).collect::<Vec<_>>());
    }

    /// The log's warnings that contain this text.
    fn warnings(&self, what: &str) -> Vec<String> {
        let log = self.host.log();
        log.lines().filter(|line| line.contains("WARN") && line.contains(what)).map(str::to_owned).collect()
    }

    /// The program has written off no source, and ends on request.
    fn ends(mut self) {
        let ingester = self.host.ingester().unwrap();
        assert!(ingester["counters"]["source_failures"].as_u64().unwrap_or(0) == 0, "{ingester:#}");
        assert!(!self.host.log().contains("ERROR"), "{}", self.host.log());
        assert!(self.host.stop(LIMIT).success());
    }
}

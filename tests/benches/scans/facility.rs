//! The surroundings of framegate: a real Redis, a simulated controller, a detector. They poll without a pause, because
//! the other side is measured.

use std::time::Instant;

use anyhow::ensure;
use framegate_tests::{
    controller::{Controller, LIMIT},
    detector::Detector,
    framegate::plugin,
    host::Host,
    process::free_port,
    redis::RedisServer,
};
use serde_json::{Value, json};
use tempfile::TempDir;

/// See the module. Its only stream is `bench`.
pub(crate) struct Facility {
    pub(crate) controller: Controller,
    pub(crate) detector: Detector,
    /// The workers' address.
    pub(crate) url: String,
    pub(crate) folder: TempDir,
    configuration: String,
    _redis: RedisServer,
}

/// The name of the ingester.
const NAME: &str = "bench-ingester";

impl Facility {
    pub(crate) fn new() -> Self {
        let redis = RedisServer::start();
        let controller = Controller::new(&redis);
        let detector = Detector::bind();
        let folder = tempfile::tempdir().expect("a folder can be made");
        let url = format!("tcp://127.0.0.1:{}", free_port());
        let configuration = format!(
            "redis = \"{}\"\nlog_level = \"WARNING\"\n[[ingester]]\nname = \"{NAME}\"\nurl = \"{url}\"\n[[ingester.stream]]\n\
             name = \"bench\"\nsource = \"{}\"\nsettings.upstream_url = \"{}\"\n",
            redis.url(),
            plugin("stins").display(),
            detector.url
        );
        Self { controller, detector, url, folder, configuration, _redis: redis }
    }

    /// Starts framegate, and waits until it is published.
    pub(crate) fn start(&mut self) -> anyhow::Result<Host> {
        let host = Host::start(self.folder.path(), &self.configuration);
        self.wait(|_| true)?;
        Ok(host)
    }

    /// Starts a scan, and waits until its uuid is published.
    pub(crate) fn begin(&mut self) -> anyhow::Result<()> {
        let mapping = json!(self.controller.start_scan(&["bench"]));
        self.wait(|state| state["mapping_uuid"] == mapping)
    }

    /// Ends the scan, and waits for the notice.
    pub(crate) fn finish(&mut self) -> anyhow::Result<()> {
        let began = Instant::now();
        self.controller.finish();
        while self.controller.notices().is_empty() {
            ensure!(began.elapsed() < LIMIT, "the scan does not end");
        }
        Ok(())
    }

    /// Waits until the ingester publishes a state for which `wanted` is true.
    pub(crate) fn wait(&mut self, wanted: impl Fn(&Value) -> bool) -> anyhow::Result<()> {
        let began = Instant::now();
        while !self.controller.state(NAME).is_some_and(|state| wanted(&state)) {
            ensure!(began.elapsed() < LIMIT, "the ingester does not publish what is waited for");
        }
        Ok(())
    }
}

//! The real program without a controller, between a detector and workers.

use std::{fmt::Display, path::Path};

use tempfile::TempDir;

use crate::{
    detector::Detector,
    framegate,
    host::{Host, write_configuration},
    listener::Listener,
    process::free_port,
    worker::{Message, Worker},
};

/// A detector, and framegate with the STINS plugin loaded from its file. Its only stream is `camera`.
#[derive(Debug)]
pub struct House {
    /// The detector of the stream.
    pub detector: Detector,
    /// The running program.
    pub host: Host,
    /// The workers' address.
    pub url: String,
    /// Folder for configuration and logs; dropped last, after the program's output was read.
    pub folder: TempDir,
}

/// A test's own configuration: lines for each table.
#[derive(Debug, Default, Clone, Copy)]
pub struct Wish<'a> {
    /// For the top.
    pub top: &'a str,
    /// For `[standalone]`.
    pub standalone: &'a str,
    /// For `[[ingester]]`.
    pub ingester: &'a str,
    /// For `[[ingester.stream]]`.
    pub stream: &'a str,
    /// For the settings of the source.
    pub settings: &'a str,
}

impl House {
    /// Starts it, and waits for its first scan.
    ///
    /// # Panics
    /// It does not start.
    #[must_use]
    pub fn new(wish: &Wish<'_>) -> Self {
        Self::started_by(wish, Host::start)
    }

    /// The same with a limit for the program's descriptors.
    ///
    /// # Panics
    /// It does not start.
    #[must_use]
    pub fn with_descriptors(most: u32, wish: &Wish<'_>) -> Self {
        Self::started_by(wish, |folder, configuration| {
            let (path, admin) = write_configuration(folder, configuration);
            let mut command = framegate::command();
            command.args(["run", "--config"]).arg(path).current_dir(folder);
            let mut command = framegate::after(&format!("ulimit -n {most}"), &command);
            Host::with(&mut command, folder, admin)
        })
    }

    fn started_by(wish: &Wish<'_>, start: impl FnOnce(&Path, &str) -> Host) -> Self {
        let folder = tempfile::tempdir().expect("a folder can be made");
        let detector = Detector::bind();
        let url = format!("tcp://127.0.0.1:{}", free_port());
        let host = start(folder.path(), &configuration(&url, &detector.url, wish));
        let mut house = Self { detector, host, url, folder };
        house.host.wait_for("the first scan", |ingester| ingester["state"] == "running");
        house
    }

    /// A worker that the ingester knows.
    #[must_use]
    pub fn worker(&mut self, name: &str) -> Worker {
        let worker = self.host.worker(name, &self.url);
        self.wait_for("service_uuid", &worker.service_uuid().to_string());
        worker
    }

    /// The same, but it does not read until told to.
    #[must_use]
    pub fn stalled_worker(&mut self, name: &str) -> Worker {
        let worker = Worker::stalled(name, &self.url);
        self.wait_for("service_uuid", &worker.service_uuid().to_string());
        worker
    }

    /// A worker in a separate process that the ingester knows.
    #[must_use]
    pub fn listener(&mut self, name: &str) -> Listener {
        let listener = Listener::connect(name, &self.url, self.folder.path());
        self.wait_for_worker(name);
        listener
    }

    /// Waits until a worker is connected as `name`.
    pub fn wait_for_worker(&mut self, name: &str) {
        self.wait_for("name", name);
    }

    fn wait_for(&mut self, key: &str, value: &str) {
        self.host.wait_for("the worker", |ingester| {
            let is_it = |worker: &serde_json::Value| worker[key] == value && worker["connected"] == true;
            ingester["workers"].as_array().is_some_and(|workers| workers.iter().any(is_it))
        });
    }

    /// The folder of its files.
    #[must_use]
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }
}

/// The configuration of a [`House`].
#[must_use]
pub fn configuration(url: &str, upstream: impl Display, wish: &Wish<'_>) -> String {
    let plugin = framegate::plugin("stins");
    format!(
        r#"
        {}
        [standalone]
        {}
        [[ingester]]
        url = "{url}"
        {}
        [[ingester.stream]]
        name = "camera"
        source = "{}"
        {}
        [ingester.stream.settings]
        upstream_url = "{upstream}"
        {}
        "#,
        wish.top,
        wish.standalone,
        wish.ingester,
        plugin.display(),
        wish.stream,
        wish.settings,
    )
}

/// Whether the message is the end of a run.
#[must_use]
pub fn is_end(message: &Message) -> bool {
    message.frames.first().is_some_and(|first| String::from_utf8_lossy(first).contains("series_end"))
}

/// The images: the second frame of each message with two frames.
#[must_use]
pub fn images(messages: &[Message]) -> Vec<&[u8]> {
    messages.iter().filter_map(|message| message.frames.get(1)).map(Vec::as_slice).collect()
}

/// The events' numbers.
#[must_use]
pub fn numbers(messages: &[Message]) -> Vec<u64> {
    messages.iter().map(Message::number).collect()
}

//! The Python peer: dranspose's controller, reducer and workers as processes, on ports of their own.
//!
//! Owns the processes and asks the controller through its HTTP interface, as a beamline does. It starts no ingester: that is
//! what the tests exchange.
//!
//! `tests/run setup` makes the Python environment and fetches the peer's source distribution.

use std::{
    env, fs,
    io::stderr,
    panic::{AssertUnwindSafe, catch_unwind, panic_any, resume_unwind},
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use serde::Deserialize;
use serde_json::{Value, json};

use crate::{
    framegate::{INGESTER_VARIABLES, profile_folder},
    process::{Process, comes_within, free_port, wait_for},
};

/// A running system of dranspose without an ingester.
#[derive(Debug)]
pub struct Dranspose {
    /// The controller's HTTP interface, `http://127.0.0.1:PORT/api/v1`.
    api: String,
    redis: String,
    workers: Vec<String>,
    /// Where the workers write what they got.
    recording: PathBuf,
    folder: PathBuf,
    /// The workers, then the reducer. Ended when dropped, before the controller, to which they talk.
    services: Vec<Process>,
    controller: Option<Process>,
    port: u16,
}

/// A message that a worker got from an ingester.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
pub struct Received {
    /// The uuid of the scan it belongs to.
    pub scan: String,
    /// The event's number.
    pub event: u64,
    /// The header as it was on the wire, but for an empty `created_at`.
    pub header: String,
    /// The frames, in hexadecimal.
    pub frames: Vec<String>,
    /// The worker that got it.
    #[serde(skip)]
    pub worker: String,
}

/// A race of dranspose 0.2.0's own, which takes a busy machine: a worker that is told of the next scan waits for ever for its task that reads
/// assignments to end (`Worker.restart_work`, the line after "clean up in sockets"). Its state expires after 10 s, and the controller's
/// task that hands out work dies of not finding it (`Controller.assign_worker_in_mapping`, StopIteration).
#[derive(Debug)]
pub struct OwnRace;

/// Runs a test with dranspose, and once more if dranspose has met its [`OwnRace`].
pub fn past_its_own_race(test: impl Fn()) {
    if let Err(panic) = catch_unwind(AssertUnwindSafe(&test)) {
        if !panic.is::<OwnRace>() {
            resume_unwind(panic);
        }
        println!("once more, after a race of dranspose's own");
        test();
    }
}

impl Dranspose {
    /// Starts controller, reducer and these workers on a Redis, and waits until all are there. The workers are
    /// `tests/peer/recording_worker.py`; all files go to `folder`.
    ///
    /// # Panics
    /// If they are not there within a minute, or the environment is missing.
    #[must_use]
    pub fn start(redis: &str, workers: &[&str], folder: &Path) -> Self {
        let recording = folder.join("recording");
        fs::create_dir_all(&recording).expect("the test's folder can be written");
        let port = free_port();
        let reducer_url = format!("tcp://127.0.0.1:{}", free_port());
        let peer = |name: &str, args: &[&str]| {
            let mut command = Command::new(script(args[0]));
            let classes = concat!(env!("CARGO_MANIFEST_DIR"), "/peer");
            command.args(&args[1..]).env("PYTHONPATH", classes).env("RECORDING", &recording);
            command.env("REDUCER_URL", &reducer_url);
            Process::start(name, peers_environment(&mut command, redis), folder)
        };
        let mut processes = Vec::new();
        for name in workers {
            let class = "recording_worker:RecordingWorker";
            processes.push(peer(name, &["dranspose", "worker", "-n", name, "-c", class]));
        }
        let reducer = free_port().to_string();
        processes.push(peer("reducer", &["dranspose", "reducer", "--host", "127.0.0.1", "-p", &reducer]));
        let mut system = Self {
            api: format!("http://127.0.0.1:{port}/api/v1"),
            redis: redis.to_owned(),
            workers: workers.iter().map(ToString::to_string).collect(),
            recording,
            folder: folder.to_owned(),
            services: processes,
            controller: None,
            port,
        };
        system.start_controller();
        system
    }

    /// Kills the controller.
    pub fn kill_controller(&mut self) {
        self.controller = None;
    }

    /// Starts the controller, (again) at the same port, and waits until all are there.
    ///
    /// # Panics
    /// If they are not there within a minute.
    pub fn start_controller(&mut self) {
        // `dranspose controller` does the same on the fixed port 5000.
        let mut command = Command::new(script("uvicorn"));
        command.args(["dranspose.controller:app", "--host", "127.0.0.1", "--no-access-log"]);
        command.args(["--port", &self.port.to_string()]);
        let process = Process::start("controller", peers_environment(&mut command, &self.redis), &self.folder);
        self.controller = Some(process);
        wait_for("controller, reducer and workers", START, || {
            let config = self.config()?;
            let there = config["workers"].as_array()?.len() == self.workers.len() && !config["reducer"].is_null();
            there.then_some(())
        });
    }

    /// Its Redis.
    #[must_use]
    pub fn redis(&self) -> &str {
        &self.redis
    }

    /// What the controller knows of everybody, if it answers.
    #[must_use]
    pub fn config(&self) -> Option<Value> {
        let mut answer = ureq::get(format!("{}/config", self.api)).call().ok()?;
        answer.body_mut().read_json().ok()
    }

    /// Waits until an ingester serves the stream, and all workers are connected to it.
    ///
    /// # Panics
    /// If that takes more than a minute.
    pub fn wait_for_stream(&self, stream: &str) {
        wait_for(&format!("an ingester of stream {stream} with all workers"), START, || {
            let config = self.config()?;
            let mut ingesters = config["ingesters"].as_array()?.iter();
            let ingester =
                ingesters.find(|one| one["streams"].as_array().is_some_and(|all| all.contains(&json!(stream))))?;
            (ingester["connected_workers"].as_object()?.len() == self.workers.len()).then_some(())
        });
    }

    /// Waits until no ingester is there any more.
    ///
    /// # Panics
    /// If the last one is still there after a minute; a crashed one takes 10 s to go.
    pub fn wait_for_no_ingester(&self) {
        wait_for("the ingesters to go", START, || {
            let config = self.config()?;
            config["ingesters"].as_array()?.is_empty().then_some(())
        });
    }

    /// Sets a parameter of the whole system and waits until every service has it.
    ///
    /// # Panics
    /// If the controller refuses, or it takes more than a minute.
    pub fn set_parameter(&self, name: &str, value: &str) {
        ureq::post(format!("{}/parameter/{name}", self.api)).send(value).expect("the controller takes the parameter");
        wait_for("the parameter to reach every service", START, || {
            let config = self.config()?;
            let everybody = [&config["ingesters"], &config["workers"]].into_iter().flat_map(|list| list.as_array());
            let mut services = everybody.flatten().chain([&config["reducer"]]);
            services.all(|service| service["parameters_hash"] == config["parameters_hash"]).then_some(())
        });
    }

    /// Starts a scan of one stream, `images` events between the detector's header and its end, each for one worker.
    /// Returns its uuid when everybody is ready.
    ///
    /// # Panics
    /// If the controller refuses.
    #[must_use]
    pub fn start_scan(&self, stream: &str, images: usize) -> String {
        let events: Vec<Value> = (0..images).map(|event| json!([{"constraint": event}])).collect();
        let sequence = json!({"parts": {"main": {stream: events}}, "sequence": ["main"]});
        let answer = ureq::post(format!("{}/sequence", self.api)).send_json(sequence);
        answer.expect("the controller starts a scan").body_mut().read_json().expect("the answer is a uuid")
    }

    /// Waits until the controller says that all events of the scan are processed.
    ///
    /// # Panics
    /// If that takes more than a minute; with [`OwnRace`] if that is the reason.
    pub fn wait_for_finish(&self) {
        if !self.finishes_within(START) {
            if self.has_met_its_own_race() {
                panic_any(OwnRace);
            }
            panic!("the scan does not finish within {START:?}");
        }
    }

    /// See [`OwnRace`].
    fn has_met_its_own_race(&self) -> bool {
        let hangs = |worker: &Process| worker.output().trim_end().ends_with("clean up in sockets");
        let died = |controller: &Process| controller.output().contains("coroutine raised StopIteration");
        self.services[..self.workers.len()].iter().any(hangs) && self.controller.as_ref().is_some_and(died)
    }

    /// Whether the controller says within `limit` that all events of the scan are processed.
    #[must_use]
    pub fn finishes_within(&self, limit: Duration) -> bool {
        let finished = || {
            let progress: Value =
                ureq::get(format!("{}/progress", self.api)).call().ok()?.body_mut().read_json().ok()?;
            (progress["finished"] == true).then_some(())
        };
        comes_within(limit, finished).is_some()
    }

    /// What the workers got in a scan, by event and worker.
    ///
    /// # Panics
    /// If a line of a recording is no message.
    #[must_use]
    pub fn received(&self, scan: &str) -> Vec<Received> {
        let mut all = Vec::new();
        for worker in &self.workers {
            // One that got nothing has recorded nothing.
            let text = fs::read_to_string(self.recording.join(worker)).unwrap_or_default();
            for line in text.lines() {
                let mut message: Received = serde_json::from_str(line).expect("a line is a message");
                message.worker.clone_from(worker);
                all.extend((message.scan == scan).then_some(message));
            }
        }
        all.sort_by(|a, b| (a.event, &a.worker).cmp(&(b.event, &b.worker)));
        all
    }
}

/// Makes the peer's environment as `tests/run setup` does, if it is not there.
///
/// # Panics
/// It cannot be made.
pub fn set_up() {
    if environment().exists() {
        return;
    }
    let target = profile_folder();
    let target = target.parent().expect("the folder of a profile is in the target folder");
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/run");
    let status = Command::new(script).arg("setup").env("CARGO_TARGET_DIR", target).stdout(stderr()).status();
    assert!(
        status.is_ok_and(|status| status.success()),
        "tests/run setup fails: there is no dranspose to compare with"
    );
}

/// The Python that has dranspose: FRAMEGATE_PEER_PYTHON, else the one that `tests/run setup` made in the target folder.
///
/// # Panics
/// If there is none.
#[must_use]
pub fn python() -> PathBuf {
    let python = environment();
    assert!(python.exists(), "{} does not exist: `tests/run setup` makes the Python environment", python.display());
    python
}

fn environment() -> PathBuf {
    let made = profile_folder().with_file_name("peer").join("venv/bin/python");
    env::var_os("FRAMEGATE_PEER_PYTHON").map_or(made, PathBuf::from)
}

/// A command of the peer's environment, such as `dranspose`.
#[must_use]
pub fn script(name: &str) -> PathBuf {
    python().with_file_name(name)
}

/// A file of the peer's source distribution, such as `tests/data/dump_xrd.cbors`.
///
/// # Panics
/// If it is not there.
#[must_use]
pub fn suite_file(path: &str) -> PathBuf {
    let fetched = python().ancestors().nth(3).expect("PEER/venv/bin/python").join(VERSION);
    let file = env::var_os("FRAMEGATE_PEER_SUITE").map_or(fetched, PathBuf::from).join(path);
    assert!(file.exists(), "{} does not exist: `tests/run setup` fetches it", file.display());
    file
}

/// The environment of any part of the system: its Redis, and nothing of whoever runs the tests.
pub fn peers_environment<'a>(command: &'a mut Command, redis: &str) -> &'a mut Command {
    for name in INGESTER_VARIABLES {
        command.env_remove(name);
    }
    command.env("SERVICE_REDIS_DSN", redis).env("PYTHONUNBUFFERED", "1")
}

/// The peer's source distribution.
const VERSION: &str = "dranspose-0.2.0";

/// Four Python processes that import numpy, on a machine that does much else.
const START: Duration = Duration::from_secs(60);

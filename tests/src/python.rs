//! The Python peer: dranspose's controller, reducer and workers as processes, on separate ports.
//!
//! Owns the processes and uses the controller's HTTP interface, as a beamline does. Starts no ingester: the tests do
//! that.
//!
//! `tests/run setup` creates the Python environment and downloads the peer's source distribution.

use std::{
    cell::Cell,
    env, fs,
    io::stderr,
    panic::{AssertUnwindSafe, catch_unwind, resume_unwind},
    path::{Path, PathBuf},
    process::Command,
    thread,
    time::Duration,
};

use redis::{Client, Commands};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::{
    framegate::{INGESTER_VARIABLES, profile_folder},
    process::{Process, comes_within, free_port, wait_for},
};

/// A running dranspose system without an ingester.
#[derive(Debug)]
pub struct Dranspose {
    /// The controller's HTTP interface, `http://127.0.0.1:PORT/api/v1`.
    api: String,
    redis: String,
    workers: Vec<String>,
    /// Where the workers record their messages.
    recording: PathBuf,
    folder: PathBuf,
    /// The workers, then the reducer. Ended when dropped, before the controller, because they talk to it.
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
    /// The header in wire format, but with an empty `created_at`.
    pub header: String,
    /// The frames, in hexadecimal.
    pub frames: Vec<String>,
    /// The worker that got it.
    #[serde(skip)]
    pub worker: String,
}

thread_local! {
    /// Whether a [`Dranspose`] of this thread's test met its own race.
    static MET_ITS_OWN_RACE: Cell<bool> = const { Cell::new(false) };
}

/// Runs a test with dranspose, and once more if it failed after a race in dranspose 0.2.0 itself: on a busy machine, a
/// worker that gets the next scan waits for ever until its task that reads assignments ends (`Worker.restart_work`, the
/// line after "clean up in sockets"). Its state expires after 10 s. Depending on when, the controller's task that
/// distributes work crashes (`Controller.assign_worker_in_mapping`, StopIteration), or the worker is just missing.
pub fn past_its_own_race(test: impl Fn()) {
    MET_ITS_OWN_RACE.set(false);
    if let Err(panic) = catch_unwind(AssertUnwindSafe(&test)) {
        if !MET_ITS_OWN_RACE.take() {
            resume_unwind(panic);
        }
        println!("once more, after a race of dranspose's own");
        test();
    }
}

impl Drop for Dranspose {
    fn drop(&mut self) {
        if thread::panicking() && self.has_met_its_own_race() {
            MET_ITS_OWN_RACE.set(true);
        }
    }
}

impl Dranspose {
    /// Starts controller, reducer and these workers with a Redis, and waits until all are running. The workers are
    /// `tests/peer/recording_worker.py`; all files are written to `folder`.
    ///
    /// # Panics
    /// They are not running within a minute, or the environment is missing.
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

    /// Starts the controller (again) at the same port, and waits until all services are known.
    ///
    /// # Panics
    /// They are not known within a minute.
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

    /// Its Redis URL.
    #[must_use]
    pub fn redis(&self) -> &str {
        &self.redis
    }

    /// The controller's view of all services, if it answers.
    #[must_use]
    pub fn config(&self) -> Option<Value> {
        let mut answer = ureq::get(format!("{}/config", self.api)).call().ok()?;
        answer.body_mut().read_json().ok()
    }

    /// Waits until an ingester serves the stream, and all workers are connected to it.
    ///
    /// # Panics
    /// It takes more than a minute.
    pub fn wait_for_stream(&self, stream: &str) {
        wait_for(&format!("an ingester of stream {stream} with all workers"), START, || {
            let config = self.config()?;
            let mut ingesters = config["ingesters"].as_array()?.iter();
            let ingester =
                ingesters.find(|one| one["streams"].as_array().is_some_and(|all| all.contains(&json!(stream))))?;
            (ingester["connected_workers"].as_object()?.len() == self.workers.len()).then_some(())
        });
    }

    /// Waits until no ingester is registered.
    ///
    /// # Panics
    /// The last one is still registered after a minute; a crashed one disappears after 10 s.
    pub fn wait_for_no_ingester(&self) {
        wait_for("the ingesters to go", START, || {
            let config = self.config()?;
            config["ingesters"].as_array()?.is_empty().then_some(())
        });
    }

    /// Sets a parameter of the whole system and waits until every service has it.
    ///
    /// # Panics
    /// The controller refuses, or it takes more than a minute.
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
    /// Returns its uuid when all services are ready.
    ///
    /// # Panics
    /// The controller refuses for 20 s.
    #[must_use]
    pub fn start_scan(&self, stream: &str, images: usize) -> String {
        let events: Vec<Value> = (0..images).map(|event| json!([{"constraint": event}])).collect();
        let sequence = json!({"parts": {"main": {stream: events}}, "sequence": ["main"]});
        // The controller refuses while a service that it looks at expires, such as a worker after its own race.
        let mut answer = wait_for("the controller to start a scan", Duration::from_secs(20), || {
            ureq::post(format!("{}/sequence", self.api)).send_json(&sequence).ok()
        });
        answer.body_mut().read_json().expect("the answer is a uuid")
    }

    /// Waits until all workers have joined a scan. One that still ends the previous scan discards what arrives.
    ///
    /// # Panics
    /// It takes more than a minute.
    pub fn wait_for_workers(&self, scan: &str) {
        wait_for("all workers in the scan", START, || {
            let config = self.config()?;
            config["workers"].as_array()?.iter().all(|worker| worker["mapping_uuid"] == scan).then_some(())
        });
    }

    /// Waits until the controller reports that all events of the scan are processed.
    ///
    /// # Panics
    /// It takes more than a minute.
    pub fn wait_for_finish(&self) {
        assert!(self.finishes_within(START), "the scan does not finish within {START:?}");
    }

    /// See [`past_its_own_race`]: a worker's last line is the one before the wait, and it publishes its state no more.
    fn has_met_its_own_race(&self) -> bool {
        let Ok(mut redis) = Client::open(self.redis.as_str()).and_then(|client| client.get_connection()) else {
            return false;
        };
        let hangs = |(process, name): (&Process, &String)| {
            let expired = || {
                let state: Option<String> = redis.get(format!("dranspose:worker:{name}:config")).ok()?;
                state.is_none().then_some(())
            };
            process.output().trim_end().ends_with("clean up in sockets") && comes_within(EXPIRES, expired).is_some()
        };
        self.services.iter().zip(&self.workers).any(hangs)
    }

    /// Whether the controller reports within `limit` that all events of the scan are processed.
    #[must_use]
    pub fn finishes_within(&self, limit: Duration) -> bool {
        let finished = || {
            let progress: Value =
                ureq::get(format!("{}/progress", self.api)).call().ok()?.body_mut().read_json().ok()?;
            (progress["finished"] == true).then_some(())
        };
        comes_within(limit, finished).is_some()
    }

    /// The messages that the workers got in a scan, by event and worker.
    ///
    /// # Panics
    /// A line of a recording is not a message.
    #[must_use]
    pub fn received(&self, scan: &str) -> Vec<Received> {
        let mut all = Vec::new();
        for worker in &self.workers {
            // A worker without messages has recorded nothing.
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

/// Creates the peer's environment as `tests/run setup` does, if it does not exist.
///
/// # Panics
/// It cannot be created.
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

/// The Python with dranspose: FRAMEGATE_PEER_PYTHON, else the one that `tests/run setup` created in the target folder.
///
/// # Panics
/// There is none.
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

/// The libzmq of pyzmq, which has CURVE. Its folder has the libraries that it needs.
///
/// # Panics
/// pyzmq cannot be imported.
#[must_use]
pub fn libzmq() -> PathBuf {
    let output = Command::new(python()).args(["-c", LIBZMQ]).output().expect("Python runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    PathBuf::from(String::from_utf8_lossy(&output.stdout).trim())
}

const LIBZMQ: &str =
    "import zmq; print(next(line.split()[-1] for line in open('/proc/self/maps') if 'libzmq' in line))";

/// A file of the peer's source distribution, such as `tests/data/dump_xrd.cbors`.
///
/// # Panics
/// It does not exist.
#[must_use]
pub fn suite_file(path: &str) -> PathBuf {
    let fetched = python().ancestors().nth(3).expect("PEER/venv/bin/python").join(VERSION);
    let file = env::var_os("FRAMEGATE_PEER_SUITE").map_or(fetched, PathBuf::from).join(path);
    assert!(file.exists(), "{} does not exist: `tests/run setup` fetches it", file.display());
    file
}

/// The environment of any service: its Redis, and no variables of the test's caller.
pub fn peers_environment<'a>(command: &'a mut Command, redis: &str) -> &'a mut Command {
    for name in INGESTER_VARIABLES {
        command.env_remove(name);
    }
    command.env("SERVICE_REDIS_DSN", redis).env("PYTHONUNBUFFERED", "1")
}

/// The peer's source distribution.
const VERSION: &str = "dranspose-0.2.0";

/// Four Python processes import numpy, on a busy machine.
const START: Duration = Duration::from_secs(60);

/// A service's state expires 10 s after it was last published.
const EXPIRES: Duration = Duration::from_secs(15);

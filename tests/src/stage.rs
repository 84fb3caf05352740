//! A host inside the test's own process, between a Redis, a simulated controller, detectors and workers.
//!
//! One ingester with the given streams. A STINS source with its own simulated detector feeds each stream; a [`Played`]
//! source feeds streams whose name begins with `played`.

use std::{
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
        mpsc,
    },
    thread,
    time::Duration,
};

use framegate::{
    ControlState, Host, Report,
    names::{IngesterName, StreamName},
    settings::{Control, IngesterSettings, RedisSettings, Settings, StreamSettings},
};
use framegate_stins::Stins;
use framegate_stins_detector::{Detector, Simulation, Step, image};
use serde_json::{Value, json};

use crate::{
    controller::{Controller, LIMIT},
    played::{Asked, Played},
    process::{free_port, wait_for},
    redis::RedisServer,
    worker::{Message, Worker},
};

/// Bytes of a simulated image.
pub const IMAGE_BYTES: usize = 3000;

/// See the module.
#[derive(Debug)]
pub struct Stage {
    /// The Redis between controller and host.
    pub redis: RedisServer,
    /// The simulated controller.
    pub controller: Controller,
    /// The host; `None` while it is stopped.
    pub host: Option<Host>,
    /// The ingester's name.
    pub name: String,
    /// The host's settings.
    pub settings: Settings,
    detectors: Vec<mpsc::Sender<()>>,
    hold_after: Arc<AtomicU32>,
}

impl Stage {
    /// Starts a host with one ingester. Its detectors wait before the header; each run has `frames` images.
    #[must_use]
    pub fn new(streams: &[&str], frames: u32) -> Self {
        Self::with(RedisServer::start(), streams, frames, |_| {})
    }

    /// The same with another Redis, and `change` applied to the settings.
    ///
    /// # Panics
    /// The host does not start.
    #[must_use]
    pub fn with(redis: RedisServer, streams: &[&str], frames: u32, change: impl FnOnce(&mut Settings)) -> Self {
        let mut detectors = Vec::new();
        let hold_after = Arc::new(AtomicU32::new(u32::MAX));
        let stream = |name: &&str| {
            let stream = StreamName::new(name).expect("a good name");
            if name.starts_with("played") {
                return StreamSettings::new(stream, "played", json!({}));
            }
            let (url, go) = detector(frames, hold_after.clone());
            detectors.push(go);
            StreamSettings::new(stream, "stins", json!({"upstream_url": url, "between_scans": "disconnect"}))
        };
        let name = format!("{}-ingester", streams.join("_"));
        let ingester_name = IngesterName::new(&name).expect("a good name");
        let streams = streams.iter().map(stream).collect();
        let ingester = IngesterSettings::new(ingester_name, "127.0.0.1", free_port(), streams);
        let mut to_redis = RedisSettings::new(&redis.url());
        to_redis.build_meta = PathBuf::from("/nonexistent");
        let control = Control::Redis(to_redis);
        let mut settings = Settings::new(control, vec![ingester]);
        // A test's plugins may be built with any umask.
        settings.allow_writable_plugins = true;
        change(&mut settings);
        let controller = match redis.is_running() {
            true => Controller::new(&redis),
            false => Controller::waiting(),
        };
        let mut stage = Self { redis, controller, host: None, name, settings, detectors, hold_after };
        stage.start_host();
        stage
    }

    /// Starts the host (again), and waits until it is published if Redis is running.
    ///
    /// # Panics
    /// It does not start.
    pub fn start_host(&mut self) {
        self.start_host_within(LIMIT);
    }

    /// The same, with its own limit for the first published state.
    ///
    /// # Panics
    /// It does not start.
    pub fn start_host_within(&mut self, limit: Duration) {
        let host = Host::builder(self.settings.clone());
        let host = host.source::<Stins>("stins").source::<Played>("played").source::<Asked>("asked");
        let host = host.start().unwrap_or_else(|error| panic!("{error}"));
        let uuid = json!(host.reports()[0].service_uuid);
        self.host = Some(host);
        if self.redis.is_running() {
            let is_own = |state: &Value| state["service_uuid"] == uuid;
            self.controller.wait_state_within(limit, &self.name, "its first state", is_own);
        }
    }

    /// Stops the host as a service manager does.
    pub fn stop_host(&mut self) {
        if let Some(host) = self.host.take() {
            host.shutdown();
        }
    }

    /// Removes the host as a crash does: its published state stays.
    ///
    /// # Panics
    /// Redis does not answer.
    pub fn crash_host(&mut self) {
        let key = format!("dranspose:ingester:{}:config", self.name);
        let state: String = self.redis.ask(&["GET", &key]);
        self.stop_host();
        let _: () = self.redis.ask(&["SETEX", &key, "10", &state]);
    }

    /// The host.
    ///
    /// # Panics
    /// It is stopped.
    #[must_use]
    pub fn host(&self) -> &Host {
        self.host.as_ref().expect("it runs")
    }

    /// Detectors wait for a signal after this image of each run; call it before the scan.
    pub fn hold_after(&self, image: u32) {
        self.hold_after.store(image, Ordering::Relaxed); // read by the detector much later, when it is connected
    }

    /// Lets every detector send its next run, or the rest of a held one.
    pub fn next_runs(&self) {
        for detector in &self.detectors {
            let _ = detector.send(());
        }
    }

    /// A connected worker, published as connected.
    #[must_use]
    pub fn worker(&mut self, name: &str) -> Worker {
        self.worker_of(0, name)
    }

    /// The same for another ingester.
    #[must_use]
    pub fn worker_of(&mut self, ingester: usize, name: &str) -> Worker {
        let settings = &self.settings.ingesters[ingester];
        let worker = Worker::connect(name, &settings.url());
        let uuid = worker.service_uuid().to_string();
        let published = |state: &Value| state["connected_workers"].get(&uuid).is_some();
        self.controller.wait_state(settings.name.as_str(), "the worker", published);
        worker
    }

    /// The ingester's report.
    ///
    /// # Panics
    /// The host is stopped.
    #[must_use]
    pub fn report(&self) -> Report {
        self.host().reports().remove(0)
    }

    /// Waits until `wanted` is true for the report.
    ///
    /// # Panics
    /// It is not true within the limit.
    pub fn wait_report(&self, what: &str, wanted: impl Fn(&Report) -> bool) -> Report {
        wait_for(what, LIMIT, || Some(self.report()).filter(&wanted))
    }

    /// Waits until control is in this state.
    ///
    /// # Panics
    /// It is not within the limit.
    pub fn wait_control(&self, state: ControlState) {
        wait_for(&format!("control to be {state}"), LIMIT, || {
            (self.host().control_report().state == state).then_some(())
        });
    }

    /// Waits until `count` unusable inputs were counted by the counter with this id.
    ///
    /// # Panics
    /// They are not counted within the limit.
    pub fn wait_complaints(&self, reason: &str, count: u64) {
        wait_for(&format!("{count} × {reason}"), LIMIT, || {
            let counters = self.host().control_report().counters;
            counters.iter().any(|(known, counted)| known.id() == reason && *counted >= count).then_some(())
        });
    }

    /// Waits until the ingester publishes a state for which `wanted` is true.
    pub fn wait_state(&mut self, what: &str, wanted: impl Fn(&Value) -> bool) -> Value {
        self.controller.wait_state(&self.name, what, wanted)
    }

    /// Starts a scan, and waits until the ingester publishes it.
    pub fn scan(&mut self, streams: &[&str]) {
        self.controller.scan(&self.name, streams);
    }

    /// Ends the scan, and waits for the notice.
    pub fn finish(&mut self) {
        self.controller.finish_and_wait(&self.name);
    }

    /// A complete scan of one stream: header, images and end must arrive at this worker, byte for byte.
    ///
    /// # Panics
    /// Something else arrives.
    pub fn whole_scan(&mut self, stream: &str, run: u32, frames: u32, worker: &Worker) {
        self.scan(&[stream]);
        let one: &[(&str, &[&str])] = &[(stream, &[worker.name()])];
        self.controller.assign(&vec![one; frames as usize + 2]);
        for number in 0..u64::from(frames) + 2 {
            check(&worker.next(), stream, number, run, frames);
        }
        self.finish();
        self.next_runs();
    }
}

/// Asserts that a message is the event with this number of a simulated run.
///
/// # Panics
/// It is not.
pub fn check(message: &Message, stream: &str, number: u64, run: u32, frames: u32) {
    assert_eq!(message.number(), number);
    let parts = message.stream(stream).expect("the stream is in it");
    assert_eq!(message.header()["streams"][stream]["typ"], "STINS");
    let header: Value = serde_json::from_slice(&parts[0]).expect("the detector's header is JSON");
    if number == 0 {
        assert_eq!(header["htype"], "header");
    } else if number == u64::from(frames) + 1 {
        assert_eq!(header["htype"], "series_end");
    } else {
        let frame = u32::try_from(number - 1).expect("few images");
        assert_eq!(header["frame"], frame);
        assert!(parts[1] == image(run, frame, IMAGE_BYTES), "event {number} has the bytes of another image");
    }
}

/// A detector on its own thread: sends one run at once, and another for each signal. Ends with the process.
fn detector(frames: u32, hold_after: Arc<AtomicU32>) -> (String, mpsc::Sender<()>) {
    let simulation = Simulation {
        bind: "tcp://127.0.0.1:*".to_owned(),
        scans: u32::MAX,
        frames,
        bytes: IMAGE_BYTES,
        rate: None,
        pause: Duration::ZERO,
    };
    let (go, may) = mpsc::channel();
    let (tell, told) = mpsc::channel();
    thread::spawn(move || {
        let detector = Detector::bind(simulation).expect("a port is free");
        let _ = tell.send(detector.endpoint().expect("a bound socket has an address"));
        let _ = detector.stream(|step| {
            let waits = match step {
                Step::Image { frame, .. } => frame == hold_after.load(Ordering::Relaxed),
                Step::Ended { .. } => true,
                Step::Started { .. } => false,
            };
            !waits || may.recv().is_ok()
        });
    });
    (told.recv().expect("the detector binds"), go)
}

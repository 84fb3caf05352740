//! A host with a good and a bad stream: the bad stream's plugin must not affect the good stream.

use std::{
    path::{Path, PathBuf},
    sync::mpsc,
    thread,
    time::Duration,
};

use framegate_stins_detector::{Detector, Simulation, Step};
use serde_json::Value;

use crate::{
    alone::bad_plugin_in_c,
    host::{Host, LIMIT},
    process::{free_port, wait_for},
    worker::Worker,
};

/// Images per scan of the good stream, between a header and an end.
pub const IMAGES: u32 = 10;

/// A host with two streams, `good` and `bad`, and a worker that gets both.
#[derive(Debug)]
pub struct Pair {
    /// The host.
    pub host: Host,
    /// The worker that gets both streams.
    pub worker: Worker,
    /// The plugin of the bad stream.
    pub bad: PathBuf,
    detector: thread::JoinHandle<()>,
    /// Tells the detector to send the end of a run.
    go: mpsc::Sender<()>,
    folder: tempfile::TempDir,
}

/// What differs from test to test.
#[derive(Debug, Default)]
pub struct Setup<'a> {
    /// Runs of the good stream's detector.
    pub scans: u32,
    /// Further lines of the configuration.
    pub more: &'a str,
    /// Further lines of the bad stream.
    pub bad_stream: &'a str,
    /// The faults of the bad stream's plugin, for `fails_as_told`.
    pub faults: &'a [&'a str],
    /// The detector sends the last image and the end of each run only after [`Pair::go`].
    pub held: bool,
}

impl Pair {
    /// Starts the host, the detector and the worker.
    ///
    /// # Panics
    /// It does not start.
    #[must_use]
    pub fn start(bad: impl FnOnce(&Path) -> PathBuf, scans: u32, more: &str) -> Self {
        Self::with(bad, &Setup { scans, more, ..Setup::default() })
    }

    /// Starts the host, the detector and the worker.
    ///
    /// # Panics
    /// It does not start.
    #[must_use]
    pub fn with(bad: impl FnOnce(&Path) -> PathBuf, setup: &Setup<'_>) -> Self {
        let folder = tempfile::tempdir().expect("there is room for a folder");
        let bad = bad(folder.path());
        let simulation = Simulation {
            bind: "tcp://127.0.0.1:*".to_owned(),
            scans: setup.scans,
            frames: IMAGES,
            bytes: 1000,
            rate: None,
            // A scan's connection ends with the scan; later messages then wait for the next scan's connection.
            pause: Duration::from_millis(500),
        };
        let detector = Detector::bind(simulation).expect("a port is free");
        let url = detector.endpoint().expect("it is bound");
        let (go, waits) = mpsc::channel::<()>();
        let held = setup.held;
        let detector = thread::spawn(move || {
            let step = |step| {
                !held || !matches!(step, Step::Image { frame, .. } if frame + 1 == IMAGES) || waits.recv().is_ok()
            };
            detector.stream(step).expect("it sends");
        });
        let port = free_port();
        let settings = match setup.faults {
            [] => String::new(),
            faults => format!(
                "settings = {{ faults = {faults:?}, folder = {:?} }}\nparameters = {{ gain = 7 }}\n",
                folder.path()
            ),
        };
        let host = Host::start(
            folder.path(),
            &format!(
                "source_timeout = \"3 s\"\n{}\n[standalone]\n\
                 [[ingester]]\nurl = \"tcp://127.0.0.1:{port}\"\n\
                 [[ingester.stream]]\nname = \"good\"\nsource = \"stins\"\n\
                 [ingester.stream.settings]\nupstream_url = \"{url}\"\nbetween_scans = \"disconnect\"\n\
                 [[ingester.stream]]\nname = \"bad\"\nsource = \"{}\"\n{}\n{settings}",
                setup.more,
                bad.display(),
                setup.bad_stream
            ),
        );
        let worker = host.worker("w1", &format!("tcp://127.0.0.1:{port}"));
        Self { host, worker, bad, detector, go, folder }
    }

    /// Checks that the good stream's header, images and end of one scan have all arrived; returns how many events of
    /// the bad stream came with them.
    ///
    /// # Panics
    /// Something of the good stream is missing.
    pub fn good_loses_nothing(&self) -> usize {
        let messages = self.worker.until(|message| message.number() == u64::from(IMAGES) + 1);
        let of = |name: &str| {
            messages.iter().filter(|one| one.stream(name).is_some_and(|frames| !frames.is_empty())).count()
        };
        assert_eq!(of("good"), IMAGES as usize + 2, "{}", self.host.log());
        of("bad")
    }

    /// Waits for a failure of the bad stream with the text `says`, the plugin and its file.
    ///
    /// # Panics
    /// It does not happen.
    pub fn bad_fails(&mut self, says: &str) -> Value {
        let file = self.bad.display().to_string();
        let status = self.host.wait_for(says, |ingester| {
            let faults = ingester["faults"].to_string();
            faults.contains("bad") && faults.contains(says) && faults.contains(&file)
        });
        assert_ne!(status["streams"]["good"]["source"], "failed", "{status:#}");
        // The log is written by another thread.
        wait_for("the log to say it too", LIMIT, || self.host.log().contains(says).then_some(()));
        status
    }

    /// The generation of the bad stream.
    ///
    /// # Panics
    /// There is none.
    #[must_use]
    pub fn generation(&self) -> Value {
        self.generations().into_iter().next().expect("the bad stream has a source")
    }

    /// The generations of the bad stream, the oldest first.
    ///
    /// # Panics
    /// The host does not answer.
    #[must_use]
    pub fn generations(&self) -> Vec<Value> {
        let status = self.host.status().expect("it answers");
        let all = status["generations"].as_array().expect("a list").clone();
        all.into_iter().filter(|generation| generation["stream"] == "bad").collect()
    }

    /// The last process of the bad stream's source, which is isolated.
    ///
    /// # Panics
    /// It has none.
    #[must_use]
    pub fn process(&self) -> Value {
        let status = self.host.status().expect("it answers");
        let sources = status["sources"].as_array().expect("a list");
        sources.iter().find(|source| source["stream"] == "bad").expect("it has a source")["process"].clone()
    }

    /// The ingester's counter with this name.
    ///
    /// # Panics
    /// The host does not answer.
    #[must_use]
    pub fn count(&self, what: &str) -> u64 {
        self.host.ingester().expect("it answers")["counters"][what].as_u64().unwrap_or_default()
    }

    /// The folder for the notes of `fails_as_told`.
    #[must_use]
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Tells the detector to end the run that it holds.
    ///
    /// # Panics
    /// There is no such run.
    pub fn go(&self) {
        self.go.send(()).expect("the detector waits");
    }

    /// Stops the host and returns its log. It must end in time, regardless of its sources.
    ///
    /// # Panics
    /// It does not end in time.
    #[must_use]
    pub fn stop(mut self) -> String {
        assert!(self.host.stop(Duration::from_secs(5)).success(), "{}", self.host.log());
        drop(self.go);
        self.detector.join().expect("it has sent everything");
        self.host.log()
    }
}

/// The plugin `tests/bad-plugins/in-c/CASE.c`, for [`Pair::start`].
pub fn in_c(case: &'static str) -> impl FnOnce(&Path) -> PathBuf {
    move |folder| bad_plugin_in_c(case, folder)
}

//! The end of a real program, from the view of processes that still use it.

#![allow(clippy::unwrap_used, reason = "these are tests, helpers included")]

use std::{
    fs,
    net::TcpStream,
    thread,
    time::{Duration, Instant},
};

use framegate_tests::{
    controller::Controller,
    detector::Detector,
    framegate,
    host::Host,
    process::{Process, free_port, wait_for},
    redis::RedisServer,
    worker::Worker,
};
use nix::sys::signal::Signal;

const LIMIT: Duration = Duration::from_secs(20);
const KEY: &str = "dranspose:ingester:camera-ingester:config";

/// A Python worker that pings an unused address cannot end itself: libzmq keeps its ping for ever.
#[test]
fn whoever_reads_a_published_address_finds_somebody_there() {
    let redis = RedisServer::start();
    let folder = tempfile::tempdir().unwrap();
    let port = free_port();
    let mut command = framegate::command();
    command.args(["ingester", "-c", "ZmqPullSingleIngester", "-n", "camera"]);
    command.args(["-u", &format!("tcp://127.0.0.1:{}", free_port())]);
    command.env("SERVICE_REDIS_DSN", redis.url()).env("INGESTER_URL", format!("tcp://127.0.0.1:{port}"));
    let mut process = Process::start("framegate", &mut command, folder.path());
    let mut connection = redis.connect();
    let mut is_published = || redis::cmd("EXISTS").arg(KEY).query::<bool>(&mut connection).unwrap();
    wait_for("the ingester to be published", LIMIT, || is_published().then_some(()));

    let stopping = thread::spawn(move || process.stop(LIMIT));
    let deadline = Instant::now() + LIMIT;
    while TcpStream::connect(("127.0.0.1", port)).is_ok() {
        assert!(Instant::now() < deadline, "the port stays open");
    }
    assert!(!is_published(), "nobody listens at the published address");
    assert!(stopping.join().unwrap().success());
}

/// A scan with a worker that does not read, so that most messages wait in the program.
struct Scan {
    redis: RedisServer,
    controller: Controller,
    detector: Detector,
    host: Host,
    worker: Worker,
    folder: tempfile::TempDir,
}

const IMAGES: u8 = 60;
const IMAGE: usize = 1 << 20;

impl Scan {
    fn begin(grace: &str) -> Self {
        let (redis, folder, mut detector) = (RedisServer::start(), tempfile::tempdir().unwrap(), Detector::bind());
        let (plugin, url) = (framegate::plugin("stins"), format!("tcp://127.0.0.1:{}", free_port()));
        let configuration = format!(
            "redis = \"{}\"\nshutdown_grace = \"{grace}\"\n[[ingester]]\nurl = \"{url}\"\ndump_path = \"{}\"\n\
             [[ingester.stream]]\nname = \"camera\"\nsource = \"{}\"\nsettings.upstream_url = \"{}\"\n",
            redis.url(),
            folder.path().join("capture.cbors").display(),
            plugin.display(),
            detector.url,
        );
        let mut host = Host::start(folder.path(), &configuration);
        let mut controller = Controller::new(&redis);
        controller.wait_state("camera-ingester", "anything", |_| true);
        let worker = Worker::stalled("w1", &url);
        let uuid = worker.service_uuid().to_string();
        controller.wait_state("camera-ingester", "the worker", |state| state["connected_workers"].get(&uuid).is_some());
        controller.scan("camera-ingester", &["camera"]);
        let to_it: &[(&str, &[&str])] = &[("camera", &["w1"])];
        controller.assign(&vec![to_it; usize::from(IMAGES) + 2]);
        detector.header();
        (0..IMAGES).for_each(|image| detector.image(&vec![image; IMAGE]));
        host.wait_for("all events to wait", |ingester| {
            ingester["processed_events"] == IMAGES + 1 && ingester["workers"][0]["waiting"].as_u64() > Some(10)
        });
        Self { redis, controller, detector, host, worker, folder }
    }

    /// After its end: nothing is published any more, and the capture is complete.
    fn leaves_nothing_behind(mut self) {
        assert_eq!(self.controller.state("camera-ingester"), None);
        assert!(!self.redis.ask::<bool>(&["EXISTS", KEY]));
        let capture = fs::read(self.folder.path().join("capture.cbors")).unwrap();
        let mut rest = capture.as_slice();
        let mut events = 0;
        while !rest.is_empty() {
            let _: ciborium::Value = ciborium::from_reader(&mut rest).expect("a capture ends with a whole event");
            events += 1;
        }
        assert_eq!(events, usize::from(IMAGES) + 1);
        drop(self.detector);
    }
}

#[test]
fn a_stop_in_a_scan_delivers_what_is_queued_within_the_grace_and_leaves_nothing_behind() {
    let mut scan = Scan::begin("20 s");
    scan.host.signal(Signal::SIGTERM);
    let says = || scan.host.log().contains("stopping; delivering queued events for up to 20s");
    wait_for("the stop", LIMIT, || says().then_some(()));
    scan.worker.read(true);
    for number in 0..=u64::from(IMAGES) {
        let message = scan.worker.next();
        assert_eq!(message.number(), number);
        assert!(number == 0 || message.frames[1] == vec![number as u8 - 1; IMAGE], "image {number}");
    }
    // It does not wait for the rest of the grace period.
    assert!(scan.host.wait(Duration::from_secs(10)).success());
    scan.leaves_nothing_behind();
}

#[test]
fn a_stop_in_a_scan_waits_for_a_worker_that_does_not_read_no_longer_than_the_grace() {
    let mut scan = Scan::begin("1 s");
    let began = Instant::now();
    assert!(scan.host.stop(Duration::from_secs(5)).success());
    assert!(began.elapsed() >= Duration::from_secs(1), "the grace was not used: {:?}", began.elapsed());
    scan.leaves_nothing_behind();
}

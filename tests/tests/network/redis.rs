//! Redis, and the controller, on another machine.

use std::{
    thread,
    time::{Duration, Instant},
};

use framegate_tests::{
    controller::Controller,
    detector::Detector,
    framegate,
    network::{FAR, Network, between},
    process::{Process, free_port, wait_for},
    redis::RedisServer,
    standalone::{images, is_end},
    worker::{LIMIT, Worker},
};
use serde_json::Value;
use tempfile::TempDir;

use super::{BACK, LONG, SHORT};

const NAME: &str = "camera-ingester";
const TO_IT: &[(&str, &[&str])] = &[("camera", &["w1"])];

struct Beamline {
    redis: RedisServer,
    controller: Controller,
    detector: Detector,
    worker: Worker,
    admin: u16,
    process: Process,
    _folder: TempDir,
}

impl Beamline {
    fn start(network: &Network) -> Self {
        let (folder, detector) = (tempfile::tempdir().unwrap(), Detector::bind());
        let (redis, mut controller) = network.far(|| {
            let mut redis = RedisServer::absent_at(FAR);
            redis.launch();
            let controller = Controller::new(&redis);
            (redis, controller)
        });
        let (port, admin) = (free_port(), free_port());
        let mut command = framegate::command();
        command.args(["ingester", "-c", "ZmqPullSingleIngester", "-n", "camera", "-u", &detector.url]);
        command.env("SERVICE_REDIS_DSN", redis.url()).env("INGESTER_URL", format!("tcp://127.0.0.1:{port}"));
        command.env("FRAMEGATE_ADMIN", format!("127.0.0.1:{admin}"));
        let process = Process::start("framegate", &mut command, folder.path());
        let worker = Worker::connect("w1", &format!("tcp://127.0.0.1:{port}"));
        let uuid = worker.service_uuid().to_string();
        controller.wait_state(NAME, "the worker", |state| state["connected_workers"].get(&uuid).is_some());
        Self { redis, controller, detector, worker, admin, process, _folder: folder }
    }

    fn status(&self) -> Option<Value> {
        ureq::get(format!("http://127.0.0.1:{}/status", self.admin)).call().ok()?.body_mut().read_json().ok()
    }

    fn is_back(&self) {
        let url = self.redis.url();
        wait_for(&format!("{url} to be served"), BACK, || (self.status()?["control"]["state"] == "up").then_some(()));
    }

    fn whole_scan(&mut self) {
        self.controller.scan(NAME, &["camera"]);
        self.controller.assign(&[TO_IT; 4]);
        self.detector.run([vec![1; 5000], vec![2; 5000]]);
        assert_eq!(self.worker.until(is_end).len(), 4);
        self.controller.finish_and_wait(NAME);
    }
}

fn the_cable_is_out_for(time: Duration) {
    between(|network| {
        let mut beamline = Beamline::start(network);
        beamline.whole_scan();
        beamline.controller.scan(NAME, &["camera"]);
        beamline.controller.assign(&[TO_IT; 11]);
        beamline.detector.header();
        assert_eq!(beamline.worker.next().number(), 0);
        network.out_for(time, || {
            // Assigned events continue meanwhile.
            (0..10u8).for_each(|image| beamline.detector.image(&[image; 5000]));
            let got: Vec<_> = (0..10).map(|_| beamline.worker.next()).collect();
            assert_eq!(images(&got), (0..10u8).map(|image| vec![image; 5000]).collect::<Vec<_>>());
            // Redis runs on the controller's machine.
            beamline.controller.assign(&[TO_IT; 2]);
            beamline.detector.image(&[10; 5000]);
            beamline.detector.end();
        });
        let began = Instant::now();
        let got = [super::next(&beamline.worker), super::next(&beamline.worker)];
        assert!(is_end(&got[1]), "after {:?}", began.elapsed());
        beamline.controller.finish_and_wait(NAME);
        beamline.is_back();
        beamline.whole_scan();
    });
}

#[test]
fn a_scan_goes_on_while_the_cable_to_redis_is_out_for_4_s_and_all_assignments_come() {
    the_cable_is_out_for(SHORT);
}

#[test]
fn a_scan_goes_on_while_the_cable_to_redis_is_out_for_15_s_and_all_assignments_come() {
    the_cable_is_out_for(LONG);
}

#[test]
fn a_machine_with_redis_that_vanishes_is_missed_within_5_s_and_served_when_it_is_back_under_its_address() {
    between(|network| {
        let mut beamline = Beamline::start(network);
        beamline.controller.scan(NAME, &["camera"]);
        beamline.controller.assign(&[TO_IT; 4]);
        beamline.detector.header();
        assert_eq!(beamline.worker.next().number(), 0);
        let redis = &mut beamline.redis;
        network.far(|| redis.save());
        network.vanish();
        redis.kill();
        let began = Instant::now();
        wait_for("its absence to be said", Duration::from_secs(10), || {
            (beamline.status()?["control"]["state"] != "up").then_some(())
        });
        assert!(began.elapsed() < Duration::from_secs(6), "after {:?}", began.elapsed());
        beamline.detector.image(&[1; 5000]);
        beamline.detector.image(&[2; 5000]);
        beamline.detector.end();
        assert_eq!(beamline.worker.until(is_end).len(), 3);
        network.come_back();
        let (redis, controller) = (&mut beamline.redis, &mut beamline.controller);
        network.far(|| {
            redis.launch();
            controller.reconnect(redis);
        });
        beamline.is_back();
        beamline.controller.finish_and_wait(NAME);
        beamline.whole_scan();
    });
}

#[test]
fn a_cable_to_redis_that_is_out_for_good_is_told_and_holds_up_neither_what_is_assigned_nor_the_end() {
    between(|network| {
        let mut beamline = Beamline::start(network);
        beamline.controller.scan(NAME, &["camera"]);
        beamline.controller.assign(&[TO_IT; 4]);
        beamline.detector.header();
        assert_eq!(beamline.worker.next().number(), 0);
        network.unplug();
        let began = Instant::now();
        wait_for("its absence to be said", Duration::from_secs(10), || {
            (beamline.status()?["control"]["state"] != "up").then_some(())
        });
        assert!(began.elapsed() < Duration::from_secs(6), "after {:?}", began.elapsed());
        beamline.detector.image(&[1; 5000]);
        beamline.detector.image(&[2; 5000]);
        beamline.detector.end();
        assert_eq!(beamline.worker.until(is_end).len(), 3);
        let began = Instant::now();
        assert!(beamline.process.stop(LIMIT).success(), "{}", beamline.process.output());
        assert!(began.elapsed() < Duration::from_secs(10), "it ends after {:?}", began.elapsed());
    });
}

#[test]
fn a_redis_behind_ten_megabits_hands_out_all_assignments() {
    const EVENTS: usize = 20_000;
    between(|network| {
        network.slow("10mbit");
        let mut beamline = Beamline::start(network);
        beamline.controller.scan(NAME, &["camera"]);
        let began = Instant::now();
        beamline.controller.assign(&[TO_IT; EVENTS]);
        let got = thread::scope(|scope| {
            let sends = scope.spawn(|| beamline.detector.run(vec![vec![7; 100]; EVENTS - 2]));
            let got = beamline.worker.until(is_end);
            sends.join().unwrap();
            got
        });
        let images = images(&got);
        assert_eq!(images.len(), EVENTS - 2);
        assert!(images.iter().all(|image| *image == [7; 100]));
        // An assignment has at least 30 bytes.
        let took = began.elapsed();
        assert!(took > Duration::from_millis(400), "{EVENTS} assignments through 10 Mbit/s in {took:?}");
        beamline.controller.finish_and_wait(NAME);
    });
}

//! Detectors on another machine: a ZeroMQ detector that the source connects to, one that connects to the source, a
//! PandABox, and Sardana over HTTP.

use std::{
    fmt::Write as _,
    iter,
    ops::Range,
    thread,
    time::{Duration, Instant},
};

use framegate_tests::{
    detector,
    detectors::{Detector, LARGE, Say},
    framegate,
    host::Host,
    network::{FAR, HERE, Network, between},
    process::{comes_within, free_port},
    protocols::Parts,
    standalone::{Wish, configuration, images, is_end},
    worker::{LIMIT, Worker},
};
use tempfile::TempDir;

use super::{LONG, SHORT, connections_to_far, next};

/// ZeroMQ with a connecting source, a PandABox, Sardana, ZeroMQ with a connecting detector.
const ALL: Range<usize> = 0..4;

/// Detectors on the other machine; the program with a stream for each, and a worker.
struct Beamline {
    detectors: Vec<Detector>,
    worker: Worker,
    host: Host,
    _folder: TempDir,
}

fn stream(index: usize, detector: &Detector) -> String {
    format!("{}-{index}", detector.name)
}

impl Beamline {
    /// Starts it with some of the four.
    fn start(network: &Network, which: Range<usize>) -> Self {
        let (folder, mut detectors) = (tempfile::tempdir().unwrap(), Detector::of_each_transport(FAR, HERE));
        assert_eq!(detectors.len(), ALL.len());
        detectors.truncate(which.end);
        detectors.drain(..which.start);
        let url = format!("tcp://127.0.0.1:{}", free_port());
        let mut configuration = format!("[standalone]\n[[ingester]]\nurl = \"{url}\"\n");
        for (index, detector) in detectors.iter().enumerate() {
            let (plugin, settings) = (framegate::plugin(detector.name), detector.settings());
            let settings = toml::Value::try_from(settings).unwrap();
            let table = "[[ingester.stream]]\nname";
            writeln!(
                configuration,
                "{table} = \"{}\"\nsource = {plugin:?}\nsettings = {settings}",
                stream(index, detector)
            )
            .unwrap();
        }
        let mut host = Host::start(folder.path(), &configuration);
        let worker = Worker::connect("w1", &url);
        let uuid = worker.service_uuid().to_string();
        host.wait_for("the worker and the scan", |ingester| {
            ingester["workers"][0]["service_uuid"] == uuid.as_str() && ingester["state"] == "running"
        });
        let mut beamline = Self { detectors, worker, host, _folder: folder };
        beamline.appear(network);
        beamline
    }

    fn appear(&mut self, network: &Network) {
        let all = &mut self.detectors;
        network.far(|| all.iter_mut().for_each(Detector::appear));
        all.iter().for_each(Detector::wait_for_source);
    }

    /// All detectors send `what`; returns the expected events.
    fn say(&mut self, network: &Network, what: Say) -> Vec<Parts> {
        let all = &mut self.detectors;
        // In an order in which those that wait for an answer are last.
        network.far(|| {
            all.sort_by_key(Detector::comes);
            all.iter().map(|one| one.say(what)).collect()
        })
    }

    fn gets(&mut self, number: u64, events: &[Parts]) {
        let message = next(&self.worker);
        assert_eq!(message.number(), number);
        for event in events {
            let found = message.header()["streams"].as_object().unwrap().keys().any(|stream| {
                let got = message.stream(stream).unwrap();
                got == event.as_slice()
            });
            assert!(found, "event {number}: {event:?} is missing: {:?}", message.frames);
        }
        let parts: usize = events.iter().map(Vec::len).sum();
        assert_eq!(message.frames.len(), parts, "event {number} has something else");
    }
}

fn the_cable_is_out_for(time: Duration) {
    between(|network| {
        let mut beamline = Beamline::start(network, ALL);
        for (number, what) in [(0, Say::Start(1)), (1, Say::Data(0))] {
            let events = beamline.say(network, what);
            beamline.gets(number, &events);
        }
        network.unplug();
        let while_out = thread::scope(|scope| {
            // Sardana's post is answered only after the cable is plugged in again.
            let says = scope.spawn(|| beamline.say(network, Say::Data(1)));
            // The test is about the length of the outage.
            thread::sleep(time);
            network.plug();
            says.join().unwrap()
        });
        beamline.gets(2, &while_out);
        for (number, what) in [(3, Say::Data(2)), (4, Say::End(1))] {
            let events = beamline.say(network, what);
            beamline.gets(number, &events);
        }
    });
}

#[test]
fn no_event_of_any_detector_is_lost_while_its_cable_is_out_for_4_s() {
    the_cable_is_out_for(SHORT);
}

#[test]
fn no_event_of_any_detector_is_lost_while_its_cable_is_out_for_15_s() {
    the_cable_is_out_for(LONG);
}

/// Their machine vanishes in a scan; what they send after its return belongs to the same scan.
fn their_machine_vanishes(which: Range<usize>, says_then: [Say; 2], limit: Duration) {
    between(|network| {
        let mut beamline = Beamline::start(network, which);
        for (number, what) in [(0, Say::Start(1)), (1, Say::Data(0))] {
            let events = beamline.say(network, what);
            beamline.gets(number, &events);
        }
        network.vanish();
        beamline.detectors.iter_mut().for_each(Detector::vanish);
        network.come_back();
        let began = Instant::now();
        let all = &mut beamline.detectors;
        network.far(|| all.iter_mut().for_each(Detector::appear));
        // For a connecting source, the kernel's keep-alive detects it, 30 s after the last packet.
        for one in &beamline.detectors {
            let here = comes_within(limit, || one.has_source().then_some(()));
            assert!(here.is_some(), "the source of {} does not come back", one.name);
        }
        for (number, what) in (2..).zip(says_then) {
            let events = beamline.say(network, what);
            beamline.gets(number, &events);
        }
        assert!(began.elapsed() < limit, "only after {:?}", began.elapsed());
    });
}

#[test]
fn detectors_that_connect_to_us_are_served_at_once_when_their_machine_has_vanished_and_is_back() {
    their_machine_vanishes(2..4, [Say::Data(1), Say::End(1)], Duration::from_secs(10));
}

#[test]
fn a_detector_that_a_zeromq_source_connects_to_is_found_when_its_machine_has_vanished_and_is_back() {
    their_machine_vanishes(0..1, [Say::Data(1), Say::End(1)], Duration::from_secs(75));
}

#[test]
fn a_pandabox_that_has_vanished_is_found_when_it_is_back_under_its_address() {
    // It must be armed again; a scan may have several arms.
    their_machine_vanishes(1..2, [Say::Start(2), Say::Data(0)], Duration::from_secs(60));
}

#[test]
fn a_detector_whose_cable_is_out_for_good_is_given_up_and_hinders_no_end() {
    between(|network| {
        let mut beamline = Beamline::start(network, ALL);
        for (number, what) in [(0, Say::Start(1)), (1, Say::Data(0))] {
            let events = beamline.say(network, what);
            beamline.gets(number, &events);
        }
        // Sardana's connections end with each post.
        assert_eq!(connections_to_far(&beamline.host), 3);
        network.unplug();
        // After 30 s the kernel sends three keep-alive probes, 10 s apart.
        let ended = comes_within(Duration::from_secs(90), || (connections_to_far(&beamline.host) == 0).then_some(()));
        assert!(ended.is_some(), "{} connections are still there", connections_to_far(&beamline.host));
        let began = Instant::now();
        assert!(beamline.host.stop(LIMIT).success());
        assert!(began.elapsed() < Duration::from_secs(5), "it ends after {:?}", began.elapsed());
    });
}

#[test]
fn detectors_of_all_transports_behind_ten_megabits_get_everything_through() {
    between(|network| {
        network.slow("10mbit");
        let mut beamline = Beamline::start(network, ALL);
        let began = Instant::now();
        let all = iter::once(Say::Start(1)).chain((0..16).map(Say::Large)).chain([Say::End(1)]);
        for (number, what) in (0..).zip(all) {
            let events = beamline.say(network, what);
            beamline.gets(number, &events);
        }
        let (took, bits) = (began.elapsed(), 16 * 4 * LARGE * 8);
        assert!(took.as_secs_f64() > bits as f64 / 12e6, "{bits} bits through 10 Mbit/s in {took:?}");
    });
}

#[test]
fn a_detector_and_a_worker_behind_ten_megabits_get_everything_through() {
    between(|network| {
        network.slow("10mbit");
        let mut camera = network.far(|| detector::Detector::bind_at(FAR));
        let (folder, port) = (tempfile::tempdir().unwrap(), free_port());
        let (url, seen_from_far) = (format!("tcp://127.0.0.1:{port}"), format!("tcp://{HERE}:{port}"));
        let mut host = Host::start(folder.path(), &configuration(&url, &camera.url, &Wish::default()));
        let worker = network.far(|| Worker::connect("w1", &seen_from_far));
        host.wait_for("the worker", |ingester| ingester["workers"][0]["connected"] == true);
        let began = Instant::now();
        let sent: Vec<_> = (0..16u8).map(|image| vec![image; 256 << 10]).collect();
        thread::scope(|scope| {
            let sends = scope.spawn(|| camera.run(sent.clone()));
            assert!(images(&worker.until(is_end)) == sent);
            sends.join().unwrap();
        });
        let took = began.elapsed();
        assert!(took >= Duration::from_secs(3), "4 MiB through 10 Mbit/s in {took:?}");
        let counters = &host.ingester().unwrap()["counters"];
        assert_eq!((&counters["workers_evicted"], &counters["messages_lost"]), (&0.into(), &0.into()));
    });
}

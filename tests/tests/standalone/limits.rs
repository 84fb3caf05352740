//! Workers that are too slow, and the end of the program.

use std::{
    thread,
    time::{Duration, Instant},
};

use framegate_tests::{
    detector::Detector,
    framegate,
    host::Host,
    process::free_port,
    protocols::{self, Parts},
    standalone::{House, Wish, configuration, images, is_end, numbers},
    worker::Worker,
};

#[test]
fn a_stream_that_may_drop_keeps_the_places_of_what_it_drops() {
    let wish = Wish {
        ingester: "memory_limit = \"1 MiB\"\nstall_timeout = \"off\"",
        stream: "when_full = \"drop\"",
        ..Wish::default()
    };
    let mut house = House::new(&wish);
    let worker = house.stalled_worker("w1");
    house.detector.run((0..200u8).map(|image| vec![image; 100_000]));
    let full = house.host.wait_for("the drops", |ingester| {
        let camera = &ingester["streams"]["camera"]["since_start"];
        camera["read"] == 202 && camera["dropped"].as_u64() > Some(100)
    });
    // Counts since the start: the kept events may fit into the kernel's buffers, and then the next scan starts at once.
    let dropped = full["streams"]["camera"]["since_start"]["dropped"].as_u64().unwrap();
    worker.read(true);
    let got = worker.until(is_end);
    assert_eq!(numbers(&got), (0..202).collect::<Vec<_>>(), "none is missing, in order");
    let (kept, tombstones): (Vec<_>, Vec<_>) = got.iter().partition(|message| !message.frames.is_empty());
    assert_eq!(tombstones.len() as u64, dropped);
    assert!(tombstones.iter().all(|message| message.header()["streams"]["camera"]["length"] == 0));
    let kept: Vec<_> = kept.into_iter().filter(|message| message.frames.len() == 2).collect();
    assert!(kept.iter().all(|message| message.frames[1] == vec![message.number() as u8 - 1; 100_000]));
    let log = house.host.log();
    assert_eq!(log.lines().filter(|line| line.contains("WARN") && line.contains("drop")).count(), 1, "{log}");
}

#[test]
fn a_worker_that_does_not_read_costs_no_more_memory_than_the_limit() {
    const IMAGE: usize = 4 << 20;
    let wish = Wish {
        ingester: "memory_limit = \"64 MiB\"\nstall_timeout = \"off\"",
        settings: "receive_budget = \"16 MiB\"",
        ..Wish::default()
    };
    let mut house = House::new(&wish);
    let worker = house.stalled_worker("w1");
    let mut sent = 0u8;
    house.detector.header();
    while !house.detector.is_held_back_for(Duration::from_secs(1)) {
        house.detector.image(&vec![sent; IMAGE]);
        sent += 1;
        assert!(sent < 100, "400 MiB are somewhere");
    }
    let full = house.host.ingester().unwrap();
    let used = full["memory_used"].as_u64().unwrap();
    assert!((32 << 20..=72 << 20).contains(&used), "{used} bytes are in use");
    let peak = house.host.peak_memory();
    assert!(peak <= (64 << 20) + (100 << 20), "{peak} bytes were in use");
    worker.read(true);
    house.detector.end();
    let got = worker.until(is_end);
    assert!(images(&got).iter().zip(0u8..).all(|(image, number)| **image == vec![number; IMAGE]));
    assert_eq!(got.len(), usize::from(sent) + 2);
}

#[test]
fn a_detector_that_pings_keeps_its_connection_while_the_memory_is_full() {
    const IMAGE: usize = 100_000;
    let stins = protocols::ALL.into_iter().find(|protocol| protocol.name == "stins").unwrap();
    let detector = stins.socket();
    detector.set_heartbeat_ivl(50).unwrap();
    detector.set_heartbeat_timeout(1000).unwrap();
    let (folder, url, port) = (tempfile::tempdir().unwrap(), format!("tcp://127.0.0.1:{}", free_port()), free_port());
    let upstream = format!("tcp://127.0.0.1:{port}");
    detector.bind(&upstream).unwrap();
    let ingester = "memory_limit = \"1 MiB\"\nstall_timeout = \"off\"";
    let mut host = Host::start(folder.path(), &configuration(&url, &upstream, &Wish { ingester, ..Wish::default() }));
    let worker = Worker::stalled("w1", &url);
    host.wait_for("the worker", |ingester| ingester["workers"][0]["connected"] == true);
    let send = |messages: Vec<Parts>| messages.iter().for_each(|parts| detector.send_multipart(parts, 0).unwrap());
    let camera = |host: &Host| host.ingester().unwrap()["streams"]["camera"].take();
    send((stins.start)(0));
    // Until one is not read. It waits in the kernel, and the detector's pings behind it.
    let mut sent = 0..1000u32;
    let is_read = |host: &Host, events: u64| {
        let until = Instant::now() + Duration::from_secs(1);
        while Instant::now() < until {
            if camera(host)["since_start"]["read"].as_u64() >= Some(events) {
                return true;
            }
        }
        false
    };
    let last = sent.find(|number| {
        let mut messages = (stins.data)(*number, r#""x": 1"#);
        messages[0][1] = vec![7; IMAGE];
        send(messages);
        !is_read(&host, u64::from(*number) + 2)
    });
    // Three times as long as the detector waits for a sign of life.
    thread::sleep(Duration::from_secs(3));
    worker.read(true);
    let mut received = u64::from(last.unwrap()) + 2;
    let got: Vec<_> = (0..received).map(|_| worker.next().number()).collect();
    assert_eq!(got, (0..received).collect::<Vec<_>>());
    // If the connection had ended, this would come over another one.
    send((stins.data)(last.unwrap() + 1, r#""x": 1"#));
    received += 1;
    let all = host.wait_for("the last one", |all| all["streams"]["camera"]["received"]["messages"] == received);
    assert_eq!(all["streams"]["camera"]["received"]["disconnects"], 0);
}

#[test]
fn a_worker_that_pings_but_reads_nothing_is_given_up_and_the_others_go_on() {
    let wish = Wish {
        standalone: "min_workers = 2",
        ingester: "memory_limit = \"4 MiB\"\nstall_timeout = \"500 ms\"",
        ..Wish::default()
    };
    let mut house = House::new(&wish);
    let (reads, _stalled) = (house.worker("reads"), house.stalled_worker("stalled"));
    house.detector.run((0..60u8).map(|image| vec![image; 1 << 20]));
    let got = reads.until(is_end);
    assert!(images(&got).len() >= 30, "{} came", images(&got).len());
    let status = house.host.wait_for("the count", |ingester| ingester["counters"]["workers_evicted"] == 1);
    let dropped = status["counters"]["messages_dropped"].as_u64().unwrap();
    assert!(dropped > 0, "{status:#}");
    assert!(house.host.log().contains("it pings but reads nothing (stall_timeout)"));
}

#[test]
fn a_detector_that_never_ends_does_not_keep_the_program_from_ending() {
    let mut house = House::new(&Wish::default());
    let worker = house.worker("w1");
    house.detector.header();
    house.detector.image(&[7; 1000]);
    assert_eq!(images(&[worker.next(), worker.next()]).len(), 1);
    // The grace period is a second, and the end is promised within another second; the rest is for a busy machine.
    assert!(house.host.stop(Duration::from_secs(4)).success());
}

#[test]
fn however_small_the_limits_are_every_event_arrives_and_is_captured() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("capture.cbors");
    let ingester = format!(
        "memory_limit = 1\ncapture_limit = 1\ncapture_when_full = \"block\"\ndump_path = \"{}\"",
        path.display()
    );
    let wish = Wish { standalone: "scans = 1", ingester: &ingester, settings: "receive_budget = 1", ..Wish::default() };
    let mut house = House::new(&wish);
    let worker = house.worker("w1");
    let all: Vec<_> = [10, 100, 3000, 100_000, 3 << 20].iter().cycle().take(25).map(|bytes| vec![5; *bytes]).collect();
    let sent = all.clone();
    let detector = &mut house.detector;
    detector.run(sent);
    let got = worker.until(is_end);
    assert!(images(&got) == all, "{} messages", got.len());
    assert!(house.host.wait(Duration::from_secs(20)).success());
    assert!(std::fs::metadata(&path).unwrap().len() > 5 * (3 << 20));
}

/// Places of dropped events hold no memory: they must not keep the next event out.
#[test]
fn an_event_larger_than_its_share_passes_whenever_the_stream_holds_none() {
    let (folder, url) = (tempfile::tempdir().unwrap(), format!("tcp://127.0.0.1:{}", free_port()));
    let [mut large, mut small] = [Detector::bind(), Detector::bind()];
    let plugin = framegate::plugin("stins");
    let stream = |name: &str, more: &str, detector: &Detector| {
        format!(
            "[[ingester.stream]]\nname = \"{name}\"\nsource = \"{}\"\n{more}\nsettings.upstream_url = \"{}\"\n",
            plugin.display(),
            detector.url
        )
    };
    let configuration = format!(
        "[standalone]\n[[ingester]]\nurl = \"{url}\"\nmemory_limit = \"1 MiB\"\n{}{}",
        stream("large", "when_full = \"drop\"", &large),
        stream("small", "", &small)
    );
    let mut host = Host::start(folder.path(), &configuration);
    host.wait_for("the first scan", |ingester| ingester["state"] == "running");
    let worker = host.worker("w1", &url);
    large.header();
    small.header();
    assert_eq!(worker.next().number(), 0);
    // A worker may have a message a moment before the host has given its memory back.
    host.wait_for("the header's memory", |ingester| {
        ingester["streams"]["large"]["forwarded"] == 1 && ingester["memory_used"] == 0
    });
    // The share of a stream is a quarter of a MiB. The first is there, and two places.
    (0..3).for_each(|image| large.image(&vec![image; 300_000]));
    host.wait_for("the drops", |ingester| ingester["streams"]["large"]["dropped"] == 2);
    let passes = |image| {
        small.image(&[image; 10]);
        let message = worker.next();
        large.image(&vec![image; 300_000]);
        message.header()["streams"]["large"]["length"] == 2
    };
    let passed: Vec<_> = (0..20).map(passes).collect();
    assert!(passed[0] && passed[3..].contains(&true), "{passed:?}");
}

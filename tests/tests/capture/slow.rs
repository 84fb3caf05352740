//! A disk that is slow, or hangs: a named pipe.

use std::{fs, fs::File, io::Read, os::unix::fs::OpenOptionsExt, path::Path, thread, time::Duration};

use framegate_tests::{
    process::wait_for,
    standalone::{House, Wish, images, is_end},
    worker::LIMIT,
};
use nix::{
    fcntl::OFlag,
    sys::{signal::Signal, stat::Mode},
    unistd::mkfifo,
};

use crate::{read, read_whole};

/// A disk that writes nothing until the test reads: a named pipe, open at its other end.
fn slow_disk(folder: &Path) -> (String, File) {
    let path = folder.join("slow-disk");
    mkfifo(&path, Mode::S_IRWXU).unwrap();
    let mut options = File::options();
    let end = options.read(true).custom_flags(OFlag::O_NONBLOCK.bits()).open(&path).unwrap();
    (path.display().to_string(), end)
}

/// Makes the disk fast from now on; returns its data up to the writer's close.
fn drain(disk: File) -> std::thread::JoinHandle<Vec<u8>> {
    std::thread::spawn(move || {
        let mut disk = disk;
        let flags = nix::fcntl::FcntlArg::F_SETFL(OFlag::empty());
        nix::fcntl::fcntl(&disk, flags).unwrap();
        let mut all = Vec::new();
        disk.read_to_end(&mut all).unwrap();
        all
    })
}

/// Makes the disk take some 20 MB a second; returns its data up to the writer's close.
fn drain_slowly(mut disk: File) -> thread::JoinHandle<Vec<u8>> {
    thread::spawn(move || {
        nix::fcntl::fcntl(&disk, nix::fcntl::FcntlArg::F_SETFL(OFlag::empty())).unwrap();
        let (mut all, mut piece) = (Vec::new(), vec![0; 64 << 10]);
        loop {
            match disk.read(&mut piece).unwrap() {
                0 => return all,
                n => all.extend_from_slice(&piece[..n]),
            }
            // The disk is slow: that is what is tested.
            thread::sleep(Duration::from_millis(3));
        }
    })
}

#[test]
fn a_slow_disk_has_the_grace_of_a_stop_and_the_capture_ends_with_a_whole_event() {
    for (grace, images, bytes, is_whole) in
        [("20 s", 100, 1 << 20, true), ("20 s", 4, 24 << 20, true), ("100 ms", 100, 1 << 20, false)]
    {
        let folder = tempfile::tempdir().unwrap();
        let (path, disk) = slow_disk(folder.path());
        let (ingester, top) = (format!("dump_path = \"{path}\""), format!("shutdown_grace = \"{grace}\""));
        let mut house = House::new(&Wish { top: &top, ingester: &ingester, ..Wish::default() });
        let worker = house.worker("w1");
        house.detector.header();
        (0..images).for_each(|image| house.detector.image(&vec![image; bytes]));
        (0..=images).for_each(|_| drop(worker.next()));
        let draining = drain_slowly(disk);
        house.host.signal(Signal::SIGTERM);
        assert!(house.host.wait(LIMIT).success());
        let bytes = draining.join().unwrap();
        let (events, rest) = read_whole(&bytes);
        let (events, log) = (events.len(), house.host.log());
        if is_whole {
            assert_eq!((events, rest.len()), (1 + usize::from(images), 0), "{log}");
        } else {
            // A file would be cut behind the last whole event, a pipe cannot be.
            assert!((1..101).contains(&events), "{events}");
            assert!(log.contains(&format!("has {events} events, {} were not written", 101 - events)), "{log}");
        }
        assert!(!log.contains("hangs"), "{log}");
    }
}

/// Events that are collected for the disk are not a sign that it is slow.
#[test]
fn a_small_capture_limit_takes_no_fast_disk_for_a_slow_one() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("capture.cbors");
    let ingester =
        format!("dump_path = \"{}\"\ncapture_limit = \"200 KB\"\ncapture_when_full = \"close\"", path.display());
    let mut house = House::new(&Wish { standalone: "scans = 1", ingester: &ingester, ..Wish::default() });
    let worker = house.worker("w1");
    house.detector.header();
    for image in 0..500 {
        house.detector.image(&[image as u8; 1000]);
        drop(worker.next());
    }
    house.detector.end();
    assert_eq!(worker.until(is_end).len(), 2);
    assert!(house.host.wait(LIMIT).success());
    assert_eq!(read(&fs::read(path).unwrap()).len(), 502, "{}", house.host.log());
}

#[test]
fn a_slow_disk_makes_the_capture_thin_and_what_is_in_it_is_whole() {
    let folder = tempfile::tempdir().unwrap();
    let (path, disk) = slow_disk(folder.path());
    let ingester = format!("dump_path = \"{path}\"\ncapture_limit = \"500 KB\"");
    let mut house = House::new(&Wish { standalone: "scans = 1", ingester: &ingester, ..Wish::default() });
    let worker = house.worker("w1");
    house.detector.header();
    (0..50).for_each(|image| house.detector.image(&[image; 100_000]));
    let got: Vec<_> = (0..51).map(|_| worker.next()).collect();
    assert_eq!(images(&got).len(), 50, "forwarding goes on");
    let status = house.host.wait_for("the count", |ingester| ingester["capture"]["not_written"].as_u64() > Some(40));
    assert!(status["capture"]["fault"].is_null(), "{status}");
    let thinned = status["capture"]["not_written"].as_u64().unwrap();
    let draining = drain(disk);
    house.host.wait_for("the disk", |ingester| {
        let capture = &ingester["capture"];
        capture["written"].as_u64().unwrap() + capture["not_written"].as_u64().unwrap() == 51
    });
    house.detector.end();
    assert!(is_end(&worker.next()));
    assert!(house.host.wait(LIMIT).success());
    let events = read(&draining.join().unwrap());
    assert_eq!(events.len() as u64, 52 - thinned);
    for (number, streams) in &events[1..events.len() - 1] {
        assert_eq!(streams[0].2[1], vec![*number as u8 - 1; 100_000]);
    }
    let log = house.host.log();
    assert_eq!(log.lines().filter(|line| line.contains("leaves out events")).count(), 1, "{log}");
    assert!(log.contains(&format!("has {} events, {thinned} were not written", events.len())), "{log}");
}

#[test]
fn a_capture_may_be_closed_when_its_disk_is_slow() {
    let folder = tempfile::tempdir().unwrap();
    let (path, disk) = slow_disk(folder.path());
    let ingester = format!("dump_path = \"{path}\"\ncapture_limit = \"500 KB\"\ncapture_when_full = \"close\"");
    let mut house = House::new(&Wish { standalone: "scans = 1", ingester: &ingester, ..Wish::default() });
    let worker = house.worker("w1");
    house.detector.header();
    (0..50).for_each(|image| house.detector.image(&[image; 100_000]));
    (0..51).for_each(|_| drop(worker.next()));
    let status = house.host.wait_for("the end of the capture", |ingester| !ingester["capture"]["fault"].is_null());
    let reason = status["capture"]["fault"].as_str().unwrap();
    assert!(reason.contains("too slow") && reason.contains("capture_limit"), "{reason}");
    let draining = drain(disk);
    house.detector.end();
    assert!(is_end(&worker.next()));
    assert!(house.host.wait(LIMIT).success());
    let bytes = draining.join().unwrap();
    let (events, _cut) = read_whole(&bytes);
    assert!((1..12).contains(&events.len()), "{} events", events.len());
}

#[test]
fn a_capture_may_hold_back_forwarding_and_then_nothing_is_missing() {
    let folder = tempfile::tempdir().unwrap();
    let (path, disk) = slow_disk(folder.path());
    let ingester = format!(
        "dump_path = \"{path}\"\ncapture_limit = \"500 KB\"\ncapture_when_full = \"block\"\nmemory_limit = \"2 MiB\""
    );
    let wish = Wish {
        standalone: "scans = 1",
        ingester: &ingester,
        settings: "receive_budget = \"1 MiB\"",
        ..Wish::default()
    };
    let mut house = House::new(&wish);
    let worker = house.worker("w1");
    let mut sent = 0;
    house.detector.header();
    while !house.detector.is_held_back_for(Duration::from_millis(700)) {
        house.detector.image(&[sent; 100_000]);
        sent += 1;
        assert!(sent < 200, "nothing is held back");
    }
    let mut got = Vec::new();
    while let Some(message) = worker.within(Duration::from_millis(500)) {
        got.push(message);
    }
    assert!(got.len() < 12, "{} events were forwarded beside a full capture", got.len());
    let draining = drain(disk);
    house.detector.end();
    got.extend(worker.until(is_end));
    assert_eq!(images(&got).len(), usize::from(sent));
    assert!(house.host.wait(LIMIT).success());
    assert_eq!(read(&draining.join().unwrap()).len(), usize::from(sent) + 2);
}

#[test]
fn a_stop_waits_for_a_disk_that_holds_back_forwarding() {
    let folder = tempfile::tempdir().unwrap();
    let (path, disk) = slow_disk(folder.path());
    let ingester = format!(
        "dump_path = \"{path}\"\ncapture_limit = \"500 KB\"\ncapture_when_full = \"block\"\nmemory_limit = \"4 MiB\""
    );
    let wish = Wish { top: "shutdown_grace = \"20 s\"", ingester: &ingester, ..Wish::default() };
    let mut house = House::new(&wish);
    let worker = house.worker("w1");
    house.detector.header();
    (0..15).for_each(|image| house.detector.image(&[image; 100_000]));
    house.host.wait_for("the events", |ingester| {
        ingester["streams"]["camera"]["read"] == 16 && ingester["processed_events"].as_u64() < Some(12)
    });
    house.host.signal(Signal::SIGTERM);
    let stops = || house.host.log().contains("stopping; delivering");
    wait_for("the stop", LIMIT, || stops().then_some(()));
    let draining = drain(disk);
    let got: Vec<_> = (0..16).map(|_| worker.next()).collect();
    assert_eq!(images(&got).len(), 15);
    assert!(house.host.wait(LIMIT).success());
    assert_eq!(read(&draining.join().unwrap()).len(), 16);
}

#[test]
fn a_disk_that_hangs_takes_no_room_from_the_workers_whatever_the_limits_and_the_size_of_frames() {
    const IMAGE: usize = 1 << 20;
    // Memory limits for messages and for the capture, bytes of an image, and number of images.
    let cases = [
        ("900 KB", "500 KB", 100_000, 60),
        ("900 KB", "500 KB", IMAGE, 8),
        ("900 KB", "256 MiB", 100_000, 60),
        ("64 MiB", "256 MiB", IMAGE, 60),
        ("100 KB", "256 MiB", 100, 2000),
        ("1 GiB", "256 MiB", 5000, 500),
    ];
    for (policy, (memory, capture, bytes, images)) in
        ["thin", "close"].iter().flat_map(|policy| cases.map(|case| (policy, case)))
    {
        let case = format!("{policy}, memory_limit {memory}, capture_limit {capture}, images of {bytes} bytes");
        let folder = tempfile::tempdir().unwrap();
        let (path, _disk) = slow_disk(folder.path());
        let ingester = format!(
            "dump_path = \"{path}\"\nmemory_limit = \"{memory}\"\ncapture_limit = \"{capture}\"\ncapture_when_full = \"{policy}\""
        );
        let mut house = House::new(&Wish { ingester: &ingester, ..Wish::default() });
        let worker = house.worker("w1");
        house.detector.header();
        assert_eq!(worker.next().frames.len(), 1);
        for image in 0..images {
            house.detector.image(&vec![image as u8; bytes]);
            let message = worker.within(LIMIT).unwrap_or_else(|| panic!("{case}: {image} of {images} images arrived"));
            assert!(message.frames[1] == vec![image as u8; bytes], "{case}: image {image}");
        }
        // The memory for workers is free again, while the disk still has data waiting.
        let status = house.host.wait_for(&case, |ingester| {
            ingester["memory_used"] == 0 && ingester["capture"]["bytes_waiting"].as_u64() > Some(0)
        });
        assert_eq!(status["counters"]["workers_evicted"], 0, "{case}");
        assert!(house.host.stop(LIMIT).success(), "{case}");
    }
}

#[test]
fn a_disk_that_hangs_at_a_scans_end_is_told_once() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("hangs");
    mkfifo(&path, Mode::S_IRWXU).unwrap();
    let ingester = format!("dump_path = \"{}\"", path.display());
    let mut house = House::new(&Wish { ingester: &ingester, ..Wish::default() });
    let first = house.host.ingester().unwrap()["ready"].take();
    let worker = house.worker("w1");
    house.detector.run([vec![1; 10]]);
    assert_eq!(worker.until(is_end).len(), 3);
    house.host.wait_for("the next scan", |ingester| ingester["ready"] != first && ingester["state"] == "running");
    let log = house.host.log();
    let lines: Vec<_> = log.lines().filter(|line| line.contains("disk")).collect();
    assert!(matches!(lines[..], [line] if line.contains("ERROR") && line.contains("after waiting 2s for it")), "{log}");
    assert!(house.host.stop(LIMIT).success());
}

#[test]
fn a_disk_that_hangs_delays_the_end_by_no_more_than_its_time() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("hangs");
    // No reader: opening it waits for ever.
    mkfifo(&path, Mode::S_IRWXU).unwrap();
    let ingester = format!("dump_path = \"{}\"", path.display());
    let mut house = House::new(&Wish { ingester: &ingester, ..Wish::default() });
    let worker = house.worker("w1");
    house.detector.run([vec![1; 10]]);
    assert_eq!(worker.until(is_end).len(), 3);
    assert!(house.host.stop(Duration::from_secs(4)).success());
}

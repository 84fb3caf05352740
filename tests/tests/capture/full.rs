//! A disk that is full or not writable.

use std::{fs, process::Command};

use framegate_tests::{
    framegate,
    process::limit,
    standalone::{House, Wish, images, is_end},
    worker::LIMIT,
};

use crate::{Beamline, Gets, read};

/// Asserts that a capture that fails from its beginning affects nothing else, and is reported once, with a reason.
fn fails_from_the_beginning(path: &str, reason: &str) {
    let ingester = format!("dump_path = \"{path}\"");
    let mut house = House::new(&Wish { standalone: "scans = 1", ingester: &ingester, ..Wish::default() });
    let worker = house.worker("w1");
    house.detector.header();
    (0..20).for_each(|image| house.detector.image(&[image; 100_000]));
    let got: Vec<_> = (0..21).map(|_| worker.next()).collect();
    assert_eq!(images(&got), (0..20).map(|image| vec![image; 100_000]).collect::<Vec<_>>());
    let status = house.host.wait_for("the count", |ingester| ingester["capture"]["not_written"] == 21);
    let capture = &status["capture"];
    assert_eq!(capture["written"], 0, "{capture}");
    assert!(capture["fault"].as_str().unwrap().contains(reason), "{capture}");
    house.detector.end();
    assert!(is_end(&worker.next()), "forwarding goes on to the end");
    assert!(house.host.wait(LIMIT).success());
    let log = house.host.log();
    let lines: Vec<_> = log.lines().filter(|line| line.contains(reason)).collect();
    assert!(matches!(lines[..], [line] if line.contains("ERROR") && line.contains(path)), "{log}");
}

#[test]
fn a_full_disk_ends_the_capture_and_nothing_else() {
    fails_from_the_beginning("/dev/full", "No space left on device");
}

#[test]
fn a_path_that_cannot_be_written_ends_the_capture_and_nothing_else() {
    fails_from_the_beginning("/proc/no/such/folder/capture.cbors", "No such file or directory");
    fails_from_the_beginning("/proc/version/capture.cbors", "Not a directory");
}

/// Images for a capture of 2 MB.
fn large() -> impl Iterator<Item = Vec<u8>> {
    (0..20).map(|image| vec![image; 100_000])
}

/// Asserts that a capture larger than its disk ends with its last complete event and affects nothing else, and that the
/// next capture is complete. `root` is the process's root folder, as this test sees it.
fn outgrows(mut beamline: Beamline, prefix: &str, root: &str, reason: &str) {
    beamline.capture_to(prefix);
    let (scan, got) = beamline.scan(large(), Gets::All);
    assert_eq!(images(&got), large().collect::<Vec<_>>());
    let capture = beamline.capture();
    assert!(capture["fault"].as_str().unwrap().contains(reason), "{capture}");
    let (written, not) = (capture["written"].as_u64().unwrap(), capture["not_written"].as_u64().unwrap());
    assert!(written > 2 && written + not == 22, "{capture}");
    let file = |scan| format!("{root}{prefix}{}-{scan}.cbors", crate::NAME);
    assert_eq!(read(&fs::read(file(scan)).unwrap()).len() as u64, written);
    // Frees disk space.
    fs::remove_file(file(scan)).unwrap();
    let (scan, got) = beamline.scan([vec![7; 100_000]], Gets::All);
    assert_eq!(got.len(), 3);
    assert_eq!(read(&fs::read(file(scan)).unwrap()).len(), 3);
    assert!(beamline.capture()["fault"].is_null());
    assert!(beamline.host.stop(LIMIT).success());
}

#[test]
fn a_file_that_may_not_grow_further_ends_its_capture_and_nothing_else() {
    let beamline = Beamline::start("", |command| command);
    limit(beamline.host.id(), "fsize", Some(1_000_000));
    let prefix = format!("{}/run-", beamline.folder.path().display());
    outgrows(beamline, &prefix, "", "File too large");
}

#[test]
fn a_disk_that_fills_up_ends_its_capture_and_nothing_else() {
    // A separate disk that only the process sees.
    let alone = ["--user", "--map-root-user", "--mount"];
    if !Command::new("unshare").args(alone).arg("true").status().is_ok_and(|status| status.success()) {
        return framegate_skip::skip("this machine does not let a user mount a disk");
    }
    let folder = tempfile::tempdir().unwrap();
    let disk = folder.path().display();
    let inside = format!("mount -t tmpfs -o size=1m none {disk} || exit 1; exec \"$0\" \"$@\"");
    let script = format!("exec unshare {} sh -c '{inside}' \"$0\" \"$@\"", alone.join(" "));
    let beamline = Beamline::start("", |command| framegate::after(&script, &command));
    let root = format!("/proc/{}/root", beamline.host.id());
    outgrows(beamline, &format!("{disk}/run-"), &root, "No space left on device");
}

//! With `capture_root` no capture is written outside of that folder, regardless of `dump_prefix` and `dump_path`.

use std::{fs, os::unix::fs::symlink, path::Path};

use framegate_tests::{
    process::wait_for,
    standalone::{House, Wish, is_end},
    worker::LIMIT,
};

use crate::{Beamline, Gets, NAME, read};

const COUNTER: &str = "captures_refused";

fn entries(folder: &Path) -> usize {
    fs::read_dir(folder).unwrap().count()
}

#[test]
fn no_dump_prefix_leads_a_capture_out_of_capture_root() {
    let place = tempfile::tempdir().unwrap();
    let (root, outside) = (place.path().join("root"), place.path().join("outside"));
    for folder in [root.join("day"), outside.clone()] {
        fs::create_dir_all(folder).unwrap();
    }
    symlink(&outside, root.join("link")).unwrap();
    let mut beamline = Beamline::start(&format!("capture_root = \"{}\"", root.display()), |command| command);

    let shown = outside.display();
    let prefixes = [
        format!("{shown}/"),
        "../outside/".into(),
        "day/../../outside/".into(),
        "link/".into(),
        format!("{}/../outside/", root.display()),
    ];
    for (number, prefix) in prefixes.iter().enumerate() {
        beamline.capture_to(prefix);
        let (scan, got) = beamline.scan([vec![1; 1000]], Gets::All);
        assert_eq!(got.len(), 3, "{prefix}: forwarding goes on");
        let capture = beamline.capture();
        assert!(capture["fault"].as_str().unwrap().contains("(capture_root)"), "{prefix}: {capture}");
        assert_eq!((&capture["written"], &capture["not_written"]), (&0.into(), &3.into()), "{prefix}");
        beamline.host.wait_for("the count", |ingester| ingester["counters"][COUNTER].as_u64() > Some(number as u64));
        let log = beamline.host.log();
        let path = format!("capture {prefix}{NAME}-{scan}.cbors ");
        let lines: Vec<_> = log.lines().filter(|line| line.contains(&path)).collect();
        assert!(matches!(lines[..], [line] if line.contains("ERROR") && line.contains("capture_root")), "{log}");
    }
    assert_eq!(entries(&outside), 0);
    // Captures inside work as usual: relative paths begin at the root.
    for (prefix, folder) in [("day/run-".to_owned(), root.join("day")), (format!("{}/", root.display()), root.clone())]
    {
        beamline.capture_to(&prefix);
        let before = entries(&folder);
        let (scan, _) = beamline.scan([vec![1; 1000]], Gets::All);
        assert!(beamline.capture()["fault"].is_null(), "{prefix}");
        assert_eq!(entries(&folder), before + 1, "{prefix}");
        let file = wait_for("the capture", LIMIT, || {
            let files = fs::read_dir(&folder).unwrap().map(|file| file.unwrap().path());
            files.into_iter().find(|file| file.display().to_string().contains(&scan.to_string()))
        });
        assert_eq!(read(&fs::read(file).unwrap()).len(), 3);
    }
    assert!(beamline.host.stop(LIMIT).success());
}

#[test]
fn a_dump_path_outside_of_capture_root_is_refused_and_costs_nothing_else() {
    let place = tempfile::tempdir().unwrap();
    let root = place.path().join("root");
    fs::create_dir(&root).unwrap();
    let outside = place.path().join("capture.cbors");
    let ingester = format!("dump_path = \"{}\"", outside.display());
    let top = format!("capture_root = \"{}\"", root.display());
    let wish = Wish { top: &top, standalone: "scans = 1", ingester: &ingester, ..Wish::default() };
    let mut house = House::new(&wish);
    let worker = house.worker("w1");
    house.detector.run([vec![1; 10]]);
    assert_eq!(worker.until(is_end).len(), 3);
    assert!(house.host.wait(LIMIT).success());
    assert!(house.host.log().contains("its path leads out of"), "{}", house.host.log());
    assert!(!outside.exists());
}

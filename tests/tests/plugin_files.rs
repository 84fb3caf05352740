//! Plugin files between the request and the loading: files that are replaced meanwhile, and what a refusal leaves
//! behind.

#![allow(clippy::unwrap_used, reason = "these are tests, helpers included")]

use std::{
    fs,
    os::unix::fs::{chown, symlink},
    path::{Path, PathBuf},
    sync::atomic::{AtomicBool, Ordering},
    thread,
};

use framegate_tests::{
    alone::{bad_plugin, bad_plugin_in_c, marked},
    host::{Host, LIMIT},
    process::{free_port, wait_for},
    soak::growth::Sample,
};
use nix::{sys::stat::Mode, unistd::mkfifo};
use serde_json::{Value, json};
use tempfile::TempDir;

/// A user who is neither root nor the host's user.
const STRANGER: u32 = 65534;

/// A host whose stream `camera` is fed by version 1.0.0 of `marked`. There is no worker, so its scan never ends.
struct House {
    host: Host,
    folder: TempDir,
}

impl House {
    /// Starts it with further lines at the top of the configuration.
    fn with(more: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let url = format!("tcp://127.0.0.1:{}", free_port());
        let mut host = Host::start(
            folder.path(),
            &format!(
                "{more}\n[standalone]\n[[ingester]]\nurl = \"{url}\"\n[[ingester.stream]]\nname = \"camera\"\n\
                 source = \"{}\"\nsettings = {{ events = 10 }}\n",
                marked("1.0.0").display()
            ),
        );
        host.wait_for("the start", |ingester| ingester["state"].is_string());
        Self { host, folder }
    }

    /// Requests a swap over HTTP, as any user of the machine can; returns its receipt when the source is created or
    /// refused.
    fn swap(&self, source: &str, settings: Option<Value>) -> Value {
        let url = format!("http://{}/swaps", self.host.admin());
        let mut request = json!({ "stream": "camera", "source": source });
        if let Some(settings) = settings {
            request["settings"] = settings;
        }
        let receipt: Value = ureq::post(&url).send_json(&request).unwrap().body_mut().read_json().unwrap();
        let number = &receipt["number"];
        wait_for(&format!("swap {number} of {source}"), LIMIT, || {
            let receipt: Value = serde_json::from_str(&self.host.get(&format!("/swaps/{number}")).ok()?).unwrap();
            (receipt["state"] != "making").then_some(receipt)
        })
    }

    /// Writes a file with this name and content.
    fn file(&self, name: &str, content: &[u8]) -> PathBuf {
        let path = self.folder.path().join(name);
        fs::write(&path, content).unwrap();
        path
    }

    fn generations(&self) -> Vec<Value> {
        self.host.status().unwrap()["generations"].as_array().unwrap().clone()
    }
}

/// Whether this test may change a file's owner.
fn is_root(file: &Path) -> bool {
    let is_root = chown(file, Some(STRANGER), None).is_ok();
    if !is_root {
        framegate_skip::skip("only root can give files away");
    }
    is_root
}

/// Atomically replaces the file at a path, again and again, until `stop` is set.
fn exchange(path: &Path, foreign: &Path, of_root: &Path, stop: &AtomicBool) {
    let next = path.with_extension("next");
    while !stop.load(Ordering::Relaxed) {
        for turn in 0..3 {
            match turn {
                0 => fs::hard_link(foreign, &next).unwrap(),
                1 => symlink(of_root, &next).unwrap(),
                _ => mkfifo(&next, Mode::S_IRWXU).unwrap(),
            }
            fs::rename(&next, path).unwrap();
            // Renaming does nothing if both names are the same file, so `next` is removed.
            let _ = fs::remove_file(&next);
        }
    }
}

#[test]
fn a_file_that_is_exchanged_while_it_is_read_is_never_loaded() {
    let house = House::with("");
    // Takes some time to read.
    let mut content = fs::read(marked("2.0.0")).unwrap();
    content.resize(content.len() + (16 << 20), 0);
    let foreign = house.file("foreign.so", &content);
    if !is_root(&foreign) {
        return;
    }
    let of_root = house.file("root.so", &fs::read(marked("3.0.0")).unwrap());
    let theirs = house.folder.path().join("theirs");
    fs::create_dir(&theirs).unwrap();
    chown(&theirs, Some(STRANGER), None).unwrap();
    let (path, stop) = (theirs.join("libx.so"), AtomicBool::new(false));
    let (mut taken, mut refused) = (0, 0);
    thread::scope(|scope| {
        let exchanging = scope.spawn(|| exchange(&path, &foreign, &of_root, &stop));
        let asked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            wait_for("the first file", LIMIT, || path.exists().then_some(()));
            for _ in 0..200 {
                let receipt = house.swap(path.to_str().unwrap(), None);
                match receipt["state"].as_str().unwrap() {
                    "refused" => refused += 1,
                    _ => {
                        taken += 1;
                        assert_eq!(receipt["to"]["version"], "3.0.0", "{receipt:#}");
                    }
                }
            }
        }));
        stop.store(true, Ordering::Relaxed);
        exchanging.join().unwrap();
        asked.unwrap_or_else(|panic| std::panic::resume_unwind(panic));
    });
    assert!(taken > 0 && refused > 0, "it was exchanged at other moments too: {taken} taken, {refused} refused");
    let generations = house.generations();
    assert!(generations.len() == 2, "{generations:#?}");
}

#[test]
fn a_refusal_leaves_nothing_behind_whatever_refused_it() {
    let rounds: u64 = std::env::var("FRAMEGATE_REFUSALS").map_or(10, |rounds| rounds.parse::<u64>().unwrap() / 8);
    let house = House::with("max_generations = 2\nprobe = true");
    let good = fs::read(marked("2.0.0")).unwrap();
    let foreign = house.file("libforeign.so", &good);
    if !is_root(&foreign) {
        return;
    }
    let of = |case: &str| fs::read(bad_plugin(case)).unwrap();
    let crashing = fs::read(bad_plugin_in_c("crashes_when_loaded", house.folder.path())).unwrap();
    let (no_note, old, symbol) = (of("no_note"), of("other_abi_version"), of("missing_symbol"));
    let cases: [(&str, &[u8], &str, Option<Value>); 8] = [
        ("libforeign.so", &good, "FG-ABI-WRITABLE", None),
        ("libpinned.so", &good, "FG-ABI-HASH", None),
        ("libold.so", &old, "FG-ABI-VERSION", None),
        ("libnote.so", &no_note, "FG-ABI-NOTE", None),
        ("libdamaged.so", &good[..good.len() / 2], "FG-ABI-DAMAGED", None),
        ("libcrashing.so", &crashing, "FG-ABI-CRASH", None),
        ("libsymbol.so", &symbol, "FG-ABI-LOAD", None),
        ("libsettings.so", &good, "mark: it is wrong", Some(json!({ "events": 10, "mark": "wrong" }))),
    ];
    let round = |number: u64| {
        for (name, content, says, settings) in &cases {
            // Bytes after the sections make the content different, without any other effect.
            let path = house.file(name, &[content, &number.to_le_bytes()[..]].concat());
            let pin = if *name == "libpinned.so" { format!("#sha256:{}", "0".repeat(64)) } else { String::new() };
            let receipt = house.swap(&format!("{}{pin}", path.display()), settings.clone());
            let problem = receipt["problem"].as_str().unwrap_or_default();
            assert!(receipt["state"] == "refused" && problem.contains(says), "{says}: {receipt:#}");
        }
    };
    // Resources used for the first time are kept.
    (0..3).for_each(round);
    let before = Sample::of(house.host.id()).unwrap();
    (3..3 + rounds).for_each(round);
    let after = wait_for("threads and descriptors as before", LIMIT, || {
        let after = Sample::of(house.host.id()).unwrap();
        (after.threads <= before.threads && after.descriptors <= before.descriptors).then_some(after)
    });
    println!("{before:?}\n{after:?}");
    let grown = after.memory + after.files - before.memory - before.files;
    assert!(grown < 4096.0, "{} refusals cost {grown} KiB", 8 * rounds);
    let generations = house.generations();
    assert_eq!(generations.len(), 1, "{generations:#?}");
    let receipt = house.swap(marked("3.0.0").to_str().unwrap(), None);
    assert_eq!((&receipt["state"], &receipt["to"]["version"]), (&json!("pending"), &json!("3.0.0")), "{receipt:#}");
}

//! Swaps under a real controller, with real workers, and one simulated worker that reads none of its messages. Between
//! scans there is a swap to another version of the plugin, or to a plugin that is refused.
//!
//! `FRAMEGATE_SWAPS=200` is the number of scans.

#![allow(clippy::unwrap_used, reason = "these are tests, helpers included")]

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

use framegate_tests::{
    alone::{bad_plugin, marked},
    holder::Holder,
    host::{Host, LIMIT},
    process::{free_port, wait_for},
    python::{Dranspose, Received, past_its_own_race},
    redis::RedisServer,
    worker::Message,
};
use serde_json::{Value, json};
use tempfile::TempDir;

/// The stream, and the events between the first and the last of a run.
const STREAM: &str = "camera";
const IMAGES: usize = 20;
const WORKERS: [&str; 2] = ["w1", "w2"];

/// Scans until all permanent resources exist: threads, buffers, the copies of the plugins.
const WARM_UP: usize = 8;
/// Scans until the network's own buffers are full, so that the rest of the holder's messages stays in the ingester.
const HOLDS_AFTER: usize = 5;
/// Maximum cost of a generation (the size of its file), and the usual variation of a busy process.
const GENERATION_KIB: u64 = 3 * 1024;
const VARIES_KIB: u64 = 8 * 1024;

/// The resources of the process.
#[derive(Debug, Clone, Copy)]
struct Footprint {
    threads: usize,
    descriptors: usize,
    memory_kib: u64,
    generations: usize,
    held_kib: u64,
}

struct Beamline {
    dranspose: Dranspose,
    host: Host,
    holder: Holder,
    folder: TempDir,
    _redis: RedisServer,
}

impl Beamline {
    fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let redis = RedisServer::start();
        let url = format!("tcp://127.0.0.1:{}", free_port());
        let mut host = Host::start(
            folder.path(),
            &format!(
                "redis = \"{}\"\nsource_timeout = \"5 s\"\n[[ingester]]\nurl = \"{url}\"\n\
                 [[ingester.stream]]\nname = \"{STREAM}\"\nsource = \"{}\"\nsettings = {}\n",
                redis.url(),
                marked("1.0.0").display(),
                toml::Value::try_from(settings(0)).unwrap()
            ),
        );
        host.wait_for("the start", |ingester| ingester["state"] == "idle");
        let dranspose = Dranspose::start(&redis.url(), &WORKERS, folder.path());
        dranspose.wait_for_stream(STREAM);
        let holder = Holder::start("holder", "w1", &url, &redis);
        host.wait_for("the holder", |ingester| ingester["workers"].to_string().contains("holder"));
        wait_for("the controller to know the holder", LIMIT, || {
            let workers = dranspose.config()?["workers"].take();
            let joined = |worker: &Value| worker["mapping_uuid"].is_string() && worker["ingesters"][0].is_object();
            let workers = workers.as_array()?;
            (workers.len() == WORKERS.len() + 1 && workers.iter().all(joined)).then_some(())
        });
        Self { dranspose, host, holder, folder, _redis: redis }
    }

    /// Requests a swap; an error is the reason for a refusal.
    fn swap(&self, plugin: &str, settings: &Value) -> Result<(), String> {
        let output = self.host.swap(&[STREAM, plugin, "--settings", &settings.to_string()]);
        if output.status.success() { Ok(()) } else { Err(String::from_utf8(output.stderr).unwrap()) }
    }

    fn footprint(&self) -> Footprint {
        let process = PathBuf::from(format!("/proc/{}", self.host.id()));
        let status = fs::read_to_string(process.join("status")).unwrap();
        let memory = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
        let state = self.host.status().unwrap();
        let workers = state["ingesters"][0]["workers"].as_array().unwrap();
        Footprint {
            threads: fs::read_dir(process.join("task")).unwrap().count(),
            descriptors: fs::read_dir(process.join("fd")).unwrap().count(),
            memory_kib: memory.trim().trim_end_matches(" kB").parse().unwrap(),
            generations: state["generations"].as_array().unwrap().len(),
            held_kib: workers.iter().map(|worker| worker["begun"].as_u64().unwrap() / 1024).sum(),
        }
    }
}

/// `mark` is the number of the swap that created the source. Frames are large enough not to be copied, and fill the
/// network's own buffers.
fn settings(mark: usize) -> Value {
    json!({ "events": IMAGES + 2, "bytes": 5000, "outer_bytes": 512 << 10, "mark": mark.to_string() })
}

/// Plugins that are refused, each for another reason: the file, its settings, and part of the refusal.
fn refused(folder: &Path) -> Vec<(String, Value, &'static str)> {
    let path = |path: PathBuf| path.to_str().unwrap().to_owned();
    let whole = fs::read(marked("2.0.0")).unwrap();
    let truncated = folder.join("libtruncated.so");
    fs::write(&truncated, &whole[..whole.len() / 2]).unwrap();
    let pinned = format!("{}#sha256:{}", marked("2.0.0").display(), "0".repeat(64));
    let none = || json!({});
    vec![
        (path(bad_plugin("no_note")), none(), "FG-ABI-NOTE"),
        (path(truncated), none(), "FG-ABI-DAMAGED"),
        (path(bad_plugin("changed_layout")), none(), "FG-ABI-LAYOUT"),
        (path(bad_plugin("missing_symbol")), none(), "FG-ABI-LOAD"),
        (path(bad_plugin("panics_in_create")), none(), "FG-ABI-PANIC"),
        (path(folder.join("libnowhere.so")), none(), "FG-ABI-FIND"),
        (path(marked("2.0.0")), json!({ "events": "many" }), "settings.events: invalid type"),
        (path(bad_plugin("other_abi_version")), none(), "FG-ABI-VERSION"),
        (pinned, none(), "FG-ABI-HASH"),
        (path(bad_plugin("opted_out")), none(), "FG-ABI-OPTED-OUT"),
    ]
}

/// The event's version, and its swap, run and number.
fn about(frame: &[u8]) -> (String, Key) {
    let about: Value = serde_json::from_slice(frame).unwrap();
    let text = |key: &str| about[key].as_str().unwrap().to_owned();
    let number = |key: &str| about[key].as_u64().unwrap();
    (text("version"), (text("mark"), number("run"), number("event")))
}

type Key = (String, u64, u64);

fn unhex(text: &str) -> Vec<u8> {
    (0..text.len()).step_by(2).map(|at| u8::from_str_radix(&text[at..at + 2], 16).unwrap()).collect()
}

/// Checks the events of the real workers in a scan: each has the right version and number. Returns how often each event
/// was received.
fn check(received: &[Received], version: &str, mark: usize, run: u64) -> BTreeMap<Key, usize> {
    let mut seen = BTreeMap::new();
    for message in received {
        let (found, key) = about(&unhex(&message.frames[0]));
        assert_eq!(found, version, "event {} of scan {}", message.event, message.scan);
        assert_eq!(key, (mark.to_string(), run, message.event), "{}", message.scan);
        *seen.entry(key).or_default() += 1;
    }
    seen
}

#[test]
fn no_event_is_lost_or_doubled_or_of_the_wrong_version_and_nothing_grows() {
    past_its_own_race(swap_between_scans);
}

fn swap_between_scans() {
    let scans: usize = std::env::var("FRAMEGATE_SWAPS").map_or(30, |scans| scans.parse().unwrap());
    let mut beamline = Beamline::start();
    let refused = refused(beamline.folder.path());
    let versions = ["1.0.0", "2.0.0"].map(|version| (version, marked(version)));
    // The current source: the version, the number of the swap that created it, and its scans since then.
    let (mut version, mut mark, mut run) = (0, 0, 0);
    let mut seen: BTreeMap<Key, usize> = BTreeMap::new();
    let mut base = None;
    let mut last_receipt = 0;
    for scan in 0..scans {
        let uuid = beamline.dranspose.start_scan(STREAM, IMAGES);
        run += 1;
        let (expected, expected_mark, expected_run) = (versions[version].0, mark, run);
        let swap = |version: &mut usize, mark: &mut usize, run: &mut u64| {
            if scan % 3 == 2 {
                let (plugin, settings, says) = &refused[(scan / 3) % refused.len()];
                let said = beamline.swap(plugin, settings).unwrap_err();
                assert!(said.contains(says), "{plugin}: {said}");
            } else {
                *version = 1 - *version;
                (*mark, *run) = (scan + 1, 0);
                beamline.swap(versions[*version].1.to_str().unwrap(), &settings(*mark)).unwrap();
            }
        };
        // Every second swap is requested while the scan may still run.
        if scan % 2 == 0 {
            swap(&mut version, &mut mark, &mut run);
        }
        beamline.dranspose.wait_for_finish();
        let received = wait_for("the workers' last lines", LIMIT, || {
            let received = beamline.dranspose.received(&uuid);
            let ends = received.iter().filter(|one| one.event == IMAGES as u64 + 1).count();
            (ends == WORKERS.len()).then_some(received)
        });
        seen.extend(check(&received, expected, expected_mark, expected_run));
        if scan % 2 == 1 {
            swap(&mut version, &mut mark, &mut run);
        }
        // A swap that waits for the next scan already has a thread and a descriptor: compare only equal states.
        if scan % 6 == 5 {
            let now = beamline.footprint();
            println!("after scan {scan}: {now:?}");
            if scan + 1 >= WARM_UP {
                let base: Footprint = *base.get_or_insert(now);
                wait_for("threads and descriptors as before", LIMIT, || {
                    let now = beamline.footprint();
                    // A status request has a temporary descriptor; a generation has a permanent one.
                    let descriptors = base.descriptors + now.generations - base.generations;
                    (now.threads <= base.threads && now.descriptors <= descriptors).then_some(())
                });
                let grown = now.memory_kib.saturating_sub(base.memory_kib);
                let held = now.held_kib.saturating_sub(base.held_kib);
                let copies = (now.generations - base.generations) as u64;
                let allowed = held + copies * GENERATION_KIB + VARIES_KIB;
                assert!(grown <= allowed, "{grown} KiB more, allowed {allowed}: {base:?} {now:?}");
            }
        }
        if scan >= HOLDS_AFTER {
            assert!(beamline.footprint().held_kib > 0, "the holder holds nothing after scan {scan}");
        }
        let swaps = beamline.host.status().unwrap()["swaps"].take();
        let newest = swaps.as_array().unwrap().last().unwrap();
        last_receipt = newest["number"].as_u64().unwrap();
        assert_eq!(newest["asked_by"], "command");
    }
    assert_eq!(last_receipt, scans as u64);

    // The messages in the network's buffers, and the rest of a message that was partly sent.
    println!("the holder held {} KiB at the end", beamline.footprint().held_kib);
    for message in beamline.holder.let_go() {
        let frames = Message::stream(&message, STREAM).unwrap();
        let (found, key) = about(&frames[0]);
        assert!(frames[1].iter().all(|byte| *byte == found.as_bytes()[0]), "{found} has other bytes");
        *seen.entry(key).or_default() += 1;
    }
    // Each event is received once; the first and the last of a run by every worker. Messages still waiting for the
    // holder at the next scan's start are dropped.
    for ((mark, run, event), count) in &seen {
        let outer = *event == 0 || *event == IMAGES as u64 + 1;
        let expected = if outer { WORKERS.len()..=WORKERS.len() + 1 } else { 1..=1 };
        assert!(expected.contains(count), "event {event} of run {run} after swap {mark}: {count}");
    }
    let dropped = beamline.host.ingester().unwrap()["counters"]["messages_replaced"].take();
    let all = seen.values().sum::<usize>() as u64 + dropped.as_u64().unwrap();
    assert_eq!(
        all,
        (scans * (IMAGES + 2 * (WORKERS.len() + 1))) as u64,
        "messages in all, of which {dropped} were dropped"
    );
    let settled = wait_for("all frames of old sources", LIMIT, || {
        let status = beamline.host.status().unwrap();
        let swaps = status["swaps"].as_array().unwrap().clone();
        let out = |swap: &Value| swap["state"] == "effective" && swap["old"]["settled_at"].is_null();
        (!swaps.iter().any(out)).then_some(status)
    });
    for swap in settled["swaps"].as_array().unwrap().iter().filter(|swap| swap["state"] == "effective") {
        let old = &swap["old"];
        assert_eq!(old["frames"], old["frames_returned"], "{swap:#}");
        assert_eq!(old["frames"].as_u64().unwrap(), 2 * old["events"].as_u64().unwrap(), "{swap:#}");
        assert_eq!(old["events"].as_u64().unwrap() % (IMAGES as u64 + 2), 0, "{swap:#}");
    }
    for generation in settled["generations"].as_array().unwrap() {
        assert_eq!(generation["frames_given"], generation["frames_returned"], "{generation:#}");
    }
    let counters = &settled["ingesters"][0]["counters"];
    for lost in ["messages_dropped", "source_failures"] {
        assert!(matches!(counters[lost].as_u64(), None | Some(0)), "{lost}: {counters:#}");
    }
    report(&settled);
}

/// The cost of swaps, for people who read the test's output.
fn report(status: &Value) {
    let swaps = status["swaps"].as_array().unwrap();
    for (what, reused) in [("loaded anew", false), ("loaded earlier", true)] {
        let ready = swaps.iter().filter(|swap| swap["ready_ms"].is_number() && swap["reused"] == reused);
        let mut ready: Vec<f64> = ready.map(|swap| swap["ready_ms"].as_f64().unwrap()).collect();
        ready.sort_by(f64::total_cmp);
        if let (Some(least), Some(most)) = (ready.first(), ready.last()) {
            let median = ready[ready.len() / 2];
            println!(
                "asked to ready, {what}: {least:.1} to {most:.1} ms, median {median:.1} ms ({} swaps)",
                ready.len()
            );
        }
    }
    for generation in status["generations"].as_array().unwrap() {
        println!("{}: {} after {} ms of loading", generation["source"], generation["state"], generation["load_ms"]);
    }
}

//! Allocations per event in the host, without libzmq's own: these do not use Rust's allocator.
//!
//! The host is inside this program, with its source linked in; detector and worker are separate processes, so this
//! program's allocations are the host's. Periodic allocations (status, control) are measured while the detector pauses,
//! and subtracted.
//!
//! `FRAMEGATE_ALLOCATIONS=1 cargo test -p framegate-tests --test allocations -- --nocapture` prints where they are
//! made. This takes longer, because symbols must be resolved.

#![allow(clippy::unwrap_used, reason = "these are tests, helpers included")]

use std::{
    collections::BTreeMap,
    env, fs,
    path::Path,
    process::Command,
    thread,
    time::{Duration, Instant},
};

use dhat::{HeapStats, Profiler};
use framegate::{Host, IngesterState, settings::Settings};
use framegate_stins::Stins;
use framegate_tests::{
    framegate as built,
    process::{Process, free_port},
};
use nix::sys::signal::Signal;
use serde_json::Value;

#[global_allocator]
static ALLOCATOR: dhat::Alloc = dhat::Alloc;

/// Bytes of an image, and whether the events are also captured.
const CASES: [(usize, bool); 5] = [(64, false), (1 << 10, false), (64 << 10, false), (64, true), (64 << 10, true)];
/// Allocations per event that count as none: periodic work differs from second to second, and the amount in transit
/// grows slowly for a long time.
const NONE: f64 = 0.02;
/// `memory_limit`: small enough that a worker slower than the detector soon causes back-pressure, and that all memory
/// in transit is kept for reuse.
const MEMORY: u64 = 2 << 20;
/// Events until everything that grows with the load has grown.
const WARM_UP: u64 = 40_000;
/// Events to measure.
const EVENTS: u64 = 40_000;
/// How long the idle host is measured.
const IDLE: Duration = Duration::from_secs(1);
/// How often the progress is read; reading allocates too.
const LOOK: Duration = Duration::from_millis(50);
/// Number of places to print.
const PLACES: usize = 20;
const LIMIT: Duration = Duration::from_secs(120);

#[test]
fn an_event_costs_no_allocation_once_as_many_were_on_their_way_before() {
    let costs = CASES.map(|(bytes, captured)| (bytes, captured, allocations(bytes, captured)));
    let dear: Vec<_> = costs.into_iter().filter(|(_, _, each)| *each > NONE).collect();
    assert!(
        dear.is_empty(),
        "(bytes, captured, allocations): {dear:?}; FRAMEGATE_ALLOCATIONS=1 tells where they are made"
    );
}

/// Allocations per event with an image of `bytes` bytes.
fn allocations(bytes: usize, captured: bool) -> f64 {
    let folder = tempfile::tempdir().unwrap();
    let url = format!("tcp://127.0.0.1:{}", free_port());
    let upstream = format!("tcp://127.0.0.1:{}", free_port());
    // A file that accepts everything: this test is not about the disk.
    let capture = if captured { "dump_path = \"/dev/null\"\n" } else { "" };
    let settings = format!(
        "[standalone]\n[[ingester]]\nurl = \"{url}\"\nmemory_limit = {MEMORY}\n{capture}[[ingester.stream]]\nname = \"camera\"\n\
         source = \"stins\"\nsettings.upstream_url = \"{upstream}\"\n"
    );
    let host = Host::builder(Settings::from_toml(&settings).unwrap()).source::<Stins>("stins");
    let host = host.start().unwrap_or_else(|error| panic!("{error}"));
    let mut command = built::command();
    let worker = Process::start("worker", command.args(["listen", "--name", "w1", &url]), folder.path());
    wait(&host, |report| {
        report.state == IngesterState::Running && report.workers.iter().any(|worker| worker.connected)
    });
    let mut command = Command::new(built::example("simulate"));
    command.args([&upstream, "1", &u32::MAX.to_string(), &bytes.to_string()]);
    let detector = Process::start("detector", &mut command, folder.path());
    // Fills the limit once. Otherwise the machine's speed would decide whether that happens later.
    worker.signal(Signal::SIGSTOP);
    wait(&host, |report| report.memory_used >= MEMORY / 4 * 3);
    worker.signal(Signal::SIGCONT);
    let full = host.reports()[0].processed_events;
    wait(&host, |report| report.processed_events >= full + WARM_UP);
    let profile = env::var_os("FRAMEGATE_ALLOCATIONS").map(|_| folder.path().join("profile.json"));
    let (events, blocks, seconds) = {
        let builder = Profiler::builder();
        let _profiler = match &profile {
            Some(file) => builder.file_name(file).trim_backtraces(None).build(),
            None => builder.testing().build(),
        };
        let (before, began) = (host.reports()[0].processed_events, Instant::now());
        wait(&host, |report| report.processed_events >= before + EVENTS);
        let events = host.reports()[0].processed_events - before;
        (events as f64, HeapStats::get().total_blocks as f64, began.elapsed().as_secs_f64())
    };
    detector.signal(Signal::SIGSTOP);
    wait(&host, |report| report.event_rate == 0.0 && report.memory_used == 0);
    let idle = {
        let _profiler = Profiler::builder().testing().build();
        let until = Instant::now() + IDLE;
        wait(&host, |_| Instant::now() >= until);
        HeapStats::get().total_blocks as f64 / IDLE.as_secs_f64()
    };
    let blocks = blocks - idle * seconds;
    println!("{bytes} bytes, captured: {captured}: {:.3} allocations for each event", blocks / events);
    if let Some(profile) = profile {
        println!("{}", places(&profile, events));
    }
    blocks / events
}

/// Waits until `wanted` is true for the host's report.
fn wait(host: &Host, wanted: impl Fn(&framegate::Report) -> bool) {
    let until = Instant::now() + LIMIT;
    while !wanted(&host.reports()[0]) {
        assert!(Instant::now() < until, "it stands still: {:?}", host.reports());
        thread::sleep(LOOK);
    }
}

/// The places in the project's code that allocate most, each with its caller, from a DHAT profile.
fn places(profile: &Path, events: f64) -> String {
    let profile: Value = serde_json::from_str(&fs::read_to_string(profile).unwrap()).unwrap();
    let frames = &profile["ftbl"];
    let mut places: BTreeMap<String, (f64, f64)> = BTreeMap::new();
    for point in profile["pps"].as_array().unwrap() {
        let stack = point["fs"].as_array().unwrap().iter();
        let stack = stack.filter_map(|frame| frames[frame.as_u64().unwrap() as usize].as_str());
        // Without the address.
        let names = stack.map(|frame| frame.split_once(": ").map_or(frame, |(_, name)| name));
        let own = names.filter(|name| name.trim_start_matches('<').starts_with("framegate"));
        let place = places.entry(own.take(2).collect::<Vec<_>>().join(" < ")).or_default();
        place.0 += point["tbk"].as_f64().unwrap();
        place.1 += point["tb"].as_f64().unwrap();
    }
    let mut places: Vec<_> = places.into_iter().collect();
    places.sort_by(|(_, one), (_, other)| other.0.total_cmp(&one.0));
    let line = |(place, (blocks, bytes)): (String, (f64, f64))| {
        format!("{:8.4} of {:6.0} bytes: {place}\n", blocks / events, bytes / blocks)
    };
    places.into_iter().take(PLACES).map(line).collect()
}

//! Hot-swapping of sources, with the real program and without a controller: when a new source takes over, and the state
//! after a refusal.
//!
//! `swap_peer.rs` tests swaps under a real controller.

#![allow(clippy::unwrap_used, reason = "these are tests, helpers included")]

use std::{fs, path::Path, process::Output};

use framegate_tests::{
    alone::{bad_plugin, marked},
    controller::Controller,
    framegate,
    host::{Host, LIMIT},
    process::{free_port, text, wait_for},
    redis::RedisServer,
    worker::{Message, Worker},
};
use serde_json::{Value, json};
use tempfile::TempDir;

/// Events of a run of the plugin `marked`.
const EVENTS: u64 = 10;

/// A host whose stream `camera` is fed by version 1.0.0 of `marked`, and a worker. Scans wait halfway for a signal.
struct House {
    folder: TempDir,
    host: Host,
    worker: Worker,
}

impl House {
    fn start() -> Self {
        Self::with("")
    }

    /// Starts it with further lines at the top of the configuration.
    fn with(more: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let url = format!("tcp://127.0.0.1:{}", free_port());
        let go = folder.path().join("go");
        let mut host = Host::start(
            folder.path(),
            &format!(
                "source_timeout = \"2 s\"\n{more}\n[standalone]\n[[ingester]]\nurl = \"{url}\"\n\
                 [[ingester.stream]]\nname = \"camera\"\nsource = \"{}\"\n\
                 [ingester.stream.settings]\nevents = {EVENTS}\nbytes = 5000\nhalf_when = \"{}\"\n",
                marked("1.0.0").display(),
                go.display()
            ),
        );
        host.wait_for("the first scan", |ingester| ingester["state"] == "running");
        let worker = host.worker("w1", &url);
        Self { folder, host, worker }
    }

    /// The rest of the events of a scan whose first half was read, and the first half of the next scan.
    fn rest_and_next_half(&self) -> (Vec<Value>, Vec<Value>) {
        fs::write(self.folder.path().join("go"), "").unwrap();
        (self.half(), self.half())
    }

    /// The contents of the next half of a scan's events.
    fn half(&self) -> Vec<Value> {
        (0..EVENTS / 2).map(|_| about(&self.worker.next())).collect()
    }

    fn receipt(&self, number: u64) -> Value {
        serde_json::from_str(&self.host.get(&format!("/swaps/{number}")).unwrap()).unwrap()
    }

    fn wait_receipt(&self, number: u64, what: &str, wanted: impl Fn(&Value) -> bool) -> Value {
        wait_for(what, LIMIT, || Some(self.receipt(number)).filter(&wanted))
    }

    fn swap(&self, plugin: &Path) -> Output {
        self.host.swap(&["camera", plugin.to_str().unwrap()])
    }
}

fn about(message: &Message) -> Value {
    let frames = message.stream("camera").unwrap();
    let about: Value = serde_json::from_slice(&frames[0]).unwrap();
    let version = about["version"].as_str().unwrap().as_bytes()[0];
    assert!(frames[1].iter().all(|byte| *byte == version), "the payload is another version's than {about}");
    about
}

fn all_of(version: &str, events: &[Value]) -> bool {
    events.iter().all(|event| event["version"] == version)
}

fn numbers(events: &[Value]) -> Vec<u64> {
    events.iter().map(|event| event["event"].as_u64().unwrap()).collect()
}

#[test]
fn a_swap_during_a_scan_waits_for_its_end_and_takes_over_in_the_next() {
    let house = House::start();
    let first = house.half();
    let output = house.swap(&marked("2.0.0"));
    assert!(output.status.success(), "{}", text(&output.stderr));
    let said = text(&output.stdout);
    assert!(said.contains("takes over when the next scan starts") && said.contains("2.0.0"), "{said}");
    assert!(said.contains("this scan has no end in sight") && said.contains("not ended yet: camera\n"), "{said}");

    let status = house.host.status().unwrap();
    assert_eq!(
        (&status["sources"][0]["pending"], &status["sources"][0]["identity"]["version"]),
        (&json!(1), &json!("1.0.0"))
    );
    let receipt = house.receipt(1);
    assert_eq!((&receipt["state"], &receipt["asked_by"]), (&json!("pending"), &json!("command")));

    let (rest, next) = house.rest_and_next_half();
    assert!(all_of("1.0.0", &first) && all_of("1.0.0", &rest), "{first:?} {rest:?}");
    assert_eq!(numbers(&[first, rest].concat()), (0..EVENTS).collect::<Vec<_>>());
    assert!(all_of("2.0.0", &next), "{next:?}");

    let receipt = house.wait_receipt(1, "the frames", |receipt| receipt["old"]["settled_at"].is_string());
    let old = &receipt["old"];
    assert_eq!((&old["events"], &old["frames"], &old["frames_returned"]), (&json!(10), &json!(20), &json!(20)));
    assert_eq!(receipt["from"]["version"], "1.0.0");
    for key in ["file", "sha256", "name", "version", "abi", "compiler"] {
        assert!(receipt["from"][key].is_string() && receipt["to"][key].is_string(), "{key}: {receipt:#}");
    }
    let status = house.host.status().unwrap();
    assert_eq!(status["sources"][0]["identity"]["version"], "2.0.0");
    assert!(status["sources"][0]["pending"].is_null());
    // The log is written by another thread.
    let says = || house.host.log().contains("all its 20 frames are released").then_some(());
    wait_for("the log to say it too", LIMIT, says);
}

#[test]
fn of_two_swaps_that_wait_the_later_one_wins() {
    let house = House::start();
    house.half();
    assert!(house.swap(&marked("2.0.0")).status.success());
    assert!(house.swap(&marked("3.0.0")).status.success());
    let receipt = house.wait_receipt(1, "the later one", |receipt| receipt["state"] == "superseded");
    assert_eq!(receipt["superseded_by"], 2);
    assert_eq!(house.host.status().unwrap()["sources"][0]["pending"], 2);
    let (rest, next) = house.rest_and_next_half();
    assert!(all_of("1.0.0", &rest) && all_of("3.0.0", &next), "{rest:?} {next:?}");
    assert_eq!(house.receipt(1)["state"], "superseded");
    assert_eq!(house.receipt(2)["state"], "effective");
}

#[test]
fn a_swap_back_takes_the_generation_that_is_loaded() {
    let house = House::start();
    house.half();
    for (plugin, number) in [("2.0.0", 1), ("1.0.0", 2), ("2.0.0", 3), ("1.0.0", 4)] {
        assert!(house.swap(&marked(plugin)).status.success());
        let (_, next) = house.rest_and_next_half();
        assert!(all_of(plugin, &next), "{next:?}");
        let receipt = house.wait_receipt(number, "the frames", |receipt| receipt["old"]["settled_at"].is_string());
        assert_eq!(receipt["reused"], number > 1, "{receipt:#}");
        // Only its own frames, although the generation has yielded more in earlier scans.
        assert_eq!(receipt["old"]["frames"], 2 * EVENTS);
    }
    let generations = house.host.status().unwrap()["generations"].take();
    let states: Vec<_> = generations.as_array().unwrap().iter().map(|one| one["state"].as_str().unwrap()).collect();
    assert_eq!(states, ["loaded", "loaded"], "{generations:#}");
}

#[test]
fn a_refused_swap_leaves_the_source_and_its_scan_alone() {
    let house = House::start();
    let mut events = house.half();
    let threads = || fs::read_dir(format!("/proc/{}/task", house.host.id())).unwrap().count();
    let before = threads();
    let folder = house.folder.path();
    let whole = fs::read(marked("2.0.0")).unwrap();
    let (truncated, other) = (folder.join("libtruncated.so"), folder.join("libpinned.so"));
    fs::write(&truncated, &whole[..whole.len() / 2]).unwrap();
    fs::write(&other, &whole).unwrap();
    for (plugin, code) in [
        (folder.join("libnowhere.so"), "FG-ABI-FIND"),
        (truncated, "FG-ABI-DAMAGED"),
        (folder.join(format!("libpinned.so#sha256:{}", "0".repeat(64))), "FG-ABI-HASH"),
        (bad_plugin("no_note"), "FG-ABI-NOTE"),
        (bad_plugin("other_abi_version"), "FG-ABI-VERSION"),
        (bad_plugin("missing_symbol"), "FG-ABI-LOAD"),
        (bad_plugin("opted_out"), "FG-ABI-OPTED-OUT"),
        (bad_plugin("panics_in_create"), "FG-ABI-PANIC"),
    ] {
        // Twice: a refused plugin is refused again.
        for _ in 0..2 {
            let output = house.host.swap(&["camera", plugin.to_str().unwrap(), "--settings", "{}"]);
            let said = text(&output.stderr);
            assert_eq!(output.status.code(), Some(3), "{}: {said}", plugin.display());
            let lines: Vec<_> = said.lines().collect();
            assert!(lines.len() == 2 && lines[0].contains(code) && lines[1].starts_with("  "), "{said}");
        }
    }
    wait_for("the threads to go", LIMIT, || (threads() == before).then_some(()));
    let (rest, next) = house.rest_and_next_half();
    events.extend(rest);
    assert_eq!(numbers(&events), (0..EVENTS).collect::<Vec<_>>());
    assert!(all_of("1.0.0", &events) && all_of("1.0.0", &next));
    // A refusal by the system's loader leaves nothing in the process, so it does not count.
    let generations = house.host.status().unwrap()["generations"].take();
    let states: Vec<_> = generations.as_array().unwrap().iter().map(|one| one["state"].as_str().unwrap()).collect();
    assert_eq!(states, ["loaded", "refused", "loaded"], "{generations:#}");
}

#[test]
fn a_create_that_hangs_is_refused_after_its_time_and_its_generation_written_off() {
    let house = House::start();
    let first = house.half();
    let plugin = bad_plugin("hangs_in_create");
    let output = house.host.swap(&["camera", plugin.to_str().unwrap(), "--settings", "{}"]);
    let said = text(&output.stderr);
    assert!(output.status.code() == Some(3) && said.contains("FG-ABI-HANG") && said.contains("2s"), "{said}");
    let (rest, next) = house.rest_and_next_half();
    assert!(all_of("1.0.0", &[first, rest, next].concat()));
    let status = house.host.status().unwrap();
    assert_eq!(status["generations"][1]["state"], "written off");
    assert!(status["swaps"][0]["problem"].as_str().unwrap().contains("FG-ABI-HANG"));
}

#[test]
fn settings_can_be_given_and_are_those_of_the_stream_otherwise() {
    let house = House::start();
    house.half();
    let go = house.folder.path().join("go");
    let marked_as = |mark: &str| json!({ "events": EVENTS, "half_when": go, "mark": mark }).to_string();
    let plugin = marked("2.0.0");
    let plugin = plugin.to_str().unwrap();
    assert!(house.host.swap(&["camera", plugin, "--settings", &marked_as("new")]).status.success());
    let (_, next) = house.rest_and_next_half();
    assert!(next.iter().all(|event| event["mark"] == "new"), "{next:?}");
    assert!(house.swap(&marked("1.0.0")).status.success());
    let (_, next) = house.rest_and_next_half();
    assert!(all_of("1.0.0", &next) && next.iter().all(|event| event["mark"] == "new"), "{next:?}");

    for (settings, says) in [
        (marked_as("wrong"), "mark: it is wrong"),
        ("{\"event\": 3}".to_owned(), "event"),
        ("[1]".to_owned(), "expected an object"),
        ("{".to_owned(), "not JSON"),
    ] {
        let output = house.host.swap(&["camera", plugin, "--settings", &settings]);
        let said = text(&output.stderr);
        assert!(output.status.code() == Some(2) && said.contains(says), "{settings}: {said}");
    }
    let (_, next) = house.rest_and_next_half();
    assert!(all_of("1.0.0", &next), "{next:?}");
}

#[test]
fn who_cannot_be_meant_or_reached_is_told() {
    let house = House::start();
    let output = house.host.swap(&["camra", "x"]);
    let said = text(&output.stderr);
    assert!(output.status.code() == Some(2) && said.contains("did you mean \"camera\"?"), "{said}");
    let output = house.host.swap(&["camera", "ZmqPullSingelIngester"]);
    assert!(output.status.code() == Some(2) && text(&output.stderr).contains("did you mean"), "{output:?}");

    let nobody = format!("127.0.0.1:{}", free_port());
    let output = framegate::command().args(["swap", "camera", "x", "--url", &nobody]).output().unwrap();
    let said = text(&output.stderr);
    assert!(
        output.status.code() == Some(1) && said.contains("start `framegate ingester` with FRAMEGATE_ADMIN"),
        "{said}"
    );
}

#[test]
fn no_more_plugins_are_loaded_than_allowed() {
    let house = House::with("max_generations = 2");
    house.half();
    assert!(house.swap(&marked("2.0.0")).status.success());
    let output = house.swap(&marked("3.0.0"));
    let said = text(&output.stderr);
    assert_eq!(output.status.code(), Some(3), "{said}");
    assert!(said.contains("FG-ABI-GENERATIONS") && said.contains("allowed are 2 (max_generations)"), "{said}");
    assert!(said.contains("restart framegate"), "{said}");
    // A loaded plugin can be used again.
    assert!(house.swap(&marked("1.0.0")).status.success());
}

#[test]
fn swaps_can_be_switched_off_and_come_from_no_web_page() {
    let house = House::with("admin_swap = \"off\"");
    let output = house.swap(&marked("2.0.0"));
    assert!(output.status.code() == Some(1) && text(&output.stderr).contains("admin_swap"), "{output:?}");

    let house = House::start();
    let request = json!({ "stream": "camera", "source": "x" });
    let url = format!("http://{}/swaps", house.host.admin());
    let post = || ureq::post(&url).config().http_status_as_error(false).build();
    let mut answer = post().header("Origin", "http://somewhere").send_json(&request).unwrap();
    assert_eq!(answer.status().as_u16(), 403);
    assert!(answer.body_mut().read_to_string().unwrap().contains("web pages"));
    // A content type that a web page may send without a preflight request is not accepted as JSON.
    let answer = post().header("Content-Type", "text/plain").send(request.to_string()).unwrap();
    assert_eq!(answer.status().as_u16(), 415);
    assert!(house.host.status().unwrap()["swaps"].as_array().unwrap().is_empty());
}

#[test]
fn a_file_of_another_user_is_not_loaded_because_somebody_asks_for_it() {
    let house = House::start();
    let foreign = house.folder.path().join("libforeign.so");
    fs::copy(marked("2.0.0"), &foreign).unwrap();
    if std::os::unix::fs::chown(&foreign, Some(65534), None).is_err() {
        return framegate_skip::skip("only root can give files away");
    }
    let output = house.swap(&foreign);
    let said = text(&output.stderr);
    assert!(output.status.code() == Some(3) && said.contains("FG-ABI-WRITABLE"), "{said}");
    assert!(said.contains("belongs to user 65534"), "{said}");
}

#[test]
fn a_frame_that_somebody_holds_is_waited_for() {
    // A controller starts scans even if a worker has not read its messages: those in the network stay there.
    let (folder, redis) = (tempfile::tempdir().unwrap(), RedisServer::start());
    let url = format!("tcp://127.0.0.1:{}", free_port());
    // Frames larger than the sockets' buffers.
    let configuration = format!(
        "redis = \"{}\"\n[[ingester]]\nurl = \"{url}\"\n[[ingester.stream]]\nname = \"camera\"\nsource = \"{}\"\n\
         settings = {{ events = 2, bytes = 6000000, outer_bytes = 6000000 }}\n",
        redis.url(),
        marked("1.0.0").display()
    );
    let (mut host, mut controller) = (Host::start(folder.path(), &configuration), Controller::new(&redis));
    let holder = Worker::stalled("holder", &url);
    let uuid = holder.service_uuid().to_string();
    let name = "camera-ingester";
    controller.wait_state(name, "the holder", |state| state["connected_workers"].get(&uuid).is_some());
    controller.scan(name, &["camera"]);
    let to_holder: &[(&str, &[&str])] = &[("camera", &["holder"])];
    controller.assign(&[to_holder; 2]);
    host.wait_for("the holder's messages", |ingester| ingester["workers"][0]["begun"].as_u64() > Some(0));
    assert!(host.swap(&["camera", marked("2.0.0").to_str().unwrap()]).status.success());
    controller.scan(name, &["camera"]);

    let wait_receipt = |what: &str, wanted: &dyn Fn(&Value) -> bool| {
        let receipt = || serde_json::from_str::<Value>(&host.get("/swaps/1").unwrap()).unwrap();
        wait_for(what, LIMIT, || Some(receipt()).filter(wanted))
    };
    let receipt = wait_receipt("the old source's end", &|receipt| receipt["old"]["ended"] == true);
    let old = &receipt["old"];
    assert!(old["settled_at"].is_null() && old["frames_returned"].as_u64() < old["frames"].as_u64(), "{receipt:#}");
    drop(holder);
    wait_receipt("the frames", &|receipt| receipt["old"]["settled_at"].is_string());
}

#[test]
fn whoever_waits_is_told_each_step() {
    let house = House::start();
    house.half();
    let (host, plugin) = (&house.host, marked("2.0.0"));
    let said = std::thread::scope(|scope| {
        let waiting = scope.spawn(|| host.swap(&["camera", plugin.to_str().unwrap(), "--wait"]));
        wait_for("the swap", LIMIT, || host.status().unwrap()["sources"][0]["pending"].is_u64().then_some(()));
        house.rest_and_next_half();
        let output = waiting.join().unwrap();
        assert!(output.status.success(), "{output:?}");
        text(&output.stdout)
    });
    for step in ["takes over when the next scan starts", "took over at", "all its 20 frames are released"] {
        assert!(said.contains(step), "{step} is not in {said}");
    }
}

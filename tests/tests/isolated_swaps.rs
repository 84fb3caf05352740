//! Sources in processes of their own do what others do: swaps, parameters, exclusive sources, sources that are asked.

#![allow(clippy::unwrap_used, reason = "these are tests, helpers included")]

use std::{
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

use framegate_tests::{
    alone::{bad_plugin_in_c, marked},
    framegate,
    host::{Host, LIMIT},
    process::{free_port, wait_for},
    worker::Worker,
};
use nix::sys::signal::Signal;
use serde_json::{Value, json};
use tempfile::TempDir;

/// A host with a stream `s`, scan after scan, and a worker.
struct House {
    folder: TempDir,
    host: Host,
    worker: Worker,
    url: String,
}

impl House {
    /// `lines`: of the stream, after its name.
    fn start(lines: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let url = format!("tcp://127.0.0.1:{}", free_port());
        let mut host = Host::start(folder.path(), &configuration(&url, lines));
        host.wait_for("the first scan", |ingester| ingester["state"] == "running");
        let worker = host.worker("w1", &url);
        Self { folder, host, worker, url }
    }

    /// Changes the configuration, and says so.
    fn configure(&self, lines: &str) {
        let path = self.folder.path().join("framegate.toml");
        let (new, head) = (path.with_extension("new"), format!("admin = \"{}\"\n", self.host.admin()));
        fs::write(&new, head + &configuration(&self.url, lines)).unwrap();
        fs::rename(&new, &path).unwrap();
        self.host.signal(Signal::SIGHUP);
    }

    /// Waits for an event that `wanted` accepts, and returns it.
    fn event(&self, what: &str, wanted: impl Fn(&Value) -> bool) -> Value {
        let messages = self.worker.until(|message| {
            let about = message.stream("s").map(|frames| serde_json::from_slice::<Value>(&frames[0]).unwrap());
            about.is_some_and(|about| wanted(&about))
        });
        let last = messages.last().unwrap_or_else(|| panic!("no event: {what}"));
        serde_json::from_slice(&last.stream("s").unwrap()[0]).unwrap()
    }

    fn process(&self) -> Value {
        self.host.status().unwrap()["sources"][0]["process"].clone()
    }
}

fn configuration(url: &str, lines: &str) -> String {
    format!(
        "source_timeout = \"5 s\"\n[standalone]\n[[ingester]]\nurl = \"{url}\"\n[[ingester.stream]]\nname = \"s\"\n{lines}\n"
    )
}

/// The lines of a stream of `marked`.
fn lines(version: &str, mark: &str, isolate: bool) -> String {
    let plugin = marked(version);
    format!(
        "source = {plugin:?}\nisolate = {isolate}\nparameters = {{ gain = 7 }}\n\
         settings = {{ events = 5, bytes = 3000, mark = \"{mark}\" }}"
    )
}

fn is_there(pid: &Value) -> bool {
    Path::new(&format!("/proc/{pid}")).exists()
}

#[test]
fn a_source_is_swapped_into_a_process_of_its_own_and_back_with_its_parameters() {
    let house = House::start(&lines("1.0.0", "loaded", false));
    assert_eq!(house.event("of the loaded source", |about| about["mark"] == "loaded")["gain"], "7");
    assert_eq!(house.process(), Value::Null);

    house.configure(&lines("1.0.0", "isolated", true));
    let event = house.event("of the isolated one", |about| about["mark"] == "isolated");
    assert_eq!((&event["gain"], &event["version"]), (&json!("7"), &json!("1.0.0")));
    let first = house.process()["pid"].clone();
    assert!(is_there(&first));

    // Another file in another process, by a swap that says nothing of `isolate`.
    let other = marked("2.0.0");
    assert!(house.host.swap(&["s", other.to_str().unwrap()]).status.success());
    let event = house.event("of the other file", |about| about["version"] == "2.0.0");
    assert_eq!((&event["gain"], &event["mark"]), (&json!("7"), &json!("isolated")));
    let second = house.process()["pid"].clone();
    assert_ne!(first, second);
    wait_for("the end of the old process", LIMIT, || (!is_there(&first)).then_some(()));
    let generations = house.host.status().unwrap()["generations"].as_array().unwrap().len();
    assert_eq!(generations, 1, "only the loaded one has a place among the loaded files");

    // What is refused leaves no process behind, and changes nothing.
    let folder = tempfile::tempdir().unwrap();
    let bad = bad_plugin_in_c("crashes_when_loaded", folder.path());
    let refused = house.host.swap(&["s", bad.to_str().unwrap()]);
    assert!(!refused.status.success());
    let told = String::from_utf8_lossy(&refused.stderr).into_owned() + &String::from_utf8_lossy(&refused.stdout);
    assert!(told.contains("crashed with SIGSEGV in its start"), "{told}");
    assert_eq!(house.process()["pid"], second);

    house.configure(&lines("1.0.0", "loaded again", false));
    let event = house.event("of the loaded one again", |about| about["mark"] == "loaded again");
    assert_eq!(event["gain"], "7");
    assert_eq!(house.process(), Value::Null);
    wait_for("the end of the second process", LIMIT, || (!is_there(&second)).then_some(()));
}

#[test]
fn an_exclusive_source_in_a_process_takes_the_port_of_the_one_before_it() {
    let port = free_port();
    let sardana = |more: &str| {
        let plugin: PathBuf = framegate::plugin("sardana");
        format!(
            "source = {plugin:?}\nisolate = true\nsettings = {{ host = \"127.0.0.1\", port = {port}, max_connections = {more} }}"
        )
    };
    let house = House::start(&sardana("10"));
    let posts = || {
        let description = json!({ "serialno": 1, "scandir": "/data", "title": "ascan" });
        let post =
            |path: &str, body: Value| ureq::post(&format!("http://127.0.0.1:{port}/v1/{path}")).send_json(body).is_ok();
        post("data_desc", description) && post("record_end", json!({}))
    };
    let scan = |what: &str| {
        // Posts between two scans are dropped.
        wait_for(what, LIMIT, || posts().then(|| house.worker.within(Duration::from_millis(300))).flatten())
    };
    assert!(scan("a scan").header().to_string().contains("sardana"));
    let first = house.process()["pid"].clone();
    house.configure(&sardana("20"));
    wait_for("the other process", LIMIT, || {
        posts();
        (house.process()["pid"] != first && !is_there(&first)).then_some(())
    });
    let _ = scan("a scan of the other one");
}

#[test]
fn a_source_that_is_asked_for_each_event_answers_from_its_process() {
    let asked: PathBuf = framegate::plugin("on-demand-example");
    let both = format!(
        "{}\n[[ingester.stream]]\nname = \"dummy\"\nsource = {asked:?}\nisolate = true",
        lines("1.0.0", "both", false).replace("events = 5", "events = 50")
    );
    // Tables come last in TOML: the settings of the first stream stand before the second.
    let house = House::start(&both);
    let messages = house.worker.until(|message| message.number() == 49);
    let answers = messages.iter().filter(|message| message.stream("dummy").is_some()).count();
    assert!(answers >= 48, "{answers} of {} messages have an answer", messages.len());
    let answer = messages.iter().find_map(|message| message.stream("dummy")).unwrap();
    assert_eq!(answer, [br#"{"temperature": 315.15}"#]);
}

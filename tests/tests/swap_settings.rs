//! Effects of a changed configuration on a running program; and replaced sources that hang.

#![allow(clippy::unwrap_used, reason = "these are tests, helpers included")]

use std::{fs, path::PathBuf, time::Duration};

use ::framegate::SwapSpec;
use framegate_tests::{
    alone::{bad_plugin, marked},
    framegate,
    host::{Host, LIMIT},
    process::{free_port, wait_for},
    stage::Stage,
    worker::{Message, Worker},
};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use serde_json::{Value, json};
use tempfile::TempDir;

/// A host whose streams `a` and `b` are fed by `marked`, scan after scan, and a worker.
struct House {
    folder: TempDir,
    host: Host,
    worker: Worker,
    url: String,
}

/// Differences from the usual configuration.
#[derive(Clone)]
struct Wish {
    a: PathBuf,
    mark: &'static str,
    ingester: &'static str,
}

impl House {
    fn start(wish: &Wish) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let url = format!("tcp://127.0.0.1:{}", free_port());
        let mut host = Host::start(folder.path(), &configuration(&url, wish));
        host.wait_for("the first scan", |ingester| ingester["state"] == "running");
        let worker = host.worker("w1", &url);
        Self { folder, host, worker, url }
    }

    /// Replaces the configuration, as an editor does: a new file in place of the old one.
    fn write(&self, text: &str) {
        let path = self.folder.path().join("framegate.toml");
        let (new, head) = (path.with_extension("new"), format!("admin = \"{}\"\n", self.host.admin()));
        fs::write(&new, head + text).unwrap();
        fs::rename(&new, &path).unwrap();
    }

    fn configure(&self, wish: &Wish) {
        self.write(&configuration(&self.url, wish));
    }

    /// Reads until an event of stream `a` has this value.
    fn wait_event(&self, key: &str, value: &str) {
        let _ = self.worker.until(|message| about(message, "a")[key] == value);
    }

    fn wait_log(&self, what: &str) {
        wait_for(what, LIMIT, || self.host.log().contains(what).then_some(()));
    }

    fn swaps(&self) -> Vec<Value> {
        self.host.status().unwrap()["swaps"].as_array().unwrap().clone()
    }
}

fn configuration(url: &str, wish: &Wish) -> String {
    let Wish { a, mark, ingester } = wish;
    format!(
        "source_timeout = \"2 s\"\n[standalone]\n[[ingester]]\nurl = \"{url}\"\n{ingester}\n\
         [[ingester.stream]]\nname = \"a\"\nsource = \"{}\"\nsettings = {{ events = 5, bytes = 100, mark = \"{mark}\" }}\n\
         [[ingester.stream]]\nname = \"b\"\nsource = \"{}\"\nsettings = {{ events = 5, bytes = 100 }}\n",
        a.display(),
        marked("1.0.0").display()
    )
}

fn usual() -> Wish {
    Wish { a: marked("1.0.0"), mark: "first", ingester: "" }
}

fn about(message: &Message, stream: &str) -> Value {
    serde_json::from_slice(&message.stream(stream).unwrap()[0]).unwrap()
}

fn hangup(host: &Host) {
    kill(Pid::from_raw(i32::try_from(host.id()).unwrap()), Signal::SIGHUP).unwrap();
}

#[test]
fn a_changed_configuration_swaps_what_changed_and_says_what_needs_a_restart() {
    let house = House::start(&usual());
    house.configure(&Wish { a: marked("2.0.0"), ingester: "memory_limit = \"64 MiB\"", ..usual() });
    house.wait_event("version", "2.0.0");
    let swaps = house.swaps();
    assert_eq!(swaps.len(), 1, "only what changed: {swaps:#?}");
    assert_eq!((&swaps[0]["stream"], &swaps[0]["asked_by"]), (&json!("a"), &json!("configuration")));
    house.wait_log("needs a restart to take effect: memory_limit of ingester a_b-ingester");

    // Changed settings alone are a change, too; the file is the same, and so is its copy in the process.
    house.configure(&Wish { a: marked("2.0.0"), mark: "second", ..usual() });
    house.wait_event("mark", "second");
    assert_eq!(house.swaps()[1]["reused"], true);
}

#[test]
fn a_configuration_that_is_wrong_changes_nothing_and_is_told() {
    let house = House::start(&usual());
    house.write("[standalone]\n[[ingester]\n");
    house.wait_log("is wrong; nothing has changed");
    assert!(house.host.log().contains("framegate.toml:3, column"), "{}", house.host.log());

    // The configuration is valid, but the source does not accept it, or is refused.
    house.configure(&Wish { mark: "wrong", ..usual() });
    house.wait_log("mark: it is wrong");
    house.configure(&Wish { a: bad_plugin("no_note"), ..usual() });
    house.wait_log("old source stays, because the new one was refused (reason above): a");
    house.wait_log("FG-ABI-NOTE");
    let events = house.worker.until(|message| message.number() == 0);
    assert!(events.iter().all(|event| about(event, "a")["version"] == "1.0.0"));
    let states: Vec<_> = house.swaps().iter().map(|swap| swap["state"].clone()).collect();
    assert_eq!(states, ["refused", "refused"]);
}

#[test]
fn sighup_takes_a_plugin_file_that_was_built_again() {
    let folder = tempfile::tempdir().unwrap();
    let plugin = folder.path().join("libmine.so");
    fs::copy(marked("1.0.0"), &plugin).unwrap();
    let house = House::start(&Wish { a: plugin.clone(), ..usual() });
    house.wait_event("version", "1.0.0");
    hangup(&house.host);
    house.wait_log("no stream has changed");

    let new = folder.path().join("new.so");
    fs::copy(marked("2.0.0"), &new).unwrap();
    fs::rename(&new, &plugin).unwrap();
    hangup(&house.host);
    house.wait_event("version", "2.0.0");

    // A source that was swapped in stays: the configuration has no change for the stream.
    assert!(house.host.swap(&["a", marked("3.0.0").to_str().unwrap()]).status.success());
    house.wait_event("version", "3.0.0");
    hangup(&house.host);
    wait_for("the second time", LIMIT, || {
        (house.host.log().matches("no stream has changed").count() == 2).then_some(())
    });
    assert_eq!(house.swaps().len(), 2);
}

#[test]
fn a_linked_source_is_swapped_for_a_loaded_one_and_descriptions_and_values_follow() {
    let mut stage = Stage::new(&["played-swap"], 1);
    let worker = stage.worker("w1");
    let described = |stage: &Stage| {
        let mut keys: Vec<String> = stage.redis.ask(&["KEYS", "dranspose:parameter_description:*"]);
        keys.sort();
        keys
    };
    wait_for("the descriptions", LIMIT, || (described(&stage).len() == 5).then_some(()));
    // The current source has no such parameter, but the next one has.
    stage.controller.set_parameter("played-swap_gain", b"7");
    stage.controller.wait_hash(&stage.name.clone());
    let plugin = marked("2.0.0");
    let spec = SwapSpec::new(plugin.to_str().unwrap()).with_settings(json!({ "events": 3 }));
    let receipt = stage.host().swap("played-swap", &spec).unwrap();
    assert_eq!((receipt.from.file, receipt.to.unwrap().version.as_deref()), (None, Some("2.0.0")));
    stage.scan(&["played-swap"]);
    let to_one: &[(&str, &[&str])] = &[("played-swap", &["w1"])];
    stage.controller.assign(&[to_one; 3]);
    for number in 0..3 {
        let event = about(&worker.next(), "played-swap");
        assert_eq!((&event["event"], &event["gain"]), (&json!(number), &json!("7")));
    }
    stage.finish();
    let new = ["gain", "only_2"].map(|name| format!("dranspose:parameter_description:played-swap_{name}"));
    // The old source's descriptions expire.
    wait_for("the new descriptions", LIMIT, || (described(&stage) == new).then_some(()));
    let text: String = stage.redis.ask(&["GET", &new[0]]);
    assert!(text.contains("The gain of version 2.0.0"), "{text}");

    // And back to the linked source.
    stage.host().swap("played-swap", &SwapSpec::new("played").with_settings(json!({ "events": 1 }))).unwrap();
    stage.scan(&["played-swap"]);
    stage.controller.assign(&[to_one]);
    assert_eq!(worker.next().header()["streams"]["played-swap"]["typ"], "played");
    let receipt = wait_for("the loaded source's end", LIMIT, || {
        stage.host().swaps().into_iter().find(|swap| swap.old.as_ref().is_some_and(|old| old.frames == 6))
    });
    wait_for("its frames", LIMIT, || stage.host().swap_receipt(receipt.number)?.is_final().then_some(()));
}

#[test]
fn a_parameter_that_the_source_does_not_have_is_told_at_the_start_and_passed_over_in_a_swap() {
    let folder = tempfile::tempdir().unwrap();
    let url = format!("tcp://127.0.0.1:{}", free_port());
    let text = |name: &str| {
        format!(
            "admin = \"127.0.0.1:{}\"\n[standalone]\n[[ingester]]\nurl = \"{url}\"\n[[ingester.stream]]\nname = \"a\"\n\
             source = \"{}\"\nsettings = {{ events = 5 }}\nparameters = {{ {name} = \"3\" }}\n",
            free_port(),
            marked("1.0.0").display()
        )
    };
    let path = folder.path().join("wrong.toml");
    fs::write(&path, text("gian")).unwrap();
    let output = framegate::command().args(["run", "--config"]).arg(&path).output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(
        output.status.code() == Some(2) && said.contains("no parameter \"gian\"; did you mean \"gain\"?"),
        "{said}"
    );

    let text = text("only_1");
    let mut host = Host::start(folder.path(), text.split_once('\n').unwrap().1);
    host.wait_for("the first scan", |ingester| ingester["ready"].is_string());
    let worker = host.worker("w1", &url);
    assert!(host.swap(&["a", marked("2.0.0").to_str().unwrap()]).status.success());
    let _ = worker.until(|message| about(message, "a")["version"] == "2.0.0");
    assert!(host.log().contains("it has no parameter \"only_1\""), "{}", host.log());
}

/// A source that hangs in `open` was replaced, and the new one gives events.
fn in_place_of_one_that_hangs(folder: &std::path::Path, source_timeout: &str) -> Host {
    let url = format!("tcp://127.0.0.1:{}", free_port());
    let mut host = Host::start(
        folder,
        &format!(
            "source_timeout = \"{source_timeout}\"\n[standalone]\n[[ingester]]\nurl = \"{url}\"\n[[ingester.stream]]\n\
             name = \"camera\"\nsource = \"{}\"\n",
            bad_plugin("hangs_in_open").display()
        ),
    );
    let worker = host.worker("w1", &url);
    host.wait_for("the ingester", |_| true);
    let plugin = marked("1.0.0");
    let output = host.swap(&["camera", plugin.to_str().unwrap(), "--settings", "{\"events\": 10}"]);
    assert!(output.status.success(), "{output:?}");
    assert_eq!(about(&worker.next(), "camera")["version"], "1.0.0");
    host
}

#[test]
fn a_replaced_source_that_still_hangs_at_the_end_is_told() {
    let folder = tempfile::tempdir().unwrap();
    let mut host = in_place_of_one_that_hangs(folder.path(), "3 s");
    assert!(host.stop(Duration::from_secs(10)).success(), "{}", host.log());
    let log = host.log();
    let line = log.lines().find(|line| line.contains("left behind")).expect(&log);
    assert!(line.contains("hangs_in_open") && line.contains("stream=camera"), "{line}");
}

#[test]
fn a_source_that_hangs_is_left_behind_by_the_one_that_takes_its_place() {
    let folder = tempfile::tempdir().unwrap();
    let host = in_place_of_one_that_hangs(folder.path(), "1 s");
    let receipt = wait_for("its end", LIMIT, || {
        let receipt: Value = serde_json::from_str(&host.get("/swaps/1").unwrap()).unwrap();
        receipt["old"]["settled_at"].is_string().then_some(receipt)
    });
    assert!(receipt["old"]["left_behind"].as_str().unwrap().contains("has not returned"), "{receipt:#}");
    let generations = host.status().unwrap()["generations"].take();
    assert_eq!(generations[0]["state"], "written off", "{generations:#}");
}

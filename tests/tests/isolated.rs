//! Sources in processes of their own (`isolate`): whatever such a process does, its stream fails with a reason, the other
//! stream of the same ingester loses nothing, and the next scan has a new process.

#![allow(clippy::unwrap_used, reason = "these are tests, helpers included")]

use std::{fs, path::Path};

use framegate_tests::{
    alone::bad_plugin_in_c,
    framegate,
    host::{Host, LIMIT},
    pair::{Pair, Setup, in_c},
    process::{free_port, wait_for},
    standalone::{House, Wish, images, is_end, numbers},
    worker::Worker,
};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use serde_json::{Value, json};

const ISOLATED: Setup<'_> = Setup { scans: 1, more: "", bad_stream: "isolate = true", faults: &[], held: false };

/// Runs a pair whose bad source fails with this text. Returns the log, and how many events of the bad stream came.
fn fails(case: &'static str, says: &str) -> (String, usize) {
    let mut pair = Pair::with(in_c(case), &ISOLATED);
    pair.bad_fails(says);
    let given = pair.good_loses_nothing();
    balanced(&pair);
    (pair.stop(), given)
}

/// Every frame that it gave was released.
fn balanced(pair: &Pair) {
    let same = || {
        let process = pair.process();
        (process["frames_given"] == process["frames_returned"]).then_some(())
    };
    wait_for("every frame to be released", LIMIT, same);
}

/// Whether a process exists, also as a zombie.
fn exists(pid: u64) -> bool {
    Path::new(&format!("/proc/{pid}")).exists()
}

#[test]
fn a_crash_costs_its_own_stream_the_scan_and_the_events_before_it_arrive() {
    let says = "its process crashed with SIGSEGV in next (it printed: sensor 4 does not answer)";
    let (log, given) = fails("crashes_in_next", says);
    assert_eq!(given, 3, "{log}");
    let line = log.lines().find(|line| line.ends_with("source: sensor 4 does not answer stream=bad"));
    assert!(line.is_some_and(|line| line.contains("INFO")), "what it prints is in the log: {log}");
}

#[test]
fn the_end_of_the_process_costs_its_own_stream_the_scan() {
    let (_, given) = fails("exits_in_next", "its process ended with exit status 3 in next");
    assert_eq!(given, 3);
}

#[test]
fn a_child_of_the_process_that_keeps_the_socket_hides_nothing() {
    let (_, given) = fails("leaves_a_child_in_next", "its process crashed with SIGKILL in next");
    assert_eq!(given, 3);
}

#[test]
fn memory_without_end_ends_at_the_limit_of_the_process() {
    let limited = Setup { bad_stream: "isolate = { data_limit = \"300 MiB\" }", ..ISOLATED };
    let mut pair = Pair::with(in_c("fills_memory_in_next"), &limited);
    pair.bad_fails("its process crashed with SIGABRT in next");
    pair.good_loses_nothing();
    let _ = pair.stop();
}

/// The process of a hanging call is gone, and no thread of the host is left behind.
fn is_killed(pair: &Pair, pid: u64) {
    wait_for("its end", LIMIT, || (!exists(pid)).then_some(()));
    assert_eq!(pair.count("sources_written_off"), 0);
}

fn first_process(pair: &mut Pair) -> u64 {
    pair.host.wait_for("the first scan", |ingester| ingester["state"] == "running");
    pair.process()["pid"].as_u64().unwrap()
}

#[test]
fn a_next_that_hangs_is_ended_with_its_process() {
    let mut pair = Pair::with(in_c("hangs_in_next"), &ISOLATED);
    let pid = first_process(&mut pair);
    pair.bad_fails("its process did not answer next for 3s, and was killed");
    is_killed(&pair, pid);
    pair.good_loses_nothing();
    let log = pair.stop();
    assert!(!log.contains("left behind"), "{log}");
}

#[test]
fn a_close_that_hangs_is_ended_with_its_process_and_the_next_scan_has_a_new_one() {
    // The detector holds the ends of its runs: a scan that is over takes its failures along.
    let mut pair = Pair::with(in_c("hangs_in_close"), &Setup { scans: 2, held: true, ..ISOLATED });
    let pid = first_process(&mut pair);
    pair.go();
    pair.good_loses_nothing();
    // The next scan closes the previous scan's run.
    let says = "its process did not answer close for 1.5s, and was killed";
    wait_for("the log", LIMIT, || pair.host.log().contains(says).then_some(()));
    is_killed(&pair, pid);
    pair.go();
    pair.good_loses_nothing();
    assert_eq!(pair.process()["started"], 2);
    let log = pair.stop();
    assert!(!log.contains("left behind"), "{log}");
}

#[test]
fn a_process_that_crashes_or_hangs_at_its_start_is_refused_before_anything_starts() {
    let folder = tempfile::tempdir().unwrap();
    for (case, says) in [
        ("crashes_when_loaded", "crashed with SIGSEGV in its start (it printed: the vendor's library is not amused)"),
        ("hangs_when_loaded", "did not answer its start for 1s, and was killed"),
        ("hangs_in_create_alone", "did not answer create for 1s, and was killed"),
        ("eats_memory_in_create", "crashed with SIGABRT in create (it printed: out of memory after"),
    ] {
        let config = folder.path().join("framegate.toml");
        let text = format!(
            "admin = \"off\"\nsource_timeout = \"{}\"\n[standalone]\n[[ingester]]\nurl = \"tcp://127.0.0.1:{}\"\n\
             [[ingester.stream]]\nname = \"s\"\nsource = \"{}\"\nisolate = {{ data_limit = \"300 MiB\" }}\n",
            if case.starts_with("hangs") { "1 s" } else { "20 s" },
            free_port(),
            bad_plugin_in_c(case, folder.path()).display()
        );
        fs::write(&config, text).unwrap();
        let output = framegate::command().args(["run", "--config"]).arg(config).output().unwrap();
        let text = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(3), "{case}: {text}");
        assert!(text.contains(says) && text.contains(case), "{case}: {text}");
    }
}

#[test]
fn endless_output_is_limited_and_counted() {
    let pair = Pair::with(in_c("prints_for_ever"), &ISOLATED);
    pair.good_loses_nothing();
    let left_out = || pair.host.log().contains("more lines of the source's process are left out").then_some(());
    wait_for("the count of lines", LIMIT, left_out);
    let log = pair.stop();
    let lines = log.lines().filter(|line| line.contains("a line of the vendor's library")).count();
    assert!((20..2000).contains(&lines), "{lines} lines");
}

/// The detector has a run with these images, and the worker gets it. `before`: events that were read until then.
fn run(house: &mut House, worker: &Worker, sizes: &[usize], before: &mut usize) {
    let pictures: Vec<Vec<u8>> = sizes.iter().enumerate().map(|(number, size)| vec![number as u8 + 1; *size]).collect();
    house.detector.run(pictures.clone());
    let messages = worker.until(is_end);
    let given: Vec<Vec<u8>> = images(&messages).into_iter().map(<[u8]>::to_vec).collect();
    assert!(given == pictures, "{:?} instead of {sizes:?}", given.iter().map(Vec::len).collect::<Vec<_>>());
    let (first, numbers) = (messages[0].number(), numbers(&messages));
    assert_eq!(numbers, (first..first + sizes.len() as u64 + 2).collect::<Vec<_>>());
    // What the detector sends before that belongs to the scan that is over.
    *before += sizes.len() + 2;
    house.host.wait_for("the next scan", |ingester| {
        let stream = &ingester["streams"]["camera"];
        stream["since_start"]["read"] == *before && stream["read"] == 0
    });
}

#[test]
fn an_isolated_source_gives_every_byte_and_a_new_process_goes_on_after_each_death() {
    let wish = Wish { stream: "isolate = true", top: "source_timeout = \"5 s\"", ..Wish::default() };
    let mut house = House::new(&wish);
    let worker = house.worker("w1");
    // Small ones, some around the size of a block, and larger ones than the memory at the start.
    let sizes = [0, 1, 2047, 2048, 65_535, 65_536, 65_537, 1 << 20, 20 << 20, 24 << 20, 3, 100_000];
    let mut read = 0;
    run(&mut house, &worker, &sizes, &mut read);
    let source = |house: &House| house.host.status().unwrap()["sources"][0]["process"].clone();
    for (deaths, signal) in [Signal::SIGKILL, Signal::SIGABRT, Signal::SIGSTOP].into_iter().enumerate() {
        let process = source(&house);
        assert_eq!(process["started"], deaths + 1, "{process}");
        let pid = process["pid"].as_u64().unwrap();
        house.detector.header();
        let _ = worker.next();
        house.detector.image(&[1; 5000]);
        assert_eq!(worker.next().frames[1], [1; 5000]);
        kill(Pid::from_raw(pid as i32), signal).unwrap();
        let fault = if signal == Signal::SIGSTOP { "did not answer next for 5s" } else { signal.as_str() };
        // The scan is over at once, and takes its failure along: the log keeps it.
        wait_for(fault, LIMIT, || house.host.log().contains(fault).then_some(()));
        wait_for("the process to be gone", LIMIT, || (!exists(pid)).then_some(()));
        house.detector.end();
        // The scan is over without its source; the next one has a new process.
        house.host.wait_for("the next process", |ingester| ingester["streams"]["camera"]["source"] != "failed");
        read += 2;
        run(&mut house, &worker, &[10, 3000, 70_000], &mut read);
    }
    let process = source(&house);
    wait_for("every frame to be released", LIMIT, || {
        let process = source(&house);
        (process["frames_given"] == process["frames_returned"]).then_some(())
    });
    assert!(house.host.stop(LIMIT).success());
    let pid = process["pid"].as_u64().unwrap();
    assert!(!exists(pid), "it ends with the host");
}

#[test]
fn a_host_that_is_killed_takes_its_sources_along() {
    let wish = Wish { stream: "isolate = true", ..Wish::default() };
    for hangs in [false, true] {
        let mut house = House::new(&wish);
        let pid = house.host.status().unwrap()["sources"][0]["process"]["pid"].as_u64().unwrap();
        if hangs {
            kill(Pid::from_raw(pid as i32), Signal::SIGSTOP).unwrap();
        }
        house.host.signal(Signal::SIGKILL);
        house.host.wait(LIMIT);
        wait_for("the source's end", LIMIT, || (!exists(pid)).then_some(()));
    }
}

#[test]
fn a_program_that_cannot_be_started_is_refused_with_its_path() {
    let folder = tempfile::tempdir().unwrap();
    let text_file = folder.path().join("text");
    fs::write(&text_file, "not a program").unwrap();
    for (command, status, says) in [
        ("[]", 2, "command: it is empty; expected a program and its arguments"),
        ("\"/bin/true\"", 2, "command: expected a program and its arguments, [\"/path\", \"argument\"], not a text"),
        ("[\"true\"]", 2, "command: \"true\": expected an absolute path"),
        (&*format!("[{text_file:?}]"), 3, "is not a program that can be started"),
        ("[\"/nowhere/at/all\"]", 3, "/nowhere/at/all is not a program that can be started"),
        ("[\"/bin/true\"]", 3, "true (/bin/true) does not start: its process ended with exit status 0 in its start"),
        (
            "[\"/bin/sleep\", \"100\"]",
            3,
            "sleep (/bin/sleep) does not start: its process did not answer its start for 1s",
        ),
    ] {
        let config = folder.path().join("framegate.toml");
        let text = format!(
            "admin = \"off\"\nsource_timeout = \"1 s\"\n[standalone]\n[[ingester]]\nurl = \"tcp://127.0.0.1:{}\"\n\
             [[ingester.stream]]\nname = \"s\"\ncommand = {command}\n",
            free_port(),
        );
        fs::write(&config, text).unwrap();
        let output = framegate::command().args(["run", "--config"]).arg(&config).output().unwrap();
        let text = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(status), "{command}: {text}");
        assert!(text.contains(says), "{command}: {text}");
    }
}

/// Who may swap over the admin endpoint may name a plugin, which is checked, but no program.
#[test]
fn a_swap_names_no_program() {
    let (folder, port) = (tempfile::tempdir().unwrap(), free_port());
    let counter = bad_plugin_in_c("gives_after_the_end", folder.path());
    let mut host = Host::start(
        folder.path(),
        &format!(
            "[standalone]\n[[ingester]]\nurl = \"tcp://127.0.0.1:{port}\"\n\
             [[ingester.stream]]\nname = \"s\"\nsource = {counter:?}\n"
        ),
    );
    let proof = folder.path().join("proof");
    for source in
        ["command", &*format!("command:/usr/bin/touch {}", proof.display()), "/usr/bin/touch", "python:os:abort"]
    {
        let output = host.swap(&["s", source]);
        assert!(!output.status.success(), "{source}: {}", String::from_utf8_lossy(&output.stdout));
    }
    let url = format!("http://{}/swaps", host.admin());
    let post = |body: Value| {
        let request = ureq::post(&url).config().http_status_as_error(false).build();
        request.send_json(body).unwrap().status().as_u16()
    };
    let command = json!(["/usr/bin/touch", proof]);
    let with_command = post(json!({ "stream": "s", "source": "command", "command": command }));
    assert_eq!(with_command, 422, "there is no such field");
    // It is accepted as a request, and refused when the source is looked for.
    let before = host.status().unwrap()["swaps"].as_array().unwrap().len();
    assert_eq!(post(json!({ "stream": "s", "source": "command" })), 202);
    wait_for("its refusal", LIMIT, || {
        let swaps = host.status().unwrap()["swaps"].clone();
        (swaps.as_array().unwrap().len() > before && swaps[before]["state"] == "refused").then_some(())
    });
    assert!(!proof.exists());
    assert!(host.stop(LIMIT).success());
}

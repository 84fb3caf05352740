//! The cost of a swap: time from the request to ready, time to load, and what each generation leaves in the process.
//! Prints a report (`cargo test -p framegate-tests --test swap_cost -- --nocapture`).

#![allow(clippy::unwrap_used, reason = "these are tests, helpers included")]

use std::{env, fs, path::Path};

use framegate_tests::{
    alone::marked,
    host::{Host, LIMIT},
    process::{free_port, wait_for},
    soak::growth::Sample,
    worker::Worker,
};
use serde_json::{Value, json};

/// Number of generations loaded, one after the other.
const GENERATIONS: u64 = 40;

/// A host with one stream, fed by `marked`, and its worker. Scans follow each other as fast as their events are read.
fn start(folder: &Path, more: &str) -> (Host, Worker) {
    let url = format!("tcp://127.0.0.1:{}", free_port());
    let mut host = Host::start(
        folder,
        &format!(
            "{more}\n[standalone]\n[[ingester]]\nurl = \"{url}\"\n[[ingester.stream]]\nname = \"camera\"\nsource = \"{}\"\n\
             settings = {{ events = 1 }}\n",
            marked("1.0.0").display()
        ),
    );
    host.wait_for("the first scan", |ingester| ingester["ready"].is_string());
    (host, Worker::connect("w1", &url))
}

/// `FRAMEGATE_SWAPS=1000` for more.
#[test]
fn swaps_among_as_many_plugins_as_may_be_loaded_cost_nothing_that_stays() {
    let swaps: usize = env::var("FRAMEGATE_SWAPS").map_or(60, |swaps| swaps.parse().unwrap());
    let folder = tempfile::tempdir().unwrap();
    let (host, _worker) = start(folder.path(), "max_generations = 3");
    let whole = fs::read(marked("2.0.0")).unwrap();
    let mut plugins = vec![marked("1.0.0")];
    for number in 0..2_u8 {
        let plugin = folder.path().join(format!("lib{number}.so"));
        fs::write(&plugin, [&whole[..], &[number]].concat()).unwrap();
        plugins.push(plugin);
    }
    let url = format!("http://{}/swaps", host.admin());
    let swap = |plugin: &Path| {
        let request = json!({ "stream": "camera", "source": plugin });
        let receipt: Value = ureq::post(&url).send_json(&request).unwrap().body_mut().read_json().unwrap();
        let of = format!("/swaps/{}", receipt["number"]);
        wait_for("the old source's end", LIMIT, || {
            let receipt: Value = serde_json::from_str(&host.get(&of).ok()?).unwrap();
            assert_ne!(receipt["state"], "refused", "{receipt:#}");
            receipt["old"]["settled_at"].is_string().then_some(())
        });
    };
    let rounds = |number: usize| (0..number).for_each(|one| swap(&plugins[(one + 1) % plugins.len()]));
    // Includes the receipts that are kept.
    rounds(30);
    let before = Sample::of(host.id()).unwrap();
    rounds(swaps);
    let after = wait_for("threads and descriptors as before", LIMIT, || {
        let after = Sample::of(host.id()).unwrap();
        (after.threads <= before.threads && after.descriptors <= before.descriptors).then_some(after)
    });
    println!("{swaps} swaps\n{before:?}\n{after:?}");
    let grown = after.memory + after.files - before.memory - before.files;
    assert!(grown < 4096.0, "{swaps} swaps cost {grown} KiB");
    assert_eq!(host.status().unwrap()["generations"].as_array().unwrap().len(), 3);
}

#[test]
fn a_generation_costs_memory_one_descriptor_and_no_thread() {
    let (folder, whole) = (tempfile::tempdir().unwrap(), fs::read(marked("1.0.0")).unwrap());
    let (host, _worker) = start(folder.path(), "");
    // Bytes after the sections make the content different, without any other effect.
    let swap = |number: u64| {
        let plugin = folder.path().join(format!("lib{number}.so"));
        fs::write(&plugin, [&whole[..], &number.to_le_bytes()].concat()).unwrap();
        let output = host.swap(&["camera", plugin.to_str().unwrap(), "--wait"]);
        assert!(output.status.success(), "{output:?}");
        fs::remove_file(plugin).unwrap();
    };
    let warm_up = 3;
    (0..warm_up).for_each(swap);
    let before = Sample::of(host.id()).unwrap();
    (warm_up..warm_up + GENERATIONS).for_each(swap);
    let after = wait_for("threads and descriptors as before", LIMIT, || {
        let after = Sample::of(host.id()).unwrap();
        // The generation's copy stays open.
        let descriptors = before.descriptors + GENERATIONS as f64;
        (after.threads <= before.threads && after.descriptors <= descriptors).then_some(after)
    });
    let own = (after.memory - before.memory) / GENERATIONS as f64;
    let of_file = (after.files - before.files) / GENERATIONS as f64;
    let size = whole.len() as f64 / 1024.0;
    println!("{before:?}\n{after:?}");
    println!(
        "a generation of {size:.0} KiB costs {own:.0} KiB, {of_file:.0} KiB of its file in memory, a descriptor and no thread"
    );
    let status = host.status().unwrap();
    let numbers = |list: &Value, key: &str| -> Vec<f64> {
        let mut all: Vec<f64> = list.as_array().unwrap().iter().filter_map(|one| one[key].as_f64()).collect();
        all.sort_by(f64::total_cmp);
        all
    };
    for (what, all) in [
        ("asked to ready", numbers(&status["swaps"], "ready_ms")),
        ("of it loading and checking the layout", numbers(&status["generations"], "load_ms")),
    ] {
        let (least, median, most) = (all[0], all[all.len() / 2], all[all.len() - 1]);
        println!("{what}: {least:.1} to {most:.1} ms, median {median:.1} ms");
    }
    assert!(own + of_file <= size, "each generation costs more than its file is large: {own} + {of_file} KiB");
    assert_eq!(status["generations"].as_array().unwrap().len() as u64, 1 + warm_up + GENERATIONS);
}

//! Start after start, and scan after scan.

use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use framegate_tests::{
    controller::{Controller, LIMIT},
    detector::Detector,
    framegate::plugin,
    host::Host,
    process::free_port,
    redis::RedisServer,
    soak::growth::Sample,
    worker::Worker,
};
use serde_json::{Value, json};

use crate::Row;

/// The name of the ingester.
const NAME: &str = "bench-ingester";

pub(crate) fn rows(smoke: bool) -> anyhow::Result<Vec<Row>> {
    let (starts, scans) = if smoke { (1, 20) } else { (20, 1000) };
    let redis = RedisServer::start();
    let mut controller = Controller::new(&redis);
    let mut detector = Detector::bind();
    let folder = tempfile::tempdir()?;
    let url = format!("tcp://127.0.0.1:{}", free_port());
    let configuration = format!(
        "redis = \"{}\"\nlog_level = \"WARNING\"\n[[ingester]]\nname = \"{NAME}\"\nurl = \"{url}\"\n[[ingester.stream]]\n\
         name = \"bench\"\nsource = \"{}\"\nsettings.upstream_url = \"{}\"\n",
        redis.url(),
        plugin("stins").display(),
        detector.url
    );

    let mut start = row("start", None);
    let mut host = None;
    for _ in 0..starts {
        // The one before ends well, and takes its state along.
        host.take().map_or(Ok(()), stop)?;
        let began = Instant::now();
        host = Some(Host::start(folder.path(), &configuration));
        wait(&mut controller, |_| true)?;
        start.add(began);
    }
    let host = host.context("it was started")?;
    let worker = Worker::connect("w1", &url);
    let uuid = worker.service_uuid().to_string();
    wait(&mut controller, |state| state["connected_workers"].get(&uuid).is_some())?;

    let (mut published, mut first, mut finish) =
        (row("uuid", Some(30.0)), row("first-event", Some(5.0)), row("finish", Some(10.0)));
    let mut whole = row("scan", None);
    let mut growth = row("growth", None);
    growth.unit = "KiB";
    let mut early = 0.0;
    for scan in 0..scans {
        let began = Instant::now();
        let mapping = json!(controller.start_scan(&["bench"]));
        wait(&mut controller, |state| state["mapping_uuid"] == mapping)?;
        published.add(began);
        let one: &[(&str, &[&str])] = &[("bench", &["w1"])];
        controller.assign(&[one; 3]);
        let sent = Instant::now();
        detector.run([vec![7; 1024]]);
        for number in 0..3 {
            let message = worker.within(LIMIT).with_context(|| format!("scan {scan}: event {number} does not come"))?;
            ensure!(message.number() == number, "scan {scan}: event {} instead of {number}", message.number());
            if number == 0 {
                first.add(sent);
            }
        }
        let ends = Instant::now();
        controller.finish();
        while controller.notices().is_empty() {
            ensure!(ends.elapsed() < LIMIT, "scan {scan} does not end");
        }
        finish.add(ends);
        whole.add(began);
        if scan == scans / 10 {
            early = Sample::of(host.id())?.memory;
        }
    }
    growth.values.push(Sample::of(host.id())?.memory - early);
    Ok(vec![start, published, first, finish, whole, growth])
}

fn row(name: &'static str, most: Option<f64>) -> Row {
    Row { name, unit: "ms", values: Vec::new(), most }
}

impl Row {
    fn add(&mut self, began: Instant) {
        self.values.push(began.elapsed().as_secs_f64() * 1e3);
    }
}

fn stop(mut host: Host) -> anyhow::Result<()> {
    let status = host.stop(Duration::from_secs(5));
    ensure!(status.success(), "framegate ends with {status}");
    Ok(())
}

/// Looks without a pause: what is measured is the other side.
fn wait(controller: &mut Controller, wanted: impl Fn(&Value) -> bool) -> anyhow::Result<()> {
    let began = Instant::now();
    while !controller.state(NAME).is_some_and(|state| wanted(&state)) {
        ensure!(began.elapsed() < LIMIT, "the ingester does not publish what is waited for");
    }
    Ok(())
}

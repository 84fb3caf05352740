//! Repeated starts and repeated scans.

use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use framegate_tests::{
    host::Host,
    soak::growth::Sample,
    worker::{LIMIT, Worker},
};

use crate::{Row, facility::Facility, row};

pub(crate) fn rows(smoke: bool) -> anyhow::Result<Vec<Row>> {
    let (starts, scans) = if smoke { (1, 20) } else { (20, 1000) };
    let mut facility = Facility::new();
    let mut start = row("start", None);
    let mut host = None;
    for _ in 0..starts {
        // The previous host stops cleanly and removes its state.
        host.take().map_or(Ok(()), stop)?;
        let began = Instant::now();
        host = Some(facility.start()?);
        start.add(began);
    }
    let host = host.context("it was started")?;
    let worker = Worker::connect("w1", &facility.url);
    let uuid = worker.service_uuid().to_string();
    facility.wait(|state| state["connected_workers"].get(&uuid).is_some())?;

    let (mut published, mut first, mut finish) =
        (row("uuid", Some(30.0)), row("first-event", Some(5.0)), row("finish", Some(10.0)));
    let mut whole = row("scan", None);
    let mut growth = row("growth", None);
    growth.unit = "KiB";
    let mut early = 0.0;
    let all = Instant::now();
    for scan in 0..scans {
        let began = Instant::now();
        facility.begin()?;
        published.add(began);
        let one: &[(&str, &[&str])] = &[("bench", &["w1"])];
        facility.controller.assign(&[one; 3]);
        let sent = Instant::now();
        facility.detector.run([vec![7; 1024]]);
        for number in 0..3 {
            let message = worker.within(LIMIT).with_context(|| format!("scan {scan}: event {number} does not come"))?;
            ensure!(message.number() == number, "scan {scan}: event {} instead of {number}", message.number());
            if number == 0 {
                first.add(sent);
            }
        }
        let ends = Instant::now();
        facility.finish()?;
        finish.add(ends);
        whole.add(began);
        if scan == scans / 10 {
            early = Sample::of(host.id())?.memory;
        }
    }
    let seconds = all.elapsed().as_secs_f64();
    growth.values.push(Sample::of(host.id())?.memory - early);
    let mut rate = row("scans", None);
    (rate.unit, rate.values) = ("1/s", vec![f64::from(scans) / seconds]);
    Ok(vec![start, published, first, finish, whole, rate, growth])
}

fn stop(mut host: Host) -> anyhow::Result<()> {
    let status = host.stop(Duration::from_secs(5));
    ensure!(status.success(), "framegate ends with {status}");
    Ok(())
}

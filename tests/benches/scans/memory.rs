//! The cost of further streams and workers.

use std::fmt::Write as _;

use framegate_tests::{
    framegate::plugin,
    host::Host,
    process::{free_port, wait_for},
    soak::growth::Sample,
    worker::{LIMIT, Worker},
};
use serde_json::Value;

use crate::Row;

pub(crate) fn rows(smoke: bool) -> anyhow::Result<Vec<Row>> {
    let (streams, workers) = if smoke { (4, 4) } else { (32, 100) };
    let (few, _few_workers) = with(1, 0)?;
    let (many, _many_workers) = with(1 + streams, 0)?;
    let (served, _workers) = with(1, workers)?;
    let each = |more: f64, count: usize| vec![((more - few) / count as f64).max(0.0)];
    Ok(vec![
        Row { name: "stream", unit: "KiB", values: each(many, streams), most: None },
        Row { name: "worker", unit: "KiB", values: each(served, workers), most: None },
    ])
}

/// The memory of an idle framegate with `streams` streams and `workers` workers.
fn with(streams: usize, workers: usize) -> anyhow::Result<(f64, Vec<Worker>)> {
    let folder = tempfile::tempdir()?;
    let url = format!("tcp://127.0.0.1:{}", free_port());
    let mut text = format!("log_level = \"WARNING\"\n[standalone]\n[[ingester]]\nurl = \"{url}\"\n");
    for stream in 0..streams {
        writeln!(text, "[[ingester.stream]]\nname = \"s{stream}\"\nsource = \"{}\"", plugin("stins").display())?;
        writeln!(text, "settings.upstream_url = \"tcp://127.0.0.1:{}\"", free_port())?;
    }
    let mut host = Host::start(folder.path(), &text);
    host.wait_for("its first scan", |ingester| ingester["ready"].is_string());
    let all: Vec<_> = (0..workers).map(|number| Worker::connect(&format!("w{number}"), &url)).collect();
    let connected = |ingester: &Value| {
        let list = ingester["workers"].as_array();
        list.map_or(0, |all| all.iter().filter(|one| one["connected"] == true).count())
    };
    wait_for("the workers", LIMIT, || host.ingester().ok().filter(|ingester| connected(ingester) == workers));
    Ok((Sample::of(host.id())?.memory, all))
}

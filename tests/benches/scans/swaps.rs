//! Repeated swaps, each to a plugin that was never loaded before: the same file with some bytes appended.

use std::{fs, time::Instant};

use anyhow::{Context as _, ensure};
use framegate_tests::{framegate::plugin, host::Host, soak::growth::Sample};
use serde_json::Value;

use crate::{Row, facility::Facility, row};

/// Swaps before the measurement, until everything that is created once exists.
const WARM_UP: u64 = 3;

pub(crate) fn rows(smoke: bool) -> anyhow::Result<Vec<Row>> {
    let swaps: u64 = if smoke { 2 } else { 40 };
    let mut facility = Facility::new();
    let host = facility.start()?;
    let mut times =
        vec![row("swap", None), row("swap-uuid", Some(30.0)), row("swap-in-scan", None), row("swap-after", Some(30.0))];
    let mut generation = row("generation", None);
    generation.unit = "KiB";
    let mut before = 0.0;
    for number in 0..WARM_UP + swaps {
        if number == WARM_UP {
            before = held(&host)?;
        }
        let made = swap(&facility, &host, 2 * number)?;
        let between = Instant::now();
        facility.begin()?;
        let between = between.elapsed();
        let made_in_scan = swap(&facility, &host, 2 * number + 1)?;
        facility.finish()?;
        let after = Instant::now();
        facility.begin()?;
        let after = after.elapsed();
        facility.finish()?;
        if number >= WARM_UP {
            let values = [made, between.as_secs_f64() * 1e3, made_in_scan, after.as_secs_f64() * 1e3];
            times.iter_mut().zip(values).for_each(|(row, value)| row.values.push(value));
        }
    }
    generation.values.push((held(&host)? - before) / (2 * swaps) as f64);
    times.push(generation);
    Ok(times)
}

/// Swaps the stream to a new generation. Returns the milliseconds from the request of `framegate swap` until its source
/// was created, from the receipt: the command itself polls only now and then.
fn swap(facility: &Facility, host: &Host, number: u64) -> anyhow::Result<f64> {
    let file = facility.folder.path().join("libswapped.so");
    // Changes the content only: bytes after the sections have no effect.
    fs::write(&file, [&fs::read(plugin("stins"))?[..], &number.to_le_bytes()].concat())?;
    let path = file.to_str().expect("a temporary folder's name is text");
    let output = host.swap(&["bench", path, "--json"]);
    ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let receipts = String::from_utf8(output.stdout)?;
    let receipt: Value = serde_json::from_str(receipts.lines().next_back().context("there is a receipt")?)?;
    receipt["ready_ms"].as_f64().context("it is made")
}

/// The resident memory of a process: its own, and mapped files.
fn held(host: &Host) -> anyhow::Result<f64> {
    let sample = Sample::of(host.id())?;
    Ok(sample.memory + sample.files)
}

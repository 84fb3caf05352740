//! What the benchmarks share: their flags, medians, and what a process has used.

use std::fs;

use anyhow::{Context as _, bail};

/// What stands behind `--` of `cargo bench`.
#[derive(Debug)]
pub struct Options {
    /// A few seconds, no limits.
    pub smoke: bool,
    /// So many rounds.
    pub rounds: usize,
    /// This row only.
    pub only: Option<String>,
}

impl Options {
    /// # Errors
    /// An argument is none of them, or has no value.
    pub fn read(args: &[String]) -> anyhow::Result<Self> {
        let mut options = Self { smoke: false, rounds: 7, only: None };
        let mut args = args.iter();
        while let Some(arg) = args.next() {
            let mut value = || args.next().with_context(|| format!("{arg} needs a value"));
            match arg.as_str() {
                "--smoke" => (options.smoke, options.rounds) = (true, 1),
                "--rounds" => options.rounds = value()?.parse::<usize>()?.max(1),
                "--only" => options.only = Some(value()?.clone()),
                other => bail!("unknown argument {other}: there are --smoke, --rounds N, --only ROW"),
            }
        }
        Ok(options)
    }
}

/// The value in the middle.
#[must_use]
pub fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    if values.len() % 2 == 1 { values[middle] } else { f64::midpoint(values[middle - 1], values[middle]) }
}

/// CPU time of all living threads of a process. None of a forwarder's threads ends during a run.
///
/// # Errors
/// The process has ended.
pub fn cpu_ns(pid: u32) -> anyhow::Result<u64> {
    let mut sum = 0;
    for task in fs::read_dir(format!("/proc/{pid}/task"))? {
        let text = fs::read_to_string(task?.path().join("schedstat"))?;
        sum += text.split(' ').next().context("schedstat is empty")?.parse::<u64>()?;
    }
    Ok(sum)
}

/// The most memory that a process had resident.
///
/// # Errors
/// The process has ended.
pub fn peak_kib(pid: u32) -> anyhow::Result<u64> {
    let text = fs::read_to_string(format!("/proc/{pid}/status"))?;
    let line = text.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    match line.and_then(|line| line.split_whitespace().next()) {
        Some(number) => Ok(number.parse()?),
        None => bail!("process {pid} has ended"),
    }
}
